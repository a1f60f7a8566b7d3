//! The way of an event through the bus thread, for the workspace's benches (feature `bench`).

use std::{rc::Rc, sync::Arc};

use backplane::{Bus, Event};
use bytes::Bytes;
use store::Store;

use crate::{
    config::Config,
    handlers::core::{Core, now},
    limiter::{Limiter, RateLimits},
    link::ToShard,
    mailbox::Mailbox,
    readiness::Readiness,
    state::{State, post::Post},
    streams::{table::Stream, topic::Topic},
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
        let topic = Topic::new(Stream::RoomMessages, room);
        self.table.subscribe(&topic, 0);
    }

    /// Takes one event (args: a raw JSON array); how many messages that makes for the shard.
    pub fn event(&self, name: &'static str, args: Bytes) -> usize {
        self.core.event(Event {
            name,
            args,
            sender: Arc::from("peer"),
            from_us: false,
            meta: Bytes::from_static(b"{}"),
            received: now(),
        });
        self.core.flush();
        let mut posted = Vec::new();
        self.mailbox.take(&mut posted);
        posted.len()
    }
}

impl Default for BusThread {
    fn default() -> Self {
        Self::new()
    }
}
