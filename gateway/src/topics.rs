//! Who listens to what: per shard down to the connection ([`TopicTable`]), for the bus thread down to the shard
//! ([`Interest`]).

use std::{collections::hash_map::RandomState, hash::BuildHasher, sync::Arc};

use dashmap::DashMap;
use hashbrown::{HashMap, HashTable};
use slab::Slab;

use crate::{
    one_or_many::OneOrMany,
    streams::{
        table::{ROWS, Read},
        topic::{Audience, Topic, TopicRef},
    },
};

/// Few names, and one thread that reads them.
const GLOBAL_LOCKS: usize = 2;

/// A topic's number within its shard's table; reused after its last subscriber has gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
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
    subscribers: OneOrMany<u32>,
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
        if let Some(id) = self.find(topic.borrow()) {
            let is_new = self.topics[id.0 as usize].subscribers.insert(slot);
            self.subscriptions += usize::from(is_new);
            return id;
        }
        let entry = Entry {
            topic: topic.clone(),
            subscribers: OneOrMany::One(slot),
        };
        let id =
            u32::try_from(self.topics.insert(entry)).expect("a shard has fewer than 2^32 topics");
        let (hasher, topics) = (&self.hasher, &self.topics);
        self.ids
            .insert_unique(hasher.hash_one(topic.borrow()), id, |&id| {
                hasher.hash_one(topics[id as usize].topic.borrow())
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
        let hash = self.hasher.hash_one(topic.borrow());
        if let Ok(found) = self.ids.find_entry(hash, |&other| other == id.0) {
            found.remove();
        }
        self.last_subscriber(topic.borrow());
        if self.topics.is_empty() {
            // After a storm the table gives its memory back.
            self.topics.shrink_to_fit();
            self.ids.shrink_to(0, |_| 0);
        }
    }

    /// The number of a topic that has subscribers.
    pub(crate) fn find(&self, topic: TopicRef<'_>) -> Option<TopicId> {
        self.ids
            .find(self.hasher.hash_one(topic), |&id| {
                self.topics[id as usize].topic.borrow() == topic
            })
            .map(|&id| TopicId(id))
    }

    /// The topic of a number that [`Self::subscribe`] gave out.
    pub(crate) fn topic(&self, id: TopicId) -> &Topic {
        &self.topics[id.0 as usize].topic
    }

    /// The number of a topic and the slots that listen to it.
    pub(crate) fn subscribers(&self, topic: TopicRef<'_>) -> Option<(TopicId, &OneOrMany<u32>)> {
        self.find(topic)
            .map(|id| (id, &self.topics[id.0 as usize].subscribers))
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
        let (counts, id) = match topic.borrow().audience() {
            Audience::Room(room) => (&mut self.rooms, room),
            Audience::User(user) => (&mut self.users, user),
            Audience::Everybody => {
                return self.interest.add(topic.borrow(), &topic.event, self.shard);
            }
        };
        match counts.get_mut(id) {
            Some(count) => *count += 1,
            None => {
                // One text for the topic and both maps where the event name is nothing but the id.
                let id = if id.len() == topic.event.len() {
                    topic.event.clone()
                } else {
                    Arc::from(id)
                };
                counts.insert(id.clone(), 1);
                self.interest.add(topic.borrow(), &id, self.shard);
            }
        }
    }

    fn last_subscriber(&mut self, topic: TopicRef<'_>) {
        let (counts, key) = match topic.audience() {
            Audience::Room(room) => (&mut self.rooms, room),
            Audience::User(user) => (&mut self.users, user),
            Audience::Everybody => return self.interest.remove(topic, self.shard),
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

/// Which shards have a subscriber, as bit sets: read by the bus thread per event, changed by a shard only with its
/// first and last subscriber of a room, a user or an event that addresses everybody.
pub(crate) struct Interest {
    rooms: DashMap<Arc<str>, u64>,
    users: DashMap<Arc<str>, u64>,
    /// By `Stream`, then by event name.
    globals: Box<[DashMap<Arc<str>, u64>]>,
}

impl Default for Interest {
    fn default() -> Self {
        Self {
            rooms: DashMap::new(),
            users: DashMap::new(),
            globals: ROWS
                .iter()
                .map(|row| match row.read {
                    // As many names as there are users.
                    Read::Watch => DashMap::new(),
                    _ => DashMap::with_shard_amount(GLOBAL_LOCKS),
                })
                .collect(),
        }
    }
}

impl Interest {
    /// The shards that may have a subscriber of this topic (for rooms and users: of any of their topics).
    pub(crate) fn shards(&self, topic: TopicRef<'_>) -> u64 {
        let (map, key) = self.place(topic);
        map.get(key).map_or(0, |shards| *shards)
    }

    fn place<'a>(&self, topic: TopicRef<'a>) -> (&DashMap<Arc<str>, u64>, &'a str) {
        match topic.audience() {
            Audience::Room(room) => (&self.rooms, room),
            Audience::User(user) => (&self.users, user),
            Audience::Everybody => (&self.globals[topic.stream as usize], topic.event),
        }
    }

    fn add(&self, topic: TopicRef<'_>, key: &Arc<str>, shard: u16) {
        let (map, _) = self.place(topic);
        *map.entry(key.clone()).or_insert(0) |= 1 << shard;
    }

    fn remove(&self, topic: TopicRef<'_>, shard: u16) {
        let (map, key) = self.place(topic);
        map.remove_if_mut(key, |_, shards| {
            *shards &= !(1 << shard);
            *shards == 0
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{config::SHARDS_MAX, streams::table::Stream};

    const MESSAGES: Stream = Stream::RoomMessages;

    fn topic(stream: Stream, event: &str) -> Topic {
        Topic::new(stream, event)
    }

    #[test]
    fn an_empty_topic_is_gone_at_once() {
        let mut table = TopicTable::new(0, Arc::default());
        let topic = topic(MESSAGES, "r1");
        let id = table.subscribe(&topic, 7);
        assert_eq!(table.subscribe(&topic, 8), id);
        table.subscribe(&topic, 8);
        assert_eq!(
            table.subscribers(topic.borrow()).map(|(_, all)| all.len()),
            Some(2)
        );
        assert_eq!(table.subscriptions(), 2);
        table.unsubscribe(id, 7);
        assert_eq!(
            table
                .subscribers(topic.borrow())
                .unwrap()
                .1
                .iter()
                .collect::<Vec<_>>(),
            [8]
        );
        table.unsubscribe(id, 8);
        assert!(table.subscribers(topic.borrow()).is_none());
        assert_eq!((table.len(), table.subscriptions()), (0, 0));
    }

    #[test]
    fn interest_changes_with_the_first_and_the_last_topic_of_a_room() {
        let interest = Arc::new(Interest::default());
        let mut left = TopicTable::new(0, interest.clone());
        let mut right = TopicTable::new(3, interest.clone());
        let messages = left.subscribe(&topic(MESSAGES, "r1"), 1);
        let typing = left.subscribe(&topic(Stream::NotifyRoom, "r1/user-activity"), 1);
        let other = right.subscribe(&topic(MESSAGES, "r1"), 1);
        assert_eq!(
            interest.shards(topic(Stream::RoomData, "r1").borrow()),
            0b1001
        );
        left.unsubscribe(messages, 1);
        assert_eq!(interest.shards(topic(MESSAGES, "r1").borrow()), 0b1001);
        left.unsubscribe(typing, 1);
        assert_eq!(interest.shards(topic(MESSAGES, "r1").borrow()), 0b1000);
        right.unsubscribe(other, 1);
        assert_eq!(interest.shards(topic(MESSAGES, "r1").borrow()), 0);
        assert!(interest.rooms.is_empty());
    }

    #[test]
    fn interest_names_as_many_shards_as_there_may_be() {
        let interest = Arc::new(Interest::default());
        let mut tables: Vec<_> = (0..SHARDS_MAX as u16)
            .map(|shard| TopicTable::new(shard, interest.clone()))
            .collect();
        let topics: Vec<_> = tables
            .iter_mut()
            .map(|table| table.subscribe(&topic(MESSAGES, "r1"), 1))
            .collect();
        assert_eq!(interest.shards(topic(MESSAGES, "r1").borrow()), u64::MAX);
        for (table, id) in tables.iter_mut().zip(topics) {
            table.unsubscribe(id, 1);
        }
        assert!(interest.rooms.is_empty());
    }

    #[test]
    fn a_subscription_costs_less_than_200_bytes() {
        // A topic of its own (the dearest case): slab entry, index, its share of the room count, event name and id as text
        // (17 characters of id, 23 of `/` and event, two counters each), and 12 bytes in the connection's own list.
        let tables = size_of::<Entry>() + size_of::<u32>() + 1;
        let counts = size_of::<(Arc<str>, u32)>() + 1;
        let text = 2 * 2 * size_of::<usize>() + 17 + 17 + 23;
        assert!(
            2 * (tables + counts) / 2 + text + 12 < 200,
            "{tables} + {counts} + {text}"
        );
        assert!(size_of::<OneOrMany<u32>>() <= 16);
    }
}
