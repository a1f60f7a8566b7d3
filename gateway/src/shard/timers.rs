//! Timers: one moment per client in one set, and lazy: a later deadline is only noticed when the earlier one comes.

use std::{
    collections::BTreeSet,
    num::NonZeroU64,
    pin::Pin,
    rc::Rc,
    task::Context,
    time::{Duration, Instant},
};

use protocol::close::CloseReason;
use tokio::time::{Sleep, sleep_until};

use super::{
    Shard,
    entry::{Entry, Phase},
    now,
};

/// A moment: whole milliseconds since the first one began, which is 1.
pub(crate) type Tick = NonZeroU64;

/// When each client is looked at again.
///
/// A set of 16 bytes each: the 92 of a `DelayQueue`'s entry were a thirtieth of an idle connection.
#[derive(Default)]
pub(super) struct Timers {
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
    fn hasten(&mut self, slot: u32, set: Option<Tick>, due: Instant) -> Option<(Tick, bool)> {
        let due = self.tick(due);
        match set {
            Some(set) if set <= due => return None,
            Some(set) => self.remove(slot, set),
            None => {}
        }
        self.due.insert((due, slot));
        Some((due, self.due.first() == Some(&(due, slot))))
    }

    fn remove(&mut self, slot: u32, set: Tick) {
        self.due.remove(&(set, slot));
    }

    /// Moves the slots of those whose tick has come into `fired`; the task is woken when the next one comes.
    fn poll_expired(&mut self, context: &mut Context<'_>, fired: &mut Vec<u32>) {
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
    pub(super) fn is_empty(&self) -> bool {
        self.due.is_empty()
    }
}

impl Shard {
    /// Makes sure that this client is looked at by `due`.
    pub(crate) fn schedule(&self, entry: &Entry, due: Instant) {
        let mut timers = self.timers.borrow_mut();
        if let Some((tick, is_first)) = timers.hasten(entry.slot(), entry.timer.get(), due) {
            entry.timer.set(Some(tick));
            if is_first {
                self.rouse();
            }
        }
    }

    /// Forgets a client's moment.
    pub(crate) fn unschedule(&self, entry: &Entry) {
        if let Some(tick) = entry.timer.take() {
            self.timers.borrow_mut().remove(entry.slot(), tick);
        }
    }

    /// Looks at every client whose moment has come; whether there was one.
    pub(crate) fn fire(self: &Rc<Self>, context: &mut Context<'_>) -> bool {
        let mut slots = Vec::new();
        self.timers.borrow_mut().poll_expired(context, &mut slots);
        let entries = self.entries.borrow();
        let fired: Vec<_> = slots
            .into_iter()
            .filter_map(|slot| entries.get(slot as usize).cloned())
            .collect();
        drop(entries);
        // First of all: what is no moment any more cannot be taken back.
        for entry in &fired {
            entry.timer.set(None);
        }
        for entry in &fired {
            self.expired(entry);
        }
        !fired.is_empty()
    }

    /// Looks at a client whose moment has come.
    fn expired(self: &Rc<Self>, entry: &Rc<Entry>) {
        let now = now();
        if let Phase::Closing { until, .. } = entry.phase.get() {
            if until <= now {
                self.lost(entry);
            } else {
                self.schedule(entry, until);
            }
            return;
        }
        if let Some((at, reason)) = entry.close_at()
            && at <= now
        {
            return self.close(entry, reason);
        }
        if self.is_stalled(entry) {
            return self.close(entry, CloseReason::SlowConsumer);
        }
        #[cfg(feature = "echo")]
        if entry.echo {
            return;
        }
        let due = entry.session.borrow().poll_timeout();
        if due <= now {
            self.step(entry, |session| session.handle_timeout(now));
        } else {
            self.schedule(entry, due);
        }
        if !entry.is_open() {
            return;
        }
        if let Some((at, _)) = entry.close_at() {
            self.schedule(entry, at);
        }
        if entry.blocked.get()
            && let Some(oldest) = entry.outbox.borrow().oldest()
        {
            self.schedule(entry, oldest + self.limits.outbox_age);
        }
    }
}
