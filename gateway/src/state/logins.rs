//! The turns of logins, and what was heard of users while logins were under way.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use bytes::Bytes;
use hashbrown::HashSet;
use protocol::ddp;

use crate::{link::User, turns::Turns};

/// Longest wait for a turn; who would wait longer is asked to come back.
pub(crate) const WAIT_MAX: Duration = Duration::from_secs(15);

/// So many users are told apart; when more were heard of, each of the oldest logins is looked at.
const HEARD_OF_MAX: usize = 10_000;

/// Logins of one generation share what was heard, until so many were heard of.
const GENERATION: usize = 64;

/// What came out of one question.
#[derive(Clone, Debug)]
pub(crate) enum Verdict {
    Accepted(Arc<Accepted>),
    /// With this error; the client forgets its token.
    Refused(ddp::Error),
    /// Nobody can tell now: the client must keep its token and come back.
    Unknown,
}

#[derive(Debug)]
pub(crate) struct Accepted {
    pub(crate) user: Arc<User>,
    /// The method's result.
    pub(crate) result: Bytes,
}

/// Logins under way, in generations: under a steady stream of them what was heard goes with the oldest.
#[derive(Debug)]
pub(crate) struct Logins {
    pub(crate) turns: Turns,
    /// The newest is the last; never empty.
    generations: VecDeque<Generation>,
    /// The number of the first of them.
    first: u64,
    /// Logins of generations before this one are taken to have been heard of: what was heard has been forgotten.
    complete_from: u64,
    /// Names in all generations.
    heard: usize,
}

#[derive(Debug, Default)]
struct Generation {
    running: usize,
    /// Of whom something was heard while this was the newest generation, that may end a login.
    heard_of: HashSet<Arc<str>>,
}

/// One login under way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct UnderWay(u64);

impl Logins {
    /// Names that were heard of lately.
    pub(crate) fn len(&self) -> usize {
        self.heard
    }

    /// So many a second.
    pub(crate) fn new(per_second: u32) -> Self {
        Self {
            turns: Turns::new(per_second, WAIT_MAX),
            generations: VecDeque::from([Generation::default()]),
            first: 0,
            complete_from: 0,
            heard: 0,
        }
    }

    /// A question to accounts begins.
    pub(crate) fn begin(&mut self) -> UnderWay {
        if self.newest().heard_of.len() >= GENERATION {
            self.generations.push_back(Generation::default());
        }
        self.newest().running += 1;
        UnderWay(self.newest_number())
    }

    /// It is over, however it ended.
    pub(crate) fn end(&mut self, UnderWay(number): UnderWay) {
        self.generations[(number - self.first) as usize].running -= 1;
        while self.generations[0].running == 0 {
            // Nobody is left who might ask what was heard then.
            self.heard -= self.generations[0].heard_of.len();
            if self.generations.len() == 1 {
                self.generations[0].heard_of = HashSet::new();
                return;
            }
            self.generations.pop_front();
            self.first += 1;
        }
    }

    /// Something has happened to a user that may end logins: those under way are judged by what was before.
    pub(crate) fn hear_of(&mut self, user: &str) {
        let newest = self.newest();
        if newest.running == 0 && self.generations.len() == 1
            || self.newest().heard_of.contains(user)
        {
            return;
        }
        self.newest().heard_of.insert(user.into());
        self.heard += 1;
        while self.heard > HEARD_OF_MAX {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        let known = self
            .generations
            .iter()
            .position(|one| !one.heard_of.is_empty());
        let Some(at) = known else { return };
        self.heard -= std::mem::take(&mut self.generations[at].heard_of).len();
        self.complete_from = self.first + at as u64 + 1;
        if at + 1 == self.generations.len() {
            // Who comes from now on has missed nothing.
            self.generations.push_back(Generation::default());
        }
    }

    /// Whether something was heard of this user since this login began, or may have been.
    pub(crate) fn was_heard_of(&self, UnderWay(number): UnderWay, user: &str) -> bool {
        let since = self.generations.iter().skip((number - self.first) as usize);
        number < self.complete_from || since.into_iter().any(|one| one.heard_of.contains(user))
    }

    fn newest(&mut self) -> &mut Generation {
        self.generations.back_mut().expect("there is always one")
    }

    fn newest_number(&self) -> u64 {
        self.first + self.generations.len() as u64 - 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_heard_is_remembered_while_a_login_is_under_way() {
        let mut logins = Logins::new(1);
        logins.hear_of("u1");
        let login = logins.begin();
        assert!(!logins.was_heard_of(login, "u1"));
        logins.hear_of("u1");
        assert!(logins.was_heard_of(login, "u1"));
        logins.end(login);
        let login = logins.begin();
        assert!(!logins.was_heard_of(login, "u1"));
    }

    #[test]
    fn a_steady_stream_of_logins_forgets_nothing_that_matters_and_everything_else() {
        let mut logins = Logins::new(1);
        // One is always under way, and another one for long.
        let long = logins.begin();
        let mut before = logins.begin();
        for number in 0..100_000 {
            let user = format!("u{number}");
            logins.hear_of(&user);
            assert!(logins.was_heard_of(before, &user));
            assert!(logins.was_heard_of(long, &user));
            let next = logins.begin();
            logins.end(before);
            before = next;
            assert!(logins.heard <= HEARD_OF_MAX);
        }
        assert!(
            !logins.was_heard_of(before, "u1"),
            "only who is old is doubted"
        );
        assert!(logins.was_heard_of(long, "u1"));
        logins.end(long);
        assert!(logins.heard <= 2 * GENERATION && logins.generations.len() <= 2);
        logins.end(before);
        assert_eq!((logins.heard, logins.generations.len()), (0, 1));
    }
}
