//! From a gap to an ordered resync: what may have been missed is answered by closing exactly the sockets in scope, so
//! that their clients read everything again (design.md 3.8).
//!
//! One resync of everybody at a time. A gap that began before it is answered by it; what may have been missed after it
//! began is answered by one more behind it, however many gaps there were. After a bus outage the resync waits for the
//! peers, because closing earlier would miss what they send before they know us again.

use std::{
    collections::HashMap,
    mem,
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

/// A resync that begins so long after the end of the one before stands alone: longer than the longest pause.
const CALM: Duration = Duration::from_secs(1_200);

/// Pause between the second resync in a row and the third, doubled for each further one up to the longest: whoever flaps
/// behind us must not send everybody away again and again.
const PAUSE: Duration = Duration::from_secs(30);
const PAUSE_MAX: Duration = Duration::from_secs(600);

/// Gaps that have not been answered yet.
#[derive(Debug, Default)]
pub(crate) struct Gaps {
    /// Why everybody must resync.
    everybody: Option<&'static str>,
    /// Shards (a bit set) of which everybody must.
    shards: u64,
    scopes: HashMap<Scope, &'static str>,
    /// Since when a bus outage waits for its peers.
    unsettled_since: Option<Instant>,
    last: Option<Resync>,
    /// How many there were in a row.
    row: u32,
}

/// A resync of everybody, or of everybody on some shards.
#[derive(Clone, Copy, Debug)]
struct Resync {
    cause: &'static str,
    since: Instant,
    until: Instant,
}

/// What is to be closed now.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Due {
    pub(crate) everybody: Option<&'static str>,
    pub(crate) shards: u64,
    pub(crate) scopes: Vec<(Scope, &'static str)>,
}

/// Why everybody is being closed, and why everybody will be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) running: Option<&'static str>,
    pub(crate) waiting: Option<&'static str>,
}

/// The cause of a resync of whole shards.
pub(crate) const MAILBOX: &str = "mailbox";

impl Gaps {
    /// Notes that something may have been missed between `since` and `now`. Whoever connects after a resync has begun
    /// reads everything from then on: a gap that ended before needs no other one.
    pub(crate) fn note(&mut self, cause: &'static str, scope: Scope, since: Instant, now: Instant) {
        if scope != Scope::All && self.scopes.len() < SCOPES_MAX {
            self.scopes.insert(scope, cause);
        } else if self
            .running(now)
            .is_none_or(|running| since > running.since || now > running.since + NOTICED_TWICE)
        {
            self.everybody.get_or_insert(cause);
        }
    }

    /// Notes that these shards have missed a batch.
    pub(crate) fn note_shards(&mut self, shards: u64) {
        self.shards |= shards;
    }

    /// The bus was away, or we stood still: peers may have forgotten us, so the resync waits for [`Self::settled`].
    pub(crate) fn note_outage(&mut self, cause: &'static str, since: Instant, now: Instant) {
        self.note(cause, Scope::All, since, now);
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
        self.unsettled_since = self.unsettled_since.filter(|since| now < *since + wait);
        if self.everybody.is_none() && self.shards == 0 {
            return (due, self.running(now).map(|running| running.until));
        }
        let settles = self.unsettled_since.map(|since| since + wait);
        let rested = self.last.map(|last| last.until + self.pause());
        let begins = settles.max(rested).filter(|begins| now < *begins);
        if let Some(begins) = begins {
            let ends = self.running(now).map(|running| running.until);
            return (due, Some(ends.map_or(begins, |ends| ends.min(begins))));
        }
        due.everybody = self.everybody.take();
        due.shards = mem::take(&mut self.shards);
        if due.everybody.is_some() {
            due.shards = 0;
            due.scopes.clear();
        }
        let alone = self.last.is_none_or(|last| now > last.until + CALM);
        self.row = if alone { 1 } else { self.row + 1 };
        let until = now + over;
        self.last = Some(Resync {
            cause: due.everybody.unwrap_or(MAILBOX),
            since: now,
            until,
        });
        (due, Some(until))
    }

    /// What goes on.
    pub(crate) fn standing(&self, now: Instant) -> Standing {
        Standing {
            running: self.running(now).map(|running| running.cause),
            waiting: self
                .everybody
                .or_else(|| (self.shards != 0).then_some(MAILBOX)),
        }
    }

    fn running(&self, now: Instant) -> Option<Resync> {
        self.last.filter(|last| now < last.until)
    }

