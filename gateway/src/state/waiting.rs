//! What events that wait behind look-ups of rooms may take together.

use std::collections::VecDeque;

use backplane::Event;

/// Thousands of rooms may be read while the store does not answer.
const WAITING_BYTES_MAX: usize = 64 << 20;

/// Bytes of all events that wait in any of somebody's queues.
#[derive(Default)]
pub(super) struct Waiting {
    bytes: usize,
}

impl Waiting {
    /// Lets an event wait at the end of a queue in which so many wait already; `false` if there is no room.
    pub(super) fn push(
        &mut self,
        queue: &mut VecDeque<Event>,
        event: Event,
        before: usize,
        events_max: usize,
    ) -> bool {
        let bytes = self.bytes + event.args.len();
        if before >= events_max || bytes > WAITING_BYTES_MAX {
            return false;
        }
        self.bytes = bytes;
        queue.push_back(event);
        true
    }

    /// Those of a queue wait no longer.
    pub(super) fn release(&mut self, events: &VecDeque<Event>) {
        self.bytes -= events.iter().map(|event| event.args.len()).sum::<usize>();
    }
}
