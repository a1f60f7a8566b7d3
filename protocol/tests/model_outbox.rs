//! Random operations on the outbox against a model that keeps every byte.

use std::{
    collections::VecDeque,
    io::IoSlice,
    time::{Duration, Instant},
};

use bytes::Bytes;
use proptest::{collection::vec, prelude::*};
use protocol::{
    outbox::{Class, Frame, Outbox, Pushed},
    ws::text_frame,
};

const BYTES_MAX: usize = 20;

#[derive(Clone, Debug)]
enum Op {
    Push {
        parts: [u8; 3],
        shape: Shape,
        class: Class,
        counted: bool,
    },
    /// Write as much as fits into this many slices, but at most so many bytes.
    Write {
        slices: usize,
        bytes: usize,
    },
    Cut,
}

#[derive(Clone, Copy, Debug)]
enum Shape {
    Shared,
    Spliced,
    /// Each part is a frame's payload.
    Run,
}

fn op() -> impl Strategy<Value = Op> {
    let class = prop::sample::select(&[Class::Reply, Class::Data, Class::Sheddable][..]);
    let shape = prop::sample::select(&[Shape::Shared, Shape::Spliced, Shape::Run][..]);
    let push = (any::<[u8; 3]>(), shape, class, any::<bool>()).prop_map(
        |(parts, shape, class, counted)| Op::Push {
            parts: parts.map(|len| len % 8),
            shape,
            class,
            counted,
        },
    );
    let write = (1..5usize, 0..30usize).prop_map(|(slices, bytes)| Op::Write { slices, bytes });
    prop_oneof![10 => push, 8 => write, 1 => Just(Op::Cut)]
}

/// Frames as plain bytes; the first one may have left in part.
#[derive(Default)]
struct Model {
    frames: VecDeque<ModelFrame>,
    counted_sent: u64,
    /// What waits of a frame that alone passes the bound.
    large: usize,
}

struct ModelFrame {
    bytes: Vec<u8>,
    sent: usize,
    counted: bool,
    queued: Instant,
}

impl Model {
    fn waiting(&self) -> Vec<u8> {
        self.frames
            .iter()
            .flat_map(|frame| &frame.bytes[frame.sent..])
            .copied()
            .collect()
    }

    fn push(
        &mut self,
        frames: Vec<Vec<u8>>,
        class: Class,
        counted: bool,
        queued: Instant,
    ) -> Pushed {
        let is_empty = self.waiting().is_empty();
        let len: usize = frames.iter().map(Vec::len).sum();
        let filled = self.waiting().len() - self.large + len;
        if class == Class::Sheddable && filled > BYTES_MAX / 2 {
            return Pushed::Shed;
        }
        if class == Class::Data && filled > BYTES_MAX {
            if !is_empty {
                return Pushed::Full;
            }
            self.large = len;
        }
        let frames = frames.into_iter().filter(|bytes| !bytes.is_empty());
        self.frames.extend(frames.map(|bytes| ModelFrame {
            bytes,
            sent: 0,
            counted,
            queued,
        }));
        Pushed::Queued
    }

    fn advance(&mut self, written: usize) {
        self.large = self.large.saturating_sub(written);
        for _ in 0..written {
            let frame = self.frames.front_mut().unwrap();
            frame.sent += 1;
            if frame.sent == frame.bytes.len() {
                self.counted_sent += u64::from(frame.counted);
                self.frames.pop_front();
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_outbox_does_what_the_model_does(ops in vec(op(), 0..60)) {
        let mut outbox = Outbox::new(BYTES_MAX);
        let mut model = Model::default();
        let mut next_byte = 0u8;
        #[expect(clippy::disallowed_methods, reason = "a test needs a first instant from somewhere")]
        let mut now = Instant::now();

        for op in ops {
            now += Duration::from_millis(1);
            match op {
                Op::Push { parts, shape, class, counted } => {
                    let [head, body, tail] = parts.map(|len| {
                        let bytes: Vec<u8> = (0..len).map(|index| next_byte.wrapping_add(index)).collect();
                        next_byte = next_byte.wrapping_add(len);
                        Bytes::from(bytes)
                    });
                    let all = [&head[..], &body, &tail].concat();
                    let (frame, frames) = match shape {
                        Shape::Shared => (Frame::Shared(all.clone().into()), vec![all]),
                        Shape::Spliced => (Frame::Spliced { head, body, tail }, vec![all]),
                        Shape::Run => {
                            let frames: Vec<Vec<u8>> = [head, body, tail].iter().map(|payload| text_frame(payload).into()).collect();
                            (Frame::Run { bytes: frames.concat().into(), frames: 3 }, frames)
                        }
                    };
                    let pushed = outbox.push(frame, class, counted, now);
                    prop_assert_eq!(pushed, model.push(frames, class, counted, now));
                }
                Op::Write { slices, bytes } => {
                    let mut room = vec![IoSlice::new(&[]); slices];
                    let filled = outbox.io_slices(&mut room);
                    prop_assert_eq!(filled == 0, model.frames.is_empty());
                    let offered: Vec<u8> = room[..filled].iter().flat_map(|slice| slice.iter().copied()).collect();
                    prop_assert!(model.waiting().starts_with(&offered));
                    let written = offered.len().min(bytes);
                    outbox.advance(written);
                    model.advance(written);
                }
                Op::Cut => {
                    outbox.cut();
                    model.frames.truncate(1);
                    model.frames.retain(|frame| frame.sent > 0);
                    model.large = model.large.min(model.waiting().len());
                }
            }

            let mut room = vec![IoSlice::new(&[]); 200];
            let filled = outbox.io_slices(&mut room);
            let waiting: Vec<u8> = room[..filled].iter().flat_map(|slice| slice.iter().copied()).collect();
            prop_assert_eq!(&waiting, &model.waiting());
            prop_assert_eq!(outbox.bytes(), waiting.len());
            prop_assert_eq!(outbox.is_empty(), waiting.is_empty());
            prop_assert_eq!(outbox.frames(), model.frames.len());
            prop_assert_eq!(outbox.counted_sent(), model.counted_sent);
            prop_assert_eq!(outbox.oldest(), model.frames.front().map(|frame| frame.queued));
        }
    }
}
