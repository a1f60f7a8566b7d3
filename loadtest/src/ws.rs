//! Just enough of RFC 6455 for a load generator and a floor server, written apart from the product's codec so
//! that it cannot share its mistakes. A fragmented or extended frame is an error: a gateway has no reason to send one.

use std::fmt;

/// RFC 6455 1.3's sample key: with a fixed key the answer is a constant, and checking it needs no SHA-1.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
pub(crate) const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

pub(crate) const TEXT: u8 = 1;
pub(crate) const CLOSE: u8 = 8;
pub(crate) const PING: u8 = 9;
pub(crate) const PONG: u8 = 10;

const HEAD_BYTES_MAX: usize = 16 * 1024;
const PAYLOAD_BYTES_MAX: usize = 16 * 1024 * 1024;

/// One whole frame at the start of a buffer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Frame<'a> {
    pub(crate) opcode: u8,
    pub(crate) payload: &'a [u8],
    /// The mask of a client's frame; the payload is still masked.
    pub(crate) mask: Option<[u8; 4]>,
    /// Bytes of the frame, head included.
    pub(crate) len: usize,
}

/// Why a byte stream is not one we understand.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Error {
    Fragmented,
    Reserved,
    TooLarge,
    Refused(String),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fragmented => f.write_str("fragmented frame"),
            Self::Reserved => f.write_str("reserved bits set"),
            Self::TooLarge => f.write_str("frame or response head too large"),
            Self::Refused(status) => write!(f, "upgrade refused: {status}"),
        }
    }
}

impl std::error::Error for Error {}

/// Reads the frame at the start of `bytes`; `None` while it is incomplete.
pub(crate) fn parse(bytes: &[u8]) -> Result<Option<Frame<'_>>, Error> {
    let &[first, second, ref rest @ ..] = bytes else {
        return Ok(None);
    };
    if first & 0x70 != 0 {
        return Err(Error::Reserved);
    }
    if first & 0x80 == 0 || first & 0x0f == 0 {
        return Err(Error::Fragmented);
    }
    let (length, rest) = match second & 0x7f {
        126 => match rest.split_first_chunk::<2>() {
            Some((length, rest)) => (usize::from(u16::from_be_bytes(*length)), rest),
            None => return Ok(None),
        },
        127 => match rest.split_first_chunk::<8>() {
            Some((length, rest)) => (
                usize::try_from(u64::from_be_bytes(*length)).unwrap_or(usize::MAX),
                rest,
            ),
            None => return Ok(None),
        },
        short => (usize::from(short), rest),
    };
    if length > PAYLOAD_BYTES_MAX {
        return Err(Error::TooLarge);
    }
    let (mask, rest) = if second & 0x80 == 0 {
        (None, rest)
    } else {
        match rest.split_first_chunk::<4>() {
            Some((mask, rest)) => (Some(*mask), rest),
            None => return Ok(None),
        }
    };
    let Some(payload) = rest.get(..length) else {
        return Ok(None);
    };
    let len = bytes.len() - rest.len() + length;
    Ok(Some(Frame {
        opcode: first & 0x0f,
        payload,
        mask,
        len,
    }))
}

/// Appends an unmasked frame, as a server sends it.
pub(crate) fn push_server_frame(out: &mut Vec<u8>, opcode: u8, payload: &[u8]) {
    push_head(out, opcode, payload.len(), 0);
    out.extend_from_slice(payload);
}

/// Appends the head of an unmasked text frame of `length` payload bytes.
pub(crate) fn push_server_text_head(out: &mut Vec<u8>, length: usize) {
    push_head(out, TEXT, length, 0);
}

/// Appends a frame masked with zeros: legal, and the payload stays as it is.
pub(crate) fn push_client_frame(out: &mut Vec<u8>, opcode: u8, payload: &[u8]) {
    push_head(out, opcode, payload.len(), 0x80);
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(payload);
}

