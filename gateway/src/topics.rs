//! Who listens to what: per shard down to the connection ([`TopicTable`]), for the bus thread down to the shard
//! ([`Interest`]).

use std::{collections::hash_map::RandomState, hash::BuildHasher, sync::Arc};

use dashmap::DashMap;
use hashbrown::{HashMap, HashSet, HashTable};
use slab::Slab;

use crate::topic::Topic;

/// A topic's number within its shard's table; reused after its last subscriber has gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TopicId(u32);

/// Which connections (slots) of one shard listen to which topic. Empty topics are removed at once.
pub(crate) struct TopicTable {
    hasher: RandomState,
    ids: HashTable<u32>,
    topics: Slab<Entry>,
    /// Topics per room and user: the interest map changes only with the first and the last.
    rooms: HashMap<Arc<str>, u32>,
    users: HashMap<Arc<str>, u32>,
    /// Pairs of topic and slot.
    subscriptions: usize,
    shard: u16,
    interest: Arc<Interest>,
}

struct Entry {
    topic: Topic,
    subscribers: Subscribers,
}

/// The slots that listen to one topic: nearly always one (a user's own events) or many (a room).
#[derive(Debug)]
pub(crate) enum Subscribers {
    One(u32),
    Many(Box<HashSet<u32>>),
}

impl TopicTable {
    pub(crate) fn new(shard: u16, interest: Arc<Interest>) -> Self {
        Self {
            hasher: RandomState::new(),
            ids: HashTable::new(),
            topics: Slab::new(),
            rooms: HashMap::new(),
            users: HashMap::new(),
            subscriptions: 0,
            shard,
            interest,
        }
    }

    /// Enters a slot under a topic; a second time changes nothing.
    pub(crate) fn subscribe(&mut self, topic: &Topic, slot: u32) -> TopicId {
        if let Some(id) = self.find(topic) {
            let is_new = self.topics[id.0 as usize].subscribers.insert(slot);
            self.subscriptions += usize::from(is_new);
            return id;
        }
        let entry = Entry {
            topic: topic.clone(),
            subscribers: Subscribers::One(slot),
        };
        let id =
            u32::try_from(self.topics.insert(entry)).expect("a shard has fewer than 2^32 topics");
        let (hasher, topics) = (&self.hasher, &self.topics);
        self.ids.insert_unique(hasher.hash_one(topic), id, |&id| {
            hasher.hash_one(&topics[id as usize].topic)
        });
        self.first_subscriber(topic);
        self.subscriptions += 1;
        TopicId(id)
    }

    /// Takes a slot out of a topic that it was entered under.
    pub(crate) fn unsubscribe(&mut self, id: TopicId, slot: u32) {
        self.subscriptions -= 1;
        if self.topics[id.0 as usize].subscribers.remove(slot) {
            return;
        }
        let Entry { topic, .. } = self.topics.remove(id.0 as usize);
        if let Ok(found) = self
            .ids
            .find_entry(self.hasher.hash_one(&topic), |&other| other == id.0)
        {
            found.remove();
        }
        self.last_subscriber(&topic);
        if self.topics.is_empty() {
            // After a storm the table gives its memory back.
            self.topics.shrink_to_fit();
            self.ids.shrink_to(0, |_| 0);
        }
    }

    /// The number of a topic that has subscribers.
    pub(crate) fn find(&self, topic: &Topic) -> Option<TopicId> {
        self.ids
            .find(self.hasher.hash_one(topic), |&id| {
                self.topics[id as usize].topic == *topic
            })
            .map(|&id| TopicId(id))
    }

    /// The topic of a number that [`Self::subscribe`] gave out.
    pub(crate) fn topic(&self, id: TopicId) -> &Topic {
        &self.topics[id.0 as usize].topic
    }

    /// The slots that listen to a topic.
    pub(crate) fn subscribers(&self, topic: &Topic) -> Option<&Subscribers> {
        self.find(topic)
            .map(|id| &self.topics[id.0 as usize].subscribers)
    }

    /// How many times a slot listens to a topic.
    pub(crate) fn subscriptions(&self) -> usize {
        self.subscriptions
    }

    /// Topics with at least one subscriber.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.topics.len()
    }

    fn first_subscriber(&mut self, topic: &Topic) {
        let (counts, key) = match topic {
            Topic::Room(room, _) => (&mut self.rooms, room),
            Topic::User(user, _) => (&mut self.users, user),
            Topic::Global(..) => return self.interest.add(topic, self.shard),
        };
        match counts.get_mut(key) {
            Some(count) => *count += 1,
            None => {
                counts.insert(key.clone(), 1);
                self.interest.add(topic, self.shard);
            }
        }
    }

    fn last_subscriber(&mut self, topic: &Topic) {
        let (counts, key) = match topic {
            Topic::Room(room, _) => (&mut self.rooms, room),
            Topic::User(user, _) => (&mut self.users, user),
            Topic::Global(..) => {
                return self.interest.remove(topic, self.shard);
            }
        };
        if let Some(count) = counts.get_mut(key) {
            *count -= 1;
            if *count == 0 {
                counts.remove(key);
                self.interest.remove(topic, self.shard);
            }
        }
    }
}

