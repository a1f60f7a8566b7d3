//! Events that wait behind a look-up of their room, so that they stay in order.

use std::{collections::VecDeque, sync::Arc};

use backplane::Event;
use hashbrown::HashMap;

/// Rooms with a look-up under way.
#[derive(Default)]
pub(crate) struct Holds(HashMap<Arc<str>, Hold>);

#[derive(Default)]
struct Hold {
    lookups: u32,
    events: VecDeque<Event>,
}

impl Holds {
    /// A look-up of this room begins.
    pub(crate) fn begin(&mut self, room: &Arc<str>) {
        self.0.entry(room.clone()).or_default().lookups += 1;
    }

    /// It is over; what waited behind it, if it was the last one.
    pub(crate) fn end(&mut self, room: &str) -> VecDeque<Event> {
        let Some(hold) = self.0.get_mut(room) else {
            return VecDeque::new();
        };
        hold.lookups -= 1;
        if hold.lookups > 0 {
            return VecDeque::new();
        }
        self.0
            .remove(room)
            .map(|hold| hold.events)
            .unwrap_or_default()
    }

    pub(crate) fn holds(&self, room: &str) -> bool {
        self.0.contains_key(room)
    }

    /// Lets an event of a room with a look-up wait; `false` if so many wait already.
    pub(crate) fn wait(&mut self, room: &str, event: Event, events_max: usize) -> bool {
        let Some(hold) = self.0.get_mut(room) else {
            return false;
        };
        if hold.events.len() >= events_max {
            return false;
        }
        hold.events.push_back(event);
        true
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
