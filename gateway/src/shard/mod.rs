//! One thread's share of the clients: their sockets, sessions, topics, timers, and all writing to them.
//!
//! ```text
//!  acceptor, bus thread ── mailbox ──▶ run: answers, publications ─▶ outboxes ─▶ dirty lists ─▶ flush ─▶ sockets
//!  sockets ── read tasks ──▶ decoder ─▶ session ─▶ outbox, or ToBus ──▶ bus thread
//! ```
//!
//! Everything is touched by this thread only, in `RefCell`s of which no guard crosses an await. Nobody waits for a
//! socket: what one does not take stays in its outbox.
//!
//! # Memory
//!
//! What one idle connection costs beyond the kernel's buffers, each line held by a test below (64-bit):
//!
//! | part | bytes, at most |
//! |---|---|
//! | socket's registration with the reactor | 256 |
//! | [`entry::Entry`] with session and outbox | 1,024 |
//! | [`crate::link::Connection`] and its ids | 256 |
//! | read task | 512 |
//! | place in the slab, key in the timer queue | 128 |
//! | a subscription (`topics.rs`) | 200 |

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    future::poll_fn,
    rc::Rc,
    sync::Arc,
    task::Poll,
};

use hashbrown::{HashMap, HashSet};
use protocol::limits::Limits;
use slab::Slab;

use crate::{link::ToShard, mailbox::Mailbox, place::Place, shared::Shared, topics::TopicTable};

mod admin;
mod appended;
mod backlog;
mod close;
mod due;
pub(crate) mod entry;
mod flush;
mod opening;
mod overload;
mod publish;
mod read;
mod sessions;
mod slices;
mod timers;
mod watching;

use appended::Appended;
use backlog::Backlog;
use due::{Timers, now};
use entry::Entry;

pub(crate) use opening::Arrival;

/// Bytes of the one buffer into which all clients of a shard are read.
const READ_BYTES: usize = 64 * 1024;

/// The echo endpoint's message limit: the largest message of the RFC 6455 suite.
#[cfg(feature = "echo")]
const ECHO_BYTES: usize = 16 * 1024 * 1024;

/// One thread's share of the clients.
pub(crate) struct Shard {
    pub(crate) index: u16,
    pub(crate) shared: Arc<Shared>,
    limits: Arc<Limits>,
    mailbox: Arc<Mailbox<ToShard>>,
    entries: RefCell<Slab<Rc<Entry>>>,
    /// Counts all connections ever, so that no slot is mistaken for its former owner.
    generation: Cell<u32>,
    topics: RefCell<TopicTable>,
    backlog: RefCell<Backlog>,
    urgent: RefCell<VecDeque<Rc<Entry>>>,
    bulk: RefCell<VecDeque<Rc<Entry>>>,
    /// By slot: clients whose sockets were full, until it is measured that they are not any more.
    slow: RefCell<HashMap<u32, Rc<Entry>>>,
    timers: RefCell<Timers>,
    buffer: RefCell<Box<[u8]>>,
    /// Header objects of the connections; many browsers send the same.
    headers: RefCell<HashSet<Arc<str>>>,
    appended: Cell<Appended>,
    /// The run loop is on its way already.
    roused: Cell<bool>,
    /// State of a small random generator for jitter, where nobody gains from guessing.
    jitter: Cell<u64>,
}

impl Shard {
    /// A shard without clients.
    pub(crate) fn new(index: u16, shared: Arc<Shared>) -> Rc<Self> {
        Rc::new(Self {
            index,
            limits: shared.config.limits.clone(),
            mailbox: shared.mailboxes[usize::from(index)].clone(),
            entries: RefCell::default(),
            generation: Cell::new(0),
            topics: RefCell::new(TopicTable::new(index, shared.interest.clone())),
            backlog: RefCell::default(),
            urgent: RefCell::default(),
            bulk: RefCell::default(),
            slow: RefCell::default(),
            timers: RefCell::default(),
            buffer: RefCell::new(vec![0; READ_BYTES].into()),
            headers: RefCell::default(),
            appended: Cell::default(),
            roused: Cell::new(false),
            jitter: Cell::new(0x9E37_79B9_7F4A_7C15 ^ u64::from(index) << 32),
            shared,
        })
    }

    /// Serves until `ToShard::Stop`; returns the number of clients that are left.
    pub(crate) async fn run(self: Rc<Self>) -> usize {
        let mut batch = Vec::new();
        loop {
            self.roused.set(false);
            self.work_or_time().await;
            self.roused.set(true);
            loop {
                poll_fn(|context| Poll::Ready(self.fire(context))).await;
                self.go_on();
                let held = self.backlog.borrow().bytes();
                self.mailbox.take_beside(&mut batch, held);
                for message in batch.drain(..) {
                    if matches!(message, ToShard::Stop) {
                        return self.entries.borrow().len();
                    }
                    self.take(message);
                }
                let more = self.flush();
                if !self.relieve() && !more {
                    self.appended.take();
                    if self.backlog.borrow().is_empty() && self.mailbox.is_empty() {
                        break;
                    }
                }
                // Reads and timers have their turn, in this order: the reactor is polled before we go on.
                tokio::task::yield_now().await;
            }
        }
    }

    /// Waits until the mailbox or a dirty list has something, or timers have fired.
    async fn work_or_time(self: &Rc<Self>) {
        let mut work = std::pin::pin!(self.mailbox.wait());
        poll_fn(
            |context| match (work.as_mut().poll(context), self.fire(context)) {
                (Poll::Pending, false) => Poll::Pending,
                _ => Poll::Ready(()),
            },
        )
        .await;
    }

    /// Wakes the run loop from this thread, once per round.
    fn rouse(&self) {
        if !self.roused.replace(true) {
            self.mailbox.wake();
        }
    }

    /// Does what the bus thread has said.
    fn act(self: &Rc<Self>, message: ToShard) {
        match message {
            ToShard::Answer(ticket, answer) => self.answer(ticket, answer),
            ToShard::Documents { place, messages } => self.documents(place, messages),
            ToShard::Revoke { subs, silently } => self.revoke(&subs, silently),
            ToShard::Scope { places, hidden } => self.scope(&places, &hidden),
            ToShard::Close { places, reason } => self.close_all(&places, reason),
            ToShard::Resync { places, over } => self.resync(places.as_deref(), over),
            ToShard::Drain { over } => self.drain(over),
            ToShard::Admin {
                filter,
                order,
                reply,
            } => {
                // Whoever asked may have given up.
                let _ = reply.send(self.carry_out(&filter, &order));
            }
            // Published piece by piece where they stand; ends the loop.
            ToShard::Publish(_) | ToShard::Stop => {}
        }
    }

    /// The client at this place, if it is still there.
    fn entry(&self, place: Place) -> Option<Rc<Entry>> {
        let entries = self.entries.borrow();
        entries
            .get(place.slot as usize)
            .filter(|entry| entry.connection.place == place)
            .cloned()
    }
}

#[cfg(test)]
mod tests;
