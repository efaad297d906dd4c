-- Migration: add_tool_columns_to_messages
-- Created: 2026-08-06
-- Description: messages.tool_call_id and messages.name, for messages of the role tool

BEGIN;

-- May run again, and where one of the two is there already.
ALTER TABLE messages
    ADD COLUMN IF NOT EXISTS tool_call_id VARCHAR(100),
    ADD COLUMN IF NOT EXISTS name VARCHAR(100);

COMMIT;
