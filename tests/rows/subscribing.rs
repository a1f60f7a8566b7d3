//! The forms of a subscription (streams.md 2 and 12): what stands behind the event's name, and event names that are none.

use serde_json::{Value, json};

use crate::cast::{Caller, Stage};

/// What a subscription with these parameters gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Ready,
    /// A document of the collection, then `ready`.
    Document,
    /// `nosub` with this error.
    Error(&'static str),
}
use Answer::{Document, Error, Ready};

macro_rules! forms {
    ($($name:ident: $params:tt => $answer:expr;)+) => {
        $(#[test] fn $name() { check(&json!($params), $answer); })+
    };
}

forms! {
    an_event_alone: ["x"] => Ready;
    true_is_the_collection: ["x", true] => Document;
    false_is_no_collection: ["x", false] => Ready;
    options_with_the_collection: ["x", {"useCollection": true, "args": []}] => Document;
    options_without_the_collection: ["x", {"useCollection": false, "args": []}] => Ready;
    options_without_anything: ["x", {}] => Ready;
    options_without_args: ["x", {"useCollection": false}] => Ready;
    args_of_the_ddp_client: ["x", {"useCollection": false, "args": [null]}] => Ready;
    args_of_the_sdk: ["x", {"useCollection": false, "args": [false]}] => Ready;
    null_args: ["x", {"args": null}] => Ready;
    false_args: ["x", {"args": false}] => Ready;
    zero_args: ["x", {"args": 0}] => Ready;
    empty_text_args: ["x", {"args": ""}] => Ready;
    number_args: ["x", {"args": 5}] => Error("500");
    text_args: ["x", {"args": "abc"}] => Ready;
    object_args: ["x", {"args": {"token": "t"}}] => Error("500");
    true_args: ["x", {"args": true}] => Error("500");
    null_options: ["x", null] => Error("500");
    an_empty_event: ["", {"args": []}] => Error("invalid-event-name");
    a_number_for_an_event: [5, {"args": []}] => Error("500");
    an_object_for_an_event: [{"a": 1}, {"args": []}] => Error("500");
    a_list_for_an_event: [["x"], {"args": []}] => Error("500");
    null_for_an_event: [null, {"args": []}] => Error("500");
    no_event: [] => Error("500");

}

#[test]
fn an_event_that_is_too_long() {
    check(&json!(["x".repeat(1_025)]), Error("invalid-event-name"));
}

fn check(params: &Value, expected: Answer) {
    Stage::newest(|cast| {
        for mut client in cast.sockets(Caller::Anonymous) {
            let sub =
                json!({"msg": "sub", "id": "s", "name": "stream-notify-all", "params": params});
            client.send(&sub);
            let mut document = false;
            let answer = loop {
                let message = client.next_message();
                match message["msg"].as_str() {
                    Some("added") => {
                        let fields = json!({"eventName": params[0]});
                        let whole = json!({"msg": "added", "collection": "stream-notify-all", "id": "id", "fields": fields});
                        assert_eq!(message, whole);
                        document = true;
                    }
                    Some("ready" | "nosub") => break message,
                    // The greeting has no `msg`.
                    _ => {}
                }
            };
            match expected {
                Ready => assert_eq!(answer, json!({"msg": "ready", "subs": ["s"]})),
                Document => assert!(document && answer["msg"] == "ready", "{answer}"),
                Error(code) => {
                    let error = &answer["error"]["error"];
                    let text = error
                        .as_str()
                        .map_or_else(|| error.to_string(), str::to_owned);
                    assert_eq!(text, code, "{answer}");
                }
            }
            assert_eq!(document, expected == Document);
        }
    });
}
