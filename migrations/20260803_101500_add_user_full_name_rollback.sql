-- Rollback: add_user_full_name
-- Created: 2026-08-03
-- Description: Drops users.full_name. A name that was edited there since is lost

BEGIN;

ALTER TABLE users DROP COLUMN IF EXISTS full_name;

COMMIT;
