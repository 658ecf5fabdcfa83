//! What the tests of filters share: plugins of the bundle, and capabilities that remember.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use crate::support::edge::Builder;
use crate::support::{Edge, Origin};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use tidegate_edge::clock::Clock;
use tidegate_edge::egress::Egress;
use tidegate_edge::filters::{
    Capabilities, Chain, LocalLimits, PluginError, Plugins, Purge, PurgeOrder, Source, Subject, Use,
};
use tidegate_edge::keyvalue::KeyValue;
use tidegate_edge::telemetry::GuestMetrics;

/// Loads plugins: pairs of a name and a file.
pub(crate) fn load(sources: &[(&str, &str)]) -> Result<Plugins, PluginError> {
    let sources: BTreeMap<String, Source> = sources
        .iter()
        .map(|(name, file)| source(name, file))
        .collect();
    Plugins::load(&sources, tidegate_plugins::WITH_FIXTURES)
}

/// Where a plugin comes from, by its name.
pub(crate) fn source(name: &str, file: &str) -> (String, Source) {
    let source = Source {
        file: file.to_owned(),
        ..Source::default()
    };
    (name.to_owned(), source)
}

/// A component that does what this one does, and is another one: `mark` stands in a custom section
/// of its own (component model, binary format: sections as in a core module).
pub(crate) fn component(bytes: &[u8], mark: &str) -> Vec<u8> {
    let name = b"mark";
    let size = 1 + name.len() + mark.len();
    assert!(size < 128, "one byte of a LEB128 number");
    let size = u8::try_from(size).unwrap();
    [bytes, &[0, size, 4], name, mark.as_bytes()].concat()
}

/// A version of the fixture that marks with `x-version-NUMBER` what it has seen.
pub(crate) fn version(number: u16) -> Vec<u8> {
    const MARK: &[u8] = b"x-misbehaving";
    let mark = format!("x-version-{number:03}");
    let mut bytes = tidegate_plugins::MISBEHAVING.to_vec();
    let windows = bytes.windows(MARK.len());
    let places: Vec<_> = windows
        .enumerate()
        .filter(|(_, window)| *window == MARK)
        .map(|(at, _)| at)
        .collect();
    assert!(!places.is_empty(), "the fixture has its mark as it is");
    for at in places {
        bytes[at..at + MARK.len()].copy_from_slice(mark.as_bytes());
    }
    bytes
}

/// One line of a route's plugins, in TOML.
pub(crate) fn used(line: &str) -> Use {
    toml::from_str(line).expect("a test's own line is right")
}

/// A chain of the fixture, under a name that no other test uses: failures are counted by name.
pub(crate) fn misbehaving(name: &str, settings: &str) -> Chain {
    let plugins = load(&[(name, "builtin:misbehaving")]).unwrap();
    let line = format!("name = {name:?}\ngrants = [\"clock\", \"log\"]\n{settings}");
    plugins.chain(&[used(&line)]).unwrap()
}

/// What the fixture `capable` needs.
pub(crate) const CAPABLE_GRANTS: [&str; 5] = ["http", "kv", "metrics", "random", "secrets"];

/// The fixture `capable` as a line of a route's plugins, in TOML.
pub(crate) fn capable(name: &str, settings: &str) -> String {
    // Time enough on a busy machine: nothing here is about how long a guest runs.
    format!("name = {name:?}\ngrants = {CAPABLE_GRANTS:?}\ndeadline = \"5s\"\n{settings}\n")
}

/// The fixture that is written by hand, as a component; `misbehave` is what it does wrong.
pub(crate) fn raw(misbehave: &str) -> Vec<u8> {
    let text = include_str!("../../../plugins/misbehaving/raw.wat");
    let function = format!("(func $misbehave (param $request i32) (result i32) {misbehave})");
    wat::parse_str(text.replace(";; misbehave\n", &function)).expect("a test's own text is right")
}

/// A GET of `path` from 192.0.2.7, without a response yet.
pub(crate) fn subject(path: &str) -> Subject {
    Subject {
        method: Method::GET,
        authority: "edge.test".to_owned(),
        path_and_query: path.parse().unwrap(),
        client: IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7)),
        ..Subject::default()
    }
}

/// The same with a response.
pub(crate) fn answered(path: &str, status: u16) -> Subject {
    Subject {
        response: Some((StatusCode::from_u16(status).unwrap(), HeaderMap::new())),
        ..subject(path)
    }
}

/// Where a test's filters count and purge.
pub(crate) struct Reach {
    pub(crate) capabilities: Arc<Capabilities>,
    purged: Arc<Purged>,
    millis: Arc<AtomicU64>,
}

impl Reach {
    pub(crate) fn new() -> Reach {
        let millis = Arc::new(AtomicU64::new(1_700_000_000_000));
        let clock = Arc::clone(&millis);
        let purged = Arc::new(Purged::default());
        let capabilities = Arc::new(Capabilities {
            limits: Arc::new(LocalLimits::new(1_000, move || {
                clock.load(Ordering::SeqCst)
            })),
            purge: Arc::clone(&purged) as Arc<dyn Purge>,
            keyvalue: KeyValue::in_memory(1 << 20, Clock::system()),
            egress: Arc::new(Egress::new(HeaderValue::from_static("1.1 edge.test"))),
            metrics: GuestMetrics::default(),
            clock: Clock::system(),
        });
        Reach {
            capabilities,
            purged,
            millis,
        }
    }

    /// Moves the counters' clock.
    pub(crate) fn advance(&self, millis: u64) {
        self.millis.fetch_add(millis, Ordering::SeqCst);
    }

    /// What has been ordered so far.
    pub(crate) fn purged(&self) -> Vec<PurgeOrder> {
        self.purged.0.lock().unwrap().clone()
    }
}

/// A purge log that only remembers.
#[derive(Default)]
struct Purged(Mutex<Vec<PurgeOrder>>);

impl Purge for Purged {
    fn purge<'a>(
        &'a self,
        order: PurgeOrder,
    ) -> std::pin::Pin<Box<dyn Future<Output = Result<String, String>> + Send + 'a>> {
        let mut purged = self.0.lock().unwrap();
        purged.push(order);
        let position = format!("test:{}-0", purged.len());
        Box::pin(std::future::ready(Ok(position)))
    }
}

/// A field of the subject's response, as text.
pub(crate) fn response_field<'a>(subject: &'a Subject, name: &str) -> Option<&'a str> {
    let (_, headers) = subject.response.as_ref()?;
    text(headers.get(name))
}

/// A value as text.
pub(crate) fn text(value: Option<&HeaderValue>) -> Option<&str> {
    value.map(|value| value.to_str().unwrap())
}

/// The fixture that does what its configuration says, in each of the worlds.
pub(crate) const SCRIPTED: [&str; 2] = ["scripted", "scripted-values"];

/// An edge before `origin` with filters that do what these steps say, in order: pairs of a world's
/// fixture and its configuration, in TOML. Each goes by its fixture's name and its place.
pub(crate) fn scripted(origin: &Origin, filters: &[(&str, &str)]) -> Builder {
    let mut plugins = String::new();
    let mut uses = Vec::new();
    for (at, (world, config)) in filters.iter().enumerate() {
        plugins.push_str(&format!(
            "[plugins.{world}-{at}]\nfile = \"builtin:{world}\"\n"
        ));
        uses.push(format!(
            "{{ name = \"{world}-{at}\", grants = [\"purge\"], deadline = \"5s\", \
             config = {{ {config} }} }}"
        ));
    }
    Edge::before(origin)
        .with(&plugins)
        .route(&format!("plugins = [{}]", uses.join(", ")))
}
