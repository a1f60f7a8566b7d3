//! Whether this gateway should get traffic, and why not (design.md 5).

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

/// A store that has answered nobody for so long is not reachable. One question that came too late says nothing: others are
/// answered meanwhile, one a second at least (`handlers/instance.rs`).
const SILENCE_MAX: Duration = Duration::from_secs(4);

/// What readiness rests on; cheap to clone, shared by all threads.
#[derive(Clone, Debug, Default)]
pub struct Readiness(Arc<State>);

#[derive(Debug)]
struct State {
    start: Instant,
    bus: AtomicBool,
    announced: AtomicBool,
    /// The store's last answer, in ms since the start; 0: none yet.
    answered: AtomicU64,
    monolith: AtomicBool,
    draining: AtomicBool,
    closed: AtomicBool,
    /// Why everybody is being closed and will be.
    resync: Mutex<(Option<&'static str>, Option<&'static str>)>,
}

impl Default for State {
    fn default() -> Self {
        Self {
            start: Instant::now(),
            bus: false.into(),
            announced: false.into(),
            answered: 0.into(),
            monolith: false.into(),
            draining: false.into(),
            closed: false.into(),
            resync: Mutex::default(),
        }
    }
}

impl State {
    fn has_store(&self, now: Instant) -> bool {
        let answered = self.answered.load(Relaxed);
        let at = self.start + Duration::from_millis(answered);
        answered != 0 && now.saturating_duration_since(at) < SILENCE_MAX
    }
}

impl Readiness {
    /// Whether `/readyz` says yes.
    pub fn is_ready(&self) -> bool {
        self.reasons().is_empty()
    }

    /// What is missing, in the words of `/readyz`; empty when ready.
    pub fn reasons(&self) -> Vec<&'static str> {
        self.reasons_at(Instant::now())
    }

    fn reasons_at(&self, now: Instant) -> Vec<&'static str> {
        let state = &*self.0;
        let missing = [
            (!state.bus.load(Relaxed), "the bus is not connected"),
            (
                !state.announced.load(Relaxed),
                "our services are not announced",
            ),
            (!state.has_store(now), "the store is not reachable"),
            (!state.monolith.load(Relaxed), "no monolith has been seen"),
            (state.draining.load(Relaxed), "draining"),
        ];
        missing
            .into_iter()
            .filter_map(|(missing, reason)| missing.then_some(reason))
            .collect()
    }

    /// The body of `/readyz`.
    pub fn to_json(&self) -> String {
        let reasons: Vec<String> = self
            .reasons()
            .iter()
            .map(|reason| format!("\"{reason}\""))
            .collect();
        let mut text = format!(
            "{{\"ready\":{},\"reasons\":[{}]",
            reasons.is_empty(),
            reasons.join(",")
        );
        // No reason to send nobody here: whoever is closed must come back somewhere.
        let (running, waiting) = *self.resync();
        for (name, cause) in [("resync", running), ("resyncNext", waiting)] {
            if let Some(cause) = cause {
                text.push_str(&format!(",\"{name}\":\"{cause}\""));
            }
        }
        text.push('}');
        text
    }

    /// Why a resync of everybody runs, and why one waits.
    pub(crate) fn set_resync(&self, running: Option<&'static str>, waiting: Option<&'static str>) {
        *self.resync() = (running, waiting);
    }

    fn resync(&self) -> MutexGuard<'_, (Option<&'static str>, Option<&'static str>)> {
        self.0.resync.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set_bus(&self, connected: bool) {
        self.0.bus.store(connected, Relaxed);
    }

    pub(crate) fn set_announced(&self, announced: bool) {
        self.0.announced.store(announced, Relaxed);
    }

    /// The store has answered a question.
    pub(crate) fn store_answered(&self) {
        self.store_answered_at(Instant::now());
    }

    fn store_answered_at(&self, now: Instant) {
        let since = now.saturating_duration_since(self.0.start).as_millis();
        self.0.answered.store((since as u64).max(1), Relaxed);
    }

    pub(crate) fn set_monolith(&self, seen: bool) {
        self.0.monolith.store(seen, Relaxed);
    }

    /// No traffic any more, for good: proxies shall look elsewhere; who comes all the same is still let in.
    pub(crate) fn drain(&self) {
        self.0.draining.store(true, Relaxed);
    }

    /// Nobody new is let in any more.
    pub(crate) fn close(&self) {
        self.0.closed.store(true, Relaxed);
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.0.closed.load(Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_missing_part_is_a_reason() {
        let readiness = Readiness::default();
        assert_eq!(readiness.reasons().len(), 4);
        readiness.set_bus(true);
        readiness.set_announced(true);
        readiness.store_answered();
        assert_eq!(
            readiness.to_json(),
            r#"{"ready":false,"reasons":["no monolith has been seen"]}"#
        );
        readiness.set_monolith(true);
        readiness.store_answered();
        assert!(readiness.is_ready());
        readiness.set_resync(Some("stall"), None);
        assert_eq!(
            readiness.to_json(),
            r#"{"ready":true,"reasons":[],"resync":"stall"}"#
        );
        readiness.drain();
        assert_eq!(readiness.reasons(), ["draining"]);
    }

    #[test]
    fn one_late_answer_of_the_store_says_nothing_and_five_seconds_of_silence_do() {
        let readiness = Readiness::default();
        let missing = "the store is not reachable";
        let start = readiness.0.start;
        let after = |seconds| start + Duration::from_secs(seconds);
        assert!(readiness.reasons_at(start).contains(&missing));
        readiness.store_answered_at(after(1));
        assert!(!readiness.reasons_at(after(3)).contains(&missing));
        readiness.store_answered_at(after(3));
        assert!(!readiness.reasons_at(after(6)).contains(&missing));
        assert!(readiness.reasons_at(after(8)).contains(&missing));
    }
}
