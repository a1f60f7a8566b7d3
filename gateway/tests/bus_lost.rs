//! The bus goes away and comes back, on a real nats-server: nobody stays stale in silence.

mod common;

use std::time::Duration;

use backplane::Bus;
use common::workspace::{Workspace, workspace_on};
use harness::NatsServer;
use tokio_util::sync::CancellationToken;

fn config(server: &NatsServer, node: &str) -> backplane::Config {
    backplane::Config {
        servers: backplane::Server::list(&server.url()).unwrap(),
        node_id: node.to_owned(),
        hostname: node.to_owned(),
        dependencies: Vec::new(),
        ..backplane::Config::default()
    }
}

/// A gateway and its peers as two nodes.
async fn on_nats(server: &NatsServer) -> Workspace {
    let (bus, driver) = Bus::nats(config(server, "gateway"));
    let (peers, peers_driver) = Bus::nats(config(server, "monolith"));
    tokio::spawn(peers_driver.run(CancellationToken::new()));
    let workspace = workspace_on(bus, Some(driver), peers, |config| {
        config.resync_over = Duration::from_millis(200);
    })
    .await;
    workspace
        .called("meteor.getAutoUpdateClientVersions", 1)
        .await;
    workspace
}

#[tokio::test]
async fn an_event_on_nats_reaches_a_websocket_and_after_an_outage_it_is_closed_to_resync() {
    let mut server = NatsServer::start();
    let workspace = on_nats(&server).await;
    let mut client = workspace.user("u1").await;
    assert_eq!(client.follow("room-messages", "p1").await, Ok(()));
    workspace.broadcast("watch.messages", r#"[{"message":{"_id":"m1","rid":"p1"}}]"#);
    assert_eq!(
        client.text().await,
        r#"{"msg":"changed","collection":"stream-room-messages","id":"id","fields":{"eventName":"p1","args":[{"_id":"m1","rid":"p1"}]}}"#
    );

    server.kill9();
    while workspace.server.gateway.readiness().is_ready() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // The socket stays while the bus is away, and says at once that a call is impossible.
    assert!(client.call("echo", "[]").await.contains(r#""error":500"#));
    server.restart();
    assert_eq!(client.closed().await, (1012, "RESYNC".into()));
    let gaps = workspace
        .server
        .metric(r#"ddp_edge_gaps_total{cause="connection_lost"}"#);
    assert!(gaps >= 1.0);

    // Back again, everything works as before.
    while !workspace.server.bus.has_service("accounts") {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let mut client = workspace.user("u1").await;
    assert_eq!(client.follow("room-messages", "p1").await, Ok(()));
    workspace.broadcast("watch.messages", r#"[{"message":{"_id":"m2","rid":"p1"}}]"#);
    assert!(client.text().await.contains("m2"));
}
