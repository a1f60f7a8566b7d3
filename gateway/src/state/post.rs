//! What leaves the bus thread for the shards: one message per batch and shard, everything else in order behind it.

use std::{mem, sync::Arc, time::Duration};

use protocol::close::CloseReason;

use crate::{
    link::ToShard,
    mailbox::Mailbox,
    place::{Place, Sub},
    publication::Publication,
    streams::scope::Hidden,
};

/// Publications are passed on at the latest when so many bytes have gathered, so that the shards need not wait for the
/// end of a long batch.
const BATCH_BYTES: usize = 256 * 1024;

/// The writer of the mailboxes.
pub(crate) struct Post {
    mailboxes: Vec<Arc<Mailbox<ToShard>>>,
    pending: Vec<Publication>,
    pending_shards: u64,
    pending_bytes: usize,
    /// Shards whose mailbox refused a batch since [`Self::take_overflowed`].
    overflowed: u64,
}

impl Post {
    pub(crate) fn new(mailboxes: Vec<Arc<Mailbox<ToShard>>>) -> Self {
        Self {
            mailboxes,
            pending: Vec::new(),
            pending_shards: 0,
            pending_bytes: 0,
            overflowed: 0,
        }
    }

    /// The bit set of all shards.
    pub(crate) fn all(&self) -> u64 {
        u64::MAX >> (64 - self.mailboxes.len().clamp(1, 64))
    }

    /// Adds a publication for these shards to the batch.
    pub(crate) fn publish(&mut self, shards: u64, publication: Publication) {
        self.pending_bytes += publication.weight();
        self.pending_shards |= shards;
        let next = match self.pending.last_mut() {
            Some(last) => last.join(publication),
            None => Some(publication),
        };
        self.pending.extend(next);
        if self.pending_bytes >= BATCH_BYTES {
            self.flush();
        }
    }

    /// Passes the batch on.
    pub(crate) fn flush(&mut self) {
        if self.pending.is_empty() {
            return;
        }
        let batch: Arc<[Publication]> = mem::take(&mut self.pending).into();
        let (shards, bytes) = (
            mem::take(&mut self.pending_shards),
            mem::take(&mut self.pending_bytes),
        );
        for (number, mailbox) in self.mailboxes.iter().enumerate() {
            if shards & (1 << number) != 0 && !mailbox.post(ToShard::Publish(batch.clone()), bytes)
            {
                self.overflowed |= 1 << number;
            }
        }
    }

    /// Posts one message behind everything published so far.
    pub(crate) fn post(&mut self, shard: u16, message: ToShard) {
        self.flush();
        if let Some(mailbox) = self.mailboxes.get(usize::from(shard)) {
            mailbox.post(message, 0);
        }
    }

    /// Posts one message to every shard with some of these, and those with it.
    fn post_sorted<T: Copy>(
        &mut self,
        items: &[T],
        shard: impl Fn(&T) -> u16,
        message: impl Fn(Vec<T>) -> ToShard,
    ) {
        for number in 0..self.shards() {
            let of_shard: Vec<_> = items
                .iter()
                .filter(|item| shard(item) == number)
                .copied()
                .collect();
            if !of_shard.is_empty() {
                self.post(number, message(of_shard));
            }
        }
    }

    /// Ends subscriptions.
    pub(crate) fn revoke(&mut self, subs: &[Sub], silently: bool) {
        self.post_sorted(
            subs,
            |(place, _)| place.shard,
            |subs| ToShard::Revoke { subs, silently },
        );
    }

    /// Tells clients whom they must not see.
    pub(crate) fn scope(&mut self, places: &[Place], hidden: &Hidden) {
        self.post_sorted(
            places,
            |place| place.shard,
            |places| ToShard::Scope {
                places,
                hidden: hidden.clone(),
            },
        );
    }

    /// Closes clients, behind what is queued for them.
    pub(crate) fn close(&mut self, places: &[Place], reason: CloseReason) {
        self.post_sorted(
            places,
            |place| place.shard,
            |places| ToShard::Close { places, reason },
        );
    }

    /// Closes clients that may have missed something.
    pub(crate) fn resync(&mut self, places: &[Place], over: Duration) {
        self.post_sorted(
            places,
            |place| place.shard,
            |places| ToShard::Resync {
                places: Some(places),
                over,
            },
        );
    }

    /// Closes everybody on these shards (a bit set) for the same reason.
    pub(crate) fn resync_all(&mut self, shards: u64, over: Duration) {
        for shard in (0..self.shards()).filter(|shard| shards & (1 << shard) != 0) {
            self.post(shard, ToShard::Resync { places: None, over });
        }
    }

    fn shards(&self) -> u16 {
        u16::try_from(self.mailboxes.len()).unwrap_or(u16::MAX)
    }

    /// The shards that have missed a batch since the last question.
    pub(crate) fn take_overflowed(&mut self) -> u64 {
        mem::take(&mut self.overflowed)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use protocol::outbox::Class;

    use super::*;
    use crate::{
        publication::{Body, To},
        streams::{table::Stream, topic::Topic},
    };

    #[test]
    fn successive_messages_of_a_room_leave_in_one_piece_and_nothing_overtakes() {
        let now = Instant::now();
        let message = |room| {
            let to = To::Topic(Topic::new(Stream::RoomMessages, room));
            Publication::new(to, Body::Args("[]".into()), Class::Data, now)
        };
        let mailbox = Arc::new(Mailbox::new(1 << 20));
        let mut post = Post::new(vec![mailbox.clone()]);
        for room in ["a", "a", "b", "a"] {
            post.publish(1, message(room));
        }
        post.post(0, ToShard::Stop);
        post.publish(1, message("a"));
        post.flush();
        let mut taken = Vec::new();
        mailbox.take(&mut taken);
        let seen = taken.iter().map(|taken| match taken {
            ToShard::Publish(batch) => batch.iter().map(Publication::messages).collect(),
            _ => vec![0],
        });
        assert_eq!(seen.collect::<Vec<_>>(), [vec![2, 1, 1], vec![0], vec![1]]);
    }
}
