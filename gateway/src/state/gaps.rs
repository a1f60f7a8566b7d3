//! From a gap to an ordered resync: what may have been missed is answered by closing exactly the sockets in scope, so
//! that their clients read everything again (design.md 3.8).
//!
//! One resync of everybody at a time. A gap that began before it is answered by it; what may have been missed after it
//! began is answered by one more behind it, however many gaps there were. After a bus outage the resync waits for the
//! peers, because closing earlier would miss what they send before they know us again.

use std::{
    collections::HashSet,
    sync::Arc,
    time::{Duration, Instant},
};

/// Scopes that are answered one by one; more at once, and everybody is.
const SCOPES_MAX: usize = 1_000;

/// One outage is noticed by several; so much later it is another one, or goes on.
const NOTICED_TWICE: Duration = Duration::from_secs(1);

/// Whose events may have been missed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Scope {
    All,
    Room(Arc<str>),
    /// The users who follow a room with all their rooms.
    Followers(Arc<str>),
    User(Arc<str>),
}

/// Gaps that have not been answered yet.
#[derive(Debug, Default)]
pub(crate) struct Gaps {
    everybody: bool,
    shards: u64,
    scopes: HashSet<Scope>,
    /// Since when a bus outage waits for its peers.
    unsettled_since: Option<Instant>,
    running: Option<Running>,
}

/// A resync of everybody.
#[derive(Clone, Copy, Debug)]
struct Running {
    since: Instant,
    until: Instant,
}

/// What is to be closed now.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Due {
    pub(crate) everybody: bool,
    pub(crate) shards: u64,
    pub(crate) scopes: Vec<Scope>,
}

impl Gaps {
    /// Notes that something may have been missed between `since` and `now`. Whoever connects after a resync has begun
    /// reads everything from then on: a gap that ended before needs no other one.
    pub(crate) fn note(&mut self, scope: Scope, since: Instant, now: Instant) {
        if scope != Scope::All && self.scopes.len() < SCOPES_MAX {
            self.scopes.insert(scope);
        } else if self
            .running
            .is_none_or(|running| since > running.since || now > running.since + NOTICED_TWICE)
        {
            self.everybody = true;
        }
    }

    /// Notes that these shards have missed a batch.
    pub(crate) fn note_shards(&mut self, shards: u64) {
        self.shards |= shards;
    }

    /// The bus was away, or we stood still: peers may have forgotten us, so the resync waits for [`Self::settled`].
    pub(crate) fn note_outage(&mut self, since: Instant, now: Instant) {
        self.note(Scope::All, since, now);
        self.unsettled_since.get_or_insert(now);
    }

    /// The peers know us again.
    pub(crate) fn settled(&mut self) {
        self.unsettled_since = None;
    }

    /// What is due, and when to look again at the latest. `wait` for the peers, `over` the time a resync takes.
    pub(crate) fn poll(
        &mut self,
        now: Instant,
        wait: Duration,
        over: Duration,
    ) -> (Due, Option<Instant>) {
        let mut due = Due {
            scopes: self.scopes.drain().collect(),
            ..Due::default()
        };
        self.running = self.running.filter(|running| now < running.until);
        self.unsettled_since = self.unsettled_since.filter(|since| now < *since + wait);
        due.shards = std::mem::take(&mut self.shards);
        let waits_for = self
            .unsettled_since
            .map(|since| since + wait)
            .or_else(|| self.running.map(|running| running.until));
        if self.everybody && waits_for.is_none() {
            self.everybody = false;
            self.running = Some(Running {
                since: now,
                until: now + over,
            });
            due.everybody = true;
            due.shards = 0;
            due.scopes.clear();
        }
        (due, waits_for.filter(|_| self.everybody))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAIT: Duration = Duration::from_secs(5);
    const OVER: Duration = Duration::from_secs(10);

    #[test]
    fn after_an_outage_the_resync_waits_for_the_peers() {
        let now = Instant::now();
        let mut gaps = Gaps::default();
        gaps.note_outage(now, now);
        let (due, next) = gaps.poll(now, WAIT, OVER);
        assert!(!due.everybody);
        assert_eq!(next, Some(now + WAIT));
        gaps.settled();
        assert!(gaps.poll(now, WAIT, OVER).0.everybody);
    }

    #[test]
    fn peers_that_never_answer_delay_the_resync_by_the_wait_only() {
        let now = Instant::now();
        let mut gaps = Gaps::default();
        gaps.note_outage(now, now);
        assert!(!gaps.poll(now + WAIT / 2, WAIT, OVER).0.everybody);
        assert!(gaps.poll(now + WAIT, WAIT, OVER).0.everybody);
    }

    #[test]
    fn gaps_during_a_resync_make_one_more() {
        let start = Instant::now();
        let now = start + Duration::from_secs(1);
        let mut gaps = Gaps::default();
        gaps.note(Scope::All, start, start);
        assert!(gaps.poll(start, WAIT, OVER).0.everybody);
        gaps.note(Scope::All, now, now);
        gaps.note(Scope::All, now, now);
        let (due, next) = gaps.poll(now, WAIT, OVER);
        assert!(!due.everybody);
        assert_eq!(next, Some(start + OVER));
        assert!(gaps.poll(now + OVER, WAIT, OVER).0.everybody);
        assert!(!gaps.poll(now + OVER + OVER, WAIT, OVER).0.everybody);
    }

    #[test]
    fn one_stall_that_is_noticed_twice_is_one_resync() {
        let since = Instant::now();
        let now = since + Duration::from_secs(31);
        let mut gaps = Gaps::default();
        gaps.note_outage(since, now);
        assert!(!gaps.poll(now, WAIT, OVER).0.everybody);
        // The bus, too, finds out that its peers had forgotten us meanwhile.
        let later = now + WAIT / 2;
        gaps.note(Scope::All, since + Duration::from_secs(1), later);
        assert!(gaps.poll(now + WAIT, WAIT, OVER).0.everybody);
        assert!(!gaps.poll(now + WAIT + OVER, WAIT, OVER).0.everybody);
    }

    #[test]
    fn a_small_scope_is_answered_alone_and_at_once() {
        let now = Instant::now();
        let mut gaps = Gaps::default();
        gaps.note(Scope::User("u1".into()), now, now);
        gaps.note(Scope::User("u1".into()), now, now);
        let (due, _) = gaps.poll(now, WAIT, OVER);
        assert_eq!(
            due,
            Due {
                scopes: vec![Scope::User("u1".into())],
                ..Due::default()
            }
        );
    }
}
