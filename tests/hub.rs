//! The stream-hub as a process on a real nats-server and a MongoDB with change streams: killed, frozen and restarted while
//! writes go on. A listener on the bus keeps what it hears; every write must be there, whoever worked at that moment.

#[path = "hub/embedded.rs"]
mod embedded;
#[path = "hub/subscribers.rs"]
mod subscribers;

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use backplane::{Bus, Incoming, Server, Service};
use harness::{Edge, MongoServer, NatsServer, NodeProcess, eventually, free_port, http::get};
use serde_json::Value;
use store::{
    Collection, MongoConfig, Store, Update,
    bson::{DateTime, Document, doc},
};
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

const BINARY: &str = env!("CARGO_BIN_EXE_ddp-edge");

const EVENTS: [&str; 16] = [
    "watch.messages",
    "watch.rooms",
    "watch.subscriptions",
    "watch.users",
    "watch.settings",
    "permission.changed",
    "watch.roles",
    "watch.inquiries",
    "watch.livechatDepartmentAgents",
    "watch.loginServiceConfiguration",
    "watch.instanceStatus",
    "watch.integrationHistory",
    "watch.integrations",
    "watch.emailInbox",
    "watch.priorities",
    "watch.pbxevents",
];

/// Collections whose first document is announced, with one that is.
fn documents() -> Vec<(Collection, Document)> {
    vec![
        (
            Collection::Messages,
            doc! { "_id": "a", "rid": "r", "msg": "x", "ts": DateTime::now() },
        ),
        (Collection::Rooms, doc! { "_id": "a", "t": "c" }),
        (
            Collection::Subscriptions,
            doc! { "_id": "a", "rid": "a", "u": { "_id": "u" } },
        ),
        (Collection::Users, doc! { "_id": "a", "username": "a" }),
        (Collection::Settings, doc! { "_id": "a", "value": 1 }),
        (
            Collection::Permissions,
            doc! { "_id": "a", "roles": ["admin"] },
        ),
        (Collection::Roles, doc! { "_id": "a", "name": "a" }),
        (Collection::Inquiries, doc! { "_id": "a", "rid": "a" }),
        (
            Collection::DepartmentAgents,
            doc! { "_id": "a", "agentId": "u", "departmentId": "d" },
        ),
        (
            Collection::LoginServices,
            doc! { "_id": "a", "service": "x", "secret": "s" },
        ),
        (
            Collection::Instances,
            doc! { "_id": "a", "name": "x", "extraInformation": {} },
        ),
        (
            Collection::IntegrationHistory,
            doc! { "_id": "a", "integration": { "_id": "i" } },
        ),
        (Collection::Integrations, doc! { "_id": "a", "name": "x" }),
        (Collection::EmailInbox, doc! { "_id": "a", "name": "x" }),
        (Collection::Priorities, doc! { "_id": "a", "name": "x" }),
        (
            Collection::PbxEvents,
            doc! { "_id": "a", "event": "Hangup" },
        ),
    ]
}

/// So short that a lost node is noticed within seconds.
const HEARTBEATS: [(&str, &str); 2] = [("HEARTBEAT_INTERVAL", "1"), ("HEARTBEAT_TIMEOUT", "3")];

/// One event as it was heard.
#[derive(Clone, Debug)]
struct Heard {
    event: &'static str,
    payload: Value,
    hub: Value,
    sender: String,
}

/// Servers, a listener that also plays the monolith, and a store to write with.
struct Place {
    runtime: Runtime,
    heard: Arc<Mutex<Vec<Heard>>>,
    listener: Bus,
    stop: CancellationToken,
    store: Store,
    url: String,
    nats: Mutex<NatsServer>,
    mongo: Mutex<MongoServer>,
}

impl Place {
    fn start() -> Self {
        Self::start_on(MongoServer::start_own(&[]))
    }

