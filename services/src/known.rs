//! One thing that is read from the database and kept true by events.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use backplane::ServiceError;
use store::Error;

use crate::errors::{plain, unavailable};

/// Holds a value from the read that found it until an event changes it or makes it doubtful. A read during which an
/// event came is not kept: nobody knows on which side of the change it stood.
pub(crate) struct Known<T> {
    state: Mutex<State<T>>,
    /// One read at a time. The last failure stays here for those who have waited for it.
    reading: tokio::sync::Mutex<Option<Failure>>,
}

struct State<T> {
    value: Option<Arc<T>>,
    /// Moves with every event.
    version: u64,
}

struct Failure {
    at: Instant,
    error: ServiceError,
}

impl<T: Clone> Known<T> {
    /// What is known, or else what `read` finds; whoever asks meanwhile waits for the same read and shares its failure.
    ///
    /// # Errors
    /// The store does not answer. Errors are never remembered for those who ask later.
    pub(crate) async fn get_or_read<F: Future<Output = Result<T, Error>>>(
        &self,
        read: impl Fn() -> F,
    ) -> Result<Arc<T>, ServiceError> {
        if let Some(value) = self.state().value.clone() {
            return Ok(value);
        }
        let asked = Instant::now();
        let mut last_failure = self.reading.lock().await;
        for _ in 0..TRIES {
            let version = match &*self.state() {
                State {
                    value: Some(value), ..
                } => return Ok(value.clone()),
                state => state.version,
            };
            if let Some(failure) = last_failure.as_ref().filter(|last| last.at >= asked) {
                return Err(failure.error.clone());
            }
            match read().await {
                Ok(value) => self.keep(value, version),
                Err(error) => {
                    let error = unavailable(error);
                    *last_failure = Some(Failure {
                        at: Instant::now(),
                        error: error.clone(),
                    });
                    return Err(error);
                }
            }
        }
        Err(plain("this changes faster than it can be read"))
    }

    /// Reads again, in case an event was missed; until then, and if that fails, what is known holds.
    pub(crate) async fn refresh(&self, read: impl Future<Output = Result<T, Error>>) {
        let version = self.state().version;
        match read.await {
            Ok(value) => self.keep(value, version),
            Err(error) => tracing::warn!(%error, "cannot read again what events keep true"),
        }
    }

    /// An event says what is different now.
    pub(crate) fn change(&self, change: impl FnOnce(&mut T)) {
        let mut state = self.state();
        state.version += 1;
        if let Some(value) = &mut state.value {
            change(Arc::make_mut(value));
        }
    }

    /// An event says what holds now.
    pub(crate) fn set(&self, value: T) {
        let mut state = self.state();
        state.version += 1;
        state.value = Some(Arc::new(value));
    }

    /// Something is different and nobody says what: nothing is known until it was read again.
    pub(crate) fn forget(&self) {
        let mut state = self.state();
        state.version += 1;
        state.value = None;
    }

    fn keep(&self, value: T, version: u64) {
        let mut state = self.state();
        if state.version == version {
            state.value = Some(Arc::new(value));
        }
    }

    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Default for Known<T> {
    fn default() -> Self {
        Self {
            state: Mutex::new(State {
                value: None,
                version: 0,
            }),
            reading: tokio::sync::Mutex::default(),
        }
    }
}

/// Reads in a row that an event may spoil.
const TRIES: usize = 10;

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use tokio::sync::Semaphore;

    use super::*;

    /// Counts reads, and lets each wait for a permit.
    struct Source {
        gate: Semaphore,
        reads: AtomicU32,
    }

    impl Source {
        fn new(permits: usize) -> Self {
            Self {
                gate: Semaphore::new(permits),
                reads: AtomicU32::new(0),
            }
        }

        async fn read(&self) -> Result<u32, Error> {
            let number = self.reads.fetch_add(1, Ordering::Relaxed);
            self.gate.acquire().await.unwrap().forget();
            Ok(number)
        }
    }

    #[tokio::test]
    async fn those_who_ask_at_once_share_one_read() {
        let (known, source) = (Known::default(), Source::new(1));
        let ask = || known.get_or_read(|| source.read());
        let (a, b, c) = tokio::join!(ask(), ask(), ask());
        assert_eq!((*a.unwrap(), *b.unwrap(), *c.unwrap()), (0, 0, 0));
        assert_eq!(source.reads.into_inner(), 1);
    }

    #[tokio::test]
    async fn a_read_across_an_event_is_not_kept() {
        let (known, source) = (Known::default(), Source::new(0));
        let asking = known.get_or_read(|| source.read());
        let changing = async {
            while source.reads.load(Ordering::Relaxed) == 0 {
                tokio::task::yield_now().await;
            }
            known.change(|_| unreachable!("nothing is known yet"));
            source.gate.add_permits(2);
        };
        let (answer, ()) = tokio::join!(asking, changing);
        assert_eq!(*answer.unwrap(), 1);

        let refreshing = known.refresh(source.read());
        let setting = async {
            known.set(77);
            source.gate.add_permits(1);
        };
        tokio::join!(refreshing, setting);
        assert_eq!(*known.get_or_read(|| source.read()).await.unwrap(), 77);
    }

    #[tokio::test]
    async fn what_was_forgotten_is_read_again() {
        let (known, source) = (Known::default(), Source::new(2));
        known.get_or_read(|| source.read()).await.unwrap();
        known.forget();
        assert_eq!(*known.get_or_read(|| source.read()).await.unwrap(), 1);
    }

    #[tokio::test]
    async fn a_failure_is_shared_and_not_remembered() {
        let folder = std::path::Path::new("/dev/null/folder");
        let error = store::Store::embedded(Some(folder)).unwrap_err();
        let (known, reads) = (Known::<u32>::default(), AtomicU32::new(0));
        let fail = || async {
            reads.fetch_add(1, Ordering::Relaxed);
            tokio::task::yield_now().await;
            Err(error.clone())
        };
        let (a, b) = tokio::join!(known.get_or_read(fail), known.get_or_read(fail));
        assert!(a.is_err() && b.is_err());
        assert_eq!(reads.load(Ordering::Relaxed), 1);
        assert_eq!(*known.get_or_read(|| async { Ok(5) }).await.unwrap(), 5);
    }
}
