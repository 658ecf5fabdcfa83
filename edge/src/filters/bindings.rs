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

/// The exports of the world `filter-values`. What it imports is linked by the other world.
pub(super) mod by_value {
    wasmtime::component::bindgen!({
        path: "../plugins/wit",
        world: "value-hooks",
        exports: { default: async },
        with: { "tidegate:plugin/types": super::tidegate::plugin::types },
    });
}
