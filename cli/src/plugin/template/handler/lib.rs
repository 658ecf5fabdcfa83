//! A handler for Tidegate: answers a route in an origin's place. What it answers is cached as an origin's answer is.

use spin_sdk::http::{IntoResponse, Request};
use spin_sdk::http_service;

#[http_service]
async fn handle(request: Request) -> anyhow::Result<impl IntoResponse> {
    Ok(format!("hello from {name}: {}\n", request.uri().path()))
}
