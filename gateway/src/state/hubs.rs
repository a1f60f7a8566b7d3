//! What stream-hubs have announced (services/src/stream_hub.rs): each change once, whichever hub says it and however often,
//! and nothing from a hub that was frozen and does not know yet that it was replaced.

use std::{
    collections::VecDeque,
    hash::BuildHasher as _,
    time::{Duration, Instant},
};

use hashbrown::{DefaultHashBuilder, HashSet};
use protocol::ddp::ejson;

/// Changes that are remembered: what a busy workspace announces between two checkpoints of its hub, many times over.
const CHANGES_MAX: usize = 65_536;

/// Gaps that are remembered.
const GAPS_MAX: usize = 64;

/// The last words of a hub that has handed over may come so much later than the first of its successor.
const OVERLAP: Duration = Duration::from_secs(1);

/// A hub that is so long the only one to be heard was never replaced: the terms have begun again. A frozen one finds out
/// within a lease, which is shorter.
const REPLACED_WITHIN: Duration = Duration::from_secs(30);

/// Bytes of a resume token or the name of a gap; real ones have less than a tenth.
const NAME_BYTES_MAX: usize = 4_096;

/// What was heard of hubs.
#[derive(Default)]
pub(crate) struct Hubs {
    hasher: DefaultHashBuilder,
    /// Hashes of changes, the oldest first. Two in 2^64 are the same: a change that is dropped for that is one in millions
    /// of years.
    changes: Ring,
    gaps: Ring,
    newest: Option<Newest>,
}

struct Newest {
    term: i64,
    since: Instant,
    /// Since when only hubs of earlier terms are heard.
    contradicted: Option<Instant>,
}

/// What becomes of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// It is handled, as is every event that comes from no hub.
    News,
    /// Its change has been announced before.
    Duplicate,
    /// Its hub was replaced.
    Stale,
    /// It is handled; changes were missed for good.
    Gap,
    /// It is handled; the terms have begun again, and what the hub said meanwhile was taken for stale.
    Restart,
}

impl Hubs {
    /// Judges an event by its meta (a raw JSON object).
    pub(crate) fn hear(&mut self, meta: &str, now: Instant) -> Heard {
        let Some(hub) = ejson::field(meta, "hub") else {
            return Heard::News;
        };
        let number = |name| ejson::field(hub, name)?.parse::<i64>().ok();
        let name = |name| {
            let text = ejson::field(hub, name).and_then(ejson::string)?;
            (text.len() <= NAME_BYTES_MAX).then_some(text)
        };
        let Some(term) = number("term") else {
            return Heard::News;
        };
        let standing = self.judge_term(term, now);
        if standing == Heard::Stale {
            return Heard::Stale;
        }
        if let Some(gap) = name("gap") {
            let is_new = self.gaps.insert(self.hasher.hash_one(&*gap), GAPS_MAX);
            return if is_new { Heard::Gap } else { standing };
        }
        if let (Some(token), Some(n)) = (name("token"), number("n")) {
            let change = self.hasher.hash_one((&*token, n));
            if !self.changes.insert(change, CHANGES_MAX) {
                return Heard::Duplicate;
            }
        }
        standing
    }

    fn judge_term(&mut self, term: i64, now: Instant) -> Heard {
        let known = self.newest.as_mut().filter(|newest| term <= newest.term);
        let Some(newest) = known else {
            self.newest = Some(Newest {
                term,
                since: now,
                contradicted: None,
            });
            return Heard::News;
        };
        if term == newest.term {
            newest.contradicted = None;
            return Heard::News;
        }
        if now < newest.since + OVERLAP {
            return Heard::News;
        }
        let since = *newest.contradicted.get_or_insert(now);
        if now < since + REPLACED_WITHIN {
            return Heard::Stale;
        }
        *newest = Newest {
            term,
            since: now,
            contradicted: None,
        };
        Heard::Restart
    }
}

/// The last so many hashes.
#[derive(Default)]
struct Ring {
    order: VecDeque<u64>,
    known: HashSet<u64>,
}

impl Ring {
    /// Whether it was not there.
    fn insert(&mut self, hash: u64, most: usize) -> bool {
        if !self.known.insert(hash) {
            return false;
        }
        if self.order.len() == most
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        self.order.push_back(hash);
        true
    }
}

