//! After any churn the entries are exactly the live connections.

use std::collections::BTreeSet;

use harness::Dice;
use serde_json::json;
use services::presence::Mode;

use crate::place::{It, config};

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
