//! From text to [`ClientMessage`], in one pass and without a tree.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::value::RawValue;

use super::{ejson, message::ClientMessage, scan};
use crate::{close::CloseReason, limits::Limits};

/// Reads one DDP message.
///
/// # Errors
///
/// The connection ends: `UnsupportedData` for what is no JSON and for `null`, `TooDeep`, and `MalformedMessage` for a message
/// that lacks its id or name, `IdTooLong`.
pub fn decode<'a>(text: &'a str, limits: &Limits) -> Result<ClientMessage<'a>, CloseReason> {
    if !scan::is_within_depth(text, limits.json_depth) {
        return Err(CloseReason::TooDeep);
    }
    let flat: Flat<'a> = serde_json::from_str(text).map_err(|_| CloseReason::UnsupportedData)?;
    let id = || {
        let id = truthy_id(flat.id).ok_or(CloseReason::MalformedMessage)?;
        if id.len() > limits.name_bytes {
            return Err(CloseReason::IdTooLong);
        }
        Ok(id)
    };
    let name = |raw| name(raw, limits).ok_or(CloseReason::MalformedMessage);
    let params = || {
        flat.params
            .map_or(Ok("[]"), |raw| ejson::check_params(raw.get()))
    };
    Ok(
        match flat.msg.and_then(|raw| ejson::string(raw.get())).as_deref() {
            Some("connect") => ClientMessage::Connect {
                version: flat.version.and_then(|raw| ejson::string(raw.get())),
                support: flat.support.and_then(|raw| strings(raw.get())),
                has_session: is_given(flat.session),
                has_count: is_given(flat.received_count),
            },
            Some("ping") => ClientMessage::Ping {
                // Echoed and forgotten, so of any length.
                id: truthy_id(flat.id),
            },
            Some("pong") => ClientMessage::Pong,
            Some("method") => ClientMessage::Method {
                id: id()?,
                name: name(flat.method)?,
                params: params(),
            },
            Some("sub") => ClientMessage::Sub {
                id: id()?,
                name: name(flat.name)?,
                params: params(),
            },
            Some("unsub") => ClientMessage::Unsub { id: id()? },
            Some("disconnect") => ClientMessage::Disconnect,
            _ => ClientMessage::Other,
        },
    )
}

/// The id as raw JSON; `None` where JavaScript takes it for false.
fn truthy_id(raw: Option<&RawValue>) -> Option<&str> {
    let raw = raw?.get();
    let falsy = matches!(raw, "null" | "false" | r#""""#) || raw.parse::<f64>() == Ok(0.0);
    (!falsy).then_some(raw)
}

/// A name that is text, neither empty nor too long.
fn name<'a>(raw: Option<&'a RawValue>, limits: &Limits) -> Option<Cow<'a, str>> {
    ejson::lossy_string(raw?.get()).filter(|name| (1..=limits.name_bytes).contains(&name.len()))
}

/// All elements of an array of strings.
fn strings(raw: &str) -> Option<Vec<Cow<'_, str>>> {
    if !raw.starts_with('[') {
        return None;
    }
    ejson::elements(raw).map(ejson::string).collect()
}

fn is_given(raw: Option<&RawValue>) -> bool {
    raw.is_some_and(|raw| raw.get() != "null")
}

/// All fields of all client messages. A tagged enum cannot hold raw values, and a derived `Deserialize` refuses a key
/// that occurs twice, where JavaScript takes the last.
#[derive(Default)]
struct Flat<'a> {
    msg: Option<&'a RawValue>,
    id: Option<&'a RawValue>,
    method: Option<&'a RawValue>,
    name: Option<&'a RawValue>,
    params: Option<&'a RawValue>,
    version: Option<&'a RawValue>,
    support: Option<&'a RawValue>,
    session: Option<&'a RawValue>,
    received_count: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "camelCase")]
enum Key {
    Msg,
    Id,
    Method,
    Name,
    Params,
    Version,
    Support,
    Session,
    ReceivedCount,
    #[serde(other)]
    Other,
}

