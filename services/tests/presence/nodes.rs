//! Several nodes on a real nats-server: presence services beside each other, gateways that die.

use std::{collections::HashMap, time::Duration};

use backplane::{Bus, Config as BusConfig};
use harness::{NatsServer, NodeProcess};
use serde_json::json;
use services::presence::{self, Mode};
use store::{Store, bson::doc};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::place::{self, add_user, call, config, listen, next_told, on_mongo, own_nats, shows};

/// A node of the network.
pub(crate) struct Node {
    pub(crate) bus: Bus,
    driver: JoinHandle<()>,
    stop: CancellationToken,
}

impl Node {
    async fn join(nats: &NatsServer, name: &str) -> Self {
        Self::join_within(nats, name, Duration::from_secs(1)).await
    }

    /// Counts whoever is silent for so long as lost.
    pub(crate) async fn join_within(
        nats: &NatsServer,
        name: &str,
        heartbeat_timeout: Duration,
    ) -> Self {
        let (bus, driver) = Bus::nats(BusConfig {
            servers: backplane::Server::list(&nats.url()).unwrap(),
            node_id: name.to_owned(),
            hostname: name.to_owned(),
            heartbeat_interval: Duration::from_millis(200),
            heartbeat_timeout,
            dependencies: Vec::new(),
            prefer_local: false,
            ..BusConfig::default()
        });
        let stop = CancellationToken::new();
        let driver = tokio::spawn(driver.run(stop.clone()));
        while !bus.status().connected {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Self { bus, driver, stop }
    }

    async fn serve(&self, store: &Store) {
        self.serve_by(store, Mode::Legacy).await;
    }

    pub(crate) async fn serve_by(&self, store: &Store, mode: Mode) {
        let (bus, store) = (self.bus.clone(), store.clone());
        tokio::spawn(presence::run(bus, store, config(mode), self.stop.clone()));
    }

    /// Asks this node, whoever else serves presence.
    pub(crate) async fn answers(
        &self,
        asker: &Bus,
        action: &str,
        params: &serde_json::Value,
    ) -> String {
        let options = backplane::CallOptions {
            node: Some(self.bus.node_id().to_owned()),
            ..Default::default()
        };
        let action = format!("presence.{action}");
        let answer = asker.call(&action, &params.to_string(), options).await;
        let answer = answer.unwrap().unwrap_or_default();
        String::from_utf8(answer.to_vec()).unwrap()
    }

    /// Waits until it knows so many available nodes that offer presence.
    pub(crate) async fn knows(&self, count: usize) {
        let serves = |node: &backplane::NodeInfo| {
            node.available && node.services.iter().any(|name| **name == *"presence")
        };
        while self.bus.nodes().iter().filter(|node| serves(node)).count() != count {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_sockets_of_a_gateway_that_fell_silent_go_with_it() {
    let nats = own_nats().await;
    let place = on_mongo().await;
    for user in ["u", "v"] {
        add_user(&place.store, user, doc! {}).await;
    }
    let (first, second) = tokio::join!(Node::join(&nats, "p1"), Node::join(&nats, "p2"));
    for node in [&first, &second] {
        node.serve(&place.store).await;
    }
    let gateway = Node::join(&nats, "g1").await;
    let other = Node::join(&nats, "g2").await;
    let mut told = listen(&other.bus);
    gateway.knows(2).await;
    other.knows(2).await;
    call(&gateway.bus, "newConnection", json!(["u", "s1", "g1"]))
        .await
        .unwrap();
    call(&other.bus, "newConnection", json!(["u", "s2", "g2"]))
        .await
        .unwrap();
    call(
        &other.bus,
        "setConnectionStatus",
        json!(["u", "away", "s2"]),
    )
    .await
    .unwrap();
    call(&gateway.bus, "newConnection", json!(["v", "s3", "g1"]))
        .await
        .unwrap();
    // Without a word, as a killed process.
    gateway.driver.abort();
    shows(&place.store, "u", "away").await;
    shows(&place.store, "v", "offline").await;
    let entries = place.store.connections("u").await.unwrap();
    assert_eq!(entries.len(), 1);
    assert_eq!(entries[0].id, "s2");
    while next_told(&mut told).await["user"]["status"] != "offline" {}
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn presence_services_beside_each_other_agree_on_everybody() {
    let nats = own_nats().await;
    let place = on_mongo().await;
    let users: Vec<String> = (0..4).map(|number| format!("u{number}")).collect();
    for user in &users {
        add_user(&place.store, user, doc! {}).await;
    }
    let (first, second) = tokio::join!(Node::join(&nats, "p1"), Node::join(&nats, "p2"));
    for node in [&first, &second] {
        node.serve(&place.store).await;
    }
    first.knows(2).await;
    second.knows(2).await;
    let gateway = Node::join(&nats, "g1").await;
    gateway.knows(2).await;
    let mut clients = tokio::task::JoinSet::new();
    for number in 0..24_usize {
        let (bus, user) = (gateway.bus.clone(), users[number % users.len()].clone());
        clients.spawn(async move {
            for life in 0..8 {
                let session = format!("s{number}-{life}");
                call(&bus, "newConnection", json!([user, session, "g1"]))
                    .await
                    .unwrap();
                if number % 2 == 0 {
                    let away = json!([user, "away", session]);
                    call(&bus, "setConnectionStatus", away).await.unwrap();
                }
                if life < 7 || number % 3 == 0 {
                    call(&bus, "removeConnection", json!([user, session, "g1"]))
                        .await
                        .unwrap();
                }
            }
        });
    }
    while let Some(ended) = clients.join_next().await {
        ended.unwrap();
    }
    for (index, user) in users.iter().enumerate() {
        let live: Vec<usize> = (0..24)
            .filter(|it| it % users.len() == index && it % 3 != 0)
            .collect();
        let entries = place.store.connections(user).await.unwrap();
        assert_eq!(entries.len(), live.len(), "{user}");
        let wanted = if live.iter().any(|it| it % 2 == 1) {
            "online"
        } else {
            "away"
        };
        // Who was overtaken too often looks again in its turn, behind the answer.
        let agreed = async {
            while place::user(&place.store, user)
                .await
                .status
                .shown
                .as_deref()
                != Some(wanted)
            {}
        };
        let agreed = tokio::time::timeout(Duration::from_secs(10), agreed);
        assert!(agreed.await.is_ok(), "{user} is not {wanted}");
    }
}

/// Says it until it is heard, as a gateway does.
async fn insist(bus: &Bus, action: &str, params: serde_json::Value) {
    while call(bus, action, params.clone()).await.is_err() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_two_services_find_at_the_same_time_is_told_once() {
    let nats = own_nats().await;
    let place = on_mongo().await;
    let users: Vec<String> = (0..120).map(|number| format!("u{number}")).collect();
    for user in users.iter().map(String::as_str).chain(["p1", "p2"]) {
        add_user(&place.store, user, doc! {}).await;
    }
    let patience = Duration::from_secs(60);
    let first = Node::join_within(&nats, "p1", patience).await;
    let second = Node::join_within(&nats, "p2", patience).await;
    let asker = Node::join_within(&nats, "asker", patience).await;
    for node in [&first, &second] {
        node.serve(&place.store).await;
    }
    for node in [&asker, &first, &second] {
        node.knows(2).await;
    }
    let mut told = listen(&asker.bus);
    for (round, status) in ["online", "away", "online", "away"].iter().enumerate() {
        let entry = |user: &String| {
            let put = store::ConnectionEdit::Put {
                session: "s".to_owned(),
                node: "asker".to_owned(),
                status: (*status).to_owned(),
            };
            (user.clone(), vec![put])
        };
        let entries = users.iter().map(entry).collect();
        place.store.edit_connections(entries).await.unwrap();
        let looks = users.iter().flat_map(|user| {
            let look = json!([user]);
            [&first, &second].map(|node| {
                let (look, asker) = (look.clone(), &asker.bus);
                async move { node.answers(asker, "updateUserPresence", &look).await }
            })
        });
        futures_util::future::join_all(looks).await;
        // Told by each of them behind everything else.
        for (node, last) in [(&first, "p1"), (&second, "p2")] {
            let flip = json!([last, format!("{last}-{round}"), "asker"]);
            let flip = match round % 2 {
                0 => ("newConnection", flip),
                _ => (
                    "removeConnection",
                    json!([last, format!("{last}-{}", round - 1), "asker"]),
                ),
            };
            node.answers(&asker.bus, flip.0, &flip.1).await;
        }
        let (mut heard, mut last) = (HashMap::<String, usize>::new(), 0);
        while last < 2 {
            let event = next_told(&mut told).await["user"].take();
            match event["_id"].as_str().unwrap() {
                "p1" | "p2" => last += 1,
                user => *heard.entry(user.to_owned()).or_default() += 1,
            }
        }
        let not_once: Vec<_> = heard.iter().filter(|(_, times)| **times != 1).collect();
        assert!(not_once.is_empty(), "{status}: {not_once:?}");
        assert_eq!(heard.len(), users.len(), "{status}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_node_of_the_original_leaves_behind_when_it_dies_is_made_true_by_ours() {
    let (nats, place) = (own_nats().await, on_mongo().await);
    let users: Vec<String> = (0..12).map(|number| format!("u{number}")).collect();
    for user in &users {
        add_user(&place.store, user, doc! {}).await;
    }
    let (transporter, url) = (nats.url(), place.url());
    let mut theirs = tokio::task::spawn_blocking(move || {
        let environment = [
            ("TRANSPORTER", transporter.as_str()),
            ("MONGO_URL", &url),
            ("HEARTBEAT_INTERVAL", "1"),
            ("HEARTBEAT_TIMEOUT", "3"),
        ];
        let others =
            NodeProcess::start("peer.js", &["--services", "settings,license"], &environment);
        let presence = NodeProcess::start("costs/original.js", &["presence"], &environment);
        (presence, others)
    })
    .await
    .unwrap();
    let patience = Duration::from_secs(4);
    let gateway = Node::join_within(&nats, "g1", patience).await;
    gateway.knows(1).await;
    // Some were told of to the original alone.
    for user in &users[..4] {
        let session = format!("first-{user}");
        insist(&gateway.bus, "newConnection", json!([user, session, "g1"])).await;
    }
    let away = json!([users[0], "away", format!("first-{}", users[0])]);
    insist(&gateway.bus, "setConnectionStatus", away).await;
    let ours = Node::join_within(&nats, "p1", patience).await;
    ours.serve(&place.store).await;
    gateway.knows(2).await;
    ours.knows(2).await;
    // The rest come and go while it dies; each of them is asked of either, and of ours where that one does not answer.
    let mut clients = tokio::task::JoinSet::new();
    for user in &users[4..] {
        let (bus, user) = (gateway.bus.clone(), user.clone());
        clients.spawn(async move {
            for life in 0..10 {
                let session = json!([user, format!("{life}"), "g1"]);
                insist(&bus, "newConnection", session.clone()).await;
                if life < 9 {
                    insist(&bus, "removeConnection", session).await;
                }
            }
        });
    }
    // What it leaves between two of its steps: one whom nobody took offline, one whom nobody took online.
    let written = async |id: &str, connected: &str| {
        let update =
            store::Update::set(doc! { "status": connected, "statusConnection": connected });
        place.store.set_user_status(id, update).await.unwrap();
    };
    place
        .store
        .edit_connections(vec![(
            users[1].clone(),
            vec![store::ConnectionEdit::Remove(format!("first-{}", users[1]))],
        )])
        .await
        .unwrap();
    written(&users[1], "online").await;
    written(&users[2], "offline").await;
    ours.knows(2).await;
    let mut theirs = tokio::task::spawn_blocking(move || {
        theirs.0.kill9();
        theirs
    })
    .await
    .unwrap();
    while let Some(ended) = clients.join_next().await {
        ended.unwrap();
    }
    shows(&place.store, &users[0], "away").await;
    shows(&place.store, &users[1], "offline").await;
    for user in &users[2..] {
        shows(&place.store, user, "online").await;
        let entries = place.store.connections(user).await.unwrap();
        assert_eq!(entries.len(), 1, "{user}: {entries:?}");
    }
    gateway.driver.abort();
    for user in &users {
        shows(&place.store, user, "offline").await;
    }
    tokio::task::spawn_blocking(move || theirs.1.kill9())
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn presence_services_of_ours_keep_the_rules_of_their_workspace_and_change_them_together() {
    let nats = own_nats().await;
    let store = Store::embedded(None).unwrap();
    add_user(&store, "u", doc! {}).await;
    let patience = Duration::from_secs(60);
    let asker = Node::join_within(&nats, "asker", patience).await;
    let first = Node::join_within(&nats, "p1", patience).await;
    let second = Node::join_within(&nats, "p2", patience).await;
    for node in [&first, &second] {
        node.serve_by(&store, Mode::Auto).await;
    }
    for node in [&asker, &first, &second] {
        node.knows(2).await;
    }
    // Each has looked at the other by the time at which it has heard what was said after that.
    let said =
        json!([{ "clientAction": "updated", "id": "i", "diff": { "extraInformation.conns": 7 } }]);
    for (at, node) in [(&first, &second), (&second, &first)] {
        node.bus
            .broadcast("watch.instanceStatus", &said.to_string());
        let count = json!([]);
        while !at
            .answers(&asker.bus, "getConnectionCount", &count)
            .await
            .contains(":7,")
        {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    for (node, word) in [(&first, "busy"), (&second, "away")] {
        node.answers(&asker.bus, "setStatus", &json!(["u", word]))
            .await;
        let claim = place::user(&store, "u").await.status.claim;
        assert_eq!((claim.default.as_deref(), claim.source), (Some(word), None));
    }
    // The first claim reaches one of them.
    let claim =
        json!(["u", { "statusDefault": "busy", "statusSource": "internal", "statusId": "c" }]);
    first.answers(&asker.bus, "setActiveState", &claim).await;
    let is_covered = async || {
        let over = json!(["u", "away"]);
        second.answers(&asker.bus, "setStatus", &over).await;
        place::user(&store, "u").await.status.previous.is_some()
    };
    while !is_covered().await {
        first.answers(&asker.bus, "setActiveState", &claim).await;
    }
}
