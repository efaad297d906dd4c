-- Rollback: add_last_error_to_environments
-- Created: 2026-08-04
-- Description: Drops environments.last_error. The error details stored in it are lost

BEGIN;

ALTER TABLE "environments" DROP COLUMN IF EXISTS "last_error";

COMMIT;
