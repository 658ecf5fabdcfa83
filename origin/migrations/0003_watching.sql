-- Tags to purge, written in the transaction of the data they speak of, by triggers on the tables they speak of.
--
-- This file stands alone: it makes all of it in an empty schema, and brings an older one up to date. For a database of
-- your own, `tidegate relay --print-sql` prints it; run it once, in the schema that is to hold the outbox, as a role
-- that may create there:
--
--     tidegate relay --print-sql | psql --single-transaction --set ON_ERROR_STOP=1 "$DATABASE_URL"
--     psql "$DATABASE_URL" -c "SELECT tidegate_watch('shop.products', 'product', 'id', 'products')"
--
-- `tidegate relay` takes the tags to the purge log. From then on each statement that touches rows of shop.products
-- announces product:ID for each of them and `products`; one that touches more than 1,000 announces table:products alone
-- beside `products`. Responses made from the table carry these tags in Surrogate-Key, table:products always.
--
-- Not seen: what `session_replication_role = replica` or a subscription writes, tables whose triggers are disabled, and
-- statements that name a partition when only its parent is watched.

-- Whoever may create in this schema could have laid out a table or a function of ours before us, and would still own it.
DO $$
DECLARE
    strange text;
BEGIN
    SELECT found.what INTO strange FROM (
        SELECT 'relation outbox', relowner FROM pg_catalog.pg_class
            WHERE relnamespace = pg_catalog.current_schema()::pg_catalog.regnamespace::oid AND relname = 'outbox'
        UNION ALL
        SELECT 'function ' OPERATOR(pg_catalog.||) proname::text, proowner FROM pg_catalog.pg_proc
            WHERE pronamespace = pg_catalog.current_schema()::pg_catalog.regnamespace::oid
                AND proname::text IN ('tidegate_is_tag', 'tidegate_are_tags', 'tidegate_wake', 'tidegate_lsn',
                    'tidegate_tag', 'tidegate_purge', 'tidegate_watch', 'tidegate_unwatch')
    ) AS found (what, owner)
    WHERE owner <> (SELECT oid FROM pg_catalog.pg_roles WHERE rolname = current_user)
    LIMIT 1;
    IF strange IS NOT NULL THEN
        RAISE EXCEPTION '% belongs to another role than the one that installs', strange
            USING ERRCODE = 'insufficient_privilege',
                HINT = 'Drop it if it is not of your making; else give all that is ours to one role, and install as that.';
    END IF;
END
$$;

