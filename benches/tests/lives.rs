//! What a connection leaves behind when it is over: nothing. Gateway, accounts and authorization in one process, with the
//! store in memory; counted by the allocator, so that its slack and the kernel's buffers are not in it.

use std::{
    alloc::System,
    time::{Duration, Instant},
};

use backplane::{Bus, Inbox, Incoming, Service};
use futures_util::{SinkExt as _, StreamExt as _, future::join_all};
use gateway::{Config, Gateway};
use sha2::{Digest as _, Sha256};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use store::{
    Store,
    bson::{DateTime, doc},
};
use tokio_tungstenite::tungstenite::Message;
use tokio_util::sync::CancellationToken;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Connections at a time, each of a user of its own.
const CLIENTS: usize = 50;
/// How often each of them comes and goes before anything is counted: caches and tables have found their size.
const WARM_UP: usize = 20;
const ROUNDS: usize = 60;
/// A life may leave so many bytes: tables of a bounded size still find theirs. An entry of a map with its key is more.
const LEFT_MAX: usize = 80;
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_leaves_nothing_behind() {
    let metrics = metrics_exporter_prometheus::PrometheusBuilder::new()
        .set_buckets(&[0.1])
        .expect("a bucket")
        .install_recorder()
        .expect("the only recorder");
    let bus = Bus::in_process("lives".to_owned());
    let store = workspace().await;
    let shutdown = CancellationToken::new();
    let parts = || (bus.clone(), store.clone());
    let ((a, b), (c, d)) = (parts(), parts());
    tokio::spawn(services::accounts::run(
        a,
        b,
        services::accounts::Config::default(),
        shutdown.clone(),
    ));
    tokio::spawn(services::authorization::run(
        c,
        d,
        services::authorization::Config { hosts_abac: false },
        shutdown.clone(),
    ));
    tokio::spawn(presence(bus.announce(Service {
        name: "presence",
        actions: vec!["presence.newConnection", "presence.removeConnection"],
        events: vec![],
    })));
    let config = Config {
        port: 0,
        bind: Some([127, 0, 0, 1].into()),
        shards: 1,
        ..Config::default()
    };
    let gateway = Gateway::start(config, bus, None, store, None)
        .await
        .expect("a free port");
    let port = gateway.local_addr().port();
    // What the bus thread remembers only for those who are there.
    let is_empty = || {
        let page = metrics.render();
        let owners = [
            "people", "grants", "rejudge", "joins", "lanes", "looks", "flaps", "typing",
        ];
        let empty = owners.map(|owner| format!("ddp_edge_entries{{owner=\"{owner}\"}} 0"));
        let is_there = |wanted: &str| page.lines().any(|line| line == wanted);
        is_there("users_connected 0") && empty.iter().all(|line| is_there(line))
    };

    for _ in 0..WARM_UP {
        join_all((0..CLIENTS).map(|user| life(port, user))).await;
    }
    while !is_empty() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let region = Region::new(ALLOCATOR);
    for _ in 0..ROUNDS {
        join_all((0..CLIENTS).map(|user| life(port, user))).await;
    }
    let left = || {
        metrics.run_upkeep();
        let change = region.change();
        change
            .bytes_allocated
            .saturating_sub(change.bytes_deallocated)
            / (ROUNDS * CLIENTS)
    };
    // What ends a life goes on behind its socket.
    let deadline = Instant::now() + PATIENCE;
    while left() > LEFT_MAX {
        assert!(Instant::now() < deadline, "a life leaves {} bytes", left());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    while !is_empty() {
        assert!(Instant::now() < deadline, "{}", metrics.render());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    shutdown.cancel();
}

/// Presence that has heard it: the real one writes, and the store in memory keeps its pages.
async fn presence(mut inbox: Inbox) {
    loop {
        if let Incoming::Request(request) = inbox.recv().await {
            request.respond(Ok(Some("{}".into())));
        }
    }
}

/// Users, each with a login token and a place in one room of all and one of his own.
async fn workspace() -> Store {
    let store = Store::embedded(None).expect("a store in memory");
    for (role, permissions) in [(
        "user",
        ["view-c-room", "preview-c-room", "view-joined-room"],
    )] {
        store
            .insert_role(doc! { "_id": role, "name": role, "scope": "Users" })
            .await
            .expect("a role");
        for permission in permissions {
            store
                .insert_permission(doc! { "_id": permission, "roles": [role] })
                .await
                .expect("a permission");
        }
    }
    store
        .insert_room(doc! { "_id": "GENERAL", "t": "c", "name": "general" })
        .await
        .expect("a room");
    for number in 0..CLIENTS {
        let (user, own) = (format!("u{number}"), format!("own{number}"));
        let hash = base64(&Sha256::digest(format!("token-{number}")));
        store
            .insert_user(doc! {
                "_id": &user, "username": &user, "active": true, "type": "user", "roles": ["user"], "status": "offline",
                "services": { "resume": { "loginTokens": [{ "hashedToken": hash, "when": DateTime::now() }] } },
            })
            .await
            .expect("a user");
        store
            .insert_room(doc! { "_id": &own, "t": "p", "name": &own })
            .await
            .expect("a room");
        for room in ["GENERAL", &own] {
            store
                .insert_subscription(
                    doc! { "rid": room, "u": { "_id": &user, "username": &user }, "open": true },
                )
                .await
                .expect("a subscription");
        }
    }
    store
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

/// Comes, logs in, follows what a client follows, and goes.
async fn life(port: u16, user: usize) {
    let url = format!("ws://127.0.0.1:{port}/websocket");
    let (mut client, _) = tokio_tungstenite::connect_async(url)
        .await
        .expect("the gateway listens");
    let login = format!(
        r#"{{"msg":"method","id":"1","method":"login","params":[{{"resume":"token-{user}"}}]}}"#
    );
    let mut texts = vec![
        r#"{"msg":"connect","version":"1","support":["1"]}"#.to_owned(),
        login,
    ];
    for (id, name, event) in [
        ("s1", "stream-room-messages", "GENERAL".to_owned()),
        ("s2", "stream-room-messages", format!("own{user}")),
        ("s3", "stream-notify-user", format!("u{user}/rooms-changed")),
        ("s4", "stream-notify-logged", "updateAvatar".to_owned()),
        ("s5", "stream-room-messages", "__my_messages__".to_owned()),
    ] {
        texts.push(format!(
            r#"{{"msg":"sub","id":"{id}","name":"{name}","params":["{event}",false]}}"#
        ));
    }
    for text in texts {
        client
            .send(Message::text(text))
            .await
            .expect("an open socket");
    }
    let mut ready = 0;
    while ready < 5 {
        let message = client
            .next()
            .await
            .expect("an open socket")
            .expect("a message");
        let text = message.to_text().expect("text");
        assert!(
            !text.contains("nosub") && !text.contains(r#""error""#),
            "{text}"
        );
        ready += text.matches(r#""msg":"ready""#).count();
    }
    client.close(None).await.expect("an open socket");
    while client.next().await.is_some_and(|message| message.is_ok()) {}
}
