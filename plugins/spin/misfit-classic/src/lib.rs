//! The misfit of wasi:http 0.2. The path says what; `status`, `body`, `count`, `size` and `url` of the
//! query are instructions, every other pair becomes a field of the response.

use std::sync::atomic::{AtomicU32, Ordering};

use futures::{SinkExt, StreamExt};
use spin_sdk::http::{
    Fields, IncomingRequest, IncomingResponse, Method, OutgoingResponse, Request, ResponseOutparam,
};
use spin_sdk::http_component;

/// How many requests this instance has seen.
static SEEN: AtomicU32 = AtomicU32::new(0);

#[http_component]
async fn handle(request: IncomingRequest, answer: ResponseOutparam) {
    let seen = SEEN.fetch_add(1, Ordering::Relaxed) + 1;
    let target = request.path_with_query().unwrap_or_default();
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let query = Query(
        form_urlencoded::parse(query.as_bytes())
            .into_owned()
            .collect(),
    );
    match path {
        // The request's body, while it arrives.
        "/echo" => {
            let mut parts = request.into_body_stream();
            let response = query.response();
            let mut body = response.take_body();
            answer.set(response);
            while let Some(Ok(part)) = parts.next().await {
                if body.send(part).await.is_err() {
                    break;
                }
            }
        }
        // `count` parts of `size` bytes.
        "/parts" => {
            let response = query.response();
            let mut body = response.take_body();
            answer.set(response);
            for _ in 0..query.number("count", 3) {
                if body
                    .send(vec![b'.'; query.number("size", 1)])
                    .await
                    .is_err()
                {
                    break;
                }
            }
        }
        // Which of its instance's requests this is.
        "/seen" => full(&query, answer, seen.to_string()).await,
        "/told" => {
            let mut told = format!("{} {}\n", request.method(), request.uri());
            for (name, value) in request.headers().entries() {
                told += &format!("{name}: {}\n", String::from_utf8_lossy(&value));
            }
            full(&query, answer, told).await;
        }
        "/fetch" => {
            let url = query.get("url").unwrap_or_default();
            let outbound = Request::builder().method(Method::Get).uri(url).build();
            let fetched: Result<IncomingResponse, _> = spin_sdk::http::send(outbound).await;
            let text = match fetched {
                Ok(response) => match response.into_body().await {
                    Ok(body) => String::from_utf8_lossy(&body).into_owned(),
                    Err(error) => format!("{error:?}"),
                },
                Err(error) => format!("{error:?}"),
            };
            full(&query, answer, text).await;
        }
        "/trap" => panic!("as asked"),
        "/trap-after-head" => {
            let response = query.response();
            let mut body = response.take_body();
            answer.set(response);
            let _ = body.send(b"first".to_vec()).await;
            panic!("as asked");
        }
        "/loop" => loop {
            std::hint::black_box(());
        },
        "/hog" => {
            let mut kept = Vec::new();
            loop {
                kept.push(std::hint::black_box(vec![1_u8; 1 << 20]));
            }
        }
        // Ends without an answer.
        "/silence" => drop(answer),
        _ => {
            full(
                &query,
                answer,
                query.get("body").unwrap_or("hello").to_owned(),
            )
            .await
        }
    }
}

async fn full(query: &Query, answer: ResponseOutparam, body: String) {
    let _ = answer
        .set_with_body(query.response(), body.into_bytes())
        .await;
}

/// The instructions of a request.
struct Query(Vec<(String, String)>);

impl Query {
    fn get(&self, name: &str) -> Option<&str> {
        let (_, value) = self.0.iter().find(|(key, _)| key == name)?;
        Some(value)
    }

    fn number(&self, name: &str, default: usize) -> usize {
        self.get(name)
            .and_then(|value| value.parse().ok())
            .unwrap_or(default)
    }

    fn response(&self) -> OutgoingResponse {
        let fields = self.0.iter().filter(|(name, _)| {
            !["status", "body", "count", "size", "url"].contains(&name.as_str())
        });
        let fields: Vec<_> = fields
            .map(|(name, value)| (name.clone(), value.clone().into_bytes()))
            .collect();
        let response = OutgoingResponse::new(Fields::from_list(&fields).expect("valid fields"));
        let status = self.number("status", 200) as u16;
        response.set_status_code(status).expect("a valid status");
        response
    }
}
