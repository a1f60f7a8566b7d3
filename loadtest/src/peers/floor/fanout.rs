//! Bringing frames to sockets, in the two ways that are the two floors.

use std::io::{self, IoSlice, Write};
use std::net::TcpStream;

use super::event::{Sliced, push_changed};
use crate::sys::{Epoll, Interest};

const IO_SLICES_MAX: usize = 1024;
const UNSENT_BYTES_MAX: usize = 64 * 1024 * 1024;

/// When frames are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Mode {
    /// One `send` per delivery, as soon as the event is seen
    OneSend,
    /// A queue per connection, written once per batch of events
    Coalesce,
}

impl Mode {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::OneSend => "one-send",
            Self::Coalesce => "coalesce",
        }
    }
}

/// What a delivery touches.
#[derive(Default)]
pub(super) struct Fanout {
    pub(super) connections: Vec<Option<Connection>>,
    pub(super) subscribers: Vec<Vec<u32>>,
    /// The frames of this batch; the buffers are used again for the next one.
    pub(super) frames: Vec<Vec<u8>>,
    pub(super) frame_count: usize,
    pub(super) dirty: Vec<u32>,
}

pub(super) struct Connection {
    pub(super) stream: TcpStream,
    pub(super) upgraded: bool,
    pub(super) input: Vec<u8>,
    pub(super) topics: Vec<u32>,
    /// Indices of this batch's frames.
    pub(super) queue: Vec<u32>,
    /// What the socket refused.
    pub(super) unsent: Vec<u8>,
}

impl Fanout {
    /// Builds the frame once and brings it to all subscribers, or to their queues.
    pub(super) fn publish(&mut self, mode: Mode, topic: u32, event: &Sliced<'_>, epoll: &Epoll) {
        if self.frame_count == self.frames.len() {
            self.frames.push(Vec::new());
        }
        let frame = &mut self.frames[self.frame_count];
        frame.clear();
        push_changed(frame, event);
        for &slot in &self.subscribers[topic as usize] {
            let Some(connection) = &mut self.connections[slot as usize] else {
                continue;
            };
            match mode {
                Mode::OneSend => connection.send(slot, frame, epoll),
                Mode::Coalesce => {
                    if connection.queue.is_empty() {
                        self.dirty.push(slot);
                    }
                    connection.queue.push(self.frame_count as u32);
                }
            }
        }
        if mode == Mode::Coalesce {
            self.frame_count += 1;
        }
    }

    /// Writes every queue of the batch, each with one vectored write.
    pub(super) fn flush(&mut self, epoll: &Epoll) {
        let mut slices = Vec::with_capacity(IO_SLICES_MAX);
        for slot in self.dirty.drain(..) {
            let Some(connection) = &mut self.connections[slot as usize] else {
                continue;
            };
            for chunk in connection.queue.chunks(IO_SLICES_MAX) {
                slices.clear();
                slices.extend(
                    chunk
                        .iter()
                        .map(|&index| IoSlice::new(&self.frames[index as usize])),
                );
                send_slices(
                    &mut connection.stream,
                    &mut connection.unsent,
                    slot,
                    &slices,
                    epoll,
                );
            }
            connection.queue.clear();
        }
        self.frame_count = 0;
    }

    /// Writes what a socket refused earlier; false if the connection is lost.
    pub(super) fn write_unsent(&mut self, slot: u32, epoll: &Epoll) -> bool {
        let Some(connection) = &mut self.connections[slot as usize] else {
            return true;
        };
        match connection.stream.write(&connection.unsent) {
            Ok(count) => connection.unsent.drain(..count),
            Err(error) => return error.kind() == io::ErrorKind::WouldBlock,
        };
        if connection.unsent.is_empty() {
            connection.unsent = Vec::new();
            return epoll
                .modify(&connection.stream, slot.into(), Interest::Read)
                .is_ok();
        }
        true
    }
}

impl Connection {
    fn send(&mut self, slot: u32, frame: &[u8], epoll: &Epoll) {
        if self.unsent.is_empty() {
            let written = self.stream.write(frame).unwrap_or(0);
            if written == frame.len() {
                return;
            }
            keep_unsent(
                &self.stream,
                &mut self.unsent,
                slot,
                &frame[written..],
                epoll,
            );
        } else if self.unsent.len() < UNSENT_BYTES_MAX {
            self.unsent.extend_from_slice(frame);
        }
    }
}

/// Writes `slices`; what does not fit goes to `unsent`. A broken socket is found by the next read.
fn send_slices(
    stream: &mut TcpStream,
    unsent: &mut Vec<u8>,
    slot: u32,
    slices: &[IoSlice<'_>],
    epoll: &Epoll,
) {
    let mut written = if unsent.is_empty() {
        stream.write_vectored(slices).unwrap_or(0)
    } else {
        0
    };
    for slice in slices {
        let skipped = written.min(slice.len());
        written -= skipped;
        if skipped < slice.len() && unsent.len() < UNSENT_BYTES_MAX {
            keep_unsent(stream, unsent, slot, &slice[skipped..], epoll);
        }
    }
}

fn keep_unsent(stream: &TcpStream, unsent: &mut Vec<u8>, slot: u32, bytes: &[u8], epoll: &Epoll) {
    if unsent.is_empty() {
        // A socket that cannot be awaited is broken, which its next read tells.
        let _ = epoll.modify(stream, slot.into(), Interest::ReadWrite);
    }
    unsent.extend_from_slice(bytes);
}
