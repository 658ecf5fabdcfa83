//! A fixture that does everything wrong, each wrong by a path of its own.
//!
//! It shows that the edge keeps a bad guest's harm to one exchange. `/loop` and its like go wrong
//! before the cache is looked into, `/origin/loop` when the origin has answered, `/response/loop` on
//! delivery; with the query `changed`, only after they have changed what they were shown. On any
//! other path it behaves: it marks the request and the response with `x-misbehaving: no`. `/led` it
//! leads elsewhere. `/remember` and `/recall` tell what outlives an exchange. What the SDK does not
//! let a guest do wrong, `raw.wat` does.

use std::cell::Cell;
use std::hint::black_box;
use std::rc::Rc;

use serde::Deserialize;
use tidegate_sdk::{
    Filter, Flow, Hooks, Refusal, Reply, Request, Response, Storing, clock, filter, log,
};

/// The field with which it marks what it has seen. Versions of it differ in this alone, which can be
/// changed in the compiled component.
const MARK: &str = "x-misbehaving";

/// The filter: what its configuration asks of it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Misbehaving {
    /// Refuses the configuration, with this message.
    refuse: Option<String>,
    /// Never comes back from reading it.
    loop_in_configure: bool,
    /// Refuses the configuration when this is its mark.
    refuse_as: Option<String>,
    /// What a client said, for this exchange alone.
    #[serde(skip)]
    remembered: Option<Vec<u8>>,
    /// How many requests this instance has seen: kept from exchange to exchange, on purpose.
    #[serde(skip)]
    seen: Rc<Cell<u32>>,
}

impl Filter for Misbehaving {
    fn hooks(&self) -> Hooks {
        Hooks::ON_REQUEST | Hooks::ON_ORIGIN_RESPONSE | Hooks::ON_RESPONSE
    }

    fn new(config: &str) -> Result<Misbehaving, String> {
        let misbehaving: Misbehaving = tidegate_sdk::from_json(config)?;
        if misbehaving.loop_in_configure {
            spin();
        }
        if misbehaving.refuse_as.as_deref() == Some(black_box(MARK)) {
            return Err(format!("not as {MARK}"));
        }
        match misbehaving.refuse {
            Some(message) => Err(message),
            None => Ok(misbehaving),
        }
    }

    fn on_request(&mut self, request: &Request) -> Flow {
        self.seen.set(self.seen.get() + 1);
        let path = request.path();
        if !path.starts_with("/origin/") && !path.starts_with("/response/") {
            if is_to_change(request) {
                change(request);
            }
            misbehave(&path);
        }
        match path.as_str() {
            "/remember" => self.remembered = request.header("authorization"),
            "/recall" => return Flow::Respond(self.recall()),
            "/huge-answer" => return Flow::Respond(huge_answer()),
            "/huge-call" => {
                let _ = request.set_header("x-huge", &vec![b'x'; 2 << 20]);
            }
            "/sixty-lines" => write_lines(60),
            "/chatter" => write_lines(1_000),
            "/led" => {
                let query = request.query().unwrap_or_default();
                let _ = request.set_path_and_query(&format!("/elsewhere?{query}"));
            }
            "/crlf" => return Flow::Respond(report(request)),
            "/crlf-reply" => return Flow::Respond(smuggled()),
            "/bad-status" => {
                return Flow::Respond(Reply {
                    status: 99,
                    headers: vec![],
                    body: vec![],
                });
            }
            "/large-fields" => return Flow::Respond(large_fields(request)),
            _ => {
                let _ = request.set_header(MARK, b"no");
            }
        }
        Flow::Continue
    }

    fn on_origin_response(&mut self, request: &Request, response: &Response, storing: &Storing) {
        let path = request.path();
        if let Some(how) = path.strip_prefix("/origin") {
            if is_to_change(request) {
                storing.refuse();
                let _ = response.set_header("x-changed", b"yes");
            }
            misbehave(how);
        }
        match path.as_str() {
            "/origin/keep" => {
                storing.set_ttl(30);
                let _ = storing.add_tag("kept");
                assert_eq!(
                    storing.add_tag("a tag\r\nwith a break"),
                    Err(Refusal::InvalidValue)
                );
                assert_eq!(request.set_header("x-late", b"yes"), Err(Refusal::TooLate));
            }
            "/origin/refuse" => storing.refuse(),
            _ => {
                let _ = response.set_header("x-origin-misbehaving", b"no");
            }
        }
    }

    fn on_response(&mut self, request: &Request, response: &Response) {
        if let Some(remembered) = &self.remembered {
            let _ = response.set_header("x-remembered", remembered);
        }
        let path = request.path();
        if let Some(how) = path.strip_prefix("/response") {
            if is_to_change(request) {
                let _ = response.set_header("x-changed", b"yes");
                let _ = response.remove_header("cache-control");
            }
            misbehave(how);
        }
        match path.as_str() {
            "/response/relabel" => relabel(response),
            _ => {
                let _ = response.set_header(MARK, b"no");
            }
        }
    }
}

