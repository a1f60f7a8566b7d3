//! What events have spoken of lately. A verdict that was asked for meanwhile may have been given by somebody who had not
//! heard them yet: it is judged once more.
//!
//! A table of fixed size, because some events follow every message: two names in one place cost a question, nothing else.

use std::{
    hash::BuildHasher as _,
    time::{Duration, Instant},
};

use hashbrown::DefaultHashBuilder;

use super::grants::GroundRef;

/// Places, a power of two: 256 KiB.
const PLACES: usize = 1 << 16;

pub(crate) struct Recent {
    hasher: DefaultHashBuilder,
    /// By hash: when something was heard, in ms since `start`.
    heard: Box<[u32]>,
    everybody: u32,
    start: Instant,
}

impl Recent {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            hasher: DefaultHashBuilder::default(),
            heard: vec![0; PLACES].into(),
            everybody: 0,
            start: now,
        }
    }

    /// Something was heard of this.
    pub(crate) fn hear(&mut self, ground: GroundRef<'_>, now: Instant) {
        let at = self.time(now);
        self.heard[self.place(ground)] = at;
    }

    /// Something was heard of everybody.
    pub(crate) fn hear_all(&mut self, now: Instant) {
        self.everybody = self.time(now);
    }

    /// Whether something was heard of this within that time.
    pub(crate) fn is_fresh(&self, ground: GroundRef<'_>, within: Duration, now: Instant) -> bool {
        let last = self.heard[self.place(ground)].max(self.everybody);
        let within = u32::try_from(within.as_millis()).unwrap_or(u32::MAX);
        last != 0 && self.time(now).wrapping_sub(last) <= within
    }

    fn place(&self, ground: GroundRef<'_>) -> usize {
        self.hasher.hash_one(ground) as usize & (PLACES - 1)
    }

    /// 0 is "never"; after 49 days it starts again, and a name may be fresh once too often.
    fn time(&self, now: Instant) -> u32 {
        let millis = now.saturating_duration_since(self.start).as_millis();
        (millis as u32).wrapping_add(1).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_heard_is_fresh_for_a_while() {
        let (now, within) = (Instant::now(), Duration::from_secs(2));
        let mut recent = Recent::new(now);
        let room = GroundRef::Room("r1");
        assert!(!recent.is_fresh(room, within, now));
        recent.hear(room, now);
        assert!(recent.is_fresh(room, within, now + within));
        assert!(!recent.is_fresh(room, within, now + within * 2));
        recent.hear_all(now + within * 3);
        assert!(recent.is_fresh(GroundRef::User("u1"), within, now + within * 3));
    }
}
