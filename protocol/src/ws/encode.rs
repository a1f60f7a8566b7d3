//! Finished frames of the server: whole messages, never masked.

use bytes::{BufMut, Bytes, BytesMut};

use super::Opcode;

/// A text message; `payload` must be UTF-8.
pub fn text_frame(payload: &[u8]) -> Bytes {
    frame(Opcode::Text, payload)
}

/// A binary message.
pub fn binary_frame(payload: &[u8]) -> Bytes {
    frame(Opcode::Binary, payload)
}

/// The answer to a ping; `body` is that ping's, so at most 125 bytes.
pub fn pong_frame(body: &[u8]) -> Bytes {
    debug_assert!(body.len() <= 125, "a control frame holds at most 125 bytes");
    frame(Opcode::Pong, body)
}

/// A close frame; without a code it is empty and `text` is not sent. `text` is at most 123 bytes.
pub fn close_frame(code: Option<u16>, text: &str) -> Bytes {
    debug_assert!(text.len() <= 123, "a control frame holds at most 125 bytes");
    let Some(code) = code else {
        return frame(Opcode::Close, &[]);
    };
    let mut out = BytesMut::with_capacity(4 + text.len());
    frame_header(Opcode::Close, 2 + text.len(), &mut out);
    out.put_u16(code);
    out.put_slice(text.as_bytes());
    out.freeze()
}

/// Appends the header of an unmasked frame that is a whole message of `payload_len` bytes: 2, 4 or 10 bytes.
pub fn frame_header(opcode: Opcode, payload_len: usize, out: &mut impl BufMut) {
    out.put_u8(0x80 | opcode as u8);
    match header_len(payload_len) {
        2 => out.put_u8(payload_len as u8),
        4 => {
            out.put_u8(126);
            out.put_u16(payload_len as u16);
        }
        _ => {
            out.put_u8(127);
            out.put_u64(payload_len as u64);
        }
    }
}

/// Bytes of the header that [`frame_header`] appends for this payload.
pub fn header_len(payload_len: usize) -> usize {
    match payload_len {
        0..=125 => 2,
        126..=0xFFFF => 4,
        _ => HEADER_BYTES_MAX,
    }
}

/// Bytes of the frame that stands at the beginning of these finished ones of the server, its header included.
pub fn frame_len(frames: &[u8]) -> usize {
    match *frames {
        [_, 126, high, low, ..] => 4 + usize::from(u16::from_be_bytes([high, low])),
        [_, 127, a, b, c, d, e, f, g, h, ..] => {
            let payload_len = u64::from_be_bytes([a, b, c, d, e, f, g, h]);
            usize::try_from(payload_len)
                .map_or(usize::MAX, |len| len.saturating_add(HEADER_BYTES_MAX))
        }
        [_, payload_len, ..] => 2 + usize::from(payload_len),
        [..] => frames.len(),
    }
}

/// Bytes of the longest header of the server.
pub const HEADER_BYTES_MAX: usize = 10;

fn frame(opcode: Opcode, payload: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(header_len(payload.len()) + payload.len());
    frame_header(opcode, payload.len(), &mut out);
    out.put_slice(payload);
    out.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_has_the_shortest_form_for_its_length() {
        for (payload_len, expected) in [
            (0, &[0x81, 0][..]),
            (125, &[0x81, 125]),
            (126, &[0x81, 126, 0, 126]),
            (65_535, &[0x81, 126, 0xFF, 0xFF]),
            (65_536, &[0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
        ] {
            let mut out = BytesMut::new();
            frame_header(Opcode::Text, payload_len, &mut out);
            assert_eq!(out, expected, "{payload_len}");
            assert_eq!(frame_len(&out), out.len() + payload_len);
        }
    }

    #[test]
    fn frames_are_whole_messages() {
        assert_eq!(text_frame(b"o"), &b"\x81\x01o"[..]);
        assert_eq!(binary_frame(b""), &b"\x82\x00"[..]);
        assert_eq!(pong_frame(b"hi"), &b"\x8a\x02hi"[..]);
        assert_eq!(close_frame(None, ""), &b"\x88\x00"[..]);
        assert_eq!(
            close_frame(Some(1013), "SLOW"),
            &b"\x88\x06\x03\xf5SLOW"[..]
        );
    }
}
