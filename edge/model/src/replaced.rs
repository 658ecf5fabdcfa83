//! The log that is trimmed, loses its tail, is emptied, or comes back from a backup, while two edges
//! follow it and append to it.
//!
//! What one edge's index does is one step here, and so is a fetch. What the server does to a call is
//! one step too; what lies between two calls is not. All records name the one object. There is one
//! stored response: either edge may find it in the regional tier, whoever fetched it.

use stateright::{Model, Property};

use crate::checking::{finds_nothing, holds};

const RULE: &str = "nothing older than what an edge acknowledged is valid there";
const HEARD: &str = "who finds nothing more to read has heard of everything";

/// A rule of the algorithm that is not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Broken {
    /// An entry whose `previous` is not our position is applied as if nothing was missed.
    GapWithoutFloor,
    /// A read that brought nothing is left at that.
    SilenceIsTrusted,
    /// A log that ends before our position is read on from there.
    RefoundWithoutNewEpoch,
    /// Another server is taken for the one that was followed.
    RunNotCompared,
    /// A log that was followed before another one is taken up again under its old name.
    FormerLogTakenUp,
    /// An append counts as applied when a record with a higher number was, before it was made.
    AppendedBehindUs,
    /// An append counts as applied when a log is followed that is neither the one from before it nor
    /// its own.
    ThirdLogReaches,
    /// The index takes up another log without forgetting that it has another name.
    EpochsNotCompared,
}

/// Each with what has to be the case for it to matter, and what it breaks.
const MUTANTS: &[(Replaced, &str)] = &[
    (broken(Broken::GapWithoutFloor, false, (1, 1), CUT), RULE),
    (broken(Broken::SilenceIsTrusted, false, (0, 0), CUT), HEARD),
    (
        broken(Broken::RefoundWithoutNewEpoch, true, (2, 0), CUT),
        RULE,
    ),
    (broken(Broken::RunNotCompared, true, (2, 0), CUT), RULE),
    (broken(Broken::AppendedBehindUs, true, (2, 0), CUT), RULE),
    (
        broken(Broken::FormerLogTakenUp, false, (1, 0), REPLACED),
        RULE,
    ),
    (
        broken(Broken::ThirdLogReaches, false, (1, 0), REPLACED),
        RULE,
    ),
    (
        broken(Broken::EpochsNotCompared, true, (1, 0), REPLACED),
        RULE,
    ),
];

#[derive(Clone)]
struct Replaced {
    broken: Option<Broken>,
    /// Whether the server that takes over has a clock that is behind, so that it gives out again
    /// the ids of the tail that was lost.
    is_clock_behind: bool,
    writes: u8,
    /// Records that name another object.
    others: u8,
    /// What happens to the log, and how often.
    faults: &'static [Action],
    often: u8,
}

/// It is cut at either end.
const CUT: &[Action] = &[Action::Trim, Action::LoseTail];
/// Another takes its place.
const REPLACED: &[Action] = &[Action::Empty, Action::Restore];

const fn broken(
    broken: Broken,
    is_clock_behind: bool,
    (writes, others): (u8, u8),
    faults: &'static [Action],
) -> Replaced {
    Replaced {
        broken: Some(broken),
        is_clock_behind,
        writes,
        others,
        faults,
        often: 2,
    }
}

