//! Who is connected where, and which instances run (services.md 4.2, 6).

use bson::{DateTime, Document, RawDocument, doc};

use crate::collection::Collection;
use crate::edit::{Edit, Update};
use crate::lookup::Lookup;
use crate::{Error, Store, raw};

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
    /// Adds a connection of a user, or replaces the one with the same session id.
    pub async fn add_connection(
        &self,
        user: &str,
        session: &str,
        node: &str,
        status: &str,
    ) -> Result<(), Error> {
        let edit = Edit::PutConnection {
            session: session.into(),
            node: node.into(),
            status: status.into(),
        };
        self.edit(Lookup::Id(Collection::Sessions, user), edit)
            .await?;
        Ok(())
    }

    /// Removes a connection; whether it was there.
    pub async fn remove_connection(&self, user: &str, session: &str) -> Result<bool, Error> {
        let lookup = Lookup::ConnectionOf { user, session };
        Ok(self
            .edit(lookup, Edit::RemoveConnection(session.into()))
            .await?
            .found
            > 0)
    }

    /// Removes every connection of a node and returns the users that had one. Several documents, not atomic.
    pub async fn remove_node(&self, node: &str) -> Result<Vec<String>, Error> {
        self.remove_connections(Lookup::SessionsOfNode(node), Edit::RemoveNode(node.into()))
            .await
    }

    /// Removes the connections that belong to none of these nodes and were last touched before a time (ms since
    /// 1970), and returns the users that had one. Several documents, not atomic.
    pub async fn remove_nodes_except(
        &self,
        live: &[String],
        before: i64,
    ) -> Result<Vec<String>, Error> {
        let before = DateTime::from_millis(before);
        let lookup = Lookup::SessionsOfNodesExcept { live, before };
        self.remove_connections(
            lookup,
            Edit::RemoveNodesExcept {
                live: live.to_vec(),
                before,
            },
        )
        .await
    }

    /// Sets the status of a connection; whether it exists.
    pub async fn set_connection_status(
        &self,
        user: &str,
        session: &str,
        status: &str,
    ) -> Result<bool, Error> {
        let edit = Edit::SetConnectionStatus {
            session: session.into(),
            status: status.into(),
        };
        Ok(self
            .edit(Lookup::ConnectionOf { user, session }, edit)
            .await?
            .found
            > 0)
    }

    /// Says that a connection is still alive; whether it exists.
    pub async fn touch_connection(&self, user: &str, session: &str) -> Result<bool, Error> {
        let edit = Edit::TouchConnection(session.into());
        Ok(self
            .edit(Lookup::ConnectionOf { user, session }, edit)
            .await?
            .found
            > 0)
    }

    /// The connections of a user, oldest first.
    pub async fn connections(&self, user: &str) -> Result<Vec<Connection>, Error> {
        let sessions = self
            .find_one(Lookup::Id(Collection::Sessions, user), &["connections"])
            .await?;
        let connections = sessions
            .as_ref()
            .and_then(|sessions| sessions.get_array("connections").ok());
        let connections = connections
            .into_iter()
            .flatten()
            .filter_map(|connection| connection.ok()?.as_document());
        let connection = |connection: &RawDocument| Connection {
            id: raw::text(connection, "id").unwrap_or_default(),
            node: raw::text(connection, "instanceId").unwrap_or_default(),
            status: raw::text(connection, "status").unwrap_or_default(),
            touched: connection
                .get_datetime("_updatedAt")
                .map_or(0, DateTime::timestamp_millis),
        };
        Ok(connections.map(connection).collect())
    }

    /// Makes a process known, or known again.
    pub async fn register_instance(&self, instance: &Instance) -> Result<(), Error> {
        let fields = doc! {
            "pid": i64::from(instance.pid),
            "name": &instance.name,
            "extraInformation": instance.extra.clone(),
        };
        self.edit(
            Lookup::Id(Collection::Instances, &instance.id),
            Edit::RegisterInstance(fields),
        )
        .await?;
        Ok(())
    }

    /// Says that a process is alive; `false` if it must register again.
    pub async fn instance_ping(&self, id: &str) -> Result<bool, Error> {
        Ok(self
            .edit(Lookup::Id(Collection::Instances, id), Edit::PingInstance)
            .await?
            .found
            > 0)
    }

    /// Publishes how many sockets a process has; `false` if it must register again.
    pub async fn instance_connections(&self, id: &str, connections: u32) -> Result<bool, Error> {
        let update = Update::set(doc! { "extraInformation.conns": i64::from(connections) });
        Ok(self
            .edit(
                Lookup::Id(Collection::Instances, id),
                Edit::RawFields(update),
            )
            .await?
            .found
            > 0)
    }

    /// Forgets a process; whether it was known.
    pub async fn remove_instance(&self, id: &str) -> Result<bool, Error> {
        self.remove(Lookup::Id(Collection::Instances, id)).await
    }

    async fn remove_connections(
        &self,
        lookup: Lookup<'_>,
        edit: Edit,
    ) -> Result<Vec<String>, Error> {
        let users = self.find(lookup, &["_id"]).await?;
        // Another presence service may have been faster: only the one whose write changed something goes on.
        if users.is_empty() || self.edit(lookup, edit).await?.changed == 0 {
            return Ok(Vec::new());
        }
        Ok(users
            .iter()
            .filter_map(|user| raw::text(user, "_id"))
            .collect())
    }
}
