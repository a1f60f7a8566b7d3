//! Every bound on what a peer may send, hold or wait for.

use std::time::Duration;

/// The bounds of one connection; `Default` is what `design.md` 6 decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one websocket message after login. 1 MiB: the NATS server's default payload limit, so that a larger call
    /// could not be forwarded anyway.
    pub message_bytes: usize,
    /// Bytes of one websocket message before login. 64 KiB: a `connect`, a `login` and the public subscriptions are far
    /// smaller.
    pub message_bytes_before_login: usize,
    /// Frames of one websocket message. 65,536: what RFC 6455 suites send; empty fragments cost no bytes and would
    /// otherwise never end.
    pub fragments: usize,
    /// Levels of nesting in a DDP message. 32: far more than any client sends, and harmless for a recursive reader behind us.
    pub json_depth: usize,
    /// Live subscriptions. 1,000: a web client with every room open holds some hundreds.
    pub subscriptions: usize,
    /// Live subscriptions without a login. 50: a livechat widget has seven, and a web client that shows public rooms to everybody
    /// begins with about forty.
    pub subscriptions_before_login: usize,
    /// Users in the presence watch set of a connection. 10,000: a full member list.
    pub presence_watch: usize,
    /// DDP messages that wait for the running call or subscription. 256: a client that reconnects sends all its
    /// subscriptions at once.
    pub pending_messages: usize,
    /// Bytes of the waiting messages after login. 2 MiB: two of the largest messages.
    pub pending_bytes: usize,
    /// Bytes of the waiting messages before login. 128 KiB, as `pending_bytes`.
    pub pending_bytes_before_login: usize,
    /// Bytes of a method, publication or event name and of an id chosen by the client. 1,024: they are kept as long as what
    /// they name.
    pub name_bytes: usize,
    /// Bytes of the id and of the event name of a subscription before login. 255: ids of rooms and visitors' tokens are
    /// far shorter.
    pub name_bytes_before_login: usize,
    /// Bytes of a token, a login's name or a password. 1,024: resume tokens have 43 characters, visitors' about as many, and a visitor's
    /// is kept as long as its subscription.
    pub token_bytes: usize,
    /// Bytes that wait for a client that does not read. 4 MiB, the original's proposal for `DDP_MAX_BUFFERED_BYTES`.
    pub outbox_bytes: usize,
    /// Age of the oldest frame that waits for a client. 30 s: behind that the client is better off with a fresh start.
    pub outbox_age: Duration,
    /// Time from the upgrade to `connect`. 10 s.
    pub connect_deadline: Duration,
    /// Silence after which the server sends a DDP `ping`. 30 s (`gateway.md` 1.6).
    pub ping_after: Duration,
    /// Further silence after that `ping` which ends the connection. 30 s (`gateway.md` 1.6).
    pub close_after_ping: Duration,
    /// Time without a login and without a subscription. 60 s: anonymous livechat widgets subscribe, others log in at once.
    pub login_deadline: Duration,
    /// Time for the peer to answer our close frame. 5 s, the original's grace (`gateway.md` 1.6).
    pub close_linger: Duration,
    /// Close code of an idle connection. 1001, because the mobile SDK does not come back after the original's 4000.
    pub idle_close_code: u16,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            message_bytes: 1 << 20,
            message_bytes_before_login: 64 << 10,
            fragments: 65_536,
            json_depth: 32,
            subscriptions: 1_000,
            subscriptions_before_login: 50,
            presence_watch: 10_000,
            pending_messages: 256,
            pending_bytes: 2 << 20,
            pending_bytes_before_login: 128 << 10,
            name_bytes: 1_024,
            name_bytes_before_login: 255,
            token_bytes: 1_024,
            outbox_bytes: 4 << 20,
            outbox_age: Duration::from_secs(30),
            connect_deadline: Duration::from_secs(10),
            ping_after: Duration::from_secs(30),
            close_after_ping: Duration::from_secs(30),
            login_deadline: Duration::from_secs(60),
            close_linger: Duration::from_secs(5),
            idle_close_code: 1001,
        }
    }
}