/// Appends an upgrade request; `extra` are whole header lines, each ending in CRLF.
pub(crate) fn push_upgrade_request(out: &mut Vec<u8>, host: &str, path: &str, extra: &str) {
    out.extend_from_slice(
        format!(
            "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n{extra}\r\n"
        )
        .as_bytes(),
    );
}

/// Reads the answer to our upgrade request: its length, or `None` while it is incomplete.
pub(crate) fn parse_upgrade_response(bytes: &[u8]) -> Result<Option<usize>, Error> {
    let Some(end) = memchr::memmem::find(bytes, b"\r\n\r\n") else {
        return if bytes.len() > HEAD_BYTES_MAX {
            Err(Error::TooLarge)
        } else {
            Ok(None)
        };
    };
    let head = &bytes[..end];
    if head.starts_with(b"HTTP/1.1 101") && memchr::memmem::find(head, ACCEPT.as_bytes()).is_some()
    {
        return Ok(Some(end + 4));
    }
    let status = head.split(|&byte| byte == b'\r').next().unwrap_or_default();
    Err(Error::Refused(String::from_utf8_lossy(status).into_owned()))
}

fn push_head(out: &mut Vec<u8>, opcode: u8, length: usize, mask_bit: u8) {
    out.push(0x80 | opcode);
    match length {
        0..126 => out.push(mask_bit | length as u8),
        126..0x1_0000 => {
            out.push(mask_bit | 126);
            out.extend_from_slice(&(length as u16).to_be_bytes());
        }
        _ => {
            out.push(mask_bit | 127);
            out.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_of_every_length_class_is_read_back_and_every_prefix_is_incomplete() {
        for length in [0, 1, 125, 126, 127, 65_535, 65_536] {
            let payload = vec![b'x'; length];
            let mut bytes = Vec::new();
            push_server_frame(&mut bytes, TEXT, &payload);
            let head = bytes.len() - length;
            for cut in (0..=head.min(bytes.len() - 1)).chain([bytes.len() - 1]) {
                assert_eq!(
                    parse(&bytes[..cut]),
                    Ok(None),
                    "{length} bytes cut at {cut}"
                );
            }
            let whole = bytes.len();
            bytes.extend_from_slice(b"next");
            let frame = parse(&bytes).unwrap().unwrap();
            assert_eq!(
                (frame.opcode, frame.payload, frame.len),
                (TEXT, &payload[..], whole)
            );
        }
    }

    #[test]
    fn a_clients_frame_carries_a_zero_mask() {
        let mut bytes = Vec::new();
        push_client_frame(&mut bytes, PONG, b"hello");
        let frame = parse(&bytes).unwrap().unwrap();
        assert_eq!((frame.mask, frame.payload), (Some([0; 4]), &b"hello"[..]));
    }

    #[test]
    fn fragments_and_reserved_bits_and_huge_lengths_are_errors() {
        assert_eq!(parse(&[0x01, 0]), Err(Error::Fragmented));
        assert_eq!(parse(&[0x80, 0]), Err(Error::Fragmented));
        assert_eq!(parse(&[0xc1, 0]), Err(Error::Reserved));
        assert_eq!(
            parse(&[0x81, 127, 255, 255, 255, 255, 255, 255, 255, 255]),
            Err(Error::TooLarge)
        );
    }

    #[test]
    fn an_upgrade_is_accepted_only_with_the_right_accept_header() {
        let good = format!(
            "HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: {ACCEPT}\r\n\r\nrest"
        );
        assert_eq!(
            parse_upgrade_response(good.as_bytes()),
            Ok(Some(good.len() - 4))
        );
        assert_eq!(parse_upgrade_response(&good.as_bytes()[..40]), Ok(None));
        let refused = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 2\r\n\r\n";
        assert_eq!(
            parse_upgrade_response(refused),
            Err(Error::Refused("HTTP/1.1 503 Service Unavailable".into()))
        );
    }
}
