//! What somebody who ordered a purge is told: its position, and who has applied it by now.
//!
//! The roll is called in the same breath as the records are appended, and fixed from then on: an
//! edge that comes later has read the log to there before it serves. An edge has applied a purge
//! when it has acknowledged its position, or a later one of the same log, and not before; one that
//! has not is `silent` when it was not heard for a while, and `waiting` otherwise. Nobody waits for
//! who is silent when the roll is called, and nobody is told that it has applied the purge.

use std::time::{Duration, Instant};

use http::StatusCode;
use redis::RedisError;
use redis::aio::MultiplexedConnection;
use serde::Serialize;

use super::Orders;
use super::order::{Patience, Wait};
use crate::purge::log::{NotRecorded, Stream};
use crate::purge::record::{Position, Record};
use crate::purge::roll::{Ack, Call, Presence, Roll, to_instance};

/// Added to what is asked of Redis until it is given up: a stopped server keeps connections open.
const GRACE: Duration = Duration::from_millis(100);

/// The receipt of a recorded purge.
#[derive(Clone, Debug, Serialize)]
pub struct Receipt {
    /// `EPOCH:MILLISECONDS-COUNTER` of the last record.
    pub position: String,
    pub records: usize,
    /// The edges on the roll when it was recorded; absent when nobody was to be waited for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub edges: Option<Vec<Attendant>>,
    /// Whether everybody who was waited for has applied it.
    #[serde(skip)]
    pub is_applied: bool,
}

/// An edge on the roll.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Attendant {
    /// Its name; its place on the roll, `INSTANCE PROCESS`, where several go by that name.
    pub instance: String,
    pub region: String,
    pub state: State,
    /// Milliseconds from the record to the edge's acknowledgement, by the clock of the log's Redis;
    /// of the edge that took the order, from the order to its being applied, by its own. Absent
    /// where it is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub applied_ms: Option<u64>,
    #[serde(skip)]
    pub(super) place: String,
}

/// How far an edge is with a purge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It has acknowledged it: nothing that it matches is used there any more.
    Applied,
    /// It has not acknowledged it, and is heard.
    Waiting,
    /// It has not acknowledged it, and was not heard for a while.
    Silent,
}

impl Attendant {
    /// An edge that has this place on the roll, as far as it can be told without what it has
    /// acknowledged.
    pub(super) fn called(place: &str, presence: &Presence, roll: &Roll) -> Attendant {
        Attendant {
            instance: to_instance(place).to_owned(),
            region: presence.region.clone(),
            state: match roll.is_heard(presence) {
                true => State::Waiting,
                false => State::Silent,
            },
            applied_ms: None,
            place: place.to_owned(),
        }
    }

    fn has_applied(&self) -> bool {
        self.state == State::Applied
    }

    /// It has applied it, as its acknowledgement says.
    fn heed(&mut self, ack: &Ack, position: Position) {
        if !self.has_applied() && ack.place == self.place && ack.position.has_reached(position) {
            self.state = State::Applied;
            self.applied_ms = Some(ack.millis().saturating_sub(position.millis()));
        }
    }
}

impl Orders {
    /// Appends records on somebody's order, counts them, and waits for edges as far as that was
    /// asked for.
    ///
    /// # Errors
    /// When they are in force on this edge only.
    pub async fn carry_out(
        &self,
        records: &[Record],
        patience: Patience,
    ) -> Result<Receipt, NotRecorded> {
        let records = &self.log.index().ordered(records)[..];
        let receipt = self.recorded(records, patience).await;
        self.metrics.count_purges(records.len(), receipt.is_ok());
        receipt
    }

    /// Carries out a request: as [`Orders::carry_out`], and counted as one.
    ///
    /// # Errors
    /// When the records are in force on this edge only.
    pub async fn answer(
        &self,
        records: &[Record],
        patience: Patience,
    ) -> Result<Receipt, NotRecorded> {
        let receipt = self.carry_out(records, patience).await;
        self.metrics.count_purge_request(match &receipt {
            Err(_) => "not-recorded",
            Ok(receipt) if receipt.edges.is_none() => "recorded",
            Ok(receipt) if receipt.is_applied => "applied",
            Ok(_) => "waiting",
        });
        receipt
    }

