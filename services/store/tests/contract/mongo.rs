//! What only MongoDB does, or can fail to do.

use std::time::Duration;

use harness::MongoServer;
use mongodb::Client;
use mongodb::bson::{Bson, DateTime, Document, doc};
use mongodb::options::IndexOptions;
use store::{ErrorKind, MongoConfig, Store, Update};

use crate::places;

async fn own_server() -> MongoServer {
    tokio::task::spawn_blocking(|| MongoServer::start_own(&[]))
        .await
        .unwrap()
}

async fn store_at(url: &str, deadline: Duration) -> Store {
    Store::mongo(MongoConfig {
        url: url.into(),
        deadline,
    })
    .await
    .unwrap()
}

#[tokio::test]
async fn what_is_removed_leaves_a_copy_in_the_trash() {
    let place = places::mongodb().await;
    let trash = place.database.collection::<Document>("rocketchat__trash");
    place
        .store
        .insert_subscription(doc! { "_id": "s", "rid": "r", "u": { "_id": "u" } })
        .await
        .unwrap();
    place
        .store
        .insert_message(doc! { "_id": "m", "rid": "r", "msg": "x" })
        .await
        .unwrap();
    assert!(place.store.remove_subscription("r", "u").await.unwrap());
    assert!(place.store.delete_message("m").await.unwrap());
    for (id, collection) in [("s", "subscription"), ("m", "message")] {
        let copy = trash.find_one(doc! { "_id": id }).await.unwrap().unwrap();
        assert_eq!(copy.get_str("__collection__").ok(), Some(collection));
        assert_eq!(copy.get_str("rid").ok(), Some("r"));
        assert!(copy.get_datetime("_deletedAt").is_ok());
    }

    // A second document under the same id replaces the first copy.
    place
        .store
        .insert_message(doc! { "_id": "m", "rid": "r2" })
        .await
        .unwrap();
    assert!(place.store.delete_message("m").await.unwrap());
    let copy = trash.find_one(doc! { "_id": "m" }).await.unwrap().unwrap();
    assert_eq!(copy.get_str("rid").ok(), Some("r2"));
    assert!(!copy.contains_key("msg"));
}

#[tokio::test]
async fn the_version_is_the_newest_that_the_monolith_recorded() {
    let place = places::mongodb().await;
    let statistics = place
        .database
        .collection::<Document>("rocketchat_statistics");
    for (at, version) in [(2, "7.5.0"), (3, "7.6.1"), (1, "7.4.0")] {
        let record = doc! { "createdAt": DateTime::from_millis(at), "version": version };
        statistics.insert_one(record).await.unwrap();
    }
    assert_eq!(
        place.store.server_version().await.unwrap().as_deref(),
        Some("7.6.1")
    );
}

#[tokio::test]
async fn missing_indexes_are_made_and_existing_ones_left_alone() {
    let place = places::mongodb().await;
    let instances = place.database.collection::<Document>("instances");
    let theirs = mongodb::IndexModel::builder()
        .keys(doc! { "_updatedAt": 1 })
        .options(
            IndexOptions::builder()
                .expire_after(Duration::from_secs(120))
                .build(),
        )
        .build();
    instances.create_index(theirs).await.unwrap();
    for _ in 0..2 {
        place
            .store
            .create_indexes(Duration::from_secs(60))
            .await
            .unwrap();
    }
    let info = place
        .database
        .run_command(doc! { "listIndexes": "instances" })
        .await
        .unwrap();
    let indexes = info
        .get_document("cursor")
        .unwrap()
        .get_array("firstBatch")
        .unwrap();
    let expiry: Vec<f64> = indexes
        .iter()
        .filter_map(
            |index| match index.as_document()?.get("expireAfterSeconds")? {
                Bson::Double(seconds) => Some(*seconds),
                whole => whole
                    .as_i64()
                    .or_else(|| whole.as_i32().map(i64::from))
                    .map(|seconds| seconds as f64),
            },
        )
        .collect();
    assert_eq!(expiry, [120.0]);
    let sessions = place.database.collection::<Document>("usersSessions");
    let names = sessions.list_index_names().await.unwrap();
    for path in [
        "connections.id",
        "connections.instanceId",
        "connections._updatedAt",
    ] {
        assert!(
            names.iter().any(|name| name.starts_with(path)),
            "{path} in {names:?}"
        );
    }
}