    /// Between the end of the last resync and the next.
    fn pause(&self) -> Duration {
        match self.row.checked_sub(2) {
            Some(further) => PAUSE_MAX.min(PAUSE * 2_u32.pow(further.min(10))),
            None => Duration::ZERO,
        }
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
        gaps.note_outage("test", now, now);
        let (due, next) = gaps.poll(now, WAIT, OVER);
        assert!(due.everybody.is_none());
        assert_eq!(next, Some(now + WAIT));
        gaps.settled();
        assert!(gaps.poll(now, WAIT, OVER).0.everybody.is_some());
    }

    #[test]
    fn peers_that_never_answer_delay_the_resync_by_the_wait_only() {
        let now = Instant::now();
        let mut gaps = Gaps::default();
        gaps.note_outage("test", now, now);
        assert!(gaps.poll(now + WAIT / 2, WAIT, OVER).0.everybody.is_none());
        assert!(gaps.poll(now + WAIT, WAIT, OVER).0.everybody.is_some());
    }

    #[test]
    fn gaps_during_a_resync_make_one_more() {
        let start = Instant::now();
        let now = start + Duration::from_secs(1);
        let mut gaps = Gaps::default();
        gaps.note("test", Scope::All, start, start);
        assert!(gaps.poll(start, WAIT, OVER).0.everybody.is_some());
        assert_eq!(gaps.standing(now).running, Some("test"));
        gaps.note("test", Scope::All, now, now);
        gaps.note("test", Scope::All, now, now);
        let (due, next) = gaps.poll(now, WAIT, OVER);
        assert!(due.everybody.is_none());
        assert_eq!(next, Some(start + OVER));
        assert!(gaps.poll(now + OVER, WAIT, OVER).0.everybody.is_some());
        assert!(
            gaps.poll(now + OVER + OVER, WAIT, OVER)
                .0
                .everybody
                .is_none()
        );
    }

    #[test]
    fn one_stall_that_is_noticed_twice_is_one_resync() {
        let since = Instant::now();
        let now = since + Duration::from_secs(31);
        let mut gaps = Gaps::default();
        gaps.note_outage("test", since, now);
        assert!(gaps.poll(now, WAIT, OVER).0.everybody.is_none());
        // The bus, too, finds out that its peers had forgotten us meanwhile.
        let later = now + WAIT / 2;
        gaps.note("test", Scope::All, since + Duration::from_secs(1), later);
        assert!(gaps.poll(now + WAIT, WAIT, OVER).0.everybody.is_some());
        assert!(
            gaps.poll(now + WAIT + OVER, WAIT, OVER)
                .0
                .everybody
                .is_none()
        );
    }

    #[test]
    fn a_small_scope_is_answered_alone_and_at_once() {
        let now = Instant::now();
        let mut gaps = Gaps::default();
        gaps.note("test", Scope::User("u1".into()), now, now);
        gaps.note("test", Scope::User("u1".into()), now, now);
        let (due, _) = gaps.poll(now, WAIT, OVER);
        assert_eq!(
            due,
            Due {
                scopes: vec![(Scope::User("u1".into()), "test")],
                ..Due::default()
            }
        );
    }

    #[test]
    fn whoever_flaps_sends_everybody_away_ever_more_seldom() {
        let start = Instant::now();
        let (mut gaps, mut begun) = (Gaps::default(), Vec::new());
        for second in 0..3_600 {
            let now = start + Duration::from_secs(second);
            gaps.note("flap", Scope::All, now, now);
            if gaps.poll(now, WAIT, OVER).0.everybody.is_some() {
                begun.push(second);
            }
            assert!(gaps.standing(now).running.is_some() || gaps.standing(now).waiting.is_some());
        }
        assert_eq!(begun[..5], [0, 10, 50, 120, 250]);
        assert_eq!(begun.len(), 11, "{begun:?}");
        let calm = start + Duration::from_secs(3_600) + PAUSE_MAX + OVER;
        assert!(gaps.poll(calm, WAIT, OVER).0.everybody.is_some());
        let alone = calm + OVER + CALM + OVER;
        for after in [Duration::ZERO, OVER] {
            gaps.note("flap", Scope::All, alone + after, alone + after);
            assert!(gaps.poll(alone + after, WAIT, OVER).0.everybody.is_some());
        }
    }

    #[test]
    fn a_shard_that_overflows_again_waits_as_everybody_does() {
        let now = Instant::now();
        let mut gaps = Gaps::default();
        gaps.note_shards(0b10);
        assert_eq!(gaps.poll(now, WAIT, OVER).0.shards, 0b10);
        gaps.note_shards(0b10);
        let (due, next) = gaps.poll(now, WAIT, OVER);
        assert_eq!((due.shards, next), (0, Some(now + OVER)));
        assert_eq!(gaps.poll(now + OVER, WAIT, OVER).0.shards, 0b10);
    }
}
