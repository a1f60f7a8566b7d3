//! Entries whose making the database did not acknowledge. Such a write may still happen, later than whatever follows it: a
//! frozen server carries out what waits in its sockets when it thaws. So the end of such a connection is written twice, the
//! second time when nothing of the first attempt can be under way any more.
//!
//! And connections whose end was told here and that nobody had made yet: another presence service that stood still, and was
//! told of them before, may make them when it goes on. It asks about those. Pure.

use std::{
    collections::{HashMap, HashSet, VecDeque},
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
    /// Other presence services are there, or were.
    is_beside_others: bool,
    /// Ended before they were made, the oldest first in the list.
    unseen: HashSet<Key>,
    unseen_order: VecDeque<(Instant, Key)>,
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
        if !self.unseen.is_empty() {
            self.unseen.remove(&(user.clone(), session.to_owned()));
        }
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

    /// There are other presence services, or there were until now.
    pub(super) fn beside_others(&mut self) {
        self.is_beside_others = true;
    }

    /// It has ended and was not there.
    pub(super) fn unseen(&mut self, user: &Arc<str>, session: String, now: Instant) {
        if !self.is_beside_others {
            return;
        }
        let is_old = |(at, _): &mut (Instant, Key)| now.duration_since(*at) >= KEPT_FOR;
        while let Some((_, key)) = match self.unseen_order.len() < KEPT_MAX {
            true => self.unseen_order.pop_front_if(is_old),
            false => self.unseen_order.pop_front(),
        } {
            self.unseen.remove(&key);
        }
        let key = (user.clone(), session);
        if self.unseen.insert(key.clone()) {
            self.unseen_order.push_back((now, key));
        }
    }

    /// Whether the end of this connection was told before it was made.
    pub(super) fn has_ended(&self, user: &Arc<str>, session: &str) -> bool {
        self.unseen.contains(&(user.clone(), session.to_owned()))
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
    fn an_end_before_the_beginning_is_known_for_an_hour() {
        let (mut doubt, now, user) = (Doubt::default(), Instant::now(), Arc::from("u"));
        doubt.unseen(&user, "s1".to_owned(), now);
        assert!(!doubt.has_ended(&user, "s1"), "nobody would ask");
        doubt.beside_others();
        for session in ["s1", "s1", "s2"] {
            doubt.unseen(&user, session.to_owned(), now);
        }
        assert!(doubt.has_ended(&user, "s1") && !doubt.has_ended(&user, "s3"));
        doubt.unseen(&user, "s3".to_owned(), now + KEPT_FOR);
        assert!(doubt.has_ended(&user, "s3") && !doubt.has_ended(&user, "s1"));
        assert_eq!((doubt.unseen.len(), doubt.unseen_order.len()), (1, 1));
        for number in 0..KEPT_MAX {
            doubt.unseen(&user, number.to_string(), now + KEPT_FOR);
        }
        assert!(!doubt.has_ended(&user, "s3"));
        assert_eq!(
            (doubt.unseen.len(), doubt.unseen_order.len()),
            (KEPT_MAX, KEPT_MAX)
        );
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
