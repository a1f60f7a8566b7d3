//! What clients send: generated frames, good and bad, and the driver that feeds our decoder.

use proptest::{collection::vec, prelude::*, sample::Index};
use protocol::{
    close::CloseReason,
    ws::{Bounds, Decoder, Message},
};

/// The bound on messages that the generated sizes play around.
pub(crate) const MESSAGE_BYTES: usize = 300;
pub(crate) const BOUNDS: Bounds = Bounds {
    message_bytes: MESSAGE_BYTES,
    fragments: 1_000,
};

/// A message that owns its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Owned {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<(u16, String)>),
}

impl From<Message<'_>> for Owned {
    fn from(message: Message<'_>) -> Self {
        match message {
            Message::Text(text) => Self::Text(text.to_owned()),
            Message::Binary(bytes) => Self::Binary(bytes.to_vec()),
            Message::Ping(body) => Self::Ping(body.to_vec()),
            Message::Pong(body) => Self::Pong(body.to_vec()),
            Message::Close(body) => Self::Close(body.map(|(code, text)| (code, text.to_owned()))),
        }
    }
}

/// All messages up to a close frame or an error.
pub(crate) fn decode(chunks: &[&[u8]]) -> (Vec<Owned>, Result<(), CloseReason>) {
    let mut decoder = Decoder::default();
    let mut messages = Vec::new();
    for chunk in chunks {
        let mut bytes = chunk.to_vec();
        let mut rest = &mut bytes[..];
        loop {
            match decoder.next(&mut rest, BOUNDS) {
                Ok(Some(message)) => messages.push(message.into()),
                Ok(None) => break,
                Err(reason) => return (messages, Err(reason)),
            }
            if let Some(Owned::Close(_)) = messages.last() {
                return (messages, Ok(()));
            }
        }
        assert!(rest.is_empty(), "`None` means that all was used up");
    }
    (messages, Ok(()))
}

/// A frame as a client sends it.
pub(crate) fn frame(first: u8, mask: [u8; 4], payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    match payload.len() {
        len @ 0..=125 => bytes.push(0x80 | len as u8),
        len => {
            bytes.push(0x80 | 126);
            bytes.extend(u16::try_from(len).unwrap().to_be_bytes());
        }
    }
    bytes.extend(mask);
    bytes.extend(
        payload
            .iter()
            .zip(mask.iter().cycle())
            .map(|(byte, mask)| byte ^ mask),
    );
    bytes
}

/// A conversation: mostly legal, then perhaps cut short and with some bytes changed.
pub(crate) fn input() -> impl Strategy<Value = Vec<u8>> {
    let sequence = prop_oneof![
        3 => vec(message(), 0..6).prop_map(|messages| messages.concat()),
        1 => vec(any_frame(), 0..6).prop_map(|frames| frames.concat()),
    ];
    let changes = prop_oneof![2 => Just(Vec::new()), 1 => vec(any::<(Index, u8)>(), 1..4)];
    let cut = prop_oneof![3 => Just(None), 1 => any::<Index>().prop_map(Some)];
    (sequence, changes, cut).prop_map(|(mut bytes, changes, cut)| {
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len() + 1));
        }
        for (at, byte) in changes
            .into_iter()
            .filter(|_| !bytes.is_empty())
            .collect::<Vec<_>>()
        {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        bytes
    })
}

/// `bytes` cut at these places.
pub(crate) fn chunks<'a>(bytes: &'a [u8], cuts: &[Index]) -> Vec<&'a [u8]> {
    let mut places: Vec<_> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
    places.extend([0, bytes.len()]);
    places.sort_unstable();
    places
        .windows(2)
        .map(|pair| &bytes[pair[0]..pair[1]])
        .collect()
}

/// One legal message in fragments, with control frames between them; or a close frame.
fn message() -> impl Strategy<Value = Vec<u8>> {
    let text = any::<String>().prop_map(|text| (0x1, text.into_bytes()));
    let binary = vec(any::<u8>(), 0..MESSAGE_BYTES + 20).prop_map(|bytes| (0x2, bytes));
    let control = (0x9..=0xAu8, vec(any::<u8>(), 0..=125));
    let data = (
        prop_oneof![text, binary],
        vec(any::<Index>(), 0..4),
        vec(control, 0..4),
        any::<[u8; 4]>(),
    )
        .prop_map(|((opcode, payload), cuts, controls, mask)| {
            let parts = chunks(&payload, &cuts);
            let mut controls = controls.into_iter();
            let mut bytes = Vec::new();
            for (index, part) in parts.iter().enumerate() {
                let fin = if index + 1 == parts.len() { 0x80 } else { 0 };
                let opcode = if index == 0 { opcode } else { 0 };
                bytes.extend(frame(fin | opcode, mask, part));
                if let Some((opcode, body)) = controls.next() {
                    bytes.extend(frame(0x80 | opcode, mask, &body));
                }
            }
            bytes
        });
    let close = (
        prop_oneof![995..1020u16, any::<u16>()],
        "[a-z\u{e9}]{0,40}",
        any::<[u8; 4]>(),
    )
        .prop_map(|(code, text, mask)| {
            frame(0x88, mask, &[&code.to_be_bytes(), text.as_bytes()].concat())
        });
    prop_oneof![8 => data, 1 => close]
}

fn any_frame() -> impl Strategy<Value = Vec<u8>> {
    let first = prop_oneof![
        4 => prop::sample::select(&[0x81u8, 0x82, 0x01, 0x02, 0x00, 0x80, 0x88, 0x89, 0x8A][..]),
        1 => any::<u8>(),
    ];
    let payload = prop_oneof![
        any::<String>().prop_map(String::into_bytes),
        vec(any::<u8>(), 0..140)
    ];
    (first, any::<[u8; 4]>(), payload)
        .prop_map(|(first, mask, payload)| frame(first, mask, &payload))
}
