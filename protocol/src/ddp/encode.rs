//! The server's messages, with the key order of gateway.md 2.3.
//!
//! `id`s of calls and subscriptions are raw JSON as the client sent them; `fields`, `args` and results are raw JSON too.

use super::Error;

/// `{"msg":"connected","session":"..."}`
pub fn connected(session: &str) -> String {
    let _ = session;
    todo!()
}

/// `{"msg":"failed","version":"1"}`: the version we would have liked.
pub fn failed(version: &str) -> String {
    let _ = version;
    todo!()
}

/// `{"msg":"ping"}`
pub fn ping() -> String {
    todo!()
}

/// `{"msg":"pong","id":"7"}`
pub fn pong(id: Option<&str>) -> String {
    let _ = id;
    todo!()
}

/// `{"msg":"result","id":"3","result":...}`; the key is left out only where there is no value at all.
pub fn result(id: &str, outcome: Result<Option<&[u8]>, &Error>) -> String {
    let _ = (id, outcome);
    todo!()
}

/// `{"msg":"updated","methods":["3"]}`
pub fn updated(id: &str) -> String {
    let _ = id;
    todo!()
}

/// `{"msg":"ready","subs":["s1"]}`
pub fn ready(id: &str) -> String {
    let _ = id;
    todo!()
}

/// `{"msg":"nosub","id":"s1"}`, or with the error last.
pub fn nosub(id: &str, error: Option<&Error>) -> String {
    let _ = (id, error);
    todo!()
}

/// `{"msg":"added","collection":"users","id":"u1","fields":{...}}`
pub fn added(collection: &str, id: &str, fields: &str) -> String {
    let _ = (collection, id, fields);
    todo!()
}

/// `{"msg":"changed","collection":"users","id":"u1","fields":{...}}`
pub fn changed(collection: &str, id: &str, fields: &str) -> String {
    let _ = (collection, id, fields);
    todo!()
}

/// `{"msg":"removed","collection":"users","id":"u1"}`
pub fn removed(collection: &str, id: &str) -> String {
    let _ = (collection, id);
    todo!()
}

/// The one shape of a stream event (streams.md 3): `stream` without its `stream-`, `args` a raw JSON array.
pub fn stream_changed(stream: &str, event: &str, args: &[u8]) -> String {
    let _ = (stream, event, args);
    todo!()
}

/// A `stream-user-presence` event, the only one of another shape: `tuple` is `[username, status, text]` as raw JSON.
pub fn presence_changed(user: &str, tuple: &[u8]) -> String {
    let _ = (user, tuple);
    todo!()
}
