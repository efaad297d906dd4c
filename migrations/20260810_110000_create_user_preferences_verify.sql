-- Verify: create_user_preferences
-- Created: 2026-08-10
-- Description: The table, its columns, its key, its foreign key and its index are there

SELECT array_agg(attname || ' ' || format_type(atttypid, atttypmod) ORDER BY attnum) @> ARRAY[
           'id integer',
           'user_id integer',
           'preference_key character varying(100)',
           'preference_value text',
           'created_at timestamp with time zone',
           'updated_at timestamp with time zone'
       ] AS columns_are_right
FROM pg_catalog.pg_attribute
WHERE attrelid = 'user_preferences'::regclass AND attnum > 0 AND NOT attisdropped;

SELECT count(*) FILTER (WHERE contype = 'u') = 1 AS one_row_per_key,
       count(*) FILTER (
           WHERE contype = 'f' AND confrelid = 'users'::regclass AND confdeltype = 'c'
       ) = 1 AS goes_with_its_user
FROM pg_catalog.pg_constraint
WHERE conrelid = 'user_preferences'::regclass;

SELECT indisvalid AS usable
FROM pg_catalog.pg_index
WHERE indexrelid = to_regclass('idx_user_preferences_user_id');
