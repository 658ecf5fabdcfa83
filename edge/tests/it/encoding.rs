//! Content codings made at the edge (RFC 9110 §8.4, §12.5.3).

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_compression::tokio::bufread::{BrotliDecoder, GzipDecoder, ZstdDecoder};
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::support::client::Request;
use crate::support::{
    Answer, Edge, Fields, Gate, Origin, Response, answer, patiently, secs, wait_until,
};

const ON: &str = "compression = { levels = { zstd = 1, br = 1, gzip = 1 } }";

const CODINGS: [&str; 3] = ["zstd", "br", "gzip"];

/// More than what is encoded at once, and different in each of its lines.
fn long_text() -> String {
    (0..8_000)
        .map(|line| format!("line {line} of {}\n", line * 7_919 % 65_537))
        .collect()
}

/// More than `min_size`, and little enough to be encoded at once.
fn text() -> String {
    long_text()[..4_000].to_owned()
}

/// What no coding makes smaller.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    (0..length).map(|_| next()).collect()
}

fn page(body: impl Into<Vec<u8>>) -> Answer {
    answer(body)
        .with("cache-control", "max-age=60")
        .with("content-type", "text/html; charset=utf-8")
        .with("etag", "\"1\"")
}

fn edge(origin: &Origin) -> Edge {
    Edge::before(origin).route(ON).start()
}

fn get(edge: &Edge, path: &str, accepted: &str) -> Request {
    edge.request("GET", path).with("accept-encoding", accepted)
}

async fn decode(coding: Option<&str>, bytes: &[u8]) -> Vec<u8> {
    let mut decoder: Box<dyn AsyncRead + Unpin + Send + '_> = match coding {
        None => return bytes.to_vec(),
        Some("zstd") => Box::new(ZstdDecoder::new(bytes)),
        Some("br") => Box::new(BrotliDecoder::new(bytes)),
        Some("gzip") => Box::new(GzipDecoder::new(bytes)),
        Some(other) => panic!("no decoder for {other:?}"),
    };
    let mut decoded = Vec::new();
    // What was flushed decodes as far as it goes, and then fails.
    let _ = decoder.read_to_end(&mut decoded).await;
    decoded
}

async fn decoded(response: &Response) -> String {
    let bytes = decode(response.get("content-encoding"), &response.body).await;
    String::from_utf8(bytes).unwrap()
}

/// A counter of the edge.
async fn count(edge: &Edge, metric: &str) -> u64 {
    let page = edge.admin("GET", "/metrics").send().await;
    let line = page
        .text()
        .lines()
        .find_map(|line| line.strip_prefix(metric)?.strip_prefix(' '));
    line.map_or(0, |count| count.parse().unwrap())
}

async fn made(edge: &Edge, coding: &str) -> u64 {
    count(
        edge,
        &format!("tidegate_encodings_total{{coding=\"{coding}\"}}"),
    )
    .await
}

/// Waits until a form is kept: only then is its length known before it is sent.
async fn until_kept(edge: &Edge, path: &str, coding: &str) -> Response {
    patiently("a form that is kept", async {
        loop {
            let response = get(edge, path, coding).send().await;
            if response.get("content-length").is_some() {
                return response;
            }
        }
    })
    .await
}

/// `Accept-Encoding`, and the coding of the answer.
const ACCEPTED: &[(&str, Option<&str>)] = &[
    ("gzip", Some("gzip")),
    ("br", Some("br")),
    ("zstd", Some("zstd")),
    ("gzip, deflate, br, zstd", Some("zstd")),
    ("gzip, br;q=0.9", Some("gzip")),
    ("*", Some("zstd")),
    ("gzip;q=0", None),
    ("identity;q=0, deflate", None),
    ("", None),
];

#[tokio::test]
async fn each_gets_the_coding_they_prefer_out_of_one_stored_identity() {
    for body in [text(), long_text()] {
        let origin = Origin::always(page(body.as_str()).with("vary", "Accept-Encoding"));
        let edge = edge(&origin);
        for (turn, (accepted, coding)) in ACCEPTED.iter().chain(ACCEPTED).enumerate() {
            let response = get(&edge, "/", accepted).send().await;
            assert_eq!(response.get("content-encoding"), *coding, "{accepted}");
            assert!(response.is_complete);
            assert_eq!(decoded(&response).await, body, "{accepted}");
            let status = if turn == 0 { "fwd=uri-miss" } else { "hit" };
            assert_eq!(response.cache_status(), status, "{accepted}");
        }
        let plain = edge.get("/").await;
        assert_eq!(plain.get("content-encoding"), None);
        assert_eq!(plain.text(), body);
        assert_eq!(origin.requests(), 1, "the origin's Vary does not split it");
        assert_eq!(origin.last().get("accept-encoding"), Some("identity"));
    }
}

