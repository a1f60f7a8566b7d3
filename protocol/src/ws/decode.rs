//! Bytes of a client to messages.

use crate::close::CloseReason;

/// One message of a client, unmasked and checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message<'a> {
    /// A text message, all fragments joined.
    Text(&'a str),
    /// A binary message, all fragments joined.
    Binary(&'a [u8]),
    /// A ping: answer with [`pong_frame`](super::pong_frame) of this body (at most 125 bytes).
    Ping(&'a [u8]),
    /// A pong.
    Pong(&'a [u8]),
    /// The peer closes, with its code and reason if it gave one. What it sends afterwards means nothing.
    Close(Option<(u16, &'a str)>),
}

/// The receiving side of one server connection.
#[derive(Debug)]
pub struct Decoder {}

impl Decoder {
    /// A decoder for messages of at most `message_bytes` bytes in at most `fragments` frames.
    pub fn new(message_bytes: usize, fragments: usize) -> Self {
        let _ = (message_bytes, fragments);
        todo!()
    }

    /// Takes the next message out of `input` and advances it; `None` once all of it is used up.
    pub fn next<'a, 'i: 'a>(
        &'a mut self,
        input: &mut &'i mut [u8],
    ) -> Result<Option<Message<'a>>, CloseReason> {
        let _ = input;
        todo!()
    }

    /// Changes the bound on later frames (after login).
    pub fn set_message_bytes(&mut self, bytes: usize) {
        let _ = bytes;
        todo!()
    }

    /// Bytes kept of what is incomplete.
    pub fn buffered(&self) -> usize {
        todo!()
    }
}
