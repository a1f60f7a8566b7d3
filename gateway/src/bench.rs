//! The way of an event through the bus thread, for the workspace's benches (feature `bench`).

mod door;

pub use door::Door;

use std::{rc::Rc, sync::Arc};

use backplane::{Bus, Event, Handled};
use bytes::Bytes;
use bytestring::ByteString;
use protocol::session::SubKey;
use store::Store;

use crate::{
    config::Config,
    handlers::core::{Core, now},
    limiter::{Limiter, RateLimits},
    link::{Connection, ToShard, User},
    mailbox::Mailbox,
    place::Place,
    readiness::Readiness,
    state::{State, people::Behind, post::Post},
    streams::{
        question::{About, Question},
        table::{RoomRule, Stream},
        topic::TopicRef,
    },
    topics::{Interest, TopicTable},
    upstream::Upstream,
};

/// The bus thread's state and handlers without its loop, and one shard's table.
pub struct BusThread {
    core: Rc<Core>,
    mailbox: Arc<Mailbox<ToShard>>,
    table: TopicTable,
    _runtime: tokio::runtime::Runtime,
}

impl BusThread {
    /// Nobody is connected.
    ///
    /// # Panics
    /// Where the system refuses a runtime or an empty store.
    #[must_use]
    pub fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        let runtime = runtime.expect("a runtime");
        let store = Store::embedded(None).expect("an empty store");
        let bus = Bus::in_process("bench".into());
        let mailbox = Arc::new(Mailbox::new(1 << 30));
        let interest = Arc::new(Interest::default());
        let readiness = Readiness::default();
        let work = runtime.handle().clone();
        let core = Core::new(
            State::new(Post::new(vec![mailbox.clone()]), "bench".into(), 1, now()),
            Upstream::new(bus, store, work, readiness.clone()),
            Arc::new(Config::default()),
            interest.clone(),
            Arc::new(Limiter::new(RateLimits::Off, false, now())),
            readiness,
        );
        Self {
            core: Rc::new(core),
            mailbox,
            table: TopicTable::new(0, interest),
            _runtime: runtime,
        }
    }

    /// Somebody follows the messages of a room.
    pub fn follow(&mut self, room: &str) {
        let (stream, event) = (Stream::RoomMessages, room);
        self.table.subscribe(TopicRef { stream, event }, 0);
    }

    /// Takes an event, and does nothing else.
    pub fn hear(&self, event: Event) {
        self.core.event(event);
    }

    /// Takes one event (args: a raw JSON array); how many messages that makes for the shard.
    pub fn event(&self, name: &'static str, args: ByteString) -> usize {
        self.hear(Event {
            name,
            args,
            sender: Arc::from("peer"),
            from_us: false,
            meta: Bytes::from_static(b"{}"),
            received: now(),
            handled: Handled::default(),
        });
        self.core.flush();
        let mut posted = Vec::new();
        self.mailbox.take(&mut posted);
        posted.len()
    }
}

/// A client as its shard has it.
pub struct Client {
    connection: Arc<Connection>,
    user: Arc<User>,
    room: Arc<str>,
}

impl Client {
    /// Of a user of his own, with a room of his own.
    #[must_use]
    pub fn new(number: u32) -> Self {
        let connection = Connection {
            id: format!("c{number}"),
            instance: "i".into(),
            address: None,
            source: [127, 0, 0, 1].into(),
            headers: "{}".into(),
            place: Place {
                shard: 0,
                slot: number,
                generation: number,
            },
        };
        let user = User {
            id: format!("u{number}").into(),
            hashed_token: String::new(),
        };
        Self {
            connection: connection.into(),
            user: user.into(),
            room: format!("r{number}").into(),
        }
    }
}

impl BusThread {
    /// A client comes, logs in, and was allowed to follow its room.
    pub fn enter(&self, client: &Client) {
        let state = &self.core.state;
        let place = client.connection.place;
        state.people.borrow_mut().open(&client.connection);
        state.people.borrow_mut().log_in(place, &client.user);
        let question = Question {
            user: Some(client.user.id.clone()),
            about: About::Room {
                room: client.room.clone(),
                rule: RoomRule::Read,
                tokens: None,
            },
        };
        let sub = (place, SubKey(1));
        let grant = state.grants.borrow_mut().enter(sub, question);
        state.people.borrow_mut().stand(sub, Behind::Grant(grant));
    }

    /// It has gone.
    pub fn leave(&self, client: &Client) {
        let gone = self
            .core
            .state
            .people
            .borrow_mut()
            .close(client.connection.place);
        for (sub, behind) in gone.unwrap_or_default().behind {
            self.core.release((client.connection.place, sub), behind);
        }
    }
}

impl Default for BusThread {
    fn default() -> Self {
        Self::new()
    }
}
