-- Rollback: message_role_to_varchar
-- Created: 2026-08-07
-- Description: messages.role back to the ENUM message_role, also where it was a VARCHAR before.
-- No data is lost: the CHECK let in only what the ENUM knows

BEGIN;

ALTER TABLE messages DROP CONSTRAINT IF EXISTS check_role_values;

-- By way of TEXT, so that it also holds where a type of that name is there again, be it with other
-- values and in use here: from VARCHAR to TEXT no row is written.
ALTER TABLE messages ALTER COLUMN role TYPE TEXT USING role::text;

-- No CASCADE: where another column has the type, we stop rather than drop that column.
DROP TYPE IF EXISTS message_role;

CREATE TYPE message_role AS ENUM ('user', 'assistant', 'system', 'tool');

ALTER TABLE messages ALTER COLUMN role TYPE message_role USING role::message_role;

COMMIT;
