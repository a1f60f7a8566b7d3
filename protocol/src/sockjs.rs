//! SockJS: the framing of messages, client batches, the info body, escaping.

pub mod route;

use std::borrow::Cow;

use bytes::{Bytes, BytesMut};

pub use self::route::{Route, route};
use crate::close::CloseReason;

/// The finished websocket frame that opens a SockJS connection: `o`.
pub const OPEN_FRAME: &[u8] = b"\x81\x01o";

/// The body of the greeting at `/sockjs` (text/plain).
pub const GREETING: &str = "Welcome to SockJS!\n";

/// How DDP messages travel on a websocket.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Framing {
    /// The JSON text itself.
    Raw,
    /// `a` and a JSON array of strings.
    SockJs,
}

impl Framing {
    /// One finished websocket text frame that holds this DDP message.
    pub fn frame(self, message: &str) -> Bytes {
        let _ = message;
        todo!()
    }
}

/// The DDP messages in a SockJS client's payload, in order (`gateway.md` 1.4): an array gives all its strings, anything
/// else is one message, empty text and `[]` are none. More than `messages_max` in one array is `TooManyPending`.
pub fn decode_batch(
    payload: &str,
    messages_max: usize,
) -> Result<impl Iterator<Item = Cow<'_, str>> + use<'_>, CloseReason> {
    let _ = (payload, messages_max);
    if true {
        todo!();
    }
    Ok(std::iter::empty())
}

/// Appends `text` escaped as the inside of a JSON string, with all that SockJS wants escaped.
pub fn escape_into(text: &str, out: &mut BytesMut) {
    let _ = (text, out);
    todo!()
}

/// The JSON body of `/sockjs/info`, keys in the original's order (`gateway.md` 1.2); `entropy` is fresh per request.
pub fn info_body(entropy: u32) -> String {
    format!(
        r#"{{"websocket":true,"origins":["*:*"],"cookie_needed":false,"entropy":{entropy},"ms":true}}"#
    )
}
