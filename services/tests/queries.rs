//! What each action asks of MongoDB: a proxy between the services and the server writes down every command. How each
//! look-up is answered (which index) is tested beside the look-ups, in the store.

use std::sync::{Arc, Mutex};

use backplane::{Bus, CallOptions};
use harness::MongoServer;
use serde_json::{Value, json};
use services::{accounts, authorization, presence};
use store::{
    MongoConfig, Store,
    bson::{Bson, doc},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, copy},
    net::{TcpListener, TcpStream},
};
use tokio_util::sync::CancellationToken;

/// `find users`, `update usersSessions`, ... as they were sent.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    /// What was sent since the last look, in alphabetical order: much is asked at the same time.
    fn take(&self) -> Vec<String> {
        let mut sent = std::mem::take(&mut *self.0.lock().unwrap());
        sent.sort_unstable();
        sent
    }
}

/// Listens, and passes everything on to `server`.
async fn proxy(server: u16, log: Log) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let server = TcpStream::connect(("127.0.0.1", server)).await.unwrap();
            let ((mut from_client, mut to_client), (mut from_server, mut to_server)) =
                (client.into_split(), server.into_split());
            tokio::spawn(async move { copy(&mut from_server, &mut to_client).await });
            let log = log.clone();
            tokio::spawn(async move {
                let mut header = [0; 16];
                while from_client.read_exact(&mut header).await.is_ok() {
                    let length = u32::from_le_bytes(header[..4].try_into().unwrap());
                    let mut body = vec![0; length as usize - header.len()];
                    from_client.read_exact(&mut body).await.unwrap();
                    log.0.lock().unwrap().extend(command(&header, &body));
                    to_server.write_all(&header).await.unwrap();
                    to_server.write_all(&body).await.unwrap();
                }
            });
        }
    });
    port
}

/// Command and collection of an `OP_MSG`; nothing for what the driver says for itself.
fn command(header: &[u8], body: &[u8]) -> Option<String> {
    if header[12..] != 2013_u32.to_le_bytes() {
        return None;
    }
    // Flags, the kind of the first section, the length of its document, the type of its first member; then name and text.
    let first = body.get(10..)?;
    let mut parts = first.split(|byte| *byte == 0);
    let name = std::str::from_utf8(parts.next()?).ok()?;
    if ["hello", "ismaster", "isMaster", "ping", "endSessions"].contains(&name) {
        return None;
    }
    let text = first.get(name.len() + 1 + 4..)?;
    let collection = text.split(|byte| *byte == 0).next()?;
    Some(format!("{name} {}", String::from_utf8_lossy(collection)))
}

struct Place {
    bus: Bus,
    store: Store,
    log: Log,
    stop: CancellationToken,
    _server: MongoServer,
}

impl Place {
    async fn start() -> Self {
        let server = tokio::task::spawn_blocking(MongoServer::start)
            .await
            .unwrap();
        let name = format!("queries_{}", uuid::Uuid::new_v4().simple());
        let (url, log) = (server.url(&name), Log::default());
        let address = url
            .split(['/', '?', '@'])
            .find(|part| part.contains(':') && !part.starts_with("mongodb"));
        let port = address.and_then(|address| address.rsplit(':').next()?.parse().ok());
        let port = proxy(port.expect("a host and its port"), log.clone()).await;
        let config = MongoConfig {
            url: format!("mongodb://127.0.0.1:{port}/{name}?directConnection=true"),
            ..MongoConfig::default()
        };
        let store = Store::mongo(config).await.unwrap();
        let expire = presence::Config::default().instances_expire;
        store.create_indexes(expire).await.unwrap();
        Self {
            bus: Bus::in_process("node".into()),
            store,
            log,
            stop: CancellationToken::new(),
            _server: server,
        }
    }

