//! The way out: publications into the outboxes of their subscribers. Sessions are never touched, nothing is awaited,
//! locked or (beyond the first frame of a framing) allocated per delivery.

use std::{rc::Rc, sync::Arc, time::Instant};

use protocol::{
    close::CloseReason,
    outbox::{Frame, Pushed},
    sockjs::Framing,
};

use super::{
    Shard,
    entry::{Entry, Queued},
    now,
};
use crate::{
    metrics,
    publication::{Body, Publication},
    topic::Topic,
};

/// What one batch has done, for counters that are touched once per batch.
#[derive(Default)]
struct Tally {
    delivered: u64,
    shed: u64,
    slow: Vec<Rc<Entry>>,
}

impl Shard {
    /// Appends a batch to the outboxes of its subscribers and marks them for the flush.
    pub(crate) fn publish(self: &Rc<Self>, batch: &[Publication]) {
        let now = now();
        let mut tally = Tally::default();
        for publication in batch {
            self.appended
                .set(self.appended.get() + publication.body.len());
            match &publication.body {
                Body::Stream { .. } | Body::Message(_) => {
                    self.fan_out(publication, now, &mut tally)
                }
                Body::RoomsChanged { users, .. } => {
                    self.rooms_changed(publication, users, now, &mut tally)
                }
            }
        }
        metrics::published(tally.delivered, tally.shed);
        if let Some(first) = batch.first() {
            metrics::fan_out_took(first.received.elapsed());
        }
        // Only now: closing changes the topic table.
        for entry in tally.slow {
            self.close(&entry, CloseReason::SlowConsumer);
        }
    }

    fn fan_out(&self, publication: &Publication, now: Instant, tally: &mut Tally) {
        let topics = self.topics.borrow();
        let Some(subscribers) = topics.subscribers(&publication.topic) else {
            return;
        };
        let entries = self.entries.borrow();
        for slot in subscribers.iter() {
            // A subscriber in the table has an entry: both go in one function.
            let Some(entry) = entries.get(slot as usize) else {
                continue;
            };
            if publication.exclude == Some((self.index, slot, entry.connection.generation)) {
                continue;
            }
            let framing = entry.framing;
            self.deliver(entry, publication.frame(framing), publication, now, tally);
        }
    }

    fn deliver(
        &self,
        entry: &Rc<Entry>,
        frame: Frame,
        publication: &Publication,
        now: Instant,
        tally: &mut Tally,
    ) {
        let pushed = entry
            .outbox
            .borrow_mut()
            .push(frame, publication.class, true, now);
        match pushed {
            Pushed::Queued => {
                tally.delivered += 1;
                self.mark(entry, Queued::Bulk);
            }
            Pushed::Shed => tally.shed += 1,
            Pushed::Full => tally.slow.push(entry.clone()),
        }
    }

    /// `<uid>/rooms-changed` to each of the users who listens here: the document between head and tail stays shared.
    fn rooms_changed(
        &self,
        publication: &Publication,
        users: &[Arc<str>],
        now: Instant,
        tally: &mut Tally,
    ) {
        let topics = self.topics.borrow();
        let entries = self.entries.borrow();
        let event: Arc<str> = "notify-user/rooms-changed".into();
        for user in users {
            let topic = Topic::User(user.clone(), event.clone());
            let Some(subscribers) = topics.subscribers(&topic) else {
                continue;
            };
            let (mut raw, mut sockjs) = (None, None);
            for slot in subscribers.iter() {
                let Some(entry) = entries.get(slot as usize) else {
                    continue;
                };
                let framing = entry.framing;
                let frame = match framing {
                    Framing::Raw => &mut raw,
                    Framing::SockJs => &mut sockjs,
                };
                let frame = frame
                    .get_or_insert_with(|| publication.rooms_changed(framing, user))
                    .clone();
                self.deliver(entry, frame, publication, now, tally);
            }
        }
    }
}
