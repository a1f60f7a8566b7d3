//! Limits before the upgrade, and those that need a real socket: status or close code, and the metric.

mod common;

use std::time::Duration;

use common::{refusal, start};

#[tokio::test]
async fn a_full_node_refuses_websockets_and_still_answers_probes() {
    let server = start(|config| config.connections_max = 1).await;
    let first = server.open().await;
    let second = server.upgrade(server.request("/websocket", &[])).await;
    assert_eq!(refusal(second), (503, Some("5".into())));
    assert!(server.get("/health").await.starts_with("HTTP/1.1 200"));
    assert!(server.metric(r#"ddp_edge_refused_total{reason="node_full"}"#) >= 1.0);
    drop(first);
    while server
        .upgrade(server.request("/websocket", &[]))
        .await
        .is_err()
    {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn an_address_may_hold_so_many_anonymous_sockets() {
    let server = start(|config| {
        config.forwarded_count = 1;
        config.anonymous_per_address = 1;
    })
    .await;
    let from = |address| server.request("/websocket", &[("x-forwarded-for", address)]);
    let _first = server.upgrade(from("203.0.113.9")).await.unwrap();
    assert_eq!(refusal(server.upgrade(from("203.0.113.9")).await).0, 503);
    let _other = server.upgrade(from("203.0.113.10")).await.unwrap();
    assert!(server.metric(r#"ddp_edge_refused_total{reason="address_full"}"#) >= 1.0);
}

#[tokio::test]
async fn handshakes_beyond_the_rate_are_told_to_come_later() {
    let server = start(|config| config.handshakes_per_second = 1).await;
    let attempts = (0..5).map(|_| server.upgrade(server.request("/websocket", &[])));
    let outcomes = futures_util::future::join_all(attempts).await;
    let (opened, refused): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(Result::is_ok);
    assert!(
        !opened.is_empty() && !refused.is_empty(),
        "{} opened",
        opened.len()
    );
    for outcome in refused {
        assert_eq!(refusal(outcome), (503, Some("5".into())));
    }
    assert!(server.metric(r#"ddp_edge_refused_total{reason="handshake_rate"}"#) >= 1.0);
}

#[tokio::test]
async fn headers_are_limited_in_size_and_time() {
    let server = start(|config| config.header_timeout = Duration::from_millis(100)).await;
    let huge = format!(
        "GET / HTTP/1.1\r\nHost: x\r\nX-Huge: {}\r\n\r\n",
        "x".repeat(20_000)
    );
    assert!(server.http(&huge).await.starts_with("HTTP/1.1 431"));
    assert_eq!(server.http("GET / HTTP/1.1\r\nHost").await, "");
    // Counted after the socket is closed.
    for reason in ["header_bytes", "header_timeout"] {
        while server.metric(&format!(r#"ddp_edge_refused_total{{reason="{reason}"}}"#)) < 1.0 {
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test]
async fn a_large_message_before_the_login_is_too_big() {
    let server = start(|_| {}).await;
    let mut client = server.connect().await;
    client
        .send(&format!(
            r#"{{"msg":"ping","id":"{}"}}"#,
            "x".repeat(70_000)
        ))
        .await;
    assert_eq!(client.closed().await, (1009, String::new()));
    assert!(
        server.metric(r#"ddp_edge_connections_closed_total{reason="too_big",blame="client"}"#)
            >= 1.0
    );
}

#[tokio::test]
async fn a_client_that_asks_over_http_and_does_not_read_is_cut() {
    use tokio::io::AsyncWriteExt;
    let server = start(|config| config.header_timeout = Duration::from_millis(50)).await;
    let mut stream = tokio::net::TcpStream::connect(server.address)
        .await
        .unwrap();
    let requests = "GET /health HTTP/1.1\r\nHost: x\r\n\r\n".repeat(1_000);
    // Both directions fill up, then nothing moves until the connection has gone.
    while stream.write_all(requests.as_bytes()).await.is_ok() {}
}