#[tokio::test]
async fn without_the_section_nothing_is_changed() {
    let origin = Origin::always(page(text()));
    let edge = Edge::before(&origin).start();
    for _ in 0..2 {
        let response = get(&edge, "/", "gzip").send().await;
        assert_eq!(response.get("content-encoding"), None);
        assert_eq!(response.get("vary"), None);
        assert_eq!(response.get("etag"), Some("\"1\""));
    }
    assert_eq!(origin.last().get("accept-encoding"), Some("gzip"));
}

/// Fields of a 200 that is passed as it is.
const UNTOUCHED: &[(&str, Fields)] = &[
    (
        "§8.4, encoded by the origin",
        &[("content-type", "text/html"), ("content-encoding", "gzip")],
    ),
    (
        "RFC 9111 §5.2.2.6",
        &[
            ("content-type", "text/html"),
            ("cache-control", "max-age=60, no-transform"),
        ],
    ),
    ("another media type", &[("content-type", "image/png")]),
    ("no media type", &[]),
];

#[tokio::test]
async fn what_is_not_ours_to_encode_is_passed_as_it_is() {
    for (rule, fields) in UNTOUCHED {
        for stored in ["max-age=60", "no-store"] {
            let scripted = answer(text())
                .with("cache-control", stored)
                .with("etag", "\"1\"")
                .with_all(fields);
            let origin = Origin::always(scripted);
            let edge = edge(&origin);
            for _ in 0..2 {
                let response = get(&edge, "/", "gzip").send().await;
                assert_eq!(response.body, text().as_bytes(), "{rule}");
                assert_eq!(response.get("vary"), None, "{rule}");
                assert_eq!(response.get("etag"), Some("\"1\""), "{rule}");
                let coding = fields.iter().find(|field| field.0 == "content-encoding");
                let coding = coding.map(|field| field.1);
                assert_eq!(response.get("content-encoding"), coding, "{rule}");
            }
        }
    }
}

#[tokio::test]
async fn what_is_small_or_has_no_content_is_passed_as_it_is() {
    for scripted in [
        page(&text()[..1023]),
        page("").status(204),
        page("").with("content-length-note", "empty"),
        page(text())
            .status(206)
            .with("content-range", "bytes 0-3999/8000"),
    ] {
        let origin = Origin::always(scripted);
        let edge = edge(&origin);
        for _ in 0..2 {
            let response = get(&edge, "/", "gzip").send().await;
            assert_eq!(response.get("content-encoding"), None);
            assert_eq!(response.get("vary"), None);
        }
    }
    let origin = Origin::always(page(&text()[..1024]));
    let edge = edge(&origin);
    let response = get(&edge, "/", "gzip").send().await;
    assert_eq!(response.get("content-encoding"), Some("gzip"));
}

#[tokio::test]
async fn an_encoded_form_has_fields_of_its_own() {
    let scripted = page(text()).with_all(&[
        ("accept-ranges", "bytes"),
        ("content-digest", "sha-256=:AA==:"),
        ("repr-digest", "sha-256=:AA==:"),
        ("content-md5", "AA=="),
        ("vary", "Accept-Language"),
    ]);
    let origin = Origin::always(scripted);
    let edge = edge(&origin);
    for status in ["fwd=uri-miss", "hit", "hit"] {
        let response = get(&edge, "/", "br").send().await;
        assert_eq!(response.cache_status(), status);
        assert_eq!(response.get("etag"), Some("W/\"1\""));
        assert_eq!(
            response.get("vary"),
            Some("Accept-Language, Accept-Encoding")
        );
        for gone in [
            "accept-ranges",
            "content-digest",
            "repr-digest",
            "content-md5",
        ] {
            assert_eq!(response.get(gone), None, "{gone}");
        }
        let length = response.get("content-length");
        if status == "hit" {
            assert_eq!(length, Some(response.body.len().to_string().as_str()));
            assert!(response.body.len() < text().len());
        } else {
            assert_eq!(length, None, "not known before it is sent");
        }
    }
    let identity = edge.get("/").await;
    assert_eq!(identity.get("etag"), Some("\"1\""));
    assert_eq!(identity.get("accept-ranges"), Some("bytes"));
    assert_eq!(identity.get("repr-digest"), Some("sha-256=:AA==:"));
    assert_eq!(
        identity.get("vary"),
        Some("Accept-Language, Accept-Encoding"),
        "others get it encoded"
    );
}

