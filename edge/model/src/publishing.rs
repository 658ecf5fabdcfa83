//! One edge's index: an applier, one who drops unrecorded purges, and two who judge the same entry.
//!
//! Steps are single loads and stores, in one order that everybody sees: what weak memory may do
//! beyond that is not tried here. Of the tables there is one cell each for hard and soft, which the
//! entry's marks hash to; other entries' records move everything but those.

use stateright::{Model, Property};

use crate::checking::{finds_nothing, holds};

const RULE: &str = "no judgement outruns what was acknowledged before it began";

/// A rule of the algorithm that is not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Broken {
    /// The head is stored before the cells.
    HeadBeforeCells,
    /// A record is acknowledged before the head is stored.
    AcknowledgedBeforeHead,
    /// The head is a position of the log, and `checked` passes when it is not behind it.
    CheckedByOrder,
    /// The head is a sequence number of the log rather than a count of our own.
    CheckedBySequence,
    /// What is remembered is the head after judging rather than the one before.
    RemembersTheLaterHead,
    /// What is softly purged is remembered as valid.
    SoftMovesChecked,
    /// The tables of the old log are cleared before its name is gone.
    ClearedBeforeRenamed,
    /// Nobody looks at the log's name again behind the tables.
    NameReadOnce,
    /// What was ordered stops being unrecorded when it is appended, not when it is applied.
    DroppedWhenAppended,
    /// Unrecorded purges are looked at behind the tables.
    UnrecordedReadLast,
    /// The floor is raised behind the head.
    FloorBehindHead,
    /// Positions of different logs are compared by their numbers alone.
    EpochsNotCompared,
}

const MUTANTS: &[Broken] = &[
    Broken::HeadBeforeCells,
    Broken::AcknowledgedBeforeHead,
    Broken::CheckedByOrder,
    Broken::CheckedBySequence,
    Broken::RemembersTheLaterHead,
    Broken::SoftMovesChecked,
    Broken::ClearedBeforeRenamed,
    Broken::NameReadOnce,
    Broken::DroppedWhenAppended,
    Broken::UnrecordedReadLast,
    Broken::FloorBehindHead,
    Broken::EpochsNotCompared,
];

struct Publishing {
    broken: Option<Broken>,
    /// How much the applier is given to do.
    work: u8,
    readers: usize,
    /// Whether a purge is ordered that cannot be recorded at once.
    has_clerk: bool,
}

/// A floor above everything.
const ABOVE_ALL: u8 = u8::MAX;

type Position = (u8, u8);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct State {
    head: u8,
    epoch: u8,
    floor: u8,
    hard: u8,
    soft: u8,
    unrecorded: bool,
    /// The position that is told as a fence.
    applied: Position,
    /// What the applier is at, and the stores it has done of it.
    applying: Option<(Work, u8)>,
    work_left: u8,
    clerk: Clerk,
    entry: Entry,
    refetches_left: u8,
    readers: Vec<Reader>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Work {
    /// A record that names something else.
    Other,
    Hard,
    Soft,
    /// A gap.
    RaiseFloor,
    /// Another log.
    Begin,
}

/// Who keeps the purges that could not be recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Clerk {
    Idle,
    /// In force, and the head not moved yet.
    Ordered,
    /// Acknowledged; the record is not in the log.
    Acknowledged,
    /// In the log, and not applied.
    Appended,
    Applied,
    /// Out of force, and the head not moved yet.
    Dropped,
    Done,
}

