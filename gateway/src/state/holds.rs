//! Events that wait behind a look-up of their room, so that they stay in order.

use std::{collections::VecDeque, sync::Arc};

use backplane::Event;
use hashbrown::HashMap;

/// Rooms with a look-up under way.
#[derive(Default)]
pub(crate) struct Holds(HashMap<Arc<str>, VecDeque<Event>>);

impl Holds {
    /// A look-up of this room, of which none is under way, begins.
    pub(crate) fn begin(&mut self, room: &Arc<str>) {
        self.0.insert(room.clone(), VecDeque::new());
    }

    /// It is over; what waited behind it.
    pub(crate) fn end(&mut self, room: &str) -> VecDeque<Event> {
        self.0.remove(room).unwrap_or_default()
    }

    pub(crate) fn holds(&self, room: &str) -> bool {
        self.0.contains_key(room)
    }

    /// Lets an event of a room with a look-up wait; `false` if so many wait already.
    pub(crate) fn wait(&mut self, room: &str, event: Event, events_max: usize) -> bool {
        let Some(events) = self.0.get_mut(room) else {
            return false;
        };
        if events.len() >= events_max {
            return false;
        }
        events.push_back(event);
        true
    }

    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
