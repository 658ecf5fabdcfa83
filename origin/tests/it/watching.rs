//! Tables of any shape are watched by the shipped triggers, and what cannot be watched is refused with a reason.

use sqlx::{AssertSqlSafe, PgPool, postgres::PgPoolOptions};
use tidegate_origin::{Relay, outbox::WATCHING};

use crate::support::{House, database};

async fn run(pool: &PgPool, statement: &str) {
    sqlx::raw_sql(AssertSqlSafe(statement.to_owned()))
        .execute(pool)
        .await
        .unwrap_or_else(|error| panic!("{statement}: {error}"));
}

#[tokio::test]
async fn a_database_of_ones_own_takes_the_shipped_sql_and_takes_it_again() {
    let pool = PgPoolOptions::new()
        .max_connections(1)
        .connect(&database().await)
        .await
        .unwrap();
    run(&pool, WATCHING).await;
    run(&pool, "CREATE TABLE products (id int PRIMARY KEY); SELECT tidegate_watch('products', 'product', 'id')").await;
    run(&pool, WATCHING).await;
    run(&pool, "INSERT INTO products VALUES (1)").await;
    let tags: Vec<Vec<String>> = sqlx::query_scalar("SELECT tags FROM outbox")
        .fetch_all(&pool)
        .await
        .unwrap();
    assert_eq!(tags, [["product:1"]]);
}

#[tokio::test]
async fn every_way_to_write_is_seen_on_tables_of_every_shape() {
    let house = House::with_full_outbox().await;
    run(
        &house.pool,
        r#"CREATE SCHEMA "My Shop";
           CREATE TABLE "My Shop"."Order Lines" ("Line Id" uuid PRIMARY KEY, n int);
           SELECT tidegate_watch('"My Shop"."Order Lines"', 'line', 'Line Id', 'lines');
           CREATE TABLE seats (room int, seat text, who text, PRIMARY KEY (room, seat));
           SELECT tidegate_watch('seats', 'room', 'room');
           SELECT tidegate_watch('seats', 'seat', 'seat');
           CREATE TABLE readings (day date NOT NULL, sensor int) PARTITION BY RANGE (day);
           CREATE TABLE readings_1 PARTITION OF readings FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
           CREATE TABLE readings_2 PARTITION OF readings FOR VALUES FROM ('2026-02-01') TO ('2026-03-01');
           SELECT tidegate_watch('readings', 'sensor', 'sensor');
           CREATE TABLE parts (id text, room int);
           SELECT tidegate_watch('parts', 'part', 'id')"#,
    )
    .await;
    const LINE: &str = "00000000-0000-0000-0000-000000000007";
    let rows: [(&str, &[&str]); 16] = [
        (
            r#"INSERT INTO "My Shop"."Order Lines" VALUES ('00000000-0000-0000-0000-000000000007', 1)"#,
            &["line:00000000-0000-0000-0000-000000000007", "lines"],
        ),
        (
            r#"TRUNCATE "My Shop"."Order Lines""#,
            &["lines", "table:Order%20Lines"],
        ),
        (
            "INSERT INTO seats VALUES (1, 'A', 'x'), (1, 'B', 'y')",
            &["room:1", "seat:A", "seat:B"],
        ),
        (
            "UPDATE seats SET room = 2 WHERE seat = 'A'",
            &["room:1", "room:2", "seat:A"],
        ),
        ("UPDATE seats SET who = 'z' WHERE room = 7", &[]),
        (
            "INSERT INTO seats SELECT 3, 'C', 'w'",
            &["room:3", "seat:C"],
        ),
        (
            "INSERT INTO seats VALUES (3, 'C', 'v'), (4, 'D', 'v') ON CONFLICT (room, seat) DO UPDATE SET who = 'v'",
            &["room:3", "room:4", "seat:C", "seat:D"],
        ),
        (
            "WITH gone AS (DELETE FROM seats WHERE room = 3) UPDATE seats SET who = 'u' WHERE room = 2",
            &["room:2", "room:3", "seat:A", "seat:C"],
        ),
        (
            "INSERT INTO readings VALUES ('2026-01-05', 5), ('2026-02-06', 6)",
            &["sensor:5", "sensor:6"],
        ),
        // It moves from one partition to the other.
        (
            "UPDATE readings SET day = '2026-02-05', sensor = 8 WHERE sensor = 5",
            &["sensor:5", "sensor:8"],
        ),
        ("DELETE FROM readings WHERE sensor = 8", &["sensor:8"]),
        ("INSERT INTO parts VALUES (NULL, 1)", &[]),
        ("INSERT INTO parts VALUES ('', 1), (NULL, 1)", &["part:"]),
        (
            "INSERT INTO parts VALUES (repeat('ü', 2000), 1), ('ü', 1)",
            &["part:%C3%BC", "table:parts"],
        ),
        (
            "SELECT tidegate_watch('parts', 'part', 'room', 'parts'); UPDATE parts SET id = 'x'",
            &["part:1", "parts"],
        ),
        (
            "SELECT tidegate_unwatch('parts', 'part'); DELETE FROM parts",
            &[],
        ),
    ];
    assert!(rows[0].1[0].ends_with(LINE));
    for (statement, tags) in rows {
        run(&house.pool, "TRUNCATE outbox").await;
        run(&house.pool, statement).await;
        assert_eq!(house.outbox().await, tags, "{statement}");
    }
    run(&house.pool, "TRUNCATE outbox").await;
    let mut connection = house.pool.acquire().await.unwrap();
    let mut copy = connection
        .copy_in_raw("COPY seats FROM STDIN")
        .await
        .unwrap();
    copy.send(&b"9\tZ\tcopied\n"[..]).await.unwrap();
    copy.finish().await.unwrap();
    drop(connection);
    assert_eq!(house.outbox().await, ["room:9", "seat:Z"]);
}