#[tokio::test]
async fn a_range_is_one_of_identity() {
    let modified = "Sun, 06 Nov 1994 08:49:37 GMT";
    let origin = Origin::always(page(text()).with("last-modified", modified));
    let edge = edge(&origin);
    for (rule, condition, status) in [
        ("§14.2", None, 206),
        ("§13.1.5, the tag of identity", Some("\"1\""), 206),
        ("§13.1.5, a weak tag never holds", Some("W/\"1\""), 200),
    ] {
        edge.get("/").await;
        let mut request = get(&edge, "/", "gzip").with("range", "bytes=0-9");
        if let Some(condition) = condition {
            request = request.with("if-range", condition);
        }
        let response = request.send().await;
        assert_eq!(response.status, status, "{rule}");
        assert_eq!(response.get("content-encoding"), None, "{rule}");
        assert_eq!(response.get("etag"), Some("\"1\""), "{rule}");
        assert_eq!(response.get("vary"), Some("Accept-Encoding"), "{rule}");
        let part = if status == 206 {
            text()[..10].to_owned()
        } else {
            text()
        };
        assert_eq!(response.text(), part, "{rule}");
    }
}

#[tokio::test]
async fn a_date_does_not_make_a_part_of_an_encoded_form_a_part_of_identity() {
    let modified = "Sun, 06 Nov 1994 08:49:37 GMT";
    let by_date = &[("range", "bytes=0-9"), ("if-range", modified)];
    for stored in ["max-age=60", "no-store"] {
        let scripted = answer(text()).with_all(&[
            ("content-type", "text/html"),
            ("cache-control", stored),
            ("last-modified", modified),
        ]);
        let origin = Origin::always(scripted);
        let edge = edge(&origin);
        edge.get("/").await;
        let response = get(&edge, "/", "gzip").with_all(by_date).send().await;
        assert_eq!(response.status, 200, "§8.8.1: all of it");
        assert_eq!(response.get("content-encoding"), Some("gzip"));
        assert_eq!(decoded(&response).await, text());
        assert_eq!(origin.last().get("range"), None);
        // Browsers take no coding with a range, whatever they began with.
        let identity = get(&edge, "/", "identity").with_all(by_date).send().await;
        assert_eq!((identity.status, identity.text()), (200, &*text()));
    }
}

#[tokio::test]
async fn a_part_that_is_stored_is_one_of_identity() {
    let origin = Origin::by(|asked| match asked.get("range") {
        Some(_) => page(&text()[..10])
            .status(206)
            .with("content-range", "bytes 0-9/4000"),
        None => page(text()),
    });
    let edge = edge(&origin);
    for status in ["fwd=uri-miss", "hit"] {
        let part = get(&edge, "/", "gzip")
            .with("range", "bytes=0-9")
            .send()
            .await;
        assert_eq!((part.status, part.text()), (206, &text()[..10]));
        assert_eq!(
            (part.cache_status(), part.get("content-encoding")),
            (status, None)
        );
    }
    let confirmed = get(&edge, "/", "gzip").with("if-none-match", "W/\"1\"");
    let confirmed = confirmed.send().await;
    assert_eq!(
        (confirmed.status, confirmed.get("etag")),
        (304, Some("W/\"1\""))
    );
    assert_eq!(confirmed.get("vary"), Some("Accept-Encoding"));
    let whole = get(&edge, "/", "gzip").send().await;
    assert_eq!(whole.get("content-encoding"), Some("gzip"));
}

#[tokio::test]
async fn a_304_speaks_of_the_form_that_the_client_would_get() {
    let origin = Origin::always(page(text()));
    let edge = edge(&origin);
    edge.get("/").await;
    for (accepted, named, tag) in [
        ("gzip", "W/\"1\"", "W/\"1\""),
        ("gzip", "\"1\"", "W/\"1\""),
        ("gzip", "*", "W/\"1\""),
        ("identity", "W/\"1\"", "\"1\""),
        ("identity", "\"1\"", "\"1\""),
    ] {
        let request = get(&edge, "/", accepted).with("if-none-match", named);
        let response = request.send().await;
        assert_eq!(response.status, 304, "{accepted} {named}");
        assert_eq!(response.get("etag"), Some(tag), "{accepted} {named}");
        assert_eq!(response.get("vary"), Some("Accept-Encoding"));
        assert_eq!(response.get("content-encoding"), None);
    }
    let other = get(&edge, "/", "gzip").with("if-none-match", "W/\"2\"");
    assert_eq!(other.send().await.status, 200);
    assert_eq!(made(&edge, "gzip").await, 1, "a 304 needs no form");
}

