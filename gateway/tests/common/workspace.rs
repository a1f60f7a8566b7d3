//! A workspace behind the gateway: the services it calls, played by the test, and a small database.
//!
//! Users `u1` (`bob`) and `u2` (`eve`) log in with the tokens `tok-u1` and `tok-u2`. Rooms: `c1` public, `p1` private
//! with `u1` in it, `l1` livechat with the visitor token `guest`.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex},
};

use backplane::{Bus, Code, Driver, Incoming, MeteorError, Service, ServiceError};
use gateway::{Config, config::RateLimits};
use serde_json::Value;
use store::{Store, bson::doc};
use tokio::sync::Semaphore;

use super::{Client, Server, start_on};

pub struct Workspace {
    pub server: Server,
    /// What plays the other processes.
    pub peers: Bus,
    pub store: Store,
    script: Arc<Script>,
}

/// How the services answer, and what they were asked.
#[derive(Default)]
struct Script {
    /// (room, user): access and reading; an empty user is a connection without a login.
    access: Mutex<HashSet<(String, String)>>,
    /// (user, permission).
    permissions: Mutex<HashSet<(String, String)>>,
    failing: Mutex<HashSet<String>>,
    held: Mutex<HashMap<String, Arc<Semaphore>>>,
    calls: Mutex<Vec<(String, String)>>,
    events: Mutex<Vec<(String, String)>>,
    changed: tokio::sync::Notify,
}

/// A gateway in a workspace, on the in-process bus.
pub async fn workspace() -> Workspace {
    workspace_with(|_| {}).await
}

pub async fn workspace_with(change: impl FnOnce(&mut Config)) -> Workspace {
    let bus = Bus::in_process("test-node".into());
    workspace_on(bus.clone(), None, bus, change).await
}

/// The same on any bus: `bus` is the gateway's, `peers` that of everybody else.
pub async fn workspace_on(
    bus: Bus,
    driver: Option<Driver>,
    peers: Bus,
    change: impl FnOnce(&mut Config),
) -> Workspace {
    let store = Store::embedded(None).unwrap();
    seed(&store).await;
    let script = Arc::new(Script::default());
    script
        .access
        .lock()
        .unwrap()
        .insert(("c1".into(), "u1".into()));
    script
        .access
        .lock()
        .unwrap()
        .insert(("p1".into(), "u1".into()));
    for service in SERVICES {
        let inbox = peers.announce(Service {
            name: service.0,
            actions: service.1.to_vec(),
            events: service.2.to_vec(),
        });
        tokio::spawn(serve(inbox, script.clone()));
    }
    let server = start_on(bus, driver, store.clone(), |config| {
        config.rate_limits = RateLimits::Off;
        change(config);
    })
    .await;
    Workspace {
        server,
        peers,
        store,
        script,
    }
}

type Offer = (
    &'static str,
    &'static [&'static str],
    &'static [&'static str],
);

const SERVICES: &[Offer] = &[
    ("accounts", &["accounts.login", "accounts.logout"], &[]),
    (
        "authorization",
        &[
            "authorization.canAccessRoom",
            "authorization.canReadRoom",
            "authorization.canAccessRoomId",
            "authorization.hasPermission",
            "authorization.hasAtLeastOnePermission",
        ],
        &[],
    ),
    (
        "presence",
        &[
            "presence.newConnection",
            "presence.removeConnection",
            "presence.updateConnection",
            "presence.setStatus",
            "presence.setConnectionStatus",
        ],
        &[],
    ),
    (
        "meteor",
        &[
            "meteor.callMethodWithToken",
            "meteor.getLoginServiceConfiguration",
            "meteor.getAutoUpdateClientVersions",
            "meteor.notifyGuestStatusChanged",
        ],
        &[
            "socket.connected",
            "socket.disconnected",
            "accounts.login",
            "accounts.logout",
            "stream",
            "room.user-activity",
        ],
    ),
];

async fn seed(store: &Store) {
    for (id, name) in [("u1", "bob"), ("u2", "eve")] {
        let tokens = vec![doc! { "hashedToken": format!("hash-{id}") }];
        let user = doc! {
            "_id": id, "username": name, "name": name.to_uppercase(), "active": true, "roles": ["user"],
            "services": { "resume": { "loginTokens": tokens } },
        };
        store.insert_user(user).await.unwrap();
    }
    store
        .insert_room(doc! { "_id": "c1", "t": "c", "name": "general" })
        .await
        .unwrap();
    store
        .insert_room(doc! { "_id": "p1", "t": "p", "name": "secret" })
        .await
        .unwrap();
    store
        .insert_room(doc! { "_id": "l1", "t": "l", "v": { "token": "guest" } })
        .await
        .unwrap();
    store
        .insert_subscription(
            doc! { "_id": "s1", "rid": "p1", "u": { "_id": "u1", "username": "bob" } },
        )
        .await
        .unwrap();
}

