-- Verify: create_base_tables
-- Created: 2026-08-01
-- Description: The five tables, their foreign keys and indexes are there

-- Nothing is said of messages.role: a later migration changes its type, and this stays true.
SELECT to_regclass('users') IS NOT NULL AS users,
       to_regclass('environments') IS NOT NULL AS environments,
       to_regclass('error_events') IS NOT NULL AS error_events,
       to_regclass('conversations') IS NOT NULL AS conversations,
       to_regclass('messages') IS NOT NULL AS messages;

SELECT count(*) = 4 AS all_there, bool_and(convalidated) AS all_valid
FROM pg_catalog.pg_constraint
WHERE contype = 'f'
  AND (conrelid, confrelid) IN (
      ('environments'::regclass, 'users'::regclass),
      ('error_events'::regclass, 'environments'::regclass),
      ('conversations'::regclass, 'users'::regclass),
      ('messages'::regclass, 'conversations'::regclass)
  );

SELECT count(*) = 6 AS all_there, bool_and(indisvalid) AS all_valid
FROM pg_catalog.pg_index
WHERE indexrelid IN (
    to_regclass('idx_users_email'),
    to_regclass('environments_user_id_idx'),
    to_regclass('idx_error_events_environment_id'),
    to_regclass('idx_error_events_created_at'),
    to_regclass('idx_conversations_user_id'),
    to_regclass('idx_messages_conversation_id')
);
