//! The driver over MongoDB's change streams: who works, from where, and how far it has come.

use std::time::{Duration, Instant};

use backplane::{Bus, Inbox, Incoming};
use store::{Batch, Change, ChangeKind, ChangeStream, Collection, Error, ErrorKind, Store, Token};
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    health::{Health, State},
    lease::{self, Attempt, Held},
    metrics,
    plan::{Config, Idle, Plan, plan},
    reads::settle,
    rules::{Facts, Known},
    send::{Disconnected, Origin, send},
};

/// Runs until the shutdown; idle, waiting for its turn, or working.
pub(super) async fn run(
    bus: &Bus,
    store: &Store,
    config: Config,
    inbox: Inbox,
    health: &Health,
    shutdown: &CancellationToken,
) {
    let (usable, bus_is_usable) = watch::channel(false);
    let hub = Hub {
        bus,
        store,
        config,
        health,
        shutdown,
        bus_is_usable,
    };
    tokio::select! {
        () = follow_bus(bus, inbox, &usable) => {}
        () = hub.run() => {}
    }
}

struct Hub<'a> {
    bus: &'a Bus,
    store: &'a Store,
    config: Config,
    health: &'a Health,
    shutdown: &'a CancellationToken,
    bus_is_usable: watch::Receiver<bool>,
}

