//! RFC 6455 for a server, without IO and without extensions: handshake, frames in, frames out.

mod decode;
mod encode;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod handshake;

pub use self::{
    decode::{Bounds, Decoder, Message},
    encode::{
        HEADER_BYTES_MAX, binary_frame, close_frame, frame_header, frame_len, header_len,
        pong_frame, text_frame,
    },
    handshake::{Accepted, HandshakeError, accept_key, handshake},
};

/// What a frame carries (RFC 6455 5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Opcode {
    /// More of the message that an earlier frame began.
    Continuation = 0x0,
    /// UTF-8 text.
    Text = 0x1,
    /// Any bytes.
    Binary = 0x2,
    /// The end of the connection.
    Close = 0x8,
    /// To be answered with a pong of the same body.
    Ping = 0x9,
    /// The answer to a ping, or unasked.
    Pong = 0xA,
}

impl Opcode {
    fn from_bits(bits: u8) -> Option<Self> {
        Some(match bits {
            0x0 => Self::Continuation,
            0x1 => Self::Text,
            0x2 => Self::Binary,
            0x8 => Self::Close,
            0x9 => Self::Ping,
            0xA => Self::Pong,
            _ => return None,
        })
    }

    fn is_control(self) -> bool {
        self as u8 >= 0x8
    }
}