#[tokio::test]
async fn whoever_may_write_the_table_needs_no_right_to_the_outbox_and_no_path_to_it() {
    let house = House::with_full_outbox().await;
    let role: String = sqlx::query_scalar("SELECT 'clerk_of_' || current_database()")
        .fetch_one(&house.pool)
        .await
        .unwrap();
    run(
        &house.pool,
        &format!(
            "BEGIN; CREATE ROLE {role}; GRANT ALL ON documents TO {role}; SET LOCAL ROLE {role};
             CREATE TEMPORARY TABLE outbox (tags text[]); SET LOCAL search_path = '';
             INSERT INTO public.documents VALUES ('a', '1'); COMMIT"
        ),
    )
    .await;
    assert_eq!(house.outbox().await, ["document:a", "documents"]);
    // One connection throughout: what is refused leaves its transaction open.
    let mut connection = house.pool.acquire().await.unwrap();
    let refused = sqlx::raw_sql(AssertSqlSafe(format!(
        "BEGIN; GRANT CREATE ON SCHEMA public TO {role}; SET LOCAL ROLE {role}; CREATE TABLE mine (id int);
         SELECT tidegate_watch('mine', 'document', 'id')"
    )))
    .execute(&mut *connection)
    .await
    .expect_err("anybody may purge anything");
    assert!(
        refused.to_string().contains("permission denied"),
        "{refused}"
    );
    let tidy = format!("ROLLBACK; DROP OWNED BY {role}; DROP ROLE {role}");
    sqlx::raw_sql(AssertSqlSafe(tidy))
        .execute(&mut *connection)
        .await
        .unwrap();
}

