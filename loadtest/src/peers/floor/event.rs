//! From an EVENT packet to a `changed` frame without parsing either.

use memchr::memmem;

use crate::ws;

/// The event name that clients subscribed to, and the document, cut out of an EVENT packet of our own publisher.
pub(super) fn slice(packet: &[u8]) -> Option<(String, &[u8])> {
    let name = after(packet, br#""event":""#)?;
    let name_end = memchr::memchr(b'"', name)?;
    let data = after(&name[name_end..], br#""data":"#)?;
    let data = &data[..memmem::rfind(data, br#","broadcast":"#)?];
    let text = |bytes: &[u8]| std::str::from_utf8(bytes).ok().map(str::to_owned);
    match &name[..name_end] {
        b"watch.messages" => {
            let document = data.strip_prefix(br#"[{"message":"#)?.strip_suffix(b"}]")?;
            let room = after(document, br#""rid":""#)?;
            Some((text(&room[..memchr::memchr(b'"', room)?])?, document))
        }
        b"notify.desktop" => {
            let rest = data.strip_prefix(br#"[""#)?.strip_suffix(b"]")?;
            let user_end = memchr::memchr(b'"', rest)?;
            let document = rest[user_end..].strip_prefix(br#"","#)?;
            Some((text(&rest[..user_end])? + "/notification", document))
        }
        _ => None,
    }
}

fn after<'a>(bytes: &'a [u8], needle: &[u8]) -> Option<&'a [u8]> {
    memmem::find(bytes, needle).map(|at| &bytes[at + needle.len()..])
}

pub(super) fn push_changed(out: &mut Vec<u8>, event: &str, document: &[u8]) {
    let stream = if event.ends_with("/notification") {
        "stream-notify-user"
    } else {
        "stream-room-messages"
    };
    let parts: [&[u8]; 6] = [
        br#"{"msg":"changed","collection":""#,
        stream.as_bytes(),
        br#"","id":"id","fields":{"eventName":""#,
        event.as_bytes(),
        br#"","args":["#,
        document,
    ];
    let tail = br"]}}";
    ws::push_server_text_head(
        out,
        parts.iter().map(|part| part.len()).sum::<usize>() + tail.len(),
    );
    parts.iter().for_each(|part| out.extend_from_slice(part));
    out.extend_from_slice(tail);
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn an_event_is_sliced_verbatim_into_the_frame_of_its_stream() {
        let check = |event: &str, data: &str, stream: &str, key: &str, document: &str| {
            let packet = format!(
                r#"{{"id":"x","event":"{event}","data":{data},"broadcast":true,"sender":"s"}}"#
            );
            let (name, slice) = slice(packet.as_bytes()).unwrap();
            assert_eq!((name.as_str(), slice), (key, document.as_bytes()));
            let mut out = Vec::new();
            push_changed(&mut out, &name, slice);
            let frame = ws::parse(&out).unwrap().unwrap();
            let message: Value = serde_json::from_slice(frame.payload).unwrap();
            assert_eq!(message["collection"], stream);
            assert_eq!(message["fields"]["eventName"], key);
            assert_eq!(message["fields"]["args"][0]["n"], 1);
        };
        let document = r#"{"_id":"m","rid":"room-1","n":1}"#;
        check(
            "watch.messages",
            &format!(r#"[{{"message":{document}}}]"#),
            "stream-room-messages",
            "room-1",
            document,
        );
        let document = r#"{"n":1,"title":"]"}"#;
        let data = format!(r#"["user-1",{document}]"#);
        check(
            "notify.desktop",
            &data,
            "stream-notify-user",
            "user-1/notification",
            document,
        );
        assert!(slice(br#"{"event":"watch.rooms","data":[],"broadcast":true}"#).is_none());
    }
}
