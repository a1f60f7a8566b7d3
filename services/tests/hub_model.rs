//! Random writes to all sixteen collections, and what somebody knows who has only listened: compared document by document
//! with what is in the database, over the embedded feed and over change streams.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use backplane::{Bus, Inbox, Incoming, Service};
use harness::{Dice, MongoServer};
use mongodb::Client;
use serde_json::{Value, json};
use services::stream_hub;
use store::{
    Collection, MongoConfig, ROOM_FIELDS, SUBSCRIPTION_FIELDS, Store, Update,
    bson::{Document, doc},
    ejson, project,
};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// What events say of a document; `None` if nothing.
type Cut = fn(Document) -> Option<Value>;

/// What a listener knows of each collection, by id.
type Replica = BTreeMap<&'static str, BTreeMap<String, Value>>;

/// Writes at one go; several goes let the hub meet documents in every state, also those that are gone when it looks.
const WRITES: usize = 400;
const GOES: usize = 5;
/// Few, so that writes meet each other.
const IDS: usize = 5;

struct Place {
    bus: Bus,
    store: Store,
    inbox: Inbox,
    stop: CancellationToken,
    server: Option<MongoServer>,
}

impl Place {
    async fn embedded() -> Self {
        Self::start(Store::embedded(None).unwrap(), None).await
    }

    async fn mongodb() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let server = tokio::task::spawn_blocking(|| MongoServer::start_own(&[]));
        let server = server.await.unwrap();
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let url = server.url(&format!("hub_{}_{number}", std::process::id()));
        let config = MongoConfig {
            url,
            ..MongoConfig::default()
        };
        Self::start(Store::mongo(config).await.unwrap(), Some(server)).await
    }

    async fn start(store: Store, server: Option<MongoServer>) -> Self {
        let bus = Bus::in_process("node".into());
        let inbox = bus.announce(Service {
            name: "streamer",
            actions: vec![],
            events: EVENTS.to_vec(),
        });
        let config = stream_hub::Config {
            disable_watchers: Some(false),
            ..stream_hub::Config::default()
        };
        let stop = CancellationToken::new();
        let health = stream_hub::Health::new();
        tokio::spawn(stream_hub::run(
            bus.clone(),
            store.clone(),
            config,
            health.clone(),
            stop.clone(),
        ));
        while !bus.has_service("hub") || (server.is_some() && health.report().state != "leader") {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Self {
            bus,
            store,
            inbox,
            stop,
            server,
        }
    }

    async fn next(&mut self) -> (&'static str, Value) {
        loop {
            let incoming = timeout(Duration::from_secs(60), self.inbox.recv()).await;
            if let Incoming::Event(event) = incoming.expect("an event") {
                let mut args: Value = serde_json::from_str(&event.args).unwrap();
                return (event.name, args[0].take());
            }
        }
    }

    /// Updates a user until an update is told as wanted; every one of them is told.
    async fn update_until(&mut self, numbers: std::ops::Range<i32>, wanted: fn(&Value) -> bool) {
        for number in numbers {
            let update = Update::set(doc! { "number": number });
            self.store.update_user("u", update).await.unwrap();
            let (_, told) = self.next().await;
            assert_eq!(told["diff"]["number"], number);
            if wanted(&told["diff"]) {
                return;
            }
        }
        panic!("never");
    }

    /// Listens until everything written so far has been heard.
    async fn follow(&mut self, replica: &mut Replica, end: &str) {
        let last = doc! { "_id": end, "event": "Hangup" };
        self.store
            .insert_document(Collection::PbxEvents, last)
            .await
            .unwrap();
        loop {
            let (event, payload) = self.next().await;
            hear(replica, event, &payload);
            if event == "watch.pbxevents" && payload["id"] == end {
                return;
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.stop.cancel();
        self.bus.withdraw("streamer");
    }
}

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

/// The naive listener: believes what events say and remembers it.
fn hear(replica: &mut Replica, event: &'static str, payload: &Value) {
    let known = replica.entry(event).or_default();
    let member = match event {
        "watch.messages" => "message",
        "watch.rooms" => "room",
        "watch.subscriptions" => "subscription",
        "watch.settings" => "setting",
        "watch.roles" => "role",
        "watch.inquiries" => "inquiry",
        _ => "data",
    };
    let document = &payload[member];
    let id = payload["id"].as_str().or_else(|| document["_id"].as_str());
    let id = id.expect("every event names its document").to_owned();
    if payload["clientAction"] == "removed" {
        known.remove(&id);
        return;
    }
    match payload.get("diff") {
        // These say what differs; the others say how it is now.
        Some(diff)
            if [
                "watch.users",
                "watch.instanceStatus",
                "watch.integrationHistory",
            ]
            .contains(&event) =>
        {
            let Some(document) = known.get_mut(&id) else {
                return;
            };
            for (path, value) in diff.as_object().unwrap() {
                *at(document, path) = value.clone();
            }
            for path in payload["unset"].as_object().into_iter().flatten() {
                let (parent, key) = path.0.rsplit_once('.').unwrap_or(("", path.0));
                let parent = match parent {
                    "" => &mut *document,
                    parent => at(document, parent),
                };
                parent.as_object_mut().unwrap().remove(key);
            }
        }
        _ => {
            known.insert(id, document.clone());
        }
    }
}

fn at<'v>(document: &'v mut Value, path: &str) -> &'v mut Value {
    path.split('.')
        .fold(document, |value, step| &mut value[step])
}

