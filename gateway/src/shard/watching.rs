//! The users whom a client watches: one set per connection, changed by each of its `user-presence` subscriptions, the
//! first of which stands for all of them (streams.md 5.4).

use hashbrown::HashSet;
use protocol::{
    ddp,
    session::{Session, SubKey},
};

use super::{
    Shard,
    entry::{Entry, Watching},
};
use crate::{
    link::ToBus,
    metrics,
    place::Place,
    streams::{scope::Hidden, table::Stream, topic::TopicRef, watch::Lists},
    topics::TopicId,
};

impl Shard {
    /// A `user-presence` subscription: live if it is the first, else its lists apply and it is over.
    pub(super) fn watch(
        &self,
        entry: &Entry,
        session: &mut Session,
        sub: SubKey,
        lists: Lists,
        hidden: Hidden,
    ) {
        let mut watching = entry.watching.borrow_mut();
        let is_first = watching.is_none();
        let set = watching.get_or_insert_with(|| {
            Box::new(Watching {
                sub,
                users: HashSet::new(),
                hidden,
                corrected: HashSet::new(),
            })
        });
        if self.apply(entry, set, lists).is_err() {
            if is_first {
                *watching = None;
                let sub = (entry.connection.place, sub);
                self.shared.to_bus.post(ToBus::Unsubscribed(sub), 0);
            }
            metrics::subscription_refused("watch");
            session.subscription_failed(Some(&ddp::Error::too_many_subscriptions()));
        } else if is_first {
            session.subscription_ready();
        } else {
            session.subscription_failed(None);
        }
    }

    /// Changes the set; as it was, but for who was removed, if it would be too large.
    fn apply(&self, entry: &Entry, set: &mut Watching, lists: Lists) -> Result<(), ()> {
        let mut table = self.topics.borrow_mut();
        for user in &lists.removed {
            if let Some(id) = table.find(topic_of(user))
                && set.users.remove(&id)
            {
                set.corrected.remove(&id);
                table.unsubscribe(id, entry.slot());
            }
        }
        let removed: HashSet<_> = lists.removed.into_iter().collect();
        let mut new = Vec::new();
        for user in lists.added.iter().filter(|user| !removed.contains(*user)) {
            let id = table.subscribe(topic_of(user), entry.slot());
            if set.users.insert(id) {
                new.push(id);
            }
            if set.users.len() > self.limits.presence_watch {
                for id in new {
                    set.users.remove(&id);
                    table.unsubscribe(id, entry.slot());
                }
                return Err(());
            }
        }
        Ok(())
    }

    /// What clients must not see has changed.
    pub(super) fn scope(&self, places: &[Place], hidden: &Hidden) {
        for entry in places.iter().filter_map(|place| self.entry(*place)) {
            if let Some(watching) = &mut *entry.watching.borrow_mut() {
                watching.hidden.clone_from(hidden);
            }
        }
    }

    /// The end of the subscription that stands for the set; `false` if it is another one.
    pub(super) fn unwatch(&self, entry: &Entry, sub: SubKey) -> bool {
        let mut watching = entry.watching.borrow_mut();
        let meant = watching.take_if(|watching| watching.sub == sub);
        let Some(set) = meant else { return false };
        self.forget_watched(entry, *set);
        true
    }

    /// Takes a client out of the topics of everybody whom it watches.
    pub(super) fn unwatch_all(&self, entry: &Entry) {
        if let Some(set) = entry.watching.borrow_mut().take() {
            self.forget_watched(entry, *set);
        }
    }

    fn forget_watched(&self, entry: &Entry, set: Watching) {
        let mut table = self.topics.borrow_mut();
        for id in set.users {
            table.unsubscribe(id, entry.slot());
        }
    }
}

fn topic_of(user: &str) -> TopicRef<'_> {
    TopicRef {
        stream: Stream::UserPresence,
        event: user,
    }
}

/// What a client is told of a user whom it watches.
pub(super) enum Sight {
    /// What everybody is told.
    Whole,
    /// That he is offline, this once.
    Offline,
    Nothing,
}

impl Watching {
    /// What is told of this user now.
    pub(super) fn sight(&mut self, user: &str, id: TopicId) -> Sight {
        let hides = self
            .hidden
            .as_ref()
            .is_some_and(|hidden| hidden.hides(user));
        if !hides {
            if !self.corrected.is_empty() {
                self.corrected.remove(&id);
            }
            Sight::Whole
        } else if self.corrected.insert(id) {
            Sight::Offline
        } else {
            Sight::Nothing
        }
    }
}
