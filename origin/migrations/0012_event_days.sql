-- Days of events, by what is attached to the table and not by what bears a name: a day that an operator has detached, to
-- keep it elsewhere, has its table still, and one of the same name may stand in another schema. Neither takes events.
--
-- This file may be run again: it changes nothing then.

-- Makes the partitions of all days (UTC) from one moment to another; returns how many there were not yet.
-- A table is made by itself and attached: inserts go on meanwhile, which making it in its place would not let them.
CREATE OR REPLACE FUNCTION tidegate_make_event_days(first timestamptz, last timestamptz) RETURNS integer
LANGUAGE plpgsql AS $$
DECLARE
    day  timestamp;
    base text;
    name text;
    more integer;
    made integer := 0;
BEGIN
    -- Whoever comes second finds them made.
    PERFORM pg_advisory_xact_lock(7453110);
    FOR day IN SELECT generate_series(date_trunc('day', first AT TIME ZONE 'UTC'), last AT TIME ZONE 'UTC', '1 day') LOOP
        base := 'events_' || to_char(day, 'YYYYMMDD');
        CONTINUE WHEN EXISTS (
            SELECT FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid
            WHERE inhparent = 'events'::regclass AND (relname = base OR relname LIKE base || '\_%'));
        name := base;
        more := 1;
        WHILE to_regclass(quote_ident(name)) IS NOT NULL LOOP
            more := more + 1;
            name := base || '_' || more;
        END LOOP;
        BEGIN
            EXECUTE format('CREATE TABLE %I (LIKE events INCLUDING ALL)', name);
            EXECUTE format('ALTER TABLE events ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', name,
                tidegate_event_floor(day AT TIME ZONE 'UTC'), tidegate_event_floor((day + '1 day') AT TIME ZONE 'UTC'));
            made := made + 1;
        EXCEPTION WHEN invalid_object_definition THEN
            -- A partition of another name has the day, such as one of a month that an operator has made.
            NULL;
        END;
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
        WHERE inhparent = 'events'::regclass AND relname ~ '^events_\d{8}(_\d+)?$'
            AND left(relname::text, 15) < 'events_' || to_char(before AT TIME ZONE 'UTC', 'YYYYMMDD')
        ORDER BY relname
    LOOP
        EXECUTE 'DROP TABLE ' || name;
        dropped := dropped + 1;
    END LOOP;
    RETURN dropped;
END
$$;