type Position = (u8, u8);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct State {
    log: Vec<Record>,
    /// Which server it is: another one after each start and each fail-over.
    run: u8,
    next_epoch: u8,
    /// The highest id ever given out.
    clock: u8,
    /// Of the object, at the origin.
    version: u8,
    edges: [Edge; 2],
    stored: Option<Entry>,
    /// What nobody can read any more, though it stood in the log.
    trimmed: Vec<Record>,
    writes_left: u8,
    others_left: u8,
    faults_left: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Record {
    epoch: u8,
    id: u8,
    previous: u8,
    /// The version that the write before it made; none for the record that founds a log.
    version: Option<u8>,
}

/// What the log begins with.
const FOUNDING: Record = Record {
    epoch: 1,
    id: 1,
    previous: 0,
    version: None,
};

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Edge {
    applied: Position,
    read_to: u8,
    run: u8,
    floor: u8,
    hard: u8,
    /// The logs that were followed, a bit each.
    former: u8,
    /// What the last record was, when it was looked at, and of which server.
    looked: Option<(Option<Record>, u8)>,
    purge: Purge,
    /// The version that every read shows from now on.
    acknowledged: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Purge {
    None,
    Begun {
        before: Position,
        version: u8,
    },
    Appended {
        before: Position,
        version: u8,
        position: Position,
        /// The log that was followed when the append returned.
        after: u8,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Entry {
    fence: Position,
    version: u8,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Action {
    /// The object changes, and the edge is asked to purge it.
    Write(usize),
    /// A record that names something else is appended.
    Other,
    Append(usize),
    Acknowledge(usize),
    Follow(usize),
    Fetch(usize),
    Trim,
    LoseTail,
    Empty,
    /// It is as it was in the beginning.
    Restore,
}

impl Replaced {
    fn breaks(&self, rule: Broken) -> bool {
        self.broken == Some(rule)
    }

    fn add(&self, state: &mut State, epoch: u8, previous: u8, version: Option<u8>) -> Position {
        let last = state.log.last().map_or(0, |last| last.id);
        let id = if self.is_clock_behind {
            last + 1
        } else {
            state.clock + 1
        };
        state.clock = state.clock.max(id);
        state.log.push(Record {
            epoch,
            id,
            previous,
            version,
        });
        (epoch, id)
    }

    /// The script: appends, and founds a log where there is none, or where it ends with `refound`.
    fn append(&self, state: &mut State, refound: Option<u8>, version: Option<u8>) -> Position {
        let last = state.log.last().copied();
        let mut position = match last {
            Some(last) if refound != Some(last.id) => (last.epoch, last.id),
            _ => {
                let epoch = state.next_epoch;
                state.next_epoch += 1;
                self.add(state, epoch, 0, None)
            }
        };
        if version.is_some() {
            position = self.add(state, position.0, position.1, version);
        }
        position
    }

    fn follow(&self, state: &mut State, edge: usize) {
        let now = &mut state.edges[edge];
        let next = state.log.iter().find(|record| record.id > now.read_to);
        let next = next.copied();
        let is_reconnected = self.is_clock_behind && now.run != state.run;
        let is_ours = next.is_some_and(|next| next.epoch == now.applied.0);
        if is_ours && !is_reconnected {
            now.looked = None;
            self.apply(now, &state.trimmed, next.expect("it is ours"));
        } else if next.is_none() && self.breaks(Broken::SilenceIsTrusted) {
            // Nothing new.
        } else if let Some((last, run)) = now.looked.take() {
            self.look(state, edge, last, run);
        } else {
            now.looked = Some((state.log.last().copied(), state.run));
        }
    }

    /// Acts on the last record as it was seen.
    fn look(&self, state: &mut State, edge: usize, last: Option<Record>, run: u8) {
        let Edge {
            applied: (epoch, _),
            read_to,
            run: known,
            former,
            ..
        } = state.edges[edge];
        let is_another_server =
            self.is_clock_behind && run != known && !self.breaks(Broken::RunNotCompared);
        let ends_before_us = |last: &Record| last.id < read_to || is_another_server;
        let position = match last {
            Some(last) if last.epoch == epoch && ends_before_us(&last) => {
                if self.breaks(Broken::RefoundWithoutNewEpoch) {
                    (epoch, last.id)
                } else {
                    self.append(state, Some(last.id), None)
                }
            }
            Some(last)
                if last.epoch != epoch
                    && former & (1 << last.epoch) != 0
                    && !self.breaks(Broken::FormerLogTakenUp) =>
            {
                self.append(state, Some(last.id), None)
            }
            Some(last) => (last.epoch, last.id),
            None => self.append(state, None, None),
        };
        let now = &mut state.edges[edge];
        if position.0 != epoch {
            let is_former = former & (1 << position.0) != 0;
            if is_former && !self.breaks(Broken::FormerLogTakenUp) {
                // Somebody appended to it meanwhile: to be looked at again.
                return;
            }
            now.run = run;
            now.former |= 1 << position.0;
            now.applied = (position.0, 0);
            now.read_to = 0;
            now.hard = 0;
            now.floor = position.1;
            return;
        }
        if position.1 < read_to {
            if self.breaks(Broken::RefoundWithoutNewEpoch) {
                now.read_to = position.1;
                now.applied.1 = position.1;
                now.run = run;
            }
            return;
        }
        if is_another_server {
            return;
        }
        now.run = run;
        // It is ours: what is not, in front of it, is passed over.
        let next = state.log.iter().find(|record| record.id > read_to);
        if let Some(next) = next
            && next.epoch != epoch
        {
            now.read_to = next.id;
        }
    }

    fn apply(&self, now: &mut Edge, trimmed: &[Record], record: Record) {
        now.read_to = record.id;
        let (epoch, seq) = now.applied;
        if record.previous != seq && !self.breaks(Broken::GapWithoutFloor) {
            let is_ahead = record.previous > seq;
            let missed = if is_ahead { record.previous } else { record.id };
            now.floor = now.floor.max(missed);
        }
        if let Some(version) = record.version {
            now.hard = now.hard.max(record.id);
            now.acknowledged = now.acknowledged.max(version);
        }
        // A position speaks for all that stood before it.
        for missed in trimmed {
            if missed.epoch == epoch && missed.id < record.id {
                let version = missed.version.unwrap_or(0);
                now.acknowledged = now.acknowledged.max(version);
            }
        }
        now.applied = (epoch, record.id);
    }

    fn has_reached(&self, now: Position, before: Position, position: Position) -> bool {
        if now.0 != position.0 {
            return now.0 != before.0 && self.breaks(Broken::ThirdLogReaches);
        }
        let is_behind = position.0 == before.0 && position.1 <= before.1;
        now.1 >= position.1 && (!is_behind || self.breaks(Broken::AppendedBehindUs))
    }

    fn is_valid(&self, edge: &Edge, stored: Option<Entry>) -> bool {
        let Some(entry) = stored else { return false };
        let is_of_this_log =
            entry.fence.0 == edge.applied.0 || self.breaks(Broken::EpochsNotCompared);
        is_of_this_log && edge.hard <= entry.fence.1 && edge.floor <= entry.fence.1
    }
}

impl Model for Replaced {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let edge = Edge {
            applied: (1, 1),
            read_to: 1,
            run: 0,
            floor: 0,
            hard: 0,
            former: 1 << 1,
            looked: None,
            purge: Purge::None,
            acknowledged: 0,
        };
        vec![State {
            log: vec![FOUNDING],
            run: 0,
            next_epoch: 2,
            clock: 1,
            version: 0,
            edges: [edge.clone(), edge],
            stored: None,
            trimmed: Vec::new(),
            others_left: self.others,
            writes_left: self.writes,
            faults_left: self.often,
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        for edge in [0, 1] {
            match state.edges[edge].purge {
                Purge::None if state.writes_left > 0 => actions.push(Action::Write(edge)),
                Purge::None => {}
                Purge::Begun { .. } => actions.push(Action::Append(edge)),
                Purge::Appended { .. } => actions.push(Action::Acknowledge(edge)),
            }
            actions.extend([Action::Follow(edge), Action::Fetch(edge)]);
        }
        if state.others_left > 0 {
            actions.push(Action::Other);
        }
        if state.faults_left > 0 {
            actions.extend(self.faults.iter().cloned());
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        match action {
            Action::Write(edge) => {
                state.writes_left -= 1;
                state.version += 1;
                let version = state.version;
                let now = &mut state.edges[edge];
                let before = now.applied;
                now.purge = Purge::Begun { before, version };
            }
            Action::Other => {
                state.others_left -= 1;
                let (epoch, id) = self.append(&mut state, None, None);
                self.add(&mut state, epoch, id, None);
            }
            Action::Append(edge) => {
                let Purge::Begun {
                    mut before,
                    version,
                } = state.edges[edge].purge
                else {
                    return None;
                };
                if self.is_clock_behind {
                    // That the server changes between these two, and the follower was faster than
                    // both, is left out: nothing tells it.
                    before = state.edges[edge].applied;
                }
                let position = self.append(&mut state, None, Some(version));
                let now = &mut state.edges[edge];
                now.purge = Purge::Appended {
                    before,
                    version,
                    position,
                    after: now.applied.0,
                };
            }
            Action::Acknowledge(edge) => {
                let now = &mut state.edges[edge];
                let Purge::Appended {
                    before,
                    version,
                    position,
                    after,
                } = now.purge
                else {
                    return None;
                };
                if self.has_reached(now.applied, before, position) {
                    now.acknowledged = now.acknowledged.max(version);
                    now.purge = Purge::None;
                } else if now.applied.0 != after && now.applied.0 != position.0 {
                    // A log that may not have it was taken up.
                    let before = now.applied;
                    now.purge = Purge::Begun { before, version };
                }
            }
            Action::Follow(edge) => self.follow(&mut state, edge),
            Action::Fetch(edge) => {
                let version = state.version;
                let fence = state.edges[edge].applied;
                state.stored = Some(Entry { fence, version });
            }
            Action::Trim => {
                if state.log.is_empty() {
                    return None;
                }
                state.faults_left -= 1;
                let trimmed = state.log.remove(0);
                state.trimmed.push(trimmed);
            }
            Action::LoseTail => {
                state.faults_left -= 1;
                state.run += u8::from(self.is_clock_behind);
                state.log.pop();
            }
            Action::Empty => {
                state.faults_left -= 1;
                state.run += u8::from(self.is_clock_behind);
                state.log.clear();
            }
            Action::Restore => {
                state.faults_left -= 1;
                state.run += u8::from(self.is_clock_behind);
                state.log = vec![FOUNDING];
            }
        }
        // Which edge is which makes no difference.
        state.edges.sort();
        (state != *last).then_some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(RULE, |model: &Replaced, state: &State| {
                state.edges.iter().all(|edge| {
                    let is_old = |entry: Entry| entry.version < edge.acknowledged;
                    !model.is_valid(edge, state.stored) || !state.stored.is_some_and(is_old)
                })
            }),
            Property::always(HEARD, |model: &Replaced, state: &State| {
                let is_heard = |edge: usize| {
                    let now = &state.edges[edge];
                    if now.looked.is_some() {
                        return true;
                    }
                    let mut later = state.clone();
                    model.follow(&mut later, edge);
                    model.follow(&mut later, edge);
                    if later != *state {
                        return true;
                    }
                    let epoch = now.applied.0;
                    let is_known = |record: &Record| {
                        record.epoch != epoch || record.version.unwrap_or(0) <= now.acknowledged
                    };
                    state.log.last().is_some_and(|last| last.epoch == epoch)
                        && state.log.iter().all(is_known)
                };
                is_heard(0) && is_heard(1)
            }),
            Property::sometimes("a hit behind a purge", |model: &Replaced, state: &State| {
                let mut edges = state.edges.iter();
                edges.all(|edge| edge.acknowledged == 1 && model.is_valid(edge, state.stored))
            }),
            Property::sometimes("a hit in another log", |model: &Replaced, state: &State| {
                let mut edges = state.edges.iter();
                edges.all(|edge| {
                    edge.applied.0 > 1
                        && edge.acknowledged == 1
                        && edge.purge == Purge::None
                        && model.is_valid(edge, state.stored)
                })
            }),
        ]
    }
}

#[test]
fn a_log_that_is_cut_or_replaced_outruns_nobody() {
    for (is_clock_behind, faults, often) in [
        (false, CUT, 2),
        (true, CUT, 1),
        (false, REPLACED, 2),
        (true, REPLACED, 1),
    ] {
        let model = Replaced {
            broken: None,
            is_clock_behind,
            writes: 1,
            others: 0,
            faults,
            often,
        };
        holds("replaced", model);
    }
}

#[test]
fn a_gap_outruns_nobody() {
    let model = Replaced {
        broken: None,
        is_clock_behind: false,
        writes: 1,
        others: 1,
        faults: &[Action::Trim],
        often: 2,
    };
    assert!(finds_nothing(model, &[RULE]));
}

#[test]
fn ids_that_are_given_out_again_outrun_nobody() {
    let model = Replaced {
        broken: None,
        is_clock_behind: true,
        writes: 2,
        others: 0,
        faults: &[Action::LoseTail],
        often: 1,
    };
    assert!(finds_nothing(model, &[RULE]));
}

#[test]
fn each_rule_of_following_is_needed() {
    for (model, property) in MUTANTS {
        let broken = model.broken;
        let is_missed = finds_nothing(model.clone(), &[property]);
        assert!(!is_missed, "{broken:?} is not found");
    }
}
