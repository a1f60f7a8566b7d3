//! How much is asked of the database at once: what it answers well within its deadline. It begins with little, is more after
//! every quick answer, less after a slow one and little after none. What it has not answered it is still doing, and the same
//! again beside that is how a slow database stops. Pure.

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
            users: USERS_FIRST,
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

    /// A round was answered, which `took` so long.
    pub(super) fn succeeded(&mut self, now: Instant, took: Duration) {
        self.until = now;
        self.pause = PAUSE_MIN;
        if took < QUICK {
            self.users = (self.users * 2).min(USERS);
        } else if took > SLOW {
            self.users = (self.users / 2).max(USERS_MIN);
        }
    }

    pub(super) fn failed(&mut self, now: Instant) {
        self.until = now + self.pause;
        self.pause = (self.pause * 2).min(PAUSE_MAX);
        self.users = (self.users / 4).max(USERS_MIN);
    }
}

/// Users in one round: one command of some 100 kB to the database.
const USERS: usize = 500;
/// Before anything is known of the database: three quick answers later it is all of them.
const USERS_FIRST: usize = 125;
/// Few enough for a database that takes a tenth of a second for each.
const USERS_MIN: usize = 30;
/// A round is a few commands one after the other, each of which may take ten seconds, and there may be four rounds.
const QUICK: Duration = Duration::from_millis(500);
const SLOW: Duration = Duration::from_secs(3);
/// More only wait for the database.
const ROUNDS: usize = 4;
const PAUSE_MIN: Duration = Duration::from_millis(250);
const PAUSE_MAX: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    fn known(pace: &Pace) -> (usize, usize) {
        (pace.users(), pace.rounds())
    }

    #[test]
    fn after_failures_less_is_asked_and_later_until_it_works_again() {
        let now = Instant::now();
        let mut pace = Pace::new(now);
        pace.users = USERS;
        for (users, pause) in [
            (125, PAUSE_MIN),
            (31, PAUSE_MIN * 2),
            (USERS_MIN, PAUSE_MIN * 4),
        ] {
            pace.failed(now);
            let until = now + pause;
            assert_eq!((known(&pace), pace.rests(now)), ((users, 1), Some(until)));
            assert_eq!(pace.rests(until), None);
        }
        for _ in 0..9 {
            pace.failed(now);
        }
        assert_eq!(
            (pace.users(), pace.rests(now)),
            (USERS_MIN, Some(now + PAUSE_MAX))
        );
        pace.succeeded(now, Duration::ZERO);
        assert_eq!((known(&pace), pace.rests(now)), ((2 * USERS_MIN, 1), None));
        pace.failed(now);
        assert_eq!(pace.rests(now), Some(now + PAUSE_MIN));
    }

    #[test]
    fn quick_answers_bring_more_and_slow_ones_less_at_once() {
        let now = Instant::now();
        let mut pace = Pace::new(now);
        assert_eq!(known(&pace), (USERS_FIRST, 1));
        let mut after = |took: Duration| {
            pace.succeeded(now, took);
            known(&pace)
        };
        assert_eq!(after(QUICK - PAUSE_MIN), (250, 1));
        assert_eq!(after(Duration::ZERO), (USERS, ROUNDS));
        assert_eq!(after(Duration::ZERO), (USERS, ROUNDS));
        assert_eq!(after(SLOW), (USERS, ROUNDS), "neither");
        assert_eq!(after(SLOW + PAUSE_MIN), (250, 1));
        for _ in 0..9 {
            after(SLOW * 2);
        }
        assert_eq!(after(SLOW * 2), (USERS_MIN, 1));
    }
}
