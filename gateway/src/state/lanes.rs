//! What presence is told of each client, one thing after the other: nothing overtakes the `newConnection` of its client.
//!
//! A word that presence could not take now goes back to the head of its lane, which rests for a while: nothing else would
//! ever mend it. What waits in a lane that has failed is only what is still true, and nobody waits for its answer.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use hashbrown::{HashMap, hash_map};

use crate::{
    link::{Caller, Ticket, User},
    place::Place,
};

pub(crate) const NEW: &str = "presence.newConnection";
pub(crate) const REMOVED: &str = "presence.removeConnection";
pub(crate) const STATUS: &str = "presence.setConnectionStatus";

/// Words that may wait for one client; a lane is as long as its client is faster than presence.
const WORDS_MAX: usize = 64;

/// Lanes that rest at the same time: one for every client of a well-filled node, and those that went meanwhile.
const RESTING_MAX: usize = 200_000;

/// A word is told so often to a presence that is there.
const ATTEMPTS_MAX: u32 = 12;

/// Rest after the first failure, doubled after each further one up to the longest.
const REST: Duration = Duration::from_secs(1);
const REST_MAX: Duration = Duration::from_secs(30);

/// The lanes of clients with something under way.
#[derive(Default)]
pub(crate) struct Lanes {
    lanes: HashMap<Place, Lane>,
    /// When those that rest are driven again.
    resting: BinaryHeap<Reverse<(Instant, Place)>>,
}

#[derive(Default)]
struct Lane {
    words: VecDeque<Word>,
    /// How often its first word has failed.
    failures: u32,
}

/// One call of presence.
#[derive(Debug)]
pub(crate) struct Word {
    pub(crate) action: &'static str,
    /// Raw JSON array.
    pub(crate) params: String,
    pub(crate) then: Then,
}

/// What follows the call.
#[derive(Debug)]
pub(crate) enum Then {
    Nothing,
    /// It is a method's answer.
    Answer(Ticket),
    /// A login goes on.
    Welcome(Caller, Arc<User>),
}

/// What becomes of a word.
#[derive(Debug)]
pub(crate) enum Entered {
    /// Nothing was under way: the lane must be driven now.
    Begins,
    Waits,
    /// The lane has failed: what follows must not wait for presence.
    Rests(Then),
}

impl Lanes {
    pub(crate) fn push(&mut self, place: Place, mut word: Word) -> Entered {
        let lane = match self.lanes.entry(place) {
            hash_map::Entry::Occupied(lane) => lane.into_mut(),
            hash_map::Entry::Vacant(entry) => {
                let lane = entry.insert(Lane::default());
                // Nearly always it stays the only one.
                lane.words.reserve_exact(1);
                lane.words.push_back(word);
                return Entered::Begins;
            }
        };
        if lane.failures == 0 {
            lane.words.push_back(word);
            return Entered::Waits;
        }
        let then = std::mem::replace(&mut word.then, Then::Nothing);
        if word.is_told_again() {
            lane.words.retain(|before| !word.replaces(before));
            lane.words.push_back(word);
            if lane.words.len() == 1 {
                // It has not been told yet.
                lane.failures = 1;
            }
        }
        Entered::Rests(then)
    }

    /// Whether this client says more than presence takes.
    pub(crate) fn is_full(&self, place: Place) -> bool {
        let lane = self.lanes.get(&place);
        lane.is_some_and(|lane| lane.words.len() >= WORDS_MAX)
    }

    /// Whether something is under way for this client.
    pub(crate) fn is_busy(&self, place: Place) -> bool {
        self.lanes.contains_key(&place)
    }

    /// The next word of a lane that is driven; `None` ends it.
    pub(crate) fn next(&mut self, place: Place) -> Option<Word> {
        let word = self.lanes.get_mut(&place)?.words.pop_front();
        if word.is_none() {
            self.lanes.remove(&place);
        }
        word
    }

    /// Presence has taken the last word.
    pub(crate) fn taken(&mut self, place: Place) {
        if let Some(lane) = self.lanes.get_mut(&place) {
            lane.failures = 0;
        }
    }

