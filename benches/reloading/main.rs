//! What remains in memory of plugins that were replaced: two versions of a small filter take turns,
//! each read anew and asked some requests before the next.
//!
//! `kept` takes compiled code from its folder, `compiled` compiles each time. Between the first tenth
//! and the end the process may not have grown by more than [`MOST_GROWTH`]; it says so by its exit
//! code. No request may fail either.
//!
//! ```text
//! cargo bench -p tidegate-benches --bench reloading -- [kept|compiled] [COUNT]
//! ```

#[path = "../support/client.rs"]
mod client;
#[path = "../support/origin.rs"]
mod origin;
#[path = "../support/trial.rs"]
mod trial;

use std::path::PathBuf;
use std::time::Instant;

use tidegate_edge::config::Config;
use tidegate_edge::startup::{Edge, Options};

use client::Client;

/// How many bytes more may be resident; what an allocator keeps differs by that much.
const MOST_GROWTH: u64 = 8 << 20;
/// Requests between two reloads.
const REQUESTS: usize = 10;

fn main() {
    let is_trial = trial::is_trial();
    let mut given = std::env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with("--"));
    let only = given.next();
    let count = given.next().map(|count| {
        let parsed = count.parse();
        parsed.unwrap_or_else(|_| panic!("COUNT is a number, and not {count:?}"))
    });
    let wants = |name: &str| only.as_deref().is_none_or(|only| only == name);
    for name in ["kept", "compiled"].into_iter().filter(|name| wants(name)) {
        run(name, count.unwrap_or(if is_trial { 20 } else { 10_000 }));
    }
}

fn run(name: &str, reloads: usize) {
    let folder = Folder::new(name);
    let file = folder.0.join("limit.wasm");
    let versions = [version(1), version(2)];
    write(&file, &versions[0]);
    let edge = start(&folder, &file, name == "kept");
    let mut client = Client::connect(edge.addr());
    let mut admin = Client::connect(edge.admin_addr().expect("the settings ask for one"));
    let begun = Instant::now();
    let mut first = resident();
    for reload in 1..=reloads {
        write(&file, &versions[reload % 2]);
        let head = admin.ask("POST", "/plugins/limit/reload", "content-length: 0\r\n");
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        for request in 0..REQUESTS {
            let head = client.get(&format!("/{request}"));
            assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        }
        if reload == reloads.div_ceil(10) {
            first = resident();
            println!("{name}: {first} bytes resident after {reload} reloads");
        }
    }
    let last = resident();
    let each = begun.elapsed() / u32::try_from(reloads).unwrap_or(u32::MAX);
    println!("{name}: {last} bytes resident after {reloads} reloads, {each:?} each");
    let growth = last.saturating_sub(first);
    assert!(growth <= MOST_GROWTH, "{name}: {growth} bytes more");
}

fn start(folder: &Folder, file: &std::path::Path, keeps: bool) -> Edge {
    let code = folder.0.join("code");
    let cache = match keeps {
        true => format!("cache = {:?}", code.display().to_string()),
        false => String::new(),
    };
    let settings = format!(
        r#"
        [server]
        listen = "127.0.0.1:0"
        admin = "127.0.0.1:0"
        workers = 1
        [wasm]
        watch = "0s"
        {cache}
        [plugins.limit]
        file = {:?}
        [origins.app]
        url = "http://{}"
        [[routes]]
        origin = "app"
        [[routes.plugins]]
        name = "limit"
        grants = ["limits", "config"]
        config = {{ windows = [{{ limit = 100000, seconds = 1 }}] }}
        "#,
        file.display().to_string(),
        origin::start()
    );
    let config = Config::from_toml(&settings, "the benchmark").expect("the settings are right");
    Edge::start(config, Options::default()).expect("the edge starts")
}

/// The filter, told apart from itself by a custom section.
fn version(number: u8) -> Vec<u8> {
    [tidegate_plugins::RATE_LIMIT, &[0, 3, 1, b'v', number]].concat()
}

fn write(file: &std::path::Path, bytes: &[u8]) {
    std::fs::write(file, bytes).expect("a temporary file can be written");
}

/// Bytes of this process in memory.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("this is Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kibibytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kibibytes.expect("the kernel says how much") << 10
}

/// A folder that is removed in the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let name = format!("tidegate-reloading-{name}-{}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir(&folder).expect("a temporary folder can be made");
        Folder(folder)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left there is left to whoever tidies up.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
