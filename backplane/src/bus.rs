//! The handle that everybody holds.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use protocol::moleculer::{Kind, Subjects};
use tokio::{sync::oneshot, time::sleep};
use uuid::Uuid;

use crate::{
    config::Config,
    core::Core,
    error::ErrorKind,
    inbox::{Inbox, Incoming, Waiting},
    nats::Driver,
    outgoing::{Item, Outgoing},
    registry::NodeInfo,
    stats::{Counters, Stats},
};

/// The way to the other processes: cheap to clone, usable from any thread.
#[derive(Clone)]
pub struct Bus {
    shared: Arc<Shared>,
}

struct Shared {
    config: Config,
    node_id: Arc<str>,
    core: Mutex<Core>,
    counters: Counters,
    /// What the server takes in one message.
    payload_max: AtomicUsize,
    /// `None` in process.
    network: Option<Arc<Network>>,
}

/// What it takes to reach other nodes.
pub(crate) struct Network {
    pub(crate) subjects: Subjects,
    /// UUID of this process start.
    pub(crate) instance: String,
    pub(crate) outgoing: Outgoing,
}

impl Bus {
    /// A bus over NATS; returns at once, the driver connects and retries for ever.
    pub fn nats(config: Config) -> (Self, Driver) {
        let network = Arc::new(Network {
            subjects: Subjects::new(config.namespace.as_deref()),
            instance: Uuid::new_v4().to_string(),
            outgoing: Outgoing::new(config.waiting_bytes),
        });
        let bus = Self::new(config, Some(network.clone()));
        (bus.clone(), Driver::new(bus, network))
    }

    /// A bus without a server: everybody who holds it is on the same node.
    pub fn in_process(node_id: String) -> Self {
        let bus = Self::new(
            Config {
                node_id,
                dependencies: Vec::new(),
                ..Config::default()
            },
            None,
        );
        let mut core = bus.core();
        core.is_connected = true;
        core.was_connected = true;
        core.is_announced = true;
        drop(core);
        bus
    }

    fn new(config: Config, network: Option<Arc<Network>>) -> Self {
        // Peers read our services only if `seq` grew; this holds even for a node id that is used again.
        let seq = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(1, |since| since.as_secs());
        Self {
            shared: Arc::new(Shared {
                node_id: config.node_id.as_str().into(),
                core: Mutex::new(Core::new(&config, seq)),
                counters: Counters::default(),
                payload_max: AtomicUsize::new(usize::MAX),
                network,
                config,
            }),
        }
    }

    /// Offers a service and what is sent to it; the announcement follows once [`Config::dependencies`] are met.
    pub fn announce(&self, service: Service) -> Inbox {
        let waiting = Arc::new(Waiting::new(self.config().waiting_bytes));
        self.core().add(service, waiting.clone(), Instant::now());
        self.publish_info();
        Inbox::new(self.clone(), waiting)
    }

    /// Takes a service back: its inbox receives nothing more.
    pub fn withdraw(&self, name: &str) {
        if self.core().remove(|local| local.service.name == name) {
            self.publish_info();
        }
    }

    /// Waits until everything sent so far has been given to the server (at once while disconnected).
    pub async fn flush(&self) {
        let Some(network) = self.network() else {
            return;
        };
        let (done, flushed) = oneshot::channel();
        if network.outgoing.push(Item::Flush(done)).is_ok() {
            // An error means that the connection was lost.
            let _ = flushed.await;
        }
    }

    /// Leaves politely: INFO without services, 100 ms, DISCONNECT, flush (backplane.md 6.4). Nothing is sent after it.
    pub async fn leave(&self) {
        let Some(network) = self.network() else {
            return;
        };
        self.core().has_left = true;
        self.publish_info();
        // Peers stop sending us requests before we stop answering them.
        sleep(LEAVE_PAUSE).await;
        let (done, left) = oneshot::channel();
        if network.outgoing.push(Item::Leave(done)).is_ok() {
            let _ = left.await;
        }
    }

    /// Our own node id.
    pub fn node_id(&self) -> &str {
        &self.shared.node_id
    }

    /// Every node that is known, ourselves first.
    pub fn nodes(&self) -> Vec<NodeInfo> {
        let core = self.core();
        let us = NodeInfo {
            id: self.shared.node_id.clone(),
            instance: self
                .shared
                .network
                .as_ref()
                .map(|network| network.instance.clone()),
            hostname: Some(self.config().hostname.clone()),
            local: true,
            available: true,
            services: core
                .locals()
                .iter()
                .map(|local| local.service.name.to_owned())
                .collect(),
        };
        std::iter::once(us).chain(core.peers().cloned()).collect()
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

    /// What metrics look at.
    pub fn stats(&self) -> Stats {
        let calls = self.core().calls.len();
        self.shared.counters.read(calls)
    }

    /// Ends an inbox whose reader is gone.
    pub(crate) fn close(&self, waiting: &Arc<Waiting>) {
        if self
            .core()
            .remove(|local| Arc::ptr_eq(&local.waiting, waiting))
        {
            self.publish_info();
        }
    }

    /// Gives a packet to the driver.
    pub(crate) fn send(
        &self,
        kind: Kind,
        node: Option<&str>,
        payload: Vec<u8>,
    ) -> Result<(), ErrorKind> {
        let sent = self.try_send(kind, node, payload);
        if sent.is_err() {
            self.counters().unsent.fetch_add(1, Relaxed);
        }
        sent
    }

    fn try_send(&self, kind: Kind, node: Option<&str>, payload: Vec<u8>) -> Result<(), ErrorKind> {
        let network = self.shared.network.as_ref().ok_or(ErrorKind::NotFound)?;
        if payload.len() > self.payload_max() {
            return Err(ErrorKind::TooLarge);
        }
        let subject = match node {
            Some(node) => network.subjects.node(kind, node),
            None => network.subjects.all(kind),
        };
        network.outgoing.push(Item::Packet {
            kind,
            subject,
            payload,
        })
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

    pub(crate) fn counters(&self) -> &Counters {
        &self.shared.counters
    }

    pub(crate) fn payload_max(&self) -> usize {
        self.shared.payload_max.load(Relaxed)
    }

    pub(crate) fn set_payload_max(&self, bytes: usize) {
        self.shared.payload_max.store(bytes, Relaxed);
    }

    /// `None` in process.
    pub(crate) fn network(&self) -> Option<&Network> {
        self.shared.network.as_deref()
    }

    /// Our node id, shared.
    pub(crate) fn id(&self) -> Arc<str> {
        self.shared.node_id.clone()
    }
}

/// A service as it is announced; lists of full names.
#[derive(Clone, Debug)]
pub struct Service {
    pub name: &'static str,
    /// `service.method`.
    pub actions: Vec<&'static str>,
    pub events: Vec<&'static str>,
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

/// Peers wait as long between INFO without services and DISCONNECT.
const LEAVE_PAUSE: Duration = Duration::from_millis(100);
