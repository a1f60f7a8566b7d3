use std::time::{Duration, Instant};

use crate::limits::Limits;

/// `Event::Activity` comes at most this often: the presence reaper's threshold is ten times as long (gateway.md 1.6).
const ACTIVITY_INTERVAL: Duration = Duration::from_secs(30);

/// Longer than the end of a connection can take.
const FOR_EVER: Duration = Duration::from_secs(24 * 60 * 60);

/// What has been heard from a client, and when; what is due follows from it.
#[derive(Debug)]
pub(super) struct Timers {
    /// When the client last had a reason to be here without a login: the opening, the end of its last subscription, a
    /// logout. `None` until the next call that knows the time.
    pub(super) lingering_since: Option<Instant>,
    heard: Instant,
    pinged: Option<Instant>,
    active: Option<Instant>,
}

/// What a deadline runs for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Awaited {
    Connect,
    Login,
    /// Nothing but a sign of life.
    Message,
    /// It is over.
    Nothing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    Ping,
    IdleClose,
    ConnectDeadline,
    LoginDeadline,
}

impl Timers {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            lingering_since: Some(now),
            heard: now,
            pinged: None,
            active: None,
        }
    }

    /// Any message at all, valid or not, shows that the client lives.
    pub(super) fn heard(&mut self, now: Instant) {
        self.heard = now;
        self.pinged = None;
    }

    pub(super) fn pinged(&mut self, now: Instant) {
        self.pinged = Some(now);
    }

    /// Whether this message is the first for 30 s that counts as activity; remembers that it was told.
    pub(super) fn is_active_again(&mut self, now: Instant) -> bool {
        let told = self
            .active
            .is_some_and(|active| now.duration_since(active) < ACTIVITY_INTERVAL);
        if !told {
            self.active = Some(now);
        }
        !told
    }

    /// The next thing to do, and when. Of two at the same time the heartbeat's comes first (design.md 6).
    pub(super) fn next(&self, awaited: Awaited, limits: &Limits) -> (Instant, Due) {
        let heartbeat = match self.pinged {
            _ if awaited == Awaited::Nothing => (self.heard + FOR_EVER, Due::IdleClose),
            None => (self.heard + limits.ping_after, Due::Ping),
            Some(pinged) => (pinged + limits.close_after_ping, Due::IdleClose),
        };
        let deadline = self.lingering_since.and_then(|since| match awaited {
            Awaited::Connect => Some((since + limits.connect_deadline, Due::ConnectDeadline)),
            Awaited::Login => Some((since + limits.login_deadline, Due::LoginDeadline)),
            Awaited::Message | Awaited::Nothing => None,
        });
        deadline
            .filter(|deadline| deadline.0 < heartbeat.0)
            .unwrap_or(heartbeat)
    }
}
