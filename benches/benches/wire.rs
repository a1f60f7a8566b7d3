//! One event from the in-process bus to a real socket on loopback and back to the bench: bus thread, mailbox, shard,
//! flush, kernel. The floor is a bare echo over the same kind of socket, measured beside it: the difference is ours.

use std::time::Duration;

use backplane::Bus;
use criterion::{Criterion, criterion_group, criterion_main};
use futures_util::{SinkExt as _, StreamExt as _};
use gateway::{Config, Gateway};
use store::Store;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    runtime::Runtime,
};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, tungstenite::Message};

type Client = WebSocketStream<MaybeTlsStream<TcpStream>>;

async fn subscribed(port: u16) -> Client {
    let url = format!("ws://127.0.0.1:{port}/websocket");
    let (mut client, _) = tokio_tungstenite::connect_async(url)
        .await
        .expect("the gateway listens");
    for text in [
        r#"{"msg":"connect","version":"1","support":["1"]}"#,
        r#"{"msg":"sub","id":"s","name":"stream-notify-all","params":["license",false]}"#,
    ] {
        client
            .send(Message::text(text))
            .await
            .expect("an open socket");
    }
    until(&mut client, r#""ready""#).await;
    client
}

async fn until(client: &mut Client, part: &str) {
    loop {
        let message = client
            .next()
            .await
            .expect("an open socket")
            .expect("a message");
        if message.to_text().is_ok_and(|text| text.contains(part)) {
            return;
        }
    }
}

fn one_event(c: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let bus = Bus::in_process("bench".to_owned());
    let (_gateway, mut client) = runtime.block_on(async {
        let store = Store::embedded(None).expect("a store in memory");
        let config = Config {
            port: 0,
            bind: Some([127, 0, 0, 1].into()),
            shards: 1,
            ..Config::default()
        };
        let gateway = Gateway::start(config, bus.clone(), None, store, None)
            .await
            .expect("a free port");
        let client = subscribed(gateway.local_addr().port()).await;
        (gateway, client)
    });
    let mut group = c.benchmark_group("one event to one socket");
    group.measurement_time(Duration::from_secs(5));
    group.bench_function("through the gateway", |b| {
        b.iter(|| {
            bus.broadcast("license.sync", "[]");
            runtime.block_on(until(&mut client, r#""changed""#));
        });
    });
    let (mut near, mut far) = runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let near = TcpStream::connect(listener.local_addr().expect("an address"))
            .await
            .expect("a listener");
        (near, listener.accept().await.expect("a connection").0)
    });
    group.bench_function("bare write and read", |b| {
        let mut bytes = [0; 128];
        b.iter(|| {
            runtime.block_on(async {
                far.write_all(&bytes.clone()).await.expect("an open socket");
                near.read_exact(&mut bytes).await.expect("an open socket");
            });
        });
    });
    group.finish();
}

criterion_group!(benches, one_event);
criterion_main!(benches);
