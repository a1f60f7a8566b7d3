//! Facts that were read lately, each kept until an event says that it has changed.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use hashbrown::HashMap;

/// A fact is not used for longer than this, in case an event got lost where nobody noticed.
const KEEP: Duration = Duration::from_secs(60);

/// Facts of one kind; more are read each time.
const ENTRIES_MAX: usize = 100_000;

/// Old facts are cleared out when there are so many: twice what was still fresh the last time.
const CLEAR_AT_MIN: usize = 1_024;

/// Time between two clearings, however much is asked.
const PAUSE: Duration = Duration::from_secs(1);

/// Facts of one kind by id.
pub(crate) struct Known<V> {
    /// What it is called in metrics.
    pub(crate) name: &'static str,
    entries: HashMap<Arc<str>, Entry<V>>,
    clear_at: usize,
    cleared: Option<Instant>,
    /// Counts the questions.
    asked: u64,
}

/// One question to the store; an event about its subject makes its answer worthless.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Asked(u64);

struct Entry<V> {
    asked: Asked,
    at: Instant,
    /// `None`: the question is under way.
    value: Option<V>,
}

/// What is known of one subject.
pub(crate) enum Fact<V> {
    Known(V),
    /// Somebody has asked already and nothing has happened since.
    Asked(Asked),
    Unknown,
}

impl<V: Clone> Known<V> {
    pub(crate) fn new(name: &'static str) -> Self {
        Self {
            name,
            entries: HashMap::new(),
            clear_at: CLEAR_AT_MIN,
            cleared: None,
            asked: 0,
        }
    }

    pub(crate) fn get(&self, id: &str, now: Instant) -> Fact<V> {
        match self.entries.get(id) {
            Some(Entry {
                value: None, asked, ..
            }) => Fact::Asked(*asked),
            Some(Entry {
                value: Some(value),
                at,
                ..
            }) if now < *at + KEEP => Fact::Known(value.clone()),
            _ => Fact::Unknown,
        }
    }

    /// A question about `id` begins.
    pub(crate) fn ask(&mut self, id: &Arc<str>, now: Instant) -> Asked {
        self.asked += 1;
        let asked = Asked(self.asked);
        if self.entries.len() >= self.clear_at && self.cleared.is_none_or(|at| now >= at + PAUSE) {
            // A question that old is not under way any more: whoever asked it has gone.
            self.entries.retain(|_, entry| now < entry.at + KEEP);
            self.clear_at = (self.entries.len() * 2).clamp(CLEAR_AT_MIN, ENTRIES_MAX);
            self.cleared = Some(now);
        }
        if self.entries.len() < ENTRIES_MAX {
            let entry = Entry {
                asked,
                at: now,
                value: None,
            };
            self.entries.insert(id.clone(), entry);
        }
        asked
    }

    /// Its answer; `None`: it failed. Kept only if nothing has happened to `id` since it was asked.
    pub(crate) fn learn(&mut self, id: &str, asked: Asked, value: Option<V>) {
        let Some(entry) = self
            .entries
            .get_mut(id)
            .filter(|entry| entry.asked == asked)
        else {
            return;
        };
        match value {
            Some(value) => entry.value = Some(value),
            None => {
                self.entries.remove(id);
            }
        }
    }

    /// Something has happened to `id`.
    pub(crate) fn forget(&mut self, id: &str) {
        self.entries.remove(id);
    }

    pub(crate) fn forget_all(&mut self) {
        self.entries.clear();
    }

    /// Facts that are known or asked for.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_an_event_has_overtaken_is_not_kept() {
        let (mut known, now) = (Known::new("test"), Instant::now());
        let id: Arc<str> = "r1".into();
        let asked = known.ask(&id, now);
        known.forget(&id);
        known.learn(&id, asked, Some(1));
        assert!(matches!(known.get(&id, now), Fact::Unknown));
        let again = known.ask(&id, now);
        known.learn(&id, asked, Some(1));
        assert!(matches!(known.get(&id, now), Fact::Asked(_)));
        known.learn(&id, again, Some(2));
        assert!(matches!(known.get(&id, now), Fact::Known(2)));
        assert!(matches!(known.get(&id, now + KEEP), Fact::Unknown));
    }

    #[test]
    fn questions_that_were_given_up_are_cleared_out() {
        let (mut known, now) = (Known::<bool>::new("test"), Instant::now());
        for number in 0..2_000 {
            known.ask(&format!("{number}").into(), now);
        }
        let later = now + KEEP * 2;
        for number in 2_000..5_000 {
            known.ask(&format!("{number}").into(), later);
        }
        assert!(known.len() <= 3_000);
    }

    #[test]
    fn facts_that_are_too_old_to_be_used_are_not_kept() {
        let (mut known, mut now) = (Known::new("test"), Instant::now());
        for number in 0..100_000 {
            let id: Arc<str> = format!("{number}").into();
            now += Duration::from_millis(100);
            let asked = known.ask(&id, now);
            known.learn(&id, asked, Some(number));
        }
        assert!(known.len() < 10_000);
    }
}
