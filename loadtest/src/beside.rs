//! Attacks beside a scenario: what one peer does at its own pace while everybody else is measured. What they must not do is in
//! `tests/hostile_neighbours`; here it is seen what they cost the others.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::{Value, json};

use crate::backend::Names;
use crate::nats::Nats;
use crate::node::{self, Node};
use crate::sys::Epoll;
use crate::target::Target;
use crate::ws;

/// The last of the database's users, who are members of the room `crowd` (tests/node/seed-load.js).
const MEMBER: usize = 20_499;
/// Sockets that an attack keeps open before the oldest goes.
const HELD_MAX: usize = 2_000;
/// What may wait for the nats-server.
const BACKLOG_BYTES_MAX: usize = 8 << 20;
/// What one login or subscription waits for its answer.
const PATIENCE: Duration = Duration::from_secs(1);

/// What somebody does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Attack {
    /// A member writes 4,000 bytes to everybody in a room of 400
    Shouts,
    /// He types, each time something else
    Typing,
    /// He calls methods of 60 kB that nobody has asked for
    Calls,
    /// Without a login: subscribes and ends it
    Subscriptions,
    /// Websockets that come, say connect, and go
    Sessions,
    /// Websockets that log in with a token that they have made up
    Logins,
    /// Websockets that say something that is no JSON
    Garbage,
    /// Sockets that ask for a page and then say nothing more
    Requests,
    /// Invented nodes that offer 900 kB each
    Offers,
    /// A node that asks who everybody is
    Discoveries,
    /// A node that broadcasts events of another shape than their name promises
    Events,
}

impl Attack {
    pub(crate) fn name(self) -> String {
        format!("{self:?}").to_lowercase()
    }

    fn per_second(self) -> u32 {
        match self {
            Self::Shouts | Self::Offers => 20,
            Self::Calls | Self::Requests => 100,
            Self::Sessions | Self::Logins | Self::Garbage => 200,
            Self::Typing | Self::Subscriptions | Self::Discoveries | Self::Events => 1_000,
        }
    }
}

/// A running attack; it ends with the value.
pub(crate) struct Beside {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Beside {
    /// Begins, on the CPU of the calling thread.
    pub(crate) fn start(attack: Attack, target: Target, nats: SocketAddr, names: Names) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let mut attacker = Attacker {
                target,
                names,
                nats,
                node: None,
                socket: None,
                held: VecDeque::new(),
            };
            let pause = Duration::from_secs(1) / attack.per_second();
            let mut due = Instant::now();
            for number in 0_u64.. {
                if seen.load(Ordering::Relaxed) {
                    break;
                }
                // Being refused and closed is what an attacker must expect: he comes again.
                if attacker.act(attack, number).is_err() {
                    attacker.socket = None;
                }
                due += pause;
                thread::sleep(due.saturating_duration_since(Instant::now()));
            }
        });
        Self {
            stop,
            thread: Some(thread),
        }
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // It has told of its panic itself.
            let _ = thread.join();
        }
    }
}

struct Attacker {
    target: Target,
    names: Names,
    nats: SocketAddr,
    node: Option<Odd>,
    /// The one on which everything is said.
    socket: Option<TcpStream>,
    held: VecDeque<TcpStream>,
}

impl Attacker {
    /// Does it once more.
    fn act(&mut self, attack: Attack, number: u64) -> Result<()> {
        let method = |name: &str, params: Value| json!({"msg":"method","id":number.to_string(),"method":name,"params":params});
        let user = format!("{}{MEMBER}", self.names.user_prefix);
        match attack {
            Attack::Shouts => {
                let params = json!(["crowd/userData", "x".repeat(4_000)]);
                self.say_as_member(&method("stream-notify-room-users", params))
            }
            Attack::Typing => {
                let params = json!(["crowd/user-activity", user, [number.to_string()]]);
                self.say_as_member(&method("stream-notify-room", params))
            }
            Attack::Calls => self.say_as_member(&method("nothing", json!(["x".repeat(60_000)]))),
            Attack::Subscriptions => {
                let mut socket = self.stay(|_| Ok(()))?;
                let id = number.to_string();
                socket
                    .say(&json!({"msg":"sub","id":id,"name":"stream-notify-all","params":["x"]}))?;
                socket.say(&json!({"msg":"unsub","id":id}))
            }
            Attack::Sessions => self.open().map(drop),
            Attack::Logins => {
                let mut socket = self.open()?;
                let made_up = json!([{"resume": format!("made-up-{number}")}]);
                socket.say(&method("login", made_up))?;
                self.hold(socket.0);
                Ok(())
            }
            Attack::Garbage => {
                let mut socket = self.open()?;
                let mut frame = Vec::new();
                ws::push_client_frame(&mut frame, ws::TEXT, b"{\"msg\":");
                socket.0.write_all(&frame)?;
                self.hold(socket.0);
                Ok(())
            }
            Attack::Requests => {
                let mut socket = TcpStream::connect_timeout(&self.target.addr, PATIENCE)?;
                socket.write_all(b"GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n")?;
                self.hold(socket);
                Ok(())
            }
            Attack::Offers => {
                let actions: Vec<_> = (0..12_000)
                    .map(|action| format!("odd.{number}-{action:05}"))
                    .collect();
                let actions: Vec<_> = actions.iter().map(String::as_str).collect();
                let offers = json!([node::service("odd", &actions, &[])]);
                let mut info = node::info(&offers, "odd");
                info["ver"] = "4".into();
                info["sender"] = format!("odd-{}", number % 1_000).into();
                let info = info.to_string();
                self.as_node(|_, nats| nats.publish("MOL.INFO", info.as_bytes()))
            }
            Attack::Discoveries => {
                self.as_node(|node, nats| node.send(nats, "MOL.DISCOVER", json!({})))
            }
            Attack::Events => {
                let shapes = [
                    json!(null),
                    json!([]),
                    json!([5]),
                    json!([[]]),
                    json!([{"message":{"rid":[]}}]),
                    json!({}),
                ];
                let names = [
                    "watch.messages",
                    "watch.rooms",
                    "watch.users",
                    "watch.subscriptions",
                    "stream",
                ];
                let event = names[number as usize % names.len()];
                let data = &shapes[number as usize / names.len() % shapes.len()];
                let packet = json!({"id":"1","event":event,"data":data,"broadcast":true});
                self.as_node(|node, nats| {
                    for peer in node.listeners(event) {
                        node.send(nats, &format!("MOL.EVENT.{}", peer.id), packet.clone());
                    }
                })
            }
        }
    }

