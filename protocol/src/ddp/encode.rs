//! The server's messages, with the key order of gateway.md 2.3.
//!
//! `id`s of calls and subscriptions are raw JSON as the client sent them; `fields`, `args` and results are raw JSON too.

pub use super::text::{push_string, quoted};
use super::{
    Error,
    text::{push_escaped, push_raw},
};

/// `{"msg":"connected","session":"..."}`
pub fn connected(session: &str) -> String {
    let mut out = String::with_capacity(40 + session.len());
    out.push_str(r#"{"msg":"connected","session":"#);
    push_string(&mut out, session);
    out.push('}');
    out
}

/// `{"msg":"failed","version":"1"}`: the version we would have liked.
pub fn failed(version: &str) -> String {
    let mut out = String::with_capacity(32 + version.len());
    out.push_str(r#"{"msg":"failed","version":"#);
    push_string(&mut out, version);
    out.push('}');
    out
}

/// `{"msg":"ping"}`
pub fn ping() -> String {
    r#"{"msg":"ping"}"#.to_owned()
}

/// `{"msg":"pong","id":"7"}`, or without the key.
pub fn pong(id: Option<&str>) -> String {
    match id {
        Some(id) => [r#"{"msg":"pong","id":"#, id, "}"].concat(),
        None => r#"{"msg":"pong"}"#.to_owned(),
    }
}

/// `{"msg":"result","id":"3","result":...}`; the key is left out only where there is no value at all.
pub fn result(id: &str, outcome: Result<Option<&[u8]>, &Error>) -> String {
    let value_bytes = outcome.map_or(256, |value| value.map_or(0, <[u8]>::len));
    let mut out = String::with_capacity(48 + id.len() + value_bytes);
    out.push_str(r#"{"msg":"result","id":"#);
    out.push_str(id);
    match outcome {
        Ok(None) => {}
        Ok(Some(value)) => {
            out.push_str(r#","result":"#);
            push_raw(&mut out, value);
        }
        Err(error) => {
            out.push_str(r#","error":"#);
            error.push_json(&mut out);
        }
    }
    out.push('}');
    out
}

/// `{"msg":"updated","methods":["3"]}`
pub fn updated(id: &str) -> String {
    [r#"{"msg":"updated","methods":["#, id, "]}"].concat()
}

/// `{"msg":"ready","subs":["s1"]}`
pub fn ready(id: &str) -> String {
    [r#"{"msg":"ready","subs":["#, id, "]}"].concat()
}

/// `{"msg":"nosub","id":"s1"}`, or with the error last.
pub fn nosub(id: &str, error: Option<&Error>) -> String {
    let mut out = String::with_capacity(32 + id.len());
    out.push_str(r#"{"msg":"nosub","id":"#);
    out.push_str(id);
    if let Some(error) = error {
        out.push_str(r#","error":"#);
        error.push_json(&mut out);
    }
    out.push('}');
    out
}

/// `{"msg":"added","collection":"users","id":"u1","fields":{...}}`; `id` is text here, `fields` a raw JSON object.
pub fn added(collection: &str, id: &str, fields: &str) -> String {
    let mut out = document("added", collection, id, fields.len());
    out.push_str(r#","fields":"#);
    out.push_str(fields);
    out.push('}');
    out
}

/// `{"msg":"changed","collection":"users","id":"u1","fields":{...}}`; as [`added`].
pub fn changed(collection: &str, id: &str, fields: &str) -> String {
    let mut out = document("changed", collection, id, fields.len());
    out.push_str(r#","fields":"#);
    out.push_str(fields);
    out.push('}');
    out
}

/// `{"msg":"removed","collection":"users","id":"u1"}`; `id` is text here.
pub fn removed(collection: &str, id: &str) -> String {
    let mut out = document("removed", collection, id, 0);
    out.push('}');
    out
}

/// The one shape of a stream event (streams.md 3): `stream` without its `stream-`, `args` a raw JSON array.
pub fn stream_changed(stream: &str, event: &str, args: &str) -> String {
    let mut out = String::with_capacity(96 + stream.len() + event.len() + args.len());
    out.push_str(r#"{"msg":"changed","collection":"stream-"#);
    push_escaped(&mut out, stream);
    out.push_str(r#"","id":"id","fields":{"eventName":"#);
    push_string(&mut out, event);
    out.push_str(r#","args":"#);
    out.push_str(args);
    out.push_str("}}");
    out
}

/// A `stream-user-presence` event, the only one of another shape: `tuple` is `[username, status, text]`, perhaps with more, as raw JSON.
pub fn presence_changed(user: &str, tuple: &str) -> String {
    let mut out = String::with_capacity(112 + 3 * user.len() + tuple.len());
    out.push_str(r#"{"msg":"changed","collection":"stream-user-presence","id":"#);
    push_string(&mut out, user);
    out.push_str(r#","fields":{"uid":"#);
    push_string(&mut out, user);
    out.push_str(r#","args":["#);
    out.push_str(tuple);
    out.push_str(r#"],"eventName":"#);
    push_string(&mut out, user);
    out.push_str("}}");
    out
}

/// The start of a document message, up to and including its id, with room for `rest_bytes` more.
fn document(msg: &str, collection: &str, id: &str, rest_bytes: usize) -> String {
    let mut out = String::with_capacity(64 + collection.len() + id.len() + rest_bytes);
    out.push_str(r#"{"msg":""#);
    out.push_str(msg);
    out.push_str(r#"","collection":"#);
    push_string(&mut out, collection);
    out.push_str(r#","id":"#);
    push_string(&mut out, id);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_have_the_key_order_of_the_contract() {
        assert_eq!(connected("a"), r#"{"msg":"connected","session":"a"}"#);
        assert_eq!(failed("1"), r#"{"msg":"failed","version":"1"}"#);
        assert_eq!(pong(Some("7")), r#"{"msg":"pong","id":7}"#);
        assert_eq!(result("\"3\"", Ok(None)), r#"{"msg":"result","id":"3"}"#);
        assert_eq!(
            result("\"3\"", Ok(Some(b"false"))),
            r#"{"msg":"result","id":"3","result":false}"#
        );
        assert_eq!(updated("\"3\""), r#"{"msg":"updated","methods":["3"]}"#);
        assert_eq!(ready("\"s\""), r#"{"msg":"ready","subs":["s"]}"#);
        assert_eq!(nosub("\"s\"", None), r#"{"msg":"nosub","id":"s"}"#);
        assert_eq!(
            added("users", "u1", r#"{"name":"b"}"#),
            r#"{"msg":"added","collection":"users","id":"u1","fields":{"name":"b"}}"#
        );
        assert_eq!(
            changed("c", "x", "{}"),
            r#"{"msg":"changed","collection":"c","id":"x","fields":{}}"#
        );
        assert_eq!(
            removed("c", "x"),
            r#"{"msg":"removed","collection":"c","id":"x"}"#
        );
        assert_eq!(
            stream_changed("notify-user", "u1/otr", "[1,{\"a\":2}]"),
            r#"{"msg":"changed","collection":"stream-notify-user","id":"id","fields":{"eventName":"u1/otr","args":[1,{"a":2}]}}"#
        );
        assert_eq!(
            presence_changed("u7", r#"["bob",1,"lunch"]"#),
            r#"{"msg":"changed","collection":"stream-user-presence","id":"u7","fields":{"uid":"u7","args":[["bob",1,"lunch"]],"eventName":"u7"}}"#
        );
    }

    #[test]
    fn a_refusal_is_the_last_key_of_nosub() {
        assert_eq!(
            nosub("5", Some(&Error::not_allowed())),
            r#"{"msg":"nosub","id":5,"error":{"isClientSafe":true,"errorType":"Meteor.Error","error":"not-allowed","message":"[not-allowed]"}}"#
        );
    }

    #[test]
    fn strings_are_escaped_where_json_demands_it() {
        let mut out = String::new();
        push_string(&mut out, "a\"\\\u{1}\n\u{7f}é\u{2028}");
        assert_eq!(out, "\"a\\\"\\\\\\u0001\\n\u{7f}é\u{2028}\"");
    }
}
