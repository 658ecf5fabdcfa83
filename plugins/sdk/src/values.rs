//! Filters of the world `filter-values`: copies go in, decisions come out.

use crate::Hooks;
pub use crate::values_bindings::tidegate::plugin::values::{
    Decision, HeaderChange, OriginDecision, RequestChanges, RequestHead, ResponseDecision,
    ResponseHead,
};

/// A filter of one route that is given copies.
///
/// As [`Filter`](crate::Filter), each exchange has a clone of what [`ValueFilter::new`] made; but what a hook wants done it returns. A decision with an operation
/// that is refused is a failure of the filter, and nothing of it is done.
pub trait ValueFilter: Clone + 'static {
    /// The hooks that this filter has, as it is configured.
    fn hooks(&self) -> Hooks;

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

/// Exports a [`ValueFilter`] as this component's own.
#[macro_export]
macro_rules! value_filter {
    ($filter:ty) => {
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            use $crate::values::{
                Decision, OriginDecision, RequestHead, ResponseDecision, ResponseHead, ValueFilter,
            };
            use $crate::values_bindings::{self as bindings, Guest};

            std::thread_local! {
                static INSTANCE: std::cell::RefCell<$crate::Instance<$filter>> =
                    const { std::cell::RefCell::new($crate::Instance::new()) };
            }

            fn run<T>(is_first: impl FnOnce() -> bool, hook: impl FnOnce(&mut $filter) -> T) -> T {
                INSTANCE.with_borrow_mut(|instance| {
                    let make = <$filter as ValueFilter>::new;
                    let configuration = $crate::bindings::tidegate::plugin::config::get;
                    instance.run(is_first, make, configuration, hook)
                })
            }

            struct Component;

            impl Guest for Component {
                fn configure(config: String) -> Result<(), String> {
                    let filter = <$filter as ValueFilter>::new(&config)?;
                    INSTANCE.with_borrow_mut(|instance| instance.keep(filter));
                    Ok(())
                }

                fn hooks() -> $crate::Hooks {
                    INSTANCE.with_borrow(|instance| ValueFilter::hooks(instance.made()))
                }

                fn on_request(request: RequestHead) -> Decision {
                    // No hook of an exchange comes before this one.
                    run(|| true, |filter| ValueFilter::on_request(filter, request))
                }

                fn on_origin_response(
                    request: RequestHead,
                    response: ResponseHead,
                ) -> OriginDecision {
                    run($crate::is_first_hook, |filter| {
                        ValueFilter::on_origin_response(filter, request, response)
                    })
                }

                fn on_response(request: RequestHead, response: ResponseHead) -> ResponseDecision {
                    run($crate::is_first_hook, |filter| {
                        ValueFilter::on_response(filter, request, response)
                    })
                }
            }

    $crate::values_bindings::export!(Component with_types_in $crate::values_bindings);
        };
    };
}
