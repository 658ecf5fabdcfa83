//! The trait that a filter implements, and the macro that exports it.

use crate::bindings::tidegate::plugin::config;
use crate::{Flow, Hooks, Request, Response, Storing};

/// A filter of one route, alive for one exchange.
///
/// The edge calls only the hooks named by [`Filter::hooks`]. What a hook keeps in `self` is there
/// in the later hooks of the same exchange.
pub trait Filter: Sized + 'static {
    /// The hooks that this filter has: `Hooks::ON_REQUEST | Hooks::ON_RESPONSE`.
    fn hooks() -> Hooks;

    /// Makes the filter from the route's configuration, a JSON object.
    ///
    /// # Errors
    /// What is wrong with the configuration; the edge then refuses it as a whole, at start and
    /// not in front of a client.
    fn new(config: &str) -> Result<Self, String>;

    /// Before the cache is looked into.
    fn on_request(&mut self, _request: &Request) -> Flow {
        Flow::Continue
    }

    /// When the origin has answered, before its answer is stored.
    fn on_origin_response(&mut self, _request: &Request, _response: &Response, _storing: &Storing) {
    }

    /// Before the client gets the response.
    fn on_response(&mut self, _request: &Request, _response: &Response) {}
}

/// Reads a configuration into a type of the filter's own.
///
/// # Errors
/// What is wrong, with line and column.
pub fn from_json<T: serde::de::DeserializeOwned>(config: &str) -> Result<T, String> {
    serde_json::from_str(config).map_err(|error| error.to_string())
}

/// Runs `hook` on the exchange's filter, which it makes from the route's configuration when this
/// is the first hook. What [`filter!`](crate::filter) calls.
#[doc(hidden)]
pub fn run<F: Filter, T>(filter: &mut Option<F>, hook: impl FnOnce(&mut F) -> T) -> T {
    let filter = filter.get_or_insert_with(|| {
        F::new(&config::get()).expect("the edge has had this configuration accepted by `configure`")
    });
    hook(filter)
}

/// Exports a [`Filter`] as this component's own.
#[macro_export]
macro_rules! filter {
    ($filter:ty) => {
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            use $crate::bindings::{self, Guest};

            std::thread_local! {
                static FILTER: std::cell::RefCell<Option<$filter>> =
                    const { std::cell::RefCell::new(None) };
            }

            fn run<T>(hook: impl FnOnce(&mut $filter) -> T) -> T {
                FILTER.with_borrow_mut(|filter| $crate::run(filter, hook))
            }

            struct Component;

            impl Guest for Component {
                fn configure(config: String) -> Result<(), String> {
                    <$filter as $crate::Filter>::new(&config).map(drop)
                }

                fn hooks() -> $crate::Hooks {
                    <$filter as $crate::Filter>::hooks()
                }

                fn on_request(request: &$crate::Request) -> $crate::Flow {
                    run(|filter| $crate::Filter::on_request(filter, request))
                }

                fn on_origin_response(
                    request: &$crate::Request,
                    response: &$crate::Response,
                    storing: &$crate::Storing,
                ) {
                    run(|filter| {
                        $crate::Filter::on_origin_response(filter, request, response, storing)
                    });
                }

                fn on_response(request: &$crate::Request, response: &$crate::Response) {
                    run(|filter| $crate::Filter::on_response(filter, request, response));
                }
            }

    $crate::bindings::export!(Component with_types_in $crate::bindings);
        };
    };
}
