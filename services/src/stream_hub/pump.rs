//! One change stream onto the bus: read, settle, send, write down how far.

use std::{convert::Infallible, time::Instant};

use backplane::Bus;
use store::{Batch, Change, ChangeKind, ChangeStream, Collection, Detail, Error, Store};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{
    health::{Health, State},
    lease::Held,
    metrics,
    plan::{self, Config, Plan},
    progress::Progress,
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
        if matches!(ended, Ended::Given(_)) && progress.is_dirty() {
            // So that whoever goes on need not say it again.
            let _ = self.checkpoint(progress).await;
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
            let batch = stream.next(progress.patience()).await?;
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
            if let Some(token) = batch.token {
                progress.advance(token, 0);
            }
            // The very first checkpoint is where the story begins: without it a crash would skip what follows.
            if is_first || progress.is_due() {
                self.checkpoint(progress).await?;
            }
            if is_over {
                progress.is_blocked = false;
                return Err(Ended::Step);
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

    /// Keeps the progress, once all of it has been given to the bus.
    async fn checkpoint(&self, progress: &mut Progress) -> Result<(), Ended> {
        self.flush().await?;
        let Some(token) = progress.sent.clone() else {
            return Ok(());
        };
        match self.store.save_checkpoint(self.held.term, &token).await {
            Ok(true) => progress.save(token),
            Ok(false) => return Err(Ended::Lost),
            // The stream goes on: it is the next hub that would have to say more again.
            Err(error) => {
                tracing::warn!(%error, "the hub's checkpoint could not be written");
                progress.put_off();
            }
        }
        Ok(())
    }
}

/// Announced changes that feed caches of other processes.
const REFRESHED: [Collection; 3] = [
    Collection::Settings,
    Collection::Permissions,
    Collection::Roles,
];
const REFRESHED_AT_ONCE: usize = 200;
/// What may wait in the bus before its server has taken it; far below what the bus holds.
const FLUSH_BYTES: usize = 1 << 20;
