//! A client that does not read, on a real socket with the kernel's own buffers.

mod common;

use std::{sync::Arc, time::Duration};

use common::start;
use protocol::limits::Limits;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_tungstenite::tungstenite::{Message, protocol::Role};

#[tokio::test]
async fn who_never_reads_is_cut_with_the_last_frame_whole_and_others_do_not_notice() {
    let server = start(|config| {
        config.shards = 1;
        config.limits = Arc::new(Limits {
            outbox_bytes: 256 * 1024,
            close_linger: Duration::from_secs(2),
            ..Limits::default()
        });
    })
    .await;
    let mut other = server.connect().await;
    let slow = server.connect().await;
    let mut stream = slow.socket.into_inner();

    let ping = format!(r#"{{"msg":"ping","id":"{}"}}"#, "x".repeat(900));
    let mut frame = vec![0x81, 0x80 | 126];
    frame.extend(u16::try_from(ping.len()).unwrap().to_be_bytes());
    frame.extend([0; 4]);
    frame.extend(ping.as_bytes());
    let burst = frame.repeat(100);
    let closed = r#"ddp_edge_connections_closed_total{reason="slow_consumer",blame="client"}"#;
    while server.metric(closed) < 1.0 {
        stream.write_all(&burst).await.unwrap();
        other.send(r#"{"msg":"ping","id":"other"}"#).await;
        assert_eq!(other.text().await, r#"{"msg":"pong","id":"other"}"#);
    }

    // Everything that was on its way is still whole: pongs, then the close frame, then the end.
    let mut received = Vec::new();
    let _ = stream.read_to_end(&mut received).await;
    let mut frames = tokio_tungstenite::WebSocketStream::from_raw_socket(
        std::io::Cursor::new(received),
        Role::Client,
        None,
    )
    .await;
    let mut last = None;
    while let Some(Ok(message)) = futures_util::StreamExt::next(&mut frames).await {
        last = Some(message);
    }
    let Some(Message::Close(Some(frame))) = last else {
        panic!("no close frame but {last:?}")
    };
    assert_eq!(
        (u16::from(frame.code), frame.reason.as_str()),
        (1013, "SLOW_CONSUMER")
    );
}