#[tokio::test]
async fn what_cannot_be_watched_is_refused_with_a_reason() {
    let house = House::with_full_outbox().await;
    run(
        &house.pool,
        "CREATE VIEW titles AS SELECT title FROM courses",
    )
    .await;
    for (arguments, reason) in [
        (
            "'nowhere', 'a', 'id'",
            "relation \"nowhere\" does not exist",
        ),
        ("'titles', 'a', 'title'", "titles is no table"),
        (
            "'outbox', 'a', 'id'",
            "outbox is where changes are announced",
        ),
        (
            "'courses', 'a', 'number'",
            "table public.courses has no column 'number'",
        ),
        (
            "'courses', 'a', 'id, title'",
            "table public.courses has no column 'id, title'",
        ),
        (
            "'courses', 'a', 'ctid'",
            "table public.courses has no column 'ctid'",
        ),
        ("'courses', 'a b', 'id'", "kind 'a b' is not 1 to 32"),
        ("'courses', NULL, 'id'", "kind NULL is not 1 to 32"),
        (
            "'courses', 'a', 'id', 'two words'",
            "tag 'two words' is not one word",
        ),
        (
            "'courses', 'a', 'id', NULL::text",
            "tag NULL is not one word",
        ),
    ] {
        let statement = format!("SELECT tidegate_watch({arguments})");
        let refused = sqlx::raw_sql(AssertSqlSafe(statement))
            .execute(&house.pool)
            .await
            .expect_err(arguments);
        assert!(
            refused.to_string().contains(reason),
            "{arguments}: {refused}"
        );
    }
}

#[tokio::test]
async fn a_statement_that_touches_a_hundred_thousand_rows_is_two_tags_and_one_that_repeats_a_key_is_named()
 {
    let house = House::with_full_outbox().await;
    run(
        &house.pool,
        "CREATE TABLE things (id int, shelf int); SELECT tidegate_watch('things', 'thing', 'id', 'things');
         INSERT INTO things SELECT n, n % 3 FROM generate_series(1, 100000) AS n; TRUNCATE outbox;
         UPDATE things SET shelf = shelf + 1",
    )
    .await;
    assert_eq!(house.outbox().await, ["table:things", "things"]);
    // A hundred thousand rows, four keys; the first rows alone do not tell.
    run(
        &house.pool,
        "SELECT tidegate_unwatch('things', 'thing'); SELECT tidegate_watch('things', 'shelf', 'shelf');
         TRUNCATE outbox; UPDATE things SET shelf = shelf + 1",
    )
    .await;
    assert_eq!(
        house.outbox().await,
        ["shelf:1", "shelf:2", "shelf:3", "shelf:4"]
    );
    // The keys beyond a thousand come late.
    run(
        &house.pool,
        "TRUNCATE outbox; INSERT INTO things SELECT n, greatest(n - 2500, 0) FROM generate_series(1, 5000) AS n",
    )
    .await;
    assert_eq!(house.outbox().await, ["table:things"]);
}

/// A role of the test's own, and what takes it away again.
async fn role(house: &House) -> (String, String) {
    let role: String = sqlx::query_scalar("SELECT 'mallory_of_' || current_database()")
        .fetch_one(&house.pool)
        .await
        .unwrap();
    run(
        &house.pool,
        &format!(
            "CREATE ROLE {role}; CREATE TABLE ran_as (who text); GRANT INSERT ON ran_as TO PUBLIC"
        ),
    )
    .await;
    let tidy = format!("DROP OWNED BY {role} CASCADE; DROP ROLE {role}");
    (role, tidy)
}

/// The roles that code of somebody else's has run as.
async fn ran_as(house: &House) -> Vec<String> {
    sqlx::query_scalar("SELECT DISTINCT who FROM ran_as")
        .fetch_all(&house.pool)
        .await
        .unwrap()
}

