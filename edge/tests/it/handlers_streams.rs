//! Bodies stream into guests and out of them.

use crate::support::{Edge, patiently};

const KINDS: [&str; 2] = ["misfit", "misfit-classic"];

#[tokio::test]
async fn what_goes_in_comes_out_before_the_rest_has_come() {
    for kind in KINDS {
        let edge = Edge::answered_by("streamed", kind).start();
        let mut connection = edge.connect().await;
        let head = "POST /echo HTTP/1.1\r\nhost: edge.test\r\ntransfer-encoding: chunked\r\n\r\n";
        connection.write(head.as_bytes()).await;
        connection.write(b"5\r\nfirst\r\n").await;
        assert_eq!(connection.head().await.status, 200, "{kind}");
        assert_eq!(connection.body(5).await, "first", "{kind}");
        connection.write(b"6\r\nsecond\r\n").await;
        assert_eq!(connection.body(6).await, "second", "{kind}");
        connection.write(b"0\r\n\r\n").await;
        assert_eq!(connection.rest().await, (String::new(), true), "{kind}");
    }
}

#[tokio::test]
async fn a_body_larger_than_a_guests_memory_passes_through_it() {
    const LENGTH: usize = 24 << 20;
    for kind in KINDS {
        let edge = Edge::answered_by("large", kind)
            .route("handler = { memory = \"4MiB\", deadline = \"60s\" }")
            .start();
        let mut connection = edge.connect().await;
        let head =
            format!("POST /echo HTTP/1.1\r\nhost: edge.test\r\ncontent-length: {LENGTH}\r\n\r\n");
        connection.write(head.as_bytes()).await;
        // What does not fit on its way waits until what is before it has been read.
        let mut written = 0;
        let mut read = 0;
        let part = vec![b'.'; 64 << 10];
        let mut has_head = false;
        while read < LENGTH {
            while written < LENGTH && written - read < 256 << 10 {
                connection.write(&part).await;
                written += part.len();
            }
            if !has_head {
                assert_eq!(connection.head().await.status, 200, "{kind}");
                has_head = true;
            }
            let piece = connection.piece().await;
            read += piece.expect("the body goes on").len();
        }
        assert_eq!(connection.piece().await, None, "{kind}");
    }
}

#[tokio::test]
async fn a_response_larger_than_a_guests_memory_comes_out_of_it() {
    for kind in KINDS {
        let edge = Edge::answered_by("parts", kind)
            .route("handler = { memory = \"4MiB\", deadline = \"60s\" }")
            .start();
        let path = "/parts?count=256&size=65536";
        let mut connection = edge.request("GET", path).begin().await;
        assert_eq!(connection.head().await.status, 200, "{kind}");
        assert_eq!(connection.drained().await, (16 << 20, true), "{kind}");
    }
}

#[tokio::test]
async fn a_request_body_over_the_edges_limit_ends_the_exchange() {
    for kind in KINDS {
        let edge = Edge::answered_by("limited", kind)
            .with("server.max_body_bytes = \"1KiB\"")
            .start();
        let request = edge.request("POST", "/echo").body(&"x".repeat(2_000));
        assert_eq!(request.send().await.status, 413, "{kind}");
    }
}

#[tokio::test]
async fn a_client_that_leaves_makes_room_for_the_next() {
    for kind in KINDS {
        let edge = Edge::answered_by("left", kind)
            .with("[plugins.left]\ninstances = 1\nwait = \"20s\"")
            .start();
        // Upload under way, nothing to read: the guest waits for either.
        let mut waiting = edge.connect().await;
        let head = "POST /echo HTTP/1.1\r\nhost: edge.test\r\ntransfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n";
        waiting.write(head.as_bytes()).await;
        waiting.head().await;
        drop(waiting);
        let next = patiently("room", edge.get("/next?cache-control=no-store")).await;
        assert_eq!((next.status, next.text()), (200, "hello"), "{kind}");
    }
}

#[tokio::test]
async fn a_fill_goes_on_when_the_client_has_left() {
    for kind in KINDS {
        let edge = Edge::answered_by("filled", kind).start();
        let path = "/parts?cache-control=max-age%3D60&count=20&size=65536";
        let mut leaving = edge.request("GET", path).begin().await;
        leaving.head().await;
        drop(leaving);
        let stored = async { while edge.get(path).await.cache_status() != "hit" {} };
        patiently("a hit", stored).await;
    }
}
