//! How far a hub has come, and when that is worth writing down.

use std::time::{Duration, Instant};

use store::Token;

/// How far one hub has come.
pub(super) struct Progress {
    /// Everything before it has been sent; a stream goes on behind it.
    pub(super) sent: Option<Token>,
    /// What the database knows.
    saved: Option<Token>,
    saved_at: Instant,
    /// Events sent since then.
    unsaved: usize,
    /// The log holds an event that is too large to be read as it is.
    pub(super) is_blocked: bool,
    /// Changes were missed, and nobody has been told yet: the name of that gap.
    pub(super) gap: Option<String>,
}

impl Progress {
    pub(super) fn new(token: Option<Token>) -> Self {
        Self {
            sent: token.clone(),
            saved: token,
            saved_at: Instant::now(),
            unsaved: 0,
            is_blocked: false,
            gap: None,
        }
    }

    pub(super) fn advance(&mut self, token: Token, events: usize) {
        self.sent = Some(token);
        self.unsaved += events;
    }

    pub(super) fn save(&mut self, token: Token) {
        self.saved = Some(token);
        self.saved_at = Instant::now();
        self.unsaved = 0;
    }

    /// Not now: it is tried again after a while.
    pub(super) fn put_off(&mut self) {
        self.saved_at = Instant::now();
    }

    /// Begins again from now.
    pub(super) fn lose(&mut self, gap: String) {
        self.sent = None;
        self.is_blocked = false;
        self.gap = Some(gap);
    }

    pub(super) fn is_dirty(&self) -> bool {
        self.sent != self.saved
    }

    pub(super) fn is_due(&self) -> bool {
        let since = self.saved_at.elapsed();
        self.unsaved >= CHECKPOINT_EVENTS
            || (self.unsaved > 0 && since >= CHECKPOINT_EVERY)
            // A quiet database moves on too: its log must not outlive our place in it.
            || (since >= IDLE_CHECKPOINT_EVERY && self.is_dirty())
    }

    /// How long to wait for more before the next checkpoint.
    pub(super) fn patience(&self) -> Duration {
        match self.unsaved {
            0 => AWAIT,
            _ => CHECKPOINT_EVERY.saturating_sub(self.saved_at.elapsed()),
        }
    }
}

/// A hub that takes over repeats at most what was sent between two checkpoints.
const CHECKPOINT_EVERY: Duration = Duration::from_millis(200);
const CHECKPOINT_EVENTS: usize = 500;
const IDLE_CHECKPOINT_EVERY: Duration = Duration::from_secs(10);
/// How long the server holds a question for changes back while there are none.
const AWAIT: Duration = Duration::from_secs(1);