#[tokio::test]
async fn a_304_on_a_miss_speaks_of_the_form_that_the_client_named() {
    for (named, tag) in [("W/\"1\"", "W/\"1\""), ("\"1\"", "\"1\"")] {
        let origin = Origin::always(page(text()));
        let edge = edge(&origin);
        let request = get(&edge, "/", "gzip").with("if-none-match", named);
        let response = request.send().await;
        assert_eq!((response.status, response.get("etag")), (304, Some(tag)));
        assert_eq!(response.get("vary"), Some("Accept-Encoding"));
    }
}

#[tokio::test]
async fn an_origins_own_304_speaks_of_the_form_that_the_client_named() {
    let origin = Origin::by(|asked| match asked.get("if-none-match") {
        Some(_) => answer("").status(304).with("etag", "\"1\""),
        None => page(text()).with("cache-control", "no-store"),
    });
    let edge = Edge::before(&origin)
        .route(ON)
        .route("cache = false")
        .start();
    for (named, tag) in [("W/\"1\"", "W/\"1\""), ("\"1\"", "\"1\"")] {
        let request = get(&edge, "/", "gzip").with("if-none-match", named);
        let response = request.send().await;
        assert_eq!((response.status, response.get("etag")), (304, Some(tag)));
        assert_eq!(response.get("vary"), Some("Accept-Encoding"));
        assert_eq!(origin.last().get("if-none-match"), Some(named));
    }
}

#[tokio::test]
async fn a_guarded_request_passes_with_its_condition() {
    let origin = Origin::always(page(text()));
    let edge = edge(&origin);
    edge.get("/").await;
    let request = get(&edge, "/", "gzip").with("if-match", "\"1\"");
    let response = request.send().await;
    assert_eq!(origin.last().get("if-match"), Some("\"1\""));
    assert_eq!(response.cache_status(), "fwd=request");
    assert_eq!(decoded(&response).await, text());
}

/// As an origin does that compares strongly (RFC 9110 §13.1.1).
#[tokio::test]
async fn a_write_that_demands_an_encoded_form_demands_what_it_was_made_of() {
    let origin = Origin::by(|asked| {
        let demanded = asked.get("if-match").unwrap_or("*");
        match demanded.split(", ").any(|tag| tag == "\"1\"" || tag == "*") {
            true => page(text()),
            false => answer("").status(412),
        }
    });
    let edge = edge(&origin);
    let form = get(&edge, "/", "gzip").send().await;
    let tag = form.get("etag").unwrap().to_owned();
    assert_eq!(tag, "W/\"1\"");
    for (demanded, status) in [
        (tag.as_str(), 200),
        ("W/\"0\", W/\"1\"", 200),
        ("*", 200),
        ("W/\"2\"", 412),
        ("W/\"a, W/b\"", 412),
    ] {
        let write = edge.request("PUT", "/").with("if-match", demanded);
        let write = write.with("accept-encoding", "gzip").send().await;
        assert_eq!(write.status, status, "{demanded}");
    }
    assert_eq!(
        origin.last().get("if-match"),
        Some("W/\"a, W/b\", \"a, W/b\"")
    );
}

#[tokio::test]
async fn a_route_that_encodes_nothing_leaves_demands_alone() {
    let origin = Origin::always(page(text()));
    let edge = Edge::before(&origin).start();
    let write = edge.request("PUT", "/").with("if-match", "W/\"1\"");
    write.send().await;
    assert_eq!(origin.last().get("if-match"), Some("W/\"1\""));
}

