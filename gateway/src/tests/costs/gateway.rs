//! A whole gateway on one thread: the real bus thread's handlers, a real shard, sockets in memory, and a script behind it.

use std::{cell::RefCell, future::poll_fn, io::IoSlice, rc::Rc, sync::Arc, time::Duration};

use backplane::Incoming;
use protocol::sockjs::Framing;
use store::Conference;

use crate::{
    config::Config,
    handlers::{
        core::{Core, now},
        line, login, presence, rejudge, resync, scopes,
    },
    io::memory,
    limiter::RateLimits,
    link::{Answer, ToBus, ToShard},
    shard::Shard,
    shared::Shared,
    state::{State, post::Post},
    streams::{
        request::{Subject, Subscribed},
        samples::addressed,
        table::{ROWS, Read, Stream},
        topic::Topic,
    },
    tests::client::{self, text},
    upstream::{
        Upstream,
        script::{Script, World, some_room, some_user},
    },
};

/// Members of the room of which events and writes speak.
const MEMBERS: usize = 1_000;

/// Clients that follow whatever is said: all of `u1`, who is a member.
const LISTENERS: usize = 2;

/// In which everything has come to its end: what an event has touched is judged again after 2 s, too.
pub(super) const SETTLED: Duration = Duration::from_millis(2_500);

/// For what is of no interest itself. All together is over before the backstops begin, after 5 s.
pub(super) const WARMED: Duration = Duration::from_millis(1_500);

/// What a socket takes unread: more than the gateway writes to one client here.
const SOCKET_BYTES: usize = 8 << 20;

pub(super) struct Gateway {
    core: Rc<Core>,
    pub(super) script: Rc<Script>,
    shard: Rc<Shard>,
    shared: Arc<Shared>,
    /// What the next subscription is made to, whatever it asks for.
    instead: Rc<RefCell<Option<Topic>>>,
    listeners: Vec<Client>,
}

/// The far end of a client's socket.
pub(super) struct Client(memory::End);

impl Gateway {
    /// A gateway to which nobody is connected. On a local runtime with stopped time.
    pub(super) fn new() -> Self {
        let script = Script::new(1, world());
        let config = Config {
            shards: 1,
            rate_limits: RateLimits::Off,
            ..Config::default()
        };
        let bus = backplane::Bus::in_process("node".into());
        let shared = Arc::new(Shared::new(
            config,
            bus,
            ([127, 0, 0, 1], 3000).into(),
            None,
        ));
        let core = Rc::new(Core::new(
            State::new(
                Post::new(shared.mailboxes.to_vec()),
                "process".into(),
                shared.config.logins_per_second,
                now(),
            ),
            Upstream::scripted(script.clone()),
            Arc::new(shared.config.clone()),
            shared.interest.clone(),
            shared.limiter.clone(),
            shared.readiness.clone(),
        ));
        let shard = Shard::new(0, shared.clone());
        tokio::task::spawn_local(shard.clone().run());
        tokio::task::spawn_local(rejudge::run(core.clone()));
        tokio::task::spawn_local(presence::tell_again(core.clone()));
        tokio::task::spawn_local(resync::run(core.clone()));
        tokio::task::spawn_local(line::run(core.clone()));
        tokio::task::spawn_local(scopes::run(core.clone()));
        tokio::task::spawn_local(login::let_in(core.clone()));
        let instead = Rc::new(RefCell::new(None));
        tokio::task::spawn_local(serve(core.clone(), shared.clone(), instead.clone()));
        Self {
            core,
            script,
            shard,
            shared,
            instead,
            listeners: Vec::new(),
        }
    }

    /// Somebody comes, and says nothing yet.
    pub(super) fn open(&self, framing: Framing) -> Client {
        Client(client::open(
            &self.shard,
            &self.shared,
            framing,
            SOCKET_BYTES,
        ))
    }

    /// Lets clients follow everything of `u1` and `r1`, and these topics besides.
    pub(super) async fn listen(&mut self, topics: &[Topic]) {
        for _ in 0..LISTENERS {
            let client = self.open(Framing::Raw);
            client.say(&text(CONNECT)).await;
            client.say(&text(&login("u1"))).await;
            let addressed = addressed("u1", "r1").into_iter();
            let subs = addressed.map(|(stream, event)| (stream, format!("[{event:?}]")));
            let watched = (Stream::UserPresence, r#"["",{"added":["u1"]}]"#.to_owned());
            for (number, (stream, params)) in subs.chain([watched]).enumerate() {
                client
                    .say(&text(&sub(number, &full_name(stream), &params)))
                    .await;
            }
            settle().await;
            for (number, topic) in topics.iter().enumerate() {
                self.instead.replace(Some(topic.clone()));
                let any = format!("[\"any{number}\"]");
                let message = sub(1_000 + number, "stream-room-messages", &any);
                client.say(&text(&message)).await;
                settle().await;
                assert!(self.instead.borrow().is_none(), "{topic:?}");
            }
            client.heard();
            self.listeners.push(client);
        }
        self.heard();
    }

    /// Takes something from the bus.
    pub(super) fn hear(&self, incoming: Incoming) {
        self.core.incoming(incoming);
        self.core.flush();
    }

    /// Bytes that the listeners have got since they were asked last.
    pub(super) fn heard(&self) -> usize {
        self.listeners.iter().map(Client::heard).sum()
    }
}

impl Client {
    /// Sends bytes as they are.
    pub(super) async fn say(&self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            match self.0.try_write(&[IoSlice::new(bytes)]) {
                Ok(written) => bytes = &bytes[written..],
                // Closed: what is said behind it costs nothing.
                Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => return,
                Err(_) => poll_fn(|cx| self.0.poll_writable(cx)).await.unwrap(),
            }
        }
    }

