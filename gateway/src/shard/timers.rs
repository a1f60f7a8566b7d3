//! Timers: one key per client in one queue, and lazy: a later deadline is only noticed when the earlier one fires.

use std::{
    rc::Rc,
    task::{Context, Poll},
    time::Instant,
};

use protocol::close::CloseReason;

use super::{
    Shard,
    entry::{Entry, Phase},
    now,
};
use crate::place::Place;

impl Shard {
    /// Makes sure that this client is looked at by `due`.
    pub(crate) fn schedule(&self, entry: &Entry, due: Instant) {
        let mut timers = self.timers.borrow_mut();
        match entry.timer.get() {
            Some((_, set)) if set <= due => {}
            Some((key, _)) => {
                timers.reset_at(&key, due.into());
                entry.timer.set(Some((key, due)));
            }
            None => {
                let key = timers.insert_at(entry.connection.place, due.into());
                entry.timer.set(Some((key, due)));
            }
        }
    }

    /// Forgets a client's key.
    pub(crate) fn unschedule(&self, entry: &Entry) {
        if let Some((key, _)) = entry.timer.take() {
            self.timers.borrow_mut().remove(&key);
        }
    }

    /// Looks at every client whose key has fired; whether there was one. At once, because a key that has left the queue
    /// must not be used any more.
    pub(crate) fn fire(self: &Rc<Self>, context: &mut Context<'_>) -> bool {
        let mut fired = Vec::new();
        while let Poll::Ready(Some(expired)) = self.timers.borrow_mut().poll_expired(context) {
            fired.push(expired.into_inner());
        }
        for place in &fired {
            self.expired(*place);
        }
        !fired.is_empty()
    }

    /// Looks at a client whose key is gone from the queue.
    fn expired(self: &Rc<Self>, place: Place) {
        let Some(entry) = self.entry(place) else {
            return;
        };
        entry.timer.set(None);
        let now = now();
        if let Phase::Closing { until, .. } = entry.phase.get() {
            if until <= now {
                self.lost(&entry);
            } else {
                self.schedule(&entry, until);
            }
            return;
        }
        if let Some((at, reason)) = entry.close_at.get()
            && at <= now
        {
            return self.close(&entry, reason);
        }
        if self.is_stalled(&entry) {
            return self.close(&entry, CloseReason::SlowConsumer);
        }
        #[cfg(feature = "echo")]
        if entry.echo {
            return;
        }
        let due = entry.session.borrow().poll_timeout();
        if due <= now {
            self.step(&entry, |session| session.handle_timeout(now));
        } else {
            self.schedule(&entry, due);
        }
        if !entry.is_open() {
            return;
        }
        if let Some((at, _)) = entry.close_at.get() {
            self.schedule(&entry, at);
        }
        if entry.blocked.get()
            && let Some(oldest) = entry.outbox.borrow().oldest()
        {
            self.schedule(&entry, oldest + self.limits.outbox_age);
        }
    }
}
