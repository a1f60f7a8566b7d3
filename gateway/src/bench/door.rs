//! The whole way between NATS and a client's socket, without the threads' loops: what a bench counts is the work, each
//! step of it once.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    rc::Rc,
    sync::Arc,
};

use backplane::{Bus, Event, Handled};
use bytes::Bytes;
use bytestring::ByteString;
use protocol::sockjs::Framing;
use store::Store;
use tokio::runtime::{Builder, LocalOptions, LocalRuntime};

use crate::{
    config::Config,
    handlers::core::{Core, now},
    io::Io,
    limiter::RateLimits,
    link::{Answer, Effect, ToBus, ToShard},
    shard::{Arrival, Shard},
    shared::Shared,
    state::{State, post::Post},
    streams::{
        request::{Subject, Subscribed},
        table::Stream,
        topic::Topic,
    },
    upstream::Upstream,
};

/// A bus thread and a shard on one thread, and clients of one room.
pub struct Door {
    runtime: LocalRuntime,
    core: Rc<Core>,
    shard: Rc<Shard>,
    shared: Arc<Shared>,
    clients: Vec<TcpStream>,
    heard: Vec<u8>,
}

impl Door {
    /// So many clients follow the messages of `room`.
    ///
    /// # Panics
    /// Where the system refuses a socket, a runtime or an empty store.
    #[must_use]
    pub fn new(clients: usize, room: &str) -> Self {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build_local(LocalOptions::default());
        let runtime = runtime.expect("a runtime");
        let config = Config {
            shards: 1,
            rate_limits: RateLimits::Off,
            ..Config::default()
        };
        let bus = Bus::in_process("bench".into());
        let nowhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let shared = Arc::new(Shared::new(config, bus.clone(), nowhere, None));
        let store = Store::embedded(None).expect("an empty store");
        let (core, shard) = runtime.block_on(async {
            let handle = tokio::runtime::Handle::current();
            let core = Core::new(
                State::new(Post::new(shared.mailboxes.to_vec()), "b".into(), 1, now()),
                Upstream::new(bus, store, handle, shared.readiness.clone()),
                Arc::new(shared.config.clone()),
                shared.interest.clone(),
                shared.limiter.clone(),
                shared.readiness.clone(),
            );
            (Rc::new(core), Shard::new(0, shared.clone()))
        });
        let mut door = Self {
            runtime,
            core,
            shard,
            shared,
            clients: Vec::new(),
            heard: vec![0; 64 * 1024],
        };
        for _ in 0..clients {
            door.connect(room);
        }
        door
    }

    /// Takes one event (args: a raw JSON array) all the way into the clients' sockets; how many of them have got something.
    pub fn event(&mut self, name: &'static str, args: ByteString) -> usize {
        let _local = self.runtime.enter();
        self.core.event(Event {
            name,
            args,
            sender: Arc::from("peer"),
            from_us: false,
            meta: Bytes::from_static(b"{}"),
            received: now(),
            handled: Handled::default(),
        });
        self.core.flush();
        self.work();
        let mut heard = 0;
        for mut client in &self.clients {
            let read = client.read(&mut self.heard);
            heard += usize::from(read.is_ok_and(|read| read > 0));
        }
        heard
    }

    /// Takes one method of the first client (a masked frame) from its socket to the bus thread and the answer all the way
    /// back; whether it has come.
    pub fn method(&mut self, frame: &[u8]) -> bool {
        let mut client = &self.clients[0];
        client.write_all(frame).expect("room in a socket");
        let ToBus::Method { ticket, .. } = self.next_to_bus() else {
            return false;
        };
        let outcome = Ok(Some(Bytes::from_static(b"{}")));
        let then = Effect::Nothing;
        let answer = ToShard::Answer(ticket, Answer::Method { outcome, then });
        self.shared.mailboxes[0].post(answer, 0);
        let _local = self.runtime.enter();
        self.work();
        self.clients[0].read(&mut self.heard).is_ok()
    }

    fn connect(&mut self, room: &str) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket");
        let client = TcpStream::connect(listener.local_addr().expect("its address"));
        let client = client.expect("a socket");
        let (ours, peer) = listener.accept().expect("a socket");
        for socket in [&client, &ours] {
            socket.set_nonblocking(true).expect("a socket");
            socket.set_nodelay(true).expect("a socket");
        }
        let arrival = Arrival {
            framing: Framing::Raw,
            address: None,
            source: peer.ip(),
            headers: "{}".into(),
            #[cfg(feature = "echo")]
            echo: false,
        };
        let mut seat = self.shared.admission.seat(peer.ip()).expect("a seat");
        assert!(seat.upgrade(peer.ip()).is_ok(), "a seat");
        self.runtime.block_on(async {
            let ours = tokio::net::TcpStream::from_std(ours).expect("a socket");
            let io = Io::Plain(ours);
            self.shard.open(io, Bytes::new(), arrival, seat);
        });
        assert!(matches!(self.next_to_bus(), ToBus::Opened(_)));
        let say = |text: &str| {
            let length = u8::try_from(text.len()).expect("a short text");
            assert!(length < 126, "a short text");
            let frame = [&[0x81, 0x80 | length, 0, 0, 0, 0], text.as_bytes()].concat();
            (&client).write_all(&frame).expect("room in a socket");
        };
        say(r#"{"msg":"connect","version":"1","support":["1"]}"#);
        say(&format!(
            r#"{{"msg":"sub","id":"s","name":"stream-room-messages","params":["{room}"]}}"#
        ));
        let ToBus::Subscribe { ticket, .. } = self.next_to_bus() else {
            panic!("a subscription of a room's messages is judged")
        };
        let subscribed = Subscribed {
            to: Subject::Topic(Topic::new(Stream::RoomMessages, room)),
            documents: Vec::new(),
        };
        let outcome = Ok(subscribed);
        let answer = ToShard::Answer(ticket, Answer::Subscription { outcome });
        self.shared.mailboxes[0].post(answer, 0);
        let _local = self.runtime.enter();
        self.work();
        let mut client = client;
        assert!(client.read(&mut self.heard).is_ok(), "a greeting and more");
        self.clients.push(client);
    }

    /// One turn of the shard.
    fn work(&self) {
        let mut batch = Vec::new();
        self.shared.mailboxes[0].take(&mut batch);
        batch
            .into_iter()
            .for_each(|message| self.shard.take(message));
        while self.shard.flush() {}
    }

    /// Lets the sockets be read until a session has something for the bus thread.
    fn next_to_bus(&self) -> ToBus {
        let mut batch = Vec::new();
        self.runtime.block_on(async {
            while batch.is_empty() {
                tokio::task::yield_now().await;
                self.shared.to_bus.take(&mut batch);
            }
        });
        batch.swap_remove(0)
    }
}
