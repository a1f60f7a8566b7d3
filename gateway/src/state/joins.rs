//! Rooms that are being read for users who have just joined them, and the events that wait behind the readings so that they
//! stay in order (streams.md 5.3).
//!
//! One reading at a time for each room: who joins during one is served by the next, together with all others who do. An
//! event waits for the reading that was under way when it came, or for the next if somebody had joined before it; never
//! for one that was asked for later, however many go on joining.

use std::{collections::VecDeque, mem, sync::Arc, time::Instant};

use backplane::Event;
use hashbrown::HashMap;

use super::waiting::Waiting;

/// The readings, by room.
#[derive(Default)]
pub(crate) struct Joins {
    readings: HashMap<Arc<str>, Reading>,
    waiting: Waiting,
}

/// One reading that is under way or about to begin, and the next.
#[derive(Default)]
struct Reading {
    events: VecDeque<Event>,
    next: Option<Joined>,
    /// Events that wait for the next.
    next_events: VecDeque<Event>,
}

/// For whom a room is read.
#[derive(Debug)]
pub(crate) struct Joined {
    pub(crate) users: Vec<Arc<str>>,
    /// When the first of them joined.
    pub(crate) received: Instant,
}

/// The end of a reading.
pub(crate) struct Done {
    /// What waited for it.
    pub(crate) events: VecDeque<Event>,
    /// Nobody has joined meanwhile.
    pub(crate) is_last: bool,
}

impl Joins {
    /// A user has joined; `true`: the readings of this room must begin now, else he is served in turn.
    pub(crate) fn join(&mut self, room: &Arc<str>, user: Arc<str>, received: Instant) -> bool {
        let begins = !self.readings.contains_key(room);
        let reading = self.readings.entry(room.clone()).or_default();
        let next = reading.next.get_or_insert_with(|| Joined {
            users: Vec::with_capacity(1),
            received,
        });
        next.users.push(user);
        begins
    }

    /// A reading begins: for whom.
    pub(crate) fn begin(&mut self, room: &str) -> Option<Joined> {
        let reading = self.readings.get_mut(room)?;
        let joined = reading.next.take()?;
        reading.events.append(&mut reading.next_events);
        Some(joined)
    }

    /// It is over.
    pub(crate) fn end(&mut self, room: &str) -> Done {
        let Some(reading) = self.readings.get_mut(room) else {
            return Done {
                events: VecDeque::new(),
                is_last: true,
            };
        };
        let events = mem::take(&mut reading.events);
        self.waiting.release(&events);
        let is_last = reading.next.is_none();
        if is_last {
            self.readings.remove(room);
        }
        Done { events, is_last }
    }

    /// Whether this room is being read.
    pub(crate) fn holds(&self, room: &str) -> bool {
        self.readings.contains_key(room)
    }

    /// Lets an event of a room that is being read wait; `false` if so many wait already.
    pub(crate) fn wait(&mut self, room: &str, event: Event, events_max: usize) -> bool {
        let Some(reading) = self.readings.get_mut(room) else {
            return false;
        };
        let before = reading.events.len() + reading.next_events.len();
        let queue = match reading.next {
            Some(_) => &mut reading.next_events,
            None => &mut reading.events,
        };
        self.waiting.push(queue, event, before, events_max)
    }

    /// Rooms that are looked up.
    pub(crate) fn len(&self) -> usize {
        self.readings.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.readings.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use backplane::Handled;
    use bytes::Bytes;
    use bytestring::ByteString;

    use super::*;

    fn event(text: &'static str) -> Event {
        Event {
            name: "watch.rooms",
            args: ByteString::from_static(text),
            sender: "peer".into(),
            from_us: false,
            meta: Bytes::from_static(b"{}"),
            received: Instant::now(),
            handled: Handled::default(),
        }
    }

    #[test]
    fn what_waits_behind_all_of_them_is_bounded() {
        let mut joins = Joins::default();
        let large = || Event {
            args: "0".repeat(1 << 20).into(),
            ..event("")
        };
        let rooms: Vec<Arc<str>> = (0..100).map(|room| room.to_string().into()).collect();
        for room in &rooms {
            joins.join(room, "u1".into(), Instant::now());
        }
        let waits = rooms.iter().filter(|room| joins.wait(room, large(), 10));
        assert_eq!(waits.count(), 64, "of 1 MiB each");
        for room in &rooms {
            joins.begin(room);
            joins.end(room);
        }
        assert!(joins.is_empty());
        joins.join(&rooms[0], "u1".into(), Instant::now());
        assert!(joins.wait(&rooms[0], large(), 10), "there is room again");
    }

    fn texts(done: Done) -> (Vec<ByteString>, bool) {
        let texts = done.events.into_iter().map(|event| event.args).collect();
        (texts, done.is_last)
    }

    #[test]
    fn whoever_joins_during_a_reading_is_served_by_the_next() {
        let (mut joins, room, now) = (Joins::default(), Arc::from("r1"), Instant::now());
        assert!(joins.join(&room, "u0".into(), now));
        assert_eq!(joins.begin("r1").unwrap().users.len(), 1);
        for number in 1..1_500 {
            assert!(!joins.join(&room, number.to_string().into(), now));
        }
        assert!(!joins.end("r1").is_last);
        assert_eq!(joins.begin("r1").unwrap().users.len(), 1_499);
        assert!(joins.end("r1").is_last);
        assert!(joins.is_empty());
    }

    #[test]
    fn an_event_waits_for_the_readings_of_those_who_joined_before_it_and_no_other() {
        let (mut joins, room, now) = (Joins::default(), Arc::from("r1"), Instant::now());
        joins.join(&room, "u0".into(), now);
        assert!(joins.wait("r1", event("0"), 4));
        joins.begin("r1");
        assert!(joins.wait("r1", event("1"), 4));
        joins.join(&room, "u1".into(), now);
        assert!(joins.wait("r1", event("2"), 4));
        assert!(joins.wait("r1", event("3"), 4));
        assert!(!joins.wait("r1", event("4"), 4));
        assert_eq!(
            texts(joins.end("r1")),
            (vec!["0".into(), "1".into()], false)
        );
        joins.begin("r1");
        assert_eq!(texts(joins.end("r1")), (vec!["2".into(), "3".into()], true));
        assert!(!joins.holds("r1"));
    }
}
