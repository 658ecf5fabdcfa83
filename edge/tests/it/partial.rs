//! Stored parts of a representation: served, extended, combined (RFC 9111 §3.3-3.4).

use crate::support::origin::Asked;
use crate::support::{Answer, Edge, Gate, Origin, Response, answer, secs};

const BODY: &str = "0123456789";
const TAG: &str = "\"1\"";

/// The part of [`BODY`] that one range asks for, as an origin sends it.
fn part(range: &str, tag: &str) -> Answer {
    let length = BODY.len();
    let (first, last) = range
        .strip_prefix("bytes=")
        .and_then(|range| range.split_once('-'))
        .expect("the tests ask for one range");
    let (first, last) = match (first, last) {
        ("", suffix) => (
            length - suffix.parse::<usize>().expect("a number"),
            length - 1,
        ),
        (first, "") => (first.parse().expect("a number"), length - 1),
        (first, last) => (
            first.parse().expect("a number"),
            last.parse::<usize>().expect("a number").min(length - 1),
        ),
    };
    fields(answer(&BODY[first..=last]).status(206), tag)
        .with("content-range", &format!("bytes {first}-{last}/{length}"))
}

fn fields(answer: Answer, tag: &str) -> Answer {
    let answer = answer.with("cache-control", "max-age=60");
    if tag.is_empty() {
        return answer;
    }
    answer.with("etag", tag)
}

/// An origin that honours ranges, and `If-Range` too.
fn ranged(asked: &Asked) -> Answer {
    let is_changed = asked.get("if-range").is_some_and(|tag| tag != TAG);
    match asked.get("range") {
        _ if asked.get("if-none-match") == Some(TAG) => {
            fields(answer("").status(304), TAG).with("x-renewed", "yes")
        }
        Some(range) if !is_changed => part(range, TAG),
        _ => fields(answer(BODY), TAG),
    }
}

async fn ask(edge: &Edge, range: &str) -> Response {
    edge.request("GET", "/").with("range", range).send().await
}

fn told(response: &Response) -> (u16, &str, Option<&str>, &str) {
    let (text, range) = (response.text(), response.get("content-range"));
    (response.status, text, range, response.cache_status())
}

#[tokio::test]
async fn a_stored_part_answers_for_itself_and_for_what_lies_within() {
    // §3.3: asked for first, then, and what answers the second; without it the origin is asked.
    let rows = [
        ("bytes=2-6", "bytes=2-6", Some("bytes 2-6/10")),
        ("bytes=2-6", "bytes=3-4", Some("bytes 3-4/10")),
        ("bytes=5-", "bytes=-3", Some("bytes 7-9/10")),
        ("bytes=-5", "bytes=-5", Some("bytes 5-9/10")),
        ("bytes=-5", "bytes=7-", Some("bytes 7-9/10")),
        ("bytes=-5", "bytes=8-99", Some("bytes 8-9/10")),
        ("bytes=2-6", "bytes=1-6", None),
        ("bytes=2-6", "bytes=2-7", None),
        ("bytes=2-6", "bytes=-5", None),
        ("bytes=2-6", "bytes=3-", None),
        ("bytes=2-6", "bytes=2-2,4-4", None),
    ];
    for (first, second, expected) in rows {
        let origin = Origin::by(|asked| match asked.get("range") {
            Some("bytes=2-2,4-4") | None => fields(answer(BODY), TAG),
            Some(range) => part(range, TAG),
        });
        let edge = Edge::before(&origin).start();
        let stored = ask(&edge, first).await;
        assert_eq!(stored.status, 206, "{first}");
        assert_eq!(stored.cache("fwd"), Some("uri-miss"), "{first}");
        assert_eq!(origin.last().get("range"), Some(first));
        let response = ask(&edge, second).await;
        match expected {
            Some(range) => {
                assert_eq!(response.status, 206, "{first}, then {second}");
                assert_eq!(response.get("content-range"), Some(range), "{second}");
                assert_eq!(response.cache_status(), "hit", "{first}, then {second}");
                assert_eq!(origin.requests(), 1, "{first}, then {second}");
            }
            None => {
                assert_eq!(
                    response.cache("fwd"),
                    Some("partial"),
                    "{first}, then {second}"
                );
                assert_eq!(origin.requests(), 2, "{first}, then {second}");
                assert_eq!(origin.last().get("range"), Some(second));
            }
        }
    }
}