CREATE TABLE IF NOT EXISTS outbox (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tags       text[] NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
-- The clock's time and not the transaction's start: how long a tag waited is counted from when it was written.
ALTER TABLE outbox ALTER COLUMN created_at SET DEFAULT clock_timestamp();

-- Functions and tables are named with their schemas below: others may have some of the same name, for more exact types.

-- Whether a tag fits the fields that list tags: visible ASCII without a blank, at most 4,096 bytes.
CREATE OR REPLACE FUNCTION tidegate_is_tag(tag text) RETURNS boolean LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT tag IS NOT NULL AND pg_catalog.octet_length(tag) <= 4096 AND tag COLLATE pg_catalog."C" ~ '^[!-~]+$'
$$;

-- What no relay could use is refused where it is written: a plain list of one to 2,000 tags, each one word.
CREATE OR REPLACE FUNCTION tidegate_are_tags(tags text[]) RETURNS boolean LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
DECLARE
    tag text;
BEGIN
    IF tags IS NULL OR pg_catalog.array_ndims(tags) IS DISTINCT FROM 1 OR pg_catalog.array_lower(tags, 1) <> 1
        OR pg_catalog.cardinality(tags) > 2000
    THEN
        RETURN false;
    END IF;
    FOREACH tag IN ARRAY tags LOOP
        IF tag IS NULL OR pg_catalog.octet_length(tag) > 4096 OR tag COLLATE pg_catalog."C" !~ '^[!-~]+$' THEN
            RETURN false;
        END IF;
    END LOOP;
    RETURN true;
END
$$;
ALTER TABLE outbox DROP CONSTRAINT IF EXISTS outbox_tags_check, DROP CONSTRAINT IF EXISTS outbox_created_at_check;
-- Rows that wait already are the relay's to sort out.
ALTER TABLE outbox ADD CONSTRAINT outbox_tags_check CHECK (tidegate_are_tags(tags)) NOT VALID,
    ADD CONSTRAINT outbox_created_at_check CHECK (pg_catalog.isfinite(created_at)) NOT VALID;

-- Wakes the relay at commit. A lost notification costs a second: the relay also looks by itself.
CREATE OR REPLACE FUNCTION tidegate_wake() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_catalog.pg_notify('tidegate_outbox', '');
    RETURN NULL;
END
$$;
DROP TRIGGER IF EXISTS outbox_wake ON outbox;
CREATE TRIGGER outbox_wake AFTER INSERT ON outbox FOR EACH STATEMENT EXECUTE FUNCTION tidegate_wake();

-- The end of what has been written so far, with its timeline: 1:0/16B3748. On a primary only. The name of a WAL file
-- begins with the timeline that is written now; the control file learns of a new one at the next checkpoint.
CREATE OR REPLACE FUNCTION tidegate_lsn() RETURNS text LANGUAGE sql VOLATILE AS $$
    SELECT pg_catalog.format('%s:%s', ('x' || pg_catalog.left(pg_catalog.pg_walfile_name(lsn), 8))::bit(32)::bigint, lsn)
    FROM pg_catalog.pg_current_wal_insert_lsn() AS lsn
$$;

-- A tag of one kind and value: course:17, document:a%20key. Whatever is not unreserved in a URI (RFC 3986 section 2.3)
-- is percent-encoded, so that a tag has neither a space nor a comma and fits every header that lists tags.
CREATE OR REPLACE FUNCTION tidegate_tag(kind text, value text) RETURNS text LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
DECLARE
    bytes   bytea;
    byte    int;
    encoded text := '';
BEGIN
    IF value COLLATE pg_catalog."C" ~ '^[A-Za-z0-9._~-]*$' THEN
        RETURN kind || ':' || value;
    END IF;
    bytes := pg_catalog.convert_to(value, 'UTF8');
    FOR place IN 0 .. pg_catalog.octet_length(bytes) - 1 LOOP
        byte := pg_catalog.get_byte(bytes, place);
        encoded := encoded || CASE
            WHEN byte BETWEEN 48 AND 57 OR byte BETWEEN 65 AND 90 OR byte BETWEEN 97 AND 122
                OR byte IN (45, 46, 95, 126) THEN pg_catalog.chr(byte)
            ELSE '%' || pg_catalog.upper(pg_catalog.lpad(pg_catalog.to_hex(byte), 2, '0'))
        END;
    END LOOP;
    RETURN kind || ':' || encoded;
END
$$;

-- What follows names things of ours by the schema they stand in, put in place of @here@, whatever the path of those who
-- write to the tables is.
DO $install$
BEGIN
    EXECUTE pg_catalog.replace($sql$

-- For writes that nobody announces: EXECUTE FUNCTION tidegate_purge(KIND, KEY_COLUMN, ALSO...).
-- Each row touched by a statement becomes the tag KIND:KEY; more than 1,000 become the one tag table:TABLE, which every
-- response made from the table carries, and so does a key that is too long for a tag. ALSO are tags that fall with any
-- change, such as that of a list. A row whose key is null has no tag of its own.
-- For each statement, with transition tables named old_rows and new_rows; tidegate_watch below makes the triggers.
--
-- It runs as its owner, so that whoever may write the table need not be let into the outbox. So it may call nothing that
-- others have made: its path has no schema of theirs, and the key becomes text as its type prints it, by no cast. It
-- prints the same in every session, and keys that a collation calls equal are two.
CREATE OR REPLACE FUNCTION @here@.tidegate_purge() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    SET DateStyle = 'ISO, YMD' SET TimeZone = 'UTC' SET IntervalStyle = 'postgres'
    SET bytea_output = 'hex' SET extra_float_digits = 1
AS $$
DECLARE
    kind       text := TG_ARGV[0];
    key_column text := TG_ARGV[1];
    whole      text := @here@.tidegate_tag('table'::text, TG_TABLE_NAME::text);
    touched    text;
    seen       bigint;
    keys       text[];
    tags       text[];
BEGIN
    IF TG_OP = 'TRUNCATE' THEN
        tags := ARRAY[whole];
    ELSE
        touched := CASE TG_OP
            WHEN 'INSERT' THEN 'SELECT %1$s AS key FROM new_rows'
            WHEN 'DELETE' THEN 'SELECT %1$s AS key FROM old_rows'
            ELSE 'SELECT %1$s AS key FROM old_rows UNION ALL SELECT %1$s FROM new_rows'
        END;
        touched := format(touched,
            format('CASE WHEN %1$I IS NULL THEN NULL ELSE format(''%%s'', %1$I) COLLATE "C" END', key_column));
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
        IF cardinality(keys) > 1000 THEN
            tags := ARRAY[whole];
        ELSIF cardinality(keys) = 1 THEN
            tags := ARRAY[@here@.tidegate_tag(kind, keys[1])];
            IF NOT @here@.tidegate_is_tag(tags[1]) THEN
                tags := ARRAY[whole];
            END IF;
        ELSE
            SELECT array_agg(DISTINCT CASE WHEN @here@.tidegate_is_tag(tag) THEN tag ELSE whole END) INTO tags
                FROM unnest(keys) AS key, @here@.tidegate_tag(kind, key) AS tag;
        END IF;
    END IF;
    tags := tags || TG_ARGV[2:TG_NARGS - 1];
    IF cardinality(tags) > 0 THEN
        INSERT INTO @here@.outbox (tags) VALUES (tags);
    END IF;
    RETURN NULL;
END
$$;
REVOKE EXECUTE ON FUNCTION @here@.tidegate_purge() FROM PUBLIC;

-- Attaches the triggers to a table: SELECT tidegate_watch('courses', 'course', 'id', 'courses').
-- Names are quoted as everywhere in SQL: tidegate_watch('shop."Order Lines"', 'line', 'Line Id'), the column's alone is
-- taken as it is. A table may be watched by several kinds, each by a column of its own (a composite key by the column
-- that responses are named after); watched by a kind again, it is watched as was said last.
CREATE OR REPLACE FUNCTION @here@.tidegate_watch(watched regclass, kind text, key_column text, VARIADIC also text[] DEFAULT '{}')
RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    arguments text;
    stored    bytea;
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
    IF watched = $name$@here@.outbox$name$::regclass THEN
        RAISE EXCEPTION '% is where changes are announced: it cannot be watched', watched
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
        IF NOT @here@.tidegate_is_tag(tag) THEN
            RAISE EXCEPTION 'tag % is not one word of visible ASCII characters', quote_nullable(tag)
                USING ERRCODE = 'invalid_parameter_value';
        END IF;
    END LOOP;
    -- What is there already stays, so that running this again takes no lock that readers wait for.
    SELECT string_agg(quote_literal(argument), ', ' ORDER BY place),
        string_agg(convert_to(argument, getdatabaseencoding()) || '\x00'::bytea, '' ORDER BY place)
        INTO arguments, stored
        FROM unnest(ARRAY[kind, key_column] || also) WITH ORDINALITY AS given (argument, place);
    FOR event IN
        WITH wanted AS (
            SELECT format('%s %s %s %s', format('tidegate_%s_%s', kind, name), type, old_rows, new_rows) AS looks,
                name, transition
            FROM (VALUES
                ('insert', 4, NULL, 'new_rows', 'REFERENCING NEW TABLE AS new_rows'),
                ('update', 16, 'old_rows', 'new_rows', 'REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows'),
                ('delete', 8, 'old_rows', NULL, 'REFERENCING OLD TABLE AS old_rows'),
                ('truncate', 32, NULL, NULL, '')
            ) AS events (name, type, old_rows, new_rows, transition)
        ), attached AS (
            SELECT CASE WHEN tgargs = stored AND tgenabled IN ('O', 'A')
                THEN format('%s %s %s %s', tgname, tgtype, tgoldtable, tgnewtable) END AS looks, tgname
            FROM pg_trigger
            WHERE tgrelid = watched AND tgfoid = $name$@here@.tidegate_purge()$name$::regprocedure
                AND split_part(encode(tgargs, 'escape'), '\000', 1) = kind
        )
        SELECT name, transition, tgname FROM wanted FULL JOIN attached USING (looks)
            WHERE name IS NULL OR tgname IS NULL ORDER BY tgname NULLS LAST
    LOOP
        IF event.tgname IS NOT NULL THEN
            EXECUTE format('DROP TRIGGER %I ON %s', event.tgname, watched);
        ELSE
            EXECUTE format(
                'CREATE TRIGGER %I AFTER %s ON %s %s FOR EACH STATEMENT EXECUTE FUNCTION @here@.tidegate_purge(%s)',
                format('tidegate_%s_%s', kind, event.name), event.name, watched, event.transition, arguments);
        END IF;
    END LOOP;
END
$$;

-- Takes the triggers of a kind off a table again; one that has none stays as it is.
CREATE OR REPLACE FUNCTION @here@.tidegate_unwatch(watched regclass, kind text) RETURNS void LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    trigger_name name;
BEGIN
    FOR trigger_name IN
        SELECT tgname FROM pg_trigger
        WHERE tgrelid = watched AND tgfoid = $name$@here@.tidegate_purge()$name$::regprocedure
            AND split_part(encode(tgargs, 'escape'), '\000', 1) = kind
    LOOP
        EXECUTE format('DROP TRIGGER %I ON %s', trigger_name, watched);
    END LOOP;
END
$$;

    $sql$, '@here@', pg_catalog.quote_ident(pg_catalog.current_schema()::text));
END
$install$;
