//! Compiling: what two configurations, or two names in one, have in common is compiled once; several
//! components at once, each on one core.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;

use super::source::Binary;
use crate::config::Sum;

/// The components of one kind of guests that are in use, by their bytes' sum.
pub(crate) struct InUse<T>(Mutex<BTreeMap<Sum, Place<T>>>);

/// One of them. Held while it is compiled.
type Place<T> = Arc<Mutex<Weak<T>>>;

impl<T> InUse<T> {
    pub(crate) const fn new() -> InUse<T> {
        InUse(Mutex::new(BTreeMap::new()))
    }

    /// Compiles a component, unless the same bytes are in use already. Waits where they are being
    /// compiled.
    ///
    /// # Errors
    /// What compiling says.
    pub(crate) fn or_compile<E>(
        &self,
        binary: &Binary,
        compile: impl FnOnce() -> Result<T, E>,
    ) -> Result<Arc<T>, E> {
        let place = self.place(binary.sha256);
        let mut compiled = locked(&place);
        if let Some(compiled) = compiled.upgrade() {
            return Ok(compiled);
        }
        let new = Arc::new(compile()?);
        *compiled = Arc::downgrade(&new);
        Ok(new)
    }

    fn place(&self, sum: Sum) -> Place<T> {
        let mut places = locked(&self.0);
        places.retain(|_, place| {
            let is_wanted = Arc::strong_count(place) > 1;
            is_wanted || locked(place).strong_count() > 0
        });
        Arc::clone(places.entry(sum).or_default())
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Does the same with each item, with several at once: as many as there are cores.
///
/// # Errors
/// What the first of them says, in their order, that went wrong.
pub(crate) fn with_each<T: Send, R: Send, E: Send>(
    items: impl IntoIterator<Item = T>,
    work: impl Fn(T) -> Result<R, E> + Sync,
) -> Result<Vec<R>, E> {
    let items: Vec<T> = items.into_iter().collect();
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let threads = cores.min(items.len());
    let items = Mutex::new(items.into_iter().enumerate());
    let work_off = || {
        let mut done = Vec::new();
        loop {
            // Not held while it is worked on.
            let item = locked(&items).next();
            match item {
                Some((at, item)) => done.push((at, work(item))),
                None => return done,
            }
        }
    };
    let mut done = thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work_off)).collect();
        let done = threads.into_iter().flat_map(|thread| match thread.join() {
            Ok(done) => done,
            Err(panic) => std::panic::resume_unwind(panic),
        });
        done.collect::<Vec<_>>()
    });
    done.sort_unstable_by_key(|(at, _)| *at);
    done.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;
    use std::convert::Infallible;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    fn binary(number: u8) -> Binary {
        Binary {
            file: String::new(),
            bytes: Cow::Borrowed(b""),
            sha256: Sum::new([number; 32]),
        }
    }

    #[test]
    fn what_is_wanted_several_times_at_once_is_compiled_once() {
        let (in_use, compiled) = (InUse::new(), AtomicU32::new(0));
        let one = || {
            in_use.or_compile(&binary(1), || {
                compiled.fetch_add(1, Ordering::Relaxed);
                Ok::<_, Infallible>(())
            })
        };
        let all = thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(one)).collect();
            let all = threads.into_iter().map(|thread| thread.join());
            all.collect::<Vec<_>>()
        });
        assert_eq!((all.len(), compiled.load(Ordering::Relaxed)), (8, 1));
        // What nobody uses is forgotten.
        drop(all);
        assert!(in_use.or_compile(&binary(2), || Err(())).is_err());
        assert!(one().is_ok());
        assert_eq!(locked(&in_use.0).len(), 1);
        assert_eq!(compiled.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn results_are_in_order_and_the_first_error_counts() {
        let double = |number: u32| Ok::<_, Infallible>(number * 2);
        assert_eq!(with_each(0..100, double), Ok((0..200).step_by(2).collect()));
        assert_eq!(with_each([], double), Ok(Vec::new()));
        let fails = |number: u32| if number % 7 == 6 { Err(number) } else { Ok(()) };
        assert_eq!(with_each(0..100, fails), Err(6));
    }
}
