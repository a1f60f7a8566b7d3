//! Bytes of a client to messages.

use std::mem;

use super::Opcode;
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

/// What one message may be.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Bytes of its payload, all fragments together.
    pub message_bytes: usize,
    /// Frames it comes in.
    pub fragments: usize,
}

/// The receiving side of one server connection.
///
/// A frame that is whole in the input is unmasked where it lies and lent from there. Only what is incomplete is kept, in
/// one buffer of at most twice [`Bounds::message_bytes`], which is freed as soon as nothing is incomplete any more:
///
/// ```text
/// buffer  | whole fragments of the unfinished message | begun header, or begun payload |
///         0                                     joined                               len
/// ```
#[derive(Debug, Default)]
pub struct Decoder {
    buffer: Vec<u8>,
    joined: usize,
    /// The data message whose last frame has not ended.
    unfinished: Option<Unfinished>,
    /// The frame whose payload is only partly here.
    frame: Option<Frame>,
    /// The last call lent the buffer's end to its caller; the next one drops it.
    lent: bool,
}

#[derive(Debug)]
struct Unfinished {
    opcode: Opcode,
    frames: usize,
    /// Bytes at the start of the buffer that are known to be UTF-8; used for text only.
    utf8: usize,
}

/// A frame behind its header.
#[derive(Debug)]
struct Frame {
    /// Of a continuation: that of its message.
    opcode: Opcode,
    fin: bool,
    /// Turned so that its first byte belongs to the next payload byte.
    mask: [u8; 4],
    missing: usize,
}

impl Decoder {
    /// Bytes of memory held for what is incomplete.
    pub fn held(&self) -> usize {
        self.buffer.capacity()
    }

    /// Takes the next message out of `input` and advances it; `None` once all of it is used up. An error is final. The bounds
    /// are those of the frames whose header is in this input.
    ///
    /// Call it until `None`: only then nothing is kept but what is incomplete. The cost is linear in the input.
    ///
    /// # Errors
    /// `WebSocketProtocol` and `InvalidUtf8` at the first byte that shows it, `TooBig` at the header that announces it.
    pub fn next<'a, 'i: 'a>(
        &'a mut self,
        input: &mut &'i mut [u8],
        bounds: Bounds,
    ) -> Result<Option<Message<'a>>, CloseReason> {
        if mem::take(&mut self.lent) {
            self.forget_tail();
        }
        loop {
            let mut frame = match self.frame.take() {
                Some(frame) => frame,
                None => {
                    let Some(header) = self.take_header(input)? else {
                        return Ok(None);
                    };
                    let alone = header.fin && header.opcode != Opcode::Continuation;
                    let frame = self.admit(header, bounds)?;
                    if alone && frame.missing <= input.len() {
                        let payload = take(input, frame.missing);
                        unmask(payload, frame.mask);
                        if !frame.opcode.is_control() {
                            self.unfinished = None;
                        }
                        return message(frame.opcode, payload).map(Some);
                    }
                    frame
                }
            };

            let part = take(input, frame.missing);
            unmask(part, frame.mask);
            self.buffer.extend_from_slice(part);
            frame.mask.rotate_left(part.len() % 4);
            frame.missing -= part.len();
            if frame.opcode == Opcode::Text {
                self.check_utf8()?;
            }

            if frame.missing > 0 {
                self.frame = Some(frame);
                return Ok(None);
            }
            if frame.opcode.is_control() {
                self.lent = true;
                return message(
                    frame.opcode,
                    self.buffer.get(self.joined..).unwrap_or_default(),
                )
                .map(Some);
            }
            if frame.fin {
                self.unfinished = None;
                self.joined = 0;
                self.lent = true;
                return message(frame.opcode, &self.buffer).map(Some);
            }
            self.joined = self.buffer.len();
        }
    }

    /// Bytes kept of what is incomplete.
    pub fn buffered(&self) -> usize {
        self.buffer.len()
    }

    /// The header at the start of `input`, or one that began in an earlier input.
    fn take_header(&mut self, input: &mut &mut [u8]) -> Result<Option<Header>, CloseReason> {
        if self.buffer.len() == self.joined
            && let Some((header, header_len)) = Header::parse(input)?
        {
            take(input, header_len);
            return Ok(Some(header));
        }
        // At most 14 rounds, as no header is longer.
        while let [byte] = take(input, 1) {
            self.buffer.push(*byte);
            if let Some((header, _)) =
                Header::parse(self.buffer.get(self.joined..).unwrap_or_default())?
            {
                self.forget_tail();
                return Ok(Some(header));
            }
        }
        Ok(None)
    }

    /// Checks a header against what came before and against the bounds.
    fn admit(&mut self, header: Header, bounds: Bounds) -> Result<Frame, CloseReason> {
        let mut opcode = header.opcode;
        if !opcode.is_control() {
            let unfinished = match (opcode, &mut self.unfinished) {
                (Opcode::Continuation, Some(unfinished)) => unfinished,
                (Opcode::Continuation, None) | (_, Some(_)) => {
                    return Err(CloseReason::WebSocketProtocol);
                }
                (_, none) => none.insert(Unfinished {
                    opcode,
                    frames: 0,
                    utf8: 0,
                }),
            };
            opcode = unfinished.opcode;
            unfinished.frames += 1;
            let room = bounds.message_bytes.saturating_sub(self.joined);
            if unfinished.frames > bounds.fragments || header.payload_len > room as u64 {
                return Err(CloseReason::TooBig);
            }
        }
        let missing = usize::try_from(header.payload_len).map_err(|_| CloseReason::TooBig)?;
        Ok(Frame {
            opcode,
            fin: header.fin,
            mask: header.mask,
            missing,
        })
    }

    /// Fails as soon as what has come of a text can no longer become UTF-8.
    fn check_utf8(&mut self) -> Result<(), CloseReason> {
        let Some(unfinished) = &mut self.unfinished else {
            return Ok(());
        };
        match str::from_utf8(self.buffer.get(unfinished.utf8..).unwrap_or_default()) {
            Ok(_) => unfinished.utf8 = self.buffer.len(),
            Err(error) if error.error_len().is_none() => unfinished.utf8 += error.valid_up_to(),
            Err(_) => return Err(CloseReason::InvalidUtf8),
        }
        Ok(())
    }

    fn forget_tail(&mut self) {
        self.buffer.truncate(self.joined);
        if self.joined == 0 {
            self.buffer = Vec::new();
        }
    }
}