    /// Bytes that came since it was asked last.
    pub(super) fn heard(&self) -> usize {
        let (mut buffer, mut heard) = ([0; 4_096], 0);
        while let Ok(read @ 1..) = self.0.try_read(&mut buffer) {
            heard += read;
        }
        heard
    }
}

/// What the bus thread's loop does for the shard.
async fn serve(core: Rc<Core>, shared: Arc<Shared>, instead: Rc<RefCell<Option<Topic>>>) {
    let mut calls = Vec::new();
    loop {
        shared.to_bus.wait().await;
        shared.to_bus.take(&mut calls);
        for call in calls.drain(..) {
            match (call, instead.take()) {
                (ToBus::Subscribe { ticket, .. }, Some(topic)) => {
                    let subscribed = Subscribed {
                        to: Subject::Topic(topic),
                        documents: Vec::new(),
                    };
                    let outcome = Ok(subscribed);
                    let answer = ToShard::Answer(ticket, Answer::Subscription { outcome });
                    core.post(ticket, answer);
                }
                (call, topic) => {
                    instead.replace(topic);
                    core.call_of_shard(call);
                }
            }
        }
        core.flush();
    }
}

/// Lets everything that does not wait for a clock come to its end.
pub(super) async fn settle() {
    tokio::time::sleep(Duration::from_millis(10)).await;
}

/// `u1`, `warm` and `evil` are among the members of `r1`, and may whatever a permission is for.
fn world() -> World {
    let mut rooms = [("r1", "p"), ("r2", "p"), ("l1", "l")].map(|(id, kind)| some_room(id, kind));
    rooms[2].1.visitor_token = Some("g".into());
    let named = ["u1", "warm", "evil"];
    let others = (named.len()..MEMBERS).map(|number| format!("m{number:03}"));
    let members = named.map(str::to_owned).into_iter().chain(others);
    let mut permissions = hashbrown::HashSet::new();
    let mut settings: hashbrown::HashMap<_, _> =
        [("OTR_Enable".to_owned(), true)].into_iter().collect();
    let rules = ROWS
        .iter()
        .flat_map(|row| row.keys.iter().map(|(_, rule)| *rule).chain([row.read]));
    for rule in rules {
        let needed = match rule {
            Read::Permission(needed) => needed,
            Read::Setting(setting, needed) => {
                settings.insert(setting.to_owned(), true);
                needed
            }
            _ => continue,
        };
        for user in named {
            permissions.extend(needed.iter().map(|one| (user.into(), (*one).to_owned())));
        }
    }
    let conference = Conference {
        id: "c1".into(),
        room: Some("r1".into()),
        discussion: None,
        users: Vec::new(),
    };
    World {
        rooms: rooms.into(),
        users: named.map(some_user).into(),
        tokens: named
            .map(|user| (format!("token-of-{user}"), user.to_owned()))
            .into(),
        members: members
            .into_iter()
            .map(|user| ("r1".into(), user))
            .collect(),
        conferences: [("c1".to_owned(), conference)].into(),
        permissions,
        settings,
        ..World::default()
    }
}

pub(super) const CONNECT: &str = r#"{"msg":"connect","version":"1","support":["1"]}"#;

pub(super) fn login(user: &str) -> String {
    method("login", &format!(r#"[{{"resume":"token-of-{user}"}}]"#))
}

pub(super) fn method(name: &str, params: &str) -> String {
    format!(r#"{{"msg":"method","id":"m","method":"{name}","params":{params}}}"#)
}

pub(super) fn sub(id: usize, name: &str, params: &str) -> String {
    format!(r#"{{"msg":"sub","id":"{id}","name":"{name}","params":{params}}}"#)
}

/// A publication as clients name it.
pub(super) fn full_name(stream: Stream) -> String {
    let row = stream.row();
    match row.read {
        Read::Records => row.name.to_owned(),
        _ => format!("stream-{}", row.name),
    }
}