#[tokio::test]
async fn a_head_tells_what_a_get_would_bring() {
    let origin = Origin::always(page(text()));
    let edge = edge(&origin);
    let head = async |status: &str| {
        let request = edge.request("HEAD", "/").with("accept-encoding", "gzip");
        let response = request.send().await;
        assert_eq!(response.cache_status(), status);
        assert_eq!(response.get("content-encoding"), Some("gzip"));
        assert_eq!(response.get("vary"), Some("Accept-Encoding"));
        assert_eq!(response.get("etag"), Some("W/\"1\""));
        response.get("content-length").map(str::to_owned)
    };
    assert_eq!(head("fwd=uri-miss").await, None, "not known yet");
    edge.get("/").await;
    assert_eq!(head("hit").await, None, "not made for a HEAD");
    let made = get(&edge, "/", "gzip").send().await;
    assert_eq!(head("hit").await, Some(made.body.len().to_string()));
    let identity = edge.request("HEAD", "/").send().await;
    let length = text().len().to_string();
    assert_eq!(identity.get("content-length"), Some(length.as_str()));
}

#[tokio::test]
async fn a_slow_origins_parts_are_not_held_back() {
    for coding in CODINGS {
        let gates = [Gate::closed(), Gate::closed()];
        let scripted = page(text())
            .then(&gates[0], "second")
            .then(&gates[1], "third")
            .chunked();
        let origin = Origin::always(scripted);
        let edge = edge(&origin);
        let mut client = get(&edge, "/", coding).begin().await;
        let head = client.head().await;
        assert_eq!(head.get("content-encoding"), Some(coding));
        let mut sent = Vec::new();
        for (gate, so_far) in gates.iter().zip([text(), text() + "second"]) {
            while decode(Some(coding), &sent).await != so_far.as_bytes() {
                sent.extend(client.piece().await.unwrap());
            }
            gate.open();
        }
        while let Some(piece) = client.piece().await {
            sent.extend(piece);
        }
        let whole = text() + "secondthird";
        assert_eq!(decode(Some(coding), &sent).await, whole.as_bytes());
        let hit = get(&edge, "/", coding).send().await;
        assert_eq!(hit.cache_status(), "hit");
        assert_eq!(decoded(&hit).await, whole);
    }
}

#[tokio::test]
async fn slow_levels_give_the_same_bytes_back() {
    let gate = Gate::closed();
    let scripted = page(&text()[..2_000])
        .then(&gate, &text()[2_000..])
        .chunked();
    let origin = Origin::always(scripted);
    let edge = Edge::before(&origin)
        .route("compression = { levels = { zstd = 13, br = 10, gzip = 9 } }")
        .start();
    let mut waiting = Vec::new();
    for coding in CODINGS {
        let mut client = get(&edge, "/", coding).begin().await;
        client.head().await;
        waiting.push((coding, client));
    }
    gate.open();
    for (coding, mut client) in waiting {
        let mut sent = Vec::new();
        while let Some(piece) = client.piece().await {
            sent.extend(piece);
        }
        assert_eq!(decode(Some(coding), &sent).await, text().as_bytes());
        let kept = until_kept(&edge, "/", coding).await;
        assert_eq!(decoded(&kept).await, text());
    }
}

#[tokio::test]
async fn those_who_wait_for_one_fetch_get_a_coding_each() {
    let gate = Gate::closed();
    let origin = Origin::always(page(long_text()).after(&gate));
    let edge = edge(&origin);
    let mut waiting = Vec::new();
    for coding in ["zstd", "br", "gzip", "identity", "gzip", "gzip"] {
        waiting.push((coding, get(&edge, "/", coding).begin().await));
    }
    origin.asked_for(1).await;
    edge.settled().await;
    gate.open();
    for (coding, mut client) in waiting {
        let response = client.response().await;
        let expected = (coding != "identity").then_some(coding);
        assert_eq!(response.get("content-encoding"), expected);
        assert_eq!(decoded(&response).await, long_text(), "{coding}");
    }
    assert_eq!(origin.requests(), 1);
    for coding in CODINGS {
        assert_eq!(made(&edge, coding).await, 1, "{coding}");
    }
}

#[tokio::test]
async fn an_encoded_stream_that_nobody_reads_is_given_up() {
    let sent = Arc::new(AtomicUsize::new(0));
    let gate = Gate::closed();
    let scripted = page(text())
        .then(&gate, "more")
        .flooding(1024, &sent)
        .chunked();
    let origin = Origin::always(scripted);
    let edge = Edge::before(&origin)
        .with("cache.max_entry = 10_000")
        .route(ON)
        .start();
    let mut leader = get(&edge, "/", "zstd").begin().await;
    leader.head().await;
    drop(leader);
    edge.settled().await;
    gate.open();
    wait_until("the end of the fetch", || origin.cut_off() == 1).await;
    assert!(sent.load(Ordering::Relaxed) < 1024);
}