#[tokio::test]
async fn a_part_of_unknown_length_answers_what_can_be_told_without_it() {
    let whole = fields(answer("2345").status(206), TAG).with("content-range", "bytes 2-5/*");
    let origin = Origin::always(whole);
    let edge = Edge::before(&origin).start();
    ask(&edge, "bytes=2-5").await;
    let hit = ask(&edge, "bytes=3-4").await;
    assert_eq!(told(&hit), (206, "34", Some("bytes 3-4/*"), "hit"));
    assert_ne!(ask(&edge, "bytes=-2").await.cache_status(), "hit");
}

#[tokio::test]
async fn parts_that_come_one_by_one_make_the_whole() {
    let origin = Origin::by(ranged);
    let edge = Edge::before(&origin).start();
    for range in ["bytes=0-2", "bytes=5-9", "bytes=2-5"] {
        assert_eq!(ask(&edge, range).await.status, 206);
    }
    assert_eq!(origin.requests(), 3);
    let whole = edge.get("/").await;
    assert_eq!(told(&whole), (200, BODY, None, "hit"));
    assert_eq!(whole.get("content-length"), Some("10"));
    let within = ask(&edge, "bytes=1-8").await;
    assert_eq!(
        told(&within),
        (206, "12345678", Some("bytes 1-8/10"), "hit")
    );
    assert_eq!(origin.requests(), 3);
}

#[tokio::test]
async fn for_the_whole_only_what_is_missing_is_asked_for() {
    // What is stored, and what is asked for then.
    for (stored, missing) in [
        (&["bytes=0-3"][..], "bytes=4-9"),
        (&["bytes=-4"], "bytes=0-5"),
        (&["bytes=0-1", "bytes=8-9"], "bytes=2-7"),
    ] {
        let origin = Origin::by(ranged);
        let edge = Edge::before(&origin).start();
        for range in stored {
            ask(&edge, range).await;
        }
        let completed = edge.get("/").await;
        assert_eq!(told(&completed).1, BODY, "{missing}");
        assert_eq!(
            (completed.status, completed.get("content-range")),
            (200, None)
        );
        assert_eq!(completed.get("content-length"), Some("10"), "{missing}");
        assert_eq!(completed.cache("fwd"), Some("partial"), "{missing}");
        assert_eq!(completed.cache("fwd-status"), Some("206"), "{missing}");
        let asked = origin.last();
        assert_eq!(asked.get("range"), Some(missing));
        assert_eq!(asked.get("if-range"), Some(TAG), "{missing}");
        let requests = origin.requests();
        assert_eq!(
            told(&edge.get("/").await),
            (200, BODY, None, "hit"),
            "{missing}"
        );
        assert_eq!(origin.requests(), requests);
    }
}

#[tokio::test]
async fn a_part_of_something_else_is_never_combined() {
    // The validators of what is stored and of what comes; the last two are no strong ones.
    for (stored, later) in [(TAG, "\"2\""), ("", ""), ("W/\"1\"", "W/\"1\"")] {
        let origin = Origin::always(part("bytes=0-4", stored));
        let edge = Edge::before(&origin).start();
        ask(&edge, "bytes=0-4").await;
        origin.now(part("bytes=5-9", later));
        ask(&edge, "bytes=5-9").await;
        origin.now(fields(answer("all new"), "\"3\""));
        let whole = edge.get("/").await;
        assert_eq!(told(&whole).1, "all new", "{stored} and {later}");
        assert_eq!(whole.status, 200);
    }
}

#[tokio::test]
async fn a_206_that_does_not_complete_what_is_stored_is_asked_for_again_whole() {
    let origin = Origin::always(part("bytes=0-4", TAG));
    let edge = Edge::before(&origin).start();
    ask(&edge, "bytes=0-4").await;
    for useless in [
        part("bytes=5-9", "\"2\""),
        part("bytes=6-9", TAG),
        fields(answer("567").status(206), TAG).with("content-range", "bytes 5-9/10"),
        answer("").status(416),
    ] {
        origin.next(useless);
        origin.next(answer("all").with("cache-control", "no-store"));
        let whole = edge.get("/").await;
        assert_eq!((whole.status, whole.text()), (200, "all"));
        assert_eq!(origin.last().get("range"), None);
    }
}