/// What the listener should know: the database, as far as its events say it.
async fn truth(store: &Store, collection: Collection, cut: Cut) -> BTreeMap<String, Value> {
    let documents = store.documents(collection).await.unwrap();
    let documents = documents.into_iter().filter_map(|document| {
        let id = document.get_str("_id").unwrap().to_owned();
        Some((id, cut(document)?))
    });
    documents.collect()
}

fn value(document: &Document) -> Value {
    serde_json::from_str(&ejson::to_text(document)).unwrap()
}

fn whole(document: Document) -> Option<Value> {
    Some(value(&document))
}

async fn compare(store: &Store, replica: &Replica) {
    use Collection as C;
    let nothing = BTreeMap::new();
    let check = async |event: &str, collection, cut: Cut, without: &[&str]| {
        let strip = |documents: &BTreeMap<String, Value>| {
            let mut documents = documents.clone();
            for document in documents.values_mut() {
                for field in without {
                    document.as_object_mut().unwrap().remove(*field);
                }
            }
            documents
        };
        let heard = strip(replica.get(event).unwrap_or(&nothing));
        let there = strip(&truth(store, collection, cut).await);
        (heard, there)
    };
    // Nobody is told of a time stamp alone.
    let still: &[&str] = &["_updatedAt"];
    let exact: Vec<(&str, Collection, Cut, &[&str])> = vec![
        (
            "watch.rooms",
            C::Rooms,
            |room| Some(value(&project(&room, ROOM_FIELDS))),
            &[],
        ),
        (
            "watch.subscriptions",
            C::Subscriptions,
            |one| Some(value(&project(&one, SUBSCRIPTION_FIELDS))),
            // A new one comes as it is, with what nobody is told of later.
            &["value", "private", "livechatCount"],
        ),
        // Nobody is told of a new number of chats alone.
        (
            "watch.users",
            C::Users,
            whole,
            &["livechatCount", "_updatedAt"],
        ),
        ("watch.settings", C::Settings, whole, still),
        ("permission.changed", C::Permissions, whole, still),
        ("watch.roles", C::Roles, whole, still),
        ("watch.inquiries", C::Inquiries, whole, &[]),
        (
            "watch.livechatDepartmentAgents",
            C::DepartmentAgents,
            |one| Some(value(&project(&one, &["agentId", "departmentId"]))),
            &[],
        ),
        (
            "watch.loginServiceConfiguration",
            C::LoginServices,
            |mut one| {
                one.remove("secret");
                Some(value(&one))
            },
            &[],
        ),
        ("watch.instanceStatus", C::Instances, whole, &[]),
        ("watch.integrations", C::Integrations, whole, &[]),
        ("watch.emailInbox", C::EmailInbox, whole, &[]),
    ];
    for (event, collection, cut, without) in exact {
        let (heard, there) = check(event, collection, cut, without).await;
        assert_eq!(heard, there, "{event}");
        assert!(!there.is_empty(), "{event}: nothing to compare");
    }
    // Their removal is not told: what is there must be known as it is, what is gone may still be known.
    let visible: Cut =
        |message| (!message.get_bool("_hidden").unwrap_or(false)).then(|| value(&message));
    for (event, collection, cut) in [
        ("watch.messages", C::Messages, visible),
        ("watch.integrationHistory", C::IntegrationHistory, whole),
    ] {
        let (heard, there) = check(event, collection, cut, &[]).await;
        for (id, document) in &there {
            assert_eq!(heard.get(id), Some(document), "{event} {id}");
        }
        assert!(!there.is_empty(), "{event}: nothing to compare");
    }
    let (heard, there) = check("watch.priorities", C::Priorities, whole, &[]).await;
    for (id, priority) in &heard {
        assert_eq!(priority["name"], there[id]["name"], "priority {id}");
    }
    let told: Cut =
        |one| (!one.get_str("event").is_ok_and(|event| event == "Join")).then(|| value(&one));
    let (heard, there) = check("watch.pbxevents", C::PbxEvents, told, &[]).await;
    assert_eq!(heard, there, "watch.pbxevents");
}