#[tokio::test]
async fn what_is_too_large_to_be_kept_is_encoded_to_its_end() {
    let long = long_text().repeat(4);
    for scripted in [page(long.as_str()), page(long.as_str()).chunked()] {
        let origin = Origin::always(scripted);
        let edge = Edge::before(&origin)
            .with("cache.max_entry = 10_000")
            .route(ON)
            .start();
        for coding in CODINGS {
            let response = get(&edge, "/", coding).send().await;
            assert!(response.is_complete, "{coding}");
            assert!(decoded(&response).await == long, "{coding}");
        }
    }
}

#[tokio::test]
async fn a_body_that_breaks_off_ends_without_its_end() {
    let scripted = page(long_text()).chunked().breaking_off();
    let origin = Origin::always(scripted);
    let edge = edge(&origin);
    let response = get(&edge, "/", "gzip").send().await;
    assert_eq!(response.get("content-encoding"), Some("gzip"));
    assert!(!response.is_complete);
}

#[tokio::test]
async fn what_is_not_stored_is_encoded_as_well() {
    let origin = Origin::always(page(long_text()).with("cache-control", "no-store"));
    let edge = edge(&origin);
    for method in ["GET", "POST", "DELETE"] {
        let request = edge.request(method, "/").with("accept-encoding", "zstd");
        let response = request.send().await;
        assert_eq!(response.get("content-encoding"), Some("zstd"), "{method}");
        assert_eq!(response.get("etag"), Some("W/\"1\""), "{method}");
        assert_eq!(decoded(&response).await, long_text(), "{method}");
    }
}

#[tokio::test]
async fn trailers_stay_behind_an_encoded_body_but_for_digests_of_identity() {
    let scripted = page(text())
        .with("cache-control", "no-store")
        .chunked()
        .with("trailer", "X-Sum, Content-Digest")
        .trailing("X-Sum", "1")
        .trailing("Content-Digest", "sha-256=:AA==:");
    let origin = Origin::always(scripted);
    let edge = Edge::before(&origin)
        .route(ON)
        .route("cache = false")
        .start();
    let request = get(&edge, "/", "gzip").with("te", "trailers");
    let response = request.send().await;
    assert_eq!(response.get("content-encoding"), Some("gzip"));
    assert_eq!(decoded(&response).await, text());
    let sum = ("x-sum".to_owned(), "1".to_owned());
    assert_eq!(response.trailers, [sum]);
}

#[tokio::test]
async fn an_explanation_knows_the_variant_that_is_stored() {
    let origin = Origin::always(page(text()).with("vary", "accept-encoding"));
    let edge = edge(&origin);
    edge.get("/").await;
    let question = r#"{"url": "http://edge.test/", "headers": {"accept-encoding": "gzip"}}"#;
    let told = edge.admin("POST", "/explain").body(question).send().await;
    assert!(told.text().contains("hit; ttl=60"), "{}", told.text());
    assert!(told.text().contains("\"gzip\""), "{}", told.text());
}

#[tokio::test]
async fn what_the_edge_says_itself_is_left_as_it_is() {
    let mut origin = Origin::answers("");
    origin.go_down();
    let edge = Edge::before(&origin)
        .route("compression = { min_size = 0 }")
        .start();
    let response = get(&edge, "/", "gzip").send().await;
    assert_eq!(response.status, 502);
    assert_eq!(response.get("content-encoding"), None);
}

#[tokio::test]
async fn a_crowd_of_hits_makes_one_form() {
    let origin = Origin::always(page(long_text().repeat(4)));
    let edge = Edge::before(&origin)
        .with("server.workers = 2")
        .route(ON)
        .start();
    edge.get("/").await;
    let mut crowd = Vec::new();
    for _ in 0..200 {
        crowd.push(tokio::spawn(get(&edge, "/", "zstd").send()));
    }
    for hit in crowd {
        let response = hit.await.unwrap();
        assert_eq!(response.cache_status(), "hit");
        assert!(response.is_complete);
        assert!(decoded(&response).await == long_text().repeat(4));
    }
    assert_eq!(made(&edge, "zstd").await, 1);
    let kept = until_kept(&edge, "/", "zstd").await;
    assert!(decoded(&kept).await == long_text().repeat(4));
    assert_eq!(made(&edge, "zstd").await, 1);
    assert!(
        count(
            &edge,
            "tidegate_encoding_saved_bytes_total{coding=\"zstd\"}"
        )
        .await
            > 0
    );
}

