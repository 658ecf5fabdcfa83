//! What this edge is called on the roll.

/// What this edge is called among those that follow its log.
pub struct Own {
    /// The edge's name. Another process may go by it too: while a restart overlaps, or by mistake.
    pub instance: String,
    pub region: String,
    /// Its place on the roll, which no other process has.
    pub(in crate::purge) place: String,
}

impl Own {
    /// By these names; a random one for an instance without.
    pub fn new(instance: Option<&str>, region: &str) -> Own {
        let random = || format!("{:08x}", crate::random::word() >> 32);
        let instance = instance.map_or_else(random, str::to_owned);
        Own {
            place: format!("{instance} {:016x}", crate::random::word()),
            instance,
            region: region.to_owned(),
        }
    }
}

/// The name of the edge that has this place on the roll.
pub(in crate::purge) fn to_instance(place: &str) -> &str {
    place
        .split_once(' ')
        .map_or(place, |(instance, _)| instance)
}
