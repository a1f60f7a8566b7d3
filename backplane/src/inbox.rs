//! What arrives for one announced service, in order, bounded in bytes.

use std::{
    collections::VecDeque,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use bytes::Bytes;
use tokio::sync::Notify;

use crate::{bus::Bus, calls::Context, error::ServiceError, registry::NodeInfo, reply::Reply};

/// The receiving end of one announced service; dropping it withdraws the service.
///
/// It holds at most [`Config::waiting_bytes`](crate::Config::waiting_bytes). What does not fit is refused: an event is
/// a gap, a request is answered with an error. What the bus itself says always fits.
pub struct Inbox {
    bus: Bus,
    waiting: Arc<Waiting>,
    /// Taken out, not yet handed out by `recv`.
    taken: VecDeque<Incoming>,
}

impl Inbox {
    pub(crate) fn new(bus: Bus, waiting: Arc<Waiting>) -> Self {
        Self {
            bus,
            waiting,
            taken: VecDeque::new(),
        }
    }

    /// The next thing; waits for it, for ever once the service is withdrawn.
    pub async fn recv(&mut self) -> Incoming {
        loop {
            if let Some(incoming) = self.taken.pop_front() {
                return incoming;
            }
            let mut batch = Vec::new();
            self.waiting.take(&mut batch).await;
            self.taken.extend(batch);
        }
    }

    /// Waits, then appends everything that waits to `into`: one wake-up and one lock per batch.
    pub async fn recv_batch(&mut self, into: &mut Vec<Incoming>) {
        if self.taken.is_empty() {
            self.waiting.take(into).await;
        } else {
            into.extend(self.taken.drain(..));
        }
    }
}

impl Drop for Inbox {
    fn drop(&mut self) {
        self.bus.close(&self.waiting);
    }
}

/// Requests and events in the order in which they came, and what the bus itself has to say.
#[derive(Debug)]
pub enum Incoming {
    Request(Request),
    Event(Event),
    NodeUp(NodeInfo),
    /// `unexpected`: lost by heartbeat, or replaced by a new instance under the same id.
    NodeDown {
        node: NodeInfo,
        unexpected: bool,
    },
    /// The bus is connected; said first to an inbox that is made while it is.
    Up,
    /// The connection to the bus is lost; calls fail at once until `Up`.
    Down,
    /// Something may have been missed.
    Gap(Gap),
    /// After a reconnect: every known peer has answered our ping (or 5 s have passed), so what they send from now on
    /// reaches us. A resync for the gap of that outage starts here (design.md 3.8).
    Settled,
}

impl Incoming {
    /// What it counts against the bound; `None` always fits.
    fn cost(&self) -> Option<usize> {
        match self {
            Self::Request(request) => Some(OVERHEAD + request.params.len()),
            Self::Event(event) => Some(OVERHEAD + event.args.len()),
            Self::NodeUp(_) | Self::NodeDown { .. } => Some(OVERHEAD),
            Self::Up | Self::Down | Self::Gap(_) | Self::Settled => None,
        }
    }
}

/// One call to answer.
#[derive(Debug)]
pub struct Request {
    /// As announced, `service.method`.
    pub action: &'static str,
    /// Raw JSON array.
    pub params: Bytes,
    /// Node id of the caller.
    pub sender: Arc<str>,
    /// Give it to nested calls.
    pub context: Context,
    pub(crate) reply: Reply,
}

impl Request {
    /// Answers the call; `Ok(None)` is JavaScript's `undefined`. A request that is dropped unanswered answers an error.
    pub fn respond(mut self, outcome: Result<Option<Bytes>, ServiceError>) {
        self.reply.send(outcome);
    }
}

/// One broadcast (or balanced) event.
#[derive(Clone, Debug)]
pub struct Event {
    /// As announced.
    pub name: &'static str,
    /// Raw JSON array: a slice of the NATS payload, checked to be UTF-8 JSON.
    pub args: Bytes,
    /// Node id of the emitter.
    pub sender: Arc<str>,
    /// Sent by this very node.
    pub from_us: bool,
    /// Raw JSON object (`{}` when absent).
    pub meta: Bytes,
    /// When it was taken from the bus.
    pub received: Instant,
}

/// A stretch of time in which events may have been missed; counted and answered, never silent (design.md 3.8).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    /// Nothing is missing from before.
    pub since: Instant,
    pub scope: GapScope,
    pub cause: GapCause,
}

