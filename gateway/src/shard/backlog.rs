//! What the bus thread has said, in its order, while a fan-out to very many is under way.
//!
//! A topic with more than [`WIDE`] subscribers is served in slices: append to a few, write to them, look at everything else.
//! The others of that batch, and whatever follows, wait here meanwhile:
//!
//! - Who is subscribed when a fan-out begins and still is at his turn gets it, once; who left gets nothing more.
//! - Who joins waits with his subscription's answer until all that was said before it is through: he gets what was said
//!   after it, nothing older. Revocations and closes keep their place too.
//! - Only answers to methods overtake, and what follows a login: they belong to no topic.

use std::{collections::VecDeque, rc::Rc, sync::Arc, vec};

use super::{Shard, now};
use crate::{
    link::{Answer, ToShard},
    metrics,
    publication::{Publication, To},
};

/// Subscribers of a topic, or users named by a publication, from which on it is served in slices. Smaller ones take no
/// longer than a slice costs others in patience, and slices cost up to a tenth more CPU.
pub(super) const WIDE: usize = 1_024;

/// Subscribers of one slice: about 0.4 ms of writing. With 256 a ping beside a room of 10,000 takes twice as long.
const SLICE: usize = 64;

/// What waits.
#[derive(Default)]
pub(super) struct Backlog {
    waiting: VecDeque<ToShard>,
    /// Publications of the first message that are through, or part of `wide`.
    through: usize,
    wide: Option<Wide>,
    /// What the publications weigh that are not through.
    bytes: usize,
}

/// A fan-out under way.
struct Wide {
    /// Successive ones on one topic, each a batch and the place in it: a subscriber gets them in one write.
    publications: Vec<(Arc<[Publication]>, usize)>,
    left: Left,
    bytes: usize,
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

    fn push(&mut self, message: ToShard) {
        if let ToShard::Publish(batch) = &message {
            self.bytes += batch.iter().map(Publication::weight).sum::<usize>();
        }
        self.waiting.push_back(message);
    }

    /// The batch that is next and how much of it is through; `None`: another message, or nothing.
    fn batch(&self) -> Option<(Arc<[Publication]>, usize)> {
        match self.waiting.front() {
            Some(ToShard::Publish(batch)) => Some((batch.clone(), self.through)),
            _ => None,
        }
    }

    /// One more publication of the first message is taken.
    fn advance(&mut self, batch: &[Publication]) {
        self.through += 1;
        if self.through == batch.len() {
            self.through = 0;
            self.waiting.pop_front();
        }
    }

    /// Begins a fan-out: of the publication that is next, and of those behind it on the same topic that go into `room`
    /// bytes. Returns their size.
    fn gather(&mut self, left: Left, room: usize) -> usize {
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
            size += next.body.len();
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

fn of((batch, at): &(Arc<[Publication]>, usize)) -> &Publication {
    &batch[*at]
}

impl Shard {
    /// Takes one message of the bus thread: in its turn, unless it is one that overtakes.
    pub(crate) fn take(self: &Rc<Self>, message: ToShard) {
        if let ToShard::Answer(_, Answer::Method { .. }) | ToShard::Documents { .. } = message {
            return self.act(message);
        }
        let mut backlog = self.backlog.borrow_mut();
        let is_next = backlog.is_empty();
        backlog.push(message);
        drop(backlog);
        if is_next {
            self.go_on();
        }
    }

    /// Works off what waits: up to the next slice, or to a portion that no outbox of a client that reads can overflow from.
    pub(super) fn go_on(self: &Rc<Self>) {
        let portion = self.limits.outbox_bytes / 4;
        while self.appended.get() < portion {
            let wide = self.backlog.borrow_mut().wide.take();
            if let Some(wide) = wide {
                return self.slice(wide);
            }
            let next = self.backlog.borrow().batch();
            if let Some((batch, from)) = next {
                self.publish(&batch, from, portion);
                continue;
            }
            let message = self.backlog.borrow_mut().waiting.pop_front();
            let Some(message) = message else {
                return;
            };
            self.act(message);
        }
    }

    /// Publishes from this one on, until there is a wide one, which begins.
    fn publish(self: &Rc<Self>, batch: &Arc<[Publication]>, from: usize, portion: usize) {
        let now = now();
        let mut tally = self.tally();
        for publication in &batch[from..] {
            let outcome = self.publish_at_once(publication, now, &mut tally);
            let mut backlog = self.backlog.borrow_mut();
            let size = match outcome {
                Ok(()) => {
                    backlog.bytes -= publication.weight();
                    backlog.advance(batch);
                    publication.body.len()
                }
                Err(all) => backlog.gather(all, portion),
            };
            self.appended.set(self.appended.get() + size);
            if self.appended.get() >= portion || backlog.wide.is_some() {
                break;
            }
        }
        metrics::fan_out_took(batch[from].received.elapsed());
        self.published(tally);
    }

    /// Serves the next few.
    fn slice(self: &Rc<Self>, mut wide: Wide) {
        let now = now();
        let mut tally = self.tally();
        let first = of(&wide.publications[0]);
        let is_through = match (&mut wide.left, &first.to) {
            (Left::Subscribers(slots), To::Topic(topic)) => {
                let publications = wide.publications.iter().map(of);
                let publications = publications.collect::<Vec<_>>();
                let topic = topic.borrow();
                self.fan_out_to(slots, SLICE, &publications, topic, now, &mut tally) < SLICE
            }
            (Left::Users(from), To::Users { users, event }) => {
                let some = &users[*from..users.len().min(*from + SLICE)];
                self.fan_out_to_users(first, some, *event, now, &mut tally);
                *from += some.len();
                *from == users.len()
            }
            // They are made for each other.
            _ => true,
        };
        if is_through {
            metrics::fan_out_took(first.received.elapsed());
            self.backlog.borrow_mut().bytes -= wide.bytes;
        } else {
            self.backlog.borrow_mut().wide = Some(wide);
        }
        self.published(tally);
    }
}