impl<'a> Deserialize<'a> for Flat<'a> {
    fn deserialize<D: Deserializer<'a>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;

        impl<'a> Visitor<'a> for Object {
            type Value = Flat<'a>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a DDP message")
            }

            // Other JSON is a message without `msg` (gateway.md 1.4).
            fn visit_bool<E>(self, _: bool) -> Result<Flat<'a>, E> {
                Ok(Flat::default())
            }

            fn visit_i64<E>(self, _: i64) -> Result<Flat<'a>, E> {
                Ok(Flat::default())
            }

            fn visit_u64<E>(self, _: u64) -> Result<Flat<'a>, E> {
                Ok(Flat::default())
            }

            fn visit_f64<E>(self, _: f64) -> Result<Flat<'a>, E> {
                Ok(Flat::default())
            }

            fn visit_str<E>(self, _: &str) -> Result<Flat<'a>, E> {
                Ok(Flat::default())
            }

            fn visit_seq<A: SeqAccess<'a>>(self, mut seq: A) -> Result<Flat<'a>, A::Error> {
                while seq.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Flat::default())
            }

            fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<Flat<'a>, A::Error> {
                let mut flat = Flat::default();
                while let Some(key) = map.next_key()? {
                    let field = match key {
                        Key::Msg => &mut flat.msg,
                        Key::Id => &mut flat.id,
                        Key::Method => &mut flat.method,
                        Key::Name => &mut flat.name,
                        Key::Params => &mut flat.params,
                        Key::Version => &mut flat.version,
                        Key::Support => &mut flat.support,
                        Key::Session => &mut flat.session,
                        Key::ReceivedCount => &mut flat.received_count,
                        Key::Other => {
                            map.next_value::<IgnoredAny>()?;
                            continue;
                        }
                    };
                    *field = Some(map.next_value()?);
                }
                Ok(flat)
            }
        }

        deserializer.deserialize_any(Object)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ddp::Refused;

    fn check(text: &str, expected: Result<ClientMessage<'_>, CloseReason>) {
        assert_eq!(decode(text, &Limits::default()), expected, "{text}");
    }

    fn method<'a>(
        id: &'a str,
        params: Result<&'a str, Refused>,
    ) -> Result<ClientMessage<'a>, CloseReason> {
        Ok(ClientMessage::Method {
            id,
            name: "m".into(),
            params,
        })
    }

    #[test]
    fn reads_every_message_of_a_client() {
        check(
            r#"{"msg":"connect","version":"1","support":["1","pre2"],"session":"x","receivedCount":3}"#,
            Ok(ClientMessage::Connect {
                version: Some("1".into()),
                support: Some(vec!["1".into(), "pre2".into()]),
                has_session: true,
                has_count: true,
            }),
        );
        check(
            r#"{"msg":"connect","version":1,"support":["1",2],"session":null}"#,
            Ok(ClientMessage::Connect {
                version: None,
                support: None,
                has_session: false,
                has_count: false,
            }),
        );
        check(r#"{"msg":"ping"}"#, Ok(ClientMessage::Ping { id: None }));
        check(
            r#"{"msg":"ping","id":""}"#,
            Ok(ClientMessage::Ping { id: None }),
        );
        check(
            r#"{"msg":"ping","id": 7 }"#,
            Ok(ClientMessage::Ping { id: Some("7") }),
        );
        check(r#"{"msg":"pong","id":"7"}"#, Ok(ClientMessage::Pong));
        check(
            r#"{"msg":"method","method":"m","id":"1","params":[1, 2]}"#,
            method("\"1\"", Ok("[1, 2]")),
        );
        check(
            r#"{"msg":"sub","name":"s","id":"1","params":[]}"#,
            Ok(ClientMessage::Sub {
                id: "\"1\"",
                name: "s".into(),
                params: Ok("[]"),
            }),
        );
        check(
            r#"{"msg":"unsub","id":"1"}"#,
            Ok(ClientMessage::Unsub { id: "\"1\"" }),
        );
        check(r#"{"msg":"disconnect"}"#, Ok(ClientMessage::Disconnect));
        for other in [
            "{}",
            r#"{"msg":5}"#,
            r#"{"msg":"what"}"#,
            r#"{"msg":"\ud800"}"#,
            r#"{"id":1}"#,
            "5",
            "true",
            "\"x\"",
            " [1]",
        ] {
            check(other, Ok(ClientMessage::Other));
        }
    }

    #[test]
    fn a_plain_message_is_borrowed() {
        let message = decode(
            r#"{"msg":"method","method":"m","id":"1"}"#,
            &Limits::default(),
        );
        assert!(matches!(
            message,
            Ok(ClientMessage::Method {
                name: Cow::Borrowed(_),
                ..
            })
        ));
    }

    #[test]
    fn the_last_of_two_equal_keys_wins() {
        check(
            r#"{"msg":"what","method":"x","id":1,"id":2,"method":"m","\u006dsg":"method"}"#,
            method("2", Ok("[]")),
        );
    }

    #[test]
    fn params_may_be_missing_but_must_be_an_array_of_plain_values() {
        check(
            r#"{"msg":"method","method":"m","id":1}"#,
            method("1", Ok("[]")),
        );
        check(
            r#"{"msg":"method","method":"m","id":1,"params":null}"#,
            method("1", Err(Refused::ParamsNotAnArray)),
        );
        check(
            r#"{"msg":"method","method":"m","id":1,"params":[{"$type":"t","$value":0}]}"#,
            method("1", Err(Refused::Undecodable)),
        );
    }

    #[test]
    fn falsy_ids_and_names_that_are_no_text_end_the_connection() {
        for id in ["0", "-0", "0.0e5", "\"\"", "null", "false"] {
            for rest in [
                r#""msg":"method","method":"m""#,
                r#""msg":"sub","name":"s""#,
                r#""msg":"unsub""#,
            ] {
                check(
                    &format!(r#"{{{rest},"id":{id}}}"#),
                    Err(CloseReason::MalformedMessage),
                );
            }
        }
        for name in [
            "",
            r#","method":5"#,
            r#","method":"""#,
            r#","method":null"#,
            r#","name":"m""#,
        ] {
            check(
                &format!(r#"{{"msg":"method","id":"1"{name}}}"#),
                Err(CloseReason::MalformedMessage),
            );
        }
        check(r#"{"msg":"unsub"}"#, Err(CloseReason::MalformedMessage));
    }

    #[test]
    fn half_a_surrogate_pair_makes_an_odd_name_and_no_end() {
        for (half, name) in [
            (r"\ud83dx", "\u{fffd}x"),
            (r"x\ude00\ud83d\ude00", "x\u{fffd}\u{1f600}"),
        ] {
            let text = format!(r#"{{"msg":"method","id":"1","method":"{half}"}}"#);
            match decode(&text, &Limits::default()) {
                Ok(ClientMessage::Method { name: found, .. }) => assert_eq!(found, name),
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn ids_and_names_have_a_length() {
        let long = "x".repeat(Limits::default().name_bytes + 1);
        check(
            &format!(r#"{{"msg":"method","id":"1","method":"{long}"}}"#),
            Err(CloseReason::MalformedMessage),
        );
        check(
            &format!(r#"{{"msg":"unsub","id":"{long}"}}"#),
            Err(CloseReason::IdTooLong),
        );
        let id = format!("\"{long}\"");
        check(
            &format!(r#"{{"msg":"ping","id":{id}}}"#),
            Ok(ClientMessage::Ping { id: Some(&id) }),
        );
    }

    #[test]
    fn what_is_no_json_is_unsupported() {
        for text in [
            "",
            " ",
            "null",
            "[1",
            "{",
            r#"{"msg":"ping""#,
            "{}x",
            "{\"a\":1,}",
        ] {
            check(text, Err(CloseReason::UnsupportedData));
        }
    }

    #[test]
    fn depth_is_limited_but_brackets_in_strings_are_text() {
        let nest = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        let depth_max = Limits::default().json_depth;
        let deepest = nest(depth_max - 1);
        check(
            &format!(r#"{{"msg":"method","method":"m","id":1,"params":{deepest}}}"#),
            method("1", Ok(&deepest)),
        );
        let deeper = nest(depth_max);
        check(
            &format!(r#"{{"msg":"method","method":"m","id":1,"params":{deeper}}}"#),
            Err(CloseReason::TooDeep),
        );
        let text = format!(r#"["{}\"{deeper}"]"#, "{".repeat(99));
        check(
            &format!(r#"{{"msg":"method","method":"m","id":1,"params":{text}}}"#),
            method("1", Ok(&text)),
        );
    }
}
