//! Filters of the world `filter-values`: copies go in, decisions come out.

use crate::Hooks;
pub use crate::values_bindings::tidegate::plugin::values::{
    Decision, HeaderChange, OriginDecision, RequestChanges, RequestHead, ResponseDecision,
    ResponseHead,
};

/// A filter of one route, alive for one exchange, that is given copies.
///
/// As [`Filter`](crate::Filter), but what a hook wants done it returns. A decision with an operation
/// that is refused is a failure of the filter, and nothing of it is done.
pub trait ValueFilter: Sized + 'static {
    /// The hooks that this filter has.
    fn hooks() -> Hooks;

    /// Makes the filter from the route's configuration, a JSON object.
    ///
    /// # Errors
    /// What is wrong with the configuration.
    fn new(config: &str) -> Result<Self, String>;

    /// Before the cache is looked into.
    fn on_request(&mut self, _request: RequestHead) -> Decision {
        Decision::Continue
    }

    /// When the origin has answered, before its answer is stored.
    fn on_origin_response(
        &mut self,
        _request: RequestHead,
        _response: ResponseHead,
    ) -> OriginDecision {
        unchanged_by_origin()
    }

    /// Before the client gets the response.
    fn on_response(&mut self, _request: RequestHead, _response: ResponseHead) -> ResponseDecision {
        unchanged()
    }
}

/// Changes of a request that change nothing: what to begin with.
pub fn no_changes() -> RequestChanges {
    RequestChanges {
        headers: Vec::new(),
        path_and_query: None,
        cache_key: Vec::new(),
        bypass_cache: false,
        cache_policy: None,
        origin: None,
    }
}

/// A decision that leaves the origin's response and its storing as they are.
pub fn unchanged_by_origin() -> OriginDecision {
    OriginDecision {
        status: None,
        headers: Vec::new(),
        ttl: None,
        stale_while_revalidate: None,
        stale_if_error: None,
        tags: Vec::new(),
        refuse: false,
    }
}

/// A decision that leaves the client's response as it is.
pub fn unchanged() -> ResponseDecision {
    ResponseDecision {
        status: None,
        headers: Vec::new(),
    }
}

/// Runs `hook` on the exchange's filter, which it makes from the route's configuration when this
/// is the first hook. What [`value_filter!`](crate::value_filter) calls.
#[doc(hidden)]
pub fn run<F: ValueFilter, T>(filter: &mut Option<F>, hook: impl FnOnce(&mut F) -> T) -> T {
    let filter = filter.get_or_insert_with(|| {
        F::new(&crate::bindings::tidegate::plugin::config::get())
            .expect("the edge has had this configuration accepted by `configure`")
    });
    hook(filter)
}

/// Exports a [`ValueFilter`] as this component's own.
#[macro_export]
macro_rules! value_filter {
    ($filter:ty) => {
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            use $crate::values::{
                self, Decision, OriginDecision, RequestHead, ResponseDecision, ResponseHead,
                ValueFilter,
            };
            use $crate::values_bindings::{self as bindings, Guest};

            std::thread_local! {
                static FILTER: std::cell::RefCell<Option<$filter>> =
                    const { std::cell::RefCell::new(None) };
            }

            fn run<T>(hook: impl FnOnce(&mut $filter) -> T) -> T {
                FILTER.with_borrow_mut(|filter| values::run(filter, hook))
            }

            struct Component;

            impl Guest for Component {
                fn configure(config: String) -> Result<(), String> {
                    <$filter as ValueFilter>::new(&config).map(drop)
                }

                fn hooks() -> $crate::Hooks {
                    <$filter as ValueFilter>::hooks()
                }

                fn on_request(request: RequestHead) -> Decision {
                    run(|filter| ValueFilter::on_request(filter, request))
                }

                fn on_origin_response(
                    request: RequestHead,
                    response: ResponseHead,
                ) -> OriginDecision {
                    run(|filter| ValueFilter::on_origin_response(filter, request, response))
                }

                fn on_response(request: RequestHead, response: ResponseHead) -> ResponseDecision {
                    run(|filter| ValueFilter::on_response(filter, request, response))
                }
            }

    $crate::values_bindings::export!(Component with_types_in $crate::values_bindings);
        };
    };
}