#[tokio::test]
async fn nobody_who_may_create_beside_the_outbox_makes_the_triggers_run_code_of_his() {
    let house = House::with_full_outbox().await;
    let (role, tidy) = role(&house).await;
    let name_it = "INSERT INTO public.ran_as VALUES (current_user)";
    // Each fits the triggers' arguments better than what the server has of that name.
    run(
        &house.pool,
        &format!(
            "GRANT CREATE ON SCHEMA public TO {role}; SET ROLE {role};
             CREATE FUNCTION public.cardinality(text[]) RETURNS int LANGUAGE plpgsql AS
                 $$BEGIN {name_it}; RETURN pg_catalog.cardinality($1); END$$;
             CREATE FUNCTION public.array_remove(text[], text) RETURNS text[] LANGUAGE plpgsql AS
                 $$BEGIN {name_it}; RETURN pg_catalog.array_remove($1, $2); END$$;
             CREATE FUNCTION public.array_ndims(text[]) RETURNS int LANGUAGE plpgsql AS
                 $$BEGIN {name_it}; RETURN 1; END$$;
             CREATE FUNCTION public.unnest(text[]) RETURNS SETOF text LANGUAGE plpgsql AS
                 $$BEGIN {name_it}; RETURN QUERY SELECT pg_catalog.unnest($1); END$$;
             CREATE FUNCTION public.format(text, text) RETURNS text LANGUAGE plpgsql AS
                 $$BEGIN {name_it}; RETURN pg_catalog.format($1, $2); END$$;
             CREATE FUNCTION public.joined(text[], text[]) RETURNS text[] LANGUAGE plpgsql AS
                 $$BEGIN {name_it}; RETURN pg_catalog.array_cat($1, $2); END$$;
             CREATE OPERATOR public.|| (FUNCTION = public.joined, LEFTARG = text[], RIGHTARG = text[]);
             CREATE FUNCTION public.tidegate_tag(text, name) RETURNS text LANGUAGE plpgsql AS
                 $$BEGIN {name_it}; RETURN $1; END$$;
             RESET ROLE;
             INSERT INTO documents VALUES ('a', '1'), ('b', '1');
             UPDATE documents SET data = '2' WHERE key = 'a';
             DELETE FROM documents"
        ),
    )
    .await;
    assert_eq!(ran_as(&house).await, Vec::<String>::new());
    assert_eq!(
        house.outbox().await,
        ["document:a", "document:b", "documents"]
    );
    run(&house.pool, &tidy).await;
}

#[tokio::test]
async fn the_owner_of_a_watched_table_makes_the_triggers_run_no_cast_of_his() {
    let house = House::with_full_outbox().await;
    let (role, tidy) = role(&house).await;
    run(
        &house.pool,
        &format!(
            "CREATE SCHEMA his AUTHORIZATION {role}; CREATE TABLE his.things (id int);
             SELECT tidegate_watch('his.things', 'thing', 'id');
             ALTER TABLE his.things OWNER TO {role}; SET ROLE {role};
             CREATE TYPE his.key AS (x int);
             CREATE FUNCTION his.text_of(his.key) RETURNS text LANGUAGE plpgsql AS
                 $$BEGIN INSERT INTO public.ran_as VALUES (current_user); RETURN 'x'; END$$;
             CREATE CAST (his.key AS text) WITH FUNCTION his.text_of(his.key);
             ALTER TABLE his.things DROP COLUMN id; ALTER TABLE his.things ADD COLUMN id his.key;
             INSERT INTO his.things VALUES (ROW(1)), (NULL); RESET ROLE"
        ),
    )
    .await;
    assert_eq!(ran_as(&house).await, Vec::<String>::new());
    assert_eq!(house.outbox().await, ["thing:%281%29"]);
    run(&house.pool, &tidy).await;
}

#[tokio::test]
async fn what_somebody_else_laid_out_under_our_names_is_not_taken_for_ours() {
    let house = House::with_full_outbox().await;
    let (role, tidy) = role(&house).await;
    for laid_out in [
        "CREATE TABLE outbox (id bigint, tags text[], created_at timestamptz)",
        "CREATE FUNCTION tidegate_tag(kind text, value text) RETURNS text LANGUAGE sql AS $$SELECT $1$$",
    ] {
        let mut transaction = house.pool.begin().await.unwrap();
        let before = format!(
            "CREATE SCHEMA own; GRANT ALL ON SCHEMA own TO {role}; SET LOCAL search_path = own; SET LOCAL ROLE {role};
             {laid_out}; RESET ROLE"
        );
        sqlx::raw_sql(AssertSqlSafe(before))
            .execute(&mut *transaction)
            .await
            .unwrap();
        let refused = sqlx::raw_sql(WATCHING)
            .execute(&mut *transaction)
            .await
            .expect_err(laid_out);
        assert!(
            refused.to_string().contains("belongs to another role"),
            "{refused}"
        );
        transaction.rollback().await.unwrap();
    }
    run(&house.pool, &tidy).await;
}

