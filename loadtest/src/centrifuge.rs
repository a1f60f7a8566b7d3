//! DDP messages in the JSON protocol of Centrifuge and back, so that one client speaks both.
//!
//! | DDP | Centrifuge |
//! |---|---|
//! | `connect`, and `login` with it | `connect` with a token |
//! | `sub` of a stream's key | `subscribe` to the channel `<stream>/<key>` |
//! | `ping`, which clients have no other way to send | `rpc` |
//! | a server's `ping` | the empty object, and so is its answer |
//!
//! A publication's data is a whole DDP message.

use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

const CONNECT: u64 = 1;
/// Commands are numbered, in 32 bits; the second number is that of a subscription called `s0`.
const SUBSCRIBE: u64 = 2;
const PING: u64 = 1 << 20;

/// The command for a DDP message; `None` where there is nothing to say.
pub(crate) fn command(message: &Value) -> Option<String> {
    let number = |id: &Value, prefix: &str| -> Option<u64> {
        id.as_str()?.strip_prefix(prefix)?.parse().ok()
    };
    let command = match message["msg"].as_str()? {
        "connect" => json!({ "id": CONNECT, "connect": { "token": "token" } }),
        "sub" => {
            let channel = format!(
                "{}/{}",
                message["name"].as_str()?,
                message["params"][0].as_str()?
            );
            let id = SUBSCRIBE + number(&message["id"], "s")?;
            json!({ "id": id, "subscribe": { "channel": channel } })
        }
        "ping" => {
            let id = PING + number(&message["id"], "")?;
            json!({ "id": id, "rpc": { "method": "ping", "data": {} } })
        }
        "pong" => json!({}),
        _ => return None,
    };
    Some(command.to_string())
}

#[derive(Deserialize)]
struct Reply<'a> {
    #[serde(default)]
    id: u64,
    error: Option<Value>,
    #[serde(borrow)]
    push: Option<Push<'a>>,
}

#[derive(Deserialize)]
struct Push<'a> {
    #[serde(borrow, rename = "pub")]
    publication: Option<Publication<'a>>,
}

#[derive(Deserialize)]
struct Publication<'a> {
    #[serde(borrow)]
    data: &'a RawValue,
}

/// The DDP messages that a frame stands for.
pub(crate) fn messages(frame: &str) -> Result<Vec<String>> {
    let mut messages = Vec::new();
    for line in frame.lines() {
        let Reply { id, error, push } =
            serde_json::from_str(line).with_context(|| format!("bad reply {line}"))?;
        if let Some(push) = push {
            messages.extend(push.publication.map(|it| it.data.get().to_owned()));
            continue;
        }
        let answers = match (id, error) {
            (0, _) => vec![json!({"msg":"ping"})],
            (CONNECT, None) => vec![
                json!({"msg":"connected","session":"session"}),
                json!({"msg":"result","id":"login"}),
            ],
            (CONNECT, Some(error)) => vec![json!({"msg":"failed","error":error})],
            (PING.., _) => vec![json!({"msg":"pong","id":(id - PING).to_string()})],
            (id, None) => vec![json!({"msg":"ready","subs":[format!("s{}", id - SUBSCRIBE)]})],
            (id, Some(error)) => {
                vec![json!({"msg":"nosub","id":format!("s{}", id - SUBSCRIBE),"error":error})]
            }
        };
        messages.extend(answers.iter().map(Value::to_string));
    }
    Ok(messages)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_message_of_a_client_becomes_its_command() {
        let check = |message: Value, expected: Option<&str>| {
            assert_eq!(command(&message).as_deref(), expected)
        };
        check(
            json!({"msg":"sub","id":"s3","name":"stream-room-messages","params":["room-1",{}]}),
            Some(r#"{"id":5,"subscribe":{"channel":"stream-room-messages/room-1"}}"#),
        );
        check(json!({"msg":"method","id":"login","method":"login"}), None);
        check(json!({"msg":"pong"}), Some("{}"));
    }

    #[test]
    fn replies_and_publications_become_what_a_gateway_would_say() {
        let frame = concat!(
            r#"{"id":1,"connect":{"client":"c"}}"#,
            "\n",
            r#"{"id":2,"subscribe":{}}"#,
            "\n",
            r#"{"id":3,"error":{"code":103}}"#,
            "\n",
            r#"{"push":{"channel":"c","pub":{"data":{"msg":"changed"}}}}"#,
            "\n{}"
        );
        let expected = [
            r#"{"msg":"connected","session":"session"}"#,
            r#"{"id":"login","msg":"result"}"#,
            r#"{"msg":"ready","subs":["s0"]}"#,
            r#"{"error":{"code":103},"id":"s1","msg":"nosub"}"#,
            r#"{"msg":"changed"}"#,
            r#"{"msg":"ping"}"#,
        ];
        assert_eq!(messages(frame).unwrap(), expected);
        let pinged = command(&json!({"msg":"ping","id":"7"})).unwrap();
        let id = serde_json::from_str::<Value>(&pinged).unwrap()["id"].clone();
        let answer = json!({ "id": id, "rpc": {} }).to_string();
        assert_eq!(messages(&answer).unwrap(), [r#"{"id":"7","msg":"pong"}"#]);
    }
}
