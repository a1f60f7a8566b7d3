//! The handle that everybody holds.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::Ordering::Relaxed},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use tokio::sync::oneshot;

use crate::{
    config::Config,
    core::Core,
    incoming::{GapCause, GapScope, Incoming},
    meters::Meters,
    outgoing::Item,
    owed::Owed,
    registry::{NodeInfo, Offered},
    stats::{Counters, Stats},
    uplink::{Network, Uplink},
    waiting::Waiting,
};

/// The way to the other processes: cheap to clone, usable from any thread.
#[derive(Clone)]
pub struct Bus {
    shared: Arc<Shared>,
}

struct Shared {
    config: Config,
    core: Mutex<Core>,
    uplink: Arc<Uplink>,
    owed: Arc<Owed>,
    meters: Arc<Meters>,
}

impl Bus {
    /// A bus without a server: everybody who holds it is on the same node.
    pub fn in_process(node_id: String) -> Self {
        let config = Config {
            node_id,
            dependencies: Vec::new(),
            ..Config::default()
        };
        let uplink = Uplink::in_process(&config);
        let bus = Self::new(config, uplink);
        let mut core = bus.core();
        core.is_connected = true;
        core.was_connected = true;
        core.is_announced = true;
        drop(core);
        bus
    }

    pub(crate) fn new(config: Config, uplink: Uplink) -> Self {
        // Peers read our services only if `seq` grew; this holds even for a node id that is used again.
        let seq = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(1, |since| since.as_secs());
        let (uplink, meters) = (Arc::new(uplink), Arc::<Meters>::default());
        Self {
            shared: Arc::new(Shared {
                core: Mutex::new(Core::new(&config, seq)),
                owed: Arc::new(Owed::new(uplink.clone(), meters.clone())),
                meters,
                uplink,
                config,
            }),
        }
    }

    /// Waits until everything sent so far has been given to the server; `false` if the connection was lost before that
    /// (at once while disconnected).
    pub async fn flush(&self) -> bool {
        let Some(network) = self.network() else {
            return true;
        };
        let (done, flushed) = oneshot::channel();
        network.outgoing.push(Item::Flush(done)).is_ok() && flushed.await.is_ok()
    }

    /// Our own node id.
    pub fn node_id(&self) -> &str {
        self.shared.uplink.node_id()
    }

    /// Every node that is known, ourselves first.
    pub fn nodes(&self) -> Vec<NodeInfo> {
        let core = self.core();
        let us = NodeInfo {
            id: self.id(),
            instance: self.network().map(|network| network.instance.clone()),
            hostname: Some(self.config().hostname.clone()),
            client: Some(concat!("rust ", env!("CARGO_PKG_VERSION")).to_owned()),
            local: true,
            available: true,
            services: core
                .locals()
                .iter()
                .map(|local| local.service.name.into())
                .collect(),
        };
        std::iter::once(us).chain(core.peers().cloned()).collect()
    }

    /// The available nodes other than this one that offer a service of this name: what others offer is not copied.
    pub fn nodes_with(&self, service: &str) -> Vec<Arc<str>> {
        self.core().registry.nodes_with(service).to_vec()
    }

    /// How many nodes are known and how many of them are available, ourselves among both: without a look at what they offer.
    pub fn node_count(&self) -> (usize, usize) {
        let (known, available) = self.core().registry.count();
        (known + 1, available + 1)
    }

    /// How long the available peers took to answer our last ping, where one was sent to measure that.
    pub fn distances(&self) -> Vec<(Arc<str>, Duration)> {
        self.core().registry.distances().collect()
    }

    /// Whether an available node (or this one) offers a service of this name.
    pub fn has_service(&self, name: &str) -> bool {
        self.core().has_service(name)
    }

    /// Whether an available node (or this one) announces an action, by its full name: two look-ups, no allocation.
    pub fn has_action(&self, action: &str) -> bool {
        let core = self.core();
        core.local_action(action).is_some() || core.registry.offering(action) > 0
    }

    /// Whether an available node that is none of ours offers an action (`service.method`).
    pub fn others_offer(&self, action: &str) -> bool {
        self.core().registry.others_offer(action)
    }

    /// How many services this node offers.
    pub fn served(&self) -> usize {
        self.core().locals().len()
    }

    /// What readiness looks at.
    pub fn status(&self) -> Status {
        let core = self.core();
        Status {
            connected: core.is_connected,
            ever_connected: core.was_connected,
            announced: core.is_announced,
            services_seen: self
                .config()
                .dependencies
                .iter()
                .all(|name| core.has_service(name)),
        }
    }

    /// Whoever listens in this process may have missed events since then that were never emitted.
    pub fn history_lost(&self, since: Instant) {
        let (scope, cause) = (GapScope::All, GapCause::HistoryLost);
        self.core().tell_gap(since, scope, cause, Instant::now());
    }

    /// What metrics look at.
    pub fn stats(&self) -> Stats {
        let (calls, cut) = {
            let core = self.core();
            (core.calls.len(), core.registry.cut())
        };
        Stats {
            calls_pending: calls as u64,
            requests_open: self.owed().len() as u64,
            offers_cut: cut,
            ..self.counters().read()
        }
    }

    /// What was counted about calls and events, in the shape that dashboards know.
    pub fn meters(&self) -> &Arc<Meters> {
        &self.shared.meters
    }

    /// What the network offers, with the number of nodes that offer it: services, actions and events, ourselves included.
    pub fn offered(&self) -> Offered {
        let core = self.core();
        let mut offered = core.registry.offered();
        for local in core.locals() {
            let service = &local.service;
            *offered.services.entry(service.name.to_owned()).or_default() += 1;
            for action in &service.actions {
                *offered.actions.entry((*action).to_owned()).or_default() += 1;
            }
            for event in &service.events {
                *offered.events.entry((*event).to_owned()).or_default() += 1;
            }
        }
        offered
    }

    /// Fills an inbox and counts what it refuses.
    pub(crate) fn fill(
        &self,
        waiting: &Waiting,
        batch: impl IntoIterator<Item = Incoming>,
        now: Instant,
    ) {
        let refused = waiting.push(batch, now);
        if refused > 0 {
            self.counters().inbox_refused.fetch_add(refused, Relaxed);
        }
    }

    pub(crate) fn core(&self) -> MutexGuard<'_, Core> {
        self.shared
            .core
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn config(&self) -> &Config {
        &self.shared.config
    }

    pub(crate) fn uplink(&self) -> &Arc<Uplink> {
        &self.shared.uplink
    }

    pub(crate) fn owed(&self) -> &Arc<Owed> {
        &self.shared.owed
    }

    pub(crate) fn counters(&self) -> &Counters {
        &self.shared.uplink.counters
    }

    /// `None` in process.
    pub(crate) fn network(&self) -> Option<&Network> {
        self.shared.uplink.network()
    }

    /// Our node id, shared.
    pub(crate) fn id(&self) -> Arc<str> {
        self.shared.uplink.node_id().clone()
    }
}

/// State of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    pub connected: bool,
    pub ever_connected: bool,
    /// Our services have been made known to the network.
    pub announced: bool,
    /// Every service of [`Config::dependencies`] is there now.
    pub services_seen: bool,
}
