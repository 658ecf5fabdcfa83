//! Questions that many ask at once, and that the servers are asked once.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Mutex;

/// One question, of which one at a time is under way. Whoever comes meanwhile shares the next answer with all who do: an
/// answer is never older than the asking.
pub(crate) struct Shared<T> {
    begun: AtomicU64,
    /// The last answer, and which asking it is of.
    answer: Mutex<Option<(u64, T)>>,
}

impl<T> Default for Shared<T> {
    fn default() -> Self {
        Self {
            begun: AtomicU64::new(0),
            answer: Mutex::new(None),
        }
    }
}

impl<T: Clone> Shared<T> {
    pub(crate) async fn ask(&self, question: impl Future<Output = T>) -> T {
        let before = self.begun.load(Ordering::Acquire);
        let mut last = self.answer.lock().await;
        if let Some((number, answer)) = &*last
            && *number > before
        {
            return answer.clone();
        }
        let number = self.begun.fetch_add(1, Ordering::AcqRel) + 1;
        let answer = question.await;
        *last = Some((number, answer.clone()));
        answer
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::sync::Semaphore;

    use super::*;

    #[tokio::test]
    async fn those_who_come_meanwhile_share_one_answer_and_none_older_than_their_question() {
        let shared = Arc::new(Shared::default());
        let (asked, go) = (Arc::new(AtomicU64::new(0)), Arc::new(Semaphore::new(0)));
        let question = || {
            let (asked, go) = (asked.clone(), go.clone());
            async move {
                let number = asked.fetch_add(1, Ordering::Relaxed);
                go.acquire().await.expect("nobody closes it").forget();
                number
            }
        };
        let ask = || {
            let (shared, question) = (shared.clone(), question());
            tokio::spawn(async move { shared.ask(question).await })
        };
        let first = ask();
        while asked.load(Ordering::Relaxed) == 0 {
            tokio::task::yield_now().await;
        }
        // On this runtime of one thread they are all there before the first is answered.
        let others: Vec<_> = (0..5).map(|_| ask()).collect();
        tokio::task::yield_now().await;
        go.add_permits(10);
        assert_eq!(first.await.expect("it does not panic"), 0);
        for other in others {
            assert_eq!(other.await.expect("it does not panic"), 1);
        }
        assert_eq!(asked.load(Ordering::Relaxed), 2);
    }
}