impl Subscribers {
    /// How many there are; never 0 in a table.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::One(_) => 1,
            Self::Many(slots) => slots.len(),
        }
    }

    /// Every slot once, in no particular order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        let (one, many) = match self {
            Self::One(slot) => (Some(*slot), None),
            Self::Many(slots) => (None, Some(slots.iter().copied())),
        };
        one.into_iter().chain(many.into_iter().flatten())
    }

    /// Whether it was not there before.
    fn insert(&mut self, slot: u32) -> bool {
        match self {
            Self::One(only) if *only == slot => false,
            Self::One(only) => {
                *self = Self::Many(Box::new(HashSet::from_iter([*only, slot])));
                true
            }
            Self::Many(slots) => slots.insert(slot),
        }
    }

    /// Whether somebody is left.
    fn remove(&mut self, slot: u32) -> bool {
        match self {
            Self::One(only) => *only != slot,
            Self::Many(slots) => {
                slots.remove(&slot);
                !slots.is_empty()
            }
        }
    }
}

/// Which shards have a subscriber, as bit sets: read by the bus thread per event, changed by a shard only with its
/// first and last subscriber of a room, a user or a global event.
#[derive(Default)]
pub(crate) struct Interest {
    rooms: DashMap<Arc<str>, u64>,
    users: DashMap<Arc<str>, u64>,
    globals: DashMap<Topic, u64>,
}

impl Interest {
    /// The shards that may have a subscriber of this topic (for rooms and users: of any of their topics).
    pub(crate) fn shards(&self, topic: &Topic) -> u64 {
        let found = match topic {
            Topic::Room(room, _) => self.rooms.get(room),
            Topic::User(user, _) => self.users.get(user),
            Topic::Global(..) => return self.globals.get(topic).map_or(0, |shards| *shards),
        };
        found.map_or(0, |shards| *shards)
    }

    fn add(&self, topic: &Topic, shard: u16) {
        match topic {
            Topic::Room(room, _) => add(&self.rooms, room, shard),
            Topic::User(user, _) => add(&self.users, user, shard),
            Topic::Global(..) => add(&self.globals, topic, shard),
        }
    }

    fn remove(&self, topic: &Topic, shard: u16) {
        match topic {
            Topic::Room(room, _) => remove(&self.rooms, room, shard),
            Topic::User(user, _) => remove(&self.users, user, shard),
            Topic::Global(..) => remove(&self.globals, topic, shard),
        }
    }
}

fn add<K: Clone + Eq + std::hash::Hash>(map: &DashMap<K, u64>, key: &K, shard: u16) {
    *map.entry(key.clone()).or_insert(0) |= 1 << shard;
}

fn remove<K: Clone + Eq + std::hash::Hash>(map: &DashMap<K, u64>, key: &K, shard: u16) {
    if let dashmap::Entry::Occupied(mut found) = map.entry(key.clone()) {
        *found.get_mut() &= !(1 << shard);
        if *found.get() == 0 {
            found.remove();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{Interest, Subscribers, TopicTable};
    use crate::topic::Topic;

    fn room(id: &str, event: &str) -> Topic {
        Topic::Room(id.into(), event.into())
    }

    #[test]
    fn an_empty_topic_is_gone_at_once() {
        let mut table = TopicTable::new(0, Arc::default());
        let topic = room("r1", "room-messages");
        let id = table.subscribe(&topic, 7);
        assert_eq!(table.subscribe(&topic, 8), id);
        table.subscribe(&topic, 8);
        assert_eq!(table.subscribers(&topic).map(Subscribers::len), Some(2));
        assert_eq!(table.subscriptions(), 2);
        table.unsubscribe(id, 7);
        assert_eq!(
            table
                .subscribers(&topic)
                .unwrap()
                .iter()
                .collect::<Vec<_>>(),
            [8]
        );
        table.unsubscribe(id, 8);
        assert!(table.subscribers(&topic).is_none());
        assert_eq!((table.len(), table.subscriptions()), (0, 0));
    }

    #[test]
    fn interest_changes_with_the_first_and_the_last_topic_of_a_room() {
        let interest = Arc::new(Interest::default());
        let mut left = TopicTable::new(0, interest.clone());
        let mut right = TopicTable::new(3, interest.clone());
        let messages = left.subscribe(&room("r1", "room-messages"), 1);
        let typing = left.subscribe(&room("r1", "notify-room/user-activity"), 1);
        let other = right.subscribe(&room("r1", "room-messages"), 1);
        assert_eq!(interest.shards(&room("r1", "room-data")), 0b1001);
        left.unsubscribe(messages, 1);
        assert_eq!(interest.shards(&room("r1", "room-messages")), 0b1001);
        left.unsubscribe(typing, 1);
        assert_eq!(interest.shards(&room("r1", "room-messages")), 0b1000);
        right.unsubscribe(other, 1);
        assert_eq!(interest.shards(&room("r1", "room-messages")), 0);
        assert!(interest.rooms.is_empty());
    }

    #[test]
    fn a_subscription_costs_less_than_200_bytes() {
        // A topic of its own (the dearest case): slab entry, index, its share of the room count, both ids as text
        // (17 characters and two counters each), and 12 bytes in the connection's own list.
        let tables = size_of::<super::Entry>() + size_of::<u32>() + 1;
        let counts = size_of::<(Arc<str>, u32)>() + 1;
        let text = 2 * size_of::<usize>() + 24;
        assert!(
            2 * (tables + counts) / 2 + text + 12 < 200,
            "{tables} + {counts} + {text}"
        );
        assert!(size_of::<Subscribers>() <= 16);
    }
}