/// A frame's header, checked as far as it can be by itself.
struct Header {
    opcode: Opcode,
    fin: bool,
    mask: [u8; 4],
    payload_len: u64,
}

impl Header {
    /// The header at the start of `bytes` and its own length; `None` if it is incomplete.
    fn parse(bytes: &[u8]) -> Result<Option<(Self, usize)>, CloseReason> {
        let [first, second, rest @ ..] = bytes else {
            return Ok(None);
        };
        let fin = first & 0x80 != 0;
        let masked = second & 0x80 != 0;
        let short_len = second & 0x7F;
        let opcode = Opcode::from_bits(first & 0x0F).ok_or(CloseReason::WebSocketProtocol)?;
        let reserved = first & 0x70 != 0;
        if reserved || !masked || (opcode.is_control() && (!fin || short_len > 125)) {
            return Err(CloseReason::WebSocketProtocol);
        }

        let (payload_len, shortest, rest) = match short_len {
            126 => {
                let Some((len, rest)) = rest.split_first_chunk() else {
                    return Ok(None);
                };
                (u64::from(u16::from_be_bytes(*len)), 126, rest)
            }
            127 => {
                let Some((len, rest)) = rest.split_first_chunk() else {
                    return Ok(None);
                };
                (u64::from_be_bytes(*len), 0x1_0000, rest)
            }
            short_len => (u64::from(short_len), 0, rest),
        };
        // "The minimal number of bytes MUST be used to encode the length", "the most significant bit MUST be 0" (5.2).
        if payload_len < shortest || payload_len >> 63 != 0 {
            return Err(CloseReason::WebSocketProtocol);
        }

        let Some((mask, payload)) = rest.split_first_chunk() else {
            return Ok(None);
        };
        let header = Self {
            opcode,
            fin,
            mask: *mask,
            payload_len,
        };
        Ok(Some((header, bytes.len() - payload.len())))
    }
}

fn message(opcode: Opcode, payload: &[u8]) -> Result<Message<'_>, CloseReason> {
    Ok(match opcode {
        Opcode::Text => {
            Message::Text(str::from_utf8(payload).map_err(|_| CloseReason::InvalidUtf8)?)
        }
        // A continuation has got its message's opcode in `admit`.
        Opcode::Binary | Opcode::Continuation => Message::Binary(payload),
        Opcode::Ping => Message::Ping(payload),
        Opcode::Pong => Message::Pong(payload),
        Opcode::Close => Message::Close(match payload {
            [] => None,
            [high, low, text @ ..] => {
                let code = u16::from_be_bytes([*high, *low]);
                // 7.4.2 and the registry; 1004 to 1006 and 1015 must not be sent, 1016 to 2999 are not assigned.
                if !matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999) {
                    return Err(CloseReason::WebSocketProtocol);
                }
                Some((
                    code,
                    str::from_utf8(text).map_err(|_| CloseReason::InvalidUtf8)?,
                ))
            }
            [_] => return Err(CloseReason::WebSocketProtocol),
        }),
    })
}

