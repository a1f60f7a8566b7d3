//! Questions that many ask at once: one of them goes out per key, and all get its answer.

use std::{cell::RefCell, hash::Hash};

use futures_util::future::{FutureExt as _, LocalBoxFuture, Shared};
use hashbrown::HashMap;

/// Questions under way. Nothing is kept behind the answer: what may be remembered is for `state` to say.
pub(crate) struct Flights<K, V: Clone>(RefCell<HashMap<K, Shared<LocalBoxFuture<'static, V>>>>);

impl<K, V: Clone> Default for Flights<K, V> {
    fn default() -> Self {
        Self(RefCell::default())
    }
}

impl<K: Eq + Hash + Clone, V: Clone + 'static> Flights<K, V> {
    /// The answer to `key`: of the question that is under way, or of this one.
    pub(crate) async fn ask<F>(&self, key: K, question: impl FnOnce() -> F) -> V
    where
        F: Future<Output = V> + 'static,
    {
        let known = self.0.borrow().get(&key).cloned();
        let flight = known.unwrap_or_else(|| {
            let flight = question().boxed_local().shared();
            self.0.borrow_mut().insert(key.clone(), flight.clone());
            flight
        });
        // The flight ends with its answer, or with the last one who waits for it.
        let _landed = Landed {
            flights: self,
            key: &key,
            flight: &flight,
        };
        flight.clone().await
    }

    /// How many are under way.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.0.borrow().len()
    }
}

struct Landed<'a, K: Eq + Hash, V: Clone + 'static> {
    flights: &'a Flights<K, V>,
    key: &'a K,
    flight: &'a Shared<LocalBoxFuture<'static, V>>,
}

impl<K: Eq + Hash, V: Clone + 'static> Drop for Landed<'_, K, V> {
    fn drop(&mut self) {
        let mut flights = self.flights.0.borrow_mut();
        let Some(known) = flights.get(self.key) else {
            return;
        };
        // Three: the table's, the one that is awaited and this one. Of a flight that has landed any of them says so.
        let is_last = known.strong_count().is_none_or(|count| count <= 3);
        if known.ptr_eq(self.flight) && (is_last || known.peek().is_some()) {
            flights.remove(self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, rc::Rc, time::Duration};

    use super::*;

    #[tokio::test(flavor = "local", start_paused = true)]
    async fn many_who_ask_at_once_get_one_answer_and_leave_nothing() {
        let (flights, asked) = (Rc::new(Flights::default()), Rc::new(Cell::new(0)));
        let ask = || {
            let (flights, asked) = (flights.clone(), asked.clone());
            tokio::task::spawn_local(async move {
                let question = || async move {
                    asked.set(asked.get() + 1);
                    tokio::time::sleep(Duration::from_secs(1)).await;
                    7
                };
                flights.ask("key", question).await
            })
        };
        let all = [ask(), ask(), ask()];
        tokio::task::yield_now().await;
        all[0].abort();
        for one in all.into_iter().skip(1) {
            assert_eq!(one.await.ok(), Some(7));
        }
        assert_eq!((asked.get(), flights.len()), (1, 0));
        let alone = ask();
        tokio::task::yield_now().await;
        alone.abort();
        let _ = alone.await;
        assert_eq!((asked.get(), flights.len()), (2, 0));
    }
}
