//! The handle that everybody holds.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use protocol::moleculer::{
    Announcement, Emission, Kind, Request as RequestPacket, Subjects, Version, encode,
};
use serde_json::value::RawValue;
use tokio::{
    sync::oneshot,
    time::{sleep, timeout},
};
use uuid::Uuid;

use crate::{
    calls::{CallOptions, Context, Outcome, Outline},
    config::Config,
    core::Core,
    error::{Error, ErrorKind},
    inbox::{Event, Inbox, Incoming, Request, Waiting},
    nats::Driver,
    outgoing::{Item, Outgoing},
    registry::NodeInfo,
    reply::{Reply, empty_object},
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
    network: Option<Network>,
}

/// What it takes to reach other nodes.
struct Network {
    subjects: Subjects,
    /// UUID of this process start.
    instance: String,
    outgoing: Outgoing,
}

impl Bus {
    /// A bus over NATS; returns at once, the driver connects and retries for ever.
    pub fn nats(config: Config) -> (Self, Driver) {
        let network = Network {
            subjects: Subjects::new(config.namespace.as_deref()),
            instance: Uuid::new_v4().to_string(),
            outgoing: Outgoing::new(config.waiting_bytes),
        };
        let bus = Self::new(config, Some(network));
        (bus.clone(), Driver::new(bus))
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

    fn new(config: Config, network: Option<Network>) -> Self {
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

    /// Calls one action with a raw JSON array; the result is raw JSON, `None` where there is no `data`.
    ///
    /// # Errors
    /// At once while disconnected; a lost node, a lost connection and a dropped request are errors too, never a hang.
    pub async fn call(
        &self,
        action: &str,
        params: &str,
        options: CallOptions,
    ) -> Result<Option<Bytes>, Error> {
        self.try_call(action, params, options)
            .await
            .map_err(|kind| Error::new(kind, action))
    }

    async fn try_call(&self, action: &str, params: &str, options: CallOptions) -> Outcome {
        let params = json_array(params).ok_or(ErrorKind::Malformed)?;
        let node = options.node.clone();
        let id = Uuid::new_v4().to_string();
        let outline = Outline::new(id, options, self.config().request_timeout, Instant::now())?;
        let patience = outline.timeout;
        // Ends with this future, whichever way it ends.
        let _forgotten = Forgotten {
            bus: self,
            id: outline.id.clone(),
        };
        let answer = match self.route(action, node.as_deref(), &outline.id)? {
            Route::Local(service, action, waiting) => {
                let (answer, receiver) = oneshot::channel();
                let now = Instant::now();
                let request = Request {
                    action,
                    params: Bytes::copy_from_slice(params.get().as_bytes()),
                    sender: self.shared.node_id.clone(),
                    context: Context {
                        id: outline.id,
                        request_id: outline.request_id,
                        level: outline.level,
                        service,
                        deadline: now.checked_add(patience),
                        meta: outline.meta,
                    },
                    reply: Reply::local(answer),
                };
                self.fill(&waiting, [Incoming::Request(request)], now);
                receiver
            }
            Route::Node(node, receiver) => {
                let payload = encode(&RequestPacket {
                    id: outline.id.as_str().into(),
                    action: action.into(),
                    params: Some(params),
                    meta: serde_json::from_slice(&outline.meta).ok(),
                    timeout: Some(outline.timeout.as_secs_f64() * 1e3),
                    level: Some(outline.level.into()),
                    tracing: None,
                    parent_id: outline.parent_id,
                    request_id: Some(outline.request_id),
                    caller: outline.caller.map(str::to_owned),
                    stream: Some(false),
                    ver: Version,
                    sender: self.node_id().into(),
                });
                self.send(Kind::Request, Some(&node), payload)?;
                receiver
            }
        };
        match timeout(patience, answer).await {
            Ok(outcome) => outcome.unwrap_or(Err(ErrorKind::Disconnected)),
            Err(_) => Err(ErrorKind::Timeout),
        }
    }

    /// Sends an event (raw JSON array) once to every node that lists it, and to our own inboxes.
    pub fn broadcast(&self, event: &str, args: &str) {
        self.broadcast_to(event, args, &[]);
    }

    /// As `broadcast`, to services of these names only (none named: to all).
    pub fn broadcast_to(&self, event: &str, args: &str, groups: &[&str]) {
        let Some(data) = self.event_args(event, args) else {
            return;
        };
        let (listeners, nodes) = {
            let core = self.core();
            (
                core.listeners(),
                core.registry.nodes_listening(event, groups),
            )
        };
        if let Some((name, inboxes)) = listeners.get_key_value(event) {
            let meant = inboxes
                .iter()
                .filter(|(service, _)| groups.is_empty() || groups.contains(service));
            self.send_locally(name, args, meant.map(|(_, waiting)| waiting));
        }
        let request_id = Uuid::new_v4().to_string();
        for node in nodes {
            self.send_event(&node, event, data, groups, true, &request_id);
        }
    }

    /// Sends an event to one node of every service that lists it.
    pub fn emit(&self, event: &str, args: &str) {
        let Some(data) = self.event_args(event, args) else {
            return;
        };
        let (listeners, groups) = {
            let core = self.core();
            (core.listeners(), core.registry.groups_listening(event))
        };
        let local = listeners.get_key_value(event);
        let is_ours = |group: &str| {
            local.is_some_and(|(_, inboxes)| inboxes.iter().any(|(service, _)| *service == group))
        };
        if let Some((name, inboxes)) = local {
            self.send_locally(name, args, inboxes.iter().map(|(_, waiting)| waiting));
        }
        let mut by_node: BTreeMap<Arc<str>, Vec<Arc<str>>> = BTreeMap::new();
        let turn = Uuid::new_v4().as_u128() as usize;
        for (group, nodes) in groups {
            if let Some(node) = nodes
                .get(turn % nodes.len().max(1))
                .filter(|_| !is_ours(&group))
            {
                by_node.entry(node.clone()).or_default().push(group);
            }
        }
        let request_id = Uuid::new_v4().to_string();
        for (node, groups) in by_node {
            let groups: Vec<&str> = groups.iter().map(|group| &**group).collect();
            self.send_event(&node, event, data, &groups, false, &request_id);
        }
    }

    /// Waits until everything sent so far has been given to the server (at once while disconnected).
    pub async fn flush(&self) {
        let Some(network) = &self.shared.network else {
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
        let Some(network) = &self.shared.network else {
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

    /// Tells everybody what this node offers, as the next `seq`.
    pub(crate) fn publish_info(&self) {
        let Some(network) = &self.shared.network else {
            return;
        };
        let mut core = self.core();
        let dependencies = &self.config().dependencies;
        core.is_announced |= dependencies.iter().all(|name| core.has_service(name));
        core.seq += 1;
        let payload = self.info(&core, network);
        // Under the lock, so that announcements leave in the order of their `seq`.
        let _ = self.send(Kind::Info, None, payload);
    }

    /// Announces our services as soon as what they depend on has been seen.
    pub(crate) fn announce_if_due(&self) {
        let is_due = {
            let core = self.core();
            !core.is_announced
                && self
                    .config()
                    .dependencies
                    .iter()
                    .all(|name| core.has_service(name))
        };
        if is_due {
            self.publish_info();
        }
    }

    /// Tells one node what this node offers.
    pub(crate) fn send_info_to(&self, node: &str) {
        let Some(network) = &self.shared.network else {
            return;
        };
        let payload = self.info(&self.core(), network);
        let _ = self.send(Kind::Info, Some(node), payload);
    }

    fn info(&self, core: &Core, network: &Network) -> Vec<u8> {
        let services: Vec<_> = match core.is_announced && !core.has_left {
            true => core.locals().iter().map(|local| &local.service).collect(),
            false => Vec::new(),
        };
        let services: Vec<_> = services
            .iter()
            .map(|service| (service.name, &*service.actions, &*service.events))
            .collect();
        encode(&Announcement {
            services: &services,
            hostname: &self.config().hostname,
            client: (
                "rust",
                env!("CARGO_PKG_VERSION"),
                env!("CARGO_PKG_RUST_VERSION"),
            ),
            instance_id: &network.instance,
            seq: core.seq,
            sender: self.node_id(),
        })
    }

    /// Where a call goes; the answer of another node is expected from here on.
    fn route(&self, action: &str, node: Option<&str>, id: &str) -> Result<Route, ErrorKind> {
        let mut core = self.core();
        let is_local_meant = node.is_none_or(|node| node == self.node_id());
        let next = match node {
            Some(node) => core.registry.this_node(action, node),
            None if core.is_our_turn(action, self.config().prefer_local) => None,
            None => core.registry.next_node(action),
        };
        match (next, core.local_action(action)) {
            (None, Some((local, action))) if is_local_meant => Ok(Route::Local(
                local.service.name,
                action,
                local.waiting.clone(),
            )),
            _ if !core.is_connected => Err(ErrorKind::Disconnected),
            (Some(node), _) => {
                let answer = core.calls.begin(id.to_owned(), node.clone());
                Ok(Route::Node(node, answer))
            }
            (None, _) => Err(ErrorKind::NotFound),
        }
    }

    /// Checked args, which are spliced into packets; an event with other args is not sent.
    fn event_args<'a>(&self, event: &str, args: &'a str) -> Option<&'a RawValue> {
        let data = json_array(args);
        if data.is_none() {
            tracing::error!(event, "the args of an event are no JSON array");
        }
        data
    }

    fn send_locally<'a>(
        &self,
        name: &'static str,
        args: &str,
        inboxes: impl Iterator<Item = &'a Arc<Waiting>>,
    ) {
        let now = Instant::now();
        let event = Event {
            name,
            args: Bytes::copy_from_slice(args.as_bytes()),
            sender: self.shared.node_id.clone(),
            from_us: true,
            meta: Bytes::from_static(b"{}"),
            received: now,
        };
        for waiting in inboxes {
            self.fill(waiting, [Incoming::Event(event.clone())], now);
        }
    }

    fn send_event(
        &self,
        node: &str,
        event: &str,
        data: &RawValue,
        groups: &[&str],
        broadcast: bool,
        request_id: &str,
    ) {
        let payload = encode(&Emission {
            id: &Uuid::new_v4().to_string(),
            event,
            data,
            groups,
            broadcast,
            meta: empty_object(),
            level: 1,
            tracing: None,
            parent_id: None,
            request_id: Some(request_id),
            caller: None,
            need_ack: None,
            ver: Version,
            sender: self.node_id(),
        });
        if self.send(Kind::Event, Some(node), payload) == Err(ErrorKind::TooLarge) {
            tracing::error!(event, node, "the event is larger than the bus carries");
        }
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

    /// The way to the driver and the subjects; only a bus with a driver asks.
    pub(crate) fn outgoing(&self) -> &Outgoing {
        &self.network().outgoing
    }

    pub(crate) fn subjects(&self) -> &Subjects {
        &self.network().subjects
    }

    pub(crate) fn instance(&self) -> &str {
        &self.network().instance
    }

    fn network(&self) -> &Network {
        self.shared
            .network
            .as_ref()
            .expect("a driver is only made for a bus with a network")
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

enum Route {
    /// Service, action, inbox.
    Local(&'static str, &'static str, Arc<Waiting>),
    Node(Arc<str>, oneshot::Receiver<Outcome>),
}

/// Takes a call out of the table when its caller gives up.
struct Forgotten<'a> {
    bus: &'a Bus,
    id: String,
}

impl Drop for Forgotten<'_> {
    fn drop(&mut self) {
        self.bus.core().calls.forget(&self.id);
    }
}

/// The text as raw JSON, if it is one array.
fn json_array(text: &str) -> Option<&RawValue> {
    serde_json::from_str::<&RawValue>(text)
        .ok()
        .filter(|raw| raw.get().starts_with('['))
}

/// Peers wait as long between INFO without services and DISCONNECT.
const LEAVE_PAUSE: Duration = Duration::from_millis(100);
