//! Parts of a stored response (RFC 9110 §14).

use crate::support::{Edge, Origin, Response};

const BODY: &str = "0123456789";

/// A range asked for, the status, the part and its `Content-Range`.
const PARTS: &[(&str, &str, u16, &str, Option<&str>)] = &[
    ("§14.1.2", "bytes=2-4", 206, "234", Some("bytes 2-4/10")),
    (
        "§14.1.2, open",
        "bytes=7-",
        206,
        "789",
        Some("bytes 7-9/10"),
    ),
    (
        "§14.1.2, a suffix",
        "bytes=-3",
        206,
        "789",
        Some("bytes 7-9/10"),
    ),
    (
        "§14.1.2, beyond the end",
        "bytes=8-99",
        206,
        "89",
        Some("bytes 8-9/10"),
    ),
    (
        "§14.1.2, a long suffix",
        "bytes=-99",
        206,
        BODY,
        Some("bytes 0-9/10"),
    ),
    (
        "§14.2, unsatisfiable",
        "bytes=10-",
        416,
        "",
        Some("bytes */10"),
    ),
    ("§14.2, another unit", "lines=1-2", 200, BODY, None),
    ("§14.2, malformed", "bytes=4-2", 200, BODY, None),
    ("§17.15, greedy", "bytes=0-9,0-9", 200, BODY, None),
];

async fn stored() -> (Origin, Edge) {
    let origin = Origin::answers(BODY)
        .with("cache-control", "max-age=60")
        .with("content-type", "text/plain")
        .with("etag", "\"1\"");
    let edge = Edge::before(&origin).start();
    edge.get("/").await;
    (origin, edge)
}

async fn part(edge: &Edge, fields: &[(&str, &str)]) -> Response {
    edge.request("GET", "/").with_all(fields).send().await
}

#[tokio::test]
async fn parts_are_cut_from_a_stored_response() {
    let (origin, edge) = stored().await;
    for (rule, range, status, body, content_range) in PARTS {
        let response = part(&edge, &[("range", range)]).await;
        assert_eq!(
            (response.status, response.text()),
            (*status, *body),
            "{rule}"
        );
        assert_eq!(response.get("content-range"), *content_range, "{rule}");
        assert_eq!(response.cache_status(), "hit", "{rule}");
    }
    assert_eq!(origin.requests(), 1);
}

#[tokio::test]
async fn several_parts_come_as_multipart() {
    let (_origin, edge) = stored().await;
    let response = part(&edge, &[("range", "bytes=0-1, 8-")]).await;
    assert_eq!(response.status, 206);
    let content_type = response.get("content-type").unwrap();
    let boundary = content_type
        .strip_prefix("multipart/byteranges; boundary=")
        .unwrap();
    let expected = format!(
        "\r\n--{boundary}\r\nContent-Type: text/plain\r\nContent-Range: bytes 0-1/10\r\n\r\n01\
         \r\n--{boundary}\r\nContent-Type: text/plain\r\nContent-Range: bytes 8-9/10\r\n\r\n89\
         \r\n--{boundary}--\r\n"
    );
    assert_eq!(response.text(), expected);
    assert_eq!(
        response.get("content-range"),
        None,
        "each part has its own (§14.6)"
    );
}

#[tokio::test]
async fn if_range_decides_between_the_part_and_the_whole() {
    let (_origin, edge) = stored().await;
    for (condition, status) in [("\"1\"", 206), ("\"2\"", 200), ("W/\"1\"", 200)] {
        let response = part(&edge, &[("range", "bytes=0-1"), ("if-range", condition)]).await;
        assert_eq!(response.status, status, "{condition}");
    }
}

#[tokio::test]
async fn a_route_that_fetches_the_whole_asks_for_no_part() {
    let origin = Origin::answers(BODY).with("cache-control", "max-age=60");
    let edge = Edge::before(&origin)
        .route("ranges = \"fetch-whole\"")
        .start();
    let miss = part(&edge, &[("range", "bytes=2-4")]).await;
    assert_eq!(
        (miss.status, miss.text()),
        (200, BODY),
        "a server may ignore Range (§14.2)"
    );
    assert_eq!(origin.last().get("range"), None);
    let hit = part(&edge, &[("range", "bytes=2-4")]).await;
    assert_eq!(
        (hit.status, hit.text(), hit.cache_status()),
        (206, "234", "hit")
    );
}

#[tokio::test]
async fn a_head_and_other_statuses_than_200_have_no_parts() {
    let (origin, edge) = stored().await;
    let head = edge
        .request("HEAD", "/")
        .with("range", "bytes=0-1")
        .send()
        .await;
    assert_eq!((head.status, head.get("content-length")), (200, Some("10")));
    origin.now(
        crate::support::answer(BODY)
            .status(404)
            .with("cache-control", "max-age=60"),
    );
    edge.get("/gone").await;
    let gone = edge
        .request("GET", "/gone")
        .with("range", "bytes=0-1")
        .send()
        .await;
    assert_eq!(
        (gone.status, gone.text(), gone.cache_status()),
        (404, BODY, "hit")
    );
}
