//! Look-ups by key, many in one read: what is asked while a read is under way waits for the next one, and shares it.
//!
//! **No answer is older than its question.** A read that has begun takes nobody else in, also not who asks for a key that
//! it reads: what was written before somebody asked, a lost role above all, is in the read that answers them. Nothing is
//! remembered, so nothing can be stale; an answer is as true as that of a read of one's own.

use std::{
    collections::{HashMap, VecDeque},
    hash::Hash,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use backplane::ServiceError;
use futures_util::future::{BoxFuture, FutureExt as _};
use store::Error;
use tokio::{sync::oneshot, time::timeout};

use crate::errors::{plain, unavailable};

/// Answers for keys of one kind.
pub(crate) struct Gather<K, V>(Arc<Shared<K, V>>);

struct Shared<K, V> {
    read: Box<Read<K, V>>,
    state: Mutex<State<K, V>>,
}

/// What is there of these keys.
type Read<K, V> = dyn Fn(Vec<K>) -> BoxFuture<'static, Found<K, V>> + Send + Sync;
type Found<K, V> = Result<HashMap<K, V>, Error>;
type Answer<V> = Result<Option<V>, Error>;

struct State<K, V> {
    /// In the order of their arrival.
    waiting: VecDeque<(K, oneshot::Sender<Answer<V>>)>,
    /// Somebody takes from those who wait.
    is_reading: bool,
}

impl<K, V> Gather<K, V>
where
    K: Clone + Eq + Hash + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    pub(crate) fn new<F>(read: impl Fn(Vec<K>) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Found<K, V>> + Send + 'static,
    {
        let state = State {
            waiting: VecDeque::new(),
            is_reading: false,
        };
        Self(Arc::new(Shared {
            read: Box::new(move |keys| read(keys).boxed()),
            state: Mutex::new(state),
        }))
    }

    /// What is there under `key`, by a read that begins after this was called.
    ///
    /// # Errors
    /// The store does not answer. That is never "not there", and whoever asks later is not told of it.
    pub(crate) async fn find(&self, key: K) -> Result<Option<V>, ServiceError> {
        let (tell, told) = oneshot::channel();
        let begins = {
            let mut state = self.0.state();
            state.waiting.push_back((key, tell));
            !std::mem::replace(&mut state.is_reading, true)
        };
        if begins {
            // It ends when nobody waits any more. Not this future's own work: that may be dropped.
            tokio::spawn(self.0.clone().read_all());
        }
        match told.await {
            Ok(answer) => answer.map_err(unavailable),
            Err(_) => Err(plain("a look-up has ended without an answer")),
        }
    }
}

impl<K, V> Shared<K, V>
where
    K: Clone + Eq + Hash + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    async fn read_all(self: Arc<Self>) {
        // Who was asked in the same moment comes along.
        tokio::task::yield_now().await;
        while let Some(asked) = self.take() {
            let mut reading = Box::pin(self.clone().answer(asked));
            if timeout(PATIENCE, reading.as_mut()).await.is_err() {
                // Who waits need not wait for a slow one.
                tokio::spawn(reading);
            }
        }
    }

    /// Those who have waited longest, by key; `None` ends the reading.
    fn take(&self) -> Option<Asked<K, V>> {
        let mut state = self.state();
        let mut asked = Asked::new();
        while let Some((key, tell)) = state.waiting.pop_front() {
            asked.entry(key).or_default().push(tell);
            if asked.len() == KEYS_MAX {
                break;
            }
        }
        state.is_reading = !asked.is_empty();
        state.is_reading.then_some(asked)
    }

    async fn answer(self: Arc<Self>, asked: Asked<K, V>) {
        let mut found = (self.read)(asked.keys().cloned().collect()).await;
        for (key, tells) in asked {
            let answer = match &mut found {
                Ok(found) => Ok(found.remove(&key)),
                Err(error) => Err(error.clone()),
            };
            for tell in tells {
                // Who no longer waits is not told.
                let _ = tell.send(answer.clone());
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State<K, V>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

type Asked<K, V> = HashMap<K, Vec<oneshot::Sender<Answer<V>>>>;

/// Keys in one read: MongoDB sends so many documents (and one more) without being asked again.
const KEYS_MAX: usize = 100;
/// How long a read is waited for before the next begins beside it: far longer than one takes, and nothing to a client.
const PATIENCE: Duration = Duration::from_millis(20);

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::*;

    /// A read that has begun: the keys it asks for, and where its answer goes.
    type Begun = (Vec<u32>, oneshot::Sender<Found<u32, u32>>);

    /// Reads wait for the test, which answers them in any order.
    fn gather() -> (Arc<Gather<u32, u32>>, mpsc::Receiver<Begun>) {
        let (begin, begun) = mpsc::channel(100);
        let gather = Gather::new(move |mut keys: Vec<u32>| {
            let (answer, answered) = oneshot::channel();
            keys.sort_unstable();
            begin.try_send((keys, answer)).unwrap();
            async move { answered.await.unwrap() }
        });
        (Arc::new(gather), begun)
    }

    type Asking = tokio::task::JoinHandle<Result<Option<u32>, ServiceError>>;

    /// Asks, and returns when the question waits.
    async fn ask(gather: &Arc<Gather<u32, u32>>, key: u32) -> Asking {
        let (gather, waiting) = (gather.clone(), gather.0.state().waiting.len());
        let asked = gather.clone();
        let asking = tokio::spawn(async move { asked.find(key).await });
        while gather.0.state().waiting.len() == waiting {
            tokio::task::yield_now().await;
        }
        asking
    }

    fn found(pairs: &[(u32, u32)]) -> Found<u32, u32> {
        Ok(pairs.iter().copied().collect())
    }

    /// Time stands still while anything is left to do.
    #[tokio::test(start_paused = true)]
    async fn what_is_asked_during_a_read_is_read_together_after_it() {
        let (gather, mut begun) = gather();
        let first = ask(&gather, 1).await;
        let (keys, answer) = begun.recv().await.unwrap();
        assert_eq!(keys, [1]);
        let mut rest = Vec::new();
        for key in [2, 3, 2] {
            rest.push(ask(&gather, key).await);
        }
        answer.send(found(&[(1, 10)])).unwrap();
        assert_eq!(first.await.unwrap(), Ok(Some(10)));
        let (keys, answer) = begun.recv().await.unwrap();
        assert_eq!(keys, [2, 3], "each once");
        answer.send(found(&[(2, 20)])).unwrap();
        let mut answers = Vec::new();
        for asking in rest {
            answers.push(asking.await.unwrap().unwrap());
        }
        assert_eq!(answers, [Some(20), None, Some(20)]);
    }

    #[tokio::test(start_paused = true)]
    async fn who_asks_after_a_change_is_not_answered_by_a_read_that_began_before_it() {
        let (gather, mut begun) = gather();
        let before = ask(&gather, 1).await;
        let (_, old) = begun.recv().await.unwrap();
        // The read has seen the old value. Now it changes, and then somebody asks for the same.
        let after = ask(&gather, 1).await;
        old.send(found(&[(1, 10)])).unwrap();
        assert_eq!(before.await.unwrap(), Ok(Some(10)));
        let (keys, new) = begun.recv().await.unwrap();
        assert_eq!(keys, [1]);
        new.send(found(&[])).unwrap();
        assert_eq!(after.await.unwrap(), Ok(None));
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_reaches_those_who_have_asked_and_nobody_else() {
        let (gather, mut begun) = gather();
        let first = ask(&gather, 1).await;
        let (_, answer) = begun.recv().await.unwrap();
        let asking = [ask(&gather, 1).await, ask(&gather, 2).await];
        answer.send(found(&[(1, 10)])).unwrap();
        assert_eq!(first.await.unwrap(), Ok(Some(10)));
        let (_, answer) = begun.recv().await.unwrap();
        let folder = std::path::Path::new("/dev/null/folder");
        let error = store::Store::embedded(Some(folder)).unwrap_err();
        answer.send(Err(error)).unwrap();
        for asking in asking {
            assert!(asking.await.unwrap().is_err());
        }
        let later = ask(&gather, 1).await;
        let (_, answer) = begun.recv().await.unwrap();
        answer.send(found(&[(1, 10)])).unwrap();
        assert_eq!(later.await.unwrap(), Ok(Some(10)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_read_holds_up_nobody_but_those_in_it() {
        let (gather, mut begun) = gather();
        let slow = ask(&gather, 1).await;
        let (_, slow_answer) = begun.recv().await.unwrap();
        let quick = ask(&gather, 2).await;
        let (keys, answer) = begun.recv().await.unwrap();
        assert_eq!(keys, [2], "begun although the first has not ended");
        answer.send(found(&[(2, 20)])).unwrap();
        assert_eq!(quick.await.unwrap(), Ok(Some(20)));
        slow_answer.send(found(&[(1, 10)])).unwrap();
        assert_eq!(slow.await.unwrap(), Ok(Some(10)));
    }

    #[tokio::test(start_paused = true)]
    async fn who_no_longer_waits_keeps_nobody_else_waiting() {
        let (gather, mut begun) = gather();
        let gone = ask(&gather, 1).await;
        let (_, answer) = begun.recv().await.unwrap();
        let patient = ask(&gather, 2).await;
        gone.abort();
        assert!(gone.await.unwrap_err().is_cancelled());
        answer.send(found(&[(1, 10)])).unwrap();
        let (_, answer) = begun.recv().await.unwrap();
        answer.send(found(&[(2, 20)])).unwrap();
        assert_eq!(patient.await.unwrap(), Ok(Some(20)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_read_is_for_so_many_keys_at_most_in_the_order_of_asking() {
        let (gather, mut begun) = gather();
        let first = ask(&gather, 0).await;
        let (_, answer) = begun.recv().await.unwrap();
        let many = u32::try_from(KEYS_MAX).unwrap() + 2;
        let mut asking = Vec::new();
        for key in 1..many {
            asking.push(ask(&gather, key).await);
        }
        answer.send(found(&[])).unwrap();
        first.await.unwrap().unwrap();
        let (keys, answer) = begun.recv().await.unwrap();
        assert_eq!(keys, (1..many - 1).collect::<Vec<_>>());
        answer.send(found(&[])).unwrap();
        let (keys, answer) = begun.recv().await.unwrap();
        assert_eq!(keys, [many - 1]);
        answer.send(found(&[])).unwrap();
        for asking in asking {
            assert_eq!(asking.await.unwrap(), Ok(None));
        }
    }
}