    async fn fill(&self) {
        let user = |id: &str, roles: &[&str]| {
            let roles: Vec<_> = roles.iter().map(|role| Bson::from(*role)).collect();
            doc! {
                "_id": id, "username": id, "roles": roles,
                "services": { "resume": { "loginTokens": [{ "hashedToken": HASHED }] } },
            }
        };
        self.store
            .insert_user(user("bob", &["user"]))
            .await
            .unwrap();
        for (id, kind) in [("p1", "p"), ("p2", "p"), ("c1", "c"), ("d1", "p")] {
            let mut room = doc! { "_id": id, "t": kind };
            if id == "d1" {
                room.insert("prid", "p1");
            }
            self.store.insert_room(room).await.unwrap();
        }
        for room in ["p1", "p2"] {
            let member = doc! { "rid": room, "u": { "_id": "bob" }, "roles": ["owner"] };
            self.store.insert_subscription(member).await.unwrap();
        }
        for permission in ["view-c-room", "view-p-room", "preview-c-room"] {
            let permission = doc! { "_id": permission, "roles": ["user"] };
            self.store.insert_permission(permission).await.unwrap();
        }
        for (id, scope) in [("user", "Users"), ("owner", "Subscriptions")] {
            let role = doc! { "_id": id, "scope": scope, "description": "x" };
            self.store.insert_role(role).await.unwrap();
        }
    }

    async fn ask(&self, action: &str, params: &Value) -> Value {
        let answer = self
            .bus
            .call(action, &params.to_string(), CallOptions::default())
            .await;
        let answer = answer.unwrap_or_else(|error| panic!("{action} {params}: {error}"));
        answer.map_or(Value::Null, |answer| {
            serde_json::from_slice(&answer).unwrap()
        })
    }

    async fn costs(&self, action: &str, params: Value, expected: &[&str]) {
        self.log.take();
        self.ask(action, &params).await;
        let sent = self.log.take();
        assert_eq!(sent, expected, "{action} {params}");
    }
}

/// SHA-256 of `abc`, services.md 11.
const HASHED: &str = "ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=";

#[tokio::test]
async fn logins_and_questions_cost_what_the_budget_allows() {
    let place = Place::start().await;
    place.fill().await;
    let parts = || (place.bus.clone(), place.store.clone(), place.stop.clone());
    let (bus, store, stop) = parts();
    tokio::spawn(accounts::run(bus, store, Default::default(), stop));
    let (bus, store, stop) = parts();
    tokio::spawn(authorization::run(bus, store, Default::default(), stop));
    while !place.bus.has_service("accounts") || !place.bus.has_service("authorization") {
        tokio::task::yield_now().await;
    }
    // What is read once and kept true by events.
    let may = json!(["bob", "view-p-room"]);
    assert_eq!(
        place.ask("authorization.hasPermission", &may).await,
        json!(true)
    );
    place
        .ask("accounts.login", &json!([{ "resume": "abc" }]))
        .await;
    while !place.log.take().is_empty() {
        place
            .ask("authorization.canAccessRoomIds", &json!([[], "bob"]))
            .await;
    }
    let (users, room, subscription) = (
        "find users",
        "find rocketchat_room",
        "find rocketchat_subscription",
    );
    let (roles, bob) = ("find rocketchat_roles", json!({ "_id": "bob" }));
    for (action, params, expected) in [
        ("accounts.login", json!([{ "resume": "abc" }]), &[users][..]),
        (
            "accounts.login",
            json!([{ "resume": "nobody's" }]),
            &[users],
        ),
        ("authorization.hasPermission", may, &[users]),
        (
            "authorization.hasPermission",
            json!([null, "view-p-room"]),
            &[],
        ),
        (
            "authorization.hasPermission",
            json!([{ "_id": "bob", "roles": ["user"] }, "view-p-room"]),
            &[],
        ),
        (
            "authorization.hasPermission",
            json!(["bob", "view-p-room", "p1"]),
            &[subscription, users],
        ),
        (
            "authorization.hasAllPermission",
            json!(["bob", ["view-p-room", "view-c-room"]]),
            &[users],
        ),
        (
            "authorization.hasAtLeastOnePermission",
            json!(["bob", ["x", "view-c-room"]]),
            &[users],
        ),
        (
            "authorization.canAccessRoomId",
            json!(["p1", "bob"]),
            &[room, subscription, users],
        ),
        (
            "authorization.canAccessRoomId",
            json!(["no-room", "bob"]),
            &[room, subscription, users],
        ),
        // The discussion, then its parent.
        (
            "authorization.canAccessRoomId",
            json!(["d1", "bob"]),
            &[room, room, subscription, subscription, users],
        ),
        (
            "authorization.canAccessRoomIds",
            json!([["p1", "p2", "c1"], "bob"]),
            &[room, subscription, users],
        ),
        (
            "authorization.canAccessRoom",
            json!([{ "_id": "p1", "t": "p" }, bob]),
            &[subscription, users],
        ),
        (
            "authorization.canAccessRoom",
            json!([{ "_id": "c1", "t": "c" }, bob]),
            &[users],
        ),
        (
            "authorization.canReadRoom",
            json!([{ "_id": "c1", "t": "c" }, bob]),
            &[users],
        ),
        (
            "authorization.canAccessConference",
            json!([{ "rid": "p1", "users": [bob] }, "bob"]),
            &[],
        ),
        (
            "authorization.canAccessConference",
            json!([{ "rid": "p1", "users": [] }, "bob"]),
            &[room, subscription, users],
        ),
        (
            "authorization.hasAnyRole",
            json!(["bob", ["owner", "user"], "p1"]),
            &[roles, subscription, users],
        ),
        (
            "authorization.getUsersFromPublicRoles",
            json!([]),
            &[roles, users],
        ),
        (
            "accounts.logout",
            json!([{ "userId": "bob", "token": HASHED }]),
            &[users, "update users"],
        ),
    ] {
        place.costs(action, params, expected).await;
    }
    place.stop.cancel();
}

