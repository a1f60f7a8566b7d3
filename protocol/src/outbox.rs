//! What waits for one client: frames in order, with their bounds.

use std::{io::IoSlice, time::Instant};

use bytes::Bytes;

/// One websocket frame, ready to travel, shared with other outboxes as far as possible.
#[derive(Clone, Debug)]
pub enum Frame {
    /// The same bytes for every subscriber of this framing.
    Shared(Bytes),
    /// Only head or tail differ between subscribers; the document between stays shared.
    Spliced {
        /// Websocket header and what comes before the body.
        head: Bytes,
        /// The shared part.
        body: Bytes,
        /// What comes after the body.
        tail: Bytes,
    },
}

/// What may happen to a frame under pressure.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Class {
    /// An answer, a pong, a close: always queued; how many there can be is bounded by what the client may ask.
    Reply,
    /// Must arrive, or the connection ends.
    Data,
    /// Typing, presence, user status: refused once the outbox is more than half full.
    Sheddable,
}

/// What became of a pushed frame.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
#[must_use = "a full outbox ends the connection"]
pub enum Pushed {
    /// It waits.
    Queued,
    /// It was refused and not counted; the connection goes on.
    Shed,
    /// It was refused; the connection must end with `SlowConsumer`.
    Full,
}

/// What waits for one client.
#[derive(Debug)]
pub struct Outbox {}

impl Outbox {
    /// An empty outbox that holds at most `bytes_max` bytes of data.
    pub fn new(bytes_max: usize) -> Self {
        let _ = bytes_max;
        todo!()
    }

    /// Queues a frame. `counted`: the message counts for resumption (`resumption.md` 1.4).
    pub fn push(&mut self, frame: Frame, class: Class, counted: bool, now: Instant) -> Pushed {
        let _ = (frame, class, counted, now);
        todo!()
    }

    /// Takes note that the first `written` of the waiting bytes left.
    pub fn advance(&mut self, written: usize) {
        let _ = written;
        todo!()
    }

    /// Drops all but the frame that is half written.
    pub fn cut(&mut self) {
        todo!()
    }

    /// Fills `out` with what is to be written next, in order; gives the number of slices filled.
    pub fn io_slices<'a>(&'a self, out: &mut [IoSlice<'a>]) -> usize {
        let _ = out;
        todo!()
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        todo!()
    }

    /// Bytes that wait.
    pub fn bytes(&self) -> usize {
        todo!()
    }

    /// Frames that wait, one that is half written included.
    pub fn frames(&self) -> usize {
        todo!()
    }

    /// When the oldest waiting frame was queued.
    pub fn oldest(&self) -> Option<Instant> {
        todo!()
    }

    /// Counted messages that left completely.
    pub fn counted_sent(&self) -> u64 {
        todo!()
    }
}
