-- Migration: add_last_error_to_environments
-- Created: 2026-08-04
-- Description: environments.last_error, for the details of a failed creation

BEGIN;

-- IF NOT EXISTS: somebody may have added the column by hand to mend production.
ALTER TABLE "environments" ADD COLUMN IF NOT EXISTS "last_error" TEXT;

COMMIT;
