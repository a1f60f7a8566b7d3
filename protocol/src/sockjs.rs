//! SockJS: the framing of messages, client batches, the info body, escaping.

#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod route;

use std::{borrow::Cow, fmt};

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use serde::{
    Deserialize,
    de::{Deserializer as _, SeqAccess, Visitor},
};

pub use self::route::{Route, route};
use crate::{
    close::CloseReason,
    ws::{self, Opcode},
};

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
        match self {
            Self::Raw => ws::text_frame(message.as_bytes()),
            Self::SockJs => {
                // The payload's length is known only behind it, so its header gets the end of a room before it. DDP is
                // JSON, of which about one byte in eight is a quote.
                let mut out = BytesMut::with_capacity(
                    ws::HEADER_BYTES_MAX + message.len() + message.len() / 4 + 16,
                );
                out.put_bytes(0, ws::HEADER_BYTES_MAX);
                out.put_slice(b"a[\"");
                escape_into(message, &mut out);
                out.put_slice(b"\"]");
                let payload_len = out.len() - ws::HEADER_BYTES_MAX;
                out.advance(ws::HEADER_BYTES_MAX - ws::header_len(payload_len));
                ws::frame_header(Opcode::Text, payload_len, &mut out.as_mut());
                out.freeze()
            }
        }
    }
}

/// The DDP messages in a SockJS client's payload, in order (`gateway.md` 1.4): an array gives all its strings, anything
/// else is one message, empty text and `[]` are none.
///
/// # Errors
/// `UnsupportedData` for an array that is not JSON or holds anything but strings (a lone surrogate is no string here),
/// `TooManyPending` for one of more than `messages_max`. Nothing of such an array is given.
pub fn decode_batch(
    payload: &str,
    messages_max: usize,
) -> Result<impl Iterator<Item = Cow<'_, str>> + use<'_>, CloseReason> {
    let mut batch = Batch::default();
    match payload.as_bytes() {
        [] => {}
        [b'[', ..] => {
            let mut json = serde_json::Deserializer::from_str(payload);
            let array = json
                .deserialize_seq(BatchVisitor {
                    batch: &mut batch,
                    messages_max,
                })
                .and_then(|()| json.end());
            if batch.too_long {
                return Err(CloseReason::TooManyPending);
            }
            array.map_err(|_| CloseReason::UnsupportedData)?;
        }
        _ => batch.first = Some(Cow::Borrowed(payload)),
    }
    Ok(batch.first.into_iter().chain(batch.others))
}

/// Appends `text` escaped as the inside of a JSON string, with all that SockJS wants escaped: U+0000-001F, 200C-200F,
/// 2028-202F, 2060-206F, FFF0-FFFF (`conformance.md` 1.5, JSONEncoding).
pub fn escape_into(text: &str, out: &mut BytesMut) {
    let mut rest = text.as_bytes();
    loop {
        let (plain, special) = rest.split_at(plain_prefix(rest));
        out.put_slice(plain);
        rest = match special {
            [] => return,
            [byte @ (b'"' | b'\\'), tail @ ..] => {
                out.put_slice(&[b'\\', *byte]);
                tail
            }
            [byte @ 0..=0x1F, tail @ ..] => {
                put_escape(u16::from(*byte), out);
                tail
            }
            [0xE2, 0x80, last @ (0x8C..=0x8F | 0xA8..=0xAF), tail @ ..] => {
                put_escape(0x2000 | u16::from(last & 0x3F), out);
                tail
            }
            [0xE2, 0x81, last @ 0xA0..=0xAF, tail @ ..] => {
                put_escape(0x2040 | u16::from(last & 0x3F), out);
                tail
            }
            [0xEF, 0xBF, last @ 0xB0..=0xBF, tail @ ..] => {
                put_escape(0xFFC0 | u16::from(last & 0x3F), out);
                tail
            }
            // Another character that begins with the same byte.
            [byte, tail @ ..] => {
                out.put_u8(*byte);
                tail
            }
        };
    }
}

/// The JSON body of `/sockjs/info`, keys in the original's order (`gateway.md` 1.2); `entropy` is fresh per request.
pub fn info_body(entropy: u32) -> String {
    format!(
        r#"{{"websocket":true,"origins":["*:*"],"cookie_needed":false,"entropy":{entropy},"ms":true}}"#
    )
}

/// One message is the rule (`gateway.md` 1.4) and needs no list.
#[derive(Default)]
struct Batch<'a> {
    first: Option<Cow<'a, str>>,
    others: Vec<Cow<'a, str>>,
    too_long: bool,
}

struct BatchVisitor<'b, 'a> {
    batch: &'b mut Batch<'a>,
    messages_max: usize,
}

/// Borrows from the payload where nothing is escaped.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'a> Visitor<'a> for BatchVisitor<'_, 'a> {
    type Value = ();

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("an array of strings")
    }

    fn visit_seq<A: SeqAccess<'a>>(self, mut array: A) -> Result<(), A::Error> {
        let mut messages = 0;
        while let Some(Text(message)) = array.next_element()? {
            messages += 1;
            if messages > self.messages_max {
                self.batch.too_long = true;
                return Ok(());
            }
            match &self.batch.first {
                None => self.batch.first = Some(message),
                Some(_) => self.batch.others.push(message),
            }
        }
        Ok(())
    }
}

