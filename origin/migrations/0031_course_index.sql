-- Which courses are still to be indexed by what they mean. The vectors themselves need an extension that may not be there:
-- their table is made by an origin that finds it.

-- By what the courses are indexed: one row, once an origin has made the table.
CREATE TABLE course_index (
    one   boolean PRIMARY KEY DEFAULT true CHECK (one),
    model text NOT NULL
);

-- Only ever added to by writers, so that none waits for another or for whoever indexes. What is indexed is gone.
CREATE TABLE course_index_queue (
    id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    course_id bigint NOT NULL,
    tries     integer NOT NULL DEFAULT 0,
    -- Not before; of what has been given up, never.
    due_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    failure   text
);

-- In the transaction of the course, whoever writes it. Where nobody indexes, nothing is queued. It runs as its owner, so
-- that whoever may write courses need not be let into the queue, and finds tables in this schema alone.
DO $install$
BEGIN
    EXECUTE format($sql$
        CREATE FUNCTION course_index_ask() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
            SET search_path = %I, pg_temp
        AS $$
        BEGIN
            INSERT INTO course_index_queue (course_id) SELECT NEW.id FROM course_index;
            RETURN NULL;
        END
        $$
    $sql$, current_schema());
END
$install$;
REVOKE EXECUTE ON FUNCTION course_index_ask() FROM PUBLIC;
CREATE TRIGGER courses_index_insert AFTER INSERT ON courses FOR EACH ROW EXECUTE FUNCTION course_index_ask();
CREATE TRIGGER courses_index_update AFTER UPDATE OF id, title, category, description ON courses FOR EACH ROW
    WHEN (OLD.id <> NEW.id OR OLD.title <> NEW.title OR OLD.category <> NEW.category OR OLD.description <> NEW.description)
    EXECUTE FUNCTION course_index_ask();
