//! The handle that everybody holds.

use bytes::Bytes;

use crate::{
    calls::CallOptions, config::Config, error::Error, inbox::Inbox, nats::Driver,
    registry::NodeInfo, stats::Stats,
};

/// The way to the other processes: cheap to clone, usable from any thread.
#[derive(Clone)]
pub struct Bus {}

impl Bus {
    /// A bus over NATS; returns at once, the driver connects and retries for ever.
    pub fn nats(config: Config) -> (Self, Driver) {
        let _ = config;
        todo!()
    }

    /// A bus without a server: everybody who holds it is on the same node.
    pub fn in_process(node_id: String) -> Self {
        let _ = node_id;
        todo!()
    }

    /// Offers a service and what is sent to it; the announcement follows once [`Config::dependencies`] are met.
    pub fn announce(&self, service: Service) -> Inbox {
        let _ = service;
        todo!()
    }

    /// Takes a service back: its inbox receives nothing more.
    pub fn withdraw(&self, name: &str) {
        let _ = name;
        todo!()
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
        let _ = (action, params, options);
        todo!()
    }

    /// Sends an event (raw JSON array) once to every node that lists it, and to our own inboxes.
    pub fn broadcast(&self, event: &str, args: &str) {
        self.broadcast_to(event, args, &[]);
    }

    /// As `broadcast`, to services of these names only (none named: to all).
    pub fn broadcast_to(&self, event: &str, args: &str, groups: &[&str]) {
        let _ = (event, args, groups);
        todo!()
    }

    /// Sends an event to one node of every service that lists it.
    pub fn emit(&self, event: &str, args: &str) {
        let _ = (event, args);
        todo!()
    }

    /// Waits until everything sent so far has been given to the server (at once while disconnected).
    pub async fn flush(&self) {
        todo!()
    }

    /// Leaves politely: INFO without services, 100 ms, DISCONNECT, flush (backplane.md 6.4). Nothing is sent after it.
    pub async fn leave(&self) {
        todo!()
    }

    /// Our own node id.
    pub fn node_id(&self) -> &str {
        todo!()
    }

    /// Every node that is known, ourselves first.
    pub fn nodes(&self) -> Vec<NodeInfo> {
        todo!()
    }

    /// Whether an available node (or this one) offers a service of this name.
    pub fn has_service(&self, name: &str) -> bool {
        let _ = name;
        todo!()
    }

    /// What readiness looks at.
    pub fn status(&self) -> Status {
        todo!()
    }

    /// What metrics look at.
    pub fn stats(&self) -> Stats {
        todo!()
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
    /// Every service of [`Config::dependencies`] has been seen.
    pub services_seen: bool,
}
