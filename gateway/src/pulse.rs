//! The watchdog's question to one thread.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use tokio::sync::Notify;

/// One thread's side of the watchdog: a question, and the last one answered.
pub(crate) struct Pulse {
    asked: Notify,
    /// Milliseconds since `started`: when the open question was asked, and when the last answer came.
    question: AtomicU64,
    answered: AtomicU64,
    started: Instant,
}

impl Pulse {
    pub(crate) fn new() -> Self {
        Self {
            asked: Notify::new(),
            question: AtomicU64::new(0),
            answered: AtomicU64::new(0),
            started: Instant::now(),
        }
    }

    /// How long the open question has been waiting; zero where none is.
    pub(crate) fn lag(&self) -> Duration {
        let question = self.question.load(Ordering::Relaxed);
        if self.answered.load(Ordering::Relaxed) >= question {
            return Duration::ZERO;
        }
        self.started
            .elapsed()
            .saturating_sub(Duration::from_millis(question))
    }

    pub(crate) fn ask(&self) {
        self.question.store(self.now(), Ordering::Relaxed);
        self.asked.notify_one();
    }

    /// Waits for the next question, and answers it.
    pub(crate) async fn answer(&self) {
        self.asked.notified().await;
        self.answered.store(self.now(), Ordering::Relaxed);
    }

    fn now(&self) -> u64 {
        // The first millisecond is 1: 0 is "never".
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX) + 1
    }
}
