//! Which grants are to be judged again, and when.
//!
//! | why | when |
//! |---|---|
//! | an event touched what the grant rests on | at once, and once more a little later: another process may hear the event after us |
//! | an event touched everybody (roles, permissions, licence) | in a lap over all grants at a bounded rate, and one more lap a little later |
//! | nothing | in a slow lap, as the backstop for events that nobody sent |
//!
//! Laps keep a position, not a list: nothing here grows with the number of grants.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, VecDeque},
    time::{Duration, Instant},
};

use hashbrown::HashMap;

use super::grants::{GrantId, Grants};

/// How much later a touched grant is judged once more.
pub(crate) const ONCE_MORE: Duration = Duration::from_secs(2);

/// Grants of a fast lap judged per second: the authorization service must survive it.
const FAST_PER_SECOND: u32 = 640;

/// Time of a slow lap.
const SLOW_LAP: Duration = Duration::from_secs(240);

/// No two steps of a slow lap are nearer than this; a lap over more grants takes several at a time.
const SLOW_STEP_MIN: Duration = Duration::from_millis(2);

/// Grants that wait for a new judgement.
#[derive(Debug, Default)]
pub(crate) struct Rejudge {
    soon: VecDeque<GrantId>,
    /// The earliest first; who is touched again takes a later place, between others.
    later: BinaryHeap<Reverse<(Instant, GrantId)>>,
    /// What stands in `soon` (`None`) or in `later` (its newest time), each once.
    waiting: HashMap<GrantId, Waiting>,
    lap: Lap,
}

#[derive(Clone, Copy, Debug, Default)]
struct Waiting {
    soon: bool,
    later: Option<Instant>,
}

/// A walk over all grants.
#[derive(Debug, Default)]
struct Lap {
    position: usize,
    /// Places that a fast lap has still to look at.
    left: usize,
    /// A fast lap begins then.
    again: Option<Instant>,
    next: Option<Instant>,
}

/// What to do now.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    Judge(GrantId),
    /// Nothing before this time, unless something is touched.
    Wait(Instant),
    /// Nothing at all: there are no grants.
    Rest,
}

impl Rejudge {
    /// Something has happened to these.
    pub(crate) fn touched(&mut self, grants: impl IntoIterator<Item = GrantId>, now: Instant) {
        for grant in grants {
            let waiting = self.waiting.entry(grant).or_default();
            if !waiting.soon {
                waiting.soon = true;
                self.soon.push_back(grant);
            }
            self.doubted(grant, now);
        }
    }

    /// The verdict on this may have been given by somebody who had not heard the last events.
    pub(crate) fn doubted(&mut self, grant: GrantId, now: Instant) {
        let at = now + ONCE_MORE;
        let waiting = self.waiting.entry(grant).or_default();
        if waiting.later.replace(at).is_none() {
            self.later.push(Reverse((at, grant)));
        }
    }

    /// Something has happened to all.
    pub(crate) fn touched_all(&mut self, grants: &Grants, now: Instant) {
        self.lap.left = grants.places();
        self.lap.again = Some(now + ONCE_MORE);
        self.lap.next = None;
    }

    /// What to do now.
    pub(crate) fn turn(&mut self, grants: &Grants, now: Instant) -> Turn {
        if let Some(grant) = self.soon.pop_front() {
            self.done(grant, |waiting| waiting.soon = false);
            return Turn::Judge(grant);
        }
        while let Some(&Reverse((at, grant))) = self.later.peek() {
            if at > now {
                break;
            }
            self.later.pop();
            match self.waiting.get(&grant).and_then(|waiting| waiting.later) {
                // It was touched again since.
                Some(newer) if newer > now => self.later.push(Reverse((newer, grant))),
                _ => {
                    self.done(grant, |waiting| waiting.later = None);
                    return Turn::Judge(grant);
                }
            }
        }
        let lap = self.lap.turn(grants, now);
        match (lap, self.later.peek()) {
            (Turn::Judge(grant), _) => Turn::Judge(grant),
            (Turn::Wait(until), Some(Reverse((at, _)))) => Turn::Wait(until.min(*at)),
            (Turn::Wait(until), None) => Turn::Wait(until),
            (Turn::Rest, Some(Reverse((at, _)))) => Turn::Wait(*at),
            (Turn::Rest, None) => Turn::Rest,
        }
    }

    fn done(&mut self, grant: GrantId, change: impl FnOnce(&mut Waiting)) {
        if let Some(waiting) = self.waiting.get_mut(&grant) {
            change(waiting);
            if !waiting.soon && waiting.later.is_none() {
                self.waiting.remove(&grant);
            }
        }
    }

    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }
}

impl Lap {
    fn turn(&mut self, grants: &Grants, now: Instant) -> Turn {
        if grants.is_empty() {
            *self = Self::default();
            return Turn::Rest;
        }
        if self.left == 0 && self.again.is_some_and(|again| again <= now) {
            self.again = None;
            self.left = grants.places();
            self.next = None;
        }
        let pause = if self.left > 0 {
            Duration::from_secs(1) / FAST_PER_SECOND
        } else {
            // Several at a time are so many turns without a pause between them.
            SLOW_LAP / u32::try_from(grants.len()).unwrap_or(u32::MAX)
        };
        let next = *self
            .next
            .get_or_insert(if self.left > 0 { now } else { now + pause });
        if next > now {
            let again = self.again.filter(|_| self.left == 0);
            return Turn::Wait(again.map_or(next, |again| next.min(again)));
        }
        // What was late is made up for, but not more than a little.
        let floor = now.checked_sub(SLOW_STEP_MIN * 50).unwrap_or(now);
        self.next = Some(next.max(floor) + pause);
        let (grant, position) = match grants.walk(self.position) {
            Some(found) => found,
            None => match grants.walk(0) {
                Some(found) => {
                    self.left = self
                        .left
                        .saturating_sub(grants.places().saturating_sub(self.position));
                    self.position = 0;
                    found
                }
                None => return Turn::Rest,
            },
        };
        self.left = self.left.saturating_sub(position - self.position);
        self.position = position;
        Turn::Judge(grant)
    }
}

#[cfg(test)]
mod tests;
