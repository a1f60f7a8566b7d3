//! One change stream onto the bus: read, settle, send, write down how far.

use std::{
    convert::Infallible,
    time::{Duration, Instant},
};

use backplane::Bus;
use store::{Batch, Change, ChangeKind, ChangeStream, Collection, Detail, Error, Store};
use tokio::{sync::watch, time::sleep};
use tokio_util::sync::CancellationToken;

use super::{
    health::{Health, State},
    lease::Held,
    metrics,
    plan::{self, Config, Plan},
    progress::{Progress, Written},
    reads::settle,
    rules::{Facts, Known},
    send::{Disconnected, Origin, send},
};

/// A hub at work.
pub(super) struct Pump<'a> {
    pub(super) bus: &'a Bus,
    pub(super) store: &'a Store,
    pub(super) config: &'a Config,
    pub(super) health: &'a Health,
    pub(super) shutdown: &'a CancellationToken,
    pub(super) reaches: &'a watch::Receiver<bool>,
    pub(super) collections: &'a [Collection],
    pub(super) held: &'a Held,
}

/// Why the work ended.
pub(super) enum Ended {
    /// Another hub has the lease, or may have it.
    Lost,
    /// The bus is away, the plan has changed, or we shall stop: somebody else may go on at once.
    Given(&'static str),
    /// It goes on at once with another stream.
    Step,
    Failed(Error),
}

impl From<Error> for Ended {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl From<Disconnected> for Ended {
    fn from(_: Disconnected) -> Self {
        Self::Given("the bus is away")
    }
}

impl Pump<'_> {
    /// One stream, from where the progress stands to its first error.
    pub(super) async fn follow(&self, progress: &mut Progress) -> Ended {
        let detail = match (progress.is_blocked, self.config.full_documents) {
            (true, _) => Detail::Least,
            (false, true) => Detail::FullDocuments,
            (false, false) => Detail::Changes,
        };
        let after = progress.sent.clone();
        let mut stream = match self.store.watch(self.collections, detail, after).await {
            Ok(stream) => stream,
            Err(error) => return error.into(),
        };
        let Err(ended) = self.pump(&mut stream, progress).await;
        if matches!(ended, Ended::Given(_)) {
            // So that whoever goes on need not say it again.
            let _ = self.settle(progress).await;
        }
        stream.close().await;
        ended
    }

    async fn pump(
        &self,
        stream: &mut ChangeStream,
        progress: &mut Progress,
    ) -> Result<Infallible, Ended> {
        let mut facts = Facts::default();
        let mut planned = Instant::now();
        loop {
            if self.shutdown.is_cancelled() {
                return Err(Ended::Given("it shall end"));
            }
            if !*self.reaches.borrow() {
                return Err(Disconnected.into());
            }
            if planned.elapsed() >= plan::LOOK_EVERY {
                planned = Instant::now();
                let wanted = plan::look(self.bus, self.store, self.config).await?;
                if wanted != Plan::Watch(self.collections.to_vec()) {
                    return Err(Ended::Given("there is something else to do, or nothing"));
                }
                // Where settings are not followed, this is how a new value is noticed.
                facts = Facts::default();
            }
            let batch = self.next(stream, progress).await?;
            if !self.held.is_valid() {
                return Err(Ended::Lost);
            }
            self.health.set(State::Leader);
            if let Some(gap) = progress.gap.clone() {
                self.refresh(&gap).await?;
                progress.gap = None;
            }
            let is_first = progress.sent.is_none();
            let is_over = progress.is_blocked && !batch.changes.is_empty();
            self.announce(&batch, progress, &mut facts).await?;
            metrics::sent(batch.happened);
            if let Some(token) = batch.token {
                progress.advance(token, 0);
            }
            // The very first checkpoint is where the story begins: without it a crash would skip what follows.
            if is_first {
                self.settle(progress).await?;
            }
            if is_over {
                progress.is_blocked = false;
                return Err(Ended::Step);
            }
        }
    }

    /// What has changed. Checkpoints are written meanwhile: no change waits for one, unless too many have gone before it.
    async fn next(
        &self,
        stream: &mut ChangeStream,
        progress: &mut Progress,
    ) -> Result<Batch, Ended> {
        while progress.is_far() {
            ended_by(progress.written().await)?;
        }
        let next = stream.next(AWAIT);
        tokio::pin!(next);
        loop {
            let idle = !progress.is_writing() && progress.is_dirty();
            let due = progress.due_in();
            tokio::select! {
                biased;
                () = sleep(due), if idle => self.write_down(progress),
                batch = &mut next => return Ok(batch?),
                written = progress.written() => ended_by(written)?,
            }
        }
    }

