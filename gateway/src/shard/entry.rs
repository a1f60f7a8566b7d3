//! One client in its shard's slab: its session, what waits for it, and what carries its bytes.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::Arc,
    time::Instant,
};

use hashbrown::HashSet;
use protocol::{
    close::CloseReason,
    outbox::Outbox,
    session::{Session, SubKey},
    sockjs::Framing,
};
use tokio::task::AbortHandle;

use super::due::Tick;
use crate::{
    admission::Seat,
    io::Io,
    link::{Caller, Connection, User},
    streams::scope::Hidden,
    topics::TopicId,
};

/// Everything about one client; touched only by its shard's thread.
pub(crate) struct Entry {
    pub(crate) connection: Arc<Connection>,
    pub(crate) framing: Framing,
    pub(crate) phase: Cell<Phase>,
    pub(crate) session: RefCell<Session>,
    pub(crate) outbox: RefCell<Outbox>,
    pub(crate) transport: RefCell<Option<Transport>>,
    pub(crate) user: RefCell<Option<Arc<User>>>,
    /// The topics of every live subscription, in the order of their beginning.
    pub(crate) topics: RefCell<Vec<(SubKey, TopicId)>>,
    /// The users whom it watches.
    pub(crate) watching: RefCell<Option<Box<Watching>>>,
    /// Bytes of memory for a message that has come in part.
    pub(crate) reading: Cell<u32>,
    /// Bytes that the process' budget was charged for it.
    pub(crate) held: Cell<u32>,
    /// Counts calls; the running one, if any, is the last.
    pub(crate) calls: Cell<u32>,
    pub(crate) running: Cell<Option<Running>>,
    pub(crate) queued: Cell<Queued>,
    /// The socket took no more: a task waits for room, the flush leaves it alone.
    pub(crate) blocked: Cell<bool>,
    /// The one moment in the shard's timers.
    pub(crate) timer: Cell<Option<Tick>>,
    /// Echoes instead of speaking DDP.
    #[cfg(feature = "echo")]
    pub(crate) echo: bool,
}

/// With the two counts of its `Rc`: the allocator's next size would be 640.
#[cfg(target_pointer_width = "64")]
const _: () = assert!(size_of::<Entry>() + 16 <= 512);

/// The users whom one client watches.
pub(crate) struct Watching {
    /// The subscription that stands for the set.
    pub(crate) sub: SubKey,
    pub(crate) users: HashSet<TopicId>,
    /// Whom it must not see.
    pub(crate) hidden: Hidden,
    /// Those among them who were told as offline, once.
    pub(crate) corrected: HashSet<TopicId>,
}

/// What carries a session's bytes now.
pub(crate) struct Transport {
    pub(crate) io: Rc<Io>,
    pub(crate) reader: AbortHandle,
    pub(crate) writer: Option<AbortHandle>,
    /// Counted against the node's and the address's limits until the socket is gone.
    pub(crate) seat: Seat,
}

/// Where a connection is on its way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Open,
    /// As open, until this time: a close that was decided for many and is spread over time.
    Leaving {
        at: Instant,
        reason: CloseReason,
    },
    /// The session is over. The close frame is the last in the outbox; input is discarded until the peer has closed
    /// too, or until this time.
    Closing {
        until: Instant,
        sent: bool,
        peer_closed: bool,
    },
    /// The slot is free.
    Gone,
}

/// What the answer to the running call belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Running {
    Method,
    /// The method `logout`: its token vanishes before it is answered.
    Logout,
    Subscription(SubKey),
}

/// In which dirty list an entry stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Queued {
    No,
    Bulk,
    Urgent,
}

impl Entry {
    /// Its place in the slab.
    pub(crate) fn slot(&self) -> u32 {
        self.connection.place.slot
    }

    /// When it ends by itself, if it does.
    pub(crate) fn close_at(&self) -> Option<(Instant, CloseReason)> {
        match self.phase.get() {
            Phase::Leaving { at, reason } => Some((at, reason)),
            Phase::Open | Phase::Closing { .. } | Phase::Gone => None,
        }
    }

    /// Whether the session is still alive.
    pub(crate) fn is_open(&self) -> bool {
        matches!(self.phase.get(), Phase::Open | Phase::Leaving { .. })
    }

    /// Bytes held for it besides its subscriptions.
    pub(crate) fn holds(&self) -> u32 {
        if self.phase.get() == Phase::Gone {
            return 0;
        }
        let waiting = self.session.borrow().waiting_bytes();
        let written = self.outbox.borrow().held();
        bytes(written.saturating_add(waiting)).saturating_add(self.reading.get())
    }

    /// Who asks, as of now.
    pub(crate) fn caller(&self) -> Caller {
        Caller {
            connection: self.connection.clone(),
            user: self.user.borrow().clone(),
        }
    }
}

/// Counted in 32 bits: no bound on what one client may hold allows more.
pub(crate) fn bytes(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

impl Drop for Transport {
    fn drop(&mut self) {
        self.reader.abort();
        if let Some(writer) = &self.writer {
            writer.abort();
        }
    }
}
