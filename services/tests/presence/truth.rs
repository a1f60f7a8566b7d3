//! Nobody is online who is not, whatever was killed or frozen when; and what is told is what shows.

use std::time::Duration;

use serde_json::json;
use services::presence::Mode;
use store::{
    Instance, Store, Update,
    bson::{DateTime, Document, doc},
};

use crate::place::{It, SHORT, add_user, config, embedded, on_mongo, open, own_mongo};

#[tokio::test]
async fn the_entries_of_a_node_that_exists_nowhere_go_after_a_grace() {
    for place in [embedded(), on_mongo().await] {
        let store = place.store.clone();
        for user in ["gone", "both", "here"] {
            add_user(
                &store,
                user,
                doc! { "status": "online", "statusConnection": "online" },
            )
            .await;
        }
        let entries = [
            ("gone", "s1", "dead"),
            ("both", "s2", "dead"),
            ("both", "s3", "n1"),
            ("here", "s4", "n1"),
        ];
        for (user, session, node) in entries {
            store
                .add_connection(user, session, node, "online")
                .await
                .unwrap();
        }
        let it = It::on(place, SHORT, &[]).await;
        it.shows("gone", "offline").await;
        while it.sessions("both").await != ["s3"] {
            tokio::task::yield_now().await;
        }
        assert_eq!(it.sessions("here").await, ["s4"]);
        assert_eq!(it.shown("both").await.as_deref(), Some("online"));
        let swept = it.call("removeLostConnections", json!([])).await;
        assert_eq!(swept, json!([]), "nothing is left to sweep");
    }
}

