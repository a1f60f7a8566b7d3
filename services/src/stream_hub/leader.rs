//! The driver over MongoDB's change streams: whose turn it is, and what becomes of a stream that breaks.

use std::{
    fmt,
    sync::atomic::{AtomicI64, Ordering::Relaxed},
    time::{Duration, Instant},
};

use backplane::{Bus, Inbox};
use store::{Checkpoint, Collection, ErrorKind, Store};
use tokio::{sync::watch, time::sleep};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{
    health::{Health, State},
    lease::{self, Attempt},
    metrics,
    plan::{self, Config, Idle, Plan},
    progress::Progress,
    pump::{Ended, Pump},
    reach,
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
    let (says, reaches) = watch::channel(false);
    let hub = Hub {
        bus,
        store,
        config,
        health,
        shutdown,
        reaches,
        above: AtomicI64::new(0),
    };
    tokio::select! {
        () = reach::follow(bus, inbox, &says) => {}
        () = hub.run() => {}
    }
}

struct Hub<'a> {
    bus: &'a Bus,
    store: &'a Store,
    config: Config,
    health: &'a Health,
    shutdown: &'a CancellationToken,
    /// Whether the bus carries events to everybody now.
    reaches: watch::Receiver<bool>,
    /// Our next term is greater: that of every other hub we know of.
    above: AtomicI64,
}

impl Hub<'_> {
    async fn run(&self) {
        let mut told: Option<Idle> = None;
        let mut planned: Option<(Instant, Plan)> = None;
        while !self.shutdown.is_cancelled() {
            if planned
                .as_ref()
                .is_none_or(|(at, _)| at.elapsed() >= plan::LOOK_EVERY)
            {
                match plan::look(self.bus, self.store, &self.config).await {
                    Ok(plan) => planned = Some((Instant::now(), plan)),
                    Err(error) => {
                        tracing::warn!(%error, "the workspace's version cannot be read");
                    }
                }
            }
            let mut pause = TURN_EVERY;
            match &planned {
                None => {}
                Some((_, Plan::Idle(why))) => {
                    if told.replace(*why) != Some(*why) {
                        tracing::info!("{why}");
                    }
                    self.health.set(State::Idle);
                }
                Some((_, Plan::Watch(collections))) => {
                    told = None;
                    pause = self.turn(collections).await;
                }
            }
            tokio::select! {
                () = self.shutdown.cancelled() => {}
                () = sleep(pause) => {}
            }
        }
    }

    /// Works if it is our turn; returns how long to wait for the next one.
    async fn turn(&self, collections: &[Collection]) -> Duration {
        // A hub that reaches nobody must not keep one that does from working.
        if !*self.reaches.borrow() {
            self.health.set(State::Starting);
            return TURN_EVERY;
        }
        let above = self.above.load(Relaxed);
        let held = match lease::acquire(self.store, self.bus.node_id(), above).await {
            Ok(Attempt::Held(held)) => held,
            Ok(Attempt::Taken(term)) => {
                self.above.fetch_max(term, Relaxed);
                self.health.set(State::Standby);
                return TURN_EVERY;
            }
            Err(error) => {
                tracing::warn!(%error, "the hub's lease cannot be read");
                return TURN_EVERY;
            }
        };
        let term = held.term;
        // It may go on in the same one.
        self.above.fetch_max(term - 1, Relaxed);
        tracing::info!(term, "this hub works now");
        metrics::leading(Some(term));
        let pump = Pump {
            bus: self.bus,
            store: self.store,
            config: &self.config,
            health: self.health,
            shutdown: self.shutdown,
            reaches: &self.reaches,
            collections,
            held: &held,
        };
        let ended = self.work(&pump).await;
        metrics::leading(None);
        let is_ours = held.is_valid();
        match &ended {
            Ended::Lost => tracing::warn!(term, "this hub has lost its lease"),
            Ended::Given(why) => tracing::info!(term, "this hub stops: {why}"),
            Ended::Step => {}
            Ended::Failed(error) => tracing::error!(%error, term, "this hub cannot work"),
        }
        drop(held);
        if is_ours
            && !matches!(ended, Ended::Lost)
            && let Err(error) = self.store.release_lease(self.bus.node_id()).await
        {
            tracing::warn!(%error, "the hub's lease could not be given back; it runs out");
        }
        match ended {
            // Such as a server that has no change streams: it is not mended within a second.
            Ended::Failed(_) => AFTER_FAILURE,
            _ => TURN_EVERY,
        }
    }

    /// Opens the stream again and again, until it is no longer our turn.
    async fn work(&self, pump: &Pump<'_>) -> Ended {
        let term = pump.held.term;
        let mut progress = match self.store.take_checkpoint(term).await {
            Ok(Checkpoint::At(token)) => Progress::new(Some(token)),
            Ok(Checkpoint::Nowhere) => Progress::new(None),
            // Of a hub that has the lease now, or from a time whose lease was dropped.
            Ok(Checkpoint::Later(later)) => {
                self.above.fetch_max(later, Relaxed);
                return Ended::Lost;
            }
            Err(error) => return error.into(),
        };
        // The first hub of all begins where it comes; what has become of the place of an earlier one, nobody knows.
        if progress.sent.is_none() && term > 1 {
            lose(&mut progress, "no checkpoint");
        }
        let mut pause = REOPEN_MIN;
        loop {
            let opened = Instant::now();
            let error = match pump.follow(&mut progress).await {
                Ended::Failed(error) => error,
                Ended::Step => continue,
                ended => return ended,
            };
            if !pump.held.is_valid() {
                return Ended::Lost;
            }
            match error.kind() {
                ErrorKind::Unsupported => return error.into(),
                ErrorKind::TooLarge if !progress.is_blocked => {
                    metrics::stepped_over();
                    tracing::warn!(
                        "a change is too large for the database to tell; its document is read instead"
                    );
                    progress.is_blocked = true;
                    continue;
                }
                // Too large even without its content: there is no way past it but to begin again.
                ErrorKind::HistoryLost | ErrorKind::TooLarge => {
                    lose(&mut progress, &error);
                }
                _ => {
                    metrics::reopened();
                    tracing::warn!(%error, "the change stream broke; it is opened again");
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
}

/// Begins again from now, and says so.
fn lose(progress: &mut Progress, error: impl fmt::Display) {
    metrics::history_lost();
    tracing::error!(
        %error,
        "changes were missed: the database cannot tell what follows the checkpoint; settings, permissions and roles are sent again"
    );
    // Not numbered within the term, which one hub may have twice.
    progress.lose(Uuid::new_v4().to_string());
}

/// How often a hub without work asks whether it is its turn.
const TURN_EVERY: Duration = Duration::from_secs(1);
const AFTER_FAILURE: Duration = Duration::from_secs(10);
const REOPEN_MIN: Duration = Duration::from_millis(100);
const REOPEN_MAX: Duration = Duration::from_secs(5);
