//! The turns of logins, and what was heard of users while logins were under way.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use hashbrown::HashSet;
use protocol::ddp;

use crate::{link::User, turns::Turns};

/// Longest wait for a turn; who would wait longer is asked to come back.
pub(crate) const WAIT_MAX: Duration = Duration::from_secs(15);

/// So many users are told apart; when more were heard of, each login is looked at.
const HEARD_OF_MAX: usize = 10_000;

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

/// Logins under way.
#[derive(Debug)]
pub(crate) struct Logins {
    pub(crate) turns: Turns,
    running: usize,
    /// Of whom something was heard meanwhile that may end a login.
    heard_of: HashSet<Arc<str>>,
}

impl Logins {
    /// So many a second.
    pub(crate) fn new(per_second: u32) -> Self {
        Self {
            turns: Turns::new(per_second, WAIT_MAX),
            running: 0,
            heard_of: HashSet::new(),
        }
    }

    /// A question to accounts begins.
    pub(crate) fn begin(&mut self) {
        if self.running == 0 {
            self.heard_of = HashSet::new();
        }
        self.running += 1;
    }

    /// It is over, however it ended.
    pub(crate) fn end(&mut self) {
        self.running -= 1;
    }

    /// Something has happened to a user that may end logins: those under way are judged by what was before.
    pub(crate) fn hear_of(&mut self, user: &Arc<str>) {
        if self.running > 0 && self.heard_of.len() < HEARD_OF_MAX {
            self.heard_of.insert(user.clone());
        }
    }

    /// Whether something was heard of this user since the oldest login under way began.
    pub(crate) fn was_heard_of(&self, user: &str) -> bool {
        self.heard_of.len() == HEARD_OF_MAX || self.heard_of.contains(user)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_heard_is_remembered_while_a_login_is_under_way() {
        let mut logins = Logins::new(1);
        logins.hear_of(&"u1".into());
        assert!(!logins.was_heard_of("u1"));
        logins.begin();
        logins.hear_of(&"u1".into());
        logins.end();
        assert!(logins.was_heard_of("u1"));
        logins.begin();
        assert!(!logins.was_heard_of("u1"));
    }
}
