//! A fetch that a record overtakes: in the memory of two edges, in the region they share, for those
//! who wait for it, and where it validates what is stored.
//!
//! One object. What an index judges is one step here, and so is what one task does between two
//! awaits. The log is a list that only grows; each edge has applied its beginning.

use stateright::{Model, Property};

use crate::checking::{are_possible, finds_nothing};

const RULE: &str = "every read shows what was acknowledged before it began";
const ASKED: &str = "the origin is never asked about what is hard purged";

/// A rule of the algorithm that is not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Broken {
    /// The fence is read once the answer is here.
    FenceReadLate,
    /// Who waited for a fetch takes what comes.
    FollowerTakesAnything,
    /// Who waited is told of what was recorded, and not of what could not be.
    FollowerIgnoresOrders,
    /// What stands in the region counts as fetched when it is found there.
    RegionWithoutFence,
    /// A 304 speaks for the time at which it came.
    ValidatedAtArrival,
    /// A 304 renews whatever stands there when it comes.
    ValidatedAnother,
    /// What is asked about is judged when it is found, and not once the fence is read.
    JudgedBeforeTheFence,
    /// A soft record makes nothing stale.
    SoftIsNothing,
    /// What is softly purged may stand in after a hard record too.
    HardIsSoft,
}

/// Each with where it shows, and what it breaks.
const MUTANTS: &[(Broken, Begin, &str)] = &[
    (Broken::FenceReadLate, Begin::Empty, RULE),
    (Broken::FollowerTakesAnything, Begin::Empty, RULE),
    (Broken::FollowerIgnoresOrders, Begin::Empty, RULE),
    (Broken::RegionWithoutFence, Begin::Empty, RULE),
    (Broken::ValidatedAtArrival, Begin::SoftlyPurged, RULE),
    (Broken::ValidatedAnother, Begin::SoftlyPurged, RULE),
    (Broken::JudgedBeforeTheFence, Begin::SoftlyPurged, ASKED),
    (Broken::SoftIsNothing, Begin::Empty, RULE),
    (Broken::HardIsSoft, Begin::Empty, RULE),
];

