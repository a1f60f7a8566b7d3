//! SockJS text against serde_json: what is escaped reads back, and a batch is what JSON says it is.

use bytes::BytesMut;
use proptest::{collection::vec, prelude::*, sample::Index};
use protocol::{
    close::CloseReason,
    sockjs::{self, Framing, decode_batch},
};

/// Text with many of the characters that matter.
fn text() -> impl Strategy<Value = String> {
    let special = prop::sample::select(
        &[
            '"', '\\', '\0', '\n', '\u{1f}', ' ', '\u{7f}', '\u{2027}', '\u{2028}',
        ][..],
    );
    let edges = prop::sample::select(
        &[
            '\u{200b}', '\u{200c}', '\u{206f}', '\u{2070}', '\u{ffef}', '\u{fff0}',
        ][..],
    );
    let any_of_them =
        prop_oneof![3 => special, 1 => edges, 4 => any::<char>(), 8 => prop::char::range('a', 'z')];
    vec(any_of_them, 0..60).prop_map(String::from_iter)
}

fn decode(payload: &str) -> Result<Vec<String>, CloseReason> {
    decode_batch(payload, 5).map(|messages| messages.map(String::from).collect())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn escaped_text_reads_back(text in text()) {
        let mut escaped = BytesMut::from(&b"\""[..]);
        sockjs::escape_into(&text, &mut escaped);
        escaped.extend_from_slice(b"\"");
        prop_assert_eq!(serde_json::from_slice::<String>(&escaped).unwrap(), text);
    }

    #[test]
    fn a_frame_holds_its_message(text in text()) {
        let frame = Framing::SockJs.frame(&text);
        let payload = match frame[1] {
            126 => &frame[4..],
            len => {
                prop_assert_eq!(usize::from(len) + 2, frame.len());
                &frame[2..]
            }
        };
        prop_assert_eq!(payload[0], b'a');
        prop_assert_eq!(serde_json::from_slice::<[String; 1]>(&payload[1..]).unwrap(), [text]);
    }

    #[test]
    fn a_batch_gives_what_was_put_in(texts in vec(text(), 0..=5)) {
        prop_assert_eq!(decode(&serde_json::to_string(&texts).unwrap()), Ok(texts));
    }

    #[test]
    fn a_damaged_batch_is_what_json_says_of_it(texts in vec(text(), 0..=5), at in any::<Index>(), with in any::<char>()) {
        let mut payload: Vec<char> = serde_json::to_string(&texts).unwrap().chars().collect();
        let at = at.index(payload.len() - 1) + 1;
        payload[at] = with;
        let payload = String::from_iter(payload);
        match serde_json::from_str::<Vec<String>>(&payload) {
            Ok(texts) if texts.len() > 5 => prop_assert_eq!(decode(&payload), Err(CloseReason::TooManyPending)),
            expected => prop_assert_eq!(decode(&payload), expected.map_err(|_| CloseReason::UnsupportedData)),
        }
    }

    #[test]
    fn any_payload_and_path_are_survived(text in any::<String>(), path in "[/a-z.?%]{0,30}") {
        let _ = decode(&text);
        let _ = decode(&format!("[{text}"));
        let _ = sockjs::route(&text);
        let _ = sockjs::route(&path);
    }
}
