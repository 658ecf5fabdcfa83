//! Requests that `wasi:http` guests send: to hosts that their route lists, and nowhere else.

use crate::support::{Edge, Gate, Origin, answer};

const KINDS: [&str; 2] = ["misfit", "misfit-classic"];

/// An edge whose guest may ask these hosts.
fn asking(kind: &str, hosts: &str) -> Edge {
    Edge::answered_by("asking", kind)
        .route(&format!(
            "[handler]\ngrants = [\"http\"]\nhosts = [{hosts}]"
        ))
        .start()
}

#[tokio::test]
async fn a_guest_asks_a_host_that_its_route_lists() {
    for kind in KINDS {
        let asked = Origin::always(answer("from elsewhere"));
        let edge = asking(kind, &format!("\"{}\"", asked.address));
        let path = format!("/fetch?url=http://{}/x%3Fy=1", asked.address);
        assert_eq!(edge.get(&path).await.text(), "from elsewhere", "{kind}");
        let request = asked.last();
        assert_eq!(request.get("host"), Some(&*asked.address.to_string()));
        for name in ["transfer-encoding", "content-length"] {
            assert_eq!(request.get(name), None, "{kind}: there is no body");
        }
        assert_eq!(asked.requests(), 1, "{kind}");
    }
}

#[tokio::test]
async fn https_is_refused_by_a_name_that_says_so() {
    for kind in KINDS {
        let edge = asking(kind, "\"127.0.0.1:*\"");
        let told = edge.get("/fetch?url=https://127.0.0.1:1/").await;
        let text = told.text();
        assert!(text.contains("TlsProtocolError"), "{kind}: {text}");
    }
}

#[tokio::test]
async fn other_hosts_and_odd_urls_are_refused() {
    for kind in KINDS {
        let asked = Origin::answers("never");
        let other = Origin::answers("never");
        let edge = asking(kind, &format!("\"{}\"", asked.address));
        let port = other.address.port();
        for url in [
            format!("http://{}/", other.address),
            format!("http://localhost:{}/", asked.address.port()),
            format!("http://{}@127.0.0.1:{port}/", asked.address),
            format!("http://user@{}/", asked.address),
            format!("http://127.0.0.1:%2B{}/", asked.address.port()),
            "/relative".to_owned(),
            "http://self/".to_owned(),
        ] {
            let told = edge.get(&format!("/fetch?url={url}")).await;
            let text = told.text();
            assert!(!text.contains("never"), "{kind} {url}: {text}");
        }
        assert_eq!((asked.requests(), other.requests()), (0, 0), "{kind}");
    }
}

#[tokio::test]
async fn without_the_grant_nobody_is_asked() {
    for kind in KINDS {
        let asked = Origin::answers("never");
        let edge = Edge::answered_by("denied", kind).start();
        let told = edge
            .get(&format!("/fetch?url=http://{}/", asked.address))
            .await;
        assert!(told.text().contains("HttpRequestDenied"), "{}", told.text());
        assert_eq!(asked.requests(), 0, "{kind}");
    }
}

#[tokio::test]
async fn a_host_that_is_silent_is_an_error_in_time() {
    for kind in KINDS {
        let gate = Gate::closed();
        let asked = Origin::always(answer("late").after(&gate));
        let edge = Edge::answered_by("late", kind)
            .route(&format!(
                "[handler]\ngrants = [\"http\"]\nhosts = [\"{}\"]\nhttp_timeout = \"50ms\"",
                asked.address
            ))
            .start();
        let path = format!("/fetch?url=http://{}/", asked.address);
        let told = edge.get(&path).await;
        assert!(told.text().contains("Timeout"), "{kind}: {}", told.text());
        gate.open();
    }
}

#[tokio::test]
async fn bodies_stream_through_a_guest_both_ways() {
    let gate = Gate::closed();
    let asked = Origin::always(answer("first ").chunked().then(&gate, "second"));
    let edge = asking("misfit", &format!("\"{}\"", asked.address));
    let path = format!("/fetch?method=POST&url=http://{}/", asked.address);
    let mut connection = edge.connect().await;
    connection
        .write(
            format!(
                "POST {path} HTTP/1.1\r\nhost: edge.test\r\ntransfer-encoding: chunked\r\n\r\n\
                 3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n"
            )
            .as_bytes(),
        )
        .await;
    connection.head().await;
    assert_eq!(connection.body(6).await, "first ");
    gate.open();
    assert_eq!(connection.rest().await, ("second".to_owned(), true));
    assert_eq!(asked.last().body, b"onetwo");
}
