-- Migration: add_status_code_to_error_events
-- Created: 2026-08-05
-- Description: error_events.status_code, filled from the payload; its index is the next migration
-- windlass: transaction=off

-- On its own: the lock on the table must not last as long as the backfill.
ALTER TABLE error_events ADD COLUMN IF NOT EXISTS status_code INTEGER;

-- A payload is what some client sent: "n/a", 12.5 and numbers of any length occur, and one of them
-- would end the cast and the migration with it. Nine digits always fit into an INTEGER.
UPDATE error_events
SET status_code = (payload->>'status_code')::integer
WHERE payload->>'status_code' ~ '^-?[0-9]{1,9}$'
  AND status_code IS NULL;
