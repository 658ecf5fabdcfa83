//! What plugins ask of other servers: those that the route names, for as long as it says.

use crate::filters_support::capable;
use crate::support::{Answer, Edge, Gate, Origin, answer};

/// An edge whose plugin may ask `hosts`.
fn asking(origin: &Origin, settings: &str) -> Edge {
    Edge::before(origin)
        .with("[plugins.asks]\nfile = \"builtin:capable\"")
        .route(&format!("[[plugins]]\n{}", capable("asks", settings)))
        .start()
}

fn hosts(server: &Origin) -> String {
    format!(
        "hosts = [{:?}]\nhttp_timeout = \"30s\"",
        server.address.to_string()
    )
}

async fn said(edge: &Edge, path: &str) -> String {
    let answer = edge.get(path).await;
    assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    answer.text().to_owned()
}

#[tokio::test]
async fn a_guest_asks_the_hosts_that_its_route_names_and_no_others() {
    let origin = Origin::answers("from the origin");
    let server = Origin::answers("hello").with("x-one", "1");
    let edge = asking(&origin, &hosts(&server));
    let answer = said(&edge, &format!("/http/get?http://{}/a?b", server.address)).await;
    assert!(
        answer.starts_with("200\n") && answer.ends_with("\nhello"),
        "{answer}"
    );
    assert!(answer.contains("\nx-one: 1\n"), "{answer}");
    let asked = server.last();
    assert_eq!((&*asked.method, &*asked.target), ("GET", "/a?b"));
    assert_eq!(asked.get("host"), Some(&*server.address.to_string()));
    assert_eq!(asked.get("via"), Some("1.1 tidegate"));
    assert_eq!(
        asked.get("x-forwarded-for"),
        None,
        "it is the guest's request"
    );
    said(&edge, &format!("/http/post?http://{}/", server.address)).await;
    assert_eq!(server.last().body, b"a body");

    let port = server.address.port();
    for (url, expected) in [
        (format!("http://{}/", origin.address), "Error::Denied"),
        (format!("http://localhost:{port}/"), "Error::Denied"),
        (format!("https://{}/", server.address), "Error::Denied"),
        (
            format!("http://{}@{}/", server.address, origin.address),
            "Error::Invalid",
        ),
        ("/relative".to_owned(), "Error::Invalid"),
        (String::new(), "Error::Invalid"),
    ] {
        let answer = said(&edge, &format!("/http/get?{url}")).await;
        assert!(answer.starts_with(expected), "{url}: {answer}");
    }
    assert_eq!((server.requests(), origin.requests()), (2, 0));
}

#[tokio::test]
async fn a_redirect_leads_a_guest_nowhere() {
    let origin = Origin::answers("from the origin");
    let away = format!("http://{}/", origin.address);
    let server = Origin::always(answer("").status(302).with("location", &away));
    let edge = asking(&origin, &hosts(&server));
    let answer = said(&edge, &format!("/http/get?http://{}/", server.address)).await;
    assert!(
        answer.starts_with("302\n") && answer.contains(&away),
        "{answer}"
    );
    assert_eq!((server.requests(), origin.requests()), (1, 0));
}

#[tokio::test]
async fn no_field_of_a_guest_ends_a_head_early_or_frames_the_message() {
    let origin = Origin::answers("");
    let server = Origin::answers("");
    let edge = asking(&origin, &hosts(&server));
    for path in ["field", "own", "large"] {
        let answer = said(&edge, &format!("/http/{path}?http://{}/", server.address)).await;
        assert!(answer.starts_with("Error::Invalid"), "{path}: {answer}");
    }
    assert_eq!(server.requests(), 0);
}

#[tokio::test]
async fn connections_are_kept_for_the_next_request() {
    let origin = Origin::answers("");
    let server = Origin::answers("hello");
    let edge = asking(&origin, &hosts(&server));
    for _ in 0..5 {
        said(&edge, &format!("/http/get?http://{}/", server.address)).await;
        edge.settled().await;
    }
    assert_eq!(server.last().connection, 0);
}

