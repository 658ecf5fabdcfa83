-- What is gathered in Redis and written here now and then. This file may be run again: it changes nothing then.

-- How often something was reacted to, as far as it has been folded in.
CREATE TABLE IF NOT EXISTS reactions (
    target   text NOT NULL,
    reaction text NOT NULL,
    count    bigint NOT NULL,
    CONSTRAINT reactions_pkey PRIMARY KEY (target, reaction)
);

-- The batches that have been folded in: one that comes again, because a crash kept its end from being heard, is known.
CREATE TABLE IF NOT EXISTS reaction_batches (
    id        uuid PRIMARY KEY,
    folded_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX IF NOT EXISTS reaction_batches_time ON reaction_batches (folded_at);

-- Drafts as they were some moments ago. One that was saved for good is left as a row without data for a day: what was
-- saved before that moment and comes late has a lower revision, and stays away.
CREATE TABLE IF NOT EXISTS drafts (
    user_id  bigint NOT NULL,
    name     text NOT NULL,
    revision bigint NOT NULL,
    data     jsonb,
    saved_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT drafts_pkey PRIMARY KEY (user_id, name)
);
CREATE INDEX IF NOT EXISTS drafts_finished ON drafts (saved_at) WHERE data IS NULL;
