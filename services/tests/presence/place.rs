//! Where presence runs in these tests, and who talks to it.

use std::{
    process,
    sync::{
        Arc, Mutex, Weak,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::Duration,
};

use backplane::{Bus, CallOptions, ErrorKind, Inbox, Incoming, Service};
use harness::{MongoServer, NatsServer};
use mongodb::{Client, Database};
use serde_json::{Value, json};
use services::presence::{self, Config, Mode};
use store::{
    MongoConfig, Store,
    bson::{Document, doc},
};
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};

/// Presence with a store of its own, on a bus in this process.
pub(crate) struct It {
    pub(crate) bus: Bus,
    pub(crate) store: Store,
    told: Inbox,
    pub(crate) stop: DropGuard,
    /// To look behind the store; `None` for the embedded one.
    pub(crate) database: Option<Database>,
    _server: Option<Arc<MongoServer>>,
}

/// A grace that a test can outwait.
pub(crate) const SHORT: Config = Config {
    heartbeat_timeout: Duration::from_millis(300),
    instances_expire: Duration::from_millis(600),
    mode: Mode::Legacy,
    create_indexes: true,
    connections_max: 200,
};

pub(crate) fn config(mode: Mode) -> Config {
    Config { mode, ..SHORT }
}

impl It {
    /// One on each kind of store.
    pub(crate) async fn both(config: Config, users: &[&str]) -> [Self; 2] {
        [
            Self::start(Store::embedded(None).unwrap(), config, users).await,
            Self::on_mongo(config, users).await,
        ]
    }

    pub(crate) async fn on_mongo(config: Config, users: &[&str]) -> Self {
        Self::on(on_mongo().await, config, users).await
    }

    pub(crate) async fn on(place: Place, config: Config, users: &[&str]) -> Self {
        let mut it = Self::start(place.store, config, users).await;
        it.database = place.database;
        it._server = place.server;
        it
    }

    pub(crate) async fn start(store: Store, config: Config, users: &[&str]) -> Self {
        for user in users {
            add_user(&store, user, doc! {}).await;
        }
        let bus = Bus::in_process("n1".into());
        let told = listen(&bus);
        let stop = CancellationToken::new();
        tokio::spawn(presence::run(
            bus.clone(),
            store.clone(),
            config,
            stop.clone(),
        ));
        while !bus.has_service("presence") {
            tokio::task::yield_now().await;
        }
        Self {
            bus,
            store,
            told,
            stop: stop.drop_guard(),
            database: None,
            _server: None,
        }
    }

    pub(crate) async fn call(&self, action: &str, params: Value) -> Value {
        call(&self.bus, action, params).await.unwrap()
    }

    /// The error's code, or the message of one that has none.
    pub(crate) async fn refused(&self, action: &str, params: Value) -> String {
        call(&self.bus, action, params).await.unwrap_err()
    }

    pub(crate) async fn user(&self, id: &str) -> store::StatusOwner {
        user(&self.store, id).await
    }

    pub(crate) async fn shown(&self, id: &str) -> Option<String> {
        self.user(id).await.status.shown
    }

    pub(crate) async fn sessions(&self, id: &str) -> Vec<String> {
        let connections = self.store.connections(id).await.unwrap();
        connections.into_iter().map(|entry| entry.id).collect()
    }

    /// Waits until the database says so.
    pub(crate) async fn shows(&self, id: &str, status: &str) {
        shows(&self.store, id, status).await;
    }

    /// The next `presence.status`.
    pub(crate) async fn told(&mut self) -> Value {
        next_told(&mut self.told).await
    }

    /// What was told of `user` until a word that only the end of the test says.
    pub(crate) async fn told_until(&mut self, last: &str) -> Vec<Value> {
        let mut all = Vec::new();
        loop {
            let event = self.told().await;
            let is_last = event["user"]["_id"] == last;
            if is_last {
                return all;
            }
            all.push(event);
        }
    }
}

/// A store without presence, and its server.
pub(crate) struct Place {
    pub(crate) store: Store,
    pub(crate) database: Option<Database>,
    server: Option<Arc<MongoServer>>,
}

impl Place {
    /// Where another process finds the same database.
    pub(crate) fn url(&self) -> String {
        let (server, database) = (
            self.server.as_ref().unwrap(),
            self.database.as_ref().unwrap(),
        );
        server.url(database.name())
    }
}

pub(crate) fn embedded() -> Place {
    Place {
        store: Store::embedded(None).unwrap(),
        database: None,
        server: None,
    }
}

