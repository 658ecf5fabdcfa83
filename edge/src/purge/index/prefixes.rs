//! Prefixes that were purged: a short list, since every judgement reads all of it.

use arc_swap::ArcSwap;

use crate::purge::record::Mode;

/// Prefixes kept; the next one becomes a purge of its host.
const MOST: usize = 256;

/// The highest number of each prefix.
#[derive(Default)]
pub(super) struct Prefixes {
    list: ArcSwap<Vec<Prefix>>,
}

#[derive(Clone)]
struct Prefix {
    url: String,
    hard: u64,
    soft: u64,
}

/// There is no room for another prefix.
pub(super) struct Full;

impl Prefixes {
    /// The highest numbers, hard and soft, of what `url` begins with; 0 if there is none.
    pub fn highest(&self, url: &[u8]) -> (u64, u64) {
        let list = self.list.load();
        let matches = |prefix: &&Prefix| url.starts_with(prefix.url.as_bytes());
        let matching = list.iter().filter(matches);
        matching.fold((0, 0), |(hard, soft), prefix| {
            (hard.max(prefix.hard), soft.max(prefix.soft))
        })
    }

    /// Enters a record; the caller is the one applier.
    pub fn raise(&self, url: &str, mode: Mode, seq: u64) -> Result<(), Full> {
        let mut list = Vec::clone(&self.list.load());
        let at = match list.iter().position(|prefix| prefix.url == url) {
            Some(at) => at,
            None if list.len() == MOST => return Err(Full),
            None => {
                list.push(Prefix {
                    url: url.to_owned(),
                    hard: 0,
                    soft: 0,
                });
                list.len() - 1
            }
        };
        match mode {
            Mode::Hard => list[at].hard = seq,
            Mode::Soft => list[at].soft = seq,
        }
        self.list.store(list.into());
        Ok(())
    }

    /// What was purged hard, and the last number of each.
    pub fn hard(&self) -> Vec<(String, u64)> {
        let list = self.list.load();
        let hard = list.iter().filter(|prefix| prefix.hard > 0);
        hard.map(|prefix| (prefix.url.clone(), prefix.hard))
            .collect()
    }

    pub fn clear(&self) {
        self.list.store(Default::default());
    }
}

#[cfg(test)]
mod tests {
    use tidegate_semantics::Standing;

    use super::*;
    use crate::purge::index::tests::{at, index, judged};
    use crate::purge::index::{Index, Verdict};
    use crate::purge::record::{Record, Scope};

    fn full() -> Index {
        let index = index();
        for number in 0..MOST as u64 {
            let prefix = Scope::Prefix(format!("elsewhere.org/{number}"));
            index.apply(at(20 + number), &Record::hard(prefix));
        }
        index
    }

    #[test]
    fn too_many_prefixes_become_purges_of_their_hosts() {
        let index = full();
        assert_eq!(judged(&index, at(10)), Verdict::Usable(Standing::Valid));
        let one_more = Scope::Prefix("example.org/nothing/like/it".to_owned());
        index.apply(at(9_000), &Record::hard(one_more));
        assert_eq!(judged(&index, at(10)), Verdict::Purged);
    }

    #[test]
    fn a_prefix_that_ends_within_the_host_purges_all_it_begins_also_when_there_are_too_many() {
        let index = full();
        index.apply(at(9_000), &Record::hard(Scope::Prefix("exam".to_owned())));
        assert_eq!(judged(&index, at(10)), Verdict::Purged);
    }
}
