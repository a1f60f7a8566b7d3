//! From a gap to an ordered resync: what may have been missed is answered by closing exactly the sockets in scope, so
//! that their clients read everything again (design.md 3.8).
//!
//! One resync at a time: a gap that comes while one runs is answered by another one behind it, however many there are.
//! After a bus outage the resync waits for the peers, because closing earlier would miss what they send before they
//! know us again.

use std::{
    collections::HashSet,
    rc::Rc,
    time::{Duration, Instant},
};

use backplane::{Gap, GapCause};

use crate::{
    bus::Core,
    link::{Scope, ToShard},
    metrics,
};

/// Scopes that are answered one by one; more at once, and everybody is.
const SCOPES_MAX: usize = 1_000;

/// Gaps that have not been answered yet.
#[derive(Debug, Default)]
pub(crate) struct Gaps {
    everybody: Option<Instant>,
    shards: u64,
    scopes: HashSet<Scope>,
    /// Since when a bus outage waits for `Settled`.
    unsettled_since: Option<Instant>,
    /// A resync of everybody runs until then.
    running_until: Option<Instant>,
}

/// What is to be closed now.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Due {
    pub(crate) everybody: bool,
    pub(crate) shards: u64,
    pub(crate) scopes: Vec<Scope>,
}

impl Gaps {
    /// Notes a gap that was seen here.
    pub(crate) fn note(&mut self, cause: &'static str, scope: Scope, now: Instant) {
        metrics::gap(cause);
        if scope == Scope::All || self.scopes.len() >= SCOPES_MAX {
            self.everybody.get_or_insert(now);
        } else {
            self.scopes.insert(scope);
        }
    }

    /// Notes that these shards have missed a batch.
    pub(crate) fn note_shards(&mut self, cause: &'static str, shards: u64) {
        metrics::gap(cause);
        self.shards |= shards;
    }

    /// Notes a gap that the bus reports. Whatever its scope there: any socket may listen to any emitter.
    pub(crate) fn note_bus(&mut self, gap: &Gap, now: Instant) {
        metrics::gap(gap.cause.label());
        self.everybody.get_or_insert(now);
        if gap.cause == GapCause::ConnectionLost {
            self.unsettled_since.get_or_insert(now);
        }
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
        if self.running_until.is_some_and(|until| now >= until) {
            self.running_until = None;
        }
        if self
            .unsettled_since
            .is_some_and(|since| now >= since + wait)
        {
            self.unsettled_since = None;
        }
        due.shards = std::mem::take(&mut self.shards);
        let waits_for = self
            .unsettled_since
            .map(|since| since + wait)
            .or(self.running_until);
        if self.everybody.is_some() && waits_for.is_none() {
            self.everybody = None;
            self.running_until = Some(now + over);
            due.everybody = true;
            due.shards = 0;
            due.scopes.clear();
        }
        (due, self.everybody.and(waits_for))
    }
}

/// Answers gaps for as long as the bus thread runs.
pub(crate) async fn run(core: Rc<Core>) {
    let (wait, over) = (core.config.resync_wait, core.config.resync_over);
    loop {
        let (due, next) = core.gaps.borrow_mut().poll(Instant::now(), wait, over);
        answer(&core, due, over);
        match next {
            Some(next) => {
                let _ = tokio::time::timeout_at(next.into(), core.gap_noted.notified()).await;
            }
            None => core.gap_noted.notified().await,
        }
    }
}

fn answer(core: &Core, due: Due, over: Duration) {
    let mut outgoing = core.outgoing.borrow_mut();
    let all = outgoing.all();
    if due.everybody || due.shards != 0 {
        let shards = if due.everybody { all } else { due.shards };
        tracing::warn!(
            shards = shards.count_ones(),
            "closing sockets that may have missed something"
        );
        metrics::resync("all");
        outgoing.post_each(shards, || ToShard::Resync {
            scope: Scope::All,
            over,
        });
    }
    for scope in due.scopes {
        metrics::resync("scope");
        outgoing.post_each(all, || ToShard::Resync {
            scope: scope.clone(),
            over,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use backplane::GapScope;

    const WAIT: Duration = Duration::from_secs(5);
    const OVER: Duration = Duration::from_secs(10);

    fn outage(now: Instant) -> Gap {
        Gap {
            since: now,
            scope: GapScope::All,
            cause: GapCause::ConnectionLost,
        }
    }

    #[test]
    fn after_an_outage_the_resync_waits_for_the_peers() {
        let now = Instant::now();
        let mut gaps = Gaps::default();
        gaps.note_bus(&outage(now), now);
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
        gaps.note_bus(&outage(now), now);
        assert!(!gaps.poll(now + WAIT / 2, WAIT, OVER).0.everybody);
        assert!(gaps.poll(now + WAIT, WAIT, OVER).0.everybody);
    }

    #[test]
    fn gaps_during_a_resync_make_one_more() {
        let now = Instant::now();
        let mut gaps = Gaps::default();
        gaps.note("stall", Scope::All, now);
        assert!(gaps.poll(now, WAIT, OVER).0.everybody);
        gaps.note("stall", Scope::All, now);
        gaps.note("stall", Scope::All, now);
        let (due, next) = gaps.poll(now, WAIT, OVER);
        assert!(!due.everybody);
        assert_eq!(next, Some(now + OVER));
        assert!(gaps.poll(now + OVER, WAIT, OVER).0.everybody);
        assert!(!gaps.poll(now + OVER + OVER, WAIT, OVER).0.everybody);
    }

    #[test]
    fn a_small_scope_is_answered_alone_and_at_once() {
        let now = Instant::now();
        let mut gaps = Gaps::default();
        gaps.note("lookup", Scope::User("u1".into()), now);
        gaps.note("lookup", Scope::User("u1".into()), now);
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