#[tokio::test]
async fn a_part_as_long_as_it_says_is_stored_and_any_other_is_not() {
    for (content_range, body) in [
        ("bytes 0-4/10", "0123"),
        ("bytes 0-4/3", "01234"),
        ("bytes 4-0/10", "01234"),
        ("bytes 0-4", "01234"),
        ("bytes */10", "01234"),
        ("lines 0-4/10", "01234"),
        ("", "01234"),
    ] {
        let wrong = fields(answer(body).status(206), TAG).with("content-range", content_range);
        let origin = Origin::always(wrong);
        let edge = Edge::before(&origin).start();
        for requests in 1..3 {
            let response = ask(&edge, "bytes=0-4").await;
            assert_eq!((response.status, response.text()), (206, body));
            assert_eq!(
                response.get("content-range"),
                Some(content_range),
                "passed on"
            );
            assert_eq!(
                origin.requests(),
                requests,
                "{content_range:?} is not stored"
            );
        }
    }
}

#[tokio::test]
async fn a_part_that_nobody_asked_for_is_not_stored() {
    let origin = Origin::always(part("bytes=0-4", TAG));
    let edge = Edge::before(&origin).start();
    edge.get("/").await;
    let again = edge.get("/").await;
    assert_eq!(again.cache("detail"), Some("partial-content"));
    assert_eq!(origin.requests(), 2);
}

#[tokio::test]
async fn a_stale_part_is_validated_and_serves_on() {
    let origin = Origin::by(ranged);
    let edge = Edge::before(&origin).start();
    ask(&edge, "bytes=2-6").await;
    edge.clock.advance(secs(60));
    let validated = ask(&edge, "bytes=3-4").await;
    assert_eq!(told(&validated).1, "34");
    assert_eq!(
        (validated.status, validated.cache("fwd")),
        (206, Some("stale"))
    );
    assert_eq!(validated.get("x-renewed"), Some("yes"));
    assert_eq!(origin.last().get("if-none-match"), Some(TAG));
    let hit = ask(&edge, "bytes=2-2").await;
    assert_eq!(told(&hit), (206, "2", Some("bytes 2-2/10"), "hit"));
    assert_eq!(hit.get("x-renewed"), Some("yes"));
}

#[tokio::test]
async fn a_purge_takes_the_parts_that_are_stored() {
    let origin = Origin::by(ranged);
    let edge = Edge::before(&origin).start();
    ask(&edge, "bytes=0-4").await;
    edge.purge("/").await;
    ask(&edge, "bytes=5-9").await;
    edge.get("/").await;
    assert_eq!(
        origin.last().get("range"),
        Some("bytes=0-4"),
        "what was purged is asked for, not combined"
    );
}

#[tokio::test]
async fn a_part_under_if_range_comes_from_what_is_stored_only_if_it_is_of_the_same() {
    let origin = Origin::by(ranged);
    let edge = Edge::before(&origin).start();
    ask(&edge, "bytes=0-4").await;
    let fields = |tag| [("range", "bytes=1-2"), ("if-range", tag)];
    let same = edge.request("GET", "/").with_all(&fields(TAG)).send().await;
    assert_eq!(told(&same), (206, "12", Some("bytes 1-2/10"), "hit"));
    let other = edge
        .request("GET", "/")
        .with_all(&fields("\"2\""))
        .send()
        .await;
    assert_eq!((other.status, other.text()), (200, BODY));
    assert_eq!(origin.last().get("if-range"), Some("\"2\""));
}

#[tokio::test]
async fn conditions_are_answered_out_of_a_stored_part() {
    let origin = Origin::by(ranged);
    let edge = Edge::before(&origin).start();
    ask(&edge, "bytes=0-4").await;
    let same = edge
        .request("GET", "/")
        .with("if-none-match", TAG)
        .send()
        .await;
    assert_eq!((same.status, same.cache_status()), (304, "hit"));
    assert_eq!(same.get("content-range"), None);
}

#[tokio::test]
async fn those_who_ask_for_the_same_part_at_once_share_one_fetch() {
    let origin = Origin::by(ranged);
    let edge = Edge::before(&origin).start();
    let asking = (0..20).map(|_| ask(&edge, "bytes=2-5"));
    for response in futures(asking).await {
        assert_eq!((response.status, response.text()), (206, "2345"));
    }
    assert_eq!(origin.requests(), 1);
}

