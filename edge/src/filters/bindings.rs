//! The worlds `filter` and `filter-values`, as generated from their WIT package.
//!
//! Every import may end the guest (`trappable`), since every import is counted; those that wait
//! are async. The three resources stand for parts of the one [`Subject`](super::Subject) in the
//! store, so a handle carries nothing.

#![allow(
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "generated from the WIT package"
)]

wasmtime::component::bindgen!({
    path: "../plugins/wit",
    world: "filter",
    imports: {
        "tidegate:plugin/limits.take": async | trappable,
        "tidegate:plugin/purge.purge": async | trappable,
        "tidegate:plugin/kv.get": async | trappable,
        "tidegate:plugin/kv.exists": async | trappable,
        "tidegate:plugin/kv.set": async | trappable,
        "tidegate:plugin/kv.delete": async | trappable,
        "tidegate:plugin/kv.keys": async | trappable,
        "tidegate:plugin/kv.increment": async | trappable,
        "tidegate:plugin/http.send": async | trappable,
        default: trappable,
    },
    exports: { default: async },
    with: {
        "tidegate:plugin/exchange.request": super::host::Request,
        "tidegate:plugin/exchange.response": super::host::Response,
        "tidegate:plugin/exchange.storing": super::host::Storing,
    },
});

/// The world `filter-values`. What it imports is linked by the other world; what is named here
/// are types that both have in common.
pub(super) mod by_value {
    #![allow(
        dead_code,
        reason = "of interfaces that are not named below, host sides are generated once more"
    )]

    wasmtime::component::bindgen!({
        path: "../plugins/wit",
        world: "filter-values",
        exports: { default: async },
        with: {
            "tidegate:plugin/types": super::tidegate::plugin::types,
            "tidegate:plugin/limits": super::tidegate::plugin::limits,
            "tidegate:plugin/purge": super::tidegate::plugin::purge,
            "tidegate:plugin/log": super::tidegate::plugin::log,
            "tidegate:plugin/clock": super::tidegate::plugin::clock,
            "tidegate:plugin/config": super::tidegate::plugin::config,
            "tidegate:plugin/kv": super::tidegate::plugin::kv,
            "tidegate:plugin/http": super::tidegate::plugin::http,
            "tidegate:plugin/secrets": super::tidegate::plugin::secrets,
            "tidegate:plugin/metrics": super::tidegate::plugin::metrics,
            "tidegate:plugin/random": super::tidegate::plugin::random,
            "tidegate:plugin/instance": super::tidegate::plugin::instance,
        },
    });
}
