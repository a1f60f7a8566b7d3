//! What leaves the bus thread for the shards: one message per batch and shard, everything else in order behind it.

use std::{mem, sync::Arc};

use crate::{
    link::ToShard,
    mailbox::Mailbox,
    publication::{Body, Publication},
};

/// Publications are passed on at the latest when so many bytes have gathered, so that the shards need not wait for the
/// end of a long batch.
const BATCH_BYTES: usize = 256 * 1024;

/// What a publication weighs besides its arguments.
const PUBLICATION_BYTES: usize = 256;

/// The writer of the mailboxes.
pub(crate) struct Outgoing {
    mailboxes: Vec<Arc<Mailbox<ToShard>>>,
    pending: Vec<Publication>,
    pending_shards: u64,
    pending_bytes: usize,
    /// Shards whose mailbox refused a batch since [`Self::take_overflowed`].
    overflowed: u64,
}

impl Outgoing {
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
        let (Body::Stream { args: body, .. }
        | Body::Message(body)
        | Body::RoomsChanged { args: body, .. }) = &publication.body;
        self.pending_bytes += PUBLICATION_BYTES + body.len();
        self.pending_shards |= shards;
        self.pending.push(publication);
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

    /// Posts the same message to each of these shards.
    pub(crate) fn post_each(&mut self, shards: u64, message: impl Fn() -> ToShard) {
        for shard in 0..u16::try_from(self.mailboxes.len()).unwrap_or(u16::MAX) {
            if shards & (1 << shard) != 0 {
                self.post(shard, message());
            }
        }
    }

    /// The shards that have missed a batch since the last question.
    pub(crate) fn take_overflowed(&mut self) -> u64 {
        mem::take(&mut self.overflowed)
    }
}
