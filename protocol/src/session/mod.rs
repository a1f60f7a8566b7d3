//! [`Session`]: one client's rules — handshake, heartbeats, order, live subscriptions, what waits.

use std::{sync::Arc, time::Instant};

use bytes::Bytes;

use crate::{close::CloseReason, ddp, limits::Limits, outbox::Outbox, sockjs::Framing};

/// Everything that the protocol remembers about one client.
#[derive(Debug)]
pub struct Session {
    id: Box<str>,
    framing: Framing,
    limits: Arc<Limits>,
}

/// The session's own name of a subscription, valid from `Event::Subscribe` until the subscription is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SubKey(pub u32);

/// What a session asks of its driver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The version was agreed on and `connected` is queued; the flags say what a resuming client sent.
    Connected { has_session: bool, has_count: bool },
    /// The running call, answered by exactly one `method_result`; `params` is a raw JSON array.
    Method { name: String, params: Bytes },
    /// The running subscription, answered by exactly one `subscription_ready` or `subscription_failed`; `params` is a
    /// raw JSON array.
    Subscribe {
        sub: SubKey,
        name: String,
        params: Bytes,
    },
    /// The client ended this subscription: forget its topics. Its `nosub` is queued already.
    Unsubscribe { sub: SubKey },
    /// A message arrived from a client that is logged in; at most once per 30 s (gateway.md 1.6).
    Activity,
}

impl Session {
    /// A session whose transport has just opened; `id` is the secret that `connected` will name.
    pub fn new(id: String, framing: Framing, limits: Arc<Limits>, now: Instant) -> Self {
        let _ = now;
        Self {
            id: id.into(),
            framing,
            limits,
        }
    }

    /// Takes one text frame.
    ///
    /// # Errors
    ///
    /// The connection ends with this reason after what is queued.
    pub fn handle_frame(&mut self, payload: &str, now: Instant) -> Result<(), CloseReason> {
        let _ = (payload, now, &self.limits);
        todo!()
    }

    /// Takes a binary message, which DDP does not have.
    pub fn handle_binary(&mut self) -> CloseReason {
        todo!()
    }

    /// Does what is due at `now`.
    ///
    /// # Errors
    ///
    /// The connection ends with this reason.
    pub fn handle_timeout(&mut self, now: Instant) -> Result<(), CloseReason> {
        let _ = now;
        todo!()
    }

    /// Answers the running call: `result`, then `updated`; `Ok(None)` is a result without a value.
    pub fn method_result(&mut self, outcome: Result<Option<Bytes>, ddp::Error>) {
        let _ = outcome;
        todo!()
    }

    /// The running subscription is live.
    pub fn subscription_ready(&mut self) {
        todo!()
    }

    /// The running subscription is refused, or has ended by itself where there is no error.
    pub fn subscription_failed(&mut self, error: Option<&ddp::Error>) {
        let _ = error;
        todo!()
    }

    /// A live subscription is over without the client's doing: silently where `None`, else with a `nosub`.
    pub fn subscription_ended(&mut self, sub: SubKey, error: Option<Option<ddp::Error>>) {
        let _ = (sub, error);
        todo!()
    }

    /// Queues an `added`, `changed` or `removed` made by [`ddp::encode`].
    pub fn document(&mut self, message: String) {
        let _ = message;
        todo!()
    }

    /// The client is logged in: its limits rise, the login deadline is off.
    pub fn logged_in(&mut self, now: Instant) {
        let _ = now;
        todo!()
    }

    /// The client is anonymous again.
    pub fn logged_out(&mut self, now: Instant) {
        let _ = now;
        todo!()
    }

    /// The driver ends the connection: what waits is dropped, what is queued can still be polled.
    pub fn close(&mut self) {
        todo!()
    }

    /// The next thing to be done by the driver; the queue of calls goes on here.
    pub fn poll_event(&mut self) -> Option<Event> {
        todo!()
    }

    /// Moves the next message into `out`; `false` when there is none.
    pub fn poll_frame(&mut self, out: &mut Outbox, now: Instant) -> bool {
        let _ = (out, now);
        todo!()
    }

    /// When `handle_timeout` is due at the latest.
    pub fn poll_timeout(&self) -> Instant {
        todo!()
    }

    /// How messages travel.
    pub fn framing(&self) -> Framing {
        self.framing
    }

    /// Whether a version has been agreed on and the session has not ended.
    pub fn is_connected(&self) -> bool {
        todo!()
    }

    /// Live subscriptions.
    pub fn subscriptions(&self) -> usize {
        todo!()
    }

    /// The secret that `connected` named.
    pub fn id(&self) -> &str {
        &self.id
    }
}
