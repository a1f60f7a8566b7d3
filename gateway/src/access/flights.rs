//! Answers that many ask for at once: one question under way per key, its answer kept for a moment.

use std::{
    cell::{Cell, RefCell},
    hash::Hash,
    time::{Duration, Instant},
};

use futures_util::future::{FutureExt as _, LocalBoxFuture, Shared};
use hashbrown::HashMap;

use super::Unknown;
use crate::metrics;

/// Questions under way and answers that are still fresh. Failures are never kept.
pub(crate) struct Flights<K, V: Clone> {
    name: &'static str,
    keep: Duration,
    entries_max: usize,
    entries: RefCell<HashMap<K, Flight<V>>>,
    /// Old answers are cleared out when there are so many entries: twice what was still fresh the last time.
    clear_at: Cell<usize>,
}

/// Fewer entries than this are not worth looking through.
const CLEAR_AT_MIN: usize = 1_024;

struct Flight<V: Clone> {
    answer: Shared<LocalBoxFuture<'static, Result<V, Unknown>>>,
    asked: Instant,
}

impl<K: Eq + Hash + Clone, V: Clone + 'static> Flights<K, V> {
    /// `keep` counts from the question, not from the answer: what an answer rests on is never older.
    pub(crate) fn new(name: &'static str, keep: Duration, entries_max: usize) -> Self {
        Self {
            name,
            keep,
            entries_max,
            entries: RefCell::default(),
            clear_at: Cell::new(CLEAR_AT_MIN),
        }
    }

    /// The answer to `key`: from memory, from a question that is under way, or by asking.
    ///
    /// # Errors
    /// `Unknown` if the question failed; all who waited for it hear that.
    pub(crate) async fn ask<F>(&self, key: K, question: impl FnOnce() -> F) -> Result<V, Unknown>
    where
        F: Future<Output = Result<V, Unknown>> + 'static,
    {
        let now = Instant::now();
        let known = {
            let entries = self.entries.borrow();
            entries
                .get(&key)
                .filter(|flight| now - flight.asked < self.keep)
                .map(|flight| flight.answer.clone())
        };
        metrics::cache_asked(self.name, known.is_some());
        let answer = known.unwrap_or_else(|| {
            let answer = question().boxed_local().shared();
            let mut entries = self.entries.borrow_mut();
            if entries.len() >= self.clear_at.get() {
                entries.retain(|_, flight| now - flight.asked < self.keep);
                let next =
                    (entries.len() * 2).clamp(CLEAR_AT_MIN, self.entries_max.max(CLEAR_AT_MIN));
                self.clear_at.set(next);
            }
            if entries.len() < self.entries_max {
                entries.insert(
                    key.clone(),
                    Flight {
                        answer: answer.clone(),
                        asked: now,
                    },
                );
            }
            answer
        });
        let outcome = answer.clone().await;
        if outcome.is_err() {
            let mut entries = self.entries.borrow_mut();
            if entries
                .get(&key)
                .is_some_and(|flight| flight.answer.ptr_eq(&answer))
            {
                entries.remove(&key);
            }
        }
        outcome
    }

    /// Forgets one answer, whether there was one; a question under way goes on for those who wait, later ones ask anew.
    pub(crate) fn forget(&self, key: &K) -> bool {
        self.entries.borrow_mut().remove(key).is_some()
    }

    /// Forgets every answer whose key is meant.
    pub(crate) fn forget_if(&self, meant: impl Fn(&K) -> bool) {
        self.entries.borrow_mut().retain(|key, _| !meant(key));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "local", start_paused = true)]
    async fn answers_that_are_too_old_to_be_used_are_not_kept() {
        let flights = Flights::new("test", Duration::ZERO, 1_000_000);
        for key in 0..100_000 {
            assert_eq!(flights.ask(key, || async { Ok(true) }).await, Ok(true));
        }
        assert!(flights.entries.borrow().len() < 10_000);
    }
}