#[tokio::test]
async fn a_client_that_leaves_half_way_harms_nobody() {
    let gate = Gate::closed();
    let scripted = page(text()).then(&gate, long_text()).chunked();
    let origin = Origin::always(scripted);
    let edge = edge(&origin);
    let mut leaver = get(&edge, "/", "zstd").begin().await;
    leaver.head().await;
    leaver.piece().await;
    drop(leaver);
    gate.open();
    let whole = text() + &long_text();
    // Now it leaves while a stored body is encoded.
    patiently("a hit", async {
        while edge.get("/").await.cache_status() != "hit" {}
    })
    .await;
    let mut leaver = get(&edge, "/", "zstd").begin().await;
    leaver.head().await;
    drop(leaver);
    let kept = until_kept(&edge, "/", "zstd").await;
    assert_eq!(decoded(&kept).await, whole);
}

#[tokio::test]
async fn a_purge_takes_the_encoded_forms_with_it() {
    for body in [text(), long_text()] {
        let origin = Origin::always(page(body.as_str()));
        let edge = edge(&origin);
        edge.get("/").await;
        until_kept(&edge, "/", "zstd").await;
        assert_eq!(edge.purge("/").await.status, 200);
        let newer = body.replace("line", "LINE");
        origin.now(page(newer.as_str()));
        for status in ["fwd=miss", "hit", "hit"] {
            let response = get(&edge, "/", "zstd").send().await;
            assert_eq!(response.cache_status(), status);
            assert_eq!(decoded(&response).await, newer);
        }
        assert_eq!(origin.requests(), 2);
    }
}

#[tokio::test]
async fn a_purge_while_a_form_is_made_leaves_nothing_of_it() {
    let origin = Origin::always(page(long_text()));
    let edge = edge(&origin);
    edge.get("/").await;
    let mut reading = get(&edge, "/", "zstd").begin().await;
    reading.head().await;
    assert_eq!(edge.purge("/").await.status, 200);
    origin.now(page(text()));
    for _ in 0..3 {
        let response = get(&edge, "/", "zstd").send().await;
        assert_eq!(decoded(&response).await, text());
    }
}

#[tokio::test]
async fn a_renewed_response_keeps_its_forms_and_a_replaced_one_does_not() {
    let origin = Origin::always(page(long_text()));
    let edge = edge(&origin);
    edge.get("/").await;
    until_kept(&edge, "/", "zstd").await;
    assert_eq!(made(&edge, "zstd").await, 1);
    origin.next(answer("").status(304).with("etag", "\"1\""));
    edge.clock.advance(secs(61));
    let renewed = get(&edge, "/", "zstd").send().await;
    assert_eq!(renewed.cache("fwd-status"), Some("304"));
    assert_eq!(decoded(&renewed).await, long_text());
    let hit = get(&edge, "/", "zstd").send().await;
    assert_eq!(hit.cache_status(), "hit");
    assert!(hit.get("content-length").is_some());
    assert_eq!(made(&edge, "zstd").await, 1, "the body is the same");
    origin.now(page(text()).with("etag", "\"2\""));
    edge.clock.advance(secs(61));
    for _ in 0..2 {
        let response = get(&edge, "/", "zstd").send().await;
        assert_eq!(decoded(&response).await, text());
    }
}

#[tokio::test]
async fn a_stale_answer_is_encoded_too() {
    let mut origin = Origin::always(page(text()));
    let edge = Edge::before(&origin)
        .route(ON)
        .route("stale_if_error = \"1h\"")
        .start();
    edge.get("/").await;
    origin.go_down();
    edge.clock.advance(secs(61));
    let response = get(&edge, "/", "gzip").send().await;
    assert_eq!(response.cache("detail"), Some("stale-if-error"));
    assert_eq!(response.get("content-encoding"), Some("gzip"));
    assert_eq!(decoded(&response).await, text());
}

