//! What carries a session's bytes: try to read, try to write, wait for either.
//!
//! No call here keeps a buffer: bytes are read into the shard's one buffer and written out of the outboxes.

use std::{
    io::{self, IoSlice, Read, Write},
    net::Shutdown,
    task::{Context, Poll},
};

use socket2::SockRef;
use tokio::{io::Interest, net::TcpStream};

/// One client's socket.
pub(crate) enum Io {
    Plain(TcpStream),
    /// One end of an in-memory pair, for tests with paused time.
    #[cfg(test)]
    Memory(memory::End),
}

impl Io {
    /// Ready when a read may succeed. One task at a time may wait for it: its waker has a place in the reactor's own record, where
    /// `TcpStream::readable()` keeps 168 bytes more in every client's task.
    pub(crate) fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(stream) => stream.poll_read_ready(cx),
            #[cfg(test)]
            Self::Memory(end) => end.poll_readable(cx),
        }
    }

    /// Ready when a write may succeed; for one task at a time.
    pub(crate) fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(stream) => stream.poll_write_ready(cx),
            #[cfg(test)]
            Self::Memory(end) => end.poll_writable(cx),
        }
    }

    /// Reads once; `Ok(0)` is the end.
    pub(crate) fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => {
                let mut read = Ok(0);
                let tried = stream.try_io(Interest::READABLE, || {
                    let room = buffer.len();
                    read = (&*SockRef::from(stream)).read(buffer);
                    match &read {
                        // Readiness is edge-triggered: after a short read nothing is ready until the kernel says so again.
                        // "Would block" saves the system call that would only find that out.
                        Ok(read) if 0 < *read && *read < room => {
                            Err(io::ErrorKind::WouldBlock.into())
                        }
                        Err(error) => Err(error.kind().into()),
                        Ok(_) => Ok(()),
                    }
                });
                match (read, tried) {
                    // The reactor knew better than to ask.
                    (Ok(0), Err(not_ready)) => Err(not_ready),
                    (read, _) => read,
                }
            }
            #[cfg(test)]
            Self::Memory(end) => end.try_read(buffer),
        }
    }

    /// Writes once what the socket takes.
    pub(crate) fn try_write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => {
                let write = || {
                    let socket = SockRef::from(stream);
                    match slices {
                        [slice] => (&*socket).write(slice),
                        _ => (&*socket).write_vectored(slices),
                    }
                };
                // Past the reactor, whose opinion costs a cache miss for each socket. Only where there is no room it is asked,
                // with a second look, so that it knows what it shall wait for.
                match write() {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        stream.try_io(Interest::WRITABLE, write)
                    }
                    outcome => outcome,
                }
            }
            #[cfg(test)]
            Self::Memory(end) => end.try_write(slices),
        }
    }

    /// Says the end; reading goes on.
    pub(crate) fn shutdown_write(&self) {
        match self {
            // Fails only where the peer is gone already, which the reader sees too.
            Self::Plain(stream) => drop(SockRef::from(stream).shutdown(Shutdown::Write)),
            #[cfg(test)]
            Self::Memory(end) => end.shutdown_write(),
        }
    }
}

#[cfg(test)]
pub(crate) mod memory {
    //! A pair of ends with a bounded pipe in each direction.

    use std::{
        cell::RefCell,
        collections::VecDeque,
        io::{self, IoSlice},
        rc::Rc,
        task::{Context, Poll, Waker},
    };

    /// One end of the pair.
    pub(crate) struct End {
        incoming: Rc<RefCell<Pipe>>,
        outgoing: Rc<RefCell<Pipe>>,
    }

    struct Pipe {
        bytes: VecDeque<u8>,
        room: usize,
        closed: bool,
        reader: Option<Waker>,
        writer: Option<Waker>,
    }

    /// Two ends; each direction holds up to `room` bytes.
    pub(crate) fn pair(room: usize) -> (End, End) {
        let pipe = || {
            Rc::new(RefCell::new(Pipe {
                // Of its size from the beginning: what a test counts of memory is not the test's.
                bytes: VecDeque::with_capacity(room),
                room,
                closed: false,
                reader: None,
                writer: None,
            }))
        };
        let (left, right) = (pipe(), pipe());
        let one = End {
            incoming: left.clone(),
            outgoing: right.clone(),
        };
        (
            one,
            End {
                incoming: right,
                outgoing: left,
            },
        )
    }

    impl End {
        pub(crate) fn poll_readable(&self, cx: &Context<'_>) -> Poll<io::Result<()>> {
            let mut pipe = self.incoming.borrow_mut();
            if pipe.closed || !pipe.bytes.is_empty() {
                return Poll::Ready(Ok(()));
            }
            pipe.reader = Some(cx.waker().clone());
            Poll::Pending
        }

        pub(crate) fn poll_writable(&self, cx: &Context<'_>) -> Poll<io::Result<()>> {
            let mut pipe = self.outgoing.borrow_mut();
            if pipe.closed || pipe.bytes.len() < pipe.room {
                return Poll::Ready(Ok(()));
            }
            pipe.writer = Some(cx.waker().clone());
            Poll::Pending
        }

        pub(crate) fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
            let mut pipe = self.incoming.borrow_mut();
            if pipe.bytes.is_empty() && !pipe.closed {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            let read = buffer.len().min(pipe.bytes.len());
            for (to, from) in buffer.iter_mut().zip(pipe.bytes.drain(..read)) {
                *to = from;
            }
            wake(pipe.writer.take());
            Ok(read)
        }

        pub(crate) fn try_write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
            let mut pipe = self.outgoing.borrow_mut();
            if pipe.closed {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            let room = pipe.room - pipe.bytes.len();
            if room == 0 {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            let before = pipe.bytes.len();
            pipe.bytes
                .extend(slices.iter().flat_map(|slice| slice.iter()).take(room));
            wake(pipe.reader.take());
            Ok(pipe.bytes.len() - before)
        }

        /// Bytes written here that the other end has not read.
        pub(crate) fn unread(&self) -> usize {
            self.outgoing.borrow().bytes.len()
        }

        /// Bytes that wait to be read here.
        pub(crate) fn available(&self) -> usize {
            self.incoming.borrow().bytes.len()
        }

        /// Bytes that can be written here now.
        pub(crate) fn room(&self) -> usize {
            let pipe = self.outgoing.borrow();
            pipe.room - pipe.bytes.len()
        }

        pub(crate) fn shutdown_write(&self) {
            let mut pipe = self.outgoing.borrow_mut();
            pipe.closed = true;
            wake(pipe.reader.take());
            wake(pipe.writer.take());
        }
    }

    impl Drop for End {
        fn drop(&mut self) {
            self.shutdown_write();
            let mut pipe = self.incoming.borrow_mut();
            pipe.closed = true;
            wake(pipe.writer.take());
        }
    }

    fn wake(waiting: Option<Waker>) {
        if let Some(waker) = waiting {
            waker.wake();
        }
    }
}
