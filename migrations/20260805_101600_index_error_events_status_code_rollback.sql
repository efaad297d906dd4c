-- Rollback: index_error_events_status_code
-- Created: 2026-08-05
-- Description: Drops the index; no data is lost

-- Alone in its file and without BEGIN, as its migration.
DROP INDEX CONCURRENTLY IF EXISTS idx_error_events_status_code;
