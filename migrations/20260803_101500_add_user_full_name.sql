-- Migration: add_user_full_name
-- Created: 2026-08-03
-- Description: users.full_name, filled from the first and the last name
-- windlass: transaction=off

-- Nullable, and it stays so: the code now running inserts users without it. On its own: the lock
-- on the table must not last as long as the backfill.
ALTER TABLE users ADD COLUMN IF NOT EXISTS full_name VARCHAR;

UPDATE users
SET full_name = first_name || ' ' || last_name
WHERE full_name IS NULL;
