//! The way out: publications into the outboxes of their subscribers. Sessions are never touched, nothing is awaited,
//! locked or (beyond the first frame of a framing) allocated per delivery.

use std::{rc::Rc, sync::Arc, time::Instant};

use protocol::{
    close::CloseReason,
    outbox::{Frame, Pushed},
};

use super::{
    Shard,
    entry::{Entry, Queued},
    now,
};
use crate::{
    metrics,
    publication::{Publication, To, UserEvent},
    streams::{table::Stream, topic::TopicRef},
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
            match &publication.to {
                To::Topic(topic) => self.fan_out(publication, topic.borrow(), now, &mut tally),
                To::Users { users, event } => {
                    self.fan_out_to_users(publication, users, *event, now, &mut tally);
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

    fn fan_out(
        &self,
        publication: &Publication,
        topic: TopicRef<'_>,
        now: Instant,
        tally: &mut Tally,
    ) {
        let topics = self.topics.borrow();
        let Some(subscribers) = topics.subscribers(topic) else {
            return;
        };
        let entries = self.entries.borrow();
        for slot in subscribers.iter() {
            // A subscriber in the table has an entry: both go in one function.
            let Some(entry) = entries.get(slot as usize) else {
                continue;
            };
            if publication.exclude == Some(entry.connection.place) {
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

    /// An event to each of the users who listens here: what stands between head and tail stays shared.
    fn fan_out_to_users(
        &self,
        publication: &Publication,
        users: &[Arc<str>],
        event: UserEvent,
        now: Instant,
        tally: &mut Tally,
    ) {
        let topics = self.topics.borrow();
        let entries = self.entries.borrow();
        let mut key = String::new();
        for user in users {
            event.key(user, &mut key);
            let topic = TopicRef {
                stream: Stream::NotifyUser,
                event: &key,
            };
            let Some(subscribers) = topics.subscribers(topic) else {
                continue;
            };
            let mut frames = [const { None }; 2];
            for slot in subscribers.iter() {
                let Some(entry) = entries.get(slot as usize) else {
                    continue;
                };
                let framing = entry.framing;
                let frame = frames[framing as usize]
                    .get_or_insert_with(|| publication.user_frame(framing, event, &key))
                    .clone();
                self.deliver(entry, frame, publication, now, tally);
            }
        }
    }
}
