-- Tags to purge, written in the transaction of the data they speak of, taken away by the relay.

CREATE TABLE outbox (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tags       text[] NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);

-- Wakes the relay at commit. A lost notification costs a second: the relay also looks by itself.
CREATE FUNCTION tidegate_wake() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('tidegate_outbox', '');
    RETURN NULL;
END
$$;
CREATE TRIGGER outbox_wake AFTER INSERT ON outbox FOR EACH STATEMENT EXECUTE FUNCTION tidegate_wake();

-- A tag of one kind and value: course:17, document:a%20key. Whatever is not unreserved in a URI (RFC 3986 section 2.3)
-- is percent-encoded, so that a tag has neither a space nor a comma and fits every header that lists tags.
CREATE FUNCTION tidegate_tag(kind text, value text) RETURNS text LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
    SELECT kind || ':' || CASE
        WHEN value ~ '^[A-Za-z0-9._~-]*$' THEN value
        ELSE (
            SELECT string_agg(
                CASE
                    WHEN byte BETWEEN 48 AND 57 OR byte BETWEEN 65 AND 90 OR byte BETWEEN 97 AND 122
                        OR byte IN (45, 46, 95, 126) THEN chr(byte)
                    ELSE '%' || upper(lpad(to_hex(byte), 2, '0'))
                END, '' ORDER BY place)
            FROM (
                SELECT place, get_byte(convert_to(value, 'UTF8'), place) AS byte
                FROM generate_series(0, octet_length(convert_to(value, 'UTF8')) - 1) AS place
            ) AS bytes
        )
    END
$$;

-- For writes that nobody announces: EXECUTE FUNCTION tidegate_purge(KIND, KEY_COLUMN, ALSO...).
-- Each row touched by a statement becomes the tag KIND:KEY; more than 1,000 become the one tag table:TABLE, which every
-- response made from the table carries. ALSO are tags that fall with any change, such as that of a list.
-- For each statement, with transition tables named old_rows and new_rows; tidegate_watch below makes the triggers.
CREATE FUNCTION tidegate_purge() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    kind       text := TG_ARGV[0];
    key_column text := TG_ARGV[1];
    keys       text[];
    touched    text;
    tags       text[];
BEGIN
    IF TG_OP = 'TRUNCATE' THEN
        tags := ARRAY['table:' || TG_TABLE_NAME];
    ELSE
        touched := CASE TG_OP
            WHEN 'INSERT' THEN format('SELECT %I::text AS key FROM new_rows', key_column)
            WHEN 'DELETE' THEN format('SELECT %I::text AS key FROM old_rows', key_column)
            ELSE format('SELECT %1$I::text AS key FROM old_rows UNION ALL SELECT %1$I::text FROM new_rows', key_column)
        END;
        EXECUTE format('SELECT array_agg(key) FROM (SELECT DISTINCT key FROM (%s) AS touched LIMIT 1001) AS few', touched)
            INTO keys;
        IF keys IS NULL THEN
            RETURN NULL;
        ELSIF cardinality(keys) > 1000 THEN
            tags := ARRAY['table:' || TG_TABLE_NAME];
        ELSE
            SELECT array_agg(tidegate_tag(kind, key)) INTO tags FROM unnest(keys) AS key;
        END IF;
    END IF;
    INSERT INTO outbox (tags) VALUES (tags || TG_ARGV[2:TG_NARGS - 1]);
    RETURN NULL;
END
$$;

-- Attaches the triggers to a table: SELECT tidegate_watch('courses', 'course', 'id', 'courses').
CREATE FUNCTION tidegate_watch(watched regclass, kind text, key_column text, VARIADIC also text[] DEFAULT '{}')
RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    arguments text;
    event     record;
BEGIN
    SELECT string_agg(quote_literal(argument), ', ' ORDER BY place) INTO arguments
        FROM unnest(ARRAY[kind, key_column] || also) WITH ORDINALITY AS given (argument, place);
    FOR event IN
        SELECT * FROM (VALUES
            ('insert', 'REFERENCING NEW TABLE AS new_rows'),
            ('update', 'REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows'),
            ('delete', 'REFERENCING OLD TABLE AS old_rows'),
            ('truncate', '')
        ) AS events (name, transition)
    LOOP
        EXECUTE format(
            'CREATE TRIGGER %I AFTER %s ON %s %s FOR EACH STATEMENT EXECUTE FUNCTION tidegate_purge(%s)',
            'tidegate_purge_' || event.name, event.name, watched, event.transition, arguments);
    END LOOP;
END
$$;

SELECT tidegate_watch('courses', 'course', 'id', 'courses');
SELECT tidegate_watch('documents', 'document', 'key');
