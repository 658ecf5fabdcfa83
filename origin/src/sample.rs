//! Sample data, so that a new origin has something to show.

use sqlx::PgPool;

/// Fills an origin that has no courses; one that has any stays as it is.
pub(crate) async fn fill(pool: &PgPool) -> Result<(), sqlx::Error> {
    let mut transaction = pool.begin().await?;
    // Two origins that start at once would both find nothing; one at a time.
    sqlx::query("LOCK TABLE courses IN SHARE ROW EXCLUSIVE MODE")
        .execute(&mut *transaction)
        .await?;
    let empty = sqlx::query_scalar!(r#"SELECT NOT EXISTS (SELECT FROM courses) AS "empty!""#)
        .fetch_one(&mut *transaction)
        .await?;
    if empty {
        for statement in STATEMENTS {
            sqlx::query(statement).execute(&mut *transaction).await?;
        }
    }
    transaction.commit().await
}

/// The number of the user of that name, if there is one.
pub(crate) async fn user_named(pool: &PgPool, username: &str) -> Result<Option<i64>, sqlx::Error> {
    sqlx::query_scalar!("SELECT id FROM users WHERE username = $1", username)
        .fetch_optional(pool)
        .await
}

/// Users are found by name, not by number: numbers may be taken.
const STATEMENTS: [&str; 7] = [
    "INSERT INTO users (email, username, full_name, role) VALUES
        ('ada@example.org', 'ada', 'Ada Park', 'instructor'),
        ('ben@example.org', 'ben', 'Ben Okafor', 'student'),
        ('cleo@example.org', 'cleo', 'Cleo Marin', 'student')
     ON CONFLICT DO NOTHING",
    "INSERT INTO courses (title, description, instructor_id, category, difficulty_level, max_students, price, is_published)
     SELECT title, description, (SELECT id FROM users WHERE username = 'ada'), category, level, seats, price, published
     FROM (VALUES
        ('Tides and Currents', 'Why the sea moves, and how to tell when.', 'science', 'beginner', 30, 49.00, true),
        ('Caching on the Web', 'Freshness, validation and purging, with examples.', 'computing', 'intermediate', 20, 89.50, true),
        ('PostgreSQL in Practice', 'Transactions, indexes and plans.', 'computing', 'advanced', 12, 129.99, true),
        ('Drawing Harbours', 'Perspective with boats.', 'art', 'beginner', 8, 35.00, true),
        ('Sails and Rigging', 'A draft that is not published yet.', 'craft', 'beginner', 10, 20.00, false)
     ) AS sample (title, description, category, level, seats, price, published)",
    "INSERT INTO documents (key, data) VALUES
        ('welcome', '{\"title\": \"Welcome\", \"text\": \"Change me, and watch the edge follow.\"}'),
        ('settings', '{\"theme\": \"sea\", \"beta\": false}')
     ON CONFLICT DO NOTHING",
    "INSERT INTO transactions (user_id, amount, transaction_type)
     SELECT id, 49.00, 'purchase' FROM users WHERE username = 'ben'",
    "WITH made AS (
         INSERT INTO circles (name, description) VALUES
             ('Harbour Walks', 'Along the quay, each Sunday at low water.'),
             ('Night Sailors', 'Stars, lamps and flasks of tea.')
         RETURNING id, name
     ), joined AS (
         INSERT INTO circle_members (circle_id, user_id, role)
         SELECT made.id, users.id, sample.role
         FROM (VALUES
             (1, 'Harbour Walks', 'ada', 'owner'), (2, 'Harbour Walks', 'ben', 'member'),
             (3, 'Harbour Walks', 'cleo', 'member'), (4, 'Night Sailors', 'cleo', 'owner'),
             (5, 'Night Sailors', 'ben', 'member')
         ) AS sample (place, name, username, role) JOIN made USING (name) JOIN users USING (username)
         ORDER BY place
     )
     INSERT INTO messages (circle_id, author_id, text)
     SELECT made.id, users.id, text
     FROM (VALUES
         (1, 'Harbour Walks', 'ada', 'Low water is at ten past nine. We meet at the old crane.'),
         (2, 'Harbour Walks', 'cleo', 'I bring the tide tables.'),
         (3, 'Harbour Walks', 'ada', 'Ben, do you have the flask?'),
         (4, 'Night Sailors', 'cleo', 'New moon on Friday: no lamp but ours.')
     ) AS sample (place, name, username, text) JOIN made USING (name) JOIN users USING (username)
     ORDER BY place",
    "UPDATE circles SET member_count = (SELECT count(*) FROM circle_members WHERE circle_id = circles.id)
     WHERE created_at = now()",
    "INSERT INTO notifications (user_id, kind, actor_id, circle_id, message_id)
     SELECT users.id, 'mentioned', author_id, circle_id, messages.id
     FROM messages JOIN users ON username = 'ben' WHERE messages.created_at = now() AND text LIKE 'Ben, %'",
];
