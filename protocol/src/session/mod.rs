//! [`Session`]: one client's rules — handshake, heartbeats, order, live subscriptions, what waits.

mod event;
mod live;
mod timers;
mod turns;
mod version;
mod waiting;

use std::{borrow::Cow, collections::VecDeque, fmt, sync::Arc, time::Instant};

use bytes::Bytes;

pub use self::{
    event::{Event, SubKey},
    live::make_room,
};
use self::{
    live::Live,
    timers::{Awaited, Due, Timers},
    waiting::{Call, Running, Waiting},
};
use crate::{
    close::CloseReason,
    ddp::{self, ClientMessage, decode, encode},
    limits::Limits,
    outbox::{Class, Frame, Outbox, Pushed},
    sockjs::{self, Framing},
};

/// Everything that the protocol remembers about one client.
///
/// Inputs (`handle_*`) and commands change it, `poll_*` tell what follows:
///
/// 1. After *one* input or command call `poll_event` until it is `None` (answering an event at once is fine), then
///    `poll_frame` until it is `false`, then sleep until `poll_timeout` at the latest.
/// 2. `now` never goes backwards.
/// 3. An `Err(CloseReason)` is final: drain once more, queue the close frame, close. From then on nothing has an
///    effect; a late answer is dropped.
///
/// `method`, `sub` and `unsub` run strictly one after another in the order of their arrival; everything else is done
/// at once (gateway.md 2.5).
///
/// Memory: 1,000 subscriptions of at most a kilobyte of id each, what waits (`Limits::pending_bytes` and
/// `pending_messages`), the running call, and what one input has queued until it is polled.
pub struct Session {
    id: Box<str>,
    limits: Arc<Limits>,
    framing: Framing,
    stage: Stage,
    is_logged_in: bool,
    timers: Timers,
    running: Option<Running>,
    waiting: Waiting,
    live: Live,
    /// The next subscription's. Wraps after four billion, long after the first of them is over.
    next_key: SubKey,
    events: VecDeque<Event>,
    frames: VecDeque<Outgoing>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Nothing but `connect` is welcome.
    Opening,
    Connected,
    Closed,
}

enum Outgoing {
    /// SockJS' `o`.
    Open,
    /// Counts for resumption (resumption.md 1.4).
    Counted(String),
    /// Heartbeats, and the greeting, which has no `msg`.
    Uncounted(String),
}

impl Session {
    /// A session whose transport has just opened; `id` is the secret that `connected` will name.
    pub fn new(id: String, framing: Framing, limits: Arc<Limits>, now: Instant) -> Self {
        let mut frames = VecDeque::new();
        if framing == Framing::SockJs {
            frames.push_back(Outgoing::Open);
        }
        frames.push_back(Outgoing::Uncounted(GREETING.to_owned()));
        Self {
            id: id.into(),
            limits,
            framing,
            stage: Stage::Opening,
            is_logged_in: false,
            timers: Timers::new(now),
            running: None,
            waiting: Waiting::default(),
            live: Live::default(),
            next_key: SubKey(0),
            events: VecDeque::new(),
            frames,
        }
    }

    /// Takes one text frame, whose size the transport has bounded. Its cost is linear in that size.
    ///
    /// # Errors
    ///
    /// The connection ends with this reason after what is queued.
    pub fn handle_frame(&mut self, payload: &str, now: Instant) -> Result<(), CloseReason> {
        if self.stage == Stage::Closed {
            return Ok(());
        }
        self.timers.heard(now);
        if self.is_logged_in && self.timers.is_active_again(now) {
            self.events.push_back(Event::Activity);
        }
        let outcome = self.read_frame(payload);
        if outcome.is_err() {
            self.close();
        }
        outcome
    }

    /// Takes a binary message, which DDP does not have: the connection ends with this reason.
    pub fn handle_binary(&mut self) -> CloseReason {
        self.close();
        CloseReason::UnsupportedData
    }

    /// Does what is due at `now`; nothing if it comes too early.
    ///
    /// # Errors
    ///
    /// The connection ends with this reason.
    pub fn handle_timeout(&mut self, now: Instant) -> Result<(), CloseReason> {
        while self.stage != Stage::Closed {
            let (at, due) = self.timers.next(self.awaited(), &self.limits);
            if now < at {
                break;
            }
            let reason = match due {
                Due::Ping => {
                    self.timers.pinged(now);
                    self.frames.push_back(Outgoing::Uncounted(encode::ping()));
                    continue;
                }
                Due::IdleClose => CloseReason::IdleTimeout,
                Due::ConnectDeadline => CloseReason::ConnectDeadline,
                Due::LoginDeadline => CloseReason::LoginDeadline,
            };
            self.close();
            return Err(reason);
        }
        Ok(())
    }

    /// Answers the running call: `result`, then `updated`; `Ok(None)` is a result without a value, `Ok(Some)` raw JSON.
    pub fn method_result(&mut self, outcome: Result<Option<Bytes>, ddp::Error>) {
        if let Some(Running::Method { id }) = self
            .running
            .take_if(|running| matches!(running, Running::Method { .. }))
        {
            self.answer_method(&id, outcome.as_ref().map(Option::as_deref));
        }
    }

