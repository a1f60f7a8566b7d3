//! The stand-in backend: one Moleculer node that plays the monolith and the satellites for a gateway under test, and
//! publishes the events that the swarm counts. It says yes to everything, so that only the gateway is measured.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::nats::Nats;
use crate::node::{self, Node, service, unix_nanos};
use crate::people::Person;
use crate::sys::{Epoll, Ready};

/// Above this nothing more is published: the nats-server, or who reads from it, is the bottleneck.
const BACKLOG_BYTES_MAX: usize = 8 * 1024 * 1024;
const TOKEN_LIFETIME_MS: u64 = 90 * 24 * 60 * 60 * 1000;
/// What the monolith listens to, so that a gateway pays for telling it: four broadcasts in a connection's life.
const MONOLITH_EVENTS: [&str; 4] = [
    "socket.connected",
    "socket.disconnected",
    "accounts.login",
    "accounts.logout",
];

/// How rooms, users and tokens are called; each is followed by a number from 0 up.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Names {
    /// Room ids are this and a number
    #[arg(long, default_value = "room-")]
    pub(crate) room_prefix: String,
    /// User ids are this and a number
    #[arg(long, default_value = "user-")]
    pub(crate) user_prefix: String,
    /// Resume tokens are this and the number of their user
    #[arg(long, default_value = "token-")]
    pub(crate) token_prefix: String,
    /// Who comes instead of those, into which room: people of a server that knows them.
    #[arg(skip)]
    pub(crate) real: Option<(Vec<Person>, String)>,
}

impl Names {
    pub(crate) fn room(&self, topic: u32) -> String {
        match &self.real {
            Some((_, room)) => room.clone(),
            None => format!("{}{topic}", self.room_prefix),
        }
    }

    pub(crate) fn user(&self, number: usize) -> String {
        match &self.real {
            Some((people, _)) => people[number % people.len()].id.clone(),
            None => format!("{}{number}", self.user_prefix),
        }
    }

    pub(crate) fn token(&self, number: usize) -> String {
        match &self.real {
            Some((people, _)) => people[number % people.len()].token.clone(),
            None => format!("{}{number}", self.token_prefix),
        }
    }
}

impl Default for Names {
    fn default() -> Self {
        Self {
            room_prefix: "room-".into(),
            user_prefix: "user-".into(),
            token_prefix: "token-".into(),
            real: None,
        }
    }
}

/// The node, its connection and what the gateways asked of it.
pub(crate) struct Backend {
    nats: Nats,
    node: Node,
    names: Names,
    requests: Vec<Vec<u8>>,
    /// Subjects of the gateways that events go to.
    targets: Vec<String>,
    pub(crate) logins: u64,
}

#[derive(Deserialize)]
struct Request<'a> {
    id: Value,
    sender: String,
    action: &'a str,
    #[serde(default)]
    params: Value,
    #[serde(default)]
    meta: Value,
}

impl Backend {
    /// Joins the nats-server at `addr` and announces all services but those that others play.
    pub(crate) fn join(
        addr: std::net::SocketAddr,
        names: Names,
        unplayed: &[String],
        epoll: &Epoll,
        token: u64,
    ) -> Result<Self> {
        let mut nats = Nats::connect(addr, "loadtest-backend")?;
        nats.register(epoll, token)?;
        let node = Node::join(&mut nats, "loadtest-backend", services(unplayed));
        nats.flush(epoll)?;
        Ok(Self {
            nats,
            node,
            names,
            requests: Vec::new(),
            targets: Vec::new(),
            logins: 0,
        })
    }

    /// Sends later events to every node that lists `event`: so many.
    pub(crate) fn find_targets(&mut self, event: &str) -> usize {
        self.targets = self
            .node
            .listeners(event)
            .map(|peer| format!("MOL.EVENT.{}", peer.id))
            .collect();
        self.targets.len()
    }

