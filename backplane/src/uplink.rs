//! What sends: subjects, the queue towards the driver, its limits and its counters, below everybody who has something
//! to say.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

use protocol::moleculer::{Kind, Subjects};
use uuid::Uuid;

use crate::{
    config::Config,
    error::ErrorKind,
    outgoing::{Item, Outgoing},
    stats::Counters,
};

/// This node's way out.
pub(crate) struct Uplink {
    node_id: Arc<str>,
    pub(crate) counters: Counters,
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

impl Uplink {
    /// Towards a NATS server; the driver keeps the other end.
    pub(crate) fn nats(config: &Config) -> (Self, Arc<Network>) {
        let network = Arc::new(Network {
            subjects: Subjects::new(config.namespace.as_deref()),
            instance: Uuid::new_v4().to_string(),
            outgoing: Outgoing::new(config.waiting_bytes),
        });
        (Self::new(config, Some(network.clone())), network)
    }

    /// Towards nobody: everybody is on this node.
    pub(crate) fn in_process(config: &Config) -> Self {
        Self::new(config, None)
    }

    fn new(config: &Config, network: Option<Arc<Network>>) -> Self {
        Self {
            node_id: config.node_id.as_str().into(),
            counters: Counters::default(),
            payload_max: AtomicUsize::new(usize::MAX),
            network,
        }
    }

    /// Gives a packet to the driver, for one node or for all.
    ///
    /// # Errors
    /// `NotFound` in process, `TooLarge` for more than the bus carries or may wait, `Disconnected` while it is away.
    pub(crate) fn send(
        &self,
        kind: Kind,
        node: Option<&str>,
        payload: Vec<u8>,
    ) -> Result<(), ErrorKind> {
        let sent = self.try_send(kind, node, payload);
        if sent.is_err() {
            self.counters.unsent.fetch_add(1, Relaxed);
        }
        sent
    }

    fn try_send(&self, kind: Kind, node: Option<&str>, payload: Vec<u8>) -> Result<(), ErrorKind> {
        let network = self.network.as_ref().ok_or(ErrorKind::NotFound)?;
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

    /// Our node id.
    pub(crate) fn node_id(&self) -> &Arc<str> {
        &self.node_id
    }

    /// The largest packet that the server takes.
    pub(crate) fn payload_max(&self) -> usize {
        self.payload_max.load(Relaxed)
    }

    pub(crate) fn set_payload_max(&self, bytes: usize) {
        self.payload_max.store(bytes, Relaxed);
    }

    /// `None` in process.
    pub(crate) fn network(&self) -> Option<&Network> {
        self.network.as_deref()
    }
}
