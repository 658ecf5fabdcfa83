//! For how long a request's head may be on its way: one timer for all heads of a connection.
//!
//! hyper asks for a timer before each head and drops it with the head. Set and unset for each, one
//! costs a request more than finding its route does. This one stays set for an earlier head: it wakes
//! its connection too soon, and is then set anew for the head that is awaited.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant as StdInstant};

use hyper::rt::{Sleep, Timer};
use tokio::time::Instant;

/// The timer of one connection, whose task is the only one that waits for it. Cheap to clone.
#[derive(Clone, Default)]
pub(super) struct HeadTimer(Arc<Mutex<Option<Pin<Box<tokio::time::Sleep>>>>>);

/// Until one head has to be there.
struct HeadSleep {
    timer: HeadTimer,
    deadline: Instant,
}

impl Timer for HeadTimer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        self.sleep_until(self.now() + duration)
    }

    fn sleep_until(&self, deadline: StdInstant) -> Pin<Box<dyn Sleep>> {
        Box::pin(HeadSleep {
            timer: self.clone(),
            deadline: Instant::from_std(deadline),
        })
    }

    fn now(&self) -> StdInstant {
        Instant::now().into_std()
    }
}

impl Sleep for HeadSleep {}

impl Future for HeadSleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let mut timer = self.timer.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *timer {
            Some(sleep) if !sleep.is_elapsed() && sleep.deadline() <= self.deadline => {
                return Poll::Pending;
            }
            Some(sleep) => sleep.as_mut().reset(self.deadline),
            None => *timer = Some(Box::pin(tokio::time::sleep_until(self.deadline))),
        }
        let sleep = timer.as_mut().expect("it was set just now");
        sleep.as_mut().poll(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether a sleep is over when its task looks.
    async fn is_over(sleep: &mut Pin<Box<dyn Sleep>>) -> bool {
        std::future::poll_fn(|context| Poll::Ready(sleep.as_mut().poll(context).is_ready())).await
    }

    #[tokio::test]
    async fn each_head_has_its_own_deadline() {
        let timer = HeadTimer::default();
        let hour = Duration::from_secs(3_600);
        let mut first = timer.sleep(hour);
        assert!(!is_over(&mut first).await);
        drop(first);
        let mut sooner = timer.sleep(Duration::ZERO);
        sooner.as_mut().await;
        let mut next = timer.sleep(hour);
        assert!(!is_over(&mut next).await, "the last one's end is not its");
        drop(next);
        // Set for that one, it is early for this one, which ends all the same.
        timer.sleep(Duration::from_millis(1)).as_mut().await;
        let early = timer.sleep(Duration::from_millis(1));
        assert!(!is_over(&mut timer.sleep(hour)).await);
        early.await;
    }

    #[tokio::test]
    async fn a_timer_that_is_set_too_early_is_set_again() {
        let timer = HeadTimer::default();
        let start = timer.now();
        let mut early = timer.sleep_until(start + Duration::from_millis(1));
        let mut late = timer.sleep_until(start + Duration::from_millis(20));
        // Set for the earlier one, whether that is over by now or not.
        is_over(&mut early).await;
        drop(early);
        late.as_mut().await;
        assert!(timer.now() >= start + Duration::from_millis(20));
    }
}
