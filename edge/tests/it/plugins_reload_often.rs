//! Plugins are replaced again and again, and nobody notices.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::filters_support::version;
use crate::plugins_reload::{Installed, seen_by};
use crate::support::Origin;

const RELOADS: usize = 1_000;
const CLIENTS: usize = 4;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_fails_while_a_plugin_is_replaced_a_thousand_times() {
    let origin = Origin::answers("x").with("cache-control", "max-age=60");
    let installed = Installed::version(1);
    let folder = tempfile::tempdir().unwrap();
    let code = folder.path().join("code").display().to_string();
    let edge = installed
        .before(&origin)
        .with(&format!("wasm.cache = {code:?}"))
        .with("server.workers = 2")
        .start();
    let edge = Arc::new(edge);
    let (is_over, answered) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicUsize::new(0)),
    );
    let clients = (0..CLIENTS).map(|client| {
        let (edge, is_over, answered) = (
            Arc::clone(&edge),
            Arc::clone(&is_over),
            Arc::clone(&answered),
        );
        tokio::spawn(async move {
            let mut number = 0;
            while !is_over.load(Ordering::Acquire) {
                // Stored ones and new ones in turn.
                let path = format!("/{client}/{}", if number % 2 == 0 { 0 } else { number });
                let response = edge.get(&path).await;
                assert_eq!((response.status, response.text()), (200, "x"), "{path}");
                assert!([1, 2].contains(&seen_by(&response)));
                answered.fetch_add(1, Ordering::Release);
                number += 1;
            }
        })
    });
    let clients: Vec<_> = clients.collect();
    let versions = [version(1), version(2)];
    for number in 1..=RELOADS {
        installed.write(&versions[number % 2]);
        let before = answered.load(Ordering::Acquire);
        let response = edge.admin("POST", "/plugins/mine/reload").send().await;
        assert_eq!(response.status, 200, "{}", response.text());
        let expected = format!("\"changed\":true,\"version\":{}", number + 1);
        assert!(response.text().contains(&expected), "{}", response.text());
        if number % 20 == 0 {
            while answered.load(Ordering::Acquire) == before
                && !clients.iter().any(|client| client.is_finished())
            {
                tokio::task::yield_now().await;
            }
        }
    }
    is_over.store(true, Ordering::Release);
    for client in clients {
        client.await.expect("every answer was as it should be");
    }
    assert!(answered.load(Ordering::Acquire) >= RELOADS / 20);
}
