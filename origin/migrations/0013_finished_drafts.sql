-- Drafts that were saved for good: personal data, apart from documents, which everyone may read.
CREATE TABLE finished_drafts (
    user_id     bigint NOT NULL,
    name        text NOT NULL,
    -- That of the draft's end: higher than those of all saves before it.
    revision    bigint NOT NULL,
    data        jsonb NOT NULL,
    finished_at timestamptz NOT NULL,
    CONSTRAINT finished_drafts_pkey PRIMARY KEY (user_id, name)
);

-- They were documents under such keys.
WITH moved AS (
    DELETE FROM documents WHERE key ~ '^draft/-?\d{1,18}:.' RETURNING key, data, updated_at
)
INSERT INTO finished_drafts (user_id, name, revision, data, finished_at)
SELECT substring(key FROM '^draft/(-?\d+):')::bigint, substring(key FROM ':(.*)$'),
    (extract(epoch FROM updated_at) * 1000000)::bigint, data, updated_at
FROM moved ORDER BY updated_at DESC
ON CONFLICT DO NOTHING;
