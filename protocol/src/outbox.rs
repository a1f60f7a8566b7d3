//! What waits for one client: frames in order, with their bounds (`design.md` 3.3).

use std::{collections::VecDeque, io::IoSlice, time::Instant};

use bytes::{Buf as _, Bytes};

use crate::ws;

/// One websocket frame or several, ready to travel, shared with other outboxes as far as possible.
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
    /// Finished frames behind one another, the same for every subscriber: one place in the queue and one slice for them all.
    Run {
        /// Whole unmasked frames as [`ws::frame_header`] begins them, nothing else.
        bytes: Bytes,
        /// How many.
        frames: u32,
    },
}

/// What may happen to a frame under pressure.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Class {
    /// An answer, a pong, a close: always queued. Who asks without reading is found by [`Outbox::is_over`], at which the
    /// driver looks with each input.
    Reply,
    /// Must arrive, or the connection ends.
    Data,
    /// Typing, presence, user status: refused where it would fill the outbox more than half.
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

/// What a waiting part costs besides its bytes, about: its place in the queue. Replies can be as small as two bytes.
const PART_COST: usize = 64;

/// What waits for one client.
///
/// Empty, it holds no heap: the queue is freed whenever all has left, not before, so that a slow client's queue does not
/// shrink and grow again. An allocation per burst is lost beside the write that follows it. A waiting frame costs
/// 56 bytes besides its own, a spliced one three times that.
#[derive(Debug)]
pub struct Outbox {
    parts: VecDeque<Part>,
    bytes: usize,
    /// Of a frame that alone passes the bound: what of it still waits, first of all. It does not count.
    large: usize,
    counted_sent: u64,
    bytes_max: u32,
    /// The first frame has left in part: the rest of it must follow, whatever happens.
    half_written: bool,
}

/// A frame, one of the three pieces of a spliced one, or a run. Never empty; shortened from the front as it leaves, but a run
/// begins with a whole frame.
#[derive(Debug)]
struct Part {
    bytes: Bytes,
    queued: Instant,
    /// Frames that end in it.
    ends: u32,
    /// Each of these is a counted message.
    counted: bool,
}

impl Outbox {
    /// An empty outbox that holds at most `bytes_max` bytes (up to 4 GiB), replies apart, and one frame of any size where nothing waits
    /// before it.
    pub fn new(bytes_max: usize) -> Self {
        Self {
            parts: VecDeque::new(),
            bytes: 0,
            bytes_max: u32::try_from(bytes_max).unwrap_or(u32::MAX),
            large: 0,
            counted_sent: 0,
            half_written: false,
        }
    }

    /// Queues a frame. `counted`: the message counts for resumption (`resumption.md` 1.4).
    pub fn push(&mut self, frame: Frame, class: Class, counted: bool, now: Instant) -> Pushed {
        let (parts, ends) = match frame {
            Frame::Shared(bytes) => ([Bytes::new(), Bytes::new(), bytes], 1),
            Frame::Spliced { head, body, tail } => ([head, body, tail], 1),
            Frame::Run { bytes, frames } => ([Bytes::new(), Bytes::new(), bytes], frames),
        };
        let frame_bytes: usize = parts.iter().map(Bytes::len).sum();
        let filled = self.counting().saturating_add(frame_bytes);
        let bytes_max = self.bytes_max as usize;
        match class {
            Class::Sheddable if filled > bytes_max / 2 => return Pushed::Shed,
            // A client that reads is not ended by one large frame.
            Class::Data if filled > bytes_max && self.is_empty() => self.large = frame_bytes,
            Class::Data if filled > bytes_max => return Pushed::Full,
            Class::Sheddable | Class::Data | Class::Reply => {}
        }
        if frame_bytes == 0 {
            return Pushed::Queued;
        }

        for bytes in parts {
            if !bytes.is_empty() {
                self.parts.push_back(Part {
                    bytes,
                    queued: now,
                    ends: 0,
                    counted: false,
                });
            }
        }
        if let Some(last) = self.parts.back_mut() {
            last.ends = ends;
            last.counted = counted;
        }
        self.bytes += frame_bytes;
        Pushed::Queued
    }

    /// Takes note that the first `written` of the waiting bytes left.
    pub fn advance(&mut self, written: usize) {
        debug_assert!(written <= self.bytes, "more was written than waited");
        let mut left = written.min(self.bytes);
        self.bytes -= left;
        self.large = self.large.saturating_sub(left);
        while left > 0
            && let Some(part) = self.parts.front_mut()
        {
            if left < part.bytes.len() {
                if part.ends > 1 {
                    self.split_first();
                    continue;
                }
                part.bytes.advance(left);
                self.half_written = true;
                return;
            }
            left -= part.bytes.len();
            self.half_written = part.ends == 0;
            self.counted_sent += u64::from(part.counted) * u64::from(part.ends);
            self.parts.pop_front();
        }
        self.free_if_empty();
    }

