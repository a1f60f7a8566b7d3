//! From an EVENT packet to a `changed` frame without parsing either.

use memchr::memmem;

use crate::ws;

/// What an EVENT packet of our own publisher becomes.
pub(super) struct Sliced<'a> {
    stream: &'static str,
    /// What clients subscribed to.
    pub(super) event: String,
    /// The argument, or where the stream is `user-presence` the text in its tuple.
    argument: &'a [u8],
}

pub(super) fn slice(packet: &[u8]) -> Option<Sliced<'_>> {
    let name = after(packet, br#""event":""#)?;
    let name_end = memchr::memchr(b'"', name)?;
    let data = after(&name[name_end..], br#""data":"#)?;
    let data = &data[..memmem::rfind(data, br#","broadcast":"#)?];
    let text = |bytes: &[u8]| std::str::from_utf8(bytes).ok().map(str::to_owned);
    match &name[..name_end] {
        b"watch.messages" => {
            let document = data.strip_prefix(br#"[{"message":"#)?.strip_suffix(b"}]")?;
            let room = after(document, br#""rid":""#)?;
            Some(Sliced {
                stream: "stream-room-messages",
                event: text(&room[..memchr::memchr(b'"', room)?])?,
                argument: document,
            })
        }
        b"notify.desktop" => {
            let rest = data.strip_prefix(br#"[""#)?.strip_suffix(b"]")?;
            let user_end = memchr::memchr(b'"', rest)?;
            let document = rest[user_end..].strip_prefix(br#"","#)?;
            Some(Sliced {
                stream: "stream-notify-user",
                event: text(&rest[..user_end])? + "/notification",
                argument: document,
            })
        }
        b"stream" => {
            let event = data.strip_prefix(br#"[["notify-room",""#)?;
            let event_end = memchr::memchr(b'"', event)?;
            let arguments = event[event_end..].strip_prefix(br#"",["#)?;
            Some(Sliced {
                stream: "stream-notify-room",
                event: text(&event[..event_end])?,
                argument: arguments.strip_suffix(b"]]]")?,
            })
        }
        b"presence.status" => {
            let user = data.strip_prefix(br#"[{"user":{"_id":""#)?;
            let status = after(user, br#""statusText":"#)?;
            Some(Sliced {
                stream: PRESENCE,
                event: text(&user[..memchr::memchr(b'"', user)?])?,
                argument: &status[..memchr::memchr(b'}', status)?],
            })
        }
        _ => None,
    }
}

fn after<'a>(bytes: &'a [u8], needle: &[u8]) -> Option<&'a [u8]> {
    memmem::find(bytes, needle).map(|at| &bytes[at + needle.len()..])
}

const PRESENCE: &str = "stream-user-presence";

pub(super) fn push_changed(out: &mut Vec<u8>, sliced: &Sliced<'_>) {
    let event = sliced.event.as_bytes();
    let parts: &[&[u8]] = if sliced.stream == PRESENCE {
        &[
            br#"{"msg":"changed","collection":"stream-user-presence","id":""#,
            event,
            br#"","fields":{"uid":""#,
            event,
            br#"","args":[[""#,
            event,
            br#"",3,"#,
            sliced.argument,
            br#"]],"eventName":""#,
            event,
            br#""}}"#,
        ]
    } else {
        &[
            br#"{"msg":"changed","collection":""#,
            sliced.stream.as_bytes(),
            br#"","id":"id","fields":{"eventName":""#,
            event,
            br#"","args":["#,
            sliced.argument,
            b"]}}",
        ]
    };
    ws::push_server_text_head(out, parts.iter().map(|part| part.len()).sum());
    parts.iter().for_each(|part| out.extend_from_slice(part));
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
            let sliced = slice(packet.as_bytes()).unwrap();
            assert_eq!(
                (&*sliced.event, sliced.argument),
                (key, document.as_bytes())
            );
            let mut out = Vec::new();
            push_changed(&mut out, &sliced);
            let frame = ws::parse(&out).unwrap().unwrap();
            let message: Value = serde_json::from_slice(frame.payload).unwrap();
            assert_eq!(message["collection"], stream);
            assert_eq!(message["fields"]["eventName"], key);
            message["fields"]["args"][0].clone()
        };
        let document = r#"{"_id":"m","rid":"room-1","n":1}"#;
        let argument = check(
            "watch.messages",
            &format!(r#"[{{"message":{document}}}]"#),
            "stream-room-messages",
            "room-1",
            document,
        );
        assert_eq!(argument["n"], 1);
        let document = r#"{"n":1,"title":"]"}"#;
        let data = format!(r#"["user-1",{document}]"#);
        let argument = check(
            "notify.desktop",
            &data,
            "stream-notify-user",
            "user-1/notification",
            document,
        );
        assert_eq!(argument["n"], 1);
        let data = r#"[{"user":{"_id":"user-1","username":"user-1","status":"busy","statusText":"t"},"x":1}]"#;
        let argument = check(
            "presence.status",
            data,
            "stream-user-presence",
            "user-1",
            r#""t""#,
        );
        assert_eq!(argument, serde_json::json!(["user-1", 3, "t"]));
        assert!(slice(br#"{"event":"watch.rooms","data":[],"broadcast":true}"#).is_none());
    }
}
