//! What is known about one node.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::offers::Offers;

/// A member of the network as this node sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeInfo {
    pub id: Arc<str>,
    /// UUID of the process start.
    pub instance: Option<String>,
    pub hostname: Option<String>,
    /// What it runs on, in its own words: `nodejs 0.14.36`, or `rust` and the version of ours.
    pub client: Option<String>,
    /// This very node.
    pub local: bool,
    /// False once it left or was lost; such nodes are forgotten after 10 minutes.
    pub available: bool,
    /// Names of the services that it announces (`$node` left out).
    pub services: Arc<[Arc<str>]>,
}

impl NodeInfo {
    /// Whether it runs ddp-edge.
    pub fn is_ours(&self) -> bool {
        let client = self.client.as_deref();
        client.is_some_and(|client| client.starts_with("rust "))
    }
}

/// How the network changed.
#[derive(Debug, PartialEq)]
pub(crate) enum Change {
    Up(NodeInfo),
    /// It offers something else than before.
    Offers(NodeInfo),
    Down {
        node: NodeInfo,
        unexpected: bool,
    },
    /// A node that was lost is back as the same process: it went on sending, and we did not hear it.
    Returned {
        node: Arc<str>,
        since: Instant,
    },
}

/// A node, and how it has behaved.
pub(super) struct Node {
    pub(super) info: NodeInfo,
    /// A list of services is read only if its `seq` is greater (backplane.md 6.2).
    pub(super) seq: f64,
    pub(super) offers: Offers,
    pub(super) heartbeat: Instant,
    pub(super) offline_since: Option<Instant>,
    /// It is offline because it fell silent, not because it said so.
    pub(super) was_lost: bool,
    /// When it last sent an event or a request to this node: until then it knew us.
    pub(super) sent_to_us: Option<Instant>,
    /// It has sent us something, or we have called it.
    pub(super) is_met: bool,
    /// When it last forgot us.
    pub(super) forgot_us: Option<Instant>,
    /// Percent, as its last heartbeat said.
    pub(super) cpu: Option<f64>,
    /// When the ping was sent that it has not answered, and how long the one before took.
    pub(super) pinged: Option<Instant>,
    pub(super) latency: Option<Duration>,
}

impl Node {
    /// One that has just said its first word.
    pub(super) fn new(id: Arc<str>, seq: f64, now: Instant) -> Self {
        Self {
            info: NodeInfo {
                id,
                instance: None,
                hostname: None,
                client: None,
                local: false,
                available: true,
                services: Arc::default(),
            },
            seq,
            offers: Offers::default(),
            heartbeat: now,
            offline_since: None,
            was_lost: false,
            sent_to_us: None,
            is_met: false,
            forgot_us: None,
            cpu: None,
            pinged: None,
            latency: None,
        }
    }
}
