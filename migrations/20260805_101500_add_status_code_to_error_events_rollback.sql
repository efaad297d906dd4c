-- Rollback: add_status_code_to_error_events
-- Created: 2026-08-05
-- Description: Drops error_events.status_code, and an index on it. Codes that stand only in the
-- column, which new code writes, are lost; those in the payloads stay

BEGIN;

ALTER TABLE error_events DROP COLUMN IF EXISTS status_code;

COMMIT;
