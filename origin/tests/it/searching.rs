//! Courses are found by their words, the best match first, and by words that are misspelt.

use hyper::StatusCode;
use serde_json::{Value, json};

use crate::support::{Answer, House, database, patiently};

async fn filled(house: &House) {
    house
        .sql(
            "INSERT INTO courses (id, title, description, category, difficulty_level, max_students, current_enrollment,
                 price, is_published) VALUES
                 (1, 'Tides and Currents', 'Why the sea moves.', 'science', 'beginner', 30, 5, 49, true),
                 (2, 'Harbours', 'How currents fill them, and the tides empty them.', 'science', 'advanced', 9, 9, 90, true),
                 (3, 'Caching on the Web', 'Freshness and validation.', 'computing', 'intermediate', 20, 7, 89.50, true),
                 (4, 'Currents in Secret', 'A draft.', 'science', 'beginner', 10, 0, 1, false)",
        )
        .await;
}

fn found(answer: &Answer) -> Vec<i64> {
    let body = answer.json();
    let results = body["results"].as_array().unwrap();
    let scores: Vec<f64> = results
        .iter()
        .map(|result| result["similarity_score"].as_f64().unwrap())
        .collect();
    assert!(scores.is_sorted_by(|one, next| one >= next), "{scores:?}");
    assert!(scores.iter().all(|score| (0.0..=1.0).contains(score)));
    results
        .iter()
        .map(|result| result["id"].as_i64().unwrap())
        .collect()
}

#[tokio::test]
async fn words_find_courses_the_title_first_and_only_published_ones() {
    let house = House::open().await;
    filled(&house).await;
    for (query, expected) in [
        // A word is found in its other forms.
        ("q=current", vec![1, 2]),
        ("query=tides", vec![1, 2]),
        ("q=sea", vec![1]),
        ("q=tides%20-harbours", vec![1]),
        ("q=%22why%20the%20sea%22", vec![1]),
        ("q=caching%20or%20harbours", vec![2, 3]),
        ("q=current&category=computing", vec![]),
        ("q=current&difficulty_level=advanced", vec![2]),
        ("q=current&max_price=49.00", vec![1]),
        ("q=current&top_k=1", vec![1]),
        ("q=current&top_k=1&offset=1", vec![2]),
        ("q=current&offset=2", vec![]),
        ("q=nothingofthekind", vec![]),
        // Nothing that can be typed is an error.
        ("q=%26%20%7C%20!%20(%20%3A*%20'%20%22", vec![]),
    ] {
        let answer = house.get(&format!("/courses/search?{query}")).await;
        let answer = answer.expect(StatusCode::OK);
        assert_eq!(answer.json()["search_type"], "full_text", "{query}");
        let mut ids = found(&answer);
        if query.contains("or") {
            ids.sort_unstable();
        }
        assert_eq!(ids, expected, "{query}");
    }
}

#[tokio::test]
async fn a_misspelt_word_finds_titles_that_look_like_it() {
    let house = House::open().await;
    filled(&house).await;
    for (query, expected) in [
        ("q=curents", vec![1]),
        ("q=Chaching", vec![3]),
        ("q=curents&category=computing", vec![]),
        ("q=curents&offset=1", vec![]),
    ] {
        let answer = house.get(&format!("/courses/search?{query}")).await;
        assert_eq!(found(&answer.expect(StatusCode::OK)), expected, "{query}");
    }
    let answer = house.get("/courses/search?q=curents").await.json();
    assert_eq!(answer["search_type"], "trigram");
}

#[tokio::test]
async fn without_trigrams_words_are_found_all_the_same() {
    let house = House::open().await;
    filled(&house).await;
    house.sql("DROP EXTENSION pg_trgm CASCADE").await;
    let misspelt = house.get("/courses/search?q=curents").await;
    let misspelt = misspelt.expect(StatusCode::OK);
    assert_eq!(found(&misspelt), Vec::<i64>::new());
    assert_eq!(misspelt.json()["search_type"], "full_text");
    assert_eq!(found(&house.get("/courses/search?q=tides").await), [1, 2]);
}

#[tokio::test]
async fn who_may_not_make_the_extension_migrates_all_the_same() {
    let url = database().await;
    let mut connection = <sqlx::PgConnection as sqlx::Connection>::connect(&url)
        .await
        .unwrap();
    // An owner of the schema alone: making an extension takes the right to create in the database.
    let role = format!("{}_owner", url.rsplit('/').next().unwrap());
    sqlx::raw_sql(sqlx::AssertSqlSafe(format!(
        "CREATE ROLE {role} LOGIN; ALTER SCHEMA public OWNER TO {role};
         REVOKE CREATE ON DATABASE {database} FROM PUBLIC",
        database = url.rsplit('/').next().unwrap()
    )))
    .execute(&mut connection)
    .await
    .unwrap();
    let house = House::before(url.replace("postgres@", &format!("{role}@"))).await;
    let extensions = "SELECT count(*) FROM pg_extension WHERE extname = 'pg_trgm'";
    assert_eq!(house.number(extensions).await, 0);
    filled(&house).await;
    assert_eq!(found(&house.get("/courses/search?q=tides").await), [1, 2]);
    let misspelt = house.get("/courses/search?q=curents").await;
    assert_eq!(found(&misspelt.expect(StatusCode::OK)), Vec::<i64>::new());
}