/// All of them at once.
async fn futures(work: impl Iterator<Item = impl Future<Output = Response>>) -> Vec<Response> {
    let mut all: Vec<_> = work.map(Box::pin).collect();
    let mut done = Vec::new();
    std::future::poll_fn(|context| {
        all.retain_mut(|one| match one.as_mut().poll(context) {
            std::task::Poll::Ready(response) => {
                done.push(response);
                false
            }
            std::task::Poll::Pending => true,
        });
        if all.is_empty() {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    })
    .await;
    done
}

#[tokio::test]
async fn a_stale_part_that_changed_is_never_continued_under_the_old_condition() {
    let origin = Origin::always(part("bytes=0-4", TAG));
    let edge = Edge::before(&origin).start();
    ask(&edge, "bytes=0-4").await;
    edge.clock.advance(secs(60));
    // The origin has something else by now, and honours `If-Range`.
    let changed = |asked: &Asked| match asked.get("if-range") {
        Some("\"1\"") | None => fields(answer("all of the new one"), "\"2\""),
        Some(_) => part("bytes=0-4", "\"2\""),
    };
    origin.now_by(changed);
    let fields = [("range", "bytes=1-2"), ("if-range", TAG)];
    let answered = edge.request("GET", "/").with_all(&fields).send().await;
    assert_eq!(origin.last().get("if-range"), Some(TAG));
    assert_eq!(
        (answered.status, answered.text()),
        (200, "all of the new one")
    );
}

#[tokio::test]
async fn a_validation_that_takes_the_strong_validator_away_answers_the_part_all_the_same() {
    let origin = Origin::by(ranged);
    let edge = Edge::before(&origin).start();
    ask(&edge, "bytes=0-4").await;
    edge.clock.advance(secs(60));
    let weak = answer("").status(304).with("etag", "W/\"1\"");
    origin.next(weak.with("cache-control", "max-age=60"));
    let fields = [("range", "bytes=1-2"), ("if-range", TAG)];
    let answered = edge.request("GET", "/").with_all(&fields).send().await;
    assert_eq!((answered.status, answered.text()), (206, "12"));
}

#[tokio::test]
async fn a_part_that_comes_late_takes_no_newer_response_away() {
    let gate = Gate::closed();
    let origin = Origin::always(part("bytes=0-4", TAG).after(&gate));
    let edge = Edge::before(&origin).start();
    let request = edge.request("GET", "/").with("range", "bytes=0-4");
    let asking = tokio::spawn(request.send());
    origin.asked_for(1).await;
    edge.clock.advance(secs(1));
    origin.now(fields(answer("all new"), "\"2\""));
    edge.get("/").await;
    edge.clock.advance(secs(1));
    gate.open();
    assert_eq!(asking.await.expect("it is answered").text(), "01234");
    let hit = edge.get("/").await;
    assert_eq!((hit.cache_status(), hit.text()), ("hit", "all new"));
}

#[tokio::test]
async fn a_part_that_is_too_large_keeps_no_other_from_being_stored() {
    let origin = Origin::by(ranged);
    let edge = Edge::before(&origin).with("cache.max_entry = 4").start();
    ask(&edge, "bytes=0-").await;
    ask(&edge, "bytes=0-2").await;
    assert_eq!(ask(&edge, "bytes=1-2").await.cache_status(), "hit");
}

#[tokio::test]
async fn a_rest_of_another_length_than_it_says_breaks_off_and_is_not_stored() {
    for end in ["7", "789xyz"] {
        let origin = Origin::always(part("bytes=0-4", TAG));
        let edge = Edge::before(&origin).start();
        ask(&edge, "bytes=0-4").await;
        let rest = Gate::closed();
        let wrong = fields(answer("56").status(206), TAG)
            .with("content-range", "bytes 5-9/10")
            .then(&rest, end)
            .chunked();
        origin.next(wrong);
        let mut client = edge.request("GET", "/").begin().await;
        client.head().await;
        assert_eq!(client.body(7).await, "0123456");
        rest.open();
        assert!(!client.rest().await.1, "the client sees the break: {end}");
        origin.now(fields(answer(BODY), TAG));
        let later = edge.get("/").await;
        assert_ne!(later.cache_status(), "hit", "{end}");
        assert_eq!(later.text(), BODY, "{end}");
    }
}

#[tokio::test]
async fn a_range_that_was_not_sent_on_explains_no_part() {
    let origin = Origin::always(part("bytes=0-4", TAG));
    let edge = Edge::before(&origin)
        .route("ranges = \"fetch-whole\"")
        .start();
    let answered = ask(&edge, "bytes=0-4").await;
    assert_eq!(answered.cache("detail"), Some("partial-content"));
}
