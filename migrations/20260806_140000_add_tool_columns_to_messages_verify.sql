-- Verify: add_tool_columns_to_messages
-- Created: 2026-08-06
-- Description: Both columns are there, VARCHAR(100), and may be empty

SELECT count(*) = 2 AS both_there,
       bool_and(format_type(atttypid, atttypmod) = 'character varying(100)') AS types_are_right,
       bool_and(NOT attnotnull) AS nullable
FROM pg_catalog.pg_attribute
WHERE attrelid = 'messages'::regclass
  AND attname IN ('tool_call_id', 'name')
  AND NOT attisdropped;
