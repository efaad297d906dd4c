-- Rollback: message_role_to_varchar
-- Created: 2026-08-07
-- Description: messages.role back to the ENUM message_role, also where it was a VARCHAR before.
-- No data is lost: the CHECK let in only what the ENUM knows

BEGIN;

ALTER TABLE messages DROP CONSTRAINT IF EXISTS check_role_values;

CREATE TYPE message_role AS ENUM ('user', 'assistant', 'system', 'tool');

ALTER TABLE messages ALTER COLUMN role TYPE message_role USING role::message_role;

COMMIT;
