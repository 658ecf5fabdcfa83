//! By which URLs purges and entries find each other: what the key policy of the route that a URL
//! takes leaves of it.

use std::borrow::Cow;
use std::sync::Arc;

use crate::cache::KeyPolicy;
use crate::config::Route;
use crate::purge::{Canonical, host_of, url};
use crate::router::Router;

/// The key policies, by the URLs that they are for.
pub(super) struct Urls {
    policies: Router<Option<Arc<KeyPolicy>>>,
}

impl Urls {
    /// Of these routes, with the policies in their order; `None` where all URLs stay as they are.
    pub(super) fn new(routes: &[Route], policies: &[Option<Arc<KeyPolicy>>]) -> Option<Urls> {
        let changes = |policy: &&Arc<KeyPolicy>| policy.changes_queries();
        policies.iter().flatten().find(changes)?;
        let routes = routes.iter().zip(policies);
        let routes = routes.map(|(route, policy)| {
            let policy = policy.as_ref().filter(changes).cloned();
            (route.host.clone(), route.path.clone(), policy)
        });
        Some(Urls {
            policies: Router::new(routes),
        })
    }

    fn policy(&self, authority: &str, path_and_query: &str) -> Option<&KeyPolicy> {
        let path = path_and_query.split('?').next().unwrap_or(path_and_query);
        self.policies.find(authority, path).ok()?.as_deref()
    }
}

impl Canonical for Urls {
    fn url<'a>(&self, written: &'a str) -> Cow<'a, str> {
        let (authority, path_and_query) = written.split_at(host_of(written).len());
        let Some(policy) = self.policy(authority, path_and_query) else {
            return Cow::Borrowed(written);
        };
        match policy.path_and_query(path_and_query) {
            Cow::Borrowed(_) => Cow::Borrowed(written),
            Cow::Owned(canonical) => Cow::Owned(url(authority, &canonical)),
        }
    }

    /// A prefix that ends within a query says how the query is written, which does not count where
    /// a policy has its say: then it is the prefix up to there.
    fn prefix<'a>(&self, prefix: &'a str) -> Cow<'a, str> {
        let (authority, path_and_query) = prefix.split_at(host_of(prefix).len());
        match prefix.find('?') {
            Some(at) if self.policy(authority, path_and_query).is_some() => {
                Cow::Borrowed(&prefix[..at])
            }
            _ => Cow::Borrowed(prefix),
        }
    }
}