#[tokio::test]
async fn an_instance_whose_document_moves_keeps_its_entries_and_one_that_died_does_not() {
    let store = Store::embedded(None).unwrap();
    for (user, node) in [("alive", "i1"), ("dead", "i2")] {
        add_user(
            &store,
            user,
            doc! { "status": "online", "statusConnection": "online" },
        )
        .await;
        store
            .add_connection(user, user, node, "online")
            .await
            .unwrap();
        let instance = Instance {
            id: node.into(),
            name: "rocket.chat".into(),
            pid: 1,
            extra: doc! {},
        };
        store.register_instance(&instance).await.unwrap();
    }
    let it = It::start(store, SHORT, &[]).await;
    while it.shown("dead").await.as_deref() != Some("offline") {
        it.store.instance_ping("i1").await.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(it.sessions("alive").await, ["alive"]);
}

#[tokio::test]
async fn a_lost_node_named_by_the_monolith_takes_its_users_offline() {
    for mut it in It::both(SHORT, &["a", "b"]).await {
        it.call("newConnection", json!(["a", "s1", "n2"])).await;
        it.call("newConnection", json!(["b", "s2", "n2"])).await;
        it.call("newConnection", json!(["b", "s3", "n1"])).await;
        it.call("setConnectionStatus", json!(["b", "away", "s3"]))
            .await;
        let mut swept = it.call("removeLostConnections", json!(["n2"])).await;
        swept
            .as_array_mut()
            .unwrap()
            .sort_by_key(ToString::to_string);
        assert_eq!(swept, json!(["a", "b"]));
        assert_eq!(it.shown("a").await.as_deref(), Some("offline"));
        assert_eq!(it.shown("b").await.as_deref(), Some("away"));
        let removed = json!([{ "clientAction": "removed", "id": "n3" }]);
        it.call("newConnection", json!(["a", "s4", "n3"])).await;
        it.bus
            .broadcast("watch.instanceStatus", &removed.to_string());
        while it.told().await["user"]["status"] != "offline" {}
        it.shows("a", "offline").await;
    }
}

#[tokio::test]
async fn a_start_heals_what_an_earlier_process_left_half_done() {
    for place in [embedded(), on_mongo().await] {
        let store = place.store.clone();
        // The entries were removed, and the status not yet written; and the other way round.
        add_user(
            &store,
            "ghost",
            doc! { "status": "busy", "statusConnection": "online", "statusDefault": "busy" },
        )
        .await;
        add_user(
            &store,
            "unseen",
            doc! { "status": "offline", "statusConnection": "offline" },
        )
        .await;
        // A bot may show a status without a connection.
        add_user(
            &store,
            "bot",
            doc! { "type": "bot", "status": "busy", "statusConnection": "offline" },
        )
        .await;
        store
            .add_connection("unseen", "s", "n1", "online")
            .await
            .unwrap();
        let it = It::on(place, SHORT, &[]).await;
        it.shows("ghost", "offline").await;
        it.shows("unseen", "online").await;
        assert_eq!(it.shown("bot").await.as_deref(), Some("busy"));
    }
}

#[tokio::test]
async fn a_heartbeat_heals_a_status_that_somebody_else_has_written() {
    for it in It::both(SHORT, &["u"]).await {
        it.call("newConnection", json!(["u", "s", "n1"])).await;
        let wrong = doc! { "status": "offline", "statusConnection": "offline" };
        for (action, params) in [
            ("updateConnection", json!(["u", "s"])),
            // What a monolith before 8.6 may ask for by name.
            ("updateUserPresence", json!(["u"])),
        ] {
            let update = Update::set(wrong.clone());
            it.store.set_user_status("u", update).await.unwrap();
            it.call(action, params).await;
            assert_eq!(it.shown("u").await.as_deref(), Some("online"), "{action}");
        }
    }
}

#[tokio::test]
async fn an_entry_without_a_status_writes_null() {
    let it = It::on_mongo(SHORT, &["u"]).await;
    let database = it.database.as_ref().unwrap();
    let entry = doc! { "_id": "u", "connections": [{ "id": "s", "instanceId": "n1" }, 5] };
    let sessions = database.collection::<Document>("usersSessions");
    sessions.insert_one(entry).await.unwrap();
    it.store
        .set_user_status("u", Update::set(doc! { "status": "online" }))
        .await
        .unwrap();
    it.call("updateConnection", json!(["u", "s"])).await;
    let users = database.collection::<Document>("users");
    let user = users.find_one(doc! { "_id": "u" }).await.unwrap().unwrap();
    assert_eq!(user.get("status"), Some(&store::bson::Bson::Null));
}

#[tokio::test]
async fn connections_that_are_no_list_hold_up_nobody() {
    let it = It::on_mongo(SHORT, &["odd", "u"]).await;
    let database = it.database.as_ref().unwrap();
    let sessions = database.collection::<Document>("usersSessions");
    for (id, connections) in [
        ("odd", doc! { "connections": "none" }),
        (
            "u",
            doc! { "connections": [{ "id": "s", "instanceId": "dead", "status": "online" }] },
        ),
    ] {
        let mut document = doc! { "_id": id };
        document.extend(connections);
        sessions.insert_one(document).await.unwrap();
    }
    let removed = it.call("removeLostConnections", json!(["dead"])).await;
    assert_eq!(removed, json!(["u"]));
    let found = it.store.connections_of(&["odd".into()]).await.unwrap();
    assert!(found[0].is_odd, "it is counted: {found:?}");
    it.call("newConnection", json!(["odd", "s2", "n1"])).await;
    assert_eq!(it.sessions("odd").await, ["s2"]);
}

#[tokio::test]
async fn odd_entries_of_a_node_that_exists_nowhere_go_with_it() {
    let odd = [
        (
            "no-id",
            doc! { "instanceId": "dead", "_updatedAt": DateTime::now() },
        ),
        (
            "number",
            doc! { "id": 7, "instanceId": "dead", "_updatedAt": DateTime::now() },
        ),
        ("no-time", doc! { "id": "s", "instanceId": "dead" }),
        (
            "text",
            doc! { "id": "s", "instanceId": "dead", "_updatedAt": "2026-01-10T08:00:00Z" },
        ),
        ("no-node", doc! { "id": "s", "_updatedAt": DateTime::now() }),
    ];
    let it = It::on_mongo(SHORT, &odd.each_ref().map(|(user, _)| *user)).await;
    let database = it.database.as_ref().unwrap();
    let sessions = database.collection::<Document>("usersSessions");
    for (user, entry) in &odd {
        let mut entry = entry.clone();
        entry.insert("status", "online");
        let document = doc! { "_id": user, "connections": [entry] };
        sessions.insert_one(document).await.unwrap();
    }
    for (user, _) in &odd {
        let none = doc! { "_id": user, "connections": [] };
        while sessions.find_one(none.clone()).await.unwrap().is_none() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        it.call("updateUserPresence", json!([user])).await;
        assert_eq!(it.shown(user).await.as_deref(), Some("offline"), "{user}");
    }
}

#[tokio::test]
async fn only_changes_are_told_and_only_the_listed_fields() {
    for mut it in It::both(SHORT, &["u", "end"]).await {
        it.call("newConnection", json!(["u", "s1", "n1"])).await;
        it.call("newConnection", json!(["u", "s2", "n1"])).await;
        for _ in 0..3 {
            it.call("updateConnection", json!(["u", "s1"])).await;
        }
        it.call("setConnectionStatus", json!(["u", "away", "s2"]))
            .await;
        it.call("removeConnection", json!(["u", "s2", "n1"])).await;
        it.call("newConnection", json!(["end", "s", "n1"])).await;
        let user = json!({
            "_id": "u", "username": "u", "name": "Name of u", "status": "online", "roles": ["user"],
        });
        assert_eq!(it.told_until("end").await, [json!({ "user": user })]);
    }
}

#[tokio::test]
async fn a_word_that_is_no_status_is_never_told() {
    for mut it in It::both(SHORT, &["end"]).await {
        add_user(&it.store, "u", doc! { "statusDefault": "gone fishing" }).await;
        it.call("newConnection", json!(["u", "s", "n1"])).await;
        it.call("updateConnection", json!(["u", "s"])).await;
        it.call("newConnection", json!(["end", "s", "n1"])).await;
        assert_eq!(it.told_until("end").await, Vec::<serde_json::Value>::new());
    }
}

#[tokio::test]
async fn a_removal_that_a_frozen_database_did_not_take_is_done_when_it_thaws() {
    let mut server = own_mongo().await;
    let (store, _database) = open(&server, Duration::from_millis(500)).await;
    let it = It::start(store, config(Mode::Legacy), &["a", "b"]).await;
    it.call("newConnection", json!(["a", "s1", "n2"])).await;
    it.call("newConnection", json!(["b", "s2", "n1"])).await;
    server.freeze();
    let lost = json!([{ "clientAction": "removed", "id": "n2" }]);
    it.bus.broadcast("watch.instanceStatus", &lost.to_string());
    let remove = it.call("removeConnection", json!(["b", "s2", "n1"]));
    let thaw = async {
        // Longer than the deadline of an operation: what was tried has failed.
        it.refused("updateConnection", json!(["a", "s1"])).await;
        server.thaw();
    };
    let (removed, ()) = tokio::join!(remove, thaw);
    assert_eq!(removed, json!({ "uid": "b", "session": "s2" }));
    for user in ["a", "b"] {
        it.shows(user, "offline").await;
        assert_eq!(it.sessions(user).await, Vec::<String>::new());
    }
}

#[tokio::test]
async fn a_status_whose_write_was_not_acknowledged_is_told_all_the_same() {
    let server = own_mongo().await;
    let (store, database) = open(&server, Duration::from_secs(10)).await;
    let mut it = It::start(store, config(Mode::Legacy), &["u", "end"]).await;
    it.call("newConnection", json!(["u", "s", "n1"])).await;
    it.told().await;
    // The write is carried out, and its answer is that nobody knows.
    let command = doc! {
        "configureFailPoint": "failCommand",
        "mode": { "times": 1 },
        "data": {
            "failCommands": ["update"],
            "namespace": format!("{}.users", database.name()),
            "writeConcernError": { "code": 64, "errmsg": "no answer" },
        },
    };
    let admin = database.client().database("admin");
    admin.run_command(command).await.unwrap();
    it.refused("setStatus", json!(["u", "busy", "x"])).await;
    it.shows("u", "busy").await;
    let told = it.told().await;
    assert_eq!(
        (&told["user"]["statusText"], &told["previousStatus"]),
        (&json!("x"), &json!("online"))
    );
    it.call("updateUserPresence", json!(["u"])).await;
    it.call("newConnection", json!(["end", "s", "n1"])).await;
    assert_eq!(it.told_until("end").await, Vec::<serde_json::Value>::new());
}

#[tokio::test]
async fn what_was_taken_from_the_bus_is_written_before_the_end() {
    let it = It::start(Store::embedded(None).unwrap(), SHORT, &["u"]).await;
    let (bus, store) = (it.bus.clone(), it.store.clone());
    let params = json!(["u", "s", "n1"]).to_string();
    let calls = [
        "presence.newConnection",
        "presence.removeConnection",
        "presence.newConnection",
    ];
    let calls = calls.map(|action| bus.call(action, &params, backplane::CallOptions::default()));
    let [first, second, third] = calls;
    let end = async {
        tokio::task::yield_now().await;
        drop(it.stop);
    };
    let (first, second, third, ()) = tokio::join!(first, second, third, end);
    assert!(first.is_ok() && second.is_ok() && third.is_ok());
    assert_eq!(store.connections("u").await.unwrap().len(), 1);
}

#[tokio::test]
async fn an_entry_that_stands_there_twice_lives_and_ends_as_one() {
    let it = It::on_mongo(SHORT, &["u"]).await;
    let database = it.database.as_ref().unwrap();
    let old = DateTime::from_millis(DateTime::now().timestamp_millis() - 1_000);
    let entry = doc! { "id": "s", "instanceId": "n1", "status": "away", "_createdAt": old, "_updatedAt": old };
    let sessions = database.collection::<Document>("usersSessions");
    let twice = doc! { "_id": "u", "connections": [entry.clone(), entry] };
    sessions.insert_one(twice).await.unwrap();
    it.call("updateConnection", json!(["u", "s"])).await;
    it.shows("u", "away").await;
    // The original's heartbeat moves the first only, and its reaper then takes the other one of a socket that is there.
    let entries = it.store.connections("u").await.unwrap();
    let old = old.timestamp_millis();
    assert!(
        entries.iter().all(|entry| entry.touched > old),
        "{entries:?}"
    );
    it.call("removeConnection", json!(["u", "s", "n1"])).await;
    assert_eq!(it.sessions("u").await.len(), 0);
    it.shows("u", "offline").await;
}

#[tokio::test]
async fn no_roles_and_an_empty_list_of_them_are_told_apart() {
    for mut it in It::both(SHORT, &[]).await {
        it.store
            .insert_user(doc! { "_id": "none", "username": "none" })
            .await
            .unwrap();
        add_user(&it.store, "empty", doc! { "roles": [] }).await;
        for (user, roles) in [("none", None), ("empty", Some(json!([])))] {
            it.call("newConnection", json!([user, "s", "n1"])).await;
            let told = it.told().await;
            assert_eq!(told["user"]["_id"], user);
            assert_eq!(told["user"].get("roles"), roles.as_ref());
        }
    }
}
