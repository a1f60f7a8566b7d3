//! A bound on how long callers wait for MongoDB, and on how much may wait for it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout, timeout_at};

use crate::mongo::failure;
use crate::{Error, ErrorKind};

/// Operations under way, those included whose caller has given up: several times the pool, small against memory.
const UNDER_WAY_MAX: usize = 1_024;

/// A task whose caller gave up goes on, because the driver's futures want to be polled to their end. In a black hole
/// that end is TCP's, a quarter of an hour away, and would use up all of the above: after so many deadlines the future
/// is dropped after all, and its connection with it.
const ABANDON_AFTER: u32 = 6;

#[derive(Clone)]
pub(super) struct Deadline {
    limit: Duration,
    under_way: Arc<Semaphore>,
}

impl Deadline {
    pub(super) fn new(limit: Duration) -> Self {
        Self {
            limit,
            under_way: Arc::new(Semaphore::new(UNDER_WAY_MAX)),
        }
    }

    pub(super) fn limit(&self) -> Duration {
        self.limit
    }

    /// Runs `operation` as a task and waits for it until the deadline.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        operation: impl Future<Output = mongodb::error::Result<T>> + Send + 'static,
    ) -> Result<T, Error> {
        let deadline = Instant::now() + self.limit;
        let place = timeout_at(deadline, Arc::clone(&self.under_way).acquire_owned())
            .await
            .map_err(|_| {
                Error::new(
                    ErrorKind::Unavailable,
                    "too many operations wait for MongoDB",
                )
            })?
            .expect("the semaphore is never closed");
        let abandon_after = self.limit * ABANDON_AFTER;
        let task = tokio::spawn(async move {
            let outcome = timeout(abandon_after, operation).await;
            drop(place);
            outcome
        });
        let late = || Error::new(ErrorKind::Timeout, format!("MongoDB, {:?}", self.limit));
        match timeout_at(deadline, task).await {
            Ok(Ok(Ok(outcome))) => outcome.map_err(|error| failure::error(&error)),
            Ok(Ok(Err(_))) | Err(_) => Err(late()),
            Ok(Err(ended)) => Err(Error::because(
                ErrorKind::Unavailable,
                "an operation's task ended",
                ended,
            )),
        }
    }
}
