//! What the log says of an entry.

use tidegate_semantics::Standing;

/// What the log says of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It may be used as `Standing` allows.
    Usable(Standing),
    /// A hard record after its fence matches: it is gone.
    Purged,
}

impl Verdict {
    /// What two verdicts on one entry come to.
    pub fn and(self, other: Verdict) -> Verdict {
        use Standing::{BelowFloor, SoftPurged, Valid};
        match (self, other) {
            (Verdict::Purged, _) | (_, Verdict::Purged) => Verdict::Purged,
            (Verdict::Usable(one), Verdict::Usable(other)) => Verdict::Usable(match (one, other) {
                (BelowFloor, _) | (_, BelowFloor) => BelowFloor,
                (SoftPurged(one), SoftPurged(other)) => SoftPurged(one.max(other)),
                (Valid, standing) | (standing, Valid) => standing,
            }),
        }
    }
}
