//! The trait that a filter implements, and the macro that exports it.

use crate::{Flow, Hooks, Request, Response, Storing};

/// A filter of one route.
///
/// The edge calls only the hooks named by [`Filter::hooks`]. An instance of the component serves
/// one exchange at a time, and as many one after the other as the operator allows it (`reuse`).
/// [`Filter::new`] runs once for an instance; each exchange then has a clone of what it made. So
/// what a hook keeps in `self` is there in the later hooks of the same exchange, and gone with it.
/// What shall outlive an exchange is kept on purpose: behind an `Rc`, or in a `static`. It is seen
/// by whoever this instance serves next, so nothing of a client's belongs there; and it may be gone
/// at any time, since instances are dropped and made anew.
pub trait Filter: Clone + 'static {
    /// The hooks that this filter has, as it is configured: `Hooks::ON_REQUEST | Hooks::ON_RESPONSE`.
    /// One that it does not need now costs nothing; one for responses costs an instance that is held while
    /// the origin is asked.
    fn hooks(&self) -> Hooks;

    /// Makes the filter from the route's configuration, a JSON object.
    ///
    /// # Errors
    /// What is wrong with the configuration; the edge then refuses it as a whole, at start and
    /// not in front of a client.
    fn new(config: &str) -> Result<Self, String>;

    /// Before the cache is looked into. What the response shall carry can be said here already, with
    /// [`delivery`](crate::delivery): cheaper than `on_response`, where that is all it would do.
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

/// Exports a [`Filter`] as this component's own.
#[macro_export]
macro_rules! filter {
    ($filter:ty) => {
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            use $crate::bindings::{self, Guest};

            std::thread_local! {
                static INSTANCE: std::cell::RefCell<$crate::Instance<$filter>> =
                    const { std::cell::RefCell::new($crate::Instance::new()) };
            }

            fn run<T>(is_first: impl FnOnce() -> bool, hook: impl FnOnce(&mut $filter) -> T) -> T {
                INSTANCE.with_borrow_mut(|instance| {
                    let make = <$filter as $crate::Filter>::new;
                    instance.run(
                        is_first,
                        make,
                        bindings::tidegate::plugin::config::get,
                        hook,
                    )
                })
            }

            struct Component;

            impl Guest for Component {
                fn configure(config: String) -> Result<(), String> {
                    let filter = <$filter as $crate::Filter>::new(&config)?;
                    INSTANCE.with_borrow_mut(|instance| instance.keep(filter));
                    Ok(())
                }

                fn hooks() -> $crate::Hooks {
                    INSTANCE.with_borrow(|instance| $crate::Filter::hooks(instance.made()))
                }

                fn on_request(request: &$crate::Request) -> $crate::Flow {
                    // No hook of an exchange comes before this one.
                    run(
                        || true,
                        |filter| $crate::Filter::on_request(filter, request),
                    )
                }

                fn on_origin_response(
                    request: &$crate::Request,
                    response: &$crate::Response,
                    storing: &$crate::Storing,
                ) {
                    run($crate::is_first_hook, |filter| {
                        $crate::Filter::on_origin_response(filter, request, response, storing)
                    });
                }

                fn on_response(request: &$crate::Request, response: &$crate::Response) {
                    run($crate::is_first_hook, |filter| {
                        $crate::Filter::on_response(filter, request, response)
                    });
                }
            }

    $crate::bindings::export!(Component with_types_in $crate::bindings);
        };
    };
}
