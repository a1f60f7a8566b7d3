//! The floor: the least that a server can do to bring an event from NATS to a websocket. One thread, epoll, no JSON
//! parsing of events, no limits, no rules. It is a limit to measure against, not a product: it trusts its peers.

mod event;
mod fanout;

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, bail};
use memchr::memmem;
use serde::Deserialize;
use serde_json::{Value, json};

pub(crate) use self::fanout::Mode;
use self::fanout::{Connection, Fanout};
use crate::nats::Nats;
use crate::node::{self, Node, service};
use crate::sys::{Epoll, Interest, Ready};
use crate::ws;

const BACKPLANE: u64 = u64::MAX;
const LISTENER: u64 = u64::MAX - 1;
const BACKLOG: i32 = 4096;

/// Serves until `seconds` have passed or the nats-server goes away.
pub(crate) fn serve(nats: SocketAddr, port: u16, mode: Mode, seconds: u64) -> Result<()> {
    let mut floor = Floor::bind(nats, port, mode)?;
    eprintln!(
        "floor ({}) on {}",
        mode.name(),
        floor.listener.local_addr()?
    );
    let end = Instant::now() + Duration::from_secs(seconds);
    let mut ready = Vec::new();
    while Instant::now() < end {
        floor.epoll.wait(&mut ready, Duration::from_secs(1))?;
        for ready in ready.drain(..) {
            match ready.token {
                BACKPLANE => floor.handle_backplane(ready)?,
                LISTENER => floor.accept()?,
                _ => floor.handle_connection(ready)?,
            }
        }
        floor.node.handle_timeout(&mut floor.nats, Instant::now());
        floor.nats.flush(&floor.epoll)?;
    }
    Ok(())
}

struct Floor {
    epoll: Epoll,
    listener: TcpListener,
    nats: Nats,
    node: Node,
    mode: Mode,
    fanout: Fanout,
    free: Vec<u32>,
    topics: HashMap<String, u32>,
    scratch: Vec<u8>,
}

#[derive(Deserialize)]
struct ClientMessage {
    msg: String,
    #[serde(default)]
    id: Value,
    #[serde(default)]
    params: Vec<Value>,
}