    async fn recorded(
        &self,
        records: &[Record],
        patience: Patience,
    ) -> Result<Receipt, NotRecorded> {
        let receipt = |position: Position, edges, is_applied| Receipt {
            position: position.to_string(),
            records: records.len(),
            edges,
            is_applied,
        };
        if patience.wait == Wait::None {
            return Ok(receipt(self.log.append(records).await?, None, true));
        }
        let begun = Instant::now();
        let (position, call) = self.log.append_calling(records).await?;
        let mut edges = self.called(&call, position, begun.elapsed());
        let Some(stream) = self.log.stream() else {
            edges.iter_mut().for_each(|own| own.applied_ms = Some(0));
            return Ok(receipt(position, Some(edges), true));
        };
        let is_awaited =
            |edge: &Attendant| patience.wait == Wait::All || edge.region == self.own.region;
        let waiting = Waiting {
            stream,
            position,
            until: begun + patience.timeout,
        };
        // Who is not let in to wait has the purge recorded all the same.
        if let Ok(_let_in) = self.waiting.try_acquire() {
            let heard = tokio::select! {
                biased;
                () = self.drained() => Ok(()),
                heard = waiting.wait(&mut edges, &call.last_ack, is_awaited) => heard,
            };
            if let Err(error) = heard {
                tracing::warn!(%error, "cannot hear which edges apply a purge");
            }
        }
        if !edges.iter().all(Attendant::has_applied) && !self.is_draining() {
            let limit = self.log.deadline().min(Duration::from_secs(1));
            // Without an answer all that is known is that they have not been heard to apply it.
            let _ = tokio::time::timeout(limit, waiting.look_again(&mut edges)).await;
        }
        let is_applied = edges
            .iter()
            .filter(|edge| is_awaited(edge))
            .all(Attendant::has_applied);
        Ok(receipt(position, Some(edges), is_applied))
    }

    /// Those who were on the roll when the purge was recorded; this edge too, which has just
    /// applied it.
    fn called(&self, call: &Call, position: Position, taken: Duration) -> Vec<Attendant> {
        let others = call.roll.edges();
        let others = others.filter(|(place, _)| **place != self.own.place);
        let others = others.map(|(place, presence)| Attendant::called(place, presence, &call.roll));
        // Another log may have been taken up meanwhile, which says nothing of this position.
        let own = if self.log.fence().has_reached(position) {
            (State::Applied, u64::try_from(taken.as_millis()).ok())
        } else {
            (State::Waiting, None)
        };
        let own = Attendant {
            instance: self.own.instance.clone(),
            region: self.own.region.clone(),
            state: own.0,
            applied_ms: own.1,
            place: self.own.place.clone(),
        };
        told_apart(others.chain([own]).collect())
    }
}

/// Edges in the order of their names. Those that share one are called by their places.
pub(super) fn told_apart(mut edges: Vec<Attendant>) -> Vec<Attendant> {
    edges.sort_by(|one, other| one.place.cmp(&other.place));
    for namesakes in edges.chunk_by_mut(|one, other| one.instance == other.instance) {
        if namesakes.len() > 1 {
            for edge in namesakes {
                edge.instance.clone_from(&edge.place);
            }
        }
    }
    edges
}

/// One who waits for edges.
struct Waiting<'a> {
    stream: &'a Stream,
    position: Position,
    until: Instant,
}

impl Waiting<'_> {
    /// Reads acknowledgements after the one named `after`, until all who are awaited and not silent
    /// have applied the purge or the time is up. The connection is its own, since its reads block.
    async fn wait(
        &self,
        edges: &mut [Attendant],
        after: &str,
        is_awaited: impl Fn(&Attendant) -> bool,
    ) -> Result<(), RedisError> {
        let is_done = |edges: &[Attendant]| {
            let mut awaited = edges.iter().filter(|edge| is_awaited(edge));
            awaited.all(|edge| edge.state != State::Waiting)
        };
        if is_done(edges) {
            return Ok(());
        }
        let waiting = async {
            let mut connection = self.stream.connect().await?;
            let mut after = after.to_owned();
            while !is_done(edges) {
                let left = self.until.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    break;
                }
                let acks = self.stream.acks_after(&mut connection, &after, left);
                let (acks, last) = acks.await?;
                for ack in &acks {
                    edges
                        .iter_mut()
                        .for_each(|edge| edge.heed(ack, self.position));
                }
                after = last.unwrap_or(after);
            }
            Ok(())
        };
        let until = self.until + GRACE;
        tokio::time::timeout_at(until.into(), waiting)
            .await
            .unwrap_or(Ok(()))
    }

    /// Looks at the roll once more, which tells who is silent, and who has applied the purge and
    /// was not seen to acknowledge it.
    async fn look_again(&self, edges: &mut [Attendant]) -> Result<(), RedisError> {
        let mut connection: MultiplexedConnection = self.stream.connect().await?;
        let roll = self.stream.roll(&mut connection).await?;
        for edge in edges.iter_mut().filter(|edge| !edge.has_applied()) {
            match roll.find(&edge.place) {
                Some(presence) if presence.has_applied(self.position) => {
                    edge.state = State::Applied;
                    // It was then at the latest.
                    let heard = presence.heard.saturating_sub(self.position.millis());
                    edge.applied_ms = Some(heard);
                }
                Some(presence) if roll.is_heard(presence) => edge.state = State::Waiting,
                _ => edge.state = State::Silent,
            }
        }
        Ok(())
    }
}

impl Receipt {
    /// 200 when everybody who was waited for has applied it, 202 when it is recorded and not all of
    /// them have.
    pub fn status(&self) -> StatusCode {
        if self.is_applied {
            StatusCode::OK
        } else {
            StatusCode::ACCEPTED
        }
    }

    /// The receipt as a line of JSON.
    pub fn to_json(&self) -> String {
        let mut json = serde_json::to_string(self).expect("a receipt is plain JSON");
        json.push('\n');
        json
    }
}
