//! The working off of what waits: a topic with very many subscribers in slices, and the rest in portions.

use std::{
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use protocol::outbox::Class;

use super::{
    Shard,
    backlog::{Left, SLICE, Wide, of},
    now,
};
use crate::{
    link::{Answer, ToShard},
    metrics,
    publication::{Publication, To},
};

/// What can be missed (typing, status) is passed on no later than this after it arrived. Where a shard is so late, it has
/// more to do than it can: what is left out makes room for what must not be missed.
const LATE: Duration = Duration::from_millis(100);

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
        while !self.appended.get().is_portion(portion) {
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
        let mut appended = self.appended.get();
        for publication in &batch[from..] {
            let before = tally.delivered;
            let outcome = if is_late(publication, now) {
                tally.late += publication.messages() as u64;
                Ok(())
            } else {
                self.publish_at_once(publication, now, &mut tally)
            };
            let mut backlog = self.backlog.borrow_mut();
            appended.bytes += match outcome {
                Ok(()) => {
                    backlog.bytes -= publication.weight();
                    backlog.advance(batch);
                    publication.len()
                }
                Err(all) => backlog.gather(all, portion),
            };
            appended.deliveries += tally.delivered - before;
            if appended.is_portion(portion) || backlog.wide.is_some() {
                break;
            }
        }
        self.appended.set(appended);
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

/// Whether this can be missed and is so old that it should be.
fn is_late(publication: &Publication, now: Instant) -> bool {
    publication.class == Class::Sheddable
        && now.saturating_duration_since(publication.received) > LATE
}
