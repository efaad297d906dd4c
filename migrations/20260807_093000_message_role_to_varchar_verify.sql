-- Verify: message_role_to_varchar
-- Created: 2026-08-07
-- Description: The column is VARCHAR(20), its CHECK stands, the type is gone, every role is known

SELECT format_type(atttypid, atttypmod) = 'character varying(20)' AS type_is_right,
       attnotnull AS still_required
FROM pg_catalog.pg_attribute
WHERE attrelid = 'messages'::regclass AND attname = 'role' AND NOT attisdropped;

-- Known by the values in it: the server words the same CHECK differently after a restore.
SELECT convalidated,
       (
           SELECT array_agg(label[1] ORDER BY label[1])
           FROM regexp_matches(pg_get_constraintdef(oid), '''([^'']*)''', 'g') AS label
       ) = ARRAY['assistant', 'system', 'tool', 'user'] AS values_are_right
FROM pg_catalog.pg_constraint
WHERE conrelid = 'messages'::regclass AND conname = 'check_role_values';

SELECT to_regtype('message_role') IS NULL AS type_is_gone;

-- expect: none
SELECT id, role
FROM messages
WHERE role::text NOT IN ('user', 'assistant', 'system', 'tool');