#[tokio::test]
async fn a_key_has_one_tag_whatever_the_session_prints_it_as_and_two_keys_that_compare_equal_have_two()
 {
    let house = House::with_full_outbox().await;
    run(
        &house.pool,
        r"CREATE TABLE reports (day date, at timestamptz, raw bytea, every interval, size float8);
          SELECT tidegate_watch('reports', name, name) FROM unnest(ARRAY['day', 'at', 'raw', 'every', 'size']) AS name;
          CREATE COLLATION nocase (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
          CREATE TABLE pages (slug text COLLATE nocase PRIMARY KEY);
          SELECT tidegate_watch('pages', 'page', 'slug');
          BEGIN;
          SET LOCAL DateStyle = 'SQL, DMY'; SET LOCAL TimeZone = 'Asia/Tokyo'; SET LOCAL bytea_output = 'escape';
          SET LOCAL IntervalStyle = 'iso_8601'; SET LOCAL extra_float_digits = -9;
          INSERT INTO reports VALUES ('2026-11-02', '2026-11-02 10:00Z', '\x00ff', '1 day 2 hours', 0.1::float4);
          INSERT INTO pages VALUES ('About');
          UPDATE pages SET slug = 'about';
          COMMIT",
    )
    .await;
    assert_eq!(
        house.outbox().await,
        [
            "at:2026-11-02%2010%3A00%3A00%2B00",
            "day:2026-11-02",
            "every:1%20day%2002%3A00%3A00",
            "page:About",
            "page:about",
            "raw:%5Cx00ff",
            "size:0.10000000149011612",
        ]
    );
}

#[tokio::test]
async fn a_table_is_watched_from_any_path_and_its_triggers_stay_when_they_are_as_wanted() {
    let house = House::with_full_outbox().await;
    let triggers = async || -> Vec<(String, i64)> {
        sqlx::query_as(
            "SELECT tgname::text, oid::bigint FROM pg_trigger WHERE tgrelid = 'documents'::regclass
                AND tgname LIKE 'tidegate%' ORDER BY tgname",
        )
        .fetch_all(&house.pool)
        .await
        .unwrap()
    };
    let watch = "BEGIN; SET LOCAL search_path = ''; SELECT public.tidegate_watch('public.documents', 'document', 'key', 'documents'); COMMIT";
    let before = triggers().await;
    assert_eq!(before.len(), 4);
    run(&house.pool, watch).await;
    assert_eq!(triggers().await, before);
    run(
        &house.pool,
        "ALTER TABLE documents DISABLE TRIGGER tidegate_document_update",
    )
    .await;
    run(&house.pool, watch).await;
    let after = triggers().await;
    assert_eq!(
        after.iter().filter(|one| before.contains(one)).count(),
        3,
        "{before:?} {after:?}"
    );
    run(
        &house.pool,
        "SELECT tidegate_watch('documents', 'document', 'key', 'all'); INSERT INTO documents VALUES ('a', '1')",
    )
    .await;
    assert_eq!(house.outbox().await, ["all", "document:a"]);
}

#[tokio::test]
async fn a_relay_that_does_not_look_where_the_outbox_is_says_so() {
    let url = database().await;
    let refused = async || {
        let relay = Relay::start(&url, None, House::sink()).await;
        relay.err().unwrap().to_string()
    };
    let nowhere = refused().await;
    assert!(nowhere.contains("--print-sql"), "{nowhere}");
    let pool = PgPoolOptions::new()
        .max_connections(1)
        .connect(&url)
        .await
        .unwrap();
    run(&pool, "CREATE SCHEMA apart; SET search_path = apart").await;
    run(&pool, WATCHING).await;
    let elsewhere = refused().await;
    assert!(
        elsewhere.contains("search_path") && elsewhere.contains("apart"),
        "{elsewhere}"
    );
}
