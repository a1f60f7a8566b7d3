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
#[derive(Default)]
pub(super) struct Waiting {
    calls: VecDeque<(Call, u32)>,
    bytes: usize,
}

impl Waiting {
    pub(super) fn push(&mut self, call: Call, message_bytes: usize) {
        // A message is bounded by `Limits::message_bytes`; one above 4 GiB would be over every limit by this count too.
        let message_bytes = u32::try_from(message_bytes).unwrap_or(u32::MAX);
        self.calls.push_back((call, message_bytes));
        self.bytes += message_bytes as usize;
    }

    pub(super) fn pop(&mut self) -> Option<Call> {
        let (call, message_bytes) = self.calls.pop_front()?;
        self.bytes -= message_bytes as usize;
        if self.calls.is_empty() {
            // An idle client keeps no memory for its busiest moment.
            self.calls = VecDeque::new();
        }
        Some(call)
    }

    pub(super) fn len(&self) -> usize {
        self.calls.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.calls.capacity()
    }
}
