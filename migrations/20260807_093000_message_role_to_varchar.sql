-- Migration: message_role_to_varchar
-- Created: 2026-08-07
-- Description: messages.role from the ENUM message_role to VARCHAR(20) with a CHECK
-- windlass: allow opaque the column is an ENUM here and a VARCHAR there, and only a block can ask
-- windlass: allow ban-drop-type where a column still has it, the statement fails

BEGIN;

-- Production has the ENUM, local databases have VARCHAR(20), with the CHECK or without, and some
-- kept the type that no column uses any more. Each of them comes out the same, and so does a
-- second run.
DO $$
BEGIN
    IF (
        SELECT format_type(atttypid, atttypmod) <> 'character varying(20)'
        FROM pg_catalog.pg_attribute
        WHERE attrelid = 'messages'::regclass AND attname = 'role' AND NOT attisdropped
    ) THEN
        -- A CHECK that compares with ENUM values would stop the column from changing its type.
        ALTER TABLE messages DROP CONSTRAINT IF EXISTS check_role_values;
        ALTER TABLE messages ALTER COLUMN role TYPE VARCHAR(20) USING role::text;
    END IF;

    -- Known by the values in it: the server words the same CHECK differently after a restore.
    IF NOT EXISTS (
        SELECT FROM pg_catalog.pg_constraint
        WHERE conrelid = 'messages'::regclass
          AND conname = 'check_role_values'
          AND convalidated
          AND (
              SELECT array_agg(label[1] ORDER BY label[1])
              FROM regexp_matches(pg_get_constraintdef(oid), '''([^'']*)''', 'g') AS label
          ) = ARRAY['assistant', 'system', 'tool', 'user']
    ) THEN
        ALTER TABLE messages DROP CONSTRAINT IF EXISTS check_role_values;
        ALTER TABLE messages ADD CONSTRAINT check_role_values
            CHECK (role IN ('user', 'assistant', 'system', 'tool'));
    END IF;
END
$$;

-- No CASCADE: where another column still has the type, we stop rather than drop that column.
DROP TYPE IF EXISTS message_role;

COMMIT;
