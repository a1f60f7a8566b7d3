//! Our websocket codec against tungstenite, in both directions.

mod client_frames;

use std::io::{self, Read, Write};

use client_frames::{MESSAGE_BYTES, Owned, decode, frame, input};
use proptest::{collection::vec, prelude::*};
use protocol::ws;
use tungstenite::{
    Error, Message, WebSocket,
    protocol::{Role, WebSocketConfig, frame::CloseFrame},
};

/// Gives its bytes, then "not yet"; keeps what is written.
struct Wire {
    input: io::Cursor<Vec<u8>>,
    output: Vec<u8>,
}

impl Read for Wire {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        match self.input.read(out)? {
            0 => Err(io::ErrorKind::WouldBlock.into()),
            read => Ok(read),
        }
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.output.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn tungstenite(role: Role, input: Vec<u8>) -> WebSocket<Wire> {
    let config = WebSocketConfig::default()
        .max_message_size(Some(MESSAGE_BYTES))
        .max_frame_size(Some(MESSAGE_BYTES));
    WebSocket::from_raw_socket(
        Wire {
            input: io::Cursor::new(input),
            output: Vec::new(),
        },
        role,
        Some(config),
    )
}

/// All messages that tungstenite sees, and whether it then failed rather than waited or closed.
fn decode_theirs(role: Role, input: Vec<u8>) -> (Vec<Owned>, bool) {
    let mut socket = tungstenite(role, input);
    let mut messages = Vec::new();
    loop {
        match socket.read() {
            Ok(Message::Text(text)) => messages.push(Owned::Text(text.as_str().to_owned())),
            Ok(Message::Binary(bytes)) => messages.push(Owned::Binary(bytes.to_vec())),
            Ok(Message::Ping(body)) => messages.push(Owned::Ping(body.to_vec())),
            Ok(Message::Pong(body)) => messages.push(Owned::Pong(body.to_vec())),
            // What it makes of a code that must not be sent.
            Ok(Message::Close(Some(CloseFrame { reason, .. })))
                if reason == "Protocol violation" =>
            {
                return (messages, true);
            }
            Ok(Message::Close(close)) => {
                messages.push(Owned::Close(
                    close.map(|close| (close.code.into(), close.reason.as_str().to_owned())),
                ));
                return (messages, false);
            }
            Ok(Message::Frame(_)) => unreachable!("only for writing"),
            Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                return (messages, false);
            }
            Err(_) => return (messages, true),
        }
    }
}

/// Whether some frame's length is written in more bytes than needed: we refuse it, tungstenite does not.
fn has_long_length(mut bytes: &[u8]) -> bool {
    while let [_, second, rest @ ..] = bytes {
        let masked = usize::from(second >> 7) * 4;
        let (len, len_bytes, shortest) = match (second & 0x7F, rest) {
            (126, [a, b, ..]) => (u64::from_be_bytes([0, 0, 0, 0, 0, 0, *a, *b]), 2, 126),
            (127, [a, b, c, d, e, f, g, h, ..]) => (
                u64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h]),
                8,
                0x1_0000,
            ),
            (126 | 127, _) => return false,
            (len, _) => (u64::from(len), 0, 0),
        };
        if len < shortest {
            return true;
        }
        let Some(next) = usize::try_from(len)
            .ok()
            .and_then(|len| rest.get(len_bytes + masked + len..))
        else {
            return false;
        };
        bytes = next;
    }
    false
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_clients_send_is_read_as_tungstenite_reads_it(bytes in input()) {
        prop_assume!(!has_long_length(&bytes));
        let (mut ours, end) = decode(&[&bytes]);
        let mut failed = end.is_err();
        // Assigned after tungstenite's table was made.
        if let Some(Owned::Close(Some((1014, _)))) = ours.last() {
            ours.pop();
            failed = true;
        }
        let (theirs, theirs_failed) = decode_theirs(Role::Server, bytes.clone());
        prop_assert_eq!(&ours, &theirs);
        if failed && !theirs_failed {
            // We fail at the byte that shows it, tungstenite at the end of its frame.
            let (completed, failed_later) = decode_theirs(Role::Server, [bytes, vec![0; 2 * MESSAGE_BYTES]].concat());
            prop_assert!(failed_later);
            prop_assert_eq!(completed, theirs);
        } else {
            prop_assert_eq!(failed, theirs_failed);
        }
    }

    #[test]
    fn what_tungstenite_sends_is_read_back(texts in vec(any::<String>(), 0..4), bytes in vec(vec(any::<u8>(), 0..MESSAGE_BYTES), 0..4)) {
        let mut socket = tungstenite(Role::Client, Vec::new());
        let mut expected = Vec::new();
        for text in texts.into_iter().filter(|text| text.len() <= MESSAGE_BYTES) {
            socket.write(Message::text(text.clone())).unwrap();
            expected.push(Owned::Text(text));
        }
        for bytes in bytes {
            socket.write(Message::binary(bytes.clone())).unwrap();
            expected.push(Owned::Binary(bytes.clone()));
            let body = bytes.get(..bytes.len().min(125)).unwrap().to_vec();
            socket.write(Message::Ping(body.clone().into())).unwrap();
            expected.push(Owned::Ping(body));
        }
        socket.flush().unwrap();
        prop_assert_eq!(decode(&[&socket.get_ref().output]), (expected, Ok(())));
    }

    #[test]
    fn what_we_send_is_read_by_tungstenite(
        text in any::<String>(),
        binary in vec(any::<u8>(), 0..MESSAGE_BYTES),
        body in vec(any::<u8>(), 0..=125),
        code in prop_oneof![1000..=1003u16, 1007..=1013u16, 3000..=4999u16],
        reason in "[a-zA-Z_]{0,123}",
        with_code in any::<bool>(),
    ) {
        prop_assume!(text.len() <= MESSAGE_BYTES);
        let code = with_code.then_some(code);
        let sent = [
            ws::text_frame(text.as_bytes()),
            ws::binary_frame(&binary),
            ws::pong_frame(&body),
            ws::close_frame(code, &reason),
        ];
        let expected = vec![
            Owned::Text(text),
            Owned::Binary(binary),
            Owned::Pong(body),
            Owned::Close(code.map(|code| (code, reason))),
        ];
        prop_assert_eq!(decode_theirs(Role::Client, sent.concat()), (expected, false));
    }

    #[test]
    fn the_accept_key_is_that_of_tungstenite(key in any::<String>()) {
        prop_assert_eq!(ws::accept_key(&key), tungstenite::handshake::derive_accept_key(key.as_bytes()));
    }
}

#[test]
fn long_lengths_are_recognised() {
    assert!(!has_long_length(&frame(0x82, [0; 4], &[0; 126])));
    assert!(has_long_length(
        &[frame(0x82, [1; 4], b"a"), vec![0x82, 0xFE, 0, 125]].concat()
    ));
}