    /// The running subscription is live.
    pub fn subscription_ready(&mut self) {
        if let Some((id, key)) = self.take_running_sub() {
            self.send(encode::ready(&id));
            self.live.insert(id, key);
        }
    }

    /// The running subscription is refused, or has ended by itself where there is no error.
    pub fn subscription_failed(&mut self, error: Option<&ddp::Error>) {
        if let Some((id, _)) = self.take_running_sub() {
            self.send(encode::nosub(&id, error));
        }
    }

    /// A live subscription is over without the client's doing: silently where `None`, else with a `nosub`.
    pub fn subscription_ended(&mut self, sub: SubKey, error: Option<Option<ddp::Error>>) {
        let Some(id) = self.live.remove_key(sub) else {
            return;
        };
        self.subscription_over();
        if let Some(error) = error {
            self.send(encode::nosub(&id, error.as_ref()));
        }
    }

    /// Queues an `added`, `changed` or `removed` made by [`ddp::encode`].
    pub fn document(&mut self, message: String) {
        if self.stage == Stage::Connected {
            self.send(message);
        }
    }

    /// The client is logged in: more may wait, and the login deadline is off.
    pub fn logged_in(&mut self, _now: Instant) {
        self.is_logged_in = true;
    }

    /// The client is anonymous again, and has as long as a new one to log in.
    pub fn logged_out(&mut self, now: Instant) {
        self.is_logged_in = false;
        self.timers.lingering_since = Some(now);
    }

    /// The driver ends the connection: what waits is dropped, what is queued can still be polled.
    ///
    /// Between a `method_result` and the next `poll_event` it comes before the next call starts, as `logout` needs it.
    pub fn close(&mut self) {
        self.stage = Stage::Closed;
        self.running = None;
        self.waiting = Waiting::default();
        self.live = Live::default();
    }

    /// The next thing to be done by the driver; the queue of calls goes on here.
    pub fn poll_event(&mut self) -> Option<Event> {
        if self.events.is_empty() {
            self.advance();
        }
        let event = self.events.pop_front();
        if self.events.is_empty() {
            self.events = VecDeque::new();
        }
        event
    }

    /// Moves the next message into `out` as a finished frame; `false` when there is none.
    ///
    /// All of them are replies, which an outbox never refuses: whoever asks much and reads nothing is found by the
    /// outbox' size and age.
    pub fn poll_frame(&mut self, out: &mut Outbox, now: Instant) -> bool {
        self.timers.lingering_since.get_or_insert(now);
        let Some(next) = self.frames.pop_front() else {
            return false;
        };
        if self.frames.is_empty() {
            self.frames = VecDeque::new();
        }
        let (frame, counted) = match next {
            Outgoing::Open => (Bytes::from_static(sockjs::OPEN_FRAME), false),
            Outgoing::Counted(message) => (self.framing.frame(&message), true),
            Outgoing::Uncounted(message) => (self.framing.frame(&message), false),
        };
        let pushed = out.push(Frame::Shared(frame), Class::Reply, counted, now);
        debug_assert_eq!(pushed, Pushed::Queued, "an outbox takes every reply");
        true
    }

    /// When `handle_timeout` is due at the latest.
    pub fn poll_timeout(&self) -> Instant {
        self.timers.next(self.awaited(), &self.limits).0
    }

    /// How messages travel.
    pub fn framing(&self) -> Framing {
        self.framing
    }

    /// Whether a version has been agreed on and the session has not ended.
    pub fn is_connected(&self) -> bool {
        self.stage == Stage::Connected
    }

    /// How many subscriptions are live.
    pub fn subscriptions(&self) -> usize {
        self.live.len()
    }

    /// Bytes held for the calls that wait, about.
    pub fn waiting_bytes(&self) -> usize {
        self.waiting.bytes() + self.waiting.len() * size_of::<Call>()
    }

    /// The secret that `connected` names.
    pub fn id(&self) -> &str {
        &self.id
    }

    fn read_frame(&mut self, payload: &str) -> Result<(), CloseReason> {
        // The text decides, not the framing (gateway.md 1.4), but only SockJS knows messages that are none.
        let mut is_empty = true;
        for message in sockjs::decode_batch(payload, self.limits.pending_messages + 1)? {
            is_empty = false;
            self.handle_message(&message)?;
        }
        if is_empty && self.framing == Framing::Raw {
            return Err(CloseReason::UnsupportedData);
        }
        Ok(())
    }

