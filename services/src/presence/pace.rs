//! How much is asked of the database at once: little after it did not answer in time, more again while it does. What it has
//! not answered it is still doing, and the same again beside that is how a slow database stops. Pure.

use std::time::{Duration, Instant};

pub(super) struct Pace {
    /// Until then the database is left alone.
    until: Instant,
    pause: Duration,
    /// Users in one round.
    users: usize,
}

impl Pace {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            until: now,
            pause: PAUSE_MIN,
            users: USERS,
        }
    }

    /// When the database may be asked again, if not now.
    pub(super) fn rests(&self, now: Instant) -> Option<Instant> {
        (now < self.until).then_some(self.until)
    }

    pub(super) fn users(&self) -> usize {
        self.users
    }

    /// Rounds at the same time.
    pub(super) fn rounds(&self) -> usize {
        if self.users < USERS { 1 } else { ROUNDS }
    }

    pub(super) fn succeeded(&mut self, now: Instant) {
        self.until = now;
        self.pause = PAUSE_MIN;
        self.users = (self.users * 2).min(USERS);
    }

    pub(super) fn failed(&mut self, now: Instant) {
        self.until = now + self.pause;
        self.pause = (self.pause * 2).min(PAUSE_MAX);
        self.users = (self.users / 4).max(USERS_MIN);
    }
}

/// Users in one round: one command of some 100 kB to the database.
const USERS: usize = 500;
/// Few enough for a database that takes a tenth of a second for each.
const USERS_MIN: usize = 30;
/// More only wait for the database.
const ROUNDS: usize = 4;
const PAUSE_MIN: Duration = Duration::from_millis(250);
const PAUSE_MAX: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_failures_less_is_asked_and_later_until_it_works_again() {
        let now = Instant::now();
        let mut pace = Pace::new(now);
        assert_eq!(
            (pace.users(), pace.rounds(), pace.rests(now)),
            (USERS, ROUNDS, None)
        );
        for (users, pause) in [
            (125, PAUSE_MIN),
            (31, PAUSE_MIN * 2),
            (USERS_MIN, PAUSE_MIN * 4),
        ] {
            pace.failed(now);
            let until = now + pause;
            assert_eq!(
                (pace.users(), pace.rounds(), pace.rests(now)),
                (users, 1, Some(until))
            );
            assert_eq!(pace.rests(until), None);
        }
        for _ in 0..9 {
            pace.failed(now);
        }
        assert_eq!(
            (pace.users(), pace.rests(now)),
            (USERS_MIN, Some(now + PAUSE_MAX))
        );
        pace.succeeded(now);
        assert_eq!(
            (pace.users(), pace.rounds(), pace.rests(now)),
            (2 * USERS_MIN, 1, None)
        );
        for _ in 0..4 {
            pace.succeeded(now);
        }
        assert_eq!((pace.users(), pace.rounds()), (USERS, ROUNDS));
        pace.failed(now);
        assert_eq!(pace.rests(now), Some(now + PAUSE_MIN));
    }
}