/// Splits off the first `len` bytes, or all if there are fewer.
fn take<'i>(input: &mut &'i mut [u8], len: usize) -> &'i mut [u8] {
    let whole = mem::take(input);
    let (front, rest) = whole.split_at_mut(len.min(whole.len()));
    *input = rest;
    front
}

/// Eight bytes at a time, which the compiler turns into vector instructions.
fn unmask(bytes: &mut [u8], mask: [u8; 4]) {
    let [a, b, c, d] = mask;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (words, rest) = bytes.as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ wide).to_ne_bytes();
    }
    for (byte, mask) in rest.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= mask;
    }
}

#[cfg(test)]
mod tests {
    use super::{super::fuzz::replay, *};

    const MASK: [u8; 4] = [0x37, 0xFA, 0x21, 0x3D];
    const BOUNDS: Bounds = Bounds {
        message_bytes: 1_000,
        fragments: 5,
    };

    /// A masked frame from its first byte and payload.
    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut bytes = vec![first];
        match payload.len() {
            len @ 0..=125 => bytes.push(0x80 | len as u8),
            len @ 126..=0xFFFF => {
                bytes.push(0x80 | 126);
                bytes.extend((len as u16).to_be_bytes());
            }
            len => {
                bytes.push(0x80 | 127);
                bytes.extend((len as u64).to_be_bytes());
            }
        }
        bytes.extend(MASK);
        bytes.extend(
            payload
                .iter()
                .zip(MASK.iter().cycle())
                .map(|(byte, mask)| byte ^ mask),
        );
        bytes
    }

    /// Feeds `input` whole and byte by byte; both must say the same.
    fn check(input: &[u8], expected: &[&str]) {
        for step in [input.len().max(1), 1] {
            assert_eq!(
                replay(input, step, BOUNDS),
                expected,
                "{input:02x?} in steps of {step}"
            );
        }
    }

    #[test]
    fn messages_of_every_kind() {
        check(&frame(0x81, b"Hello"), &[r#"Text("Hello")"#]);
        check(&frame(0x81, b""), &[r#"Text("")"#]);
        check(&frame(0x82, &[0xFF]), &["Binary([255])"]);
        check(&frame(0x89, b"a"), &["Ping([97])"]);
        check(&frame(0x8A, b""), &["Pong([])"]);
        check(
            &[frame(0x81, b"1"), frame(0x81, b"2")].concat(),
            &[r#"Text("1")"#, r#"Text("2")"#],
        );
        check(&[], &[]);
    }

    #[test]
    fn fragments_are_joined_and_control_frames_come_between() {
        let parts = [
            frame(0x01, b"ab"),
            frame(0x89, b"?"),
            frame(0x00, b""),
            frame(0x80, "\u{e9}".as_bytes()),
        ];
        check(&parts.concat(), &["Ping([63])", "Text(\"ab\u{e9}\")"]);
        check(
            &[frame(0x02, &[1]), frame(0x80, &[2]), frame(0x82, &[3])].concat(),
            &["Binary([1, 2])", "Binary([3])"],
        );
        check(
            &[frame(0x01, b"\xC3"), frame(0x80, b"\xA9")].concat(),
            &["Text(\"\u{e9}\")"],
        );
    }

    #[test]
    fn all_length_forms() {
        for len in [125, 126, 127, 999] {
            check(
                &frame(0x81, "x".repeat(len).as_bytes()),
                &[&format!("Text({:?})", "x".repeat(len))],
            );
        }
        let mut bytes = frame(0x82, &[7; 70_000]);
        let mut rest = &mut bytes[..];
        assert_eq!(
            Decoder::default().next(
                &mut rest,
                Bounds {
                    message_bytes: 70_000,
                    fragments: 1
                }
            ),
            Ok(Some(Message::Binary(&[7; 70_000])))
        );
    }

    #[test]
    fn violations_end_the_connection() {
        let violation = &["WebSocketProtocol"];
        for first in [
            0xC1, 0xA1, 0x91, 0x83, 0x87, 0x8B, 0x8F, 0x09, 0x08, 0x0A, 0x80, 0x00,
        ] {
            check(&frame(first, b""), violation);
        }
        check(&[0x81, 0x05], violation); // not masked
        check(&frame(0x89, &[0; 126]), violation); // control frame over 125 bytes
        check(&[frame(0x01, b"a"), frame(0x81, b"b")].concat(), violation); // new message inside a message
        check(
            &[frame(0x81, b"a"), frame(0x80, b"b")].concat(),
            &[r#"Text("a")"#, "WebSocketProtocol"],
        );
        check(&[0x82, 0xFE, 0, 125, 0, 0, 0, 0], violation); // 125 in three bytes
        check(
            &[0x82, 0xFF, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF, 0, 0, 0, 0],
            violation,
        ); // 65,535 in nine bytes
        check(
            &[0x82, 0xFF, 0x80, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0],
            violation,
        ); // the highest bit
    }

    #[test]
    fn close_frames_are_checked() {
        check(&frame(0x88, b""), &["Close(None)"]);
        check(&frame(0x88, b"\x03\xE8"), &[r#"Close(Some((1000, "")))"#]);
        check(
            &frame(0x88, b"\x0F\xA0bye"),
            &[r#"Close(Some((4000, "bye")))"#],
        );
        check(&frame(0x88, b"\x03"), &["WebSocketProtocol"]);
        check(&frame(0x88, b"\x03\xE8\xFF"), &["InvalidUtf8"]);
        for code in [
            0u16, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535,
        ] {
            check(&frame(0x88, &code.to_be_bytes()), &["WebSocketProtocol"]);
        }
        for code in [1000u16, 1001, 1003, 1007, 1011, 1012, 1014, 3000, 4999] {
            check(
                &frame(0x88, &code.to_be_bytes()),
                &[&format!("Close(Some(({code}, \"\")))")],
            );
        }
    }

    #[test]
    fn bad_text_fails_at_its_first_bad_byte() {
        check(&frame(0x81, b"a\xFF"), &["InvalidUtf8"]);
        check(&frame(0x81, b"\xED\xA0\x80"), &["InvalidUtf8"]); // a surrogate
        check(&frame(0x81, b"\xC3"), &["InvalidUtf8"]); // ends inside a character
        check(
            &[frame(0x01, b"\xC3"), frame(0x00, b""), frame(0x80, b"")].concat(),
            &["InvalidUtf8"],
        );
        check(&frame(0x01, b"\xFF"), &["InvalidUtf8"]);
        let begun = frame(0x81, b"ok\xF4\x90later");
        check(&begun[..begun.len() - 5], &["InvalidUtf8"]);
        check(
            &[frame(0x02, b"\xC3"), frame(0x80, b"\xFF")].concat(),
            &["Binary([195, 255])"],
        );
    }

    #[test]
    fn the_bounds_hold_at_the_header() {
        let whole = frame(0x82, &[0; 1001]);
        check(&whole[..8], &["TooBig"]);
        check(
            &[
                0x82, 0xFF, 0x7F, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 0, 0,
            ],
            &["TooBig"],
        );
        check(
            &[frame(0x02, &[0; 600]), frame(0x80, &[0; 401])[..8].to_vec()].concat(),
            &["TooBig"],
        );
        check(
            &[
                frame(0x02, b""),
                frame(0x00, b"").repeat(3),
                frame(0x80, b""),
            ]
            .concat(),
            &["Binary([])"],
        );
        check(
            &[frame(0x02, b""), frame(0x00, b"").repeat(5)].concat(),
            &["TooBig"],
        );
    }

    #[test]
    fn the_bounds_are_those_of_the_moment_when_the_header_comes() {
        let mut decoder = Decoder::default();
        let mut bytes = [frame(0x01, b"ab"), frame(0x80, b"c")].concat();
        let mut rest = &mut bytes[..];
        let bounds = |message_bytes| Bounds {
            message_bytes,
            fragments: 2,
        };
        // The payload is not here yet.
        let mut begin = rest.split_off_mut(..7).unwrap();
        assert_eq!(decoder.next(&mut begin, bounds(2)), Ok(None));
        assert_eq!(
            decoder.next(&mut rest, bounds(3)),
            Ok(Some(Message::Text("abc")))
        );
    }

    #[test]
    fn a_whole_frame_is_lent_from_the_input() {
        let mut bytes = frame(0x81, b"Hello");
        let input = bytes.as_ptr_range();
        let mut decoder = Decoder::default();
        let Ok(Some(Message::Text(text))) = decoder.next(&mut &mut bytes[..], BOUNDS) else {
            panic!("no text")
        };
        assert!(input.contains(&text.as_ptr()));
        assert_eq!(decoder.buffer.capacity(), 0);
    }

    #[test]
    fn nothing_is_kept_once_a_message_is_complete() {
        let mut bytes = [frame(0x01, b"ab"), frame(0x80, b"c")].concat();
        let (begin, end) = bytes.split_at_mut(11);
        let mut decoder = Decoder::default();
        assert_eq!(decoder.next(&mut &mut begin[..], BOUNDS), Ok(None));
        assert_eq!(decoder.buffered(), 5);
        let mut rest = end;
        assert_eq!(
            decoder.next(&mut rest, BOUNDS),
            Ok(Some(Message::Text("abc")))
        );
        assert_eq!(decoder.next(&mut rest, BOUNDS), Ok(None));
        assert_eq!((decoder.buffered(), decoder.buffer.capacity()), (0, 0));
    }

    #[test]
    fn an_idle_decoder_is_small() {
        assert!(size_of::<Decoder>() <= 80, "{}", size_of::<Decoder>());
    }
}
