//! Who is connected where, and which instances run (services.md 4.2, 6).

use bson::{DateTime, Document, RawDocument, RawDocumentBuf, doc};

use crate::collection::Collection;
use crate::edit::{ConnectionEdit, Edit, GuardedEdit, Update};
use crate::lookup::Lookup;
use crate::{Error, Store, raw};

/// One entry in `connections` of a user.
#[derive(Clone, Debug, PartialEq)]
pub struct Connection {
    /// The DDP session id; empty if it is no text.
    pub id: String,
    /// The node that holds the socket (`instanceId`).
    pub node: String,
    /// `online` or `away`; other writers may have left nothing, or any text.
    pub status: Option<String>,
    /// When it was made, in ms since 1970 by the database's clock.
    pub created: i64,
    /// When it was last touched, in ms since 1970 by the database's clock; 0 if that is not known.
    pub touched: i64,
}

/// All connections of one user, oldest first.
#[derive(Clone, Debug, PartialEq)]
pub struct UserConnections {
    /// The user's `_id`.
    pub user: String,
    /// Never empty where a search returned it, unless it is odd.
    pub connections: Vec<Connection>,
    /// What stands there is no list; whatever is written next replaces it.
    pub is_odd: bool,
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

/// What presence reads of a process in `instances`.
#[derive(Clone, Debug, PartialEq)]
pub struct InstanceSeen {
    /// Its `_id`.
    pub id: String,
    /// `extraInformation.nodeId`: its name on the bus, where it tells.
    pub node: Option<String>,
    /// `extraInformation.conns`: its open sockets.
    pub sockets: u32,
    /// `_updatedAt` in ms since 1970; moves while the process lives.
    pub updated: i64,
}

impl Store {
    /// Carries out edits of connections: each user's in their order and in one atomic step, different users' one by
    /// one. A user is named once. Only a `Put` makes a document that is missing.
    pub async fn edit_connections(
        &self,
        edits: Vec<(String, Vec<ConnectionEdit>)>,
    ) -> Result<(), Error> {
        let edits = edits.into_iter().map(|(id, edits)| GuardedEdit {
            id,
            seen: Document::new(),
            edit: Edit::Connections(edits),
        });
        self.edit_many(Collection::Sessions, edits.collect())
            .await?;
        Ok(())
    }

    /// Adds a connection of a user, or replaces the one with the same session id.
    pub async fn add_connection(
        &self,
        user: &str,
        session: &str,
        node: &str,
        status: &str,
    ) -> Result<(), Error> {
        let put = ConnectionEdit::Put {
            session: session.into(),
            node: node.into(),
            status: status.into(),
        };
        self.edit_connections(vec![(user.into(), vec![put])]).await
    }

    /// Removes the connections that belong to none of these nodes, and returns the users that had one. Several
    /// documents, not atomic.
    pub async fn remove_nodes_except(&self, live: &[String]) -> Result<Vec<String>, Error> {
        let lookup = Lookup::SessionsOfNodesExcept(live);
        let users = self.find(lookup, &["_id"]).await?;
        let edit = Edit::RemoveNodesExcept(live.to_vec());
        // Another presence service may have been faster: only the one whose write changed something goes on.
        if users.is_empty() || self.edit(lookup, edit).await?.changed == 0 {
            return Ok(Vec::new());
        }
        let ids = users.iter().filter_map(|user| raw::text(user, "_id"));
        Ok(ids.collect())
    }

    /// The connections of a user, oldest first.
    pub async fn connections(&self, user: &str) -> Result<Vec<Connection>, Error> {
        let found = self.connections_of(&[user.to_owned()]).await?;
        Ok(found
            .into_iter()
            .next()
            .map_or_else(Vec::new, |found| found.connections))
    }

    /// The connections of these users; who has none is left out.
    pub async fn connections_of(&self, users: &[String]) -> Result<Vec<UserConnections>, Error> {
        self.sessions(Lookup::Ids(Collection::Sessions, users))
            .await
    }