/// What an acknowledged record forbids.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Forbidden {
    fresh: bool,
    stale: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Entry {
    number: u8,
    fence: Position,
    checked: u8,
    /// By what was acknowledged since its fence was read.
    forbidden: Forbidden,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Reader {
    Idle,
    Judging(Judging),
    Judged(Verdict, Forbidden),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Judging {
    /// The entry as it was when the read began.
    entry: Entry,
    step: u8,
    head: u8,
    epoch: u8,
    below_floor: bool,
    unrecorded: bool,
    /// Whether the cells are after the fence.
    hard: bool,
    soft: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Verdict {
    Valid,
    Soft,
    BelowFloor,
    Purged,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Action {
    Take(Work),
    Apply,
    Clerk,
    Refetch,
    Read(usize),
}

impl Publishing {
    fn breaks(&self, rule: Broken) -> bool {
        self.broken == Some(rule)
    }

    fn publish(&self, state: &mut State, seq: u8) {
        if self.breaks(Broken::CheckedByOrder) || self.breaks(Broken::CheckedBySequence) {
            state.head = seq;
        } else {
            state.head += 1;
        }
    }

    /// The next store of the applier.
    fn apply(&self, state: &mut State) {
        let Some((work, step)) = state.applying else {
            return;
        };
        let (epoch, seq) = (state.applied.0, state.applied.1 + 1);
        let is_done = match work {
            Work::Other | Work::Hard | Work::Soft => {
                // In the order in which they are done: 0 cells, 1 head, 2 acknowledged.
                let order = match self.broken {
                    Some(Broken::HeadBeforeCells) => [1, 0, 2],
                    Some(Broken::AcknowledgedBeforeHead) => [0, 2, 1],
                    _ => [0, 1, 2],
                };
                match (order[usize::from(step)], work) {
                    (0, Work::Hard) => state.hard = state.hard.max(seq),
                    (0, Work::Soft) => state.soft = state.soft.max(seq),
                    (0, _) => {}
                    (1, _) => self.publish(state, seq),
                    _ => {
                        state.applied = (epoch, seq);
                        if work != Work::Other {
                            acknowledge(state, work == Work::Hard);
                        }
                        if work == Work::Hard && state.clerk == Clerk::Appended {
                            state.clerk = Clerk::Applied;
                        }
                    }
                }
                step == 2
            }
            Work::RaiseFloor => {
                let order = if self.breaks(Broken::FloorBehindHead) {
                    [1, 2, 0]
                } else {
                    [0, 1, 2]
                };
                match order[usize::from(step)] {
                    0 => state.floor = state.floor.max(seq),
                    1 => self.publish(state, seq),
                    _ => {
                        state.applied = (epoch, seq);
                        acknowledge(state, true);
                    }
                }
                step == 2
            }
            Work::Begin => {
                let order = if self.breaks(Broken::ClearedBeforeRenamed) {
                    [0, 2, 3, 1, 4, 5, 6]
                } else {
                    [0, 1, 2, 3, 4, 5, 6]
                };
                match order[usize::from(step)] {
                    0 => state.floor = ABOVE_ALL,
                    1 => state.epoch = epoch + 1,
                    2 => state.hard = 0,
                    3 => state.soft = 0,
                    4 => state.floor = 0,
                    5 => self.publish(state, 0),
                    _ => {
                        state.applied = (epoch + 1, 0);
                        // What was missed with the old log may have named the entry.
                        acknowledge(state, true);
                        if state.clerk == Clerk::Appended {
                            state.clerk = Clerk::Applied;
                        }
                    }
                }
                step == 6
            }
        };
        state.applying = (!is_done).then_some((work, step + 1));
    }

    fn clerk(&self, state: &mut State) {
        let seq = state.applied.1;
        let is_early = self.breaks(Broken::DroppedWhenAppended);
        state.clerk = match state.clerk {
            Clerk::Idle => {
                state.unrecorded = true;
                Clerk::Ordered
            }
            Clerk::Ordered => {
                self.publish(state, seq);
                acknowledge(state, true);
                Clerk::Acknowledged
            }
            Clerk::Acknowledged => Clerk::Appended,
            Clerk::Appended if !is_early => Clerk::Appended,
            Clerk::Appended | Clerk::Applied => {
                state.unrecorded = false;
                Clerk::Dropped
            }
            Clerk::Dropped => {
                self.publish(state, seq);
                Clerk::Done
            }
            Clerk::Done => Clerk::Done,
        };
    }

    /// The next load or store of a reader.
    fn read(&self, state: &mut State, reader: usize) {
        let Reader::Judging(mut now) = state.readers[reader] else {
            state.readers[reader] = Reader::Judging(Judging {
                entry: state.entry,
                step: 0,
                head: state.head,
                epoch: 0,
                below_floor: false,
                unrecorded: false,
                hard: false,
                soft: false,
            });
            return;
        };
        let Entry {
            number,
            fence,
            forbidden,
            ..
        } = now.entry;
        let order = if self.breaks(Broken::UnrecordedReadLast) {
            [0, 1, 2, 4, 5, 3, 6, 7]
        } else {
            [0, 1, 2, 3, 4, 5, 6, 7]
        };
        let mut verdict = None;
        match order[usize::from(now.step)] {
            0 => {
                let checked = if state.entry.number == number {
                    state.entry.checked
                } else {
                    now.entry.checked
                };
                let passes = if self.breaks(Broken::CheckedByOrder) {
                    checked >= now.head && checked > 0
                } else {
                    checked == now.head
                };
                if passes {
                    verdict = Some(Verdict::Valid);
                }
            }
            1 => now.epoch = state.epoch,
            2 => {
                let is_other = now.epoch != fence.0 && !self.breaks(Broken::EpochsNotCompared);
                now.below_floor = is_other || fence.1 < state.floor;
            }
            3 => now.unrecorded = state.unrecorded,
            4 => now.hard = state.hard > fence.1,
            5 => now.soft = state.soft > fence.1,
            6 => {
                let is_of_this_log = now.epoch == fence.0 || self.breaks(Broken::EpochsNotCompared);
                let is_renamed = state.epoch != now.epoch && !self.breaks(Broken::NameReadOnce);
                if is_of_this_log && now.hard || now.unrecorded {
                    verdict = Some(Verdict::Purged);
                } else if now.below_floor || is_renamed {
                    verdict = Some(Verdict::BelowFloor);
                } else if now.soft {
                    if self.breaks(Broken::SoftMovesChecked) && state.entry.number == number {
                        state.entry.checked = now.head;
                    }
                    verdict = Some(Verdict::Soft);
                }
            }
            _ => {
                if state.entry.number == number {
                    state.entry.checked = if self.breaks(Broken::RemembersTheLaterHead) {
                        state.head
                    } else {
                        now.head
                    };
                }
                verdict = Some(Verdict::Valid);
            }
        }
        now.step += 1;
        state.readers[reader] = match verdict {
            Some(verdict) => Reader::Judged(verdict, forbidden),
            None => Reader::Judging(now),
        };
    }
}

fn acknowledge(state: &mut State, is_hard: bool) {
    state.entry.forbidden.fresh = true;
    state.entry.forbidden.stale |= is_hard;
}

impl Model for Publishing {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State {
            head: 1,
            epoch: 1,
            floor: 0,
            hard: 0,
            soft: 0,
            unrecorded: false,
            applied: (1, 1),
            applying: None,
            work_left: self.work,
            clerk: Clerk::Idle,
            entry: Entry {
                number: 0,
                fence: (1, 1),
                checked: 0,
                forbidden: Forbidden::default(),
            },
            refetches_left: 1,
            readers: vec![Reader::Idle; self.readers],
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        match state.applying {
            Some(_) => actions.push(Action::Apply),
            None if state.work_left > 0 => actions.extend(
                [
                    Work::Other,
                    Work::Hard,
                    Work::Soft,
                    Work::RaiseFloor,
                    Work::Begin,
                ]
                .map(Action::Take),
            ),
            None => {}
        }
        if self.has_clerk && state.clerk != Clerk::Done {
            actions.push(Action::Clerk);
        }
        if state.refetches_left > 0 {
            actions.push(Action::Refetch);
        }
        actions.extend((0..self.readers).map(Action::Read));
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        match action {
            Action::Take(work) => {
                state.applying = Some((work, 0));
                state.work_left -= 1;
            }
            Action::Apply => self.apply(&mut state),
            Action::Clerk => self.clerk(&mut state),
            Action::Refetch => {
                state.refetches_left -= 1;
                state.entry = Entry {
                    number: state.entry.number + 1,
                    fence: state.applied,
                    checked: 0,
                    forbidden: Forbidden::default(),
                };
            }
            Action::Read(reader) => self.read(&mut state, reader),
        }
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        fn judged(state: &State) -> impl Iterator<Item = (Verdict, Forbidden)> + '_ {
            state.readers.iter().filter_map(|reader| match reader {
                Reader::Judged(verdict, forbidden) => Some((*verdict, *forbidden)),
                _ => None,
            })
        }
        vec![
            Property::always(RULE, |_, state: &State| {
                judged(state).all(|(verdict, forbidden)| match verdict {
                    Verdict::Valid => !forbidden.fresh,
                    Verdict::Soft => !forbidden.stale,
                    Verdict::BelowFloor | Verdict::Purged => true,
                })
            }),
            Property::sometimes("a hard record purges", |_, state| {
                judged(state).any(|(verdict, _)| verdict == Verdict::Purged)
                    && state.clerk == Clerk::Idle
            }),
            Property::sometimes("a soft record makes stale", |_, state| {
                judged(state).any(|(verdict, _)| verdict == Verdict::Soft)
            }),
            Property::sometimes("what is fetched anew is a hit", |_, state| {
                let is_hit = judged(state).any(|(verdict, _)| verdict == Verdict::Valid);
                is_hit && state.entry.number == 1 && state.hard > 0 && state.clerk == Clerk::Done
            }),
            Property::sometimes(
                "what is checked is valid by one load",
                |_, state: &State| {
                    state.entry.number == 1 && state.entry.checked == state.head && state.epoch == 2
                },
            ),
        ]
    }
}

#[test]
fn the_index_keeps_the_rule() {
    let whole = Publishing {
        broken: None,
        work: 2,
        readers: 1,
        has_clerk: true,
    };
    holds("publishing", whole);
}

#[test]
fn readers_share_what_they_remember() {
    let shared = Publishing {
        broken: None,
        work: 1,
        readers: 2,
        has_clerk: false,
    };
    assert!(finds_nothing(shared, &[RULE]));
}

#[test]
fn each_rule_of_publishing_is_needed() {
    for broken in MUTANTS {
        let model = Publishing {
            broken: Some(*broken),
            work: 2,
            readers: 1,
            has_clerk: true,
        };
        assert!(!finds_nothing(model, &[RULE]), "{broken:?} is not found");
    }
}
