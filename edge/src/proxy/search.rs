//! Entries that are reached by another URL than their own: by one with an equivalent query
//! (`No-Vary-Search`), or by one that a filter made.
//!
//! A purge names URLs. So what is asked for by one URL and was stored by another is used only if the
//! purge log has nothing against either, nor against the one that the client wrote before a filter
//! made another of it.

use tidegate_semantics::Variance;

use super::{Proxy, client_url, purge_url};
use crate::cache::Entry;
use crate::exchange::Exchange;
use crate::purge::{Marks, Verdict};

impl Proxy {
    /// What the purge log says of an entry for this exchange. Where its URL is sure to be the
    /// entry's own, nothing is compared. One that is for other queries is as good as purged.
    pub(super) fn judge(&self, exchange: &Exchange, entry: &Entry) -> Verdict {
        // A filter may have led the exchange to a URL whose route has another key policy.
        if entry.variance().is_none() && exchange.rewritten_from.is_none() {
            return entry.judge(self.log.index());
        }
        self.judge_for(&purge_url(exchange), client_url(exchange).as_deref(), entry)
    }

    /// The same for whoever asks for `url`, which a filter may have made of a client's own.
    pub(super) fn judge_for(&self, url: &str, client_url: Option<&str>, entry: &Entry) -> Verdict {
        let verdict = self.judge_by(url, entry);
        let Some(client_url) = client_url else {
            return verdict;
        };
        let index = self.log.index();
        verdict.and(index.judge_anew(&index.marks(client_url, []), entry.fence))
    }

    fn judge_by(&self, url: &str, entry: &Entry) -> Verdict {
        let index = self.log.index();
        let own = entry.judge(index);
        let Some(asked) = self.asked_marks(url, &entry.marks) else {
            return own;
        };
        if let Some(variance) = entry.variance()
            && !is_equivalent(variance, &asked, &entry.marks)
        {
            return Verdict::Purged;
        }
        own.and(index.judge_anew(&asked, entry.fence))
    }

    /// Whether a response for the URL of `stored`, of which it says `variance`, is for this exchange.
    pub(super) fn is_for(
        &self,
        exchange: &Exchange,
        stored: &Marks,
        variance: Option<&Variance>,
    ) -> bool {
        match self.asked_marks(&purge_url(exchange), stored) {
            Some(asked) => variance.is_some_and(|it| is_equivalent(it, &asked, stored)),
            None => true,
        }
    }

    /// The marks of the URL that is asked for; `None` where it is that of `stored`.
    pub(super) fn asked_marks(&self, url: &str, stored: &Marks) -> Option<Marks> {
        let index = self.log.index();
        (*index.canonical(url) != *stored.url()).then(|| index.marks(url, []))
    }

    /// By what else than its own marks a purge may name a response, for this exchange: by the URL
    /// that is asked for, and by the client's own.
    pub(super) fn other_marks(&self, exchange: &Exchange, stored: &Marks) -> Vec<Marks> {
        let index = self.log.index();
        let asked = self.asked_marks(&purge_url(exchange), stored);
        let clients = client_url(exchange).map(|url| index.marks(&url, []));
        asked.into_iter().chain(clients).collect()
    }
}

/// Whether two URLs of one path stand for the same response.
fn is_equivalent(variance: &Variance, one: &Marks, other: &Marks) -> bool {
    variance.are_equivalent(query(one), query(other))
}

fn query(marks: &Marks) -> Option<&str> {
    marks.url().split_once('?').map(|(_, query)| query)
}
