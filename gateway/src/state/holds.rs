//! Events that wait behind a look-up of their room, so that they stay in order.

use std::{collections::VecDeque, sync::Arc};

use backplane::Event;
use hashbrown::HashMap;

use super::waiting::Waiting;

/// Rooms with a look-up under way.
#[derive(Default)]
pub(crate) struct Holds {
    rooms: HashMap<Arc<str>, VecDeque<Event>>,
    waiting: Waiting,
}

impl Holds {
    /// A look-up of this room, of which none is under way, begins.
    pub(crate) fn begin(&mut self, room: &Arc<str>) {
        self.rooms.insert(room.clone(), VecDeque::new());
    }

    /// It is over; what waited behind it.
    pub(crate) fn end(&mut self, room: &str) -> VecDeque<Event> {
        let events = self.rooms.remove(room).unwrap_or_default();
        self.waiting.release(&events);
        events
    }

    pub(crate) fn holds(&self, room: &str) -> bool {
        self.rooms.contains_key(room)
    }

    /// Lets an event of a room with a look-up wait; `false` if so many wait already.
    pub(crate) fn wait(&mut self, room: &str, event: Event, events_max: usize) -> bool {
        let Some(events) = self.rooms.get_mut(room) else {
            return false;
        };
        let before = events.len();
        self.waiting.push(events, event, before, events_max)
    }

    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.rooms.is_empty()
    }
}
