//! How a model is checked: whole, or until something is wrong.

use std::fmt::Debug;
use std::hash::Hash;

use stateright::{Checker, HasDiscoveries, Model};

/// Tries every state of a model. Every property has to hold, and what shall be possible has to be.
pub fn holds<M>(name: &str, model: M)
where
    M: Model + Send + Sync + 'static,
    M::State: Clone + Debug + Hash + PartialEq + Send + Sync + 'static,
    M::Action: Clone + Debug + PartialEq + Send + Sync + 'static,
{
    let checker = model.checker().threads(2).spawn_bfs().join();
    println!("{name}: {} states", checker.unique_state_count());
    checker.assert_properties();
}

/// Whether these hold in every state.
pub fn finds_nothing<M>(model: M, properties: &[&'static str]) -> bool
where
    M: Model + Send + Sync + 'static,
    M::State: Clone + Debug + Hash + PartialEq + Send + Sync + 'static,
    M::Action: Clone + Debug + PartialEq + Send + Sync + 'static,
{
    let checker = model
        .checker()
        .threads(2)
        .finish_when(HasDiscoveries::AnyOf(properties.iter().copied().collect()))
        .spawn_bfs()
        .join();
    let found = checker.discoveries();
    let mut broken = properties
        .iter()
        .filter_map(|name| found.get_key_value(name));
    let counterexample = broken.next();
    if let Some((name, path)) = counterexample {
        println!("{name}: {:?}", path.clone().into_actions());
    }
    counterexample.is_none()
}

/// Whether each of these is so in some state.
pub fn are_possible<M>(model: M, properties: &[&'static str]) -> bool
where
    M: Model + Send + Sync + 'static,
    M::State: Clone + Debug + Hash + PartialEq + Send + Sync + 'static,
    M::Action: Clone + Debug + PartialEq + Send + Sync + 'static,
{
    let checker = model
        .checker()
        .threads(2)
        .finish_when(HasDiscoveries::AllOf(properties.iter().copied().collect()))
        .spawn_bfs()
        .join();
    let found = checker.discoveries();
    properties.iter().all(|name| found.contains_key(name))
}
