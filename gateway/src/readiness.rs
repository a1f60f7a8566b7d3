//! Whether this gateway should get traffic, and why not (design.md 5).

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::Relaxed},
};

/// What readiness rests on; cheap to clone, shared by all threads.
#[derive(Clone, Debug, Default)]
pub struct Readiness(Arc<State>);

#[derive(Debug, Default)]
struct State {
    bus: AtomicBool,
    announced: AtomicBool,
    store: AtomicBool,
    monolith: AtomicBool,
    draining: AtomicBool,
}

impl Readiness {
    /// Whether `/readyz` says yes.
    pub fn is_ready(&self) -> bool {
        self.reasons().is_empty()
    }

    /// What is missing, in the words of `/readyz`; empty when ready.
    pub fn reasons(&self) -> Vec<&'static str> {
        let state = &*self.0;
        let missing = [
            (!state.bus.load(Relaxed), "the bus is not connected"),
            (
                !state.announced.load(Relaxed),
                "our services are not announced",
            ),
            (!state.store.load(Relaxed), "the store is not reachable"),
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
        format!(
            "{{\"ready\":{},\"reasons\":[{}]}}",
            reasons.is_empty(),
            reasons.join(",")
        )
    }

    pub(crate) fn set_bus(&self, connected: bool) {
        self.0.bus.store(connected, Relaxed);
    }

    pub(crate) fn set_announced(&self, announced: bool) {
        self.0.announced.store(announced, Relaxed);
    }

    pub(crate) fn set_store(&self, reachable: bool) {
        self.0.store.store(reachable, Relaxed);
    }

    pub(crate) fn set_monolith(&self, seen: bool) {
        self.0.monolith.store(seen, Relaxed);
    }

    /// No traffic any more, for good.
    pub(crate) fn drain(&self) {
        self.0.draining.store(true, Relaxed);
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.0.draining.load(Relaxed)
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
        readiness.set_store(true);
        assert_eq!(
            readiness.to_json(),
            r#"{"ready":false,"reasons":["no monolith has been seen"]}"#
        );
        readiness.set_monolith(true);
        assert!(readiness.is_ready());
        readiness.drain();
        assert_eq!(readiness.reasons(), ["draining"]);
    }
}
