//! Reading: one small task per client that waits for nothing but something to read.

use std::{future::poll_fn, io, rc::Rc};

use bytes::Bytes;
use protocol::{
    close::CloseReason,
    outbox::{Class, Frame},
    ws::{self, Bounds, Decoder, Message},
};

use super::{
    Shard,
    entry::{Entry, Phase, Queued, bytes},
    now,
};
use crate::io::Io;

/// What a turn of reading has led to.
enum Turn {
    /// The socket is empty for now.
    Drained,
    /// There may be more; the others first.
    More,
    /// The peer has ended, or the socket has failed.
    Ended,
}

impl Shard {
    /// Reads one client until its socket ends; `leftover` is what came behind the upgrade request.
    ///
    /// No `async fn`, which would hold every argument twice as long as the client is here.
    pub(crate) fn read(
        self: Rc<Self>,
        entry: Rc<Entry>,
        io: Rc<Io>,
        leftover: Bytes,
    ) -> impl Future<Output = ()> {
        // Even an empty one holds the 8 KiB into which HTTP has read.
        let leftover = Box::<[u8]>::from(&*leftover);
        let mut decoder = Decoder::default();
        async move {
            if !leftover.is_empty() {
                self.input(&entry, &mut decoder, &mut { leftover });
            }
            while poll_fn(|cx| io.poll_readable(cx)).await.is_ok() {
                match self.turn(&entry, &io, &mut decoder) {
                    Turn::Drained => {}
                    // Without this a flooder would starve its shard.
                    Turn::More => tokio::task::yield_now().await,
                    Turn::Ended => break,
                }
            }
            self.lost(&entry);
        }
    }

    /// At most one read into the shard's buffer.
    fn turn(self: &Rc<Self>, entry: &Rc<Entry>, io: &Io, decoder: &mut Decoder) -> Turn {
        let mut buffer = self.buffer.borrow_mut();
        match io.try_read(&mut buffer) {
            Ok(0) => Turn::Ended,
            Ok(read) => {
                let more = read == buffer.len();
                self.input(entry, decoder, &mut buffer[..read]);
                if more { Turn::More } else { Turn::Drained }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Turn::Drained,
            Err(_) => Turn::Ended,
        }
    }

    /// Takes what was read, and charges what is kept of it.
    fn input(self: &Rc<Self>, entry: &Rc<Entry>, decoder: &mut Decoder, input: &mut [u8]) {
        self.messages(entry, decoder, input);
        entry.reading.set(bytes(decoder.held()));
        self.account(entry);
    }

    /// Takes every message out of what was read.
    fn messages(self: &Rc<Self>, entry: &Rc<Entry>, decoder: &mut Decoder, mut input: &mut [u8]) {
        if !entry.can_read() {
            return;
        }
        let bounds = Bounds {
            message_bytes: self.message_bytes(entry),
            fragments: self.limits.fragments,
        };
        loop {
            match decoder.next(&mut input, bounds) {
                Ok(None) => return,
                Ok(Some(message)) => self.message(entry, message),
                Err(reason) => {
                    self.close(entry, reason);
                    // Nothing that follows can be understood, the peer's close frame neither.
                    self.peer_closed(entry);
                    return;
                }
            }
            if !entry.can_read() {
                return;
            }
        }
    }

    fn message(self: &Rc<Self>, entry: &Rc<Entry>, message: Message<'_>) {
        if !entry.is_open() {
            if matches!(message, Message::Close(_)) {
                self.peer_closed(entry);
            }
            return;
        }
        match message {
            #[cfg(feature = "echo")]
            Message::Text(text) if entry.echo => self.reply(entry, ws::text_frame(text.as_bytes())),
            #[cfg(feature = "echo")]
            Message::Binary(bytes) if entry.echo => self.reply(entry, ws::binary_frame(bytes)),
            Message::Text(text) => {
                let now = now();
                self.step(entry, |session| session.handle_frame(text, now));
            }
            Message::Binary(_) => self.step(entry, |session| Err(session.handle_binary())),
            Message::Ping(body) => self.reply(entry, ws::pong_frame(body)),
            Message::Pong(_) => {}
            Message::Close(code) => {
                self.close_with(
                    entry,
                    CloseReason::PeerClosed,
                    Some(ws::close_frame(code.map(|(code, _)| code), "")),
                );
                self.peer_closed(entry);
            }
        }
    }

    /// Queues one frame that answers the websocket layer; who is over the bound and asks for more does not read.
    fn reply(self: &Rc<Self>, entry: &Rc<Entry>, frame: Bytes) {
        let mut outbox = entry.outbox.borrow_mut();
        let slow = outbox.is_over();
        #[cfg(feature = "echo")]
        let slow = slow && !entry.echo;
        // An answer always fits.
        let _ = outbox.push(Frame::Shared(frame), Class::Reply, false, now());
        drop(outbox);
        if slow {
            self.close(entry, CloseReason::SlowConsumer);
        } else {
            self.mark(entry, Queued::Urgent);
        }
    }

    fn message_bytes(&self, entry: &Entry) -> usize {
        #[cfg(feature = "echo")]
        if entry.echo {
            return super::ECHO_BYTES;
        }
        if entry.user.borrow().is_some() {
            self.limits.message_bytes
        } else {
            self.limits.message_bytes_before_login
        }
    }
}

impl Entry {
    /// Whether what the peer sends still matters: to the session, or for its close frame.
    fn can_read(&self) -> bool {
        match self.phase.get() {
            Phase::Open | Phase::Leaving { .. } => true,
            Phase::Closing { peer_closed, .. } => !peer_closed,
            Phase::Gone => false,
        }
    }
}
