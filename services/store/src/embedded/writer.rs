//! The one thread that writes, and group commit: whatever waits goes into one transaction and shares its fsync.
//!
//! Measured on a disk with 13 ms per fsync (debug build, two busy cores, messages of 150 bytes): 75 writes/s from one
//! writer, 520 from 8, 1,782 from 64, 3,366 from 256.
//!
//! Presence is not worth an fsync per change: what nobody misses after a crash is committed in memory and reaches the
//! disk with the next write that does, a second later at the latest.

use std::fmt;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use redb::{Database, Durability};
use tokio::runtime::{self, Runtime};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, timeout_at};

use crate::embedded::failure::failed;
use crate::embedded::tables::{Kept, Tables};
use crate::{Error, ErrorKind};

/// When a write has to be on disk.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    /// Before it is acknowledged.
    Now,
    /// Within a second of it: the next start makes it anew.
    Soon,
}

/// One write: carried out inside a transaction, acknowledged when the fate of that transaction is known.
struct Write {
    due: Due,
    apply: Box<dyn FnOnce(&mut Batch<'_>) -> Acknowledge + Send>,
}

type Acknowledge = Box<dyn FnOnce(Result<(), Error>) + Send>;

/// Writers beyond this wait for room in the queue: several full batches.
const QUEUED_MAX: usize = 1_024;

/// How many writes share a commit at most, so that a flood does not delay the first of them without end.
const BATCH_MAX: usize = 256;

/// How long a write that is due [soon](Due::Soon) stays in memory only.
const SOON: Duration = Duration::from_secs(1);

pub(super) struct Writer {
    /// `None` only while dropping.
    queue: Option<mpsc::Sender<Write>>,
    thread: Option<JoinHandle<()>>,
    committed: watch::Receiver<u64>,
}

/// A transaction under way.
struct Batch<'t> {
    tables: Tables<'t>,
    /// Why it must not be committed: a write failed half-way.
    spoiled: Option<Error>,
}

impl Writer {
    pub(super) fn start(database: Arc<Database>) -> Result<Self, Error> {
        let no_thread = |error| Error::because(ErrorKind::Io, "the writer thread", error);
        let kept = Kept::read(&database)?;
        let (queue, writes) = mpsc::channel(QUEUED_MAX);
        let (announce, committed) = watch::channel(kept.newest);
        let clock = runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .map_err(no_thread)?;
        let run = Run {
            database,
            clock,
            kept,
            owed: None,
        };
        let thread = std::thread::Builder::new()
            .name("store".into())
            .spawn(move || run.run(writes, &announce))
            .map_err(no_thread)?;
        Ok(Self {
            queue: Some(queue),
            thread: Some(thread),
            committed,
        })
    }

    /// The sequence number of the newest change that readers see.
    pub(super) fn committed(&self) -> watch::Receiver<u64> {
        self.committed.clone()
    }

    /// Carries out `apply` in the next transaction and returns its outcome once that is committed: on disk, unless it
    /// is due [soon](Due::Soon). Dropping the future does not undo the write.
    pub(super) async fn write<T: Send + 'static>(
        &self,
        due: Due,
        apply: impl FnOnce(&mut Tables<'_>) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let (reply, answer) = oneshot::channel();
        let apply = Box::new(move |batch: &mut Batch<'_>| -> Acknowledge {
            let outcome = apply(&mut batch.tables);
            if let Err(error) = &outcome
                && !matches!(error.kind(), ErrorKind::Conflict | ErrorKind::Invalid)
            {
                batch.spoiled = Some(error.clone());
            }
            Box::new(move |committed| {
                // Nobody waits for the answer if the caller has gone.
                let _ = reply.send(committed.and(outcome));
            })
        });
        let write = Write { due, apply };
        let ended = || Error::new(ErrorKind::Unavailable, "the writer thread has ended");
        self.queue
            .as_ref()
            .ok_or_else(ended)?
            .send(write)
            .await
            .map_err(|_| ended())?;
        answer.await.map_err(|_| ended())?
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.queue = None;
        if let Some(thread) = self.thread.take() {
            // It has a last batch to commit at most. Its panic has been reported by the panic hook.
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer").finish_non_exhaustive()
    }
}

/// The thread's own.
struct Run {
    database: Arc<Database>,
    clock: Runtime,
    kept: Kept,
    /// Until when what is committed in memory must be on disk.
    owed: Option<Instant>,
}

impl Run {
    fn run(mut self, mut writes: mpsc::Receiver<Write>, announce: &watch::Sender<u64>) {
        loop {
            let first = match self.owed {
                None => writes.blocking_recv(),
                Some(until) => {
                    let next = self
                        .clock
                        .block_on(async { timeout_at(until, writes.recv()).await });
                    match next {
                        Ok(next) => next,
                        Err(_) => {
                            self.settle();
                            continue;
                        }
                    }
                }
            };
            let Some(first) = first else { break };
            let mut waiting = vec![first];
            while waiting.len() < BATCH_MAX
                && let Ok(write) = writes.try_recv()
            {
                waiting.push(write);
            }
            let mut acknowledgements = Vec::with_capacity(waiting.len());
            let outcome = self.commit(waiting, &mut acknowledgements);
            match &outcome {
                Ok(()) => drop(announce.send_replace(self.kept.newest)),
                Err(error) => {
                    tracing::error!(%error, writes = acknowledgements.len(), "a batch of writes was not carried out");
                }
            }
            for acknowledge in acknowledgements {
                acknowledge(outcome.clone());
            }
        }
        if self.owed.is_some() {
            self.settle();
        }
    }

    /// Writes to disk what is committed in memory.
    fn settle(&mut self) {
        if let Err(error) = self.commit(Vec::new(), &mut Vec::new()) {
            tracing::error!(%error, "presence was not written to disk");
        }
        self.owed = None;
    }

    /// Carries out all writes in one transaction and returns once it is on disk, if one of them has to be.
    fn commit(
        &mut self,
        writes: Vec<Write>,
        acknowledgements: &mut Vec<Acknowledge>,
    ) -> Result<(), Error> {
        let is_soon = !writes.is_empty() && writes.iter().all(|write| write.due == Due::Soon);
        let in_memory = is_soon && self.owed.is_none_or(|until| Instant::now() < until);
        let mut transaction = self.database.begin_write().map_err(failed)?;
        if in_memory {
            transaction
                .set_durability(Durability::None)
                .expect("no savepoint is ever made");
        }
        let kept = {
            let mut batch = Batch {
                tables: Tables::open(&transaction, self.kept)?,
                spoiled: None,
            };
            for write in writes {
                acknowledgements.push((write.apply)(&mut batch));
            }
            if let Some(error) = batch.spoiled {
                return Err(error);
            }
            batch.tables.trim_feed()?;
            batch.tables.kept
        };
        transaction.commit().map_err(failed)?;
        self.kept = kept;
        self.owed = match in_memory {
            true => self.owed.or_else(|| Some(Instant::now() + SOON)),
            false => None,
        };
        Ok(())
    }
}