fn text(dice: &mut Dice) -> String {
    format!("t{}", dice.roll(4))
}

/// A document as the collection's rules may meet it.
fn document(collection: Collection, id: &str, dice: &mut Dice) -> Document {
    let number = i64::try_from(dice.roll(1_000)).unwrap();
    let mut document = doc! {
        "_id": id, "name": text(dice), "value": number, "private": text(dice), "u": { "_id": text(dice), "username": text(dice) },
    };
    match collection {
        Collection::Users => {
            document.insert("username", id);
            document.insert(
                "services",
                doc! { "resume": { "loginTokens": [{ "when": number }, { "when": 2 }] } },
            );
        }
        Collection::Subscriptions => {
            document.insert("rid", id);
        }
        Collection::Messages => {
            document.insert("rid", text(dice));
            document.insert("_hidden", dice.roll(6) == 0);
        }
        Collection::LoginServices => {
            document.insert("secret", text(dice));
        }
        Collection::DepartmentAgents => {
            document.insert("agentId", text(dice));
            document.insert("departmentId", text(dice));
        }
        Collection::IntegrationHistory => {
            document.insert("integration", doc! { "_id": text(dice) });
        }
        Collection::PbxEvents => {
            let event = ["Hangup", "ContactStatus", "Join"][dice.roll(3)];
            document.insert("event", event);
        }
        _ => {}
    }
    document
}

fn update(collection: Collection, dice: &mut Dice) -> Update {
    let mut update = Update::default();
    let number = i64::try_from(dice.roll(1_000)).unwrap();
    match dice.roll(7) {
        0 => update.set.insert("name", text(dice)),
        1 => update.set.insert("private", text(dice)),
        2 => update.set.insert("u.username", text(dice)),
        3 => update.set.insert("livechatCount", number),
        4 if collection == Collection::Users => {
            let tokens = match number % 2 {
                0 => doc! { "t": [{ "when": number }] },
                _ => doc! { "t": [] },
            };
            update.set.insert(
                "services.resume.loginTokens",
                tokens.get_array("t").unwrap().clone(),
            )
        }
        5 => update.set.insert("value", number),
        // What events of these two cannot say.
        _ if matches!(
            collection,
            Collection::Instances | Collection::IntegrationHistory
        ) =>
        {
            None
        }
        6 => {
            update.unset.push("u._id".into());
            None
        }
        _ => {
            update.unset.push("value".into());
            None
        }
    };
    update
}