    /// The users that have a connection on this node, with all their connections.
    pub async fn connections_on(&self, node: &str) -> Result<Vec<UserConnections>, Error> {
        self.sessions(Lookup::SessionsOfNode(node)).await
    }

    /// The users that have a connection on a node that is not listed, with all their connections.
    pub async fn connections_elsewhere(
        &self,
        nodes: &[String],
    ) -> Result<Vec<UserConnections>, Error> {
        self.sessions(Lookup::SessionsOfNodesExcept(nodes)).await
    }

    /// The users that have a connection which was last touched at this time or before (ms since 1970), with all their
    /// connections.
    pub async fn connections_untouched(&self, since: i64) -> Result<Vec<UserConnections>, Error> {
        self.sessions(Lookup::SessionsUntouchedSince(DateTime::from_millis(since)))
            .await
    }

    /// Ids of users with a connection behind `after`, in their order, at most `limit`.
    pub async fn connected_users(&self, after: &str, limit: u32) -> Result<Vec<String>, Error> {
        let found = self
            .find(Lookup::SessionsBehind { after, limit }, &["_id"])
            .await?;
        let ids = found.iter().filter_map(|found| raw::text(found, "_id"));
        Ok(ids.collect())
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

    /// Every process that is known, dead ones too until their document expires.
    pub async fn instances(&self) -> Result<Vec<InstanceSeen>, Error> {
        let fields = &[
            "extraInformation.nodeId",
            "extraInformation.conns",
            "_updatedAt",
        ];
        let found = self
            .find(Lookup::All(Collection::Instances), fields)
            .await?;
        Ok(found.iter().map(instance).collect())
    }

    async fn sessions(&self, lookup: Lookup<'_>) -> Result<Vec<UserConnections>, Error> {
        let found = self.find(lookup, &["connections"]).await?;
        let found = found.iter().map(user_connections);
        Ok(found
            .filter(|found| !found.connections.is_empty() || found.is_odd)
            .collect())
    }
}

fn user_connections(sessions: &RawDocumentBuf) -> UserConnections {
    let list = sessions.get_array("connections").ok();
    let is_odd = list.is_none() && matches!(sessions.get("connections"), Ok(Some(_)));
    let connections = list.into_iter().flatten();
    let connections = connections.filter_map(|connection| connection.ok()?.as_document());
    UserConnections {
        user: raw::text(sessions, "_id").unwrap_or_default(),
        connections: connections.map(connection).collect(),
        is_odd,
    }
}

fn connection(connection: &RawDocument) -> Connection {
    let time = |key| {
        connection
            .get_datetime(key)
            .map_or(0, DateTime::timestamp_millis)
    };
    Connection {
        id: raw::text(connection, "id").unwrap_or_default(),
        node: raw::text(connection, "instanceId").unwrap_or_default(),
        status: raw::text(connection, "status"),
        created: time("_createdAt"),
        touched: time("_updatedAt"),
    }
}

fn instance(found: &RawDocumentBuf) -> InstanceSeen {
    let extra = found.get_document("extraInformation").ok();
    let sockets = extra.and_then(|extra| match extra.get("conns") {
        Ok(Some(bson::RawBsonRef::Int32(sockets))) => u32::try_from(sockets).ok(),
        Ok(Some(bson::RawBsonRef::Int64(sockets))) => u32::try_from(sockets).ok(),
        // A cast of a float saturates, and NaN is 0.
        Ok(Some(bson::RawBsonRef::Double(sockets))) => Some(sockets as u32),
        _ => None,
    });
    InstanceSeen {
        id: raw::text(found, "_id").unwrap_or_default(),
        node: extra.and_then(|extra| raw::text(extra, "nodeId")),
        sockets: sockets.unwrap_or(0),
        updated: found
            .get_datetime("_updatedAt")
            .map_or(0, DateTime::timestamp_millis),
    }
}
