//! What the author of a Tidegate filter imports.
//!
//! A filter is a type with hooks, made from the route's configuration, and one line that exports
//! it. Built as a `cdylib` for `wasm32-unknown-unknown` and made a component, it runs in the edge.
//!
//! ```
//! use tidegate_sdk::{Filter, Flow, Hooks, Request, filter};
//!
//! #[derive(Clone, serde::Deserialize)]
//! struct RequireKey {
//!     header: String,
//! }
//!
//! impl Filter for RequireKey {
//!     fn hooks(&self) -> Hooks {
//!         Hooks::ON_REQUEST
//!     }
//!
//!     fn new(config: &str) -> Result<Self, String> {
//!         tidegate_sdk::from_json(config)
//!     }
//!
//!     fn on_request(&mut self, request: &Request) -> Flow {
//!         match request.header(&self.header) {
//!             Some(_) => Flow::Continue,
//!             None => Flow::Respond(tidegate_sdk::problem(401, "a key is required")),
//!         }
//!     }
//! }
//!
//! filter!(RequireKey);
//! # fn main() {}
//! ```
//!
//! A filter of the by-value world is written in the same way with what is in [`values`]. It is the
//! world for other languages; in Rust it costs more and gives nothing in return.
//!
//! Everything that decides can be an ordinary function with ordinary tests: the crate also
//! compiles natively, where only calls to the edge itself are missing.

mod arena;
mod filter;
mod instance;
mod path;
mod pattern;
mod reply;
pub mod values;

#[doc(hidden)]
pub mod bindings {
    //! The world `filter`, as generated.
    #![allow(
        missing_docs,
        unreachable_pub,
        clippy::unwrap_used,
        reason = "generated from the WIT package"
    )]
    wit_bindgen::generate!({
        path: "../wit",
        world: "filter",
        pub_export_macro: true,
        export_macro_name: "export",
        default_bindings_module: "tidegate_sdk::bindings",
    });
}

#[doc(hidden)]
pub mod values_bindings {
    //! The world `filter-values`, as generated.
    #![allow(
        missing_docs,
        unreachable_pub,
        clippy::too_many_arguments,
        clippy::unwrap_used,
        reason = "generated from the WIT package"
    )]
    wit_bindgen::generate!({
        path: "../wit",
        world: "filter-values",
        pub_export_macro: true,
        export_macro_name: "export",
        default_bindings_module: "tidegate_sdk::values_bindings",
        with: {
            "tidegate:plugin/types@0.1.0": crate::bindings::tidegate::plugin::types,
            "tidegate:plugin/limits@0.1.0": crate::bindings::tidegate::plugin::limits,
            "tidegate:plugin/purge@0.1.0": crate::bindings::tidegate::plugin::purge,
            "tidegate:plugin/log@0.1.0": crate::bindings::tidegate::plugin::log,
            "tidegate:plugin/clock@0.1.0": crate::bindings::tidegate::plugin::clock,
            "tidegate:plugin/config@0.1.0": crate::bindings::tidegate::plugin::config,
            "tidegate:plugin/kv@0.1.0": crate::bindings::tidegate::plugin::kv,
            "tidegate:plugin/http@0.1.0": crate::bindings::tidegate::plugin::http,
            "tidegate:plugin/secrets@0.1.0": crate::bindings::tidegate::plugin::secrets,
            "tidegate:plugin/metrics@0.1.0": crate::bindings::tidegate::plugin::metrics,
            "tidegate:plugin/random@0.1.0": crate::bindings::tidegate::plugin::random,
            "tidegate:plugin/instance@0.1.0": crate::bindings::tidegate::plugin::instance,
            "tidegate:plugin/delivery@0.1.0": crate::bindings::tidegate::plugin::delivery,
        },
    });
}

pub use arena::Arena;
pub use bindings::tidegate::plugin::exchange::{Flow, Request, Response, Storing};
pub use bindings::tidegate::plugin::instance::is_first_hook;
pub use bindings::tidegate::plugin::types::{CachePolicy, HookSet as Hooks, Refusal, Reply};
pub use bindings::tidegate::plugin::{
    clock, delivery, http, kv, limits, log, metrics, purge, random, secrets,
};
pub use filter::{Filter, from_json};
pub use instance::Instance;
pub use path::normalized_path;
pub use pattern::{Captures, Pattern, decoded_segment};
pub use reply::problem;
