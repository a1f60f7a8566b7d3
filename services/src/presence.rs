//! Who is online (services.md 4): keeps the connections of every user, merges them into one status, tells the others.

mod merge;

use std::sync::Arc;

use backplane::{Bus, Incoming, Service, ServiceError};
use bytes::Bytes;
use serde_json::json;
use store::{
    Store, Update, User,
    bson::{Document, doc},
};
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use self::merge::{merge_connections, merge_default};
use crate::{
    errors::{meteor, unavailable},
    params::Params,
    serve::{Call, Handler, Outcome, serve},
};

/// Requests handled at the same time; more wait on the bus.
const CONCURRENT: usize = 256;
/// Two events of one user must not interleave and leave the older result: users are spread over this many locks.
const STRIPES: usize = 64;
const STATUSES: [&str; 4] = ["online", "away", "busy", "offline"];
/// Characters of a status text.
const TEXT_MAX: usize = 120;

struct Presence {
    bus: Bus,
    store: Store,
    stripes: [Mutex<()>; STRIPES],
}

/// Serves `presence` until the shutdown.
pub async fn run(bus: Bus, store: Store, shutdown: CancellationToken) {
    let inbox = bus.announce(Service {
        name: "presence",
        actions: vec![
            "presence.newConnection",
            "presence.removeConnection",
            "presence.updateConnection",
            "presence.removeLostConnections",
            "presence.setStatus",
            "presence.setConnectionStatus",
            "presence.updateUserPresence",
        ],
        events: vec![],
    });
    let presence = Arc::new(Presence {
        bus,
        store,
        stripes: std::array::from_fn(|_| Mutex::default()),
    });
    serve(presence, inbox, "presence", CONCURRENT, &shutdown).await;
}

impl Handler for Presence {
    async fn handle_call(self: Arc<Self>, call: Call) -> Outcome {
        self.dispatch(call.action, &call.params, &call.sender).await
    }

    async fn handle_news(self: Arc<Self>, news: Incoming) {
        // Its sockets died with it: nobody else will say so.
        if let Incoming::NodeDown { node, .. } = news
            && let Err(error) = self.forget_node(&node.id).await
        {
            tracing::warn!(?error, node = %node.id, "cannot remove the connections of a lost node");
        }
    }
}

impl Presence {
    async fn dispatch(&self, action: &str, params: &Params, sender: &str) -> Outcome {
        let answer = match (action, params.text(0), params.text(1)) {
            ("presence.newConnection", Some(user), Some(session)) => {
                let node = params.text(2).unwrap_or(sender);
                let _turn = self.turn(user).await;
                self.store
                    .add_connection(user, session, node, "online")
                    .await
                    .map_err(unavailable)?;
                self.recompute(user).await?;
                json!({ "uid": user, "connectionId": session })
            }
            ("presence.removeConnection", Some(user), Some(session)) => {
                let _turn = self.turn(user).await;
                self.store
                    .remove_connection(user, session)
                    .await
                    .map_err(unavailable)?;
                self.recompute(user).await?;
                json!({ "uid": user, "session": session })
            }
            ("presence.updateConnection", Some(user), Some(session)) => {
                let _turn = self.turn(user).await;
                if !self
                    .store
                    .touch_connection(user, session)
                    .await
                    .map_err(unavailable)?
                {
                    // It was reaped although its socket lives: the one who touches it is the one who has it.
                    self.store
                        .add_connection(user, session, sender, "online")
                        .await
                        .map_err(unavailable)?;
                    self.recompute(user).await?;
                }
                json!({ "uid": user, "connectionId": session })
            }
            ("presence.setConnectionStatus", Some(user), Some(status)) => {
                let status = known(status)?;
                let Some(session) = params.text(2) else {
                    return Ok(Some(Bytes::from_static(b"false")));
                };
                let _turn = self.turn(user).await;
                let found = self
                    .store
                    .set_connection_status(user, session, status)
                    .await
                    .map_err(unavailable)?;
                self.recompute(user).await?;
                found.into()
            }
            ("presence.setStatus", Some(user), Some(status)) => {
                let status = known(status)?;
                if status == "offline" && !self.may_be_invisible().await? {
                    return Err(meteor(
                        "error-status-not-allowed",
                        "Invisible status is disabled",
                    ));
                }
                let text = params
                    .get(2)
                    .and_then(|text| text.as_str())
                    .map(|text| text.trim().chars().take(TEXT_MAX).collect::<String>());
                let _turn = self.turn(user).await;
                let mut chosen = doc! { "statusDefault": status };
                if let Some(text) = text {
                    chosen.insert("statusText", text);
                }
                self.write(user, chosen).await?.into()
            }
            ("presence.updateUserPresence", Some(user), _) => {
                let _turn = self.turn(user).await;
                self.recompute(user).await?;
                return Ok(None);
            }
            ("presence.removeLostConnections", Some(node), _) => {
                json!(self.forget_node(node).await?)
            }
            // Without a user or a session there is nothing to keep, as in the original.
            _ => return Ok(None),
        };
        Ok(Some(answer.to_string().into()))
    }

