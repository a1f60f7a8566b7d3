use std::collections::VecDeque;

use bytes::Bytes;

use super::event::SubKey;
use crate::ddp::Refused;

/// What takes its turn in a client's queue; `id`s are raw JSON.
pub(super) enum Call {
    Method {
        id: Box<str>,
        name: String,
        params: Result<Bytes, Refused>,
    },
    Sub {
        id: Box<str>,
        name: String,
        params: Result<Bytes, Refused>,
    },
    Unsub {
        id: Box<str>,
    },
}

/// The call that everything behind it waits for.
pub(super) enum Running {
    Method { id: Box<str> },
    Sub { id: Box<str>, key: SubKey },
}

/// The calls that wait for the running one, first in, first out, with the bytes of the messages they came in.
///
/// Mostly none wait, and an idle client keeps no memory for its busiest moment.
#[derive(Default)]
pub(super) struct Waiting(Option<Box<Calls>>);

#[derive(Default)]
struct Calls {
    queue: VecDeque<(Call, u32)>,
    bytes: usize,
}

impl Waiting {
    pub(super) fn push(&mut self, call: Call, message_bytes: usize) {
        // A message is bounded by `Limits::message_bytes`; one above 4 GiB would be over every limit by this count too.
        let message_bytes = u32::try_from(message_bytes).unwrap_or(u32::MAX);
        let calls = self.0.get_or_insert_default();
        calls.queue.push_back((call, message_bytes));
        calls.bytes += message_bytes as usize;
    }

    pub(super) fn pop(&mut self) -> Option<Call> {
        let calls = self.0.as_mut()?;
        let (call, message_bytes) = calls.queue.pop_front()?;
        calls.bytes -= message_bytes as usize;
        if calls.queue.is_empty() {
            self.0 = None;
        }
        Some(call)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    pub(super) fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |calls| calls.queue.len())
    }

    pub(super) fn bytes(&self) -> usize {
        self.0.as_ref().map_or(0, |calls| calls.bytes)
    }
}
