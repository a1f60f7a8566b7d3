//! The HTTP surface of design.md 5.

mod common;

use common::{refusal, start};
use gateway::config::Origins;

#[tokio::test]
async fn health_is_plain_and_info_is_sockjs() {
    let server = start(|_| {}).await;
    for path in ["/health", "/health/", "/health?x=1", "/livez"] {
        let answer = server.get(path).await;
        assert!(
            answer.starts_with("HTTP/1.1 200") && answer.ends_with("\r\n\r\nok"),
            "{answer}"
        );
    }
    for path in [
        "/",
        "/sockjs/info",
        "/sockjs/info?cb=x",
        "/chat/sockjs/info",
    ] {
        let answer = server.get(path).await;
        assert!(
            answer.contains(
                r#"{"websocket":true,"origins":["*:*"],"cookie_needed":false,"entropy":"#
            ),
            "{answer}"
        );
        assert!(
            answer.contains("access-control-allow-origin: *"),
            "{answer}"
        );
    }
    assert!(
        server
            .get("/sockjs")
            .await
            .ends_with("Welcome to SockJS!\n")
    );
    let ready = server.get("/readyz").await;
    assert!(ready.contains("application/json"), "{ready}");
}

#[tokio::test]
async fn what_is_not_ours_is_not_found() {
    let server = start(|_| {}).await;
    for path in ["/nothing", "/sockjs/1/abc/xhr", "/sockjs/iframe.html"] {
        assert!(server.get(path).await.starts_with("HTTP/1.1 404"), "{path}");
    }
    let upgrade = server.upgrade(server.request("/nothing", &[])).await;
    assert_eq!(refusal(upgrade).0, 404);
    let post = server.http("POST /sockjs/1/abc/xhr HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    assert!(post.await.starts_with("HTTP/1.1 404"));
    let post = server
        .http("POST /health HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    assert!(post.await.starts_with("HTTP/1.1 404"));
}

#[tokio::test]
async fn head_is_get_without_a_body() {
    let server = start(|_| {}).await;
    let answer = server
        .http("HEAD /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        .await;
    assert!(
        answer.starts_with("HTTP/1.1 200") && answer.ends_with("\r\n\r\n"),
        "{answer}"
    );
}

#[tokio::test]
async fn a_websocket_path_without_an_upgrade_is_a_bad_request() {
    let server = start(|_| {}).await;
    let raw = server.get("/websocket").await;
    assert!(
        raw.starts_with("HTTP/1.1 400") && raw.ends_with("Not a valid websocket request"),
        "{raw}"
    );
    let sockjs = server.get("/sockjs/000/abcdefgh/websocket").await;
    assert!(
        sockjs.starts_with("HTTP/1.1 400")
            && sockjs.ends_with(r#"Can "Upgrade" only to "WebSocket"."#),
        "{sockjs}"
    );
}

#[tokio::test]
async fn both_framings_are_served_under_a_prefix_too() {
    let server = start(|_| {}).await;
    for path in [
        "/websocket",
        "/websocket/",
        "/chat/websocket?x=1",
        "/sockjs/websocket",
    ] {
        let (mut client, _) = server.upgrade(server.request(path, &[])).await.unwrap();
        assert_eq!(client.text().await, r#"{"server_id":"0"}"#, "{path}");
    }
    for path in [
        "/sockjs/123/abcdefgh/websocket",
        "/chat/sockjs/123/abcdefgh/websocket",
    ] {
        let (mut client, _) = server.upgrade(server.request(path, &[])).await.unwrap();
        assert_eq!(client.text().await, "o", "{path}");
        assert_eq!(
            client.text().await,
            r#"a["{\"server_id\":\"0\"}"]"#,
            "{path}"
        );
    }
}

#[tokio::test]
async fn the_first_subprotocol_is_echoed() {
    let server = start(|_| {}).await;
    let request = server.request("/websocket", &[("sec-websocket-protocol", "ddp, other")]);
    let (_client, response) = server.upgrade(request).await.unwrap();
    assert_eq!(response.headers()["sec-websocket-protocol"], "ddp");
}

#[tokio::test]
async fn a_frame_sent_with_the_handshake_is_not_lost() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let server = start(|_| {}).await;
    let mut stream = tokio::net::TcpStream::connect(server.address)
        .await
        .unwrap();
    let request = "GET /websocket HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                   Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    let ping = [&[0x89, 0x84, 0, 0, 0, 0][..], b"body"].concat();
    stream
        .write_all(&[request.as_bytes(), &ping].concat())
        .await
        .unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\x8a\x04body") {
        assert_ne!(stream.read_buf(&mut answer).await.unwrap(), 0, "{answer:?}");
    }
}

#[tokio::test]
async fn the_sandbox_refuses_foreign_hosts_and_origins_except_for_health() {
    let server = start(|config| config.origins = Origins::Loopback(vec![])).await;
    let request = |host: &str, path: &str| {
        format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")
    };
    assert!(
        server
            .http(&request("evil.example", "/"))
            .await
            .starts_with("HTTP/1.1 403")
    );
    assert!(
        server
            .http(&request("evil.example", "/health"))
            .await
            .starts_with("HTTP/1.1 200")
    );
    assert!(server.get("/").await.starts_with("HTTP/1.1 200"));
    let foreign = server
        .upgrade(server.request("/websocket", &[("origin", "http://evil.example")]))
        .await;
    assert_eq!(refusal(foreign).0, 403);
    let own = format!("http://{}", server.address);
    server
        .upgrade(server.request("/websocket", &[("origin", &own)]))
        .await
        .unwrap();
    assert!(server.metric(r#"ddp_edge_refused_total{reason="origin"}"#) >= 2.0);
}
