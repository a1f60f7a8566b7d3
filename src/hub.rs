//! The stream-hub of a process, which ends before the bus does: what it has sent is kept as its progress.

use std::time::Duration;

use backplane::Bus;
use services::stream_hub::{self, Health};
use store::Store;
use tokio::{task::JoinHandle, time::timeout};
use tokio_util::sync::CancellationToken;

use crate::{config::Settings, role::Role};

/// A running stream-hub.
pub(crate) struct Hub {
    pub(crate) health: Health,
    stop: CancellationToken,
    running: JoinHandle<()>,
}

impl Hub {
    /// Starts one where the role has one. What it does is for the workspace's line, `DISABLE_DB_WATCHERS` and its kin to
    /// decide: beside others of ours it waits for its turn, beside Rocket.Chat's own it is idle.
    pub(crate) fn start(role: Role, settings: &Settings, bus: &Bus, store: &Store) -> Option<Self> {
        if !matches!(role, Role::StreamHub | Role::All | Role::Sandbox) {
            return None;
        }
        let (health, stop) = (Health::new(), CancellationToken::new());
        let running = tokio::spawn(stream_hub::run(
            bus.clone(),
            store.clone(),
            settings.hub.clone(),
            health.clone(),
            stop.clone(),
        ));
        Some(Self {
            health,
            stop,
            running,
        })
    }

    /// Ends it while the bus is still there, so that another one goes on at once and repeats nothing.
    pub(crate) async fn stop(self) {
        self.stop.cancel();
        if timeout(STOP_MAX, self.running).await.is_err() {
            tracing::warn!("the stream-hub did not end in time; its lease runs out by itself");
        }
    }
}

/// The database may be away, and the lease with it.
const STOP_MAX: Duration = Duration::from_secs(5);
