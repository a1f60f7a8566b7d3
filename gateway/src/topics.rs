//! Who listens to what: per shard down to the connection ([`TopicTable`]), for the bus thread down to the shard
//! ([`Interest`]).

use std::{collections::hash_map::RandomState, hash::BuildHasher, sync::Arc};

use dashmap::DashMap;
use hashbrown::{HashMap, HashSet, HashTable};
use slab::Slab;

use crate::{
    one_or_many::OneOrMany,
    streams::{
        table::{Addressed, ROWS, Read, Stream},
        topic::{Audience, TopicRef},
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
    /// What event names say behind the id: a few texts for all topics.
    rests: HashSet<Arc<str>>,
    /// Pairs of topic and slot.
    subscriptions: usize,
    shard: u16,
    interest: Arc<Interest>,
}

/// A topic in pieces that are shared: a user has one for each of a dozen events, and all users have the same.
struct Entry {
    stream: Stream,
    /// Whom it addresses; the whole event name where that is everybody.
    id: Arc<str>,
    rest: Option<Arc<str>>,
    subscribers: OneOrMany<u32>,
}

/// What a topic is found by: stream, id and rest.
type Key<'a> = (Stream, &'a str, Option<&'a str>);

fn key(topic: TopicRef<'_>) -> Key<'_> {
    let id = match topic.audience() {
        Audience::Room(id) | Audience::User(id) => id,
        Audience::Everybody => topic.event,
    };
    (topic.stream, id, topic.event.get(id.len() + 1..))
}

impl Entry {
    fn key(&self) -> Key<'_> {
        (self.stream, &self.id, self.rest.as_deref())
    }
}

impl TopicTable {
    pub(crate) fn new(shard: u16, interest: Arc<Interest>) -> Self {
        Self {
            hasher: RandomState::new(),
            ids: HashTable::new(),
            topics: Slab::new(),
            rooms: HashMap::new(),
            users: HashMap::new(),
            rests: HashSet::new(),
            subscriptions: 0,
            shard,
            interest,
        }
    }

    /// Enters a slot under a topic; a second time changes nothing.
    pub(crate) fn subscribe(&mut self, topic: TopicRef<'_>, slot: u32) -> TopicId {
        if let Some(id) = self.find(topic) {
            let is_new = self.topics[id.0 as usize].subscribers.insert(slot);
            self.subscriptions += usize::from(is_new);
            return id;
        }
        let key = key(topic);
        let entry = Entry {
            stream: topic.stream,
            id: self.first_subscriber(topic.stream, key.1),
            rest: key.2.map(|rest| {
                let rest = self.rests.get_or_insert_with(rest, |rest| Arc::from(rest));
                rest.clone()
            }),
            subscribers: OneOrMany::One(slot),
        };
        let id =
            u32::try_from(self.topics.insert(entry)).expect("a shard has fewer than 2^32 topics");
        let (hasher, topics) = (&self.hasher, &self.topics);
        self.ids.insert_unique(hasher.hash_one(key), id, |&id| {
            hasher.hash_one(topics[id as usize].key())
        });
        self.subscriptions += 1;
        TopicId(id)
    }

    /// Takes a slot out of a topic that it was entered under.
    pub(crate) fn unsubscribe(&mut self, id: TopicId, slot: u32) {
        self.subscriptions -= 1;
        if self.topics[id.0 as usize].subscribers.remove(slot) {
            return;
        }
        let entry = self.topics.remove(id.0 as usize);
        let hash = self.hasher.hash_one(entry.key());
        if let Ok(found) = self.ids.find_entry(hash, |&other| other == id.0) {
            found.remove();
        }
        self.last_subscriber(entry.stream, &entry.id);
        if let Some(rest) = entry.rest
            && Arc::strong_count(&rest) == 2
        {
            // The set's own, and this one.
            self.rests.remove(&rest);
        }
        if self.topics.is_empty() {
            // After a storm the table gives its memory back.
            self.topics.shrink_to_fit();
            self.ids.shrink_to(0, |_| 0);
        }
    }

    /// The number of a topic that has subscribers.
    pub(crate) fn find(&self, topic: TopicRef<'_>) -> Option<TopicId> {
        let key = key(topic);
        self.ids
            .find(self.hasher.hash_one(key), |&id| {
                self.topics[id as usize].key() == key
            })
            .map(|&id| TopicId(id))
    }

    /// Whom the topic of a number addresses that [`Self::subscribe`] gave out.
    pub(crate) fn audience(&self, id: TopicId) -> Audience<'_> {
        let (stream, event, _) = self.topics[id.0 as usize].key();
        TopicRef { stream, event }.audience()
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

    /// Counts one more topic of this room or user; gives the id, as one text for all of them.
    fn first_subscriber(&mut self, stream: Stream, id: &str) -> Arc<str> {
        let counted = self.counts(stream);
        let known = counted.and_then(|counts| counts.get_key_value_mut(id));
        if let Some((id, count)) = known {
            *count += 1;
            return id.clone();
        }
        let id: Arc<str> = id.into();
        if let Some(counts) = self.counts(stream) {
            counts.insert(id.clone(), 1);
        }
        self.interest.add(stream, &id, self.shard);
        id
    }

    fn last_subscriber(&mut self, stream: Stream, id: &str) {
        if let Some(counts) = self.counts(stream)
            && let Some(count) = counts.get_mut(id)
        {
            *count -= 1;
            if *count > 0 {
                return;
            }
            counts.remove(id);
        }
        self.interest.remove(stream, id, self.shard);
    }

    /// `None`: each event name counts for itself.
    fn counts(&mut self, stream: Stream) -> Option<&mut HashMap<Arc<str>, u32>> {
        match stream.row().addressed {
            Addressed::Room | Addressed::InRoom => Some(&mut self.rooms),
            Addressed::User => Some(&mut self.users),
            Addressed::Nothing => None,
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
        let (stream, id, _) = key(topic);
        self.of(stream).get(id).map_or(0, |shards| *shards)
    }

    /// By the ids of rooms or of users, or by the names of this stream's events.
    fn of(&self, stream: Stream) -> &DashMap<Arc<str>, u64> {
        match stream.row().addressed {
            Addressed::Room | Addressed::InRoom => &self.rooms,
            Addressed::User => &self.users,
            Addressed::Nothing => &self.globals[stream as usize],
        }
    }

    fn add(&self, stream: Stream, id: &Arc<str>, shard: u16) {
        *self.of(stream).entry(id.clone()).or_insert(0) |= 1 << shard;
    }

    fn remove(&self, stream: Stream, id: &str, shard: u16) {
        self.of(stream).remove_if_mut(id, |_, shards| {
            *shards &= !(1 << shard);
            *shards == 0
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::SHARDS_MAX;

    const MESSAGES: Stream = Stream::RoomMessages;

    fn topic(stream: Stream, event: &str) -> TopicRef<'_> {
        TopicRef { stream, event }
    }

    #[test]
    fn an_empty_topic_is_gone_at_once() {
        let mut table = TopicTable::new(0, Arc::default());
        let topic = topic(MESSAGES, "r1");
        let id = table.subscribe(topic, 7);
        assert_eq!(table.subscribe(topic, 8), id);
        table.subscribe(topic, 8);
        assert_eq!(table.subscribers(topic).map(|(_, all)| all.len()), Some(2));
        assert_eq!(table.subscriptions(), 2);
        table.unsubscribe(id, 7);
        assert_eq!(
            table
                .subscribers(topic)
                .unwrap()
                .1
                .iter()
                .collect::<Vec<_>>(),
            [8]
        );
        table.unsubscribe(id, 8);
        assert!(table.subscribers(topic).is_none());
        assert_eq!((table.len(), table.subscriptions()), (0, 0));
    }

    #[test]
    fn interest_changes_with_the_first_and_the_last_topic_of_a_room() {
        let interest = Arc::new(Interest::default());
        let mut left = TopicTable::new(0, interest.clone());
        let mut right = TopicTable::new(3, interest.clone());
        let messages = left.subscribe(topic(MESSAGES, "r1"), 1);
        let typing = left.subscribe(topic(Stream::NotifyRoom, "r1/user-activity"), 1);
        let other = right.subscribe(topic(MESSAGES, "r1"), 1);
        assert_eq!(interest.shards(topic(Stream::RoomData, "r1")), 0b1001);
        left.unsubscribe(messages, 1);
        assert_eq!(interest.shards(topic(MESSAGES, "r1")), 0b1001);
        left.unsubscribe(typing, 1);
        assert_eq!(interest.shards(topic(MESSAGES, "r1")), 0b1000);
        right.unsubscribe(other, 1);
        assert_eq!(interest.shards(topic(MESSAGES, "r1")), 0);
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
            .map(|table| table.subscribe(topic(MESSAGES, "r1"), 1))
            .collect();
        assert_eq!(interest.shards(topic(MESSAGES, "r1")), u64::MAX);
        for (table, id) in tables.iter_mut().zip(topics) {
            table.unsubscribe(id, 1);
        }
        assert!(interest.rooms.is_empty());
    }

    #[test]
    fn a_topic_is_its_stream_its_id_and_what_stands_behind_it() {
        let mut table = TopicTable::new(0, Arc::default());
        let topics = [
            topic(Stream::NotifyUser, "u"),
            topic(Stream::NotifyUser, "u/"),
            topic(Stream::NotifyUser, "u/otr"),
            topic(Stream::NotifyUser, "u/otr/more"),
            topic(Stream::NotifyUser, "v/otr"),
            topic(Stream::NotifyRoom, "u/otr"),
            topic(MESSAGES, "u"),
            topic(MESSAGES, "u/otr"),
            topic(Stream::NotifyLogged, "u/otr"),
            topic(Stream::NotifyLogged, ""),
            topic(MESSAGES, ""),
        ];
        let ids: Vec<_> = (0..).zip(topics).collect();
        let ids = ids
            .into_iter()
            .map(|(slot, topic)| table.subscribe(topic, slot));
        let ids: Vec<_> = ids.collect();
        for (slot, (&topic, &id)) in (0..).zip(topics.iter().zip(&ids)) {
            let (found, subscribers) = table.subscribers(topic).unwrap();
            assert_eq!(found, id, "{topic:?}");
            assert_eq!(subscribers.iter().collect::<Vec<_>>(), [slot], "{topic:?}");
            assert_eq!(table.audience(id), topic.audience(), "{topic:?}");
        }
        assert_eq!(table.rests.len(), 3);
        for (slot, id) in (0..).zip(ids) {
            table.unsubscribe(id, slot);
        }
        assert!(topics.iter().all(|topic| table.find(*topic).is_none()));
        assert!(
            topics
                .iter()
                .all(|topic| table.interest.shards(*topic) == 0)
        );
        assert!(table.rests.is_empty() && table.users.is_empty() && table.rooms.is_empty());
    }

    #[test]
    fn a_subscription_costs_less_than_200_bytes() {
        // A topic of its own of a user of his own (the dearest case): slab entry, index, its share of the user's count, the id
        // as text (17 characters, two counters), and 12 bytes in the connection's own list.
        let tables = size_of::<Entry>() + size_of::<u32>() + 1;
        let counts = size_of::<(Arc<str>, u32)>() + 1;
        let text = 2 * size_of::<usize>() + 17;
        assert!(
            2 * (tables + counts) / 2 + text + 12 < 200,
            "{tables} + {counts} + {text}"
        );
        assert!(size_of::<OneOrMany<u32>>() <= 16);
        assert!(size_of::<Entry>() <= 56);
    }
}
