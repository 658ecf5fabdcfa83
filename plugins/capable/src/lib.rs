//! A fixture that uses each capability as the request tells it, and answers with what came of it.
//!
//! The path says what to do, the query with what, its parts between `&`:
//!
//! - `/kv/get?KEY`, `/kv/set?KEY&VALUE&LIFETIME`, `/kv/delete?KEY`, `/kv/exists?KEY`, `/kv/keys`,
//!   `/kv/increment?KEY&BY&LIFETIME`, `/kv/many?COUNT` (as many reads)
//! - `/http/get?URL`, `/http/post?URL`, `/http/field?URL` (a field with a line break), `/http/own?URL`
//!   (a field of the connection), `/http/many?URL&COUNT`
//! - `/secrets?NAME`, `/random`, `/random/bytes?LENGTH`
//! - `/metrics/count?NAME&BY&LABEL&VALUE`, `/metrics/set?NAME&NUMBER`, `/metrics/many?COUNT`
//!
//! On any other path it counts the visit in its store, says so in the request's `x-visits`, and
//! lets the request go on whatever the store says.

use serde::Deserialize;
use tidegate_sdk::{
    Filter, Flow, Hooks, Reply, Request, filter, http, kv, metrics, random, secrets,
};

/// The filter: what its configuration asks of it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Capable {
    /// Refuses the configuration when there is no such secret.
    needs_secret: Option<String>,
    /// Refuses the configuration, with what the capabilities say while it is read.
    reports: bool,
}

impl Filter for Capable {
    fn hooks(&self) -> Hooks {
        Hooks::ON_REQUEST
    }

    fn new(config: &str) -> Result<Capable, String> {
        let capable: Capable = tidegate_sdk::from_json(config)?;
        if let Some(name) = &capable.needs_secret
            && secrets::get(name).is_none()
        {
            return Err(format!("there is no secret {name:?}"));
        }
        if capable.reports {
            let said = [
                shown(kv::get("k")),
                shown(send("GET", "http://127.0.0.1:1/", vec![], vec![])),
                shown(metrics::count("a", &[], 1)),
            ];
            return Err(said.join(", "));
        }
        Ok(capable)
    }

    fn on_request(&mut self, request: &Request) -> Flow {
        let query = request.query().unwrap_or_default();
        let mut parts = query.split('&');
        let mut next = || parts.next().unwrap_or_default();
        let said = match request.path().as_str() {
            "/kv/get" => shown(kv::get(next())),
            "/kv/exists" => shown(kv::exists(next())),
            "/kv/set" => shown(kv::set(next(), next().as_bytes(), next().parse().ok())),
            "/kv/delete" => shown(kv::delete(next())),
            "/kv/keys" => shown(kv::keys()),
            "/kv/increment" => {
                let key = next();
                shown(kv::increment(key, number(next()), next().parse().ok()))
            }
            "/kv/many" => many(number(next()), || kv::get("k")),
            "/http/get" => fetched(send("GET", next(), vec![], vec![])),
            "/http/post" => fetched(send("POST", next(), vec![], b"a body".to_vec())),
            "/http/large" => fetched(send("POST", next(), vec![], vec![0; (1 << 20) + 1])),
            "/http/field" => {
                let field = ("x-a".to_owned(), b"1\r\nx-b: 2".to_vec());
                fetched(send("GET", next(), vec![field], vec![]))
            }
            "/http/own" => {
                let field = ("Host".to_owned(), b"other".to_vec());
                fetched(send("GET", next(), vec![field], vec![]))
            }
            "/http/many" => {
                let url = next();
                many(number(next()), || send("GET", url, vec![], vec![]))
            }
            "/secrets" => format!("{:?}", secrets::get(next())),
            "/random" => format!("{} {}", random::number(), random::number()),
            "/random/bytes" => shown(random::bytes(number(next()) as u32).map(|bytes| bytes.len())),
            "/metrics/count" => {
                let (name, by) = (next(), number(next()));
                let label = (next().to_owned(), next().to_owned());
                let labels = if label.0.is_empty() {
                    vec![]
                } else {
                    vec![label]
                };
                shown(metrics::count(name, &labels, by as u64))
            }
            "/metrics/set" => {
                let name = next();
                shown(metrics::set(name, &[], number(next()) as f64))
            }
            "/metrics/add" => {
                let name = next();
                shown(metrics::add(name, &[], number(next()) as f64))
            }
            "/metrics/many" => {
                let mut at = 0;
                many(number(next()), || {
                    at += 1;
                    metrics::count("many", &[("at".to_owned(), at.to_string())], 1)
                })
            }
            _ => {
                let visits = shown(kv::increment("visits", 1, None));
                let _ = request.set_header("x-visits", visits.as_bytes());
                return Flow::Continue;
            }
        };
        Flow::Respond(Reply {
            status: 200,
            headers: vec![],
            body: said.into_bytes(),
        })
    }
}

fn send(
    method: &str,
    url: &str,
    headers: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
) -> Result<http::Response, http::Error> {
    http::send(&http::Request {
        method: method.to_owned(),
        url: url.to_owned(),
        headers,
        body,
    })
}

/// A response as text: its status, its fields, its body.
fn fetched(answer: Result<http::Response, http::Error>) -> String {
    match answer {
        Ok(response) => {
            let mut text = format!("{}\n", response.status);
            for (name, value) in &response.headers {
                text.push_str(&format!("{name}: {}\n", String::from_utf8_lossy(value)));
            }
            text + &String::from_utf8_lossy(&response.body)
        }
        Err(error) => format!("{error:?}"),
    }
}

/// The first error of so many tries, and which try that was.
fn many<T, E: std::fmt::Debug>(count: i64, mut one: impl FnMut() -> Result<T, E>) -> String {
    for at in 0..count {
        if let Err(error) = one() {
            return format!("{at}: {error:?}");
        }
    }
    format!("{count}")
}

/// What came of a call.
fn shown<T: Shown, E: std::fmt::Debug>(answer: Result<T, E>) -> String {
    match answer {
        Ok(value) => value.text(),
        Err(error) => format!("{error:?}"),
    }
}

trait Shown {
    fn text(&self) -> String;
}

impl Shown for () {
    fn text(&self) -> String {
        "done".to_owned()
    }
}

impl Shown for bool {
    fn text(&self) -> String {
        self.to_string()
    }
}

impl Shown for i64 {
    fn text(&self) -> String {
        self.to_string()
    }
}

impl Shown for usize {
    fn text(&self) -> String {
        self.to_string()
    }
}

impl Shown for Option<Vec<u8>> {
    fn text(&self) -> String {
        match self {
            Some(value) => format!("= {}", String::from_utf8_lossy(value)),
            None => "nothing".to_owned(),
        }
    }
}

impl Shown for Vec<String> {
    fn text(&self) -> String {
        self.join(" ")
    }
}

impl Shown for http::Response {
    fn text(&self) -> String {
        self.status.to_string()
    }
}

fn number(text: &str) -> i64 {
    text.parse().unwrap_or_default()
}

filter!(Capable);
