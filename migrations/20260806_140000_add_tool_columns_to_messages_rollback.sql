-- Rollback: add_tool_columns_to_messages
-- Created: 2026-08-06
-- Description: Drops both columns. Which tool call a message answers, and which function gave it,
-- is lost; undo this only while no message with a tool call has been sent

BEGIN;

ALTER TABLE messages
    DROP COLUMN IF EXISTS tool_call_id,
    DROP COLUMN IF EXISTS name;

COMMIT;
