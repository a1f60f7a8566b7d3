//! Entries whose making the database did not acknowledge. Such a write may still happen, later than whatever follows it: a
//! frozen server carries out what waits in its sockets when it thaws. So the end of such a connection is written twice, the
//! second time when nothing of the first attempt can be under way any more. Pure.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

/// What may still come to pass.
#[derive(Default)]
pub(super) struct Doubt {
    /// Since when; by user and session.
    made: HashMap<Key, Instant>,
    /// Connections that have ended, to be ended once more, and when.
    again: HashMap<Key, Instant>,
    /// The same, the earliest first; one that is there again, or has another time, may still be listed.
    order: VecDeque<(Instant, Key)>,
}

type Key = (Arc<str>, String);

impl Doubt {
    /// The making of this entry was not acknowledged.
    pub(super) fn unclear(&mut self, user: &Arc<str>, session: &str, now: Instant) {
        if self.made.len() >= KEPT_MAX {
            self.made
                .retain(|_, since| now.duration_since(*since) < KEPT_FOR);
        }
        if self.made.len() < KEPT_MAX {
            self.made.insert((user.clone(), session.to_owned()), now);
        }
    }

    /// It is there, and meant to be.
    pub(super) fn made(&mut self, user: &Arc<str>, session: &str) {
        // Mostly nothing is in doubt, and then nothing needs a key.
        if !self.again.is_empty() {
            self.again.remove(&(user.clone(), session.to_owned()));
            if self.again.is_empty() {
                self.order.clear();
            }
        }
    }

    /// It has ended.
    pub(super) fn ended(&mut self, user: &Arc<str>, session: &str, now: Instant) {
        let key = (user.clone(), session.to_owned());
        if self.made.remove(&key).is_some() {
            let at = now + AGAIN_AFTER;
            self.again.insert(key.clone(), at);
            self.order.push_back((at, key));
        }
    }

    /// Those to be ended once more now.
    pub(super) fn due(&mut self, now: Instant) -> Vec<Key> {
        let mut due = Vec::new();
        while let Some((at, key)) = self.order.pop_front_if(|(at, _)| *at <= now) {
            if self.again.get(&key) == Some(&at) {
                self.again.remove(&key);
                due.push(key);
            }
        }
        due
    }

    /// When the next is due.
    pub(super) fn next(&self) -> Option<Instant> {
        self.order.front().map(|(at, _)| *at)
    }
}

/// An operation that nobody waits for any more is given up after a minute (`store::MongoConfig::deadline`, six times), and
/// what the kernel still holds of it arrives within another.
const AGAIN_AFTER: Duration = Duration::from_secs(120);
const KEPT_FOR: Duration = Duration::from_secs(3_600);
const KEPT_MAX: usize = 100_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_doubtful_connection_is_ended_twice() {
        let (mut doubt, now, user) = (Doubt::default(), Instant::now(), Arc::from("u"));
        doubt.unclear(&user, "s1", now);
        for session in ["s1", "s2"] {
            doubt.ended(&user, session, now);
        }
        assert_eq!(doubt.due(now), []);
        assert_eq!(doubt.next(), Some(now + AGAIN_AFTER));
        let due = doubt.due(now + AGAIN_AFTER);
        assert_eq!(due, [(user.clone(), "s1".to_owned())]);
        doubt.ended(&user, "s1", now);
        assert_eq!(doubt.next(), None, "once");
    }

    #[test]
    fn one_that_is_there_again_is_left_alone() {
        let (mut doubt, now, user) = (Doubt::default(), Instant::now(), Arc::from("u"));
        doubt.unclear(&user, "s1", now);
        doubt.ended(&user, "s1", now);
        doubt.made(&user, "s1");
        assert_eq!(doubt.next(), None);
    }

    #[test]
    fn one_that_ends_in_doubt_twice_is_ended_once_more_by_its_last_time() {
        let (mut doubt, now, user) = (Doubt::default(), Instant::now(), Arc::from("u"));
        let later = now + AGAIN_AFTER / 2;
        for at in [now, later] {
            doubt.unclear(&user, "s1", at);
            doubt.made(&user, "s1");
            doubt.ended(&user, "s1", at);
            doubt.unclear(&user, "s2", at);
            doubt.ended(&user, "s2", at);
        }
        assert_eq!(doubt.due(now + AGAIN_AFTER), []);
        let due = doubt.due(later + AGAIN_AFTER);
        let both = ["s1", "s2"].map(|session| (user.clone(), session.to_owned()));
        assert_eq!(due, both);
        assert_eq!(doubt.next(), None);
    }
}
