//! The end of a gateway.

mod common;

use common::start;
use tokio::net::TcpStream;

#[tokio::test]
async fn a_drain_closes_every_socket_politely_and_leaves_none() {
    let server = start(|_| {}).await;
    let mut clients = Vec::new();
    for _ in 0..20 {
        clients.push(server.connect().await);
    }
    let drain = tokio::spawn(server.gateway.drain());
    for client in &mut clients {
        assert_eq!(client.closed().await, (1012, "DRAINING".into()));
    }
    drop(clients);
    assert_eq!(drain.await.unwrap(), 0);
    assert!(TcpStream::connect(server.address).await.is_err());
}

#[tokio::test]
async fn who_comes_while_proxies_still_send_clients_is_let_in_and_told() {
    let server = start(|config| config.drain_linger = std::time::Duration::from_secs(3)).await;
    let (readiness, address) = (server.gateway.readiness(), server.address);
    let drain = tokio::spawn(server.gateway.drain());
    while readiness.is_ready() || !readiness.reasons().contains(&"draining") {
        tokio::task::yield_now().await;
    }
    let stream = TcpStream::connect(address).await.unwrap();
    let url = format!("ws://{address}/websocket");
    let (socket, _) = tokio_tungstenite::client_async(url, stream).await.unwrap();
    let mut client = common::Client { socket };
    assert_eq!(client.text().await, r#"{"server_id":"0"}"#);
    assert_eq!(client.closed().await, (1012, "DRAINING".into()));
    drop(client);
    assert_eq!(drain.await.unwrap(), 0);
}

#[tokio::test]
async fn a_drain_without_sockets_is_over_at_once_and_frees_the_port() {
    let server = start(|_| {}).await;
    let port = server.address.port();
    assert_eq!(server.gateway.drain().await, 0);
    let again = start(|config| config.port = port).await;
    assert_eq!(again.address.port(), port);
}

#[tokio::test]
async fn sockets_that_do_not_close_are_counted_when_time_is_up() {
    let server =
        start(|config| config.drain_within = std::time::Duration::from_millis(2_200)).await;
    // Its close handshake takes the full linger of 5 s, because nobody reads here.
    let _client = server.connect().await;
    assert_eq!(server.gateway.drain().await, 1);
}

#[tokio::test]
async fn a_taken_port_is_a_clear_error() {
    let server = start(|_| {}).await;
    let config = gateway::Config {
        bind: Some([127, 0, 0, 1].into()),
        port: server.address.port(),
        ..gateway::Config::default()
    };
    let store = store::Store::embedded(None).unwrap();
    let started = gateway::Gateway::start(config, server.bus.clone(), None, store, None).await;
    let error = started.err().expect("the port is taken").to_string();
    assert!(
        error.contains("another process listens there already"),
        "{error}"
    );
}
