//! The connections of a workspace without a licence for more: above them nobody is told who is online (services.md 4.8).
//! Pure; what must be written follows from the answers.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

/// Licence modules that lift the limit.
pub(super) const MODULES: [&str; 2] = ["scalability", "unlimited-presence"];

/// Counts, licence, and whether anybody is told anything.
pub(super) struct Cap {
    max: u32,
    /// Sockets by instance, and when an event has told them last.
    counts: HashMap<String, (u32, Option<Instant>)>,
    peak: u32,
    licensed: [bool; 2],
    /// `Presence_broadcast_disabled`: the limit was exceeded.
    is_disabled: bool,
    /// `Troubleshoot_Disable_Presence_Broadcast`, or `toggleBroadcast(false)`.
    is_muted: bool,
}

impl Cap {
    /// Nothing is known yet; `max` is what a workspace without one of [`MODULES`] may have.
    pub(super) fn new(max: u32) -> Self {
        Self {
            max,
            counts: HashMap::new(),
            peak: 0,
            licensed: [false; 2],
            is_disabled: false,
            is_muted: false,
        }
    }

    pub(super) fn max(&self) -> u32 {
        self.max
    }

    /// All instances that are alive by their documents, with their sockets. What an event has told of another one
    /// counts for a while: its document may be about to be written.
    pub(super) fn count_all(&mut self, counts: impl Iterator<Item = (String, u32)>, now: Instant) {
        let is_fresh = |heard: &Option<Instant>| {
            heard.is_some_and(|heard| now.duration_since(heard) < HEARD_FOR)
        };
        self.counts.retain(|_, (_, heard)| is_fresh(heard));
        for (instance, sockets) in counts {
            self.counts.insert(instance, (sockets, None));
        }
        self.peak = self.peak.max(self.current());
    }

    /// What an event tells of one instance.
    pub(super) fn count(&mut self, instance: &str, sockets: u32, now: Instant) {
        self.counts
            .insert(instance.to_owned(), (sockets, Some(now)));
        self.peak = self.peak.max(self.current());
    }

    pub(super) fn forget(&mut self, instance: &str) {
        self.counts.remove(instance);
    }

    pub(super) fn current(&self) -> u32 {
        self.counts
            .values()
            .fold(0, |sum, (count, _)| sum.saturating_add(*count))
    }

    /// The most there were at a time; `reset`: from now on.
    pub(super) fn peak(&mut self, reset: bool) -> u32 {
        let peak = self.peak;
        if reset {
            self.peak = 0;
        }
        peak
    }

    pub(super) fn set_licensed(&mut self, module: &str, valid: bool) {
        for (known, licensed) in MODULES.into_iter().zip(&mut self.licensed) {
            if known == module {
                *licensed = valid;
            }
        }
    }

    /// Whether the licence covers one of [`MODULES`], as far as is known.
    pub(super) fn is_licensed(&self, module: &str) -> bool {
        let known = MODULES.into_iter().zip(self.licensed);
        known
            .into_iter()
            .any(|(known, licensed)| licensed && known == module)
    }

    pub(super) fn is_exceeded(&self) -> bool {
        !self.licensed.contains(&true) && self.current() > self.max
    }

    /// What the setting `Presence_broadcast_disabled` must become, given the licence and the counts: it is never taken
    /// back because the counts fall.
    pub(super) fn verdict(&mut self) -> Option<bool> {
        let is_licensed = self.licensed.contains(&true);
        let disabled = self.is_exceeded() || (self.is_disabled && !is_licensed);
        (disabled != self.is_disabled).then(|| {
            self.is_disabled = disabled;
            disabled
        })
    }

    /// `toggleBroadcast`; true if the setting must become false, `Err` if the limit forbids it.
    pub(super) fn toggle(&mut self, enable: bool) -> Result<bool, ()> {
        if enable && self.is_exceeded() {
            return Err(());
        }
        self.is_muted = !enable;
        self.is_disabled &= !enable;
        Ok(enable)
    }

    /// What the two settings say, which every instance follows.
    pub(super) fn set_disabled(&mut self, is_disabled: bool) {
        self.is_disabled = is_disabled;
    }

    pub(super) fn set_muted(&mut self, is_muted: bool) {
        self.is_muted = is_muted;
    }

    pub(super) fn tells(&self) -> bool {
        !self.is_disabled && !self.is_muted
    }
}

/// Longer than an instance without a document lives.
const HEARD_FOR: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    fn cap(counts: &[u32]) -> Cap {
        let mut cap = Cap::new(200);
        for (number, count) in counts.iter().enumerate() {
            cap.count(&number.to_string(), *count, Instant::now());
        }
        cap
    }

    #[test]
    fn two_hundred_are_told_of_and_one_more_is_not() {
        let mut cap = cap(&[150, 50]);
        assert_eq!((cap.verdict(), cap.tells()), (None, true));
        cap.count("1", 51, Instant::now());
        assert_eq!((cap.verdict(), cap.tells()), (Some(true), false));
        assert_eq!(cap.verdict(), None, "it is written once");
    }

    #[test]
    fn what_events_tell_of_instances_without_a_document_counts_for_a_minute() {
        let (mut cap, now) = (Cap::new(200), Instant::now());
        cap.count("heard", 150, now);
        cap.count("both", 51, now);
        let seen = || [("both".to_owned(), 50)].into_iter();
        cap.count_all(seen(), now);
        assert_eq!(cap.current(), 200);
        cap.count_all(seen(), now + HEARD_FOR);
        assert_eq!(cap.current(), 50);
        cap.count_all(std::iter::empty(), now + HEARD_FOR);
        assert_eq!(cap.current(), 0);
    }

    #[test]
    fn fewer_connections_bring_nothing_back_and_a_licence_does() {
        let mut cap = cap(&[201]);
        cap.verdict();
        cap.forget("0");
        assert_eq!((cap.verdict(), cap.tells()), (None, false));
        cap.count("0", 500, Instant::now());
        cap.set_licensed("scalability", true);
        assert_eq!((cap.verdict(), cap.tells()), (Some(false), true));
        cap.set_licensed("scalability", false);
        assert_eq!((cap.verdict(), cap.tells()), (Some(true), false));
        cap.set_licensed("engagement-dashboard", true);
        assert!(!cap.tells());
    }

    #[test]
    fn broadcasts_are_switched_on_only_below_the_limit() {
        let mut cap = cap(&[201]);
        cap.verdict();
        assert_eq!(cap.toggle(true), Err(()));
        cap.count("0", 200, Instant::now());
        assert_eq!((cap.toggle(true), cap.tells()), (Ok(true), true));
        assert_eq!((cap.toggle(false), cap.tells()), (Ok(false), false));
    }

    #[test]
    fn the_peak_outlives_the_connections_until_it_is_reset() {
        let mut cap = cap(&[10, 20]);
        cap.forget("1");
        assert_eq!((cap.current(), cap.peak(false)), (10, 30));
        assert_eq!((cap.peak(true), cap.peak(false)), (30, 0));
        cap.count("2", 1, Instant::now());
        assert_eq!(cap.peak(false), 11);
    }
}