#[tokio::test]
async fn a_slow_server_is_waited_for_as_long_as_the_route_says() {
    let origin = Origin::answers("");
    let gate = Gate::closed();
    let server = Origin::always(answer("late").after(&gate));
    // Far beyond what the hook itself may run.
    let settings = format!(
        "hosts = [{:?}]\nhttp_timeout = \"50ms\"",
        server.address.to_string()
    );
    let edge = asking(&origin, &settings);
    let url = format!("http://{}/", server.address);
    let answer = said(&edge, &format!("/http/get?{url}")).await;
    assert!(answer.starts_with("Error::Timeout"), "{answer}");
    // All requests of a hook share the time.
    let answer = said(&edge, &format!("/http/many?{url}&10")).await;
    assert!(answer.starts_with("0: Error::Timeout"), "{answer}");
    gate.open();
}

#[tokio::test]
async fn waiting_is_not_held_against_the_hooks_own_time() {
    let origin = Origin::answers("");
    let gate = Gate::closed();
    let server = Origin::always(answer("late").after(&gate));
    let settings = capable("asks", &hosts(&server)).replace("\"5s\"", "\"50ms\"");
    let edge = Edge::before(&origin)
        .with("[plugins.asks]\nfile = \"builtin:capable\"")
        .route(&format!("[[plugins]]\n{settings}"))
        .start();
    let asking = tokio::spawn(edge.get(&format!("/http/get?http://{}/", server.address)));
    server.asked_for(1).await;
    // The hook may run for 50 ms. These take longer than that, and the worker serves them.
    let began = std::time::Instant::now();
    while began.elapsed().as_millis() < 100 {
        edge.settled().await;
    }
    gate.open();
    let answer = asking.await.unwrap();
    assert!(answer.text().ends_with("late"), "{}", answer.text());
}

#[tokio::test]
async fn many_waits_one_after_the_other_are_not_held_against_it_either() {
    let origin = Origin::answers("");
    let gates: Vec<Gate> = (0..60).map(|_| Gate::closed()).collect();
    let server = Origin::answers("");
    for gate in &gates {
        server.next(answer("late").after(gate));
    }
    let settings = capable("asks", &hosts(&server)).replace("\"5s\"", "\"40ms\"");
    let edge = Edge::before(&origin)
        .with("[plugins.asks]\nfile = \"builtin:capable\"")
        .route(&format!("[[plugins]]\n{settings}"))
        .start();
    let path = format!("/http/many?http://{}/&{}", server.address, gates.len());
    let asking = tokio::spawn(edge.get(&path));
    for (at, gate) in gates.iter().enumerate() {
        server.asked_for(at + 1).await;
        // Longer than a guest runs without looking up.
        let began = std::time::Instant::now();
        while began.elapsed().as_millis() < 2 {
            edge.settled().await;
        }
        gate.open();
    }
    let answer = asking.await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
}

#[tokio::test]
async fn what_comes_back_is_bounded_and_has_to_be_a_response() {
    let origin = Origin::answers("");
    let server = Origin::answers("");
    let edge = asking(&origin, &hosts(&server));
    let get = format!("/http/get?http://{}/", server.address);
    for (answer, expected) in [
        // With a little room for the head, which the fixture's own answer of 1 MiB at most holds too.
        (answer(vec![b'x'; (1 << 20) - 4_096]), "200\n"),
        (answer(vec![b'x'; (1 << 20) + 1]), "Error::TooLarge"),
        (answer(vec![b'x'; 2 << 20]).chunked(), "Error::TooLarge"),
        (Answer::hang_up(), "Error::Broken"),
        (Answer::raw("nonsense\r\n\r\n"), "Error::Broken"),
        (
            answer("short").announcing(10).breaking_off(),
            "Error::Broken",
        ),
    ] {
        server.now(answer);
        let answer = said(&edge, &get).await;
        assert!(answer.starts_with(expected), "{expected}: {:.100}", answer);
    }
    server.now(answer("fine"));
    assert!(said(&edge, &get).await.ends_with("fine"));
}

#[tokio::test]
async fn a_server_that_is_down_is_an_error() {
    let origin = Origin::answers("");
    let mut server = Origin::answers("");
    server.go_down();
    let edge = asking(&origin, &hosts(&server));
    let answer = said(&edge, &format!("/http/get?http://{}/", server.address)).await;
    assert!(answer.starts_with("Error::Connect"), "{answer}");
}