impl Floor {
    fn bind(nats: SocketAddr, port: u16, mode: Mode) -> Result<Self> {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)).into())?;
        socket.listen(BACKLOG)?;
        let listener = TcpListener::from(socket);
        let epoll = Epoll::new()?;
        epoll.add(&listener, LISTENER, Interest::Read)?;
        let mut nats = Nats::connect(nats, "floor")?;
        nats.register(&epoll, BACKPLANE)?;
        let services = json!([service(
            "streamer",
            &[],
            &["watch.messages", "notify.desktop", "presence.status"]
        )]);
        let node = Node::join(&mut nats, "floor", services);
        nats.flush(&epoll)?;
        let scratch = vec![0; 64 * 1024];
        let fanout = Fanout::default();
        Ok(Self {
            epoll,
            listener,
            nats,
            node,
            mode,
            fanout,
            free: Vec::new(),
            topics: HashMap::new(),
            scratch,
        })
    }

    fn accept(&mut self) -> Result<()> {
        loop {
            let stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.into()),
            };
            stream.set_nonblocking(true)?;
            stream.set_nodelay(true)?;
            let connections = &mut self.fanout.connections;
            let slot = self.free.pop().unwrap_or_else(|| {
                connections.push(None);
                connections.len() as u32 - 1
            });
            self.epoll.add(&stream, slot.into(), Interest::Read)?;
            connections[slot as usize] = Some(Connection {
                stream,
                upgraded: false,
                input: Vec::new(),
                topics: Vec::new(),
                queue: Vec::new(),
                unsent: Vec::new(),
            });
        }
    }

    fn handle_backplane(&mut self, ready: Ready) -> Result<()> {
        if ready.readable {
            self.nats.fill()?;
            let mut life_cycle = Vec::new();
            self.nats.drain(|message| {
                if message.sid != node::EVENT {
                    life_cycle.push((message.sid, message.payload.to_vec()));
                } else if let Some(event) = event::slice(message.payload)
                    && let Some(&topic) = self.topics.get(&event.event)
                {
                    self.fanout.publish(self.mode, topic, &event, &self.epoll);
                }
            })?;
            for (sid, payload) in life_cycle {
                self.node.handle_packet(&mut self.nats, sid, &payload);
            }
            self.fanout.flush(&self.epoll);
        }
        self.nats.flush(&self.epoll)
    }

    fn handle_connection(&mut self, ready: Ready) -> Result<()> {
        let slot = ready.token as u32;
        if ready.writable && !self.fanout.write_unsent(slot, &self.epoll) {
            self.close(slot);
        }
        if ready.readable && self.read(slot).is_err() {
            self.close(slot);
        }
        Ok(())
    }

    /// Reads once and answers everything whole with one write.
    fn read(&mut self, slot: u32) -> Result<()> {
        let Some(connection) = self.fanout.connections[slot as usize].as_mut() else {
            return Ok(());
        };
        let count = connection.stream.read(&mut self.scratch)?;
        if count == 0 {
            bail!("closed");
        }
        let mut input = std::mem::take(&mut connection.input);
        input.extend_from_slice(&self.scratch[..count]);
        let mut out = Vec::new();
        let mut at = 0;
        if !connection.upgraded {
            let Some(end) = memmem::find(&input, b"\r\n\r\n") else {
                connection.input = input;
                return Ok(());
            };
            at = end + 4;
            connection.upgraded = true;
            out.extend_from_slice(
                format!(
                    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                     Sec-WebSocket-Accept: {}\r\n\r\n",
                    ws::ACCEPT
                )
                .as_bytes(),
            );
            ws::push_server_frame(&mut out, ws::TEXT, br#"{"server_id":"0"}"#);
        }
        while let Some(frame) = ws::parse(&input[at..])? {
            if frame.mask != Some([0; 4]) {
                bail!("only our own clients are understood");
            }
            if frame.opcode == ws::TEXT {
                let message: ClientMessage = serde_json::from_slice(frame.payload)?;
                self.answer(slot, &message, &mut out);
            }
            at += frame.len;
        }
        let connection = self.fanout.connections[slot as usize]
            .as_mut()
            .ok_or_else(|| anyhow!("closed"))?;
        if at < input.len() {
            input.drain(..at);
            connection.input = input;
        }
        connection.stream.write_all(&out)?;
        Ok(())
    }

    fn answer(&mut self, slot: u32, message: &ClientMessage, out: &mut Vec<u8>) {
        let id = &message.id;
        let mut reply = |text: String| ws::push_server_frame(out, ws::TEXT, text.as_bytes());
        match message.msg.as_str() {
            "connect" => reply(json!({"msg":"connected","session":slot.to_string()}).to_string()),
            "method" => {
                let token = &message.params[0]["resume"];
                reply(json!({"msg":"result","id":id,"result":{"id":"user","token":token,"type":"resume"}}).to_string());
                reply(json!({"msg":"updated","methods":[id]}).to_string());
            }
            "sub" => {
                let watched = message.params.get(1).map(|options| &options["added"]);
                let one = std::slice::from_ref(&message.params[0]);
                for event in watched.and_then(Value::as_array).map_or(one, |list| list) {
                    self.subscribe(slot, event.as_str().unwrap_or_default());
                }
                reply(json!({"msg":"ready","subs":[id]}).to_string());
            }
            "ping" => reply(json!({"msg":"pong","id":id}).to_string()),
            _ => {}
        }
    }

    fn subscribe(&mut self, slot: u32, event: &str) {
        let topic = match self.topics.get(event) {
            Some(&topic) => topic,
            None => {
                let topic = self.fanout.subscribers.len() as u32;
                self.fanout.subscribers.push(Vec::new());
                self.topics.insert(event.to_owned(), topic);
                topic
            }
        };
        self.fanout.subscribers[topic as usize].push(slot);
        if let Some(connection) = &mut self.fanout.connections[slot as usize] {
            connection.topics.push(topic);
        }
    }

    fn close(&mut self, slot: u32) {
        let Some(connection) = self.fanout.connections[slot as usize].take() else {
            return;
        };
        for topic in connection.topics {
            self.fanout.subscribers[topic as usize].retain(|&subscriber| subscriber != slot);
        }
        self.free.push(slot);
    }
}