    /// Presence could not take this word now: the lane rests, and nobody waits for what is in it.
    ///
    /// # Errors
    /// The word is given up; the lane goes on with the next.
    pub(crate) fn rest(
        &mut self,
        place: Place,
        word: Word,
        now: Instant,
    ) -> Result<Vec<Then>, GivenUp> {
        let is_full = self.resting.len() >= RESTING_MAX;
        let lane = self.lanes.entry(place).or_default();
        lane.failures += 1;
        if !word.is_told_again() || lane.failures >= ATTEMPTS_MAX || is_full {
            lane.failures = 0;
            return Err(GivenUp);
        }
        let mut thens = Vec::new();
        let waiting = std::mem::take(&mut lane.words);
        lane.words.reserve_exact(1);
        lane.words.push_back(word);
        for mut word in waiting {
            thens.push(std::mem::replace(&mut word.then, Then::Nothing));
            if word.is_told_again() {
                lane.words.retain(|before| !word.replaces(before));
                lane.words.push_back(word);
            }
        }
        let rest = REST_MAX.min(REST * 2_u32.pow(lane.failures.min(10) - 1));
        self.resting.push(Reverse((now + rest, place)));
        Ok(thens)
    }

    /// A lane that has rested enough, or when to ask again; `None`: none rests.
    pub(crate) fn rested(&mut self, now: Instant) -> Option<Result<Place, Instant>> {
        let &Reverse((at, place)) = self.resting.peek()?;
        if at > now {
            return Some(Err(at));
        }
        self.resting.pop();
        Some(Ok(place))
    }

    /// How many rest.
    pub(crate) fn resting(&self) -> usize {
        self.resting.len()
    }

    /// Clients of whom something is told or waits.
    pub(crate) fn len(&self) -> usize {
        self.lanes.len()
    }

    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.lanes.is_empty() && self.resting.is_empty()
    }
}

/// A word was told too often.
#[derive(Debug)]
pub(crate) struct GivenUp;

impl Word {
    /// Whether nothing else would mend that presence has not heard it. Signs of life come again by themselves, and whoever
    /// chose a status is told that it failed.
    pub(crate) fn is_told_again(&self) -> bool {
        matches!(self.action, NEW | REMOVED | STATUS)
    }

    /// Whether an earlier word means nothing before this one.
    fn replaces(&self, before: &Self) -> bool {
        match self.action {
            REMOVED => before.action != REMOVED,
            STATUS => before.action == STATUS,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: Place = Place {
        shard: 0,
        slot: 1,
        generation: 1,
    };

    fn word(action: &'static str, params: &str) -> Word {
        Word {
            action,
            params: params.into(),
            then: Then::Nothing,
        }
    }

    fn words(lanes: &mut Lanes) -> Vec<String> {
        let mut words = Vec::new();
        while let Some(word) = lanes.next(PLACE) {
            words.push(word.params);
        }
        words
    }

    #[test]
    fn a_lane_that_failed_keeps_the_order_and_what_is_still_true() {
        let (mut lanes, now) = (Lanes::default(), Instant::now());
        assert!(matches!(
            lanes.push(PLACE, word(NEW, "new")),
            Entered::Begins
        ));
        lanes.push(PLACE, word(STATUS, "away"));
        lanes.push(PLACE, word("presence.setStatus", "busy"));
        let failed = lanes.next(PLACE).unwrap();
        assert_eq!(lanes.rest(PLACE, failed, now).unwrap().len(), 2);
        lanes.push(PLACE, word("presence.updateConnection", "alive"));
        lanes.push(PLACE, word(STATUS, "online"));
        assert_eq!(lanes.rested(now), Some(Err(now + REST)));
        assert_eq!(lanes.rested(now + REST), Some(Ok(PLACE)));
        assert_eq!(words(&mut lanes), ["new", "online"]);
        assert!(lanes.is_empty());
    }

    #[test]
    fn of_a_client_that_went_presence_hears_the_end_alone() {
        let (mut lanes, now) = (Lanes::default(), Instant::now());
        lanes.push(PLACE, word(NEW, "new"));
        let failed = lanes.next(PLACE).unwrap();
        lanes.rest(PLACE, failed, now).unwrap();
        lanes.push(PLACE, word(STATUS, "away"));
        lanes.push(PLACE, word(REMOVED, "gone"));
        lanes.rested(now + REST);
        assert_eq!(words(&mut lanes), ["gone"]);
    }

    #[test]
    fn a_word_that_always_fails_is_given_up_and_the_rest_grows() {
        let (mut lanes, mut now) = (Lanes::default(), Instant::now());
        lanes.push(PLACE, word(NEW, "new"));
        let start = now;
        while let Some(word) = lanes.next(PLACE) {
            if lanes.rest(PLACE, word, now).is_ok() {
                now = lanes.rested(now).unwrap().unwrap_err();
                assert_eq!(lanes.rested(now), Some(Ok(PLACE)));
            }
        }
        let minutes = (now - start).as_secs() / 60;
        assert!((3..6).contains(&minutes), "{minutes}");
        assert!(lanes.is_empty());
    }
}
