//! How far a hub has come, and when that is worth writing down.

use std::{
    future::pending,
    time::{Duration, Instant},
};

use store::Token;
use tokio::task::JoinHandle;

/// How far one hub has come.
pub(super) struct Progress {
    /// Everything before it has been sent; a stream goes on behind it.
    pub(super) sent: Option<Token>,
    /// What the database knows.
    saved: Option<Token>,
    /// Events sent since the last checkpoint was begun.
    unsaved: usize,
    begun: Instant,
    writing: Option<Writing>,
    /// The log holds an event that is too large to be read as it is.
    pub(super) is_blocked: bool,
    /// Changes were missed, and nobody has been told yet: the name of that gap.
    pub(super) gap: Option<String>,
}

/// A checkpoint under way.
struct Writing {
    token: Token,
    events: usize,
    task: JoinHandle<Written>,
}

/// What came of a checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Written {
    Kept,
    /// The database did not take it. It is tried again after a while: it is the next hub that would have to say more again.
    NotNow,
    /// The hub of a later term has written.
    TooLate,
    /// What it would have kept has not reached the bus.
    Unsent,
}

impl Progress {
    pub(super) fn new(token: Option<Token>) -> Self {
        Self {
            sent: token.clone(),
            saved: token,
            unsaved: 0,
            begun: Instant::now(),
            writing: None,
            is_blocked: false,
            gap: None,
        }
    }

    pub(super) fn advance(&mut self, token: Token, events: usize) {
        self.sent = Some(token);
        self.unsaved += events;
    }

    /// Begins a checkpoint, if there is something to write and none is under way.
    pub(super) fn begin<F>(&mut self, write: impl FnOnce(Token) -> F)
    where
        F: Future<Output = Written> + Send + 'static,
    {
        let Some(token) = self.sent.clone().filter(|_| self.writing.is_none()) else {
            return;
        };
        let task = tokio::spawn(write(token.clone()));
        self.begun = Instant::now();
        let events = std::mem::take(&mut self.unsaved);
        self.writing = Some(Writing {
            token,
            events,
            task,
        });
    }

    /// Waits for the end of the checkpoint under way, and for ever if there is none. May be dropped and asked again.
    pub(super) async fn written(&mut self) -> Written {
        let Some(Writing {
            token,
            events,
            task,
        }) = &mut self.writing
        else {
            return pending().await;
        };
        // A task that ends by itself has written nothing.
        let outcome = task.await.unwrap_or(Written::NotNow);
        match outcome {
            Written::Kept => self.saved = Some(token.clone()),
            _ => self.unsaved += *events,
        }
        self.writing = None;
        outcome
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

    pub(super) fn is_writing(&self) -> bool {
        self.writing.is_some()
    }

    /// Whether so much has been sent that no more may be before the checkpoint under way is written.
    pub(super) fn is_far(&self) -> bool {
        let under_way = self.writing.as_ref().map(|writing| writing.events);
        under_way.is_some_and(|events| events + self.unsaved >= CHECKPOINT_EVENTS)
    }

    /// How long until the next checkpoint should be begun, if nothing more is sent.
    pub(super) fn due_in(&self) -> Duration {
        let every = match self.unsaved {
            CHECKPOINT_EVENTS.. => Duration::ZERO,
            1.. => CHECKPOINT_EVERY,
            // A quiet database moves on too: its log must not outlive our place in it.
            0 => IDLE_CHECKPOINT_EVERY,
        };
        every.saturating_sub(self.begun.elapsed())
    }
}

/// A hub that takes over repeats at most what was sent between two checkpoints.
const CHECKPOINT_EVERY: Duration = Duration::from_millis(200);
const CHECKPOINT_EVENTS: usize = 500;
const IDLE_CHECKPOINT_EVERY: Duration = Duration::from_secs(10);
