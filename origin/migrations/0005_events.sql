-- Activity: what users did, fed by a stream in batches, kept in a table of days.
--
-- An event's id is a UUID of version 7, which begins with the time in milliseconds. Partitions are ranges of ids, and so
-- of time; the primary key holds the partition key, and one event is one row whenever its repeats come: they all belong
-- to the same partition.
--
-- This file may be run again: it changes nothing then.

CREATE TABLE IF NOT EXISTS events (
    id          uuid NOT NULL,
    user_id     bigint NOT NULL,
    event_type  text NOT NULL,
    event_data  jsonb NOT NULL,
    ip_address  text,
    user_agent  text,
    referrer    text,
    occurred_at timestamptz NOT NULL,
    CONSTRAINT events_pkey PRIMARY KEY (id)
) PARTITION BY RANGE (id);
-- The id is the time, so these are by user and time, by type and time; the primary key is by time.
CREATE INDEX IF NOT EXISTS events_user ON events (user_id, id);
CREATE INDEX IF NOT EXISTS events_type ON events (event_type, id);
-- What a client says the course is may be of any length, and an index takes no more than a part of a page: enough of it to
-- tell all numbers of courses apart from each other and from what is longer.
CREATE INDEX IF NOT EXISTS events_course_views ON events (left(event_data ->> 'course_id', 21), id)
    WHERE event_type = 'course_view';

-- Below every id of the moment and of later ones, above every id of earlier ones.
CREATE OR REPLACE FUNCTION tidegate_event_floor(moment timestamptz) RETURNS uuid LANGUAGE sql STABLE STRICT AS $$
    SELECT (lpad(to_hex(floor(extract(epoch FROM moment) * 1000)::bigint), 12, '0') || repeat('0', 20))::uuid
$$;

-- Makes the partitions of all days (UTC) from one moment to another; returns how many there were not yet.
-- A table is made by itself and attached: inserts go on meanwhile, which making it in its place would not let them.
CREATE OR REPLACE FUNCTION tidegate_make_event_days(first timestamptz, last timestamptz) RETURNS integer
LANGUAGE plpgsql AS $$
DECLARE
    day  timestamp;
    name text;
    made integer := 0;
BEGIN
    -- Whoever comes second finds them made.
    PERFORM pg_advisory_xact_lock(7453110);
    FOR day IN SELECT generate_series(date_trunc('day', first AT TIME ZONE 'UTC'), last AT TIME ZONE 'UTC', '1 day') LOOP
        name := 'events_' || to_char(day, 'YYYYMMDD');
        CONTINUE WHEN to_regclass(name) IS NOT NULL;
        EXECUTE format('CREATE TABLE %I (LIKE events INCLUDING ALL)', name);
        EXECUTE format('ALTER TABLE events ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', name,
            tidegate_event_floor(day AT TIME ZONE 'UTC'), tidegate_event_floor((day + '1 day') AT TIME ZONE 'UTC'));
        made := made + 1;
    END LOOP;
    RETURN made;
END
$$;

-- Drops the partitions of days (UTC) that were over at the moment; returns how many there were.
CREATE OR REPLACE FUNCTION tidegate_drop_event_days(before timestamptz) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    name    text;
    dropped integer := 0;
BEGIN
    PERFORM pg_advisory_xact_lock(7453110);
    FOR name IN
        SELECT inhrelid::regclass::text FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid
        WHERE inhparent = 'events'::regclass AND relname ~ '^events_\d{8}$'
            AND relname::text < 'events_' || to_char(before AT TIME ZONE 'UTC', 'YYYYMMDD')
    LOOP
        EXECUTE 'DROP TABLE ' || name;
        dropped := dropped + 1;
    END LOOP;
    RETURN dropped;
END
$$;

-- The origin's worker goes on from here.
SELECT tidegate_make_event_days(now() - interval '1 day', now() + interval '7 days');
