//! What crosses between the bus thread and the shards, and nothing else does.
//!
//! ```text
//!   shard ── ToBus (unbounded in count, bounded by one running call per session) ──▶ bus thread
//!   shard ◀── ToShard (the mailbox: publications bounded in bytes, the rest always passes) ── bus thread
//! ```
//!
//! The bus thread is the only writer of the mailboxes; one message per (batch, shard).

use std::{
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use protocol::{close::CloseReason, ddp, session::SubKey};
use tokio::sync::oneshot;

use crate::{
    admin::order::{Filter, Order, Report},
    place::{Place, Sub},
    publication::Publication,
    streams::{request::Subscribed, scope::Hidden},
};

/// The way back of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ticket {
    pub(crate) place: Place,
    /// Counts the calls of one client: an answer that comes after its call was given up is dropped.
    pub(crate) seq: u32,
}

/// One client connection as the rest of the workspace knows it (gateway.md 1.8).
#[derive(Debug)]
pub(crate) struct Connection {
    /// UUID that travels in broadcasts; never the DDP session id, which is a secret.
    pub(crate) id: String,
    /// UUID of this process' DDP server, the same for all connections.
    pub(crate) instance: Arc<str>,
    /// By `HTTP_FORWARDED_COUNT`; `None` where the header does not carry enough hops.
    pub(crate) address: Option<IpAddr>,
    /// For whom limits count it: its address, or the peer's where the header does not say.
    pub(crate) source: IpAddr,
    /// Lower-case names and values as a raw JSON object, secrets removed unless configured; interned.
    pub(crate) headers: Arc<str>,
    /// Where this connection lives.
    pub(crate) place: Place,
}

/// Who is logged in on a connection.
#[derive(Debug)]
pub(crate) struct User {
    pub(crate) id: Arc<str>,
    /// base64 SHA-256 of the resume token, as `accounts.login` answered it.
    pub(crate) hashed_token: String,
}

/// Who asks.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    pub(crate) connection: Arc<Connection>,
    pub(crate) user: Option<Arc<User>>,
}

impl Caller {
    pub(crate) fn place(&self) -> Place {
        self.connection.place
    }

    pub(crate) fn user_id(&self) -> Option<&Arc<str>> {
        self.user.as_ref().map(|user| &user.id)
    }
}

/// From the bus thread to one shard.
#[derive(Debug)]
pub(crate) enum ToShard {
    /// The answer to a `ToBus` message that carried this ticket.
    Answer(Ticket, Answer),
    /// One batch of publications; the only kind that counts against the mailbox bound.
    Publish(Arc<[Publication]>),
    /// More text for one connection, outside its queue: the `users` document after a login. Finished DDP messages.
    Documents { place: Place, messages: Vec<String> },
    /// Subscriptions that a rule no longer allows. `silently`: without a word to the client (removal from a room), else
    /// `nosub` with `not-allowed`.
    Revoke { subs: Vec<Sub>, silently: bool },
    /// What these clients, if they watch users, must not see from now on.
    Scope { places: Vec<Place>, hidden: Hidden },
    /// Closes these clients.
    Close {
        places: Vec<Place>,
        reason: CloseReason,
    },
    /// Something may have been missed: close these clients (`None`: all) with `RESYNC`, jittered over this time.
    Resync {
        places: Option<Vec<Place>>,
        over: Duration,
    },
    /// Close everything with `Draining`, jittered over this time.
    Drain { over: Duration },
    /// An operator's order; answered with what it concerned.
    Admin {
        filter: Filter,
        order: Order,
        reply: oneshot::Sender<Report>,
    },
    /// End the thread, whatever is left.
    Stop,
}

/// What the bus thread found out for a session.
#[derive(Debug)]
pub(crate) enum Answer {
    /// Ends the running call.
    Method {
        outcome: Result<Option<Bytes>, ddp::Error>,
        then: Effect,
    },
    /// Ends the running subscription: live under this topic after these documents, or refused.
    Subscription {
        outcome: Result<Subscribed, ddp::Error>,
    },
}

/// What a method's answer does to the connection besides its result.
#[derive(Debug)]
pub(crate) enum Effect {
    Nothing,
    LoggedIn(Arc<User>),
    /// Flush, then close with this reason (logout, a login that cannot be judged). With `Err` outcomes nothing is
    /// written first when the reason is `TryAgain`.
    Close(CloseReason),
}

/// From a shard to the bus thread.
#[derive(Debug)]
pub(crate) enum ToBus {
    /// A websocket is open: `socket.connected`.
    Opened(Arc<Connection>),
    /// It is gone: `socket.disconnected`, presence, everything that stands behind its subscriptions.
    Closed(Arc<Connection>),
    /// A method; answered by `Answer::Method`.
    Method {
        ticket: Ticket,
        caller: Caller,
        name: String,
        params: Bytes,
    },
    /// A subscription that needs more than the shard knows; answered by `Answer::Subscription`.
    Subscribe {
        ticket: Ticket,
        caller: Caller,
        sub: SubKey,
        name: String,
        params: Bytes,
    },
    /// A subscription is over, whoever ended it; what stood behind it goes.
    Unsubscribed(Sub),
    /// A message arrived from a logged-in client, at most once per 30 s (`presence.updateConnection`).
    Activity(Caller),
    /// The bus thread itself was late since this time, for longer than its peers wait: a gap.
    Stalled { since: Instant },
}
