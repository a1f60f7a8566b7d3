//! How to reach the network, and what we are called there.

use std::time::Duration;

use crate::{
    nats::{Access, Server},
    registry::Strategy,
};

/// How to reach the network, and what we are called there.
#[derive(Clone)]
pub struct Config {
    /// Tried in turn.
    pub servers: Vec<Server>,
    pub access: Access,
    /// `MS_NAMESPACE`: subjects begin with `MOL-<namespace>` instead of `MOL`.
    pub namespace: Option<String>,
    /// Unique per process start: `<hostname>-<uuid>`.
    pub node_id: String,
    pub hostname: String,
    /// Deadline of a call that names none.
    pub request_timeout: Duration,
    pub heartbeat_interval: Duration,
    /// A peer that is silent for longer is lost.
    pub heartbeat_timeout: Duration,
    /// A service of this node is called before any other.
    pub prefer_local: bool,
    /// Which of the other nodes is called.
    pub strategy: Strategy,
    /// Our services stay unannounced until each of these has been seen (backplane.md 4.5).
    pub dependencies: Vec<String>,
    /// What may wait in one inbox, and what may wait to be sent.
    pub waiting_bytes: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            servers: Server::list("nats://127.0.0.1:4222").expect("this is an address"),
            access: Access::default(),
            namespace: None,
            node_id: String::new(),
            hostname: String::new(),
            request_timeout: Duration::from_secs(60),
            heartbeat_interval: Duration::from_secs(10),
            heartbeat_timeout: Duration::from_secs(30),
            prefer_local: true,
            strategy: Strategy::default(),
            dependencies: vec!["settings".to_owned(), "license".to_owned()],
            waiting_bytes: 64 << 20,
        }
    }
}
