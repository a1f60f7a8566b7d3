//! Timers are lazy: a later deadline is only noticed when the earlier one comes.

use std::{rc::Rc, task::Context, time::Instant};

use protocol::close::CloseReason;

use super::{
    Shard,
    entry::{Entry, Phase},
    now,
};

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
        for slot in &slots {
            let entry = self.entries.borrow().get(*slot as usize).cloned();
            if let Some(entry) = entry {
                self.expired(&entry);
            }
        }
        !slots.is_empty()
    }

    /// Looks at a client whose moment has come.
    fn expired(self: &Rc<Self>, entry: &Rc<Entry>) {
        entry.timer.set(None);
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
