//! The way out: publications into the outboxes of their subscribers. Sessions are never touched, nothing is awaited,
//! locked or (beyond the first frame of a framing) allocated per delivery.

use std::{rc::Rc, sync::Arc, time::Instant, vec};

use protocol::{
    close::CloseReason,
    outbox::{Class, Frame, Pushed},
};

use super::{
    Shard,
    backlog::{Left, WIDE},
    entry::{Entry, Queued},
    watching::Sight,
};
use crate::{
    buffers::Pressure,
    metrics,
    publication::{Body, Publication, To, UserEvent},
    streams::{table::Stream, topic::TopicRef, watch},
    topics::TopicId,
};

/// What one batch has done, for counters that are touched once per batch.
#[derive(Default)]
pub(super) struct Tally {
    pub(super) delivered: u64,
    shed: u64,
    /// Publications left out because they came too late.
    pub(super) late: u64,
    slow: Vec<Rc<Entry>>,
    /// What can be missed is not held for anybody.
    is_tight: bool,
}

impl Shard {
    /// Appends a publication to the outboxes of its subscribers and marks them for the flush.
    ///
    /// # Errors
    /// Nothing was done: these are too many to be served at once.
    pub(super) fn publish_at_once(
        &self,
        publication: &Publication,
        now: Instant,
        tally: &mut Tally,
    ) -> Result<(), Left> {
        match &publication.to {
            To::Topic(topic) => self.fan_out(publication, topic.borrow(), now, tally),
            To::Users { users, .. } if users.len() > WIDE => Err(Left::Users(0)),
            To::Users { users, event } => {
                self.fan_out_to_users(publication, users, *event, now, tally);
                Ok(())
            }
        }
    }

    /// An empty tally of what is appended now.
    pub(super) fn tally(&self) -> Tally {
        Tally {
            is_tight: self.shared.buffers.pressure() >= Pressure::Tight,
            ..Tally::default()
        }
    }

    /// Counts what was done and closes who does not read.
    pub(super) fn published(&self, tally: Tally) {
        metrics::published(tally.delivered, tally.shed, tally.late);
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
    ) -> Result<(), Left> {
        let topics = self.topics.borrow();
        let Some((id, subscribers)) = topics.subscribers(topic) else {
            return Ok(());
        };
        if subscribers.len() > WIDE {
            let all: Vec<_> = subscribers.iter().collect();
            return Err(Left::Subscribers(all.into_iter()));
        }
        let entries = self.entries.borrow();
        for slot in subscribers.iter() {
            // A subscriber in the table has an entry: both go in one function.
            if let Some(entry) = entries.get(slot as usize) {
                self.deliver_shared(entry, (topic.event, id), publication, now, tally);
            }
        }
        Ok(())
    }

    /// Appends these publications of a topic to the outboxes of the next few of these who still subscribe it; how many.
    pub(super) fn fan_out_to(
        &self,
        slots: &mut vec::IntoIter<u32>,
        some: usize,
        publications: &[&Publication],
        topic: TopicRef<'_>,
        now: Instant,
        tally: &mut Tally,
    ) -> usize {
        let topics = self.topics.borrow();
        let Some((id, subscribers)) = topics.subscribers(topic) else {
            return 0;
        };
        let entries = self.entries.borrow();
        let present = slots.filter(|slot| subscribers.contains(*slot)).take(some);
        let mut served = 0;
        for slot in present {
            served += 1;
            let Some(entry) = entries.get(slot as usize) else {
                continue;
            };
            for publication in publications {
                self.deliver_shared(entry, (topic.event, id), publication, now, tally);
            }
        }
        served
    }

    fn deliver_shared(
        &self,
        entry: &Rc<Entry>,
        (event, id): (&str, TopicId),
        publication: &Publication,
        now: Instant,
        tally: &mut Tally,
    ) {
        let framing = entry.framing;
        let frame = match &publication.body {
            Body::Status { username, .. } => match self.sight(entry, event, id) {
                Sight::Nothing => return,
                Sight::Whole => publication.frame(framing),
                Sight::Offline => Frame::Shared(framing.frame(&watch::correction(event, username))),
            },
            _ if publication.exclude == Some(entry.connection.place) => return,
            _ => publication.frame(framing),
        };
        self.deliver(entry, frame, publication, now, tally);
    }

    /// What one who watches a user may see of him.
    fn sight(&self, entry: &Entry, user: &str, id: TopicId) -> Sight {
        let mut watching = entry.watching.borrow_mut();
        watching
            .as_mut()
            .map_or(Sight::Nothing, |watching| watching.sight(user, id))
    }

    fn deliver(
        &self,
        entry: &Rc<Entry>,
        frame: Frame,
        publication: &Publication,
        now: Instant,
        tally: &mut Tally,
    ) {
        let mut outbox = entry.outbox.borrow_mut();
        let pushed =
            if tally.is_tight && publication.class == Class::Sheddable && !outbox.is_empty() {
                Pushed::Shed
            } else {
                outbox.push(frame, publication.class, true, now)
            };
        drop(outbox);
        match pushed {
            Pushed::Queued => {
                tally.delivered += publication.messages() as u64;
                self.mark(entry, Queued::Bulk);
            }
            Pushed::Shed => tally.shed += publication.messages() as u64,
            Pushed::Full => tally.slow.push(entry.clone()),
        }
    }

    /// An event to each of the users who listens here: what stands between head and tail stays shared.
    pub(super) fn fan_out_to_users(
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
            let Some((_, subscribers)) = topics.subscribers(topic) else {
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
