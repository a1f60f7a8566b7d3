//! What the bus thread has said, in its order, while a fan-out to very many is under way.
//!
//! A topic with more than [`WIDE`] subscribers is served in slices: append to a few, write to them, look at everything else.
//! The others of that batch, and whatever follows, wait here meanwhile:
//!
//! - Who is subscribed when a fan-out begins and still is at his turn gets it, once; who left gets nothing more.
//! - Who joins waits with his subscription's answer until all that was said before it is through: he gets what was said
//!   after it, nothing older. Revocations and closes keep their place too.
//! - Only answers to methods overtake, and what follows a login: they belong to no topic.

use std::{collections::VecDeque, sync::Arc, vec};

use crate::{
    link::ToShard,
    publication::{Publication, To},
};

/// Subscribers of a topic, or users named by a publication, from which on it is served in slices. Smaller ones take no
/// longer than a slice costs others in patience, and slices cost up to a tenth more CPU.
pub(super) const WIDE: usize = 1_024;

/// Subscribers of one slice: about 0.1 ms of writing. With 64 a ping beside a room of 10,000 takes twice as long, with 256 four
/// times.
pub(super) const SLICE: usize = 24;

/// What waits.
#[derive(Default)]
pub(super) struct Backlog {
    pub(super) waiting: VecDeque<ToShard>,
    /// Publications of the first message that are through, or part of `wide`.
    pub(super) through: usize,
    pub(super) wide: Option<Wide>,
    /// What the publications weigh that are not through.
    pub(super) bytes: usize,
}

/// A fan-out under way.
pub(super) struct Wide {
    /// Successive ones on one topic, each a batch and the place in it: a subscriber gets them in one write.
    pub(super) publications: Vec<(Arc<[Publication]>, usize)>,
    pub(super) left: Left,
    pub(super) bytes: usize,
}

/// Who has not had his turn.
pub(super) enum Left {
    Subscribers(vec::IntoIter<u32>),
    /// Users from this one on.
    Users(usize),
}

impl Backlog {
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.wide.is_none()
    }

    /// What counts against the mailbox's bound as if it still were in there.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn push(&mut self, message: ToShard) {
        if let ToShard::Publish(batch) = &message {
            self.bytes += batch.iter().map(Publication::weight).sum::<usize>();
        }
        self.waiting.push_back(message);
    }

    /// The batch that is next and how much of it is through; `None`: another message, or nothing.
    pub(super) fn batch(&self) -> Option<(Arc<[Publication]>, usize)> {
        match self.waiting.front() {
            Some(ToShard::Publish(batch)) => Some((batch.clone(), self.through)),
            _ => None,
        }
    }

    /// One more publication of the first message is taken.
    pub(super) fn advance(&mut self, batch: &[Publication]) {
        self.through += 1;
        if self.through == batch.len() {
            self.through = 0;
            self.waiting.pop_front();
        }
    }

    /// Begins a fan-out: of the publication that is next, and of those behind it on the same topic that go into `room`
    /// bytes. Returns their size.
    pub(super) fn gather(&mut self, left: Left, room: usize) -> usize {
        let (mut publications, mut bytes, mut size) = (Vec::new(), 0, 0);
        while let Some((batch, at)) = self.batch() {
            let next = &batch[at];
            let is_same = match publications.first() {
                None => true,
                Some(first) => size < room && is_same_topic(&of(first).to, &next.to),
            };
            if !is_same {
                break;
            }
            size += next.len();
            bytes += next.weight();
            self.advance(&batch);
            publications.push((batch, at));
        }
        self.wide = Some(Wide {
            publications,
            left,
            bytes,
        });
        size
    }
}

/// Several users' publications name users of their own each.
fn is_same_topic(one: &To, other: &To) -> bool {
    matches!((one, other), (To::Topic(one), To::Topic(other)) if one == other)
}

pub(super) fn of((batch, at): &(Arc<[Publication]>, usize)) -> &Publication {
    &batch[*at]
}
