//! What arrives for one announced service.

use std::{sync::Arc, time::Instant};

use bytes::Bytes;
use bytestring::ByteString;
use protocol::ddp::ejson::is_json;

use crate::{
    calls::Context, error::ServiceError, handled::Handled, registry::NodeInfo, reply::Reply,
};

/// Requests and events in the order in which they came, and what the bus itself has to say.
#[derive(Debug)]
pub enum Incoming {
    /// More than twice as large as an event, of which there are many, each moved from list to list.
    Request(Box<Request>),
    Event(Event),
    NodeUp(NodeInfo),
    /// A node that was up already offers something else than before.
    NodeOffers(NodeInfo),
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
    pub(crate) fn cost(&self) -> Option<usize> {
        match self {
            Self::Request(request) => {
                let context = &request.context;
                let ids = context.id.len() + context.request_id.len();
                Some(OVERHEAD + request.params.len() + context.meta.len() + ids)
            }
            Self::Event(event) => Some(OVERHEAD + event.args.len() + event.meta.len()),
            Self::NodeUp(_) | Self::NodeOffers(_) | Self::NodeDown { .. } => Some(OVERHEAD),
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
    /// Raw JSON array: a slice of the NATS payload, bracketed as one; whether it is JSON says [`Self::is_sound`].
    pub args: ByteString,
    /// Node id of the emitter.
    pub sender: Arc<str>,
    /// Sent by this very node.
    pub from_us: bool,
    /// Raw JSON object (`{}` when absent).
    pub meta: Bytes,
    /// When it was taken from the bus.
    pub received: Instant,
    /// To be kept as long as it is being handled.
    pub handled: Handled,
}

impl Event {
    /// Whether the arguments are JSON to their end, to be asked before they become part of anything else: most events reach
    /// nobody, and this is a third of what it takes to read one. Counts one that is not as dropped.
    pub fn is_sound(&self) -> bool {
        let is_sound = is_json(&self.args);
        if !is_sound {
            self.handled.fail();
        }
        is_sound
    }
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
    /// What would have been emitted from a store's changes is lost.
    HistoryLost,
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
            Self::HistoryLost => "history_lost",
        }
    }
}

/// What one entry costs besides its payload.
const OVERHEAD: usize = 256;