    /// Sends the events of a batch in its order.
    async fn announce(
        &self,
        batch: &Batch,
        progress: &mut Progress,
        facts: &mut Facts,
    ) -> Result<(), Ended> {
        let mut bytes = 0;
        let parts = batch
            .changes
            .split_inclusive(|(_, change)| Facts::are_in(change));
        for part in parts {
            if !facts.are_read() {
                *facts = self.facts().await?;
            }
            let changes: Vec<&Change> = part.iter().map(|(_, change)| change).collect();
            let settled = settle(self.store, &changes, facts, |_| Known::default()).await?;
            for ((token, change), announcements) in part.iter().zip(&settled) {
                // Right before it is sent: reading may have taken long, and a frozen process wakes up anywhere.
                if !self.held.is_valid() {
                    return Err(Ended::Lost);
                }
                metrics::change(change);
                let term = self.held.term;
                bytes += send(self.bus, announcements, &Origin::Log { term, token })?;
                progress.advance(token.clone(), announcements.len());
                if bytes > FLUSH_BYTES {
                    bytes = 0;
                    self.flush().await?;
                }
            }
            if changes.last().is_some_and(|change| Facts::are_in(change)) {
                *facts = Facts::default();
            }
        }
        Ok(())
    }

    async fn facts(&self) -> Result<Facts, Error> {
        let ids = Facts::ids();
        let settings = self
            .store
            .documents_by_id(Collection::Settings, &ids, &["value"]);
        Ok(Facts::read(&settings.await?))
    }

    /// Sends again what feeds caches, marked as a gap.
    async fn refresh(&self, gap: &str) -> Result<(), Ended> {
        for collection in REFRESHED {
            if !self.collections.contains(&collection) {
                continue;
            }
            let documents = self.store.documents(collection).await?;
            let changes: Vec<Change> = documents
                .into_iter()
                .filter_map(|document| {
                    Some(Change {
                        collection,
                        id: document.get("_id")?.clone(),
                        kind: ChangeKind::Replaced,
                        document: Some(document),
                    })
                })
                .collect();
            for changes in changes.chunks(REFRESHED_AT_ONCE) {
                let changes: Vec<&Change> = changes.iter().collect();
                let facts = Facts::default();
                let settled = settle(self.store, &changes, &facts, |_| Known::default()).await?;
                if !self.held.is_valid() {
                    return Err(Ended::Lost);
                }
                for announcements in &settled {
                    let term = self.held.term;
                    send(self.bus, announcements, &Origin::Gap { term, id: gap })?;
                }
                self.flush().await?;
            }
        }
        Ok(())
    }

    async fn flush(&self) -> Result<(), Disconnected> {
        match self.bus.flush().await {
            true => Ok(()),
            false => Err(Disconnected),
        }
    }

    /// Writes down how far we are, and waits until that is done.
    async fn settle(&self, progress: &mut Progress) -> Result<(), Ended> {
        if progress.is_writing() {
            ended_by(progress.written().await)?;
        }
        if progress.is_dirty() {
            self.write_down(progress);
            ended_by(progress.written().await)?;
        }
        Ok(())
    }

    /// Begins to write down how far we are, once all of it has been given to the bus.
    fn write_down(&self, progress: &mut Progress) {
        let (bus, store, term) = (self.bus.clone(), self.store.clone(), self.held.term);
        progress.begin(|token| async move {
            if !bus.flush().await {
                return Written::Unsent;
            }
            match store.save_checkpoint(term, &token).await {
                Ok(true) => Written::Kept,
                Ok(false) => Written::TooLate,
                Err(error) => {
                    tracing::warn!(%error, "the hub's checkpoint could not be written");
                    Written::NotNow
                }
            }
        });
    }
}

/// Whether a checkpoint that came to this ends the work.
fn ended_by(checkpoint: Written) -> Result<(), Ended> {
    match checkpoint {
        Written::Kept | Written::NotNow => Ok(()),
        Written::TooLate => Err(Ended::Lost),
        Written::Unsent => Err(Disconnected.into()),
    }
}

/// How long the server holds a question for changes back while there are none.
const AWAIT: Duration = Duration::from_secs(1);
/// Announced changes that feed caches of other processes.
const REFRESHED: [Collection; 3] = [
    Collection::Settings,
    Collection::Permissions,
    Collection::Roles,
];
const REFRESHED_AT_ONCE: usize = 200;
/// What may wait in the bus before its server has taken it; far below what the bus holds.
const FLUSH_BYTES: usize = 1 << 20;