#[tokio::test]
async fn results_are_kept_for_a_quarter_of_an_hour_and_fall_with_any_course() {
    let house = House::open().await;
    filled(&house).await;
    for path in ["/courses/search?q=tides", "/courses/popular"] {
        let answer = house.get(path).await.expect(StatusCode::OK);
        assert_eq!(answer.header("cache-control"), "public, max-age=60");
        assert_eq!(
            answer.header("cdn-cache-control"),
            "public, max-age=900, stale-while-revalidate=60, stale-if-error=600"
        );
        assert_eq!(answer.header("surrogate-key"), "courses table:courses");
    }
    house
        .patch("/courses/1", json!({"title": "Storms"}))
        .await
        .expect(StatusCode::OK);
    house.sink.wait_for(&["courses"]).await;
    assert_eq!(found(&house.get("/courses/search?q=storm").await), [1]);
}

#[tokio::test]
async fn pages_of_results_are_linked() {
    let house = House::open().await;
    filled(&house).await;
    let base = "</courses/search?q=current&top_k=1";
    for (offset, links) in [
        (
            "",
            format!("{base}&offset=1>; rel=\"next\", {base}>; rel=\"first\""),
        ),
        (
            "&offset=1",
            format!("{base}>; rel=\"prev\", {base}>; rel=\"first\""),
        ),
    ] {
        let answer = house
            .get(&format!("/courses/search?q=current&top_k=1{offset}"))
            .await;
        assert_eq!(answer.header("link"), links);
    }
}

#[tokio::test]
async fn popular_courses_are_those_with_most_students() {
    let house = House::open().await;
    filled(&house).await;
    for (query, expected) in [("", vec![2, 3, 1]), ("?top_k=2", vec![2, 3])] {
        let answer = house.get(&format!("/courses/popular{query}")).await.json();
        let courses = answer.as_array().unwrap().iter();
        let ids: Vec<i64> = courses
            .map(|course| course["id"].as_i64().unwrap())
            .collect();
        assert_eq!(ids, expected, "{query}");
    }
}

#[tokio::test]
async fn what_cannot_be_searched_for_is_refused_by_its_name() {
    let house = House::open().await;
    for (query, field) in [
        ("search?q=", "q"),
        ("search?q=%20", "q"),
        ("search?q=%00", "q"),
        (&format!("search?q={}", "x".repeat(201)), "q"),
        ("search?q=a&top_k=0", "top_k"),
        ("search?q=a&top_k=101", "top_k"),
        ("search?q=a&offset=-1", "offset"),
        ("search?q=a&offset=1001", "offset"),
        ("search?q=a&category=", "category"),
        ("search?q=a&difficulty_level=hard", "difficulty_level"),
        ("popular?top_k=0", "top_k"),
    ] {
        let named = house.get(&format!("/courses/{query}")).await;
        let named = named.problem(StatusCode::UNPROCESSABLE_ENTITY);
        assert_eq!(named.as_deref(), Some(field), "{query}");
    }
    for query in [
        "search",
        "search?q=a&top_k=many",
        "search?q=a&max_price=dear",
    ] {
        let unread = house.get(&format!("/courses/{query}")).await;
        unread.problem(StatusCode::BAD_REQUEST);
    }
    let click = json!({"query": "a", "course_id": 1, "position": 0});
    let named = house.post("/courses/search/clicks", click).await;
    assert_eq!(
        named.problem(StatusCode::UNPROCESSABLE_ENTITY).as_deref(),
        Some("position")
    );
}

#[tokio::test]
async fn searches_and_choices_are_noted_and_never_in_the_way() {
    let house = House::open().await;
    filled(&house).await;
    house.get("/courses/search?q=tides").await;
    house
        .post(
            "/courses/search/clicks",
            json!({"query": "tides", "course_id": 2, "position": 2, "user_id": 7}),
        )
        .await
        .expect(StatusCode::ACCEPTED);
    let noted = || async {
        let rows: Vec<Value> = sqlx::query_scalar(
            "SELECT to_jsonb(search_logs) FROM search_logs ORDER BY search_type",
        )
        .fetch_all(&house.pool)
        .await
        .unwrap();
        rows
    };
    patiently("both are noted", || async { noted().await.len() == 2 }).await;
    let rows = noted().await;
    assert_eq!(
        (
            &rows[0]["clicked_course_id"],
            &rows[0]["clicked_position"],
            &rows[0]["user_id"]
        ),
        (&json!(2), &json!(2), &json!(7))
    );
    assert_eq!(
        (
            &rows[1]["query"],
            &rows[1]["result_count"],
            &rows[1]["search_type"]
        ),
        (&json!("tides"), &json!(2), &json!("full_text"))
    );
    assert!(
        rows[1]["duration_ms"]
            .as_f64()
            .is_some_and(|duration| duration > 0.0)
    );

    house.sql("DROP TABLE search_logs").await;
    let answer = house.get("/courses/search?q=tides&top_k=3").await;
    assert_eq!(found(&answer.expect(StatusCode::OK)), [1, 2]);
    patiently("what was not noted is counted", || async {
        house.metric("tidegate_search_notes_lost_total").await == Some(1.0)
    })
    .await;
}
