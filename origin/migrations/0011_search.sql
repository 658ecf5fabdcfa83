-- What courses are found by: their words, by full text; their titles, however misspelt, by trigrams where PostgreSQL has
-- them.

-- Of a text so long that it would be refused, the beginning.
ALTER TABLE courses ADD COLUMN search tsvector GENERATED ALWAYS AS (
    setweight(to_tsvector('pg_catalog.english', title), 'A')
    || setweight(to_tsvector('pg_catalog.english', category), 'B')
    || setweight(to_tsvector('pg_catalog.english', left(description, 100000)), 'C')
) STORED;
CREATE INDEX courses_search ON courses USING gin (search);

-- The extension may not be there (its package is another one), or may not be ours to make. Without it, what is misspelt
-- is not found; whoever makes it later makes the index with it.
DO $$
BEGIN
    CREATE EXTENSION IF NOT EXISTS pg_trgm;
    CREATE INDEX courses_title_trigrams ON courses USING gin (title gin_trgm_ops);
EXCEPTION
    WHEN insufficient_privilege OR undefined_file OR undefined_object OR feature_not_supported OR invalid_schema_name THEN
        RAISE NOTICE 'no search by similarity: %', SQLERRM;
END
$$;

-- What was searched for, and what was chosen from the results. A row tells of one of the two.
CREATE TABLE search_logs (
    id                bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    user_id           bigint,
    query             text NOT NULL,
    -- full_text, trigram or click.
    search_type       text NOT NULL,
    result_count      integer,
    duration_ms       double precision,
    clicked_course_id bigint,
    clicked_position  integer,
    created_at        timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX search_logs_time ON search_logs (created_at);