#[cfg(test)]
mod tests {
    use harness::Dice;

    use super::*;

    fn change(term: i64, token: u64, n: u64) -> String {
        format!(r#"{{"hub":{{"term":{term},"token":"{token}","n":{n}}}}}"#)
    }

    fn gap(term: i64, id: &str) -> String {
        format!(r#"{{"hub":{{"term":{term},"gap":"{id}"}}}}"#)
    }

    #[test]
    fn a_change_is_heard_once_and_a_gap_is_one() {
        let (mut hubs, now) = (Hubs::default(), Instant::now());
        let mut hear = |meta: &str| hubs.hear(meta, now);
        assert_eq!(hear("{}"), Heard::News);
        assert_eq!(hear("{}"), Heard::News);
        assert_eq!(hear(&change(1, 7, 0)), Heard::News);
        assert_eq!(hear(&change(1, 7, 1)), Heard::News);
        // Another hub goes on from the last checkpoint.
        assert_eq!(hear(&change(2, 7, 0)), Heard::Duplicate);
        assert_eq!(hear(&change(2, 8, 0)), Heard::News);
        assert_eq!(hear(&gap(2, "g1")), Heard::Gap);
        assert_eq!(hear(&gap(2, "g1")), Heard::News);
        assert_eq!(hear(&gap(2, "g2")), Heard::Gap);
    }

    #[test]
    fn a_hub_that_was_replaced_is_heard_for_a_second() {
        let (mut hubs, now) = (Hubs::default(), Instant::now());
        hubs.hear(&change(1, 1, 0), now);
        hubs.hear(&change(2, 2, 0), now);
        assert_eq!(hubs.hear(&change(1, 3, 0), now), Heard::News);
        let later = now + OVERLAP;
        assert_eq!(hubs.hear(&change(1, 4, 0), later), Heard::Stale);
        assert_eq!(hubs.hear(&gap(1, "g"), later), Heard::Stale);
        assert_eq!(hubs.hear(&change(2, 4, 0), later), Heard::News);
    }

    #[test]
    fn terms_that_begin_again_are_no_silence_for_ever() {
        let (mut hubs, now) = (Hubs::default(), Instant::now());
        hubs.hear(&change(i64::MAX, 1, 0), now);
        let after = |seconds| now + Duration::from_secs(seconds);
        assert_eq!(hubs.hear(&change(1, 2, 0), after(10)), Heard::Stale);
        assert_eq!(hubs.hear(&change(1, 3, 0), after(39)), Heard::Stale);
        assert_eq!(hubs.hear(&change(1, 4, 0), after(40)), Heard::Restart);
        assert_eq!(hubs.hear(&change(1, 5, 0), after(41)), Heard::News);
    }

    /// Hubs that take over from each other begin at some earlier change; everything is heard once, in order.
    #[test]
    fn whoever_takes_over_wherever_everything_is_heard_once_and_in_order() {
        for seed in 1..=50 {
            let (mut hubs, mut dice) = (Hubs::default(), Dice::new(seed));
            let (mut now, mut said, mut heard) = (Instant::now(), 0, Vec::new());
            for term in 1..=20 {
                let from = said - dice.roll(said.min(500) + 1);
                let to = said + dice.roll(200);
                for token in from..to {
                    if hubs.hear(&change(term, token as u64, 0), now) == Heard::News {
                        heard.push(token);
                    }
                    now += Duration::from_millis(dice.roll(50) as u64);
                }
                said = said.max(to);
                // The one before wakes up and says what it had in hand.
                now += OVERLAP;
                let frozen = hubs.hear(&change(term - 1, u64::MAX, 0), now);
                assert!(
                    term == 1 || to == from || frozen == Heard::Stale,
                    "seed {seed}"
                );
            }
            assert!(heard.into_iter().eq(0..said), "seed {seed}");
        }
    }

    #[test]
    fn memory_is_bounded() {
        let (mut hubs, now) = (Hubs::default(), Instant::now());
        for token in 0..3 * CHANGES_MAX as u64 {
            hubs.hear(&change(1, token, 0), now);
            hubs.hear(&gap(1, &token.to_string()), now);
        }
        assert_eq!(hubs.changes.known.len(), CHANGES_MAX);
        assert_eq!(hubs.gaps.order.len(), GAPS_MAX);
    }
}