/// Whose events may be missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GapScope {
    All,
    /// Those of one node.
    Node(Arc<str>),
    /// Those of this inbox, whoever sent them.
    Inbox,
}

/// How a gap became known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum GapCause {
    /// The connection was lost and is back.
    ConnectionLost,
    /// The client library dropped messages that we did not take in time.
    MessagesDropped,
    /// A peer asked who we are although it had sent to us before.
    Forgotten,
    /// A peer was lost by heartbeat and came back as the same instance.
    PeerReturned,
    /// Our own loop stood still for longer than the heartbeat timeout.
    Stalled,
    /// The inbox was full.
    InboxFull,
}

impl GapCause {
    /// Name of the cause as a metric label.
    pub fn label(self) -> &'static str {
        match self {
            Self::ConnectionLost => "connection_lost",
            Self::MessagesDropped => "messages_dropped",
            Self::Forgotten => "forgotten",
            Self::PeerReturned => "peer_returned",
            Self::Stalled => "stalled",
            Self::InboxFull => "inbox_full",
        }
    }
}

/// What waits in an inbox: swapped whole by its reader, filled a batch at a time by the bus.
pub(crate) struct Waiting {
    state: Mutex<State>,
    filled: Notify,
    bytes_max: usize,
}

#[derive(Default)]
struct State {
    items: Vec<Incoming>,
    bytes: usize,
    /// Since when something was refused.
    refused_since: Option<Instant>,
    is_closed: bool,
}

impl Waiting {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self {
            state: Mutex::default(),
            filled: Notify::new(),
            bytes_max,
        }
    }

    /// Adds a batch; returns how many did not fit.
    pub(crate) fn push(&self, batch: impl IntoIterator<Item = Incoming>, now: Instant) -> u64 {
        // Dropped behind the lock: a refused request answers its caller.
        let mut refused = Vec::new();
        let mut state = self.lock();
        for incoming in batch {
            let cost = incoming.cost();
            if state.is_closed || cost.is_some_and(|cost| state.bytes + cost > self.bytes_max) {
                refused.push(incoming);
            } else {
                state.bytes += cost.unwrap_or(0);
                state.items.push(incoming);
            }
        }
        if state.is_closed {
            return 0;
        }
        // A request tells its caller; only the rest is missing here.
        if refused
            .iter()
            .any(|incoming| !matches!(incoming, Incoming::Request(_)))
        {
            state.refused_since.get_or_insert(now);
        }
        drop(state);
        self.filled.notify_one();
        refused.len() as u64
    }

    /// Nothing more is taken in; what waits is dropped (and so answered).
    pub(crate) fn close(&self) {
        let mut state = self.lock();
        state.is_closed = true;
        let items = std::mem::take(&mut state.items);
        drop(state);
        drop(items);
    }

    async fn take(&self, into: &mut Vec<Incoming>) {
        loop {
            let filled = self.filled.notified();
            {
                let mut state = self.lock();
                let refused_since = state.refused_since.take();
                if !state.items.is_empty() || refused_since.is_some() {
                    into.append(&mut state.items);
                    state.bytes = 0;
                    let gap = |since| Gap {
                        since,
                        scope: GapScope::Inbox,
                        cause: GapCause::InboxFull,
                    };
                    into.extend(refused_since.map(gap).map(Incoming::Gap));
                    return;
                }
            }
            filled.await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Inbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inbox").finish_non_exhaustive()
    }
}

/// What one entry costs besides its payload.
const OVERHEAD: usize = 256;