    /// Whether the workspace lets people hide; it does unless it says no.
    async fn may_be_invisible(&self) -> Result<bool, ServiceError> {
        let setting = self
            .store
            .setting("Accounts_AllowInvisibleStatusOption")
            .await;
        let allowed = setting.map_err(unavailable)?;
        Ok(allowed.and_then(|value| value.as_bool()) != Some(false))
    }

    async fn turn(&self, user: &str) -> tokio::sync::MutexGuard<'_, ()> {
        let hash = user.bytes().fold(0usize, |hash, byte| {
            hash.wrapping_mul(31).wrapping_add(byte.into())
        });
        self.stripes[hash % STRIPES].lock().await
    }

    async fn forget_node(&self, node: &str) -> Result<Vec<String>, ServiceError> {
        let users = self.store.remove_node(node).await.map_err(unavailable)?;
        for user in &users {
            let _turn = self.turn(user).await;
            self.recompute(user).await?;
        }
        Ok(users)
    }

    async fn recompute(&self, user: &str) -> Result<(), ServiceError> {
        self.write(user, Document::new()).await.map(|_| ())
    }

    /// Writes what the user chose and what follows from it and from the connections; tells the others if it shows.
    async fn write(&self, id: &str, mut set: Document) -> Result<bool, ServiceError> {
        let Some(before) = self.store.user(id).await.map_err(unavailable)? else {
            return Ok(false);
        };
        let connections = self.store.connections(id).await.map_err(unavailable)?;
        let connection = merge_connections(
            connections
                .iter()
                .map(|connection| connection.status.as_str()),
        );
        let default = set
            .get_str("statusDefault")
            .ok()
            .or(before.status_default.as_deref())
            .unwrap_or("online")
            .to_owned();
        let status = merge_default(connection, &default);
        set.insert("status", status);
        set.insert("statusConnection", connection);
        let changed = self
            .store
            .set_user_status(id, Update::set(set.clone()))
            .await
            .map_err(unavailable)?;
        let text = set
            .get_str("statusText")
            .ok()
            .or(before.status_text.as_deref());
        if before.status.as_deref() != Some(status) || before.status_text.as_deref() != text {
            self.tell(&before, status, text);
        }
        Ok(changed)
    }

    fn tell(&self, user: &User, status: &str, text: Option<&str>) {
        let event = json!([{
            "user": { "_id": user.id, "username": user.username, "name": user.name, "status": status, "statusText": text, "roles": user.roles },
            "previousStatus": user.status,
        }]);
        self.bus.broadcast("presence.status", &event.to_string());
    }
}

/// Only the four words are statuses: any other text of a client stays out of the database.
fn known(status: &str) -> Result<&'static str, ServiceError> {
    STATUSES
        .into_iter()
        .find(|known| *known == status)
        .ok_or_else(|| meteor("error-invalid-status", "Invalid status"))
}

#[cfg(test)]
mod tests {
    use backplane::{CallOptions, ErrorKind};

    use super::*;

    #[tokio::test]
    async fn only_known_statuses_are_taken_and_hiding_only_where_it_is_allowed() {
        let (bus, store) = (
            Bus::in_process("node".into()),
            Store::embedded(None).unwrap(),
        );
        let user = doc! { "_id": "u1", "username": "bob", "active": true };
        store.insert_user(user).await.unwrap();
        tokio::spawn(run(bus.clone(), store.clone(), CancellationToken::new()));
        while !bus.has_service("presence") {
            tokio::task::yield_now().await;
        }
        let set = async |status: &str| {
            let params = json!(["u1", status]).to_string();
            let options = CallOptions::default();
            match bus.call("presence.setStatus", &params, options).await {
                Ok(_) => String::new(),
                Err(error) => match error.kind {
                    ErrorKind::Refused(remote) => remote.meteor().unwrap().error.to_string(),
                    other => panic!("{other:?}"),
                },
            }
        };
        assert_eq!(set("offline").await, "");
        assert_eq!(set("busy").await, "");
        assert_eq!(set("gone").await, "error-invalid-status");
        let setting = doc! { "_id": "Accounts_AllowInvisibleStatusOption", "value": false };
        store.insert_setting(setting).await.unwrap();
        assert_eq!(set("offline").await, "error-status-not-allowed");
        assert_eq!(set("away").await, "");
    }
}
