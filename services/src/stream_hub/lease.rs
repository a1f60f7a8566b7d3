//! The lease of one hub while it works: kept alive beside the work, and known to be over before the server says so.

use std::time::{Duration, Instant};

use store::{Error, Store};
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{MissedTickBehavior, interval},
};

/// A held lease; dropping it ends the renewal.
pub(super) struct Held {
    pub(super) term: i64,
    until: watch::Receiver<Instant>,
    renewal: JoinHandle<()>,
}

/// What came of an attempt.
pub(super) enum Attempt {
    Held(Held),
    /// Somebody else works, in this term.
    Taken(i64),
}

/// Takes the lease if it is free, for a term greater than `above`, and keeps it.
///
/// # Errors
/// The database did not answer.
pub(super) async fn acquire(store: &Store, holder: &str, above: i64) -> Result<Attempt, Error> {
    // Counted from before the request: the server's clock cannot have begun earlier.
    let asked = Instant::now();
    let lease = store.acquire_lease(holder, LASTS, above).await?;
    if lease.holder != holder {
        return Ok(Attempt::Taken(lease.term));
    }
    let (renewed, until) = watch::channel(asked + SAFE);
    let renewal = tokio::spawn({
        let (store, holder, lease) = (store.clone(), holder.to_owned(), lease.clone());
        async move {
            let mut tick = interval(RENEW_EVERY);
            tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
            tick.tick().await;
            loop {
                tick.tick().await;
                let asked = Instant::now();
                // A lease that somebody has dropped is made again as it was.
                match store.acquire_lease(&holder, LASTS, lease.term - 1).await {
                    Ok(now) if now == lease => {
                        renewed.send_replace(asked + SAFE);
                    }
                    // Another holder, or ours again after another one's term: this term is over.
                    Ok(_) => {
                        renewed.send_replace(asked);
                        return;
                    }
                    Err(error) => tracing::warn!(%error, "the hub's lease could not be renewed"),
                }
            }
        }
    });
    Ok(Attempt::Held(Held {
        term: lease.term,
        until,
        renewal,
    }))
}

impl Held {
    /// Whether no other hub can hold it now. By our own monotonic clock, which goes on while the process is frozen.
    pub(super) fn is_valid(&self) -> bool {
        Instant::now() < *self.until.borrow()
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.renewal.abort();
    }
}

/// How long a hub that has died keeps the others waiting.
const LASTS: Duration = Duration::from_secs(10);
/// Two attempts may fail before the work stops.
const RENEW_EVERY: Duration = Duration::from_secs(3);
/// When the holder itself stops: clocks may run at slightly different speeds, and what is under way must end.
const SAFE: Duration = Duration::from_secs(8);
