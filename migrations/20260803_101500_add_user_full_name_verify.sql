-- Verify: add_user_full_name
-- Created: 2026-08-03
-- Description: The column has its type, and users from before the migration have a full name

SELECT format_type(atttypid, atttypmod) = 'character varying' AS type_is_right,
       NOT attnotnull AS nullable
FROM pg_catalog.pg_attribute
WHERE attrelid = 'users'::regclass AND attname = 'full_name' AND NOT attisdropped;

-- The old code may add users without a full name until it is restarted, so a NULL is no error as
-- such. But the backfill began at the oldest user: none without may stand before the first with.
-- expect: none
SELECT id
FROM users
WHERE full_name IS NULL
  AND id < (SELECT min(id) FROM users WHERE full_name IS NOT NULL);
