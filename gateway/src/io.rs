//! What carries a session's bytes: try to read, try to write, wait for either.
//!
//! No call here keeps a buffer: bytes are read into the shard's one buffer and written out of the outboxes.

use std::{
    io::{self, IoSlice, Read, Write},
    net::Shutdown,
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
    /// Waits until a read may succeed; cancel safe.
    pub(crate) async fn readable(&self) -> io::Result<()> {
        match self {
            Self::Plain(stream) => stream.readable().await,
            #[cfg(test)]
            Self::Memory(end) => end.readable().await,
        }
    }

    /// Waits until a write may succeed; cancel safe.
    pub(crate) async fn writable(&self) -> io::Result<()> {
        match self {
            Self::Plain(stream) => stream.writable().await,
            #[cfg(test)]
            Self::Memory(end) => end.writable().await,
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
    };

    use tokio::sync::Notify;

    /// One end of the pair.
    pub(crate) struct End {
        incoming: Rc<Pipe>,
        outgoing: Rc<Pipe>,
    }

    struct Pipe {
        state: RefCell<State>,
        readable: Notify,
        writable: Notify,
    }

    struct State {
        bytes: VecDeque<u8>,
        room: usize,
        closed: bool,
    }

    /// Two ends; each direction holds up to `room` bytes.
    pub(crate) fn pair(room: usize) -> (End, End) {
        let pipe = || {
            Rc::new(Pipe {
                state: RefCell::new(State {
                    // Of its size from the beginning: what a test counts of memory is not the test's.
                    bytes: VecDeque::with_capacity(room),
                    room,
                    closed: false,
                }),
                readable: Notify::new(),
                writable: Notify::new(),
            })
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
        pub(crate) async fn readable(&self) -> io::Result<()> {
            loop {
                let woken = self.incoming.readable.notified();
                {
                    let state = self.incoming.state.borrow();
                    if state.closed || !state.bytes.is_empty() {
                        return Ok(());
                    }
                }
                woken.await;
            }
        }

        pub(crate) async fn writable(&self) -> io::Result<()> {
            loop {
                let woken = self.outgoing.writable.notified();
                {
                    let state = self.outgoing.state.borrow();
                    if state.closed || state.bytes.len() < state.room {
                        return Ok(());
                    }
                }
                woken.await;
            }
        }

        pub(crate) fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
            let mut state = self.incoming.state.borrow_mut();
            if state.bytes.is_empty() && !state.closed {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            let read = buffer.len().min(state.bytes.len());
            for (to, from) in buffer.iter_mut().zip(state.bytes.drain(..read)) {
                *to = from;
            }
            drop(state);
            self.incoming.writable.notify_one();
            Ok(read)
        }

        pub(crate) fn try_write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
            let mut state = self.outgoing.state.borrow_mut();
            if state.closed {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            let room = state.room - state.bytes.len();
            if room == 0 {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            let before = state.bytes.len();
            state
                .bytes
                .extend(slices.iter().flat_map(|slice| slice.iter()).take(room));
            let written = state.bytes.len() - before;
            drop(state);
            self.outgoing.readable.notify_one();
            Ok(written)
        }

        /// Bytes written here that the other end has not read.
        pub(crate) fn unread(&self) -> usize {
            self.outgoing.state.borrow().bytes.len()
        }

        /// Bytes that wait to be read here.
        pub(crate) fn available(&self) -> usize {
            self.incoming.state.borrow().bytes.len()
        }

        /// Bytes that can be written here now.
        pub(crate) fn room(&self) -> usize {
            let state = self.outgoing.state.borrow();
            state.room - state.bytes.len()
        }

        pub(crate) fn shutdown_write(&self) {
            self.outgoing.state.borrow_mut().closed = true;
            self.outgoing.readable.notify_one();
            self.outgoing.writable.notify_one();
        }
    }

    impl Drop for End {
        fn drop(&mut self) {
            self.shutdown_write();
            self.incoming.state.borrow_mut().closed = true;
            self.incoming.writable.notify_one();
        }
    }
}
