//! Entries that were taken away without a word from their owner. If the owner is alive after all, its next heartbeat
//! brings the entry back; no other heartbeat ever makes one (services.md 13).

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

/// What is remembered of swept entries, bounded in number and time.
#[derive(Default)]
pub(super) struct Swept {
    entries: HashMap<Key, (Entry, Instant)>,
    /// Oldest first; an entry that was forgotten, or swept again, may still be listed.
    order: VecDeque<(Instant, Key)>,
}

/// User and session.
type Key = (Arc<str>, String);

/// What comes back.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry {
    pub(super) node: String,
    pub(super) status: String,
}

impl Swept {
    pub(super) fn remember(&mut self, user: &Arc<str>, session: &str, entry: Entry, now: Instant) {
        while let Some((at, key)) = self.order.front()
            && (self.order.len() >= KEPT_MAX || now.duration_since(*at) >= KEPT_FOR)
        {
            if self.entries.get(key).is_some_and(|(_, swept)| swept == at) {
                self.entries.remove(key);
            }
            self.order.pop_front();
        }
        let key = (user.clone(), session.to_owned());
        self.entries.insert(key.clone(), (entry, now));
        self.order.push_back((now, key));
    }

    /// The owner itself has said that it is over.
    pub(super) fn forget(&mut self, user: &Arc<str>, session: &str) {
        self.entries.remove(&(user.clone(), session.to_owned()));
    }

    pub(super) fn find(&self, user: &Arc<str>, session: &str, now: Instant) -> Option<Entry> {
        let (entry, at) = self.entries.get(&(user.clone(), session.to_owned()))?;
        (now.duration_since(*at) < KEPT_FOR).then(|| entry.clone())
    }
}

/// A live socket sends a heartbeat every 30 s; an hour covers any outage that ends by itself.
const KEPT_FOR: Duration = Duration::from_secs(3_600);
/// Some 20 MB.
const KEPT_MAX: usize = 100_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn entry() -> Entry {
        Entry {
            node: "n".into(),
            status: "away".into(),
        }
    }

    #[test]
    fn an_entry_is_known_until_it_is_forgotten_or_old() {
        let (mut swept, now, user) = (Swept::default(), Instant::now(), Arc::from("u"));
        swept.remember(&user, "s1", entry(), now);
        swept.remember(&user, "s2", entry(), now);
        swept.forget(&user, "s1");
        assert_eq!(swept.find(&user, "s1", now), None);
        assert_eq!(swept.find(&user, "s2", now), Some(entry()));
        assert_eq!(swept.find(&user, "s2", now + KEPT_FOR), None);
        let later = now + KEPT_FOR;
        swept.remember(&user, "s3", entry(), later);
        assert_eq!((swept.entries.len(), swept.order.len()), (1, 1));
    }

    #[test]
    fn the_oldest_give_way() {
        let (mut swept, now, user) = (Swept::default(), Instant::now(), Arc::from("u"));
        for number in 0..=KEPT_MAX {
            swept.remember(&user, &number.to_string(), entry(), now);
        }
        assert_eq!(swept.find(&user, "0", now), None);
        assert_eq!(swept.find(&user, "1", now), Some(entry()));
        assert_eq!(swept.order.len(), KEPT_MAX);
    }
}