fn put_escape(unit: u16, out: &mut BytesMut) {
    out.put_slice(b"\\u");
    for shift in [12, 8, 4, 0] {
        let digit = (unit >> shift & 0xF) as u8;
        out.put_u8(if digit < 10 {
            b'0' + digit
        } else {
            b'a' + digit - 10
        });
    }
}

/// Bytes before the first one that may need an escape; eight at a time.
fn plain_prefix(bytes: &[u8]) -> usize {
    let (words, rest) = bytes.as_chunks::<8>();
    for (index, word) in words.iter().enumerate() {
        let special = special_bytes(u64::from_le_bytes(*word));
        if special != 0 {
            return index * 8 + special.trailing_zeros() as usize / 8;
        }
    }
    let special = rest
        .iter()
        .position(|byte| matches!(byte, 0..=0x1F | b'"' | b'\\' | 0xE2 | 0xEF));
    words.len() * 8 + special.unwrap_or(rest.len())
}

/// The highest bit of each byte that may need an escape. Only the lowest set bit can be relied on: a borrow from a byte
/// that is special may reach the next one.
fn special_bytes(word: u64) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHEST: u64 = 0x8080_8080_8080_8080;
    let less = |word: u64, bound: u8| word.wrapping_sub(ONES * u64::from(bound)) & !word & HIGHEST;
    let equal = |byte: u8| less(word ^ (ONES * u64::from(byte)), 1);
    less(word, 0x20) | equal(b'"') | equal(b'\\') | equal(0xE2) | equal(0xEF)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(payload: &str, expected: Result<&[&str], CloseReason>) {
        let got = decode_batch(payload, 3).map(Iterator::collect::<Vec<_>>);
        assert_eq!(
            got,
            expected.map(|texts| texts.iter().map(|text| Cow::Borrowed(*text)).collect()),
            "{payload}"
        );
    }

    #[test]
    fn a_payload_is_a_batch_or_one_message() {
        check("", Ok(&[]));
        check("[]", Ok(&[]));
        check("[ ]", Ok(&[]));
        check(r#"["a"]"#, Ok(&["a"]));
        check(
            r#"["{\"msg\":\"pong\"}","","\u00e9\ud83d\ude00"] "#,
            Ok(&[r#"{"msg":"pong"}"#, "", "\u{e9}\u{1f600}"]),
        );
        check(r#"{"msg":"ping"}"#, Ok(&[r#"{"msg":"ping"}"#]));
        check(r#" ["a"]"#, Ok(&[r#" ["a"]"#]));
        check("5", Ok(&["5"]));
    }

    #[test]
    fn a_broken_batch_gives_nothing() {
        let bad = Err(CloseReason::UnsupportedData);
        for payload in [
            "[",
            r#"["a"#,
            r#"["a",]"#,
            r#"["a"]x"#,
            r#"["a","b""#,
            "[1]",
            r#"["a",{}]"#,
            "[null]",
            r#"[["a"]]"#,
        ] {
            check(payload, bad);
        }
        check(r#"["\ud800"]"#, bad);
        check("[\"\n\"]", bad);
    }

    #[test]
    fn a_batch_is_bounded() {
        check(r#"["a","b","c"]"#, Ok(&["a", "b", "c"]));
        check(r#"["a","b","c","d"]"#, Err(CloseReason::TooManyPending));
    }

    #[test]
    fn framing_makes_one_text_frame() {
        assert_eq!(Framing::Raw.frame("{}"), &b"\x81\x02{}"[..]);
        assert_eq!(
            Framing::SockJs.frame(r#"{"msg":"pong","id":"7"}"#),
            &b"\x81\x24a[\"{\\\"msg\\\":\\\"pong\\\",\\\"id\\\":\\\"7\\\"}\"]"[..]
        );
        for (len, header) in [
            (120, &[0x81, 125][..]),
            (121, &[0x81, 126, 0, 126]),
            (65_531, &[0x81, 127, 0, 0]),
        ] {
            let frame = Framing::SockJs.frame(&"x".repeat(len));
            assert!(frame.starts_with(header), "{len}");
            assert!(frame.ends_with(b"x\"]"), "{len}");
        }
    }

    #[test]
    fn exactly_what_sockjs_names_is_escaped() {
        for char in '\0'..=char::MAX {
            let code = char as u32;
            let expected = match code {
                0x22 | 0x5C => format!("\\{char}"),
                0..=0x1F
                | 0x200C..=0x200F
                | 0x2028..=0x202F
                | 0x2060..=0x206F
                | 0xFFF0..=0xFFFF => {
                    format!("\\u{code:04x}")
                }
                _ => char.to_string(),
            };
            // At each position in a word, between others.
            let mut out = BytesMut::new();
            let before = "abcdefg".get(..code as usize % 8).unwrap();
            escape_into(&format!("{before}{char}h"), &mut out);
            assert_eq!(out, format!("{before}{expected}h"), "U+{code:04X}");
        }
    }

    #[test]
    fn the_info_body_is_that_of_the_original() {
        let expected = r#"{"websocket":true,"origins":["*:*"],"cookie_needed":false,"entropy":4294967295,"ms":true}"#;
        assert_eq!(info_body(u32::MAX), expected);
    }

    #[test]
    fn the_open_frame_is_a_text_frame() {
        assert_eq!(ws::text_frame(b"o"), OPEN_FRAME);
    }
}
