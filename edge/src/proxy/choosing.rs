//! What request filters choose for one exchange in place of its route: another origin of those that
//! the route lists, and other lifetimes.
//!
//! The exchange goes on with a route that says so. Whatever comes of it (fetches, validations,
//! refreshes in the background, writes) follows that one without knowing of a choice.
//!
//! They may choose another path as well, and then the exchange stays on its route: what comes of it
//! is kept apart from what the route of that path stores.

use std::sync::Arc;

use super::{Proxy, Route};
use crate::exchange::Exchange;
use crate::filters::PolicyChanges;

impl Proxy {
    /// Where an exchange was led to a path that is another route's, puts its own route into its key:
    /// the two may answer from different origins, by different filters, and for different lifetimes.
    pub(super) fn keep_apart(&self, exchange: &mut Exchange, route: &Route) {
        if exchange.rewritten_from.is_none() {
            return;
        }
        let (authority, path) = (exchange.authority.as_str(), exchange.path_and_query.path());
        let found = self.router.find(authority, path);
        if found.is_ok_and(|found| found.pattern == route.pattern) {
            return;
        }
        // A mark of its own, as that of an origin: see `Route::key_extra`.
        exchange.key_extra = format!("\u{2}{:?}\n{}", route.pattern, exchange.key_extra);
    }
}

impl Route {
    /// This route with what filters chose: the origin by its place among `origins`. `None` where
    /// they chose what the route says anyway.
    pub(super) fn chosen(
        self: &Arc<Self>,
        origin: usize,
        policy: Option<&PolicyChanges>,
    ) -> Option<Arc<Route>> {
        let other = origin.checked_sub(1).and_then(|at| self.others.get(at));
        let Some(policy) = policy else {
            return other.cloned();
        };
        let route = other.unwrap_or(self);
        Some(Arc::new(Route {
            policy: policy.over(&route.policy),
            ..Route::clone(route)
        }))
    }

    /// This route by way of an origin, for an exchange whose key says so.
    ///
    /// # Errors
    /// When a filter could not choose that one.
    pub(super) fn by_way_of(
        self: &Arc<Self>,
        origin: &str,
        exchange: &mut Exchange,
    ) -> Result<Arc<Route>, String> {
        let place = self.origins.iter().position(|name| name == origin);
        let place = place.ok_or_else(|| {
            let known = self.origins.join(", ");
            format!("origin {origin:?} is none of this route's: {known}")
        })?;
        exchange.key_extra = self.key_extra(place, "");
        Ok(self.chosen(place, None).unwrap_or_else(|| Arc::clone(self)))
    }

    /// What stands in a key for an origin by its place among `origins` and for the parts that
    /// filters added. No part has a control character but the line feed at its end, so that none
    /// can pass for an origin.
    pub(super) fn key_extra(&self, origin: usize, parts: &str) -> String {
        match self.origins.get(origin) {
            Some(name) if origin > 0 => format!("\u{1}{name:?}\n{parts}"),
            _ => parts.to_owned(),
        }
    }
}
