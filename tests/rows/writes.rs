//! Which writes of clients are passed on, and to whom (streams.md 7.3, 4.1). Refused or not, the result is empty.

use std::slice;

use serde_json::{Value, json};

use crate::cast::{Caller, Caller::*, Cast, Stage};

/// One row: a caller's write reaches the listener in this form and all other processes, or `nobody`.
macro_rules! writes {
    (beside all services; $($rows:tt)+) => {
        writes! { Newest; $($rows)+ }
        mod in_one_process {
            use super::*;
            writes! { All; $($rows)+ }
        }
    };
    ($stage:ident; $($(#[$open:meta])? $name:ident: $writer:ident $stream:literal $event:literal $args:tt => $outcome:tt;)+) => {
        $(#[test] $(#[$open])? fn $name() {
            let outcome = writes!(@outcome $outcome);
            Stage::$stage.play(|cast| check(cast, $writer, ($stream, $event), stringify!($args), outcome));
        })+
    };
    (@outcome nobody) => { None };
    (@outcome ($listener:ident $stream:literal $event:literal)) => { Some(($listener, $stream, $event)) };
}

writes! { beside all services;
    typing_under_ones_own_name: Member "notify-room" "<private>/user-activity" ["<username>", ["user-typing"], {}] => (Colleague "notify-room" "<private>/user-activity");
    an_end_of_typing: Member "notify-room" "<private>/user-activity" ["<username>", [], {}] => (Colleague "notify-room" "<private>/user-activity");
    another_activity: Member "notify-room" "<direct>/user-activity" ["<username>", ["user-uploading"]] => (Colleague "notify-room" "<direct>/user-activity");
    typing_of_a_guest: Guest "notify-room" "<visit>/user-activity" ["Guest", ["user-typing"], {"token": "<token>"}] => (Agent "notify-room" "<visit>/user-activity");
    typing_of_a_guest_in_a_room_that_is_not_his: Guest "notify-room" "<private>/user-activity" ["Guest", ["user-typing"], {"token": "<token>"}] => nobody;
    typing_of_a_guest_with_a_wrong_token: Guest "notify-room" "<visit>/user-activity" ["Guest", ["user-typing"], {"token": "wrong"}] => nobody;
    typing_under_another_name: Member "notify-room" "<private>/user-activity" ["somebody", ["user-typing"], {}] => nobody;
    typing_without_activities: Member "notify-room" "<private>/user-activity" ["<username>", "user-typing"] => nobody;
    typing_of_a_stranger: Stranger "notify-room" "<private>/user-activity" ["<own name>", ["user-typing"], {}] => nobody;
    typing_without_a_login: Anonymous "notify-room" "<private>/user-activity" ["<username>", ["user-typing"], {}] => nobody;
    typing_where_there_is_no_room: Member "notify-room" "<missing>/user-activity" ["<username>", ["user-typing"], {}] => nobody;
    typing_in_the_old_form: Member "notify-room" "<private>/typing" ["<username>", true] => nobody;
    a_deletion_made_up: Member "notify-room" "<private>/deleteMessage" [{"_id": "m"}] => nobody;
    a_webrtc_offer_to_a_room: Member "notify-room" "<private>/webrtc" ["offer", {}] => nobody;
    a_call_to_a_colleague: Member "notify-user" "<other>/video-conference" [{"action": "call", "params": {"callId": "c", "uid": "<member>", "rid": "<private>"}}] => (Colleague "notify-user" "<self>/video-conference");
    a_call_about_a_foreign_room: Stranger "notify-user" "<other>/video-conference" [{"action": "call", "params": {"callId": "c", "uid": "<member>", "rid": "<private>"}}] => nobody;
    a_call_without_parameters: Member "notify-user" "<other>/video-conference" [{"action": "call"}] => nobody;
    a_call_with_odd_parameters: Member "notify-user" "<other>/video-conference" [{"action": "call", "params": {"callId": 5, "uid": "<member>", "rid": "<private>"}}] => nobody;
    a_call_without_a_login: Anonymous "notify-user" "<other>/video-conference" [{"action": "call", "params": {"callId": "c", "uid": "<member>", "rid": "<private>"}}] => nobody;
    a_message_made_up: Member "notify-user" "<other>/message" [{"msg": "x"}] => nobody;
    a_logout_made_up: Member "notify-user" "<other>/force_logout" [] => nobody;
    a_notification_made_up: Member "notify-user" "<other>/notification" [{"title": "x"}] => nobody;
    a_webrtc_offer_to_a_user: Member "notify-user" "<other>/webrtc" ["offer", {}] => nobody;
    otr_on_the_newest_line: Member "notify-user" "<other>/otr" ["handshake", {}] => nobody;
    a_signal_to_a_media_call: Member "notify-user" "<other>/media-calls" ["{}"] => nobody;
    a_word_to_the_members: Member "notify-room-users" "<private>/userData" [{"word": 1}] => (Colleague "notify-user" "<self>/userData");
    a_call_to_the_members: Member "notify-room-users" "<private>/video-conference" [{"word": 1}] => (Colleague "notify-user" "<self>/video-conference");
    a_word_to_the_members_under_another_key: Member "notify-room-users" "<private>/message" [{"word": 1}] => nobody;
    a_word_to_the_members_of_a_stranger: Stranger "notify-room-users" "<private>/userData" [{"word": 1}] => nobody;
    a_word_to_the_members_without_a_login: Anonymous "notify-room-users" "<private>/userData" [{"word": 1}] => nobody;
    nobody_writes_to_notify_all: Admin "notify-all" "public-settings-changed" ["updated", {}] => nobody;
    nobody_writes_to_notify_logged: Admin "notify-logged" "roles-change" [{}] => nobody;
    nobody_writes_to_room_messages: Member "room-messages" "<private>" [{"_id": "m"}] => nobody;
    nobody_writes_to_room_data: Member "room-data" "<private>" [{}] => nobody;
    nobody_writes_to_roles: Admin "roles" "roles" [{}] => nobody;
    nobody_writes_to_importers: Admin "importers" "progress" [{}] => nobody;
    nobody_writes_to_apps: Admin "apps" "apps" [[]] => nobody;
    nobody_writes_to_canned_responses: Agent "canned-responses" "canned-responses" [{}] => nobody;
    nobody_writes_to_integration_history: Admin "integrationHistory" "i" [{}] => nobody;
    nobody_writes_to_livechat_room: Guest "livechat-room" "<visit>" [{}] => nobody;
    nobody_writes_to_inquiries: Agent "livechat-inquiry-queue-observer" "public" [{}] => nobody;
    nobody_writes_to_the_log: Admin "stdout" "stdout" [{"string": "x"}] => nobody;
    nobody_writes_to_apps_engine: Admin "apps-engine" "app/added" ["a"] => nobody;
    nobody_writes_to_local: Admin "local" "anything" [1] => nobody;
    nobody_writes_to_presence: Member "user-presence" "<self>" [["x", 1]] => nobody;
    nobody_writes_to_conferences: Member "video-conference" "<call>/updated" [] => nobody;
    nobody_writes_without_an_event: Member "notify-room" "" [] => nobody;
}

mod on_7_0 {
    use super::*;

    writes! { Old;
        a_handshake: Member "notify-user" "<other>/otr" ["handshake", {"userId": "<member>"}] => (Colleague "notify-user" "<self>/otr");
        an_acknowledgement: Member "notify-user" "<other>/otr" ["acknowledge", {}] => (Colleague "notify-user" "<self>/otr");
        a_refusal: Member "notify-user" "<other>/otr" ["deny", {}] => (Colleague "notify-user" "<self>/otr");
        an_end: Member "notify-user" "<other>/otr" ["end", {}] => (Colleague "notify-user" "<self>/otr");
        another_word: Member "notify-user" "<other>/otr" ["attack", {}] => nobody;
        a_handshake_without_a_login: Anonymous "notify-user" "<other>/otr" ["handshake", {}] => nobody;
        a_webrtc_offer: Member "notify-user" "<other>/webrtc" ["offer", {}] => nobody;
        typing: Member "notify-room" "<private>/user-activity" ["<username>", ["user-typing"], {}] => (Colleague "notify-room" "<private>/user-activity");
    }

    #[test]
    fn a_handshake_while_the_setting_is_off() {
        Stage::Old.play(|cast| {
            let set = |value: bool| {
                cast.product
                    .ask(&json!({"cmd": "setSetting", "setting": "OTR_Enable", "value": value}))
            };
            set(false);
            check(
                cast,
                Member,
                ("notify-user", "<other>/otr"),
                r#"["handshake", {}]"#,
                None,
            );
            set(true);
        });
    }
}

#[test]
fn typing_is_under_the_real_name_where_the_workspace_says_so() {
    Stage::newest(|cast| {
        let set = |value: bool| {
            cast.product
                .ask(&json!({"cmd": "setSetting", "setting": "UI_Use_Real_Name", "value": value}))
        };
        set(true);
        let write = ("notify-room", "<private>/user-activity");
        let listener = Some((Colleague, write.0, write.1));
        check(
            cast,
            Member,
            write,
            r#"["<real name>", ["user-typing"]]"#,
            listener,
        );
        check(
            cast,
            Member,
            write,
            r#"["<username>", ["user-typing"]]"#,
            None,
        );
        set(false);
    });
}

#[test]
fn a_signal_to_a_media_call_goes_to_its_service() {
    Stage::newest(|cast| {
        let event = cast.fill("<other>/media-calls", Member);
        for (number, mut client) in cast.sockets(Member).into_iter().enumerate() {
            let signal = format!("{{\"number\":{number}}}");
            let answer = client.call("stream-notify-user", &json!([event, signal]));
            assert_eq!(answer, Ok(Value::Null));
            cast.product.received("the signal", |line| {
                line["call"] == "media-call.processSerializedSignal"
                    && line["args"] == json!([cast.fill("<member>", Member), signal])
            });
        }
    });
}

/// Listens with both framings, writes with both, and looks at what went out to other processes.
fn check(
    cast: &Cast,
    writer: Caller,
    (stream, event): (&str, &str),
    args: &str,
    outcome: Option<(Caller, &str, &str)>,
) {
    let own_name = cast.user(writer).map_or("nobody", |user| &user.username);
    let username = cast.fill("<username>", writer);
    let name = username[..1].to_uppercase() + &username[1..];
    let args = args
        .replace("<own name>", own_name)
        .replace("<real name>", &name);
    let args: Value = serde_json::from_str(&cast.fill(&args, writer)).expect("a row is JSON");
    let event = cast.fill(event, writer);
    let heard = outcome.map(|(listener, stream, event)| (stream, cast.fill(event, listener)));
    let mut listeners = Vec::new();
    if let (Some((listener, ..)), Some((stream, event))) = (outcome, &heard) {
        listeners = cast.sockets(listener).into();
        for client in &mut listeners {
            let answer = client.stream_with(stream, event, &cast.extra(listener));
            answer.expect("the listener may listen");
        }
    }
    let before = received(cast, 0).len();
    let mut params = vec![json!(event)];
    params.extend(args.as_array().expect("a list").iter().cloned());
    let mut writers = cast.sockets(writer);
    for client in &mut writers {
        let answer = client.call(&format!("stream-{stream}"), &json!(params));
        assert_eq!(answer, Ok(Value::Null), "{stream} {event}");
        // One after the other: of what a user types only the last is told where it comes faster than five times a second.
        let Some((stream, event)) = &heard else {
            continue;
        };
        for client in &mut listeners {
            let got = harness::eventually("the listener hears it", || {
                cast.product.settle(client);
                let mut got = client.take_events(stream, event);
                // That he has come online is told there too.
                got.retain(|args| args[0]["diff"]["status"].is_null());
                Some(got).filter(|got| !got.is_empty())
            });
            assert_eq!(got, slice::from_ref(&args), "{stream} {event}");
        }
    }
    let is_relay =
        |line: &Value| line["event"] == "stream" && line["from"] == cast.product.gateway.node;
    let Some((_, event)) = heard else {
        // What was passed on would have gone out before the answer.
        let relays: Vec<_> = received(cast, before)
            .into_iter()
            .filter(is_relay)
            .collect();
        assert!(relays.is_empty(), "{stream} {event}: {relays:?}");
        return;
    };
    harness::eventually("both relays", || {
        let lines = received(cast, before).into_iter();
        let relays =
            lines.filter(|line| is_relay(line) && line.to_string().contains(event.as_str()));
        (relays.count() >= 2).then_some(())
    });
}

fn received(cast: &Cast, from: usize) -> Vec<Value> {
    let mut reply = cast.product.ask(&json!({"cmd": "received", "from": from}));
    reply["received"]
        .as_array_mut()
        .map(std::mem::take)
        .unwrap_or_default()
}
