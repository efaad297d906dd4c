-- Migration: create_base_tables
-- Created: 2026-08-01
-- Description: The tables of the to-do backend as production has them before everything below

BEGIN;

-- Plain CREATE throughout: a table of another shape under one of these names must stop us here,
-- where IF NOT EXISTS would take it for ours.

CREATE TABLE users (
    id SERIAL PRIMARY KEY,
    email VARCHAR(255) NOT NULL,
    first_name VARCHAR(100) NOT NULL,
    last_name VARCHAR(100) NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT CURRENT_TIMESTAMP
);

CREATE UNIQUE INDEX idx_users_email ON users (email);

-- Prisma's shape: TEXT keys, milliseconds without a time zone, updated_at written by the client.
CREATE TABLE "environments" (
    "id" TEXT NOT NULL,
    "name" TEXT NOT NULL,
    "template_id" TEXT NOT NULL,
    "status" TEXT NOT NULL DEFAULT 'CREATING',
    "user_id" INTEGER,
    "created_at" TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "updated_at" TIMESTAMP(3) NOT NULL,

    CONSTRAINT "environments_pkey" PRIMARY KEY ("id"),
    CONSTRAINT "environments_user_id_fkey" FOREIGN KEY ("user_id")
        REFERENCES users (id) ON DELETE CASCADE
);

CREATE INDEX "environments_user_id_idx" ON "environments" ("user_id");

-- payload: message, stack, method, path and, mostly, status_code.
CREATE TABLE error_events (
    id BIGSERIAL PRIMARY KEY,
    environment_id TEXT REFERENCES "environments" ("id") ON DELETE SET NULL,
    payload JSONB NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT CURRENT_TIMESTAMP
);

CREATE INDEX idx_error_events_environment_id ON error_events (environment_id);
CREATE INDEX idx_error_events_created_at ON error_events (created_at);

-- A conversation may begin before anybody has signed in.
CREATE TABLE conversations (
    id TEXT PRIMARY KEY,
    user_id INTEGER REFERENCES users (id) ON DELETE CASCADE,
    title VARCHAR(200),
    created_at TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT CURRENT_TIMESTAMP
);

CREATE INDEX idx_conversations_user_id ON conversations (user_id);

CREATE TYPE message_role AS ENUM ('user', 'assistant', 'system', 'tool');

CREATE TABLE messages (
    id BIGSERIAL PRIMARY KEY,
    conversation_id TEXT NOT NULL REFERENCES conversations (id) ON DELETE CASCADE,
    role message_role NOT NULL,
    content TEXT NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT CURRENT_TIMESTAMP
);

CREATE INDEX idx_messages_conversation_id ON messages (conversation_id, created_at);

COMMIT;