#[tokio::test]
async fn a_form_that_is_no_smaller_is_not_sent_again() {
    for length in [4_000, 100_000] {
        let origin = Origin::always(page(noise(length)));
        let edge = edge(&origin);
        edge.get("/").await;
        let first = get(&edge, "/", "gzip").send().await;
        let coding = first.get("content-encoding");
        assert_eq!(coding, Some("gzip"), "nobody knew yet");
        assert!(decode(coding, &first.body).await == noise(length));
        let plain = until_kept(&edge, "/", "gzip").await;
        assert_eq!(plain.get("content-encoding"), None);
        assert_eq!(plain.get("vary"), Some("Accept-Encoding"));
        assert_eq!(plain.get("etag"), Some("\"1\""));
        assert_eq!(made(&edge, "gzip").await, 1);
    }
}

async fn held(edge: &Edge) -> u64 {
    edge.get("/0").await;
    count(edge, "tidegate_memory_bytes").await
}

#[tokio::test]
async fn forms_are_weighed_with_what_they_were_made_of() {
    let origin = Origin::always(page(long_text()));
    let edge = edge(&origin);
    edge.get("/0").await;
    let mut least = long_text().len() as u64;
    for coding in CODINGS {
        least += until_kept(&edge, "/0", coding).await.body.len() as u64;
    }
    patiently("a memory that has counted", async {
        while held(&edge).await < least {}
    })
    .await;
}

#[tokio::test]
async fn forms_stay_within_the_memory_they_are_given() {
    const BUDGET: u64 = 1_000_000;
    let origin = Origin::always(page(long_text()));
    let edge = Edge::before(&origin)
        .with("cache.memory = 1_000_000\ncache.max_entry = 500_000")
        .route(ON)
        .start();
    for path in 0..20 {
        edge.get(&format!("/{path}")).await;
        for coding in CODINGS {
            let response = get(&edge, &format!("/{path}"), coding).send().await;
            assert!(decoded(&response).await == long_text());
        }
    }
    patiently("a tidy memory", async {
        while !(1..=BUDGET).contains(&held(&edge).await) {}
    })
    .await;
}

#[tokio::test]
async fn a_form_that_the_memory_has_no_room_for_is_not_made_again() {
    let origin = Origin::always(page(long_text()));
    let length = long_text().len();
    let edge = Edge::before(&origin)
        .with(&format!(
            "cache.memory = {}\ncache.max_entry = {length}",
            length + 3_000
        ))
        .route(ON)
        .start();
    edge.get("/").await;
    get(&edge, "/", "zstd").send().await;
    let identity = until_kept(&edge, "/", "zstd").await;
    assert_eq!(identity.get("content-encoding"), None);
    assert_eq!(identity.cache_status(), "hit");
    assert_eq!(origin.requests(), 1);
    assert_eq!(made(&edge, "zstd").await, 1);
}

#[tokio::test]
async fn filters_see_what_the_client_gets_and_cannot_deny_it() {
    let origin = Origin::always(page(text()));
    let edge = Edge::before(&origin)
        .with("plugins = { m = { file = \"builtin:misbehaving\" } }")
        .route(ON)
        .route("plugins = [{ name = \"m\", grants = [\"clock\", \"log\"], deadline = \"30s\" }]")
        .start();
    for status in ["fwd=uri-miss", "hit", "hit"] {
        let response = get(&edge, "/response/relabel", "gzip").send().await;
        assert_eq!(response.cache_status(), status);
        assert_eq!(response.get("x-shown-content-encoding"), Some("gzip"));
        assert_eq!(response.get("x-shown-etag"), Some("W/\"1\""));
        assert_eq!(response.get("x-shown-vary"), Some("Accept-Encoding"));
        assert_eq!(response.get("content-encoding"), Some("gzip"));
        assert_eq!(response.get("vary"), Some("Accept-Encoding"));
        assert_eq!(response.get("etag"), Some("W/\"relabelled\""));
        assert_eq!(decoded(&response).await, text());
    }
    let plain = edge.get("/response/relabel").await;
    assert_eq!(plain.get("x-shown-content-encoding"), Some(""));
    assert_eq!(plain.get("etag"), Some("\"relabelled\""));
}

#[tokio::test]
async fn what_the_origin_encoded_is_stored_once_and_told_apart_by_nobody() {
    let scripted =
        page(text()).with_all(&[("content-encoding", "gzip"), ("vary", "Accept-Encoding")]);
    let origin = Origin::always(scripted);
    let edge = edge(&origin);
    for accepted in ["gzip", "br", "identity"] {
        let response = get(&edge, "/", accepted).send().await;
        assert_eq!(response.get("content-encoding"), Some("gzip"));
        assert_eq!(response.body, text().as_bytes());
    }
    wait_until("one request", || origin.requests() == 1).await;
}