impl Misbehaving {
    /// How many requests there were so far, and what the last client said that was remembered.
    fn recall(&self) -> Reply {
        let remembered = self.remembered.as_deref().unwrap_or(b"nothing");
        Reply {
            status: 200,
            headers: vec![("cache-control".to_owned(), b"no-store".to_vec())],
            body: [format!("{} ", self.seen.get()).as_bytes(), remembered].concat(),
        }
    }
}

fn is_to_change(request: &Request) -> bool {
    request.query().as_deref() == Some("changed")
}

/// Changes all that can be changed of a request.
fn change(request: &Request) {
    let _ = request.set_header("x-changed", b"yes");
    let _ = request.remove_header("x-sent");
    let _ = request.append_cache_key("changed");
    let _ = request.bypass_cache();
}

/// Goes wrong in the way that is asked for, if one is.
fn misbehave(how: &str) {
    match how {
        "/loop" => spin(),
        "/panic" => panic!("as asked"),
        "/trap" => trap(),
        "/recurse" => {
            black_box(recurse(black_box(1)));
        }
        "/memory" => hog(),
        "/grow" => grow(),
        "/flood" => flood(),
        _ => {}
    }
}

fn spin() {
    let mut turns = 0_u64;
    while black_box(true) {
        turns = black_box(turns.wrapping_add(1));
    }
}

fn trap() {
    #[cfg(target_arch = "wasm32")]
    core::arch::wasm32::unreachable();
}

/// Uses up the stack of calls; it keeps nothing in memory, where the stack would end earlier.
#[inline(never)]
fn recurse(depth: u64) -> u64 {
    if depth == 0 {
        return 0;
    }
    recurse(depth.wrapping_add(2)).rotate_left(7) ^ depth
}

fn hog() {
    let mut hoard = Vec::new();
    while black_box(true) {
        hoard.push(vec![1_u8; 1 << 20]);
    }
    black_box(hoard);
}

/// Takes memory and touches none of it.
fn grow() {
    #[cfg(target_arch = "wasm32")]
    while black_box(core::arch::wasm32::memory_grow::<0>(1)) != usize::MAX {}
}

fn flood() {
    while black_box(true) {
        black_box(clock::now());
    }
}

fn write_lines(count: u32) {
    for line in 0..count {
        log::write(log::Level::Info, &format!("{line} {}", "x".repeat(100)));
    }
}

/// Tries what must be refused, and answers with what came of it.
fn report(request: &Request) -> Reply {
    let tries = [
        request.set_header("x-a", b"1\r\nx-b: 2"),
        request.set_header("x-a\r\nx-b", b"1"),
        request.append_header("x-a", b"nul\0"),
        request.set_header("", b"1"),
        request.set_header("Transfer-Encoding", b"chunked"),
        request.remove_header("host"),
        request.set_path_and_query("/a\r\nx: y"),
        request.set_path_and_query("no-slash"),
        request.append_cache_key("fine\r\n"),
    ];
    let body = tries.map(|result| match result {
        Ok(()) => "ok",
        Err(Refusal::InvalidName) => "invalid-name",
        Err(Refusal::InvalidValue) => "invalid-value",
        Err(Refusal::Forbidden) => "forbidden",
        Err(Refusal::TooLarge) => "too-large",
        Err(Refusal::TooLate) => "too-late",
    });
    Reply {
        status: 200,
        headers: vec![],
        body: body.join(" ").into_bytes(),
    }
}

/// Tells which coding and which tag it was shown, and denies both.
fn relabel(response: &Response) {
    for name in ["content-encoding", "etag", "vary"] {
        let shown = response.header(name).unwrap_or_default();
        let _ = response.set_header(&format!("x-shown-{name}"), &shown);
        let _ = response.remove_header(name);
    }
    let _ = response.set_header("etag", b"\"relabelled\"");
}

/// An answer whose fields would end the head early or say more than they may.
fn smuggled() -> Reply {
    let field = |name: &str, value: &[u8]| (name.to_owned(), value.to_vec());
    Reply {
        status: 200,
        headers: vec![
            field("x-good", b"1"),
            field("x-a", b"1\r\nset-cookie: a=b"),
            field("x-c\r\nset-cookie", b"a=b"),
            field("content-length", b"1000"),
            field("transfer-encoding", b"chunked"),
            field("x-nul", b"\0"),
        ],
        body: b"body".to_vec(),
    }
}

/// A body longer than the edge takes.
fn huge_answer() -> Reply {
    Reply {
        status: 200,
        headers: vec![],
        body: vec![b'x'; (1 << 20) + 1],
    }
}

/// Adds fields until they are too many, and answers with how many there were.
fn large_fields(request: &Request) -> Reply {
    let value = vec![b'x'; 1_024];
    let mut added = 0;
    while request.append_header("x-large", &value).is_ok() {
        added += 1;
    }
    Reply {
        status: 200,
        headers: vec![],
        body: format!("{added}").into_bytes(),
    }
}

filter!(Misbehaving);