    fn say_as_member(&mut self, message: &Value) -> Result<()> {
        let token = format!("{}{MEMBER}", self.names.token_prefix);
        let login =
            json!({"msg":"method","id":"login","method":"login","params":[{"resume":token}]});
        self.stay(|socket| socket.say(&login))?.say(message)
    }

    /// The one socket, where it is open; else another, on which this is said first.
    fn stay(&mut self, first: impl FnOnce(&mut Socket<'_>) -> Result<()>) -> Result<Socket<'_>> {
        if self.socket.is_none() {
            let mut socket = self.open()?;
            first(&mut socket)?;
            self.socket = Some(socket.0);
        }
        let Self { socket, target, .. } = self;
        let socket = socket.as_mut().expect("it is open").try_clone()?;
        Ok(Socket(socket, target))
    }

    /// A websocket on which `connect` was said.
    fn open(&self) -> Result<Socket<'_>> {
        let stream = TcpStream::connect_timeout(&self.target.addr, PATIENCE)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut socket = Socket(stream, &self.target);
        let mut upgrade = Vec::new();
        self.target.push_upgrade(&mut upgrade, false);
        socket.0.write_all(&upgrade)?;
        let (mut answer, mut chunk) = (Vec::new(), [0; 1_024]);
        while ws::parse_upgrade_response(&answer)?.is_none() {
            match socket.0.read(&mut chunk)? {
                0 => anyhow::bail!("not let in"),
                read => answer.extend_from_slice(&chunk[..read]),
            }
        }
        socket.0.set_nonblocking(true)?;
        socket.say(&json!({"msg":"connect","version":"1","support":["1"]}))?;
        Ok(socket)
    }

    fn hold(&mut self, socket: TcpStream) {
        self.held.push_back(socket);
        if self.held.len() > HELD_MAX {
            self.held.pop_front();
        }
    }

    /// Does something as a node on the bus.
    fn as_node(&mut self, act: impl FnOnce(&Node, &mut Nats)) -> Result<()> {
        if self.node.is_none() {
            let mut nats = Nats::connect(self.nats, "odd")?;
            let epoll = Epoll::new()?;
            nats.register(&epoll, 0)?;
            let node = Node::join(&mut nats, "odd", json!([]));
            self.node = Some(Odd { nats, epoll, node });
        }
        let Odd { nats, epoll, node } = self.node.as_mut().expect("it has joined");
        nats.fill()?;
        let mut packets = Vec::new();
        nats.drain(|message| packets.push((message.sid, message.payload.to_vec())))?;
        for (sid, payload) in packets {
            node.handle_packet(nats, sid, &payload);
        }
        // More than the bus takes is not said.
        if nats.backlog_bytes() < BACKLOG_BYTES_MAX {
            act(node, nats);
        }
        nats.flush(epoll)
    }
}

/// A node of ours that does not behave.
struct Odd {
    nats: Nats,
    epoll: Epoll,
    node: Node,
}

struct Socket<'a>(TcpStream, &'a Target);

impl Socket<'_> {
    /// Says one thing and throws away what has come.
    fn say(&mut self, message: &Value) -> Result<()> {
        let mut frame = Vec::new();
        self.1.framing.push_message(&mut frame, message);
        let mut rest = frame.as_slice();
        let mut chunk = [0; 16 * 1_024];
        while !rest.is_empty() {
            match self.0.write(rest) {
                Ok(written) => rest = &rest[written..],
                Err(error) if error.kind() == ErrorKind::WouldBlock => thread::yield_now(),
                Err(error) => return Err(error.into()),
            }
            match self.0.read(&mut chunk) {
                Ok(0) => anyhow::bail!("closed"),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}
