//! Where the bytes of a client are cut changes nothing, and nothing they hold panics or is kept for long.

mod client_frames;

use client_frames::{BOUNDS, MESSAGE_BYTES, chunks, decode, frame, input};
use proptest::{collection::vec, prelude::*, sample::Index};
use protocol::ws::{Bounds, Decoder, Message};

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_cuts_give_the_same_messages(bytes in input(), cuts in vec(any::<Index>(), 0..20)) {
        prop_assert_eq!(decode(&chunks(&bytes, &cuts)), decode(&[&bytes]));
    }

    #[test]
    fn a_cut_at_every_single_place_gives_the_same_messages(bytes in input()) {
        let expected = decode(&[&bytes]);
        for at in 0..bytes.len().min(200) {
            let (begin, end) = bytes.split_at(at);
            prop_assert_eq!(decode(&[begin, end]), expected.clone());
        }
        prop_assert_eq!(decode(&bytes.chunks(1).collect::<Vec<_>>()), expected);
    }

    #[test]
    fn any_bytes_are_survived(bytes in vec(any::<u8>(), 0..400), cuts in vec(any::<Index>(), 0..5)) {
        prop_assert_eq!(decode(&chunks(&bytes, &cuts)), decode(&[&bytes]));
    }

    #[test]
    fn never_more_is_kept_than_a_message_and_a_control_frame(bytes in input(), step in 1..50usize) {
        let mut decoder = Decoder::default();
        'feed: for chunk in bytes.chunks(step) {
            let mut chunk = chunk.to_vec();
            let mut rest = &mut chunk[..];
            loop {
                match decoder.next(&mut rest, BOUNDS) {
                    Ok(Some(Message::Close(_))) | Err(_) => break 'feed,
                    Ok(Some(_)) => {}
                    Ok(None) => break,
                }
            }
            prop_assert!(decoder.buffered() <= MESSAGE_BYTES + 125);
        }
    }
}

/// The largest of the RFC 6455 suite, in fragments that are cut once more; quadratic work would take minutes.
#[test]
fn sixteen_mebibytes_in_65536_fragments_are_joined_in_linear_time() {
    const FRAGMENTS: usize = 65_536;
    let part = [b'*'; 256];
    let mut decoder = Decoder::default();
    let bounds = Bounds {
        message_bytes: FRAGMENTS * part.len(),
        fragments: FRAGMENTS,
    };
    let mut joined = 0;
    for index in 0..FRAGMENTS {
        let first =
            if index == 0 { 0x01 } else { 0 } | if index + 1 == FRAGMENTS { 0x80 } else { 0 };
        let mut bytes = frame(first, [1, 2, 3, 4], &part);
        for chunk in bytes.chunks_mut(200) {
            let mut rest = chunk;
            while let Some(message) = decoder.next(&mut rest, bounds).unwrap() {
                let Message::Text(text) = message else {
                    panic!("{message:?}")
                };
                joined = text.len();
                assert!(text.bytes().all(|byte| byte == b'*'));
            }
        }
    }
    assert_eq!((joined, decoder.buffered()), (FRAGMENTS * part.len(), 0));
}
