-- Tags to purge, written in the transaction of the data they speak of, by triggers on the tables they speak of.
--
-- This file stands alone: it makes all of it in an empty schema, and brings an older one up to date. For a database of
-- your own, `tidegate relay --print-sql` prints it; run it once, in the schema that is to hold the outbox, as a role
-- that may create there:
--
--     tidegate relay --print-sql | psql --single-transaction --set ON_ERROR_STOP=1 "$DATABASE_URL"
--     psql "$DATABASE_URL" -c "SELECT tidegate_watch('shop.products', 'product', 'id', 'products')"
--
-- `tidegate relay` takes the tags to the purge log. From then on each statement that touches rows of shop.products announces product:ID for each of them and `products`;
-- one that touches more than 1,000 announces table:products alone beside `products`. Responses made from the table carry
-- these tags in Surrogate-Key, table:products always.
--
-- Not seen: what `session_replication_role = replica` or a subscription writes, tables whose triggers are disabled, and
-- statements that name a partition when only its parent is watched.

CREATE TABLE IF NOT EXISTS outbox (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tags       text[] NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
-- The clock's time and not the transaction's start: how long a tag waited is counted from when it was written.
ALTER TABLE outbox ALTER COLUMN created_at SET DEFAULT clock_timestamp();

-- Whether a tag fits the fields that list tags: visible ASCII without a blank, at most 4,096 bytes.
CREATE OR REPLACE FUNCTION tidegate_is_tag(tag text) RETURNS boolean LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT tag IS NOT NULL AND octet_length(tag) <= 4096 AND tag COLLATE "C" ~ '^[!-~]+$'
$$;

-- What no relay could use is refused where it is written: one to 2,000 tags in a row, each one word.
CREATE OR REPLACE FUNCTION tidegate_are_tags(tags text[]) RETURNS boolean LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT cardinality(tags) BETWEEN 1 AND 2000
        AND (SELECT bool_and(tag IS NOT NULL AND octet_length(tag) <= 4096 AND tag COLLATE "C" ~ '^[!-~]+$')
             FROM unnest(tags) AS tag)
$$;
ALTER TABLE outbox DROP CONSTRAINT IF EXISTS outbox_tags_check;
-- Rows that wait already are the relay's to sort out.
ALTER TABLE outbox ADD CONSTRAINT outbox_tags_check CHECK (tidegate_are_tags(tags)) NOT VALID;

-- Wakes the relay at commit. A lost notification costs a second: the relay also looks by itself.
CREATE OR REPLACE FUNCTION tidegate_wake() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('tidegate_outbox', '');
    RETURN NULL;
END
$$;
DROP TRIGGER IF EXISTS outbox_wake ON outbox;
CREATE TRIGGER outbox_wake AFTER INSERT ON outbox FOR EACH STATEMENT EXECUTE FUNCTION tidegate_wake();

-- The end of what has been written so far, with its timeline: 1:0/16B3748. On a primary only. The name of a WAL file
-- begins with the timeline that is written now; the control file learns of a new one at the next checkpoint.
CREATE OR REPLACE FUNCTION tidegate_lsn() RETURNS text LANGUAGE sql VOLATILE AS $$
    SELECT ('x' || left(pg_walfile_name(lsn), 8))::bit(32)::bigint || ':' || lsn FROM pg_current_wal_insert_lsn() AS lsn
$$;

-- A tag of one kind and value: course:17, document:a%20key. Whatever is not unreserved in a URI (RFC 3986 section 2.3)
-- is percent-encoded, so that a tag has neither a space nor a comma and fits every header that lists tags.
CREATE OR REPLACE FUNCTION tidegate_tag(kind text, value text) RETURNS text LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
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
-- response made from the table carries, and so does a key that is too long for a tag. ALSO are tags that fall with any
-- change, such as that of a list. A row whose key is null has no tag of its own.
-- For each statement, with transition tables named old_rows and new_rows; tidegate_watch below makes the triggers.
--
-- It runs as its owner, so that whoever may write the table need not be let into the outbox.
CREATE OR REPLACE FUNCTION tidegate_purge() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    kind       text := TG_ARGV[0];
    key_column text := TG_ARGV[1];
    whole      text := tidegate_tag('table', TG_TABLE_NAME);
    touched    text;
    seen       bigint;
    keys       text[];
    many       boolean;
    tags       text[];
BEGIN
    IF TG_OP = 'TRUNCATE' THEN
        tags := ARRAY[whole];
    ELSE
        touched := CASE TG_OP
            WHEN 'INSERT' THEN format('SELECT %I::text AS key FROM new_rows', key_column)
            WHEN 'DELETE' THEN format('SELECT %I::text AS key FROM old_rows', key_column)
            ELSE format('SELECT %1$I::text AS key FROM old_rows UNION ALL SELECT %1$I::text FROM new_rows', key_column)
        END;
        -- Most statements end within the first rows; one that touches a million is not read to its end for nothing.
        EXECUTE format('SELECT count(*), array_agg(DISTINCT key) FROM (%s LIMIT 2000) AS first', touched)
            INTO seen, keys;
        IF seen = 0 THEN
            RETURN NULL;
        ELSIF seen = 2000 AND cardinality(keys) <= 1000 THEN
            EXECUTE format('SELECT array_agg(key) FROM (SELECT DISTINCT key FROM (%s) AS touched LIMIT 1002) AS few',
                touched) INTO keys;
        END IF;
        keys := array_remove(keys, NULL);
        many := cardinality(keys) > 1000;
        IF many THEN
            tags := ARRAY[whole];
        ELSE
            SELECT array_agg(DISTINCT CASE WHEN tidegate_is_tag(tag) THEN tag ELSE whole END) INTO tags
                FROM unnest(keys) AS key, tidegate_tag(kind, key) AS tag;
        END IF;
    END IF;
    tags := tags || TG_ARGV[2:TG_NARGS - 1];
    IF cardinality(tags) > 0 THEN
        INSERT INTO outbox (tags) VALUES (tags);
    END IF;
    RETURN NULL;
END
$$;
REVOKE EXECUTE ON FUNCTION tidegate_purge() FROM PUBLIC;
-- Whatever the path of whoever writes is, the names in it mean the same; and nobody's temporary table stands for ours.
DO $$
BEGIN
    EXECUTE format('ALTER FUNCTION tidegate_purge() SET search_path = %I, pg_temp', current_schema());
END
$$;

-- Attaches the triggers to a table: SELECT tidegate_watch('courses', 'course', 'id', 'courses').
-- Names are quoted as everywhere in SQL: tidegate_watch('shop."Order Lines"', 'line', 'Line Id'), the column's alone is
-- taken as it is. A table may be watched by several kinds, each by a column of its own (a composite key by the column
-- that responses are named after); watched by a kind again, it is watched as was said last.
CREATE OR REPLACE FUNCTION tidegate_watch(watched regclass, kind text, key_column text, VARIADIC also text[] DEFAULT '{}')
RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    arguments text;
    event     record;
    tag       text;
BEGIN
    IF kind IS NULL OR kind !~ '^[A-Za-z0-9._~-]{1,32}$' THEN
        RAISE EXCEPTION 'kind % is not 1 to 32 letters, digits or any of . _ ~ -', quote_nullable(kind)
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF (SELECT relkind NOT IN ('r', 'p') FROM pg_class WHERE oid = watched) THEN
        RAISE EXCEPTION '% is no table: only tables and partitioned tables can be watched', watched
            USING ERRCODE = 'wrong_object_type';
    END IF;
    IF key_column IS NULL OR NOT EXISTS (
        SELECT FROM pg_attribute WHERE attrelid = watched AND attname = key_column AND attnum > 0 AND NOT attisdropped
    ) THEN
        RAISE EXCEPTION 'table % has no column %', watched, quote_nullable(key_column)
            USING ERRCODE = 'undefined_column',
                HINT = 'The key is one column, named without quotes; of a composite key, the one that responses are named after.';
    END IF;
    FOREACH tag IN ARRAY also LOOP
        IF NOT tidegate_is_tag(tag) THEN
            RAISE EXCEPTION 'tag % is not one word of visible ASCII characters', quote_nullable(tag)
                USING ERRCODE = 'invalid_parameter_value';
        END IF;
    END LOOP;
    PERFORM tidegate_unwatch(watched, kind);
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
            'tidegate_' || kind || '_' || event.name, event.name, watched, event.transition, arguments);
    END LOOP;
END
$$;

-- Takes the triggers of a kind off a table again; one that has none stays as it is.
CREATE OR REPLACE FUNCTION tidegate_unwatch(watched regclass, kind text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    trigger_name name;
BEGIN
    FOR trigger_name IN
        SELECT tgname FROM pg_trigger
        WHERE tgrelid = watched AND tgfoid = 'tidegate_purge'::regproc
            AND split_part(encode(tgargs, 'escape'), '\000', 1) = kind
    LOOP
        EXECUTE format('DROP TRIGGER %I ON %s', trigger_name, watched);
    END LOOP;
END
$$;