#[tokio::test]
async fn a_connection_costs_two_reads_and_what_has_changed() {
    let place = Place::start().await;
    place.fill().await;
    let (bus, store, stop) = (place.bus.clone(), place.store.clone(), place.stop.clone());
    tokio::spawn(presence::run(bus, store, presence::Config::default(), stop));
    while !place.bus.has_service("presence") {
        tokio::task::yield_now().await;
    }
    // What presence does by itself when it starts is over when nothing more comes; it begins again after a minute.
    let mut quiet = 0;
    while quiet < 50 {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        quiet = if place.log.take().is_empty() {
            quiet + 1
        } else {
            0
        };
    }
    let (reads, entry, status) = (
        ["find users", "find usersSessions"],
        "update usersSessions",
        "update users",
    );
    for (action, params, writes) in [
        (
            "presence.newConnection",
            json!(["bob", "s1", "node"]),
            &[status, entry][..],
        ),
        (
            "presence.newConnection",
            json!(["bob", "s2", "node"]),
            &[entry],
        ),
        ("presence.updateConnection", json!(["bob", "s1"]), &[entry]),
        (
            "presence.setConnectionStatus",
            json!(["bob", "away", "s1"]),
            &[entry],
        ),
        ("presence.setStatus", json!(["bob", "busy"]), &[status]),
        (
            "presence.removeConnection",
            json!(["bob", "s1", "node"]),
            &[entry],
        ),
        (
            "presence.removeConnection",
            json!(["bob", "s2", "node"]),
            &[status, entry],
        ),
        ("presence.getConnectionCount", json!([]), &[]),
    ] {
        let mut expected: Vec<&str> = writes.to_vec();
        if action != "presence.getConnectionCount" {
            expected.extend(reads);
        }
        expected.sort_unstable();
        place.costs(action, params, &expected).await;
    }
    // Three hundred at once: a few rounds, not four commands each.
    let name = |number: u32| format!("user{number}");
    for number in 0..300 {
        let user = doc! { "_id": name(number), "username": name(number) };
        place.store.insert_user(user).await.unwrap();
    }
    place.log.take();
    let mut asked = tokio::task::JoinSet::new();
    for number in 0..300 {
        let (bus, params) = (place.bus.clone(), json!([name(number), "s", "node"]));
        asked.spawn(async move {
            let (action, options) = ("presence.newConnection", CallOptions::default());
            bus.call(action, &params.to_string(), options)
                .await
                .unwrap();
        });
    }
    while asked.join_next().await.is_some() {}
    let commands = place.log.take().len();
    assert!(commands < 40, "{commands} commands for 300 connections");
    place.stop.cancel();
}