/// Why the work ended.
enum Ended {
    /// Another hub has the lease, or may have it.
    Lost,
    /// The bus is away, the plan has changed, or we shall stop: somebody else may go on at once.
    Given(&'static str),
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

impl Hub<'_> {
    async fn run(&self) {
        let mut told: Option<Idle> = None;
        while !self.shutdown.is_cancelled() {
            let pause = match self.plan().await {
                Err(error) => {
                    tracing::warn!(%error, "the workspace's version cannot be read");
                    RETRY_EVERY
                }
                Ok(Plan::Idle(why)) => {
                    if told.replace(why) != Some(why) {
                        tracing::info!("{why}");
                    }
                    self.health.set(State::Idle);
                    LOOK_EVERY
                }
                Ok(Plan::Watch(collections)) => {
                    told = None;
                    self.turn(&collections).await
                }
            };
            tokio::select! {
                () = self.shutdown.cancelled() => {}
                () = sleep(pause) => {}
            }
        }
    }

    async fn plan(&self) -> Result<Plan, Error> {
        let version = self.store.server_version().await?;
        Ok(plan(version.as_deref(), &self.config))
    }

    /// Works if it is our turn; returns how long to wait for the next one.
    async fn turn(&self, collections: &[Collection]) -> Duration {
        // A hub that reaches nobody must not keep one that does from working.
        if !*self.bus_is_usable.borrow() {
            self.health.set(State::Starting);
            return RETRY_EVERY;
        }
        let held = match lease::acquire(self.store, self.bus.node_id()).await {
            Ok(Attempt::Held(held)) => held,
            Ok(Attempt::Taken) => {
                self.health.set(State::Standby);
                return STAND_BY_FOR;
            }
            Err(error) => {
                tracing::warn!(%error, "the hub's lease cannot be read");
                return RETRY_EVERY;
            }
        };
        tracing::info!(term = held.term, "this hub works now");
        metrics::leading(Some(held.term));
        let ended = self.work(collections, &held).await;
        metrics::leading(None);
        let is_lost = matches!(ended, Ended::Lost) || !held.is_valid();
        match ended {
            Ended::Lost => tracing::warn!(term = held.term, "this hub has lost its lease"),
            Ended::Given(why) => tracing::info!(term = held.term, "this hub stops: {why}"),
            Ended::Failed(error) => {
                tracing::error!(%error, term = held.term, "this hub cannot work");
            }
        }
        drop(held);
        if !is_lost && let Err(error) = self.store.release_lease(self.bus.node_id()).await {
            tracing::warn!(%error, "the hub's lease could not be given back; it runs out");
        }
        RETRY_EVERY
    }

    /// Opens the stream again and again, until it is no longer our turn.
    async fn work(&self, collections: &[Collection], held: &Held) -> Ended {
        let mut progress = match self.store.take_checkpoint(held.term).await {
            Ok(Some(token)) => Progress::new(token),
            Ok(None) => return Ended::Lost,
            Err(error) => return error.into(),
        };
        let mut losses = 0;
        let mut pause = REOPEN_MIN;
        loop {
            let opened = Instant::now();
            let error = match self.follow(collections, held, &mut progress).await {
                Ended::Failed(error) => error,
                ended => return ended,
            };
            if !held.is_valid() {
                return Ended::Lost;
            }
            match error.kind() {
                ErrorKind::Unsupported => return error.into(),
                ErrorKind::HistoryLost => {
                    metrics::history_lost();
                    losses += 1;
                    tracing::error!(
                        %error,
                        "changes were missed: the database no longer has what follows the checkpoint; settings, permissions and roles are sent again"
                    );
                    progress.lose(format!("{}.{losses}", held.term));
                }
                _ => {
                    tracing::warn!(%error, "the change stream broke; it is opened again");
                    metrics::reopened();
                }
            }
            pause = match opened.elapsed() < REOPEN_MAX {
                true => (pause * 2).min(REOPEN_MAX),
                false => REOPEN_MIN,
            };
            tokio::select! {
                () = self.shutdown.cancelled() => return Ended::Given("it shall end"),
                () = sleep(pause) => {}
            }
        }
    }

    /// One stream, from where the progress stands to its first error.
    async fn follow(
        &self,
        collections: &[Collection],
        held: &Held,
        progress: &mut Progress,
    ) -> Ended {
        let after = progress.sent.clone();
        let opened = self
            .store
            .watch(collections, self.config.full_documents, after)
            .await;
        let mut stream = match opened {
            Ok(stream) => stream,
            Err(error) => return error.into(),
        };
        let ended = self.pump(&mut stream, collections, held, progress).await;
        if let Err(Ended::Given(_)) = &ended
            && progress.is_dirty()
        {
            // So that whoever goes on need not say it again.
            let _ = self.checkpoint(held, progress).await;
        }
        stream.close().await;
        match ended {
            Ok(never) => match never {},
            Err(ended) => ended,
        }
    }

    async fn pump(
        &self,
        stream: &mut ChangeStream,
        collections: &[Collection],
        held: &Held,
        progress: &mut Progress,
    ) -> Result<std::convert::Infallible, Ended> {
        let mut facts = Facts::default();
        let mut planned = Instant::now();
        loop {
            if self.shutdown.is_cancelled() {
                return Err(Ended::Given("it shall end"));
            }
            if !*self.bus_is_usable.borrow() {
                return Err(Disconnected.into());
            }
            if planned.elapsed() >= LOOK_EVERY {
                planned = Instant::now();
                if self.plan().await? != Plan::Watch(collections.to_vec()) {
                    return Err(Ended::Given("the workspace's line has changed"));
                }
                facts = Facts::default();
            }
            let batch = stream.next(progress.patience()).await?;
            if !held.is_valid() {
                return Err(Ended::Lost);
            }
            self.health.set(State::Leader);
            if let Some(gap) = progress.gap.take()
                && let Err(ended) = self.refresh(collections, held, &gap).await
            {
                progress.gap = Some(gap);
                return Err(ended);
            }
            let is_first = progress.sent.is_none();
            self.announce(&batch, held, progress, &mut facts).await?;
            if let Some(token) = batch.token {
                progress.advance(token, 0);
            }
            // The very first checkpoint is where the story begins: without it a crash would skip what follows.
            if is_first || progress.is_due() {
                self.checkpoint(held, progress).await?;
            }
        }
    }

    /// Sends the events of a batch in its order.
    async fn announce(
        &self,
        batch: &Batch,
        held: &Held,
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
                if !held.is_valid() {
                    return Err(Ended::Lost);
                }
                metrics::change(change);
                let term = held.term;
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
    async fn refresh(
        &self,
        collections: &[Collection],
        held: &Held,
        gap: &str,
    ) -> Result<(), Ended> {
        for collection in REFRESHED {
            if !collections.contains(&collection) {
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
                if !held.is_valid() {
                    return Err(Ended::Lost);
                }
                for announcements in &settled {
                    let term = held.term;
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
    async fn checkpoint(&self, held: &Held, progress: &mut Progress) -> Result<(), Ended> {
        self.flush().await?;
        let Some(token) = progress.sent.clone() else {
            return Ok(());
        };
        match self.store.save_checkpoint(held.term, &token).await {
            Ok(true) => progress.save(token),
            Ok(false) => return Err(Ended::Lost),
            // The stream goes on: it is the next hub that would have to say more again.
            Err(error) => {
                tracing::warn!(%error, "the hub's checkpoint could not be written");
                progress.saved_at = Instant::now();
            }
        }
        Ok(())
    }
}

/// How far one hub has come.
struct Progress {
    /// Everything before it has been sent; a stream goes on behind it.
    sent: Option<Token>,
    /// What the database knows.
    saved: Option<Token>,
    saved_at: Instant,
    /// Events sent since then.
    unsaved: usize,
    /// Changes were missed, and nobody has been told yet: the name of that gap.
    gap: Option<String>,
}

impl Progress {
    fn new(token: Option<Token>) -> Self {
        Self {
            sent: token.clone(),
            saved: token,
            saved_at: Instant::now(),
            unsaved: 0,
            gap: None,
        }
    }

    fn advance(&mut self, token: Token, events: usize) {
        self.sent = Some(token);
        self.unsaved += events;
    }

    fn save(&mut self, token: Token) {
        self.saved = Some(token);
        self.saved_at = Instant::now();
        self.unsaved = 0;
    }

    /// Begins again from now.
    fn lose(&mut self, gap: String) {
        self.sent = None;
        self.gap = Some(gap);
    }

    fn is_dirty(&self) -> bool {
        self.sent != self.saved
    }

    fn is_due(&self) -> bool {
        let since = self.saved_at.elapsed();
        self.unsaved >= CHECKPOINT_EVENTS
            || (self.unsaved > 0 && since >= CHECKPOINT_EVERY)
            // A quiet database moves on too: its log must not outlive our place in it.
            || (since >= IDLE_CHECKPOINT_EVERY && self.is_dirty())
    }

    /// How long to wait for more before the next checkpoint.
    fn patience(&self) -> Duration {
        match self.unsaved {
            0 => AWAIT,
            _ => CHECKPOINT_EVERY.saturating_sub(self.saved_at.elapsed()),
        }
    }
}

/// Says whether events that are sent now reach everybody.
async fn follow_bus(bus: &Bus, mut inbox: Inbox, usable: &watch::Sender<bool>) {
    // Before the workspace is there, nobody listens that counts.
    while !bus.status().announced {
        sleep(ANNOUNCED_EVERY).await;
    }
    // What was sent while we were away is behind us: the inbox tells `Up` first, if it is so.
    let mut was_down = false;
    loop {
        match inbox.recv().await {
            Incoming::Up if !was_down => {
                usable.send_replace(true);
            }
            Incoming::Up => {
                // Peers that lost the same server are back when they answer.
                let settled = async { while !matches!(inbox.recv().await, Incoming::Settled) {} };
                let _ = timeout(SETTLED_WITHIN, settled).await;
                usable.send_replace(bus.status().connected);
            }
            Incoming::Down => {
                was_down = true;
                usable.send_replace(false);
            }
            _ => {}
        }
    }
}

/// Announced changes that feed caches of other processes.
const REFRESHED: [Collection; 3] = [
    Collection::Settings,
    Collection::Permissions,
    Collection::Roles,
];
const REFRESHED_AT_ONCE: usize = 200;

/// A hub that takes over repeats at most what was sent between two checkpoints.
const CHECKPOINT_EVERY: Duration = Duration::from_millis(200);
const CHECKPOINT_EVENTS: usize = 500;
const IDLE_CHECKPOINT_EVERY: Duration = Duration::from_secs(10);
/// What may wait in the bus before its server has taken it; far below what the bus holds.
const FLUSH_BYTES: usize = 1 << 20;
/// How long the server holds a question for changes back while there are none.
const AWAIT: Duration = Duration::from_secs(1);
const STAND_BY_FOR: Duration = Duration::from_secs(3);
const RETRY_EVERY: Duration = Duration::from_secs(1);
/// How often the workspace's version is looked at: an update to 8.0 ends the work.
const LOOK_EVERY: Duration = Duration::from_secs(10);
const REOPEN_MIN: Duration = Duration::from_millis(100);
const REOPEN_MAX: Duration = Duration::from_secs(5);
const ANNOUNCED_EVERY: Duration = Duration::from_millis(100);
/// A little more than the bus itself waits for answers.
const SETTLED_WITHIN: Duration = Duration::from_secs(6);