    fn start_on(mongo: MongoServer) -> Self {
        let nats = NatsServer::start();
        let runtime = Runtime::new().expect("a runtime");
        let (listener, driver) = Bus::nats(backplane::Config {
            servers: Server::list(&nats.url()).expect("an address"),
            node_id: "listener".into(),
            dependencies: Vec::new(),
            heartbeat_interval: Duration::from_secs(1),
            heartbeat_timeout: Duration::from_secs(3),
            ..backplane::Config::default()
        });
        let stop = CancellationToken::new();
        runtime.spawn(driver.run(stop.clone()));
        let heard = Arc::default();
        for name in ["settings", "license"] {
            let bus = listener.clone();
            runtime.spawn(async move {
                let mut inbox = bus.announce(Service {
                    name,
                    actions: vec!["license.hasValidLicense"],
                    events: vec![],
                });
                loop {
                    if let Incoming::Request(request) = inbox.recv().await {
                        request.respond(Ok(Some("true".into())));
                    }
                }
            });
        }
        runtime.spawn(listen(listener.clone(), Arc::clone(&heard)));
        let url = mongo.url("hub");
        let config = MongoConfig {
            url: url.clone(),
            ..MongoConfig::default()
        };
        let store = runtime.block_on(Store::mongo(config)).expect("a store");
        Self {
            runtime,
            heard,
            listener,
            stop,
            store,
            url,
            nats: Mutex::new(nats),
            mongo: Mutex::new(mongo),
        }
    }

    fn hub(&self, environment: &[(&str, &str)]) -> Hub {
        let mut hub = self.hub_alone(environment);
        hub.edge.wait_for_ok(hub.port, "/readyz");
        hub
    }

    /// One that need not become ready.
    fn hub_alone(&self, environment: &[(&str, &str)]) -> Hub {
        self.role("stream-hub", environment)
    }

    fn role(&self, role: &str, environment: &[(&str, &str)]) -> Hub {
        let (port, metrics) = (free_port(), free_port());
        let (number, metrics_number, transporter) =
            (port.to_string(), metrics.to_string(), self.nats().url());
        let mut variables = vec![
            ("PORT", number.as_str()),
            ("MS_METRICS", "true"),
            ("MS_METRICS_PORT", &metrics_number),
            ("TRANSPORTER", &transporter),
            ("MONGO_URL", &self.url),
            ("DISABLE_DB_WATCHERS", "no"),
            HEARTBEATS[0],
            HEARTBEATS[1],
        ];
        variables.extend(environment);
        let edge = Edge::start(BINARY, &[role], &variables);
        let line = edge.wait_for_line("\"started\"");
        let line: Value = serde_json::from_str(&line).expect("logs are JSON");
        let node = line["node"].as_str().expect("a node id").to_owned();
        Hub {
            edge,
            port,
            metrics,
            node,
        }
    }

    fn nats(&self) -> MutexGuard<'_, NatsServer> {
        self.nats.lock().expect("no test panics with it")
    }

    fn mongo(&self) -> MutexGuard<'_, MongoServer> {
        self.mongo.lock().expect("no test panics with it")
    }

    fn write<T>(&self, what: impl Future<Output = Result<T, store::Error>>) -> T {
        self.runtime.block_on(what).expect("the database takes it")
    }

    fn version(&self, version: &str) {
        let statistics = doc! { "_id": version, "version": version, "createdAt": DateTime::now() };
        self.write(
            self.store
                .insert_document(Collection::Statistics, statistics),
        );
    }

    fn heard(&self) -> Vec<Heard> {
        self.heard.lock().expect("no listener panics").clone()
    }

    /// Waits until an event of this name with this text in it has been heard.
    fn wait_for(&self, event: &str, text: &str) -> Heard {
        eventually(&format!("{event} with {text}"), || {
            self.heard()
                .into_iter()
                .find(|heard| heard.event == event && heard.payload.to_string().contains(text))
        })
    }

    /// Writes messages `w0`, `w1`, ... as fast as the database takes them, while `meanwhile` runs; then 50 more, and waits
    /// until the last is heard. Every third one is edited as well. Returns how many there are.
    fn write_while(&self, meanwhile: impl FnOnce()) -> usize {
        let done = Arc::new(AtomicBool::new(false));
        let writing = self.runtime.spawn({
            let (store, done) = (self.store.clone(), Arc::clone(&done));
            async move {
                let mut left = 50;
                let mut number = 0;
                while left > 0 {
                    left -= usize::from(done.load(Relaxed));
                    insert_until_taken(&store, number).await;
                    number += 1;
                }
                number
            }
        });
        meanwhile();
        done.store(true, Relaxed);
        let count = self.runtime.block_on(writing).expect("the writer ends");
        self.wait_for("watch.messages", &format!("\"w{}\"", count - 1));
        count
    }

    /// Nothing is lost; what our gateways would leave after dropping duplicates is in order. Returns the number of
    /// duplicates.
    fn check(&self, count: usize) -> usize {
        let heard = self.heard();
        let (mut seen, mut kept, mut term) = (HashSet::new(), Vec::new(), 0);
        let mut duplicates = 0;
        for one in heard.iter().filter(|one| one.event == "watch.messages") {
            let place = (one.hub["token"].to_string(), one.hub["n"].as_u64());
            let sent_in = one.hub["term"].as_i64().expect("a term");
            if !seen.insert(place) || sent_in < term {
                duplicates += 1;
                continue;
            }
            term = sent_in;
            kept.push(one);
        }
        let ids: BTreeSet<&str> = kept
            .iter()
            .filter_map(|one| one.payload["message"]["_id"].as_str())
            .collect();
        let missing: Vec<_> = (0..count)
            .map(|number| format!("w{number}"))
            .filter(|id| !ids.contains(id.as_str()))
            .collect();
        assert!(
            missing.is_empty(),
            "of {count} messages these were never heard: {missing:?}"
        );
        let mut edits: BTreeMap<&str, i64> = BTreeMap::new();
        for one in &kept {
            let id = one.payload["message"]["_id"].as_str().unwrap_or_default();
            let action = one.payload["clientAction"].as_str();
            let before = edits.insert(id, i64::from(action == Some("updated")));
            match before {
                None => assert_eq!(action, Some("inserted"), "{id} begins with its edit"),
                Some(edited) => assert_eq!((edited, action), (0, Some("updated")), "{id} twice"),
            }
        }
        duplicates
    }
}