async fn serve(mut inbox: backplane::Inbox, script: Arc<Script>) {
    loop {
        match inbox.recv().await {
            Incoming::Request(request) => {
                let script = script.clone();
                tokio::spawn(async move {
                    let params = String::from_utf8(request.params.to_vec()).unwrap();
                    script
                        .calls
                        .lock()
                        .unwrap()
                        .push((request.action.to_owned(), params.clone()));
                    script.changed.notify_waiters();
                    let held = script.held.lock().unwrap().get(request.action).cloned();
                    let before = script.answer(request.action, &params);
                    if let Some(gate) = held {
                        gate.acquire().await.unwrap().forget();
                    }
                    request.respond(before.map(|answer| answer.map(Into::into)));
                });
            }
            Incoming::Event(event) => {
                let args = event.args.to_string();
                script
                    .events
                    .lock()
                    .unwrap()
                    .push((event.name.to_owned(), args));
                script.changed.notify_waiters();
            }
            _ => {}
        }
    }
}

fn plain(message: &str) -> ServiceError {
    ServiceError::Plain {
        name: "Error".into(),
        message: message.into(),
    }
}

impl Script {
    fn answer(&self, action: &str, params: &str) -> Result<Option<String>, ServiceError> {
        if self.failing.lock().unwrap().contains(action) {
            return Err(plain("out of order"));
        }
        let params: Value = serde_json::from_str(params).unwrap();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let yes = |yes: bool| Ok(Some(yes.to_string()));
        match action {
            "accounts.login" => match params[0]["resume"]
                .as_str()
                .and_then(|token| token.strip_prefix("tok-"))
            {
                Some(user) => Ok(Some(format!(
                    r#"{{"uid":"{user}","token":"tok-{user}","hashedToken":"hash-{user}","tokenExpires":{{"$date":5}},"type":"resume"}}"#
                ))),
                None => yes(false),
            },
            "authorization.canAccessRoom" | "authorization.canReadRoom" => {
                let pair = (text(&params[0]["_id"]), text(&params[1]["_id"]));
                yes(self.access.lock().unwrap().contains(&pair))
            }
            "authorization.hasPermission" => {
                let pair = (text(&params[0]), text(&params[1]));
                yes(self.permissions.lock().unwrap().contains(&pair))
            }
            "authorization.hasAtLeastOnePermission" => {
                let held = self.permissions.lock().unwrap();
                let mut any_of = params[1].as_array().unwrap().iter();
                yes(any_of.any(|permission| held.contains(&(text(&params[0]), text(permission)))))
            }
            "meteor.callMethodWithToken" => match params[2].as_str().unwrap() {
                "echo" => Ok(Some(format!(r#"{{"result":{}}}"#, params[3]))),
                "nothing" => Ok(Some("{}".into())),
                "false" => Ok(Some(r#"{"result":false}"#.into())),
                "totp" => Err(ServiceError::Meteor(MeteorError {
                    error: Code::Text("totp-required".into()),
                    reason: Some("TOTP Required".into()),
                    details: Some(r#"{"method":"totp"}"#.into()),
                })),
                "forbidden" => Err(ServiceError::Meteor(MeteorError {
                    error: Code::Number(403),
                    reason: None,
                    details: None,
                })),
                _ => Err(plain("boom")),
            },
            "meteor.getLoginServiceConfiguration" => Ok(Some(
                r#"[{"_id":"x1","service":"google","clientId":"c"}]"#.into(),
            )),
            "meteor.getAutoUpdateClientVersions" => Ok(Some(
                r#"{"web.browser":{"_id":"web.browser","version":"v1","assets":[]}}"#.into(),
            )),
            _ => yes(true),
        }
    }
}

impl Workspace {
    /// A client after its handshake, once the mirrors of the monolith are filled.
    pub async fn client(&self) -> Client {
        self.called("meteor.getAutoUpdateClientVersions", 1).await;
        self.server.connect().await
    }

    /// A client that is logged in, with everything that follows the login behind it.
    pub async fn user(&self, user: &str) -> Client {
        let mut client = self.client().await;
        let result = client
            .call("login", &format!(r#"[{{"resume":"tok-{user}"}}]"#))
            .await;
        assert!(result.contains(r#""type":"resume""#), "{result}");
        client
            .until(|text| text.contains(r#""collection":"users""#))
            .await;
        client
    }

    /// Sends an event as another process does.
    pub fn broadcast(&self, event: &str, args: &str) {
        self.peers.broadcast(event, args);
    }

    pub fn allow(&self, room: &str, user: &str) {
        self.script
            .access
            .lock()
            .unwrap()
            .insert((room.into(), user.into()));
    }

    pub fn forbid(&self, room: &str, user: &str) {
        self.script
            .access
            .lock()
            .unwrap()
            .remove(&(room.into(), user.into()));
    }

    pub fn permit(&self, user: &str, permission: &str) {
        self.script
            .permissions
            .lock()
            .unwrap()
            .insert((user.into(), permission.into()));
    }

    pub fn revoke(&self, user: &str, permission: &str) {
        self.script
            .permissions
            .lock()
            .unwrap()
            .remove(&(user.into(), permission.into()));
    }

    /// From now on this action fails.
    pub fn break_action(&self, action: &str) {
        self.script.failing.lock().unwrap().insert(action.into());
    }

    /// From now on answers of this action, made when they were asked for, wait for a permit.
    pub fn hold(&self, action: &str) -> Arc<Semaphore> {
        let gate = Arc::new(Semaphore::new(0));
        self.script
            .held
            .lock()
            .unwrap()
            .insert(action.into(), gate.clone());
        gate
    }

    /// Waits until an action has been called so often, and returns the params of the calls.
    pub async fn called(&self, action: &str, count: usize) -> Vec<String> {
        self.wait(&self.script.calls, action, count).await
    }

    /// Waits until an event has arrived so often, and returns its args.
    pub async fn heard(&self, event: &str, count: usize) -> Vec<String> {
        self.wait(&self.script.events, event, count).await
    }

    /// How often an action has been called so far.
    pub fn calls(&self, action: &str) -> usize {
        self.script
            .calls
            .lock()
            .unwrap()
            .iter()
            .filter(|(name, _)| name == action)
            .count()
    }

    async fn wait(
        &self,
        log: &Mutex<Vec<(String, String)>>,
        name: &str,
        count: usize,
    ) -> Vec<String> {
        loop {
            let changed = self.script.changed.notified();
            let mut changed = std::pin::pin!(changed);
            changed.as_mut().enable();
            let found: Vec<String> = {
                let log = log.lock().unwrap();
                log.iter()
                    .filter(|(found, _)| found == name)
                    .map(|(_, text)| text.clone())
                    .collect()
            };
            if found.len() >= count {
                return found;
            }
            changed.await;
        }
    }
}

impl Client {
    /// The first message that is meant; the ones before are dropped.
    pub async fn until(&mut self, meant: impl Fn(&str) -> bool) -> String {
        loop {
            let text = self.text().await;
            if meant(&text) {
                return text;
            }
        }
    }

    /// Calls a method and returns its `result` message.
    pub async fn call(&mut self, method: &str, params: &str) -> String {
        self.send(&format!(
            r#"{{"msg":"method","id":"m","method":"{method}","params":{params}}}"#
        ))
        .await;
        let result = self
            .until(|text| text.starts_with(r#"{"msg":"result""#))
            .await;
        assert_eq!(self.text().await, r#"{"msg":"updated","methods":["m"]}"#);
        result
    }

    /// Subscribes; `Err` is the error code of the `nosub`.
    pub async fn subscribe(&mut self, id: &str, name: &str, params: &str) -> Result<(), String> {
        self.send(&format!(
            r#"{{"msg":"sub","id":"{id}","name":"{name}","params":{params}}}"#
        ))
        .await;
        let answer = self
            .until(|text| {
                text.starts_with(r#"{"msg":"ready""#) || text.starts_with(r#"{"msg":"nosub""#)
            })
            .await;
        let answer: Value = serde_json::from_str(&answer).unwrap();
        match &answer["error"]["error"] {
            Value::Null if answer["msg"] == "ready" => Ok(()),
            Value::String(code) => Err(code.clone()),
            other => Err(other.to_string()),
        }
    }

    /// Subscribes to one event of a stream.
    pub async fn follow(&mut self, stream: &str, event: &str) -> Result<(), String> {
        let params = format!(r#"["{event}",{{"useCollection":false,"args":[]}}]"#);
        self.subscribe(
            &format!("{stream} {event}"),
            &format!("stream-{stream}"),
            &params,
        )
        .await
    }

    /// Everything that arrives before an event that is sent now, and that changes nothing; the client follows `notify-all`
    /// `updateCustomSound`.
    pub async fn before_fence(&mut self, workspace: &Workspace) -> Vec<String> {
        workspace.broadcast("notify.updateCustomSound", "[{}]");
        let mut before = Vec::new();
        loop {
            let text = self.text().await;
            if text.contains(r#""eventName":"updateCustomSound""#) {
                return before;
            }
            before.push(text);
        }
    }
}
