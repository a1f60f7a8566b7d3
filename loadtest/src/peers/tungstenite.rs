//! tokio-tungstenite as a textbook writes it: a task per socket, a broadcast channel per topic, the library's own buffers.
//! Says yes to every login and subscription by itself.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use futures_util::{SinkExt, StreamExt, TryStreamExt};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::broadcast;
use tokio::time;
use tokio_stream::StreamMap;
use tokio_stream::wrappers::BroadcastStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

use crate::node;

/// Messages that a topic keeps for its slowest reader, who misses what is older. Every topic reserves them.
const CHANNEL_CAPACITY: usize = 128;
const HEARTBEAT: Duration = Duration::from_secs(5);

/// Serves until `time` has passed or the nats-server goes away.
pub(crate) fn serve(nats: SocketAddr, port: u16, time: Duration) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let topics = Topics::default();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
        tokio::spawn(accept(listener, topics.clone()));
        // The limit of time is how it ends, not a failure.
        time::timeout(time, take_events(nats, topics))
            .await
            .unwrap_or(Ok(()))
    })
}

/// The channels by stream and event name.
#[derive(Clone, Default)]
struct Topics(Arc<Mutex<HashMap<String, broadcast::Sender<Utf8Bytes>>>>);

impl Topics {
    fn subscribe(&self, topic: String) -> broadcast::Receiver<Utf8Bytes> {
        let mut topics = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || broadcast::channel(CHANNEL_CAPACITY).0;
        topics.entry(topic).or_insert_with(new).subscribe()
    }

    fn publish(&self, collection: &str, event: &str, argument: &Value) {
        let mut topics = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let topic = format!("{collection}/{event}");
        let Some(channel) = topics.get(&topic) else {
            return;
        };
        let message = json!({
            "msg": "changed", "collection": collection, "id": "id",
            "fields": { "eventName": event, "args": [argument] },
        });
        if channel.send(message.to_string().into()).is_err() {
            topics.remove(&topic);
        }
    }
}

async fn accept(listener: TcpListener, topics: Topics) {
    while let Ok((stream, _)) = listener.accept().await {
        let topics = topics.clone();
        tokio::spawn(async move {
            // How a socket ends is its client's business.
            let _ = serve_client(stream, topics).await;
        });
    }
}

#[derive(Deserialize)]
struct ClientMessage {
    msg: String,
    #[serde(default)]
    id: Value,
    #[serde(default)]
    name: String,
    #[serde(default)]
    params: Vec<Value>,
}

async fn serve_client(stream: TcpStream, topics: Topics) -> Result<()> {
    stream.set_nodelay(true)?;
    let mut socket = tokio_tungstenite::accept_async(stream).await?;
    reply(&mut socket, &json!({ "server_id": "0" })).await?;
    let mut subscriptions = StreamMap::new();
    loop {
        tokio::select! {
            message = socket.try_next() => match message? {
                Some(Message::Text(text)) => {
                    let message: ClientMessage = serde_json::from_str(&text)?;
                    if message.msg == "sub" {
                        let event = message.params.first().and_then(Value::as_str).unwrap_or_default();
                        let receiver = topics.subscribe(format!("{}/{event}", message.name));
                        subscriptions.insert(message.id.to_string(), BroadcastStream::new(receiver));
                    }
                    answer(&mut socket, &message).await?;
                }
                Some(_) => {}
                None => return Ok(()),
            },
            // What a reader who fell behind has missed is skipped, which the generator counts as gaps.
            Some((_, Ok(frame))) = subscriptions.next() => socket.send(Message::Text(frame)).await?,
        }
    }
}

async fn answer(socket: &mut WebSocketStream<TcpStream>, message: &ClientMessage) -> Result<()> {
    let id = &message.id;
    match message.msg.as_str() {
        "connect" => reply(socket, &json!({"msg":"connected","session":"session"})).await,
        "method" => {
            let token = message.params.first().map(|login| &login["resume"]);
            let login = json!({"id":"user","token":token,"type":"resume"});
            reply(socket, &json!({"msg":"result","id":id,"result":login})).await?;
            reply(socket, &json!({"msg":"updated","methods":[id]})).await
        }
        "sub" => reply(socket, &json!({"msg":"ready","subs":[id]})).await,
        "ping" => reply(socket, &json!({"msg":"pong","id":id})).await,
        _ => Ok(()),
    }
}

async fn reply(socket: &mut WebSocketStream<TcpStream>, message: &Value) -> Result<()> {
    Ok(socket.send(Message::text(message.to_string())).await?)
}

#[derive(Deserialize)]
struct Packet {
    sender: String,
    #[serde(default)]
    event: String,
    #[serde(default)]
    data: Vec<Value>,
}

/// Plays a Moleculer node that only listens, until its connection ends.
async fn take_events(nats: SocketAddr, topics: Topics) -> Result<()> {
    let client = async_nats::connect(nats.to_string()).await?;
    let id = format!("tungstenite-{}", std::process::id());
    let mut events = client.subscribe(format!("MOL.EVENT.{id}")).await?;
    let mut asked = client.subscribe("MOL.DISCOVER").await?;
    let mut asked_us = client.subscribe(format!("MOL.DISCOVER.{id}")).await?;
    let names = ["watch.messages", "notify.desktop"];
    let info = node::info(&json!([node::service("streamer", &[], &names)]), &id);
    let send = |subject: String, mut packet: Value| {
        packet["ver"] = "4".into();
        packet["sender"] = id.as_str().into();
        client.publish(subject, packet.to_string().into())
    };
    send("MOL.DISCOVER".into(), json!({})).await?;
    send("MOL.INFO".into(), info.clone()).await?;
    let mut heartbeat = time::interval(HEARTBEAT);
    loop {
        let question = tokio::select! {
            event = events.next() => {
                let packet: Packet = serde_json::from_slice(&event.context("nats-server is gone")?.payload)?;
                publish(&topics, &packet);
                continue;
            }
            _ = heartbeat.tick() => {
                send("MOL.HEARTBEAT".into(), json!({ "cpu": 0 })).await?;
                continue;
            }
            question = asked.next() => question,
            question = asked_us.next() => question,
        };
        let packet: Packet =
            serde_json::from_slice(&question.context("nats-server is gone")?.payload)?;
        if packet.sender != id {
            send(format!("MOL.INFO.{}", packet.sender), info.clone()).await?;
        }
    }
}

fn publish(topics: &Topics, packet: &Packet) {
    match (packet.event.as_str(), packet.data.as_slice()) {
        ("watch.messages", [document]) => {
            let message = &document["message"];
            if let Some(room) = message["rid"].as_str() {
                topics.publish("stream-room-messages", room, message);
            }
        }
        ("notify.desktop", [Value::String(user), notification]) => {
            topics.publish(
                "stream-notify-user",
                &format!("{user}/notification"),
                notification,
            );
        }
        _ => {}
    }
}