pub(crate) async fn on_mongo() -> Place {
    let server = tokio::task::spawn_blocking(shared_server).await.unwrap();
    let (store, database) = open(&server, Duration::from_secs(10)).await;
    Place {
        store,
        database: Some(database),
        server: Some(server),
    }
}

/// A database server that only this test kills or freezes.
pub(crate) async fn own_mongo() -> MongoServer {
    let start = tokio::task::spawn_blocking(|| MongoServer::start_own(&[]));
    start.await.unwrap()
}

pub(crate) async fn own_nats() -> NatsServer {
    let start = tokio::task::spawn_blocking(NatsServer::start);
    start.await.unwrap()
}

/// A service of the workspace with one action, which gives this answer; what it is asked comes out of the channel.
pub(crate) fn offer(
    bus: &Bus,
    name: &'static str,
    action: &'static str,
    answer: &'static str,
) -> mpsc::Receiver<Value> {
    let mut inbox = bus.announce(Service {
        name,
        actions: vec![action],
        events: vec![],
    });
    let (asked, questions) = mpsc::channel(100);
    tokio::spawn(async move {
        loop {
            if let Incoming::Request(request) = inbox.recv().await {
                let params = serde_json::from_slice(&request.params).unwrap();
                asked.try_send(params).unwrap();
                request.respond(Ok(Some(answer.into())));
            }
        }
    });
    questions
}

pub(crate) async fn user(store: &Store, id: &str) -> store::StatusOwner {
    let found = store.status_owners(&[id.to_owned()]).await.unwrap();
    found.into_iter().next().unwrap()
}

/// Waits until the database says so.
pub(crate) async fn shows(store: &Store, id: &str, status: &str) {
    let patience = tokio::time::Instant::now() + Duration::from_secs(60);
    loop {
        let shown = user(store, id).await.status.shown;
        if shown.as_deref() == Some(status) {
            return;
        }
        let now = tokio::time::Instant::now();
        assert!(now < patience, "{id} is {shown:?} and never {status}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

pub(crate) async fn add_user(store: &Store, id: &str, more: Document) {
    let mut user = doc! {
        "_id": id, "username": id, "name": format!("Name of {id}"), "type": "user", "roles": ["user"],
        "services": { "password": { "bcrypt": "secret" } },
    };
    user.extend(more);
    store.insert_user(user).await.unwrap();
}

pub(crate) fn listen(bus: &Bus) -> Inbox {
    bus.announce(Service {
        name: "listener",
        actions: vec![],
        events: vec!["presence.status"],
    })
}

pub(crate) async fn next_told(inbox: &mut Inbox) -> Value {
    loop {
        if let Incoming::Event(event) = inbox.recv().await {
            let args: Value = serde_json::from_str(&event.args).unwrap();
            return args[0].clone();
        }
    }
}

pub(crate) async fn call(bus: &Bus, action: &str, params: Value) -> Result<Value, String> {
    let action = format!("presence.{action}");
    let params = params.to_string();
    let answer = bus.call(&action, &params, CallOptions::default());
    match answer.await {
        Ok(None) => Ok(json!("nothing")),
        Ok(Some(answer)) => Ok(serde_json::from_slice(&answer).unwrap()),
        Err(error) => Err(match error.kind {
            ErrorKind::Refused(remote) => match remote.meteor() {
                Some(meteor) => meteor.error.to_string(),
                None => remote.message.clone(),
            },
            other => format!("{other:?}"),
        }),
    }
}

/// A database of its own on this server.
pub(crate) async fn open(server: &MongoServer, deadline: Duration) -> (Store, Database) {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let name = format!("presence_{}_{}", process::id(), NEXT.fetch_add(1, Relaxed));
    let url = server.url(&name);
    let client = Client::with_uri_str(&url).await.unwrap();
    let database = client.database(&name);
    // SecantusDB stands still for ever when an index and the first document make one collection at the same time.
    for collection in ["usersSessions", "instances"] {
        database.create_collection(collection).await.unwrap();
    }
    let store = Store::mongo(MongoConfig { url, deadline }).await.unwrap();
    (store, database)
}

/// One server for all tests that run at the same time; the last of them ends it.
fn shared_server() -> Arc<MongoServer> {
    static SERVER: Mutex<Weak<MongoServer>> = Mutex::new(Weak::new());
    let mut shared = SERVER.lock().unwrap();
    shared.upgrade().unwrap_or_else(|| {
        let server = Arc::new(MongoServer::start());
        *shared = Arc::downgrade(&server);
        server
    })
}
