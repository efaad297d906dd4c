-- Verify: index_error_events_status_code
-- Created: 2026-08-05
-- Description: The index is there, finished, and on that column

-- A concurrent build that failed leaves the index behind, invalid: its name alone proves nothing.
SELECT i.indisvalid AND i.indisready AS usable,
       i.indrelid = 'error_events'::regclass AS on_the_table,
       pg_get_indexdef(i.indexrelid, 1, false) = 'status_code' AND i.indnatts = 1 AS on_the_column
FROM pg_catalog.pg_index AS i
WHERE i.indexrelid = to_regclass('idx_error_events_status_code');