    /// Queues `event` with `data` (the JSON array of its arguments) for every target.
    pub(crate) fn broadcast(&mut self, packet: &mut Vec<u8>, event: &str, data: &[u8]) {
        packet.clear();
        packet.extend_from_slice(br#"{"id":"00000000-0000-4000-8000-000000000000","event":""#);
        packet.extend_from_slice(event.as_bytes());
        packet.extend_from_slice(br#"","data":"#);
        packet.extend_from_slice(data);
        packet.extend_from_slice(
            br#","broadcast":true,"meta":{},"level":1,"tracing":null,"parentID":null,"requestID":"00000000-0000-4000-8000-000000000000","caller":null,"needAck":null,"ver":"4","sender":""#,
        );
        packet.extend_from_slice(self.node.id.as_bytes());
        packet.extend_from_slice(br#""}"#);
        for target in &self.targets {
            self.nats.publish(target, packet);
        }
    }

    pub(crate) fn flush(&mut self, epoll: &Epoll) -> Result<()> {
        self.nats.flush(epoll)?;
        if self.nats.backlog_bytes() > BACKLOG_BYTES_MAX {
            bail!(
                "nats-server does not take events fast enough: {} bytes wait",
                self.nats.backlog_bytes()
            );
        }
        Ok(())
    }

    /// Goes on with a ready socket: answers requests and the life cycle's packets.
    pub(crate) fn handle_ready(&mut self, epoll: &Epoll, ready: Ready) -> Result<()> {
        if ready.readable {
            self.nats.fill()?;
            let mut life_cycle = Vec::new();
            self.nats.drain(|message| {
                if message.sid == node::REQUEST {
                    self.requests.push(message.payload.to_vec());
                } else if node::is_life_cycle(&message) {
                    life_cycle.push((message.sid, message.payload.to_vec()));
                }
            })?;
            for (sid, payload) in life_cycle {
                self.node.handle_packet(&mut self.nats, sid, &payload);
            }
            for payload in std::mem::take(&mut self.requests) {
                self.answer(&payload);
            }
        }
        self.flush(epoll)
    }

    pub(crate) fn handle_timeout(&mut self, epoll: &Epoll, now: Instant) -> Result<()> {
        self.node.handle_timeout(&mut self.nats, now);
        self.flush(epoll)
    }

    pub(crate) fn leave(&mut self, epoll: &Epoll) -> Result<()> {
        self.node.leave(&mut self.nats, epoll)
    }

    fn answer(&mut self, payload: &[u8]) {
        let Ok(request) = serde_json::from_slice::<Request<'_>>(payload) else {
            return;
        };
        let mut response = json!({ "id": request.id, "meta": request.meta, "success": true });
        match self.result(request.action, &request.params) {
            Some(Value::Null) => {}
            Some(data) => response["data"] = data,
            None => {
                response["success"] = false.into();
                response["data"] = Value::Null;
                response["error"] = json!({
                    "name": "ServiceNotFoundError", "code": 404, "type": "SERVICE_NOT_FOUND", "retryable": true,
                    "message": format!("Service '{}' is not found.", request.action),
                    "data": { "action": request.action, "nodeID": self.node.id },
                });
            }
        }
        self.node.send(
            &mut self.nats,
            &format!("MOL.RES.{}", request.sender),
            response,
        );
    }

    /// The result of an action, null for none; `None` for an action we do not have.
    fn result(&mut self, action: &str, params: &Value) -> Option<Value> {
        Some(match action {
            "accounts.login" => {
                self.logins += 1;
                login(
                    &self.names,
                    params[0]["resume"].as_str().unwrap_or_default(),
                )
            }
            "authorization.getUsersFromPublicRoles"
            | "license.getModules"
            | "license.getGuestPermissions" => json!([]),
            "license.hasValidLicense"
            | "license.hasLicense"
            | "license.hasModule"
            | "license.isEnterprise" => true.into(),
            "presence.newConnection" | "presence.updateConnection" => {
                json!({ "uid": params[0], "connectionId": params[1] })
            }
            "presence.removeConnection" => json!({ "uid": params[0], "session": params[1] }),
            "presence.getConnectionCount" => json!({ "current": 0, "max": 200 }),
            "meteor.getAutoUpdateClientVersions" => json!({}),
            "meteor.getLoginServiceConfiguration" => json!([]),
            "meteor.callMethodWithToken" => json!({ "result": params[2] }),
            "accounts.logout" | "settings.get" | "meteor.notifyGuestStatusChanged" => Value::Null,
            _ if action.starts_with("presence.") || action.starts_with("authorization.") => {
                true.into()
            }
            _ => return None,
        })
    }
}

/// Plays the backend until `seconds` have passed, without a swarm.
pub(crate) fn serve(addr: std::net::SocketAddr, names: Names, seconds: u64) -> Result<()> {
    let mut epoll = Epoll::new()?;
    let mut backend = Backend::join(addr, names, &[], &epoll, 0)?;
    let end = Instant::now() + Duration::from_secs(seconds);
    let mut ready = Vec::new();
    while Instant::now() < end {
        epoll.wait(&mut ready, Duration::from_millis(500))?;
        for ready in ready.drain(..) {
            backend.handle_ready(&epoll, ready)?;
        }
        backend.handle_timeout(&epoll, Instant::now())?;
    }
    backend.leave(&epoll)
}

fn services(unplayed: &[String]) -> Value {
    let mut services = vec![
        service("settings", &["get", "set"], &[]),
        service(
            "license",
            &[
                "hasValidLicense",
                "hasLicense",
                "hasModule",
                "getModules",
                "getGuestPermissions",
            ],
            &[],
        ),
        service(
            "meteor",
            &[
                "getAutoUpdateClientVersions",
                "getLoginServiceConfiguration",
                "callMethodWithToken",
                "notifyGuestStatusChanged",
            ],
            &MONOLITH_EVENTS,
        ),
        service("accounts", &["login", "logout"], &[]),
        service(
            "authorization",
            &[
                "hasPermission",
                "hasAllPermission",
                "hasAtLeastOnePermission",
                "canAccessRoom",
                "canReadRoom",
                "canAccessRoomId",
                "canAccessRoomIds",
                "hasAnyRole",
                "getUsersFromPublicRoles",
            ],
            &[],
        ),
        service(
            "presence",
            &[
                "newConnection",
                "removeConnection",
                "updateConnection",
                "setStatus",
                "setConnectionStatus",
                "getConnectionCount",
            ],
            &[],
        ),
    ];
    services.retain(|service| unplayed.iter().all(|name| service["name"] != **name));
    services.into()
}

fn login(names: &Names, token: &str) -> Value {
    let Some(user) = token.strip_prefix(names.token_prefix.as_str()) else {
        return false.into();
    };
    if user.parse::<u32>().is_err() {
        return false.into();
    }
    let expires = unix_nanos() / 1_000_000 + TOKEN_LIFETIME_MS;
    json!({
        "uid": format!("{}{user}", names.user_prefix), "token": token,
        "hashedToken": STANDARD.encode(Sha256::digest(token)),
        "tokenExpires": { "$date": expires }, "type": "resume",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_logs_its_user_in_and_anything_else_is_refused() {
        let names = Names::default();
        let answer = login(&names, "token-7");
        assert_eq!(answer["uid"], "user-7");
        // printf %s token-7 | openssl dgst -sha256 -binary | base64
        assert_eq!(
            answer["hashedToken"],
            "58lYPyAqSezWhLBPZDWjz6Z4j49UHpwJllqFeAJ1exc="
        );
        for token in ["", "token-", "token-x", "other-7"] {
            assert_eq!(login(&names, token), Value::Bool(false));
        }
    }
}
