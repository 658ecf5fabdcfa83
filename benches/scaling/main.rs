//! How the cost of a request grows with the work around it: with the objects that are stored, the routes,
//! the tags of an object, the workers. CPU time of edges in processes of their own, in turn.
//!
//! ```text
//! cargo bench -p tidegate-benches --bench scaling -- [REQUESTS] [ROUNDS] [OBJECTS]
//! ```
//!
//! Objects go up to `OBJECTS`, ten times as many at each step: a million takes 2 GB and some minutes to fetch. A worker
//! keeps 4,096 at hand, so a thousand in turn come from there, and more mostly from the memory tier. Misses meet a tier that
//! is full.

#[path = "../support/child.rs"]
mod child;
#[path = "../support/client.rs"]
mod client;
#[path = "../support/costs.rs"]
mod costs;
#[path = "../support/origin.rs"]
mod origin;
#[path = "../support/processor.rs"]
mod processor;
#[path = "../support/trial.rs"]
mod trial;

use std::net::SocketAddr;

use tidegate_edge::startup::Options;

use child::Child;
use client::Client;
use costs::Costs;

/// As the edge has it that is shipped.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Clients that ask at once, each waiting for its answer.
const CLIENTS: usize = 16;
const ROUTES: [usize; 4] = [1, 10, 100, 1_000];
const TAGS: [usize; 3] = [0, 5, 50];
const WORKERS: [usize; 2] = [1, 2];
/// Pages that are asked for in turn where their number is not what is measured: so many are at hand.
const PAGES: usize = 1_000;
/// The same where they are to come from the memory tier.
const MANY_PAGES: usize = 20_000;
const ROOM: &str = "8GiB";
const LITTLE_ROOM: &str = "64MiB";

/// A point of a curve.
struct Point {
    what: String,
    edge: Child,
    /// What is before the number of a page in its path.
    folder: String,
    /// How many there are; `None` where each is asked for once.
    pages: Option<usize>,
    /// What the answer's head says.
    shows: &'static str,
    costs: Costs,
}

fn main() {
    if child::is_child(Options::default) {
        return;
    }
    let given = costs::numbers();
    let default = if trial::is_trial() {
        [64, 1, 1_000]
    } else {
        [100_000, 5, 1_000_000]
    };
    let number = |place: usize| given.get(place).copied().unwrap_or(default[place]);
    let (requests, rounds, objects) = (number(0), number(1).max(1), number(2));
    let origin = origin::start();
    let mut points = points(origin, objects);
    for point in &points {
        let pages = point.pages.unwrap_or(PAGES);
        ask(point, pages.div_ceil(CLIENTS), 0);
    }
    let each = requests.div_ceil(CLIENTS);
    let mut asked = PAGES.next_multiple_of(CLIENTS);
    for _ in 0..rounds {
        for point in &mut points {
            let mut costs = std::mem::take(&mut point.costs);
            costs.measure(&point.edge, each * CLIENTS, || ask(point, each, asked));
            point.costs = costs;
        }
        asked += each * CLIENTS;
    }
    for point in points {
        let found = point.costs.summary();
        println!(
            "{}: {:.1} µs of CPU ({:.1} to {:.1}), {:.0}/s",
            point.what, found.cost, found.least, found.most, found.rate
        );
    }
}

fn points(origin: SocketAddr, objects: usize) -> Vec<Point> {
    let mut points = Vec::new();
    let mut add = |what: String, config: String, folder: &str, pages, shows| {
        points.push(Point {
            what,
            edge: Child::start(&config),
            folder: folder.to_owned(),
            pages,
            shows,
            costs: Costs::default(),
        });
    };
    let mut count = PAGES;
    while count <= objects {
        let what = format!("a hit, {count} objects in turn");
        add(
            what,
            config(origin, 1, 1, ROOM),
            "/untagged",
            Some(count),
            "; hit",
        );
        count *= 10;
    }
    for routes in ROUTES {
        let what = format!("a hit, {routes} routes beside the one for the rest");
        let folder = format!("/folder-{}", routes - 1);
        add(
            what,
            config(origin, routes, 1, ROOM),
            &folder,
            Some(PAGES),
            "; hit",
        );
    }
    for tags in TAGS {
        let folder = format!("/tags-{tags}");
        let what = format!("a hit from memory, {tags} tags");
        let config = config(origin, 1, 1, ROOM);
        add(what, config, &folder, Some(MANY_PAGES), "; hit");
    }
    for tags in TAGS {
        let folder = format!("/tags-{tags}");
        let what = format!("a miss that is stored, {tags} tags");
        let config = config(origin, 1, 1, LITTLE_ROOM);
        add(what, config, &folder, None, "; stored");
    }
    for workers in WORKERS {
        let what = format!("a hit, {workers} workers");
        add(
            what,
            config(origin, 1, workers, ROOM),
            "/untagged",
            Some(PAGES),
            "; hit",
        );
    }
    points
}

/// An edge with so many routes beside the one for the rest, so many workers, and room for responses.
fn config(origin: SocketAddr, routes: usize, workers: usize, room: &str) -> String {
    let route = |number| format!("[[routes]]\npath = \"/folder-{number}\"\norigin = \"app\"\n");
    let routes: String = (0..routes).map(route).collect();
    format!(
        "[server]\nlisten = \"127.0.0.1:0\"\nworkers = {workers}\n[cache]\nmemory = {room:?}\n\
         [origins.app]\nurl = \"http://{origin}\"\n{routes}[[routes]]\norigin = \"app\"\n"
    )
}

/// Each client asks for so many pages, behind those that were asked for before, and is answered as it should be; but
/// for the first time, when nothing is stored.
fn ask(point: &Point, each: usize, asked: usize) {
    std::thread::scope(|scope| {
        for number in 0..CLIENTS {
            scope.spawn(move || {
                let mut client = Client::connect(point.edge.address);
                let mut others = 0;
                for turn in 0..each {
                    let page = asked + turn * CLIENTS + number;
                    let page = point.pages.map_or(page, |pages| page % pages);
                    let head = client.get(&format!("{}/{page}", point.folder));
                    others += usize::from(!head.contains(point.shows));
                }
                assert!(
                    others == 0 || asked == 0,
                    "{}: {others} were not",
                    point.what
                );
            });
        }
    });
}
