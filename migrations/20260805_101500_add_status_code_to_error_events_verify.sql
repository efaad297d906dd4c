-- Verify: add_status_code_to_error_events
-- Created: 2026-08-05
-- Description: The column has its type, agrees with the payloads, and old rows are filled

SELECT format_type(atttypid, atttypmod) = 'integer' AS type_is_right,
       NOT attnotnull AS nullable
FROM pg_catalog.pg_attribute
WHERE attrelid = 'error_events'::regclass AND attname = 'status_code' AND NOT attisdropped;

-- Compared as text: this needs no cast, and so cannot fail over an odd payload.
-- expect: none
SELECT id, status_code, payload->>'status_code' AS payload_status_code
FROM error_events
WHERE payload->>'status_code' ~ '^(0|-?[1-9][0-9]{0,8})$'
  AND status_code::text <> payload->>'status_code';

-- The old code may add rows without it until it is restarted, so a NULL is no error as such. But
-- the backfill began at the oldest row: none without may stand before the first with.
-- expect: none
SELECT id
FROM error_events
WHERE payload->>'status_code' ~ '^-?[0-9]{1,9}$'
  AND status_code IS NULL
  AND id < (SELECT min(id) FROM error_events WHERE status_code IS NOT NULL);
