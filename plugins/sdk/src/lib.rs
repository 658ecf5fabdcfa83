//! What the author of a Tidegate filter imports.
//!
//! A filter is a type with hooks, made from the route's configuration, and one line that exports
//! it. Built as a `cdylib` for `wasm32-unknown-unknown` and made a component, it runs in the edge.
//!
//! ```
//! use tidegate_sdk::{Filter, Flow, Hooks, Request, filter};
//!
//! #[derive(serde::Deserialize)]
//! struct RequireKey {
//!     header: String,
//! }
//!
//! impl Filter for RequireKey {
//!     fn hooks() -> Hooks {
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
//! Everything that decides can be an ordinary function with ordinary tests: the crate also
//! compiles natively, where only calls to the edge itself are missing.

mod arena;
mod filter;
mod reply;

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

pub use arena::Arena;
pub use bindings::tidegate::plugin::exchange::{Flow, Request, Response, Storing};
pub use bindings::tidegate::plugin::types::{HookSet as Hooks, Refusal, Reply};
pub use bindings::tidegate::plugin::{clock, limits, log, purge};
pub use filter::{Filter, from_json, run};
pub use reply::problem;
