//! What an instance of a component keeps of its filter, from hook to hook and from exchange to exchange.

/// The filter of this instance, and the clone that the exchange has: what
/// [`filter!`](crate::filter) and [`value_filter!`](crate::value_filter) keep.
#[doc(hidden)]
pub struct Instance<F> {
    made: Option<F>,
    exchanges: Option<F>,
}

impl<F: Clone> Instance<F> {
    #[must_use]
    pub const fn new() -> Instance<F> {
        Instance {
            made: None,
            exchanges: None,
        }
    }

    /// Keeps the filter that was made to see whether it can be.
    pub fn keep(&mut self, made: F) {
        self.made = Some(made);
    }

    /// The filter that was kept.
    ///
    /// # Panics
    /// When there is none: the edge asks only what it has configured.
    pub fn made(&self) -> &F {
        let made = self.made.as_ref();
        made.expect("the edge has called `configure` before")
    }

    /// Runs `hook` on the exchange's filter, which is a clone of the instance's where `is_first` says
    /// that this is the exchange's first hook. Asked only where there is something to forget.
    /// `make` makes the instance's, once, from the route's configuration.
    pub fn run<T>(
        &mut self,
        is_first: impl FnOnce() -> bool,
        make: impl FnOnce(&str) -> Result<F, String>,
        configuration: impl FnOnce() -> String,
        hook: impl FnOnce(&mut F) -> T,
    ) -> T {
        if self.exchanges.is_some() && is_first() {
            self.exchanges = None;
        }
        let made = &mut self.made;
        let filter = self.exchanges.get_or_insert_with(|| {
            let made = made.get_or_insert_with(|| {
                make(&configuration())
                    .expect("the edge has had this configuration accepted by `configure`")
            });
            made.clone()
        });
        hook(filter)
    }
}

impl<F: Clone> Default for Instance<F> {
    fn default() -> Instance<F> {
        Instance::new()
    }
}

#[cfg(test)]
mod tests {
    use super::Instance;

    #[derive(Clone)]
    struct Remembers {
        greeting: String,
        client: Option<&'static str>,
    }

    #[test]
    fn an_exchange_finds_its_own_and_nothing_of_the_one_before() {
        let mut instance = Instance::<Remembers>::new();
        let mut configured = 0;
        for client in ["one", "two"] {
            for is_first in [true, false] {
                instance.run(
                    || is_first,
                    |config| {
                        Ok(Remembers {
                            greeting: config.to_owned(),
                            client: None,
                        })
                    },
                    || {
                        configured += 1;
                        "hello".to_owned()
                    },
                    |filter| {
                        assert_eq!(filter.greeting, "hello");
                        assert_eq!(filter.client, (!is_first).then_some(client));
                        filter.client = Some(client);
                        // Also what was configured is this exchange's own.
                        if !is_first {
                            filter.greeting.clear();
                        }
                    },
                );
            }
        }
        assert_eq!(configured, 1);
    }
}