    /// Makes the first frame of the run in front a part of its own.
    fn split_first(&mut self) {
        if let Some(run) = self.parts.front_mut() {
            let first = ws::frame_len(&run.bytes).min(run.bytes.len());
            run.ends -= 1;
            let frame = Part {
                bytes: run.bytes.split_to(first),
                ends: 1,
                ..*run
            };
            self.parts.push_front(frame);
        }
    }

    /// Drops all but the frame that is half written, so that a close frame can follow it.
    pub fn cut(&mut self) {
        let kept = match self.half_written {
            true => self
                .parts
                .iter()
                .position(|part| part.ends > 0)
                .map_or(0, |last| last + 1),
            false => 0,
        };
        self.parts.truncate(kept);
        self.bytes = self.parts.iter().map(|part| part.bytes.len()).sum();
        self.large = self.large.min(self.bytes);
        self.free_if_empty();
    }

    /// Fills `out` with what is to be written next, in order; gives the number of slices filled.
    pub fn io_slices<'a>(&'a self, out: &mut [IoSlice<'a>]) -> usize {
        let mut filled = 0;
        for (slice, part) in out.iter_mut().zip(&self.parts) {
            *slice = IoSlice::new(&part.bytes);
            filled += 1;
        }
        filled
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// Bytes that wait.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// What the waiting bytes cost with their places in the queue, about; as if nothing of them were shared.
    pub fn held(&self) -> usize {
        self.bytes + self.parts.len() * PART_COST
    }

    /// Whether the bound is passed, which only replies can do: by their bytes, or by how many there are.
    pub fn is_over(&self) -> bool {
        self.counting().max(self.parts.len() * PART_COST) > self.bytes_max as usize
    }

    /// Bytes that count against the bound.
    fn counting(&self) -> usize {
        self.bytes - self.large
    }

    /// Frames that wait, one that is half written included.
    pub fn frames(&self) -> usize {
        self.parts.iter().map(|part| part.ends as usize).sum()
    }

    /// When the oldest waiting frame was queued.
    pub fn oldest(&self) -> Option<Instant> {
        self.parts.front().map(|part| part.queued)
    }

    /// Counted messages that left completely.
    pub fn counted_sent(&self) -> u64 {
        self.counted_sent
    }

    fn free_if_empty(&mut self) {
        if self.parts.is_empty() {
            self.parts = VecDeque::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Instant {
        #[expect(
            clippy::disallowed_methods,
            reason = "a test needs a first instant from somewhere"
        )]
        Instant::now()
    }

    fn shared(bytes: &'static str) -> Frame {
        Frame::Shared(Bytes::from_static(bytes.as_bytes()))
    }

    fn spliced(head: &'static str, body: &'static str, tail: &'static str) -> Frame {
        Frame::Spliced {
            head: head.into(),
            body: body.into(),
            tail: tail.into(),
        }
    }

    fn waiting(outbox: &Outbox) -> String {
        let mut slices = [IoSlice::new(&[]); 16];
        let filled = outbox.io_slices(&mut slices);
        slices[..filled]
            .iter()
            .map(|slice| str::from_utf8(slice).unwrap())
            .collect()
    }

    #[test]
    fn frames_leave_in_order_and_in_pieces() {
        let mut outbox = Outbox::new(100);
        let _ = outbox.push(shared("abc"), Class::Data, true, now());
        let _ = outbox.push(spliced("d", "ef", "g"), Class::Data, true, now());
        let _ = outbox.push(shared("h"), Class::Reply, false, now());
        assert_eq!(
            (outbox.bytes(), outbox.frames(), outbox.counted_sent()),
            (8, 3, 0)
        );
        assert_eq!(waiting(&outbox), "abcdefgh");
        outbox.advance(2);
        assert_eq!(
            (
                waiting(&outbox).as_str(),
                outbox.frames(),
                outbox.counted_sent()
            ),
            ("cdefgh", 3, 0)
        );
        outbox.advance(2);
        assert_eq!(
            (
                waiting(&outbox).as_str(),
                outbox.frames(),
                outbox.counted_sent()
            ),
            ("efgh", 2, 1)
        );
        outbox.advance(3);
        assert_eq!(
            (
                waiting(&outbox).as_str(),
                outbox.frames(),
                outbox.counted_sent()
            ),
            ("h", 1, 2)
        );
        outbox.advance(1);
        assert_eq!(
            (
                outbox.is_empty(),
                outbox.bytes(),
                outbox.frames(),
                outbox.counted_sent()
            ),
            (true, 0, 0, 2)
        );
    }

    #[test]
    fn no_more_slices_than_there_is_room_for() {
        let mut outbox = Outbox::new(100);
        let _ = outbox.push(spliced("a", "b", "c"), Class::Data, false, now());
        let mut slices = [IoSlice::new(&[]); 2];
        assert_eq!(outbox.io_slices(&mut slices), 2);
        assert_eq!(&*slices[1], b"b");
    }

    #[test]
    fn each_class_has_its_bound() {
        let mut outbox = Outbox::new(8);
        assert_eq!(
            outbox.push(shared("1234"), Class::Sheddable, false, now()),
            Pushed::Queued
        );
        assert_eq!(
            outbox.push(shared("5"), Class::Sheddable, true, now()),
            Pushed::Shed
        );
        assert_eq!(
            outbox.push(shared("5678"), Class::Data, false, now()),
            Pushed::Queued
        );
        assert_eq!(
            outbox.push(shared("9"), Class::Data, true, now()),
            Pushed::Full
        );
        assert_eq!(
            outbox.push(shared("9"), Class::Reply, false, now()),
            Pushed::Queued
        );
        assert_eq!(waiting(&outbox), "123456789");
        outbox.advance(9);
        assert_eq!(outbox.counted_sent(), 0);
    }

    #[test]
    fn replies_pass_the_bound_by_their_bytes_or_by_their_number() {
        let mut outbox = Outbox::new(10 * PART_COST);
        for _ in 0..10 {
            let _ = outbox.push(shared("a"), Class::Reply, false, now());
        }
        assert!(!outbox.is_over());
        let _ = outbox.push(shared("a"), Class::Reply, false, now());
        assert!(outbox.is_over());
        outbox.advance(11);
        assert!(!outbox.is_over());
        let long = Frame::Shared(vec![b'a'; 10 * PART_COST + 1].into());
        let _ = outbox.push(long, Class::Reply, false, now());
        assert!(outbox.is_over());
    }

    #[test]
    fn a_cut_keeps_only_the_frame_that_is_half_written() {
        for (written, kept) in [(0, ""), (1, "bc"), (2, "c"), (3, ""), (4, "")] {
            let mut outbox = Outbox::new(100);
            let _ = outbox.push(spliced("a", "b", "c"), Class::Data, true, now());
            let _ = outbox.push(shared("d"), Class::Data, true, now());
            outbox.advance(written);
            outbox.cut();
            assert_eq!(waiting(&outbox), kept, "{written}");
            assert_eq!(
                (outbox.bytes(), outbox.frames()),
                (kept.len(), kept.len().min(1)),
                "{written}"
            );
            let _ = outbox.push(shared("bye"), Class::Reply, false, now());
            assert_eq!(waiting(&outbox), format!("{kept}bye"), "{written}");
        }
    }

    #[test]
    fn the_oldest_frame_decides_the_age() {
        let first = now();
        let second = first + std::time::Duration::from_secs(1);
        let mut outbox = Outbox::new(100);
        assert_eq!(outbox.oldest(), None);
        let _ = outbox.push(shared("ab"), Class::Data, false, first);
        let _ = outbox.push(shared("c"), Class::Data, false, second);
        outbox.advance(1);
        assert_eq!(outbox.oldest(), Some(first));
        outbox.advance(1);
        assert_eq!(outbox.oldest(), Some(second));
    }

    #[test]
    fn an_empty_frame_is_nothing() {
        let mut outbox = Outbox::new(100);
        assert_eq!(
            outbox.push(shared(""), Class::Data, true, now()),
            Pushed::Queued
        );
        assert!(outbox.is_empty());
    }

    #[test]
    fn an_empty_outbox_holds_no_heap() {
        let mut outbox = Outbox::new(100);
        assert_eq!(outbox.parts.capacity(), 0);
        for _ in 0..50 {
            let _ = outbox.push(shared("a"), Class::Data, false, now());
        }
        outbox.advance(49);
        assert!(outbox.parts.capacity() >= 50);
        outbox.advance(1);
        assert_eq!(outbox.parts.capacity(), 0);
        let _ = outbox.push(shared("a"), Class::Data, false, now());
        outbox.cut();
        assert_eq!(outbox.parts.capacity(), 0);
    }

    #[test]
    fn one_frame_may_pass_the_bound_where_nothing_waits_before_it() {
        let mut outbox = Outbox::new(100);
        let push = |outbox: &mut Outbox, bytes| {
            let frame = Frame::Shared(vec![0; bytes].into());
            outbox.push(frame, Class::Data, true, now())
        };
        assert_eq!(push(&mut outbox, 300), Pushed::Queued);
        assert!(!outbox.is_over());
        // What comes behind it has the bound for itself.
        assert_eq!(push(&mut outbox, 100), Pushed::Queued);
        assert_eq!(push(&mut outbox, 1), Pushed::Full);
        outbox.advance(299);
        assert_eq!(push(&mut outbox, 300), Pushed::Full);
        outbox.advance(101);
        assert_eq!(push(&mut outbox, 300), Pushed::Queued);
        outbox.cut();
        assert_eq!(push(&mut outbox, 100), Pushed::Queued);
        assert_eq!(push(&mut outbox, 1), Pushed::Full);
    }

    /// What one connection pays, on 64-bit machines.
    #[test]
    fn the_memory_table_holds() {
        for (what, bytes, bytes_max) in [
            ("an empty outbox", size_of::<Outbox>(), 80),
            ("a waiting part", size_of::<Part>(), 56),
            ("a frame on its way", size_of::<Frame>(), 104),
        ] {
            assert!(bytes <= bytes_max, "{what}: {bytes} bytes");
        }
    }
}