struct Flights {
    broken: Option<Broken>,
    begin: Begin,
    /// Clients of each edge.
    clients: [usize; 2],
    records: u8,
    /// Purges that the first edge orders and cannot record.
    orders: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Begin {
    Empty,
    /// The region has what the origin has, and something older is on its way there. Everything was
    /// softly purged.
    SoftlyPurged,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct State {
    /// Of the object, at the origin.
    version: u8,
    log: Vec<Record>,
    edges: [Edge; 2],
    region: Option<Entry>,
    /// Entries on their way into the region.
    late: Vec<Entry>,
    records_left: u8,
    orders_left: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Record {
    is_hard: bool,
    /// What the origin had when it was appended.
    version: u8,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Edge {
    /// Records applied.
    applied: u8,
    /// A purge in force that the log does not have, and what the origin had when it was ordered.
    order: Option<u8>,
    memory: Option<Entry>,
    flights: Vec<Flight>,
    clients: Vec<Client>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Entry {
    version: u8,
    fence: u8,
}

/// A flight is joined by its name: the first has none, those that are led because a purge overtook
/// another are named after its fence and what could not be recorded.
type Name = Option<(u8, bool)>;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Flight {
    name: Name,
    stale: Option<Entry>,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Stage {
    Begun,
    Fenced {
        fence: u8,
    },
    Sent {
        fence: u8,
        asked: Option<Entry>,
    },
    Answered {
        fence: u8,
        entry: Option<Entry>,
        version: u8,
    },
    /// Those who join now are told at once.
    Landed {
        entry: Entry,
    },
}

/// What a read has to show: a version for what is used as fresh, and one for what is used stale.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Due {
    fresh: u8,
    stale: u8,
}

/// Where a client has it from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Source {
    Memory,
    Region,
    Led,
    Shared,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Client {
    Idle,
    /// Nothing usable here; what is stale may be asked about.
    LooksInRegion {
        due: Due,
        stale: Option<Entry>,
    },
    Joins {
        due: Due,
        stale: Option<Entry>,
        name: Name,
        knows_order: bool,
    },
    Waits {
        due: Due,
        stale: Option<Entry>,
        name: Name,
        knows_order: bool,
    },
    Leads {
        due: Due,
        name: Name,
    },
    Shown {
        due: Due,
        version: u8,
        is_stale: bool,
        from: Source,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Valid,
    Soft,
    Purged,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Action {
    /// The object changes, and a record of that is appended.
    Record {
        is_hard: bool,
    },
    Apply(usize),
    /// The object changes, and the first edge cannot record that.
    Order,
    /// It can, and has applied the record.
    Recorded,
    Client(usize, usize),
    /// What is softly purged is served.
    ServeStale(usize, usize),
    Fly(usize, usize),
    /// The flight is over: nobody can join it any more.
    End(usize, usize),
    StoreInRegion(usize),
}

impl Flights {
    fn breaks(&self, rule: Broken) -> bool {
        self.broken == Some(rule)
    }

    fn judge(&self, state: &State, edge: usize, entry: Entry) -> Standing {
        let now = &state.edges[edge];
        let later = &state.log[usize::from(entry.fence.min(now.applied))..usize::from(now.applied)];
        let has_hard = later.iter().any(|record| record.is_hard);
        if now.order.is_some() || has_hard && !self.breaks(Broken::HardIsSoft) {
            Standing::Purged
        } else if !later.is_empty() && !self.breaks(Broken::SoftIsNothing) {
            Standing::Soft
        } else {
            Standing::Valid
        }
    }

    fn due(&self, state: &State, edge: usize) -> Due {
        let now = &state.edges[edge];
        let applied = &state.log[..usize::from(now.applied)];
        let hard = applied.iter().filter(|record| record.is_hard);
        let ordered = now.order.unwrap_or(0);
        let of = |version: Option<u8>| version.unwrap_or(0).max(ordered);
        Due {
            fresh: of(applied.iter().map(|record| record.version).max()),
            stale: of(hard.map(|record| record.version).max()),
        }
    }

    /// The next step of a client; `may_be_stale` is whether it takes what is stale.
    fn client(
        &self,
        state: &mut State,
        edge: usize,
        client: usize,
        may_be_stale: bool,
    ) -> Option<()> {
        let next = match state.edges[edge].clients[client] {
            Client::Idle | Client::Shown { .. } => {
                let due = self.due(state, edge);
                self.found(
                    state,
                    edge,
                    (state.edges[edge].memory, Source::Memory),
                    due,
                    may_be_stale,
                )
                .unwrap_or_else(|stale| Client::LooksInRegion { due, stale })
            }
            Client::LooksInRegion { due, stale } => {
                let mut found = state.region;
                if let Some(entry) = &mut found
                    && self.breaks(Broken::RegionWithoutFence)
                {
                    entry.fence = state.edges[edge].applied;
                }
                if let Some(entry) = found
                    && self.judge(state, edge, entry) != Standing::Purged
                {
                    state.edges[edge].memory = Some(entry);
                }
                self.found(state, edge, (found, Source::Region), due, may_be_stale)
                    .unwrap_or_else(|there| Client::Joins {
                        due,
                        stale: there.or(stale),
                        name: None,
                        knows_order: false,
                    })
            }
            _ if may_be_stale => return None,
            Client::Joins {
                due,
                stale,
                name,
                knows_order,
            } => {
                let flights = &mut state.edges[edge].flights;
                if flights.iter().any(|flight| flight.name == name) {
                    Client::Waits {
                        due,
                        stale,
                        name,
                        knows_order,
                    }
                } else {
                    flights.push(Flight {
                        name,
                        stale,
                        stage: Stage::Begun,
                    });
                    Client::Leads { due, name }
                }
            }
            Client::Waits {
                due,
                stale,
                name,
                knows_order,
            } => {
                let entry = landed(state, edge, name)?;
                let now = &state.edges[edge];
                let has_matched = entry.fence < now.applied;
                let has_order = now.order.is_some() && !knows_order;
                let is_overtaken =
                    has_matched || has_order && !self.breaks(Broken::FollowerIgnoresOrders);
                if is_overtaken && !self.breaks(Broken::FollowerTakesAnything) {
                    Client::Joins {
                        due,
                        stale,
                        name: Some((entry.fence, now.order.is_some())),
                        knows_order: now.order.is_some(),
                    }
                } else {
                    Client::Shown {
                        due,
                        version: entry.version,
                        is_stale: false,
                        from: Source::Shared,
                    }
                }
            }
            Client::Leads { due, name } => Client::Shown {
                due,
                version: landed(state, edge, name)?.version,
                is_stale: false,
                from: Source::Led,
            },
        };
        state.edges[edge].clients[client] = next;
        Some(())
    }

    /// What is shown of what was found, or what of it may be asked about.
    fn found(
        &self,
        state: &State,
        edge: usize,
        (entry, from): (Option<Entry>, Source),
        due: Due,
        may_be_stale: bool,
    ) -> Result<Client, Option<Entry>> {
        let Some(entry) = entry else {
            return Err(None);
        };
        let shown = |is_stale| Client::Shown {
            due,
            version: entry.version,
            is_stale,
            from,
        };
        match self.judge(state, edge, entry) {
            Standing::Valid => Ok(shown(false)),
            Standing::Soft if may_be_stale => Ok(shown(true)),
            Standing::Soft => Err(Some(entry)),
            Standing::Purged => Err(None),
        }
    }

    fn fly(&self, state: &mut State, edge: usize, flight: usize) -> Option<()> {
        let Flight { stale, stage, .. } = state.edges[edge].flights[flight].clone();
        let applied = state.edges[edge].applied;
        let next = match stage {
            Stage::Begun => Stage::Fenced { fence: applied },
            Stage::Fenced { fence } => {
                let asked = stale.filter(|entry| {
                    self.breaks(Broken::JudgedBeforeTheFence)
                        || self.judge(state, edge, *entry) != Standing::Purged
                });
                Stage::Sent { fence, asked }
            }
            // The origin decides.
            Stage::Sent { fence, asked } => Stage::Answered {
                fence,
                entry: asked.filter(|entry| entry.version == state.version),
                version: state.version,
            },
            Stage::Answered {
                mut fence,
                entry,
                version,
            } => {
                let is_late = match entry {
                    None => self.breaks(Broken::FenceReadLate),
                    Some(_) => self.breaks(Broken::ValidatedAtArrival),
                };
                if is_late {
                    fence = applied;
                }
                let there = state.edges[edge].memory;
                let version = match entry {
                    Some(_) if self.breaks(Broken::ValidatedAnother) => {
                        there.map_or(version, |there| there.version)
                    }
                    _ => version,
                };
                let entry = Entry { version, fence };
                state.edges[edge].memory = Some(entry);
                state.late.push(entry);
                Stage::Landed { entry }
            }
            Stage::Landed { .. } => return None,
        };
        state.edges[edge].flights[flight].stage = next;
        Some(())
    }
}

fn landed(state: &State, edge: usize, name: Name) -> Option<Entry> {
    let mut flights = state.edges[edge].flights.iter();
    match flights.find(|flight| flight.name == name)?.stage {
        Stage::Landed { entry } => Some(entry),
        _ => None,
    }
}

impl Model for Flights {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let log = match self.begin {
            Begin::Empty => Vec::new(),
            Begin::SoftlyPurged => vec![
                Record {
                    is_hard: false,
                    version: 1,
                };
                2
            ],
        };
        let edges = self.clients.map(|clients| Edge {
            applied: log.len() as u8,
            clients: vec![Client::Idle; clients],
            ..Edge::default()
        });
        let entry = |version| Entry {
            version,
            fence: version,
        };
        let is_stored = self.begin == Begin::SoftlyPurged;
        vec![State {
            version: log.last().map_or(0, |record| record.version),
            log,
            edges,
            region: is_stored.then(|| entry(1)),
            late: is_stored.then(|| entry(0)).into_iter().collect(),
            records_left: self.records,
            orders_left: self.orders,
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        if state.records_left > 0 {
            actions.push(Action::Record { is_hard: true });
            actions.push(Action::Record { is_hard: false });
        }
        if state.orders_left > 0 {
            actions.push(Action::Order);
        }
        if state.edges[0].order.is_some() {
            actions.push(Action::Recorded);
        }
        for edge in [0, 1] {
            let now = &state.edges[edge];
            actions.push(Action::Apply(edge));
            for client in 0..now.clients.len() {
                actions.push(Action::Client(edge, client));
                actions.push(Action::ServeStale(edge, client));
            }
            for flight in 0..now.flights.len() {
                actions.push(Action::Fly(edge, flight));
                actions.push(Action::End(edge, flight));
            }
        }
        actions.extend((0..state.late.len()).map(Action::StoreInRegion));
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        match action {
            Action::Record { is_hard } => {
                state.records_left -= 1;
                state.version += 1;
                let version = state.version;
                state.log.push(Record { is_hard, version });
            }
            Action::Apply(edge) => {
                if usize::from(state.edges[edge].applied) == state.log.len() {
                    return None;
                }
                state.edges[edge].applied += 1;
            }
            Action::Order => {
                state.orders_left -= 1;
                state.version += 1;
                state.edges[0].order = Some(state.version);
            }
            Action::Recorded => {
                // Only when all before it is applied, to keep the log a list.
                if usize::from(state.edges[0].applied) != state.log.len() {
                    return None;
                }
                let version = state.edges[0].order.take()?;
                state.log.push(Record {
                    is_hard: true,
                    version,
                });
                state.edges[0].applied += 1;
            }
            Action::Client(edge, client) => self.client(&mut state, edge, client, false)?,
            Action::ServeStale(edge, client) => self.client(&mut state, edge, client, true)?,
            Action::Fly(edge, flight) => self.fly(&mut state, edge, flight)?,
            Action::End(edge, flight) => {
                let ended = &state.edges[edge].flights[flight];
                let name = ended.name;
                let is_awaited = state.edges[edge].clients.iter().any(|client| match client {
                    Client::Waits { name: awaited, .. } | Client::Leads { name: awaited, .. } => {
                        *awaited == name
                    }
                    _ => false,
                });
                // Who waits is told, whatever becomes of the flight.
                if is_awaited || !matches!(ended.stage, Stage::Landed { .. }) {
                    return None;
                }
                state.edges[edge].flights.remove(flight);
            }
            Action::StoreInRegion(late) => state.region = Some(state.late.remove(late)),
        }
        state.late.sort();
        state.late.dedup();
        (state != *last).then_some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        fn clients(state: &State) -> impl Iterator<Item = &Client> {
            state.edges.iter().flat_map(|edge| &edge.clients)
        }
        vec![
            Property::always(RULE, |_, state: &State| {
                clients(state).all(|client| match client {
                    Client::Shown {
                        due,
                        version,
                        is_stale,
                        ..
                    } => *version >= if *is_stale { due.stale } else { due.fresh },
                    _ => true,
                })
            }),
            Property::always(ASKED, |_, state: &State| {
                let edges = state.edges.iter();
                let mut flights = edges.flat_map(|edge| &edge.flights);
                flights.all(|flight| match flight.stage {
                    Stage::Sent {
                        fence,
                        asked: Some(asked),
                    } => {
                        let (from, to) = (asked.fence.min(fence), fence);
                        let known = &state.log[usize::from(from)..usize::from(to)];
                        known.iter().all(|record| !record.is_hard)
                    }
                    _ => true,
                })
            }),
            Property::sometimes(POSSIBLE[0], |_, state: &State| {
                clients(state).any(|client| {
                    matches!(client, Client::Shown { due, version: 1, from: Source::Led, .. } if due.stale == 1)
                })
            }),
            Property::sometimes(POSSIBLE[1], |_, state: &State| {
                clients(state).any(|client| {
                    matches!(client, Client::Shown { due, from: Source::Shared, .. } if due.stale == 1)
                })
            }),
            Property::sometimes(POSSIBLE[2], |_, state: &State| {
                clients(state).any(|client| {
                    matches!(client, Client::Shown { due, version: 0, is_stale: true, .. } if due.fresh == 1)
                })
            }),
            Property::sometimes(POSSIBLE[3], |_, state: &State| {
                clients(state).any(|client| {
                    matches!(client, Client::Shown { due, from: Source::Region, is_stale: false, .. } if due.stale == 1)
                })
            }),
        ]
    }
}

const POSSIBLE: &[&str] = &[
    "what is fetched behind a purge is shown",
    "a fetch is shared behind a purge",
    "what is softly purged is served stale",
    "the other edge uses what is in the region",
];

fn from(begin: Begin, clients: [usize; 2], records: u8, orders: u8) -> Flights {
    Flights {
        broken: None,
        begin,
        clients,
        records,
        orders,
    }
}

#[test]
fn no_fetch_outruns_a_purge() {
    for clients in [[2, 0], [1, 1]] {
        assert!(finds_nothing(from(Begin::Empty, clients, 1, 0), &[RULE]));
    }
}

#[test]
fn no_validation_outruns_a_purge() {
    for (clients, records) in [([1, 1], 1), ([2, 0], 0)] {
        let model = from(Begin::SoftlyPurged, clients, records, 0);
        assert!(finds_nothing(model, &[RULE, ASKED]));
    }
}

#[test]
fn no_fetch_outruns_a_purge_that_could_not_be_recorded() {
    assert!(finds_nothing(from(Begin::Empty, [2, 0], 0, 1), &[RULE]));
}

#[test]
fn fetches_are_shared_and_so_is_the_region() {
    let (here, there) = POSSIBLE.split_at(3);
    assert!(are_possible(from(Begin::Empty, [2, 0], 1, 0), here));
    assert!(are_possible(from(Begin::Empty, [1, 1], 1, 0), there));
}

#[test]
fn each_rule_of_fetching_is_needed() {
    for (broken, begin, property) in MUTANTS {
        let is_of_orders = *broken == Broken::FollowerIgnoresOrders;
        let (records, orders) = if is_of_orders { (0, 1) } else { (1, 0) };
        let model = Flights {
            broken: Some(*broken),
            ..from(*begin, [2, 0], records, orders)
        };
        let is_missed = finds_nothing(model, &[property]);
        assert!(!is_missed, "{broken:?} is not found");
    }
}
