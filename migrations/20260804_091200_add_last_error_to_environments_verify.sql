-- Verify: add_last_error_to_environments
-- Created: 2026-08-04
-- Description: The column is there, is text, and may be empty

SELECT format_type(atttypid, atttypmod) = 'text' AS type_is_right,
       NOT attnotnull AS nullable
FROM pg_catalog.pg_attribute
WHERE attrelid = 'environments'::regclass AND attname = 'last_error' AND NOT attisdropped;