async fn run(mut place: Place) {
    let seed = match std::env::var("HUB_SEED") {
        Ok(seed) => seed.parse().expect("a number"),
        Err(_) => {
            u64::try_from(
                SystemTime::now()
                    .duration_since(UNIX_EPOCH)
                    .unwrap()
                    .as_nanos()
                    % u128::from(u64::MAX),
            )
            .unwrap()
                | 1
        }
    };
    println!("HUB_SEED={seed}");
    let mut dice = Dice::new(seed);
    let mut replica = Replica::new();
    let collections = [
        Collection::Messages,
        Collection::Rooms,
        Collection::Subscriptions,
        Collection::Users,
        Collection::Settings,
        Collection::Permissions,
        Collection::Roles,
        Collection::Inquiries,
        Collection::DepartmentAgents,
        Collection::LoginServices,
        Collection::Instances,
        Collection::IntegrationHistory,
        Collection::Integrations,
        Collection::EmailInbox,
        Collection::Priorities,
        Collection::PbxEvents,
    ];
    // So that in the end there is something to compare everywhere.
    for collection in collections {
        let document = document(collection, "kept", &mut dice);
        place
            .store
            .insert_document(collection, document)
            .await
            .unwrap();
    }
    for go in 0..GOES {
        for write in 0..WRITES {
            let collection = collections[dice.roll(16)];
            // Of its own collection: the trash is kept by ids alone, where two of the same push each other out.
            let id = format!("{}.{}", collection.name(), dice.roll(IDS));
            let store = &place.store;
            match dice.roll(8) {
                // Told once only, so that each is a document of its own.
                _ if collection == Collection::PbxEvents => {
                    let document = document(collection, &format!("p{go}.{write}"), &mut dice);
                    store.insert_document(collection, document).await.unwrap();
                }
                0 if collection != Collection::Priorities => {
                    store.remove_document(collection, &id).await.unwrap();
                }
                1 | 2 => {
                    // There already: a conflict, and no change.
                    let mut document = document(collection, &id, &mut dice);
                    if collection == Collection::Messages {
                        document.insert("_hidden", false);
                    }
                    let _ = store.insert_document(collection, document).await;
                }
                _ => {
                    let update = update(collection, &mut dice);
                    if update != Update::default() {
                        store
                            .update_document(collection, &id, update)
                            .await
                            .unwrap();
                    }
                }
            }
        }
        place.follow(&mut replica, &format!("end{go}")).await;
        compare(&place.store, &replica).await;
    }
    let heard: Vec<_> = replica.keys().copied().collect();
    let mut all = EVENTS;
    all.sort_unstable();
    assert_eq!(heard, all);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_listens_to_the_embedded_feed_knows_what_is_in_the_database() {
    run(Place::embedded().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_listens_to_change_streams_knows_what_is_in_the_database() {
    run(Place::mongodb().await).await;
}

/// A real server tells of it as an array that was cut and of elements that moved.
#[tokio::test(flavor = "multi_thread")]
async fn a_pulled_token_is_told_as_the_whole_rest_under_its_exact_path() {
    const TOKENS: &str = "services.resume.loginTokens";
    let mut place = Place::mongodb().await;
    let token = |hashed: &str| doc! { "hashedToken": hashed };
    let tokens = doc! { "resume": { "loginTokens": [token("a"), token("b"), token("c")] } };
    let user = doc! { "_id": "u", "services": tokens };
    place.store.insert_user(user).await.unwrap();
    place.next().await;
    assert!(place.store.pull_login_token("u", "a").await.unwrap());
    let (_, told) = place.next().await;
    let rest = json!([{ "hashedToken": "b" }, { "hashedToken": "c" }]);
    assert_eq!(told["diff"][TOKENS], rest);
    let diff = told["diff"].as_object().unwrap();
    assert!(
        !diff
            .keys()
            .any(|path| path.starts_with(&format!("{TOKENS}."))),
        "{told}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_the_database_cannot_tell_is_read_instead() {
    let mut place = Place::mongodb().await;
    if !place.server.as_ref().unwrap().is_mongod() {
        harness::unverified_on_mongod("a change event over 16 MB (here a fail point says so)");
    }
    let url = place.server.as_ref().unwrap().url("admin");
    let admin = Client::with_uri_str(url).await.unwrap().database("admin");
    let user = doc! { "_id": "u", "name": "before" };
    place.store.insert_user(user).await.unwrap();
    assert_eq!(place.next().await.1["clientAction"], "inserted");
    let too_large = doc! {
        "configureFailPoint": "failCommand", "mode": { "times": 1 },
        "data": { "failCommands": ["getMore"], "errorCode": 10334 },
    };
    admin.run_command(too_large).await.unwrap();
    // Read instead, it differs in everything, because nobody knows better. A question that was under way when the
    // failure was ordered is still answered as usual.
    let is_read = |diff: &Value| diff.get("name").is_some();
    place.update_until(0..10, is_read).await;
    // And the next one is told as usual.
    let is_told = |diff: &Value| diff.get("name").is_none();
    place.update_until(10..11, is_told).await;
}
