//! After any churn the entries are exactly the live connections.

use std::{collections::BTreeSet, time::Instant};

use futures_util::future::join_all;
use harness::Dice;
use serde_json::json;
use services::presence::Mode;
use store::Store;

use crate::place::{It, call, config};

/// One client: logs in, lives a while, goes; the calls of a moment are sent without waiting. Returns the session it still
/// has at the end.
async fn client(it: &It, user: &str, number: u64, lives: u64) -> Option<String> {
    let mut dice = Dice::new(number);
    for life in 0..lives {
        let session = format!("{user}-{number}-{life}");
        let heartbeat = || it.call("updateConnection", json!([user, session]));
        let status = if dice.roll(2) == 0 { "away" } else { "online" };
        tokio::join!(
            it.call("newConnection", json!([user, session, "n1"])),
            it.call("setConnectionStatus", json!([user, status, session])),
            heartbeat(),
        );
        if life + 1 == lives && dice.roll(2) == 0 {
            return Some(session);
        }
        tokio::join!(
            heartbeat(),
            it.call("removeConnection", json!([user, session, "n1"])),
            heartbeat(),
        );
    }
    None
}

async fn churn(it: It, clients: u64, lives: u64) {
    let users = ["u", "v", "w"];
    let it = std::sync::Arc::new(it);
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..clients {
        // Most of them are one user's.
        let user = users[(number % 10).saturating_sub(7) as usize];
        let it = it.clone();
        tasks.spawn(async move { (user, client(&it, user, number, lives).await) });
    }
    let mut live: BTreeSet<(String, String)> = BTreeSet::new();
    while let Some(ended) = tasks.join_next().await {
        let (user, session) = ended.unwrap();
        live.extend(session.map(|session| (user.to_owned(), session)));
    }
    let mut found = BTreeSet::new();
    for user in users {
        let sessions = it.sessions(user).await;
        let shown = it.shown(user).await.unwrap();
        assert_eq!(shown == "offline", sessions.is_empty(), "{user} is {shown}");
        found.extend(
            sessions
                .into_iter()
                .map(|session| (user.to_owned(), session)),
        );
    }
    assert_eq!(found, live);
}

#[tokio::test]
async fn after_churn_the_entries_are_exactly_the_live_connections() {
    for it in It::both(config(Mode::Legacy), &["u", "v", "w"]).await {
        churn(it, 60, 12).await;
    }
}

/// So many sockets of one gateway, or as many as `DDP_EDGE_STORM` says.
fn storm() -> Vec<String> {
    let count = std::env::var("DDP_EDGE_STORM").map_or(500, |count| count.parse().unwrap());
    (0..count).map(|number| format!("u{number}")).collect()
}

/// One call for everybody at once; how many changes were told before all of them were answered and `last` was told.
async fn everybody(it: &mut It, users: &[String], action: &str, last: &str) -> usize {
    let bus = it.bus.clone();
    let calls = users.iter().map(|user| {
        let params = json!([user, format!("session of {user}"), "n1"]);
        call(&bus, action, params)
    });
    let calls = async {
        for answer in join_all(calls).await {
            answer.unwrap();
        }
        // Told behind everybody else.
        let end = json!([last, "s", "n1"]);
        call(&bus, "newConnection", end).await.unwrap();
    };
    let (told, ()) = tokio::join!(it.told_until(last), calls);
    told.len()
}

#[tokio::test]
async fn who_go_and_come_back_at_once_are_told_of_once_each_time() {
    let users = storm();
    let mut names: Vec<&str> = users.iter().map(String::as_str).collect();
    names.extend(["end0", "end1", "end2"]);
    let store = Store::embedded(None).unwrap();
    let mut it = It::start(store, config(Mode::Legacy), &names).await;
    for (action, status, last) in [
        ("newConnection", "online", "end0"),
        ("removeConnection", "offline", "end1"),
        ("newConnection", "online", "end2"),
    ] {
        let begun = Instant::now();
        let told = everybody(&mut it, &users, action, last).await;
        println!("{action}: {told} told in {:?}", begun.elapsed());
        assert_eq!(told, users.len(), "{action}");
        let owners = it.store.status_owners(&users).await.unwrap();
        let shows = |owner: &store::StatusOwner| owner.status.shown.as_deref() == Some(status);
        assert!(
            owners.len() == users.len() && owners.iter().all(shows),
            "{action}"
        );
        let entries = it.store.connections_of(&users).await.unwrap();
        let expected = if status == "online" { users.len() } else { 0 };
        assert_eq!(entries.len(), expected, "{action}");
    }
}
