//! Services on a MongoDB behind a proxy that writes down what is asked, and can hold back what is answered.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use backplane::{Bus, CallOptions};
use harness::MongoServer;
use serde_json::{Value, json};
use services::{accounts, authorization, presence};
use store::{
    MongoConfig, Store,
    bson::{Bson, doc},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{RwLock, watch},
};
use tokio_util::sync::CancellationToken;

/// `find users`, `update usersSessions`, ... as they were sent.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    /// What was sent since the last look, in alphabetical order: much is asked at the same time.
    pub(crate) fn take(&self) -> Vec<String> {
        let mut sent = std::mem::take(&mut *self.0.lock().unwrap());
        sent.sort_unstable();
        sent
    }
}

/// Who holds it for writing holds back what MongoDB answers.
type Gate = Arc<RwLock<()>>;

/// A command that does not reach MongoDB for now, as it stands in the log.
type Held = watch::Sender<Option<&'static str>>;

/// Listens, and passes everything on to `server`.
async fn proxy(server: u16, log: Log, gate: Gate, held: Held) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let server = TcpStream::connect(("127.0.0.1", server)).await.unwrap();
            let ((mut from_client, to_client), (from_server, mut to_server)) =
                (client.into_split(), server.into_split());
            tokio::spawn(answer(from_server, to_client, gate.clone()));
            let (log, mut held) = (log.clone(), held.subscribe());
            tokio::spawn(async move {
                let mut header = [0; 16];
                while from_client.read_exact(&mut header).await.is_ok() {
                    let length = u32::from_le_bytes(header[..4].try_into().unwrap());
                    let mut body = vec![0; length as usize - header.len()];
                    from_client.read_exact(&mut body).await.unwrap();
                    let command = command(&header, &body);
                    log.0.lock().unwrap().extend(command.clone());
                    let may_pass =
                        |held: &Option<&str>| held.is_none() || *held != command.as_deref();
                    held.wait_for(may_pass).await.unwrap();
                    to_server.write_all(&header).await.unwrap();
                    to_server.write_all(&body).await.unwrap();
                }
            });
        }
    });
    port
}

async fn answer(mut from_server: OwnedReadHalf, mut to_client: OwnedWriteHalf, gate: Gate) {
    let mut chunk = vec![0; 64 << 10];
    while let Ok(size @ 1..) = from_server.read(&mut chunk).await {
        let _open = gate.read().await;
        if to_client.write_all(&chunk[..size]).await.is_err() {
            break;
        }
    }
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

pub(crate) struct Place {
    pub(crate) bus: Bus,
    pub(crate) store: Store,
    /// Past the proxy.
    pub(crate) direct: Store,
    pub(crate) log: Log,
    pub(crate) gate: Gate,
    pub(crate) held: Held,
    pub(crate) stop: CancellationToken,
    _server: MongoServer,
}

impl Place {
    pub(crate) async fn start() -> Self {
        Self::start_patient(MongoConfig::default().deadline).await
    }

    /// With a store that waits so long for an answer.
    pub(crate) async fn start_patient(deadline: Duration) -> Self {
        let server = tokio::task::spawn_blocking(MongoServer::start)
            .await
            .unwrap();
        let name = format!("queries_{}", uuid::Uuid::new_v4().simple());
        let (url, log, gate) = (server.url(&name), Log::default(), Gate::default());
        let held = Held::default();
        let address = url
            .split(['/', '?', '@'])
            .find(|part| part.contains(':') && !part.starts_with("mongodb"));
        let port = address.and_then(|address| address.rsplit(':').next()?.parse().ok());
        let port = port.expect("a host and its port");
        let port = proxy(port, log.clone(), gate.clone(), held.clone()).await;
        let config = MongoConfig {
            url: format!("mongodb://127.0.0.1:{port}/{name}?directConnection=true"),
            deadline,
        };
        let store = Store::mongo(config).await.unwrap();
        let direct = MongoConfig {
            url,
            ..MongoConfig::default()
        };
        let expire = presence::Config::default().instances_expire;
        store.create_indexes(expire).await.unwrap();
        Self {
            bus: Bus::in_process("node".into()),
            store,
            direct: Store::mongo(direct).await.unwrap(),
            log,
            gate,
            held,
            stop: CancellationToken::new(),
            _server: server,
        }
    }

    pub(crate) async fn fill(&self) {
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

    /// Starts accounts and authorization, and asks until what they read by themselves is read.
    pub(crate) async fn serve(&self) {
        let parts = || (self.bus.clone(), self.store.clone(), self.stop.clone());
        let (bus, store, stop) = parts();
        tokio::spawn(accounts::run(bus, store, Default::default(), stop));
        let (bus, store, stop) = parts();
        tokio::spawn(authorization::run(bus, store, Default::default(), stop));
        while !self.bus.has_service("accounts") || !self.bus.has_service("authorization") {
            tokio::task::yield_now().await;
        }
        let may = self
            .ask(
                "authorization.hasPermission",
                &json!(["bob", "view-p-room"]),
            )
            .await;
        assert_eq!(may, json!(true));
        self.ask("accounts.login", &json!([{ "resume": "abc" }]))
            .await;
        while !self.log.take().is_empty() {
            self.ask("authorization.canAccessRoomIds", &json!([[], "bob"]))
                .await;
        }
    }

    pub(crate) async fn ask(&self, action: &str, params: &Value) -> Value {
        let answer = self
            .bus
            .call(action, &params.to_string(), CallOptions::default())
            .await;
        let answer = answer.unwrap_or_else(|error| panic!("{action} {params}: {error}"));
        answer.map_or(Value::Null, |answer| {
            serde_json::from_slice(&answer).unwrap()
        })
    }

    pub(crate) async fn costs(&self, action: &str, params: Value, expected: &[&str]) {
        self.log.take();
        self.ask(action, &params).await;
        let sent = self.log.take();
        assert_eq!(sent, expected, "{action} {params}");
    }
}

/// SHA-256 of `abc`, services.md 11.
pub(crate) const HASHED: &str = "ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=";
