//! Per user, the order of arrival on the bus is the order in the database.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};
use services::presence::Mode;

use crate::place::{It, call, config, open, own_mongo};

/// Sends these calls in this order without waiting for the first, and waits for both.
async fn together(it: &It, first: (&str, Value), second: (&str, Value)) {
    tokio::join!(it.call(first.0, first.1), it.call(second.0, second.1));
}

#[tokio::test]
async fn who_goes_away_right_behind_the_login_is_away() {
    for it in It::both(config(Mode::Legacy), &["u"]).await {
        for number in 0..50 {
            let session = format!("s{number}");
            together(
                &it,
                ("newConnection", json!(["u", session, "n1"])),
                ("setConnectionStatus", json!(["u", "away", session])),
            )
            .await;
            let entries = it.store.connections("u").await.unwrap();
            assert_eq!(entries.len(), 1);
            assert_eq!(entries[0].status.as_deref(), Some("away"));
            assert_eq!(it.shown("u").await.as_deref(), Some("away"));
            it.call("removeConnection", json!(["u", session, "n1"]))
                .await;
        }
    }
}

#[tokio::test]
async fn a_heartbeat_right_before_the_end_leaves_no_ghost() {
    for it in It::both(config(Mode::Legacy), &["u"]).await {
        for number in 0..50 {
            let session = format!("s{number}");
            it.call("newConnection", json!(["u", session, "n1"])).await;
            together(
                &it,
                ("updateConnection", json!(["u", session])),
                ("removeConnection", json!(["u", session, "n1"])),
            )
            .await;
            assert_eq!(it.sessions("u").await, Vec::<String>::new());
            assert_eq!(it.shown("u").await.as_deref(), Some("offline"));
        }
    }
}

#[tokio::test]
async fn a_heartbeat_behind_the_end_makes_neither_an_entry_nor_a_document() {
    for it in It::both(config(Mode::Legacy), &["u"]).await {
        it.call("newConnection", json!(["u", "s1", "n1"])).await;
        together(
            &it,
            ("removeConnection", json!(["u", "s1", "n1"])),
            ("updateConnection", json!(["u", "s1"])),
        )
        .await;
        for user in ["u", "unknown"] {
            let touched = it.call("updateConnection", json!([user, "s1"])).await;
            assert_eq!(touched, json!("nothing"));
        }
        assert_eq!(it.sessions("u").await, Vec::<String>::new());
        let connected = it.store.connected_users("", 10).await.unwrap();
        assert_eq!(connected, Vec::<String>::new());
        if let Some(database) = &it.database {
            let sessions = database.collection::<store::bson::Document>("usersSessions");
            let documents = sessions.count_documents(store::bson::doc! {}).await;
            assert_eq!(documents.unwrap(), 1, "that of u");
        }
    }
}

#[tokio::test]
async fn what_comes_together_is_written_once() {
    for mut it in It::both(config(Mode::Legacy), &["u", "end"]).await {
        let mut flaps = tokio::task::JoinSet::new();
        for number in 0..200 {
            let bus = it.bus.clone();
            flaps.spawn(async move {
                let session = format!("s{}", number % 4);
                let status = if number % 2 == 0 { "away" } else { "online" };
                let put = json!(["u", session, "n1"]);
                call(&bus, "newConnection", put).await.unwrap();
                let away = json!(["u", status, session]);
                call(&bus, "setConnectionStatus", away).await.unwrap();
            });
        }
        flaps.join_all().await;
        it.call("newConnection", json!(["end", "s", "n1"])).await;
        let told = it.told_until("end").await;
        assert!(told.len() < 20, "{} events for 400 calls", told.len());
    }
}

#[tokio::test]
async fn who_chooses_a_status_does_not_wait_behind_everybody_who_connects() {
    let mut server = own_mongo().await;
    let (store, _database) = open(&server, Duration::from_secs(60)).await;
    let storm: Vec<String> = (0..600).map(|number| format!("u{number}")).collect();
    let mut users: Vec<&str> = storm.iter().map(String::as_str).collect();
    users.push("chooser");
    let mut it = It::start(store, config(Mode::Legacy), &users).await;
    it.call("newConnection", json!(["chooser", "s1", "n1"]))
        .await;
    it.told().await;
    let bus = it.bus.clone();
    server.freeze();
    let mut calls: Vec<_> = storm
        .iter()
        .map(|user| call(&bus, "newConnection", json!([user, "s", "n1"])))
        .collect();
    // Those of one user stay in their order all the same.
    for (action, more) in [
        ("newConnection", json!(["chooser", "s2", "n1"])),
        ("setStatus", json!(["chooser", "busy"])),
        ("removeConnection", json!(["chooser", "s1", "n1"])),
        ("removeConnection", json!(["chooser", "s2", "n1"])),
    ] {
        calls.push(call(&bus, action, more));
    }
    // Answered from memory, when all of these are queued.
    let thaw = async {
        call(&bus, "getConnectionCount", json!([])).await.unwrap();
        server.thaw();
    };
    let listen = async {
        let (mut others, mut before, mut is_over) = (0, None, false);
        while others < storm.len() || !is_over {
            let user = it.told().await["user"].take();
            if user["_id"] == "chooser" {
                before.get_or_insert(others);
                is_over = user["status"] == "offline";
            } else {
                others += 1;
            }
        }
        before.unwrap()
    };
    let (answers, (), before) = tokio::join!(join_all(calls), thaw, listen);
    assert!(answers.iter().all(Result::is_ok));
    assert!(before < storm.len(), "told behind everybody");
    let claim = it.user("chooser").await.status.claim;
    assert_eq!(claim.default.as_deref(), Some("busy"));
}