#[tokio::test]
async fn whoever_has_an_id_that_is_no_text_does_not_log_in() {
    let place = places::mongodb().await;
    let users = place.database.collection::<Document>("users");
    let ids = [
        Bson::Int32(7),
        Bson::Null,
        doc! { "a": 1 }.into(),
        true.into(),
    ];
    for (number, id) in ids.into_iter().enumerate() {
        let (name, hashed) = (format!("odd{number}"), format!("hash{number}"));
        let services = doc! {
            "resume": { "loginTokens": [{ "hashedToken": &hashed }] },
            "password": { "bcrypt": "$2b$10$N9qo8uLOickgx2ZMRZoMye9ziAGq7vck5tvJgDvwdigaC3VYxmYaC" },
        };
        let user = doc! { "_id": &id, "username": &name, "services": services };
        users.insert_one(user).await.unwrap();
        let (one, other) = (hashed.clone(), "nobody's".to_owned());
        assert_eq!(
            place.store.user_by_token_hash(&hashed).await.unwrap(),
            None,
            "{id}"
        );
        let owners = place.store.token_owners(&[one, other]).await.unwrap();
        assert!(owners.is_empty(), "{id}");
        assert_eq!(
            place.store.password_hash(&name).await.unwrap(),
            None,
            "{id}"
        );
    }
}

#[tokio::test]
async fn a_url_without_a_path_means_the_database_rocketchat() {
    let server = own_server().await;
    let store = store_at(&server.url(""), Duration::from_secs(10)).await;
    store
        .insert_user(doc! { "_id": "u", "username": "u" })
        .await
        .unwrap();
    let client = Client::with_uri_str(server.url("")).await.unwrap();
    let users = client
        .database("rocketchat")
        .collection::<Document>("users");
    assert!(users.find_one(doc! { "_id": "u" }).await.unwrap().is_some());
}

#[tokio::test]
async fn options_that_the_driver_does_not_know_do_not_end_the_start() {
    let server = own_server().await;
    let url = format!(
        "{}&useUnifiedTopology=true&socketTimeoutMS=5",
        server.url("db")
    );
    assert_eq!(
        store::unsupported_options(&url),
        ["useUnifiedTopology", "socketTimeoutMS"]
    );
    store_at(&url, Duration::from_secs(10))
        .await
        .ping()
        .await
        .unwrap();
}

#[tokio::test]
async fn a_url_that_cannot_be_used_is_refused_without_showing_it() {
    for url in [
        "",
        "http://host",
        "mongodb://",
        "mongodb://u:hunter2@host:x/db",
        "mongodb://u:hunter2@h/?w=-1",
    ] {
        let config = MongoConfig {
            url: url.into(),
            ..MongoConfig::default()
        };
        assert!(!format!("{config:?}").contains("hunter2"));
        let error = Store::mongo(config).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{url}");
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }
}

#[tokio::test]
async fn a_server_that_is_away_is_an_error_until_it_is_back() {
    let mut server = own_server().await;
    let store = store_at(&server.url("db"), Duration::from_secs(2)).await;
    store
        .insert_user(doc! { "_id": "u", "username": "u" })
        .await
        .unwrap();
    server = tokio::task::spawn_blocking(move || {
        server.kill9();
        server
    })
    .await
    .unwrap();
    let error = store.user("u").await.unwrap_err();
    assert!(
        matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Timeout),
        "{error}"
    );
    assert!(store.ping().await.is_err());
    let _server = tokio::task::spawn_blocking(move || {
        server.restart();
        server
    })
    .await
    .unwrap();
    // The driver looks for it again in the background; each attempt waits for that until its deadline.
    while store.ping().await.is_err() {}
    store
        .insert_user(doc! { "_id": "v", "username": "v" })
        .await
        .unwrap();
    assert!(store.user("v").await.unwrap().is_some());
}

#[tokio::test]
async fn a_frozen_server_costs_a_deadline_and_works_after_it() {
    let mut server = own_server().await;
    let store = store_at(&server.url("db"), Duration::from_secs(1)).await;
    store
        .insert_user(doc! { "_id": "u", "username": "u", "name": "before" })
        .await
        .unwrap();
    server.freeze();
    assert_eq!(
        store.user("u").await.unwrap_err().kind(),
        ErrorKind::Timeout
    );
    let late = store
        .update_user("u", Update::set(doc! { "name": "late" }))
        .await;
    assert_eq!(late.unwrap_err().kind(), ErrorKind::Timeout);
    server.thaw();
    let mut found = store.user("u").await;
    while found.is_err() {
        found = store.user("u").await;
    }
    assert!(found.unwrap().is_some());
}

#[tokio::test]
async fn what_waits_for_a_frozen_server_is_bounded() {
    let mut server = own_server().await;
    let store = store_at(&server.url("db"), Duration::from_secs(1)).await;
    store.ping().await.unwrap();
    server.freeze();
    let mut waiting = tokio::task::JoinSet::new();
    for _ in 0..1_200 {
        let store = store.clone();
        waiting.spawn(async move { store.ping().await.unwrap_err().kind() });
    }
    let kinds = waiting.join_all().await;
    let refused = kinds
        .iter()
        .filter(|kind| **kind == ErrorKind::Unavailable)
        .count();
    // 1,024 are let through and time out; the rest never reach the driver.
    assert!(refused >= 1_200 - 1_024, "{refused}");
    server.thaw();
    while store.ping().await.is_err() {}
}
