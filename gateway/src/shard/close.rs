//! The end of a connection, and everything that ends many of them.
//!
//! ```text
//! Open ── close: topics and users forgotten, bus told, close frame last in the outbox ──▶ Closing
//! Closing ── frame written, peer's close read (or nothing readable any more) ── FIN ──▶ peer's FIN ──▶ Gone
//! Closing ── close_linger ──▶ Gone
//! ```
//!
//! A socket is never dropped with unread input while its peer may still read: that would send RST, and the peer could
//! lose the close frame.

use std::{rc::Rc, time::Duration};

use bytes::Bytes;
use protocol::{
    close::CloseReason,
    ddp,
    outbox::{Class, Frame},
    session::SubKey,
    ws,
};

use super::{
    Shard,
    entry::{Entry, Phase, Queued},
    now,
};
use crate::{
    link::ToBus,
    metrics,
    place::{Place, Sub},
    streams::topic::Audience,
};

impl Shard {
    /// Ends a session: flush, close frame last, then wait for the peer.
    pub(crate) fn close(&self, entry: &Rc<Entry>, reason: CloseReason) {
        let frame = reason
            .code(&self.limits)
            .map(|code| ws::close_frame(Some(code), reason.text()));
        self.close_with(entry, reason, frame);
    }

    /// As [`Self::close`], with this frame as the last.
    pub(crate) fn close_with(&self, entry: &Rc<Entry>, reason: CloseReason, frame: Option<Bytes>) {
        if !entry.is_open() {
            return;
        }
        let now = now();
        let until = now + self.limits.close_linger;
        entry.phase.set(Phase::Closing {
            until,
            sent: false,
            peer_closed: false,
        });
        self.forget(entry);
        metrics::connection_closed(reason);
        tracing::debug!(connection = %entry.connection.id, reason = reason.label(), "connection ends");
        let connection = entry.connection.clone();
        self.shared.to_bus.post(ToBus::Closed(connection), 0);

        let mut outbox = entry.outbox.borrow_mut();
        if matches!(reason, CloseReason::SlowConsumer | CloseReason::Overload) {
            outbox.cut();
        }
        if let Some(frame) = frame {
            // A reply always fits.
            let _ = outbox.push(Frame::Shared(frame), Class::Reply, false, now);
        }
        drop(outbox);
        self.schedule(entry, until);
        self.mark(entry, Queued::Urgent);
    }

    /// The peer's close frame is here, or will never be recognised: nothing it sends matters any more.
    pub(crate) fn peer_closed(&self, entry: &Entry) {
        if let Phase::Closing { until, sent, .. } = entry.phase.get() {
            entry.phase.set(Phase::Closing {
                until,
                sent,
                peer_closed: true,
            });
            self.finish(entry);
        }
    }

    /// Says the end of our side once both close frames have passed; the peer ends the connection, or the timer.
    pub(crate) fn finish(&self, entry: &Entry) {
        if let Phase::Closing {
            sent: true,
            peer_closed: true,
            ..
        } = entry.phase.get()
            && let Some(transport) = &*entry.transport.borrow()
        {
            transport.io.shutdown_write();
        }
    }

    /// The socket is of no use any more: ends the session if it still lives, and frees the slot.
    pub(crate) fn lost(&self, entry: &Rc<Entry>) {
        self.close_with(entry, CloseReason::PeerGone, None);
        if entry.phase.replace(Phase::Gone) == Phase::Gone {
            return;
        }
        self.account(entry);
        self.unschedule(entry);
        entry.transport.borrow_mut().take();
        self.entries.borrow_mut().remove(entry.slot() as usize);
        let headers = &entry.connection.headers;
        // Two: the set's own and this connection's. Where the bus thread still holds another connection's, the text
        // stays until the set is cleared out.
        if std::sync::Arc::strong_count(headers) <= 2 {
            self.headers.borrow_mut().remove(headers);
        }
    }

    /// Takes a client out of everything that finds clients.
    fn forget(&self, entry: &Entry) {
        entry.session.borrow_mut().close();
        entry.running.set(None);
        let mut table = self.topics.borrow_mut();
        let mut ids: Vec<_> = entry.topics.take().into_iter().map(|(_, id)| id).collect();
        ids.sort_unstable();
        ids.dedup();
        for id in ids {
            table.unsubscribe(id, entry.slot());
        }
        drop(table);
        self.unwatch_all(entry);
        self.log_out(entry);
    }

    /// Closes these clients, behind what is queued for them.
    pub(crate) fn close_all(&self, places: &[Place], reason: CloseReason) {
        for entry in places.iter().filter_map(|place| self.entry(*place)) {
            self.close(&entry, reason);
        }
    }

    /// Ends subscriptions that a rule no longer allows.
    pub(crate) fn revoke(self: &Rc<Self>, subs: &[Sub], silently: bool) {
        for (place, sub) in subs {
            if let Some(entry) = self.entry(*place) {
                self.end_subscription(&entry, *sub, silently);
            }
        }
    }

    /// Another user may be logged in on a client than before: what is addressed to anybody else ends.
    pub(crate) fn end_strangers(self: &Rc<Self>, entry: &Rc<Entry>, user: &str) {
        let is_stranger = |audience| matches!(audience, Audience::User(id) if *id != *user);
        let strangers: Vec<_> = {
            let table = self.topics.borrow();
            let own = entry.topics.borrow();
            let subs = own
                .iter()
                .filter(|(_, id)| is_stranger(table.audience(*id)));
            subs.map(|(sub, _)| *sub).collect()
        };
        for sub in strangers {
            self.end_subscription(entry, sub, false);
        }
    }

    fn end_subscription(self: &Rc<Self>, entry: &Rc<Entry>, sub: SubKey, silently: bool) {
        if !self.unsubscribe(entry, sub) {
            return;
        }
        let error = (!silently).then(|| Some(ddp::Error::not_allowed()));
        self.step(entry, |session| {
            session.subscription_ended(sub, error);
            Ok(())
        });
    }

    /// Closes those who may have missed something (`None`: everybody), spread over time.
    pub(crate) fn resync(&self, places: Option<&[Place]>, over: Duration) {
        let concerned = match places {
            None => self.all(),
            Some(places) => places
                .iter()
                .filter_map(|place| self.entry(*place))
                .collect(),
        };
        self.close_over(concerned, CloseReason::Resync, over);
    }

    /// Closes everybody because the process ends, spread over time.
    pub(crate) fn drain(&self, over: Duration) {
        self.close_over(self.all(), CloseReason::Draining, over);
    }

    /// Gives each client its moment within `over`; one that has an earlier one keeps it.
    pub(super) fn close_over(&self, entries: Vec<Rc<Entry>>, reason: CloseReason, over: Duration) {
        let now = now();
        for entry in entries.into_iter().filter(|entry| entry.is_open()) {
            let at = now + over.mul_f64(self.random());
            if entry.close_at().is_none_or(|(earlier, _)| at < earlier) {
                entry.phase.set(Phase::Leaving { at, reason });
                self.schedule(&entry, at);
            }
        }
    }

    pub(super) fn all(&self) -> Vec<Rc<Entry>> {
        self.entries
            .borrow()
            .iter()
            .map(|(_, entry)| entry.clone())
            .collect()
    }

    /// From 0 to 1 (xorshift): jitter needs no secret.
    fn random(&self) -> f64 {
        let mut state = self.jitter.get();
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        self.jitter.set(state);
        (state >> 11) as f64 / (1u64 << 53) as f64
    }
}
