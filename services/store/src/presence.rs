//! Who is connected where, and which instances run (services.md 4.2, 6).

use bson::Document;

use crate::{Error, Store};

/// One live connection of a user.
#[derive(Clone, Debug, PartialEq)]
pub struct Connection {
    /// The DDP session id.
    pub id: String,
    /// The node that holds the socket (`instanceId`).
    pub node: String,
    /// `online` or `away`.
    pub status: String,
    /// When it was last touched, in ms since 1970.
    pub touched: i64,
}

/// A process as others see it in `instances`.
#[derive(Clone, Debug, PartialEq)]
pub struct Instance {
    /// A UUID of this process start.
    pub id: String,
    /// Such as `ddp-streamer`.
    pub name: String,
    /// Process id.
    pub pid: u32,
    /// `extraInformation`.
    pub extra: Document,
}

impl Store {
    /// Adds a connection of a user, or replaces the one with the same session id; whether something changed is always
    /// yes.
    pub async fn add_connection(
        &self,
        user: &str,
        session: &str,
        node: &str,
        status: &str,
    ) -> Result<(), Error> {
        let _ = (user, session, node, status);
        todo!()
    }

    /// Removes a connection; whether it was there.
    pub async fn remove_connection(&self, user: &str, session: &str) -> Result<bool, Error> {
        let _ = (user, session);
        todo!()
    }

    /// Removes every connection of a node and returns the users that had one. Several documents, not atomic.
    pub async fn remove_node(&self, node: &str) -> Result<Vec<String>, Error> {
        let _ = node;
        todo!()
    }

    /// Removes the connections that belong to none of these nodes and were last touched before a time (ms since
    /// 1970), and returns the users that had one. Several documents, not atomic.
    pub async fn remove_nodes_except(
        &self,
        live: &[String],
        before: i64,
    ) -> Result<Vec<String>, Error> {
        let _ = (live, before);
        todo!()
    }

    /// Sets the status of a connection; whether it exists.
    pub async fn set_connection_status(
        &self,
        user: &str,
        session: &str,
        status: &str,
    ) -> Result<bool, Error> {
        let _ = (user, session, status);
        todo!()
    }

    /// Says that a connection is still alive; whether it exists.
    pub async fn touch_connection(&self, user: &str, session: &str) -> Result<bool, Error> {
        let _ = (user, session);
        todo!()
    }

    /// The connections of a user, oldest first.
    pub async fn connections(&self, user: &str) -> Result<Vec<Connection>, Error> {
        let _ = user;
        todo!()
    }

    /// Makes a process known, or known again.
    pub async fn register_instance(&self, instance: &Instance) -> Result<(), Error> {
        let _ = instance;
        todo!()
    }

    /// Says that a process is alive; `false` if it must register again.
    pub async fn instance_ping(&self, id: &str) -> Result<bool, Error> {
        let _ = id;
        todo!()
    }

    /// Publishes how many sockets a process has; `false` if it must register again.
    pub async fn instance_connections(&self, id: &str, connections: u32) -> Result<bool, Error> {
        let _ = (id, connections);
        todo!()
    }

    /// Forgets a process; whether it was known.
    pub async fn remove_instance(&self, id: &str) -> Result<bool, Error> {
        let _ = id;
        todo!()
    }
}
