-- Rollback: create_base_tables
-- Created: 2026-08-01
-- Description: Drops the base tables. EVERY ROW IN THEM IS LOST; only a backup has them then

BEGIN;

-- Children before parents, and no CASCADE: what somebody else built on them stops us.
DROP TABLE IF EXISTS messages;
DROP TYPE IF EXISTS message_role;
DROP TABLE IF EXISTS conversations;
DROP TABLE IF EXISTS error_events;
DROP TABLE IF EXISTS "environments";
DROP TABLE IF EXISTS users;

COMMIT;
