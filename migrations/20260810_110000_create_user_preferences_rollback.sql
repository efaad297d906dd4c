-- Rollback: create_user_preferences
-- Created: 2026-08-10
-- Description: Drops the table. Every preference stored in it is lost

BEGIN;

-- Drop table
DROP TABLE IF EXISTS user_preferences;

COMMIT;
