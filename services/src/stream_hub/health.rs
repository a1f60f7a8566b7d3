//! What readiness says about the hub.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

/// A handle on the hub's state: the hub writes it, the health server reads it.
#[derive(Clone)]
pub struct Health {
    state: Arc<Mutex<(State, Instant)>>,
}

/// What the hub does now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Waits for the bus or for the database.
    Starting,
    /// Has nothing to do here.
    Idle,
    /// Another hub works.
    Standby,
    /// This hub works.
    Leader,
}

/// One answer to a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    /// Whether it does what it should.
    pub ready: bool,
    /// `starting`, `idle`, `standby` or `leader`.
    pub state: &'static str,
}

impl Health {
    /// Of a hub that has not started yet.
    pub fn new() -> Self {
        Self {
            state: Arc::new(Mutex::new((State::Starting, Instant::now()))),
        }
    }

    /// As it is now. It does not depend on traffic: a quiet database answers too.
    pub fn report(&self) -> Report {
        let (state, since) = *self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let is_fresh = since.elapsed() < SILENCE_MAX;
        let (ready, state) = match state {
            State::Starting => (false, "starting"),
            State::Idle => (true, "idle"),
            State::Standby => (is_fresh, "standby"),
            State::Leader => (is_fresh, "leader"),
        };
        Report { ready, state }
    }

    /// The database has just answered to a hub in this state.
    pub(super) fn set(&self, state: State) {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = (state, Instant::now());
    }
}

impl Default for Health {
    fn default() -> Self {
        Self::new()
    }
}

/// Without an answer of the database for so long a working hub counts as deaf (services.md 5.10).
const SILENCE_MAX: Duration = Duration::from_secs(30);