/// A database that comes back may have taken a write that was not acknowledged.
async fn insert_until_taken(store: &Store, number: usize) {
    let id = format!("w{number}");
    let message = doc! { "_id": &id, "rid": "r", "msg": "first", "ts": DateTime::now() };
    loop {
        match store.insert_message(message.clone()).await {
            Ok(_) => break,
            Err(error) if error.kind() == store::ErrorKind::Conflict => break,
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
    if number.is_multiple_of(3) {
        let edit = Update::set(doc! { "msg": "edited" });
        while store.update_message(&id, edit.clone()).await.is_err() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

async fn listen(bus: Bus, heard: Arc<Mutex<Vec<Heard>>>) {
    let mut inbox = bus.announce(Service {
        name: "streamer",
        actions: vec![],
        events: EVENTS.to_vec(),
    });
    loop {
        if let Incoming::Event(event) = inbox.recv().await {
            let mut args: Value = serde_json::from_str(&event.args).expect("JSON");
            let mut meta: Value = serde_json::from_slice(&event.meta).expect("JSON");
            heard.lock().expect("no reader panics").push(Heard {
                event: event.name,
                payload: args[0].take(),
                hub: meta["hub"].take(),
                sender: event.sender.to_string(),
            });
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// A SecantusDB with these arguments; `None` where the tests run on a real server, which does not know them.
fn secantus(arguments: &[&str]) -> Option<MongoServer> {
    let is_mongod = MongoServer::start_own(&[]).is_mongod();
    (!is_mongod).then(|| MongoServer::start_own(arguments))
}

struct Hub {
    edge: Edge,
    port: u16,
    metrics: u16,
    node: String,
}

impl Hub {
    fn state(&self) -> Value {
        let body = get(self.port, "/readyz").body;
        let body: Value = serde_json::from_str(&body).expect("JSON");
        body["hub"].clone()
    }

    fn wait_for_state(&self, state: &str) {
        eventually(state, || (self.state() == state).then_some(()));
    }

    fn metric(&self, name: &str) -> f64 {
        let text = get(self.metrics, "/metrics").body;
        let lines = text.lines().filter(|line| line.starts_with(name));
        lines
            .filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok())
            .sum()
    }
}

/// Which of some hubs works.
fn leader(hubs: &[Hub]) -> usize {
    eventually("a leader", || {
        hubs.iter().position(|hub| hub.state() == "leader")
    })
}

#[test]
fn all_sixteen_collections_are_announced_and_readiness_says_who_works() {
    let place = Place::start();
    let hub = place.hub(&[]);
    hub.wait_for_state("leader");
    for (collection, document) in documents() {
        place.write(place.store.insert_document(collection, document));
    }
    let rename = Update::set(doc! { "name": "y" });
    place.write(
        place
            .store
            .update_document(Collection::Priorities, "a", rename),
    );
    for event in EVENTS {
        let heard = place.wait_for(event, "\"a\"");
        assert_eq!(heard.sender, hub.node);
        assert_eq!(heard.hub["term"], 1, "{heard:?}");
        assert_eq!(heard.hub["n"], 0, "{heard:?}");
        assert!(heard.hub["token"].is_string(), "{heard:?}");
    }
    assert!(
        !place
            .heard()
            .iter()
            .any(|one| one.payload.to_string().contains("secret"))
    );
    // What was removed is told from the trash.
    place.write(place.store.remove_document(Collection::Subscriptions, "a"));
    let gone = place.wait_for("watch.subscriptions", "removed");
    assert_eq!(
        gone.payload["subscription"],
        serde_json::json!({ "_id": "a", "rid": "a", "u": { "_id": "u" } })
    );
    assert!(hub.metric("ddp_edge_hub_changes_total") >= 18.0);
    assert_eq!(hub.metric("ddp_edge_hub_leader"), 1.0);
}

#[test]
fn of_three_hubs_one_works_and_when_it_is_killed_another_misses_nothing() {
    let place = Place::start();
    let mut hubs: Vec<Hub> = (0..3).map(|_| place.hub(&[])).collect();
    let mut workers = BTreeSet::new();
    let count = place.write_while(|| {
        for _ in 0..2 {
            let first = leader(&hubs);
            let others = hubs.iter().filter(|hub| hub.state() == "standby").count();
            assert_eq!(others, hubs.len() - 1);
            let heard = place.heard().len();
            eventually("events flow", || {
                (place.heard().len() > heard + 50).then_some(())
            });
            workers.insert(hubs[first].node.clone());
            hubs[first].edge.kill9();
            let (killed, heard) = (Instant::now(), place.heard().len());
            hubs.remove(first);
            eventually("events flow again", || {
                (place.heard().len() > heard + 50).then_some(())
            });
            println!("take-over after {:?}", killed.elapsed());
        }
        leader(&hubs);
    });
    let duplicates = place.check(count);
    println!("{duplicates} duplicates of {count} messages in two take-overs");
    assert!(duplicates <= 2 * CHECKPOINT_MAX, "{duplicates} of {count}");
    workers.insert(hubs[0].node.clone());
    let senders: BTreeSet<_> = place.heard().into_iter().map(|one| one.sender).collect();
    assert_eq!(senders, workers);
    let terms: BTreeSet<_> = place
        .heard()
        .iter()
        .map(|one| one.hub["term"].as_i64())
        .collect();
    assert_eq!(terms, BTreeSet::from([Some(1), Some(2), Some(3)]));
}

#[test]
fn a_frozen_hub_is_replaced_and_takes_its_place_behind_the_others_when_it_wakes_up() {
    let place = Place::start();
    if !place.mongo().is_mongod() {
        harness::unverified_on_mongod("the hub's lease and checkpoint across an election");
    }
    let hubs: Vec<Hub> = (0..2).map(|_| place.hub(&[])).collect();
    let count = place.write_while(|| {
        let first = leader(&hubs);
        let heard = place.heard().len();
        eventually("events flow", || {
            (place.heard().len() > heard + 50).then_some(())
        });
        hubs[first].edge.signal("STOP");
        hubs[1 - first].wait_for_state("leader");
        let heard = place.heard().len();
        eventually("events flow", || {
            (place.heard().len() > heard + 50).then_some(())
        });
        hubs[first].edge.signal("CONT");
        hubs[first].wait_for_state("standby");
        assert_eq!(hubs[1 - first].state(), "leader");
    });
    let duplicates = place.check(count);
    assert!(duplicates <= 2 * CHECKPOINT_MAX, "{duplicates} of {count}");
}

#[test]
fn a_hub_that_is_told_to_end_hands_over_at_once_and_says_nothing_twice() {
    let place = Place::start();
    let mut hubs: Vec<Hub> = (0..2).map(|_| place.hub(&[])).collect();
    let count = place.write_while(|| {
        let first = leader(&hubs);
        let heard = place.heard().len();
        eventually("events flow", || {
            (place.heard().len() > heard + 50).then_some(())
        });
        hubs[first].edge.signal("TERM");
        assert!(hubs[first].edge.wait_for_end().success());
        hubs.remove(first);
        leader(&hubs);
    });
    assert_eq!(place.check(count), 0);
}

#[test]
fn what_is_written_while_no_hub_runs_is_announced_by_the_next_one() {
    let place = Place::start();
    let mut hub = place.hub(&[]);
    hub.wait_for_state("leader");
    place.write(
        place
            .store
            .insert_message(doc! { "_id": "before", "rid": "r" }),
    );
    place.wait_for("watch.messages", "before");
    hub.edge.kill9();
    place.write(
        place
            .store
            .insert_message(doc! { "_id": "between", "rid": "r" }),
    );
    let _hub = place.hub(&[]);
    place.wait_for("watch.messages", "between");
}

#[test]
fn nats_dies_and_what_happened_meanwhile_is_announced_when_it_is_back() {
    let place = Place::start();
    let hub = place.hub(&[]);
    hub.wait_for_state("leader");
    place.write(
        place
            .store
            .insert_message(doc! { "_id": "before", "rid": "r" }),
    );
    place.wait_for("watch.messages", "before");
    place.nats().kill9();
    eventually("the listener notices", || {
        (!place.listener.status().connected).then_some(())
    });
    for number in 0..20 {
        let message = doc! { "_id": format!("away{number}."), "rid": "r" };
        place.write(place.store.insert_message(message));
    }
    place.nats().restart();
    for number in 0..20 {
        place.wait_for("watch.messages", &format!("away{number}."));
    }
    hub.wait_for_state("leader");
}

#[test]
fn mongodb_dies_under_writes_and_nothing_is_missed() {
    // Without it SecantusDB forgets what it has acknowledged.
    let place = Place::start_on(
        secantus(&["--sync-on-commit"]).unwrap_or_else(|| MongoServer::start_own(&[])),
    );
    let hub = place.hub(&[]);
    hub.wait_for_state("leader");
    let count = place.write_while(|| {
        let heard = place.heard().len();
        eventually("events flow", || {
            (place.heard().len() > heard + 50).then_some(())
        });
        let mut mongo = place.mongo();
        mongo.kill9();
        mongo.restart();
        let heard = place.heard().len();
        eventually("events flow again", || {
            (place.heard().len() > heard + 50).then_some(())
        });
    });
    place.check(count);
}

/// So few entries that the log forgets at once. A real server keeps 990 MB at least, or an hour.
const SHORT_LOG: [&str; 4] = [
    "--oplog-max-entries",
    "50",
    "--oplog-retention-seconds",
    "1",
];

#[test]
fn lost_history_is_said_aloud_and_what_feeds_caches_is_sent_again() {
    let Some(mongo) = secantus(&SHORT_LOG) else {
        return;
    };
    let place = Place::start_on(mongo);
    for (collection, document) in documents() {
        place.write(place.store.insert_document(collection, document));
    }
    let mut hub = place.hub(&[]);
    hub.wait_for_state("leader");
    place.write(
        place
            .store
            .insert_message(doc! { "_id": "before", "rid": "r" }),
    );
    place.wait_for("watch.messages", "before");
    hub.edge.kill9();
    let known = place.heard().len();
    let hub = eventually("a hub that has lost its place", || {
        for number in 0..500 {
            let message = doc! { "rid": "r", "msg": number };
            place.write(place.store.insert_message(message));
        }
        let mut hub = place.hub(&[]);
        hub.wait_for_state("leader");
        place.write(
            place
                .store
                .insert_message(doc! { "rid": "r", "msg": "after" }),
        );
        eventually("it works", || {
            (hub.metric("ddp_edge_hub_changes_total") > 0.0).then_some(())
        });
        if hub.metric("ddp_edge_hub_history_lost_total") > 0.0 {
            return Some(hub);
        }
        hub.edge.kill9();
        None
    });
    hub.edge.wait_for_line("changes were missed");
    let heard = place.heard().split_off(known);
    let gaps: Vec<&Heard> = heard
        .iter()
        .filter(|one| one.hub["gap"].is_string())
        .collect();
    let events: BTreeSet<&str> = gaps.iter().map(|one| one.event).collect();
    assert_eq!(
        events,
        BTreeSet::from(["permission.changed", "watch.roles", "watch.settings"])
    );
    let names: BTreeSet<String> = gaps.iter().map(|one| one.hub["gap"].to_string()).collect();
    assert_eq!(names.len(), 1, "one gap, one name");
}

#[test]
fn a_hub_whose_lease_was_dropped_goes_on_above_the_term_of_the_checkpoint() {
    let place = Place::start();
    let mut hub = place.hub(&[]);
    hub.wait_for_state("leader");
    let message = |id: &str| doc! { "_id": id, "rid": "r" };
    place.write(place.store.insert_message(message("before")));
    assert_eq!(place.wait_for("watch.messages", "before").hub["term"], 1);
    hub.edge.kill9();
    // As after the loss of the lease alone: the checkpoint has seen later terms than the next lease would name.
    place.write(place.store.take_checkpoint(40));
    place.write(place.store.insert_message(message("meanwhile")));
    let hub = place.hub(&[]);
    assert_eq!(
        place.wait_for("watch.messages", "meanwhile").hub["term"],
        41
    );
    assert_eq!(hub.metric("ddp_edge_hub_history_lost_total"), 0.0);
}

#[test]
fn from_8_0_on_a_hub_is_idle_ready_and_says_why() {
    let place = Place::start();
    place.version("8.1.0");
    let hub = place.hub(&[]);
    assert_eq!(hub.state(), "idle");
    hub.edge.wait_for_line("from 8.0 on");
    place.write(place.store.insert_message(doc! { "_id": "m", "rid": "r" }));
    // A hub of an older line would say it before this.
    assert!(place.heard().is_empty());
}

#[test]
fn a_workspace_that_is_updated_to_8_0_ends_the_work_of_its_hub() {
    let place = Place::start();
    place.version("6.5.0");
    let hub = place.hub(&[("DISABLE_DB_WATCHERS", "")]);
    hub.wait_for_state("leader");
    place.version("8.0.0");
    hub.wait_for_state("idle");
    assert_eq!(hub.metric("ddp_edge_hub_leader"), 0.0);
}

#[test]
fn with_watchers_disabled_only_what_the_monolith_leaves_out_is_announced() {
    let place = Place::start();
    place.version("7.10.0");
    let hub = place.hub(&[("DISABLE_DB_WATCHERS", "")]);
    hub.wait_for_state("leader");
    for (collection, document) in documents() {
        place.write(place.store.insert_document(collection, document));
    }
    let conns = Update::set(doc! { "extraInformation.conns": 7 });
    place.write(
        place
            .store
            .update_document(Collection::Instances, "a", conns),
    );
    let heard = place.wait_for("watch.instanceStatus", "extraInformation.conns");
    assert_eq!(heard.payload["diff"]["extraInformation.conns"], 7);
    let events: BTreeSet<_> = place.heard().into_iter().map(|one| one.event).collect();
    assert_eq!(events, BTreeSet::from(["watch.instanceStatus"]));
}

#[test]
fn beside_the_originals_hub_ours_is_idle_and_goes_on_when_that_is_gone() {
    let place = Place::start();
    let hub = place.hub(&[]);
    hub.wait_for_state("leader");
    let transporter = place.nats().url();
    let environment = [
        ("TRANSPORTER", transporter.as_str()),
        HEARTBEATS[0],
        HEARTBEATS[1],
    ];
    let flags = ["--node-id", "theirs", "--services", "peer"];
    let mut theirs = NodeProcess::start("peer.js", &flags, &environment);
    theirs.ask(&serde_json::json!({ "cmd": "create", "name": "hub" }));
    hub.wait_for_state("idle");
    hub.edge
        .wait_for_line("a stream-hub-service of Rocket.Chat is on the network");
    place.write(
        place
            .store
            .insert_message(doc! { "_id": "between", "rid": "r" }),
    );
    theirs.ask(&serde_json::json!({ "cmd": "stop" }));
    hub.wait_for_state("leader");
    // What the other one has told, too: nobody says how far it came.
    place.wait_for("watch.messages", "between");
}

#[test]
fn a_process_with_all_roles_waits_beside_a_hub_and_takes_over_from_it() {
    let place = Place::start();
    let mut hub = place.hub(&[]);
    hub.wait_for_state("leader");
    // It is never ready as a gateway here, where no monolith is.
    let all = place.role("all", &[]);
    place.write(
        place
            .store
            .insert_message(doc! { "_id": "first", "rid": "r" }),
    );
    assert_eq!(place.wait_for("watch.messages", "first").sender, hub.node);
    hub.edge.kill9();
    place.write(
        place
            .store
            .insert_message(doc! { "_id": "second", "rid": "r" }),
    );
    assert_eq!(place.wait_for("watch.messages", "second").sender, all.node);
    assert_eq!(all.metric("ddp_edge_hub_leader"), 1.0);
}

/// What is sent between two checkpoints at most, and what one batch adds.
const CHECKPOINT_MAX: usize = 1_000;