    fn handle_message(&mut self, text: &str) -> Result<(), CloseReason> {
        let message = decode::decode(text, &self.limits);
        if self.stage == Stage::Opening {
            return match message {
                Ok(ClientMessage::Connect {
                    version,
                    support,
                    has_session,
                    has_count,
                }) => {
                    self.connect(version.as_deref(), support.as_deref())?;
                    self.events.push_back(Event::Connected {
                        has_session,
                        has_count,
                    });
                    Ok(())
                }
                Ok(_) | Err(CloseReason::MalformedMessage | CloseReason::IdTooLong) => {
                    Err(CloseReason::NotConnectFirst)
                }
                Err(reason) => Err(reason),
            };
        }
        let call = match message? {
            ClientMessage::Method { id, name, params } => Call::Method {
                id: id.into(),
                name: name.into_owned(),
                params: params.map(copy),
            },
            ClientMessage::Sub { id, name, params } => Call::Sub {
                id: id.into(),
                name: name.into_owned(),
                params: params.map(copy),
            },
            ClientMessage::Unsub { id } => Call::Unsub { id: id.into() },
            ClientMessage::Ping { id } => {
                self.frames.push_back(Outgoing::Uncounted(encode::pong(id)));
                return Ok(());
            }
            ClientMessage::Disconnect => return Err(CloseReason::Disconnect),
            ClientMessage::Connect { .. } | ClientMessage::Pong | ClientMessage::Other => {
                return Ok(());
            }
        };
        self.enqueue(call, text.len());
        let limits = &self.limits;
        let bytes_max = if self.is_logged_in {
            limits.pending_bytes
        } else {
            limits.pending_bytes_before_login
        };
        if self.waiting.len() > limits.pending_messages || self.waiting.bytes() > bytes_max {
            return Err(CloseReason::TooManyPending);
        }
        Ok(())
    }

    fn connect(
        &mut self,
        version: Option<&str>,
        support: Option<&[Cow<'_, str>]>,
    ) -> Result<(), CloseReason> {
        match version::negotiate(version, support) {
            Ok(()) => {
                self.stage = Stage::Connected;
                self.send(encode::connected(&self.id));
                Ok(())
            }
            Err(best) => {
                self.send(encode::failed(best));
                Err(CloseReason::VersionRefused)
            }
        }
    }

    fn send(&mut self, message: String) {
        self.frames.push_back(Outgoing::Counted(message));
    }

    fn awaited(&self) -> Awaited {
        match self.stage {
            Stage::Opening => Awaited::Connect,
            Stage::Connected if !self.is_logged_in && self.live.is_empty() => Awaited::Login,
            Stage::Connected => Awaited::Message,
            Stage::Closed => Awaited::Nothing,
        }
    }
}

fn copy(raw: &str) -> Bytes {
    Bytes::copy_from_slice(raw.as_bytes())
}

/// Without the id, which is a secret, and without what travels.
impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("framing", &self.framing)
            .field("stage", &self.stage)
            .field("is_logged_in", &self.is_logged_in)
            .field("waiting", &self.waiting.len())
            .field("live", &self.live.len())
            .finish_non_exhaustive()
    }
}

/// Without `msg`, so that no client counts it (resumption.md 1.5).
const GREETING: &str = r#"{"server_id":"0"}"#;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_session_is_small_and_keeps_no_empty_queue() {
        assert!(
            size_of::<Session>() <= 272,
            "{} bytes",
            size_of::<Session>()
        );
        #[expect(
            clippy::disallowed_methods,
            reason = "virtual time has to start somewhere"
        )]
        let now = Instant::now();
        let mut session = Session::new("id".to_owned(), Framing::Raw, Arc::default(), now);
        let mut out = Outbox::new(1_000);
        for message in [
            r#"{"msg":"connect","version":"1","support":["1"]}"#,
            r#"{"msg":"method","method":"a","id":"1"}"#,
            r#"{"msg":"unsub","id":"1"}"#,
        ] {
            session.handle_frame(message, now).unwrap();
            while session.poll_event().is_some() {}
        }
        session.method_result(Ok(None));
        while session.poll_event().is_some() {}
        while session.poll_frame(&mut out, now) {}
        assert_eq!(
            (session.events.capacity(), session.frames.capacity()),
            (0, 0)
        );
        assert_eq!(
            (
                session.waiting.len(),
                session.waiting.bytes(),
                session.waiting.is_empty()
            ),
            (0, 0, true)
        );
    }

    #[test]
    fn heartbeats_and_the_greeting_do_not_count_for_resumption() {
        #[expect(
            clippy::disallowed_methods,
            reason = "virtual time has to start somewhere"
        )]
        let now = Instant::now();
        let mut session = Session::new("id".to_owned(), Framing::SockJs, Arc::default(), now);
        let mut out = Outbox::new(1_000);
        let connect = r#"{"msg":"connect","version":"1","support":["1"]}"#;
        for message in [connect, r#"{"msg":"ping"}"#, r#"{"msg":"unsub","id":"1"}"#] {
            session.handle_frame(message, now).unwrap();
        }
        session.handle_timeout(session.poll_timeout()).unwrap();
        while session.poll_frame(&mut out, now) {}
        assert_eq!(out.frames(), 6);
        out.advance(out.bytes());
        assert_eq!(out.counted_sent(), 2);
    }
}
