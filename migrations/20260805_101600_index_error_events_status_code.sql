-- Migration: index_error_events_status_code
-- Created: 2026-08-05
-- Description: An index on error_events.status_code, built while the table is written to

-- Alone in its file and without BEGIN: a concurrent build cannot run in a transaction.
CREATE INDEX CONCURRENTLY IF NOT EXISTS idx_error_events_status_code
    ON error_events (status_code);
