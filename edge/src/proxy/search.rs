//! Entries that are reached by another URL than their own.
//!
//! A purge names URLs. So what is asked for by one URL and was stored by another is used only if the
//! purge log has nothing against either.

use super::{Proxy, purge_url};
use crate::cache::Entry;
use crate::exchange::Exchange;
use crate::purge::{Marks, Verdict};

impl Proxy {
    /// What the purge log says of an entry for this exchange. Where its URL is sure to be the
    /// entry's own, nothing is compared.
    pub(super) fn judge(&self, exchange: &Exchange, entry: &Entry) -> Verdict {
        let index = self.log.index();
        let own = entry.judge(index);
        // A filter may have led the exchange to a URL whose route has another key policy.
        if !exchange.is_rewritten {
            return own;
        }
        match self.asked_marks(exchange, &entry.marks) {
            Some(asked) => own.and(index.judge_anew(&asked, entry.fence)),
            None => own,
        }
    }

    /// The marks of the URL that is asked for; `None` where it is that of `stored`.
    pub(super) fn asked_marks(&self, exchange: &Exchange, stored: &Marks) -> Option<Marks> {
        let index = self.log.index();
        let url = purge_url(exchange);
        (*index.canonical(&url) != *stored.url()).then(|| index.marks(&url, []))
    }
}
