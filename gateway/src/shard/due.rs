//! When a shard looks at its clients again: one moment for each, in one set.

use std::{
    collections::BTreeSet,
    num::NonZeroU64,
    pin::Pin,
    task::Context,
    time::{Duration, Instant},
};

use tokio::time::{Sleep, sleep_until};

/// A moment: whole milliseconds since the first one began, which is 1.
pub(crate) type Tick = NonZeroU64;

/// When each client is looked at again.
///
/// A set of 16 bytes each: the 92 of a `DelayQueue`'s entry were a thirtieth of an idle connection.
#[derive(Default)]
pub(crate) struct Timers {
    began: Option<Instant>,
    /// With the client's slot.
    due: BTreeSet<(Tick, u32)>,
    /// Runs until the first of them.
    sleep: Option<(Tick, Pin<Box<Sleep>>)>,
}

impl Timers {
    /// The first tick that is not before this instant.
    fn tick(&mut self, at: Instant) -> Tick {
        let began = *self.began.get_or_insert_with(now);
        let millis = at
            .saturating_duration_since(began)
            .as_nanos()
            .div_ceil(1_000_000);
        u64::try_from(millis).map_or(Tick::MAX, |millis| Tick::MIN.saturating_add(millis))
    }

    /// Looks again at this client, of whom it was `set` before, by `due`; where that is sooner: its tick, and whether it is the
    /// first of all.
    pub(crate) fn hasten(
        &mut self,
        slot: u32,
        set: Option<Tick>,
        due: Instant,
    ) -> Option<(Tick, bool)> {
        let due = self.tick(due);
        match set {
            Some(set) if set <= due => return None,
            Some(set) => self.remove(slot, set),
            None => {}
        }
        self.due.insert((due, slot));
        Some((due, self.due.first() == Some(&(due, slot))))
    }

    pub(crate) fn remove(&mut self, slot: u32, set: Tick) {
        self.due.remove(&(set, slot));
    }

    /// Moves the slots of those whose tick has come into `fired`; the task is woken when the next one comes.
    pub(crate) fn poll_expired(&mut self, context: &mut Context<'_>, fired: &mut Vec<u32>) {
        while let (Some(began), Some(&(first, _))) = (self.began, self.due.first()) {
            let at = began + Duration::from_millis(first.get() - 1);
            let (armed, sleep) = self
                .sleep
                .get_or_insert_with(|| (first, Box::pin(sleep_until(at.into()))));
            if *armed != first {
                *armed = first;
                sleep.as_mut().reset(at.into());
            }
            if sleep.as_mut().poll(context).is_pending() {
                return;
            }
            // Whoever's moment came while others were served, too.
            let passed = now().saturating_duration_since(at).as_millis();
            let passed = first.saturating_add(u64::try_from(passed).unwrap_or(u64::MAX));
            while let Some(due) = self.due.first()
                && due.0 <= passed
            {
                fired.extend(self.due.pop_first().map(|(_, slot)| slot));
            }
        }
    }

    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.due.is_empty()
    }
}

/// The time by the runtime's clock, which tests can stop.
pub(crate) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
