//! The lines of Rocket.Chat: each announces other actions and speaks another relay form, and rooms open on all of them
//! (streams.md 12).

use harness::{
    Client, Line, NodeProcess, Product, Satellites, User, Workspace, eventually, on_each_product,
};
use serde_json::{Value, json};

mod v5 {
    use super::*;

    on_each_product!(Line::V5, &[]; (Theirs theirs); (
        members_and_readers_of_public_rooms_get_messages,
        who_may_neither_join_nor_preview_is_refused,
        anonymous_readers_need_the_setting,
        a_preview_alone_opens_public_rooms,
        access_alone_opens_public_rooms,
        otr_events_reach_the_room,
        typing_is_relayed_as_a_list,
    ));
    on_each_product!(Line::V5, &[]; (Ours ours); (
        members_and_readers_of_public_rooms_get_messages,
        who_may_neither_join_nor_preview_is_refused,
        anonymous_readers_need_the_setting,
    ));
}

mod v6_14 {
    use super::*;

    on_each_product!(Line::V6_14, &[]; (Theirs theirs); (
        members_and_readers_of_public_rooms_get_messages,
        who_may_neither_join_nor_preview_is_refused,
        anonymous_readers_need_the_setting,
        a_preview_alone_opens_public_rooms,
        access_alone_opens_public_rooms,
        otr_events_reach_the_room,
        typing_is_relayed_as_a_list,
    ));
    on_each_product!(Line::V6_14, &[]; (All all); (
        members_and_readers_of_public_rooms_get_messages,
        who_may_neither_join_nor_preview_is_refused,
        anonymous_readers_need_the_setting,
    ));
}

mod late_7 {
    use super::*;

    on_each_product!(Line::Late7, &[]; (Theirs theirs); (
        members_and_readers_of_public_rooms_get_messages,
        who_may_neither_join_nor_preview_is_refused,
        anonymous_readers_need_the_setting,
        access_without_a_preview_opens_no_public_room,
        otr_events_reach_the_room,
        typing_is_relayed_as_a_list,
    ));
}

mod v8 {
    use super::*;

    on_each_product!(Line::V8, &[]; (Theirs theirs); (
        members_and_readers_of_public_rooms_get_messages,
        who_may_neither_join_nor_preview_is_refused,
        anonymous_readers_need_the_setting,
        access_without_a_preview_opens_no_public_room,
        typing_is_relayed_as_an_object_once_the_monolith_has_shown_it,
    ));
    on_each_product!(Line::V8, &[]; (Ours ours, All all); (
        members_and_readers_of_public_rooms_get_messages,
        who_may_neither_join_nor_preview_is_refused,
        anonymous_readers_need_the_setting,
        access_without_a_preview_opens_no_public_room,
    ));
}

fn refused(client: &mut Client, rid: &str) {
    let error = client.stream("room-messages", rid).expect_err("refused");
    assert_eq!(error["error"], "not-allowed", "{error}");
}

fn members_and_readers_of_public_rooms_get_messages(product: &Product) {
    let (member, reader) = (product.user(&["user"]), product.user(&["user"]));
    let (private, public) = (product.room("p", &[&member]), product.room("c", &[&member]));
    let mut inside = product.open(&member);
    for rid in [&private, &public] {
        inside.stream("room-messages", rid).expect("a member");
        let message = Workspace::message_in(rid);
        product.assert_flows(&mut inside, "room-messages", rid, &message);
    }
    let mut outside = product.open(&reader);
    outside.stream("room-messages", &public).expect("public");
    product.assert_flows(
        &mut outside,
        "room-messages",
        &public,
        &Workspace::message_in(&public),
    );
    refused(&mut outside, &private);
    refused(&mut outside, "no-such-room");
}

fn who_may_neither_join_nor_preview_is_refused(product: &Product) {
    let outsider = product.user(&["outsider"]);
    let public = product.room("c", &[]);
    refused(&mut product.open(&outsider), &public);
}

fn anonymous_readers_need_the_setting(product: &Product) {
    let (public, private) = (product.room("c", &[]), product.room("p", &[]));
    let mut anonymous = Client::open(product.gateway.port);
    refused(&mut anonymous, &public);
    let set = |value: bool| {
        let setting = "Accounts_AllowAnonymousRead";
        product.ask(&json!({"cmd": "setSetting", "setting": setting, "value": value}));
    };
    set(true);
    eventually("anonymous readers are let in", || {
        anonymous.stream("room-messages", &public).ok()
    });
    let message = Workspace::message_in(&public);
    product.assert_flows(&mut anonymous, "room-messages", &public, &message);
    refused(&mut anonymous, &private);
    set(false);
}

/// Up to 7.0 a user without access may still look into a public room, never into a private one.
fn a_preview_alone_opens_public_rooms(product: &Product) {
    let previewer = product.user(&["previewer"]);
    let (public, private) = (product.room("c", &[]), product.room("p", &[]));
    let mut client = product.open(&previewer);
    client.stream("room-messages", &public).expect("a preview");
    let message = Workspace::message_in(&public);
    product.assert_flows(&mut client, "room-messages", &public, &message);
    refused(&mut client, &private);
    // Access is another matter.
    client.stream("room-data", &public).expect_err("no access");
}

/// Up to 7.0 access is enough.
fn access_alone_opens_public_rooms(product: &Product) {
    let joiner = product.user(&["joiner"]);
    let public = product.room("c", &[]);
    let mut client = product.open(&joiner);
    client.stream("room-messages", &public).expect("access");
}

/// Later `canReadRoom` wants both of those who are not in the room.
fn access_without_a_preview_opens_no_public_room(product: &Product) {
    let public = product.room("c", &[]);
    for role in ["joiner", "previewer"] {
        refused(&mut product.open(&product.user(&[role])), &public);
    }
}

fn otr_events_reach_the_room(product: &Product) {
    let member = product.user(&["user"]);
    let rid = product.room("d", &[&member]);
    let mut client = product.open(&member);
    client.stream("room-messages", &rid).expect("a member");
    let (message, user, room) = (
        json!({"_id": "m"}),
        json!({"_id": "u"}),
        json!({"_id": rid}),
    );
    let told = json!({"roomId": rid, "message": message, "user": user, "room": room});
    product.broadcast("otrMessage", &json!([told]));
    let acknowledged = json!({"_id": "a"});
    let told = json!({"roomId": rid, "acknowledgeMessage": acknowledged});
    product.broadcast("otrAckUpdate", &json!([told]));
    product.settle(&mut client);
    assert_eq!(
        client.take_events("room-messages", &rid),
        [json!([message, user, room]), json!([acknowledged])]
    );
}

/// Has a member type and returns the relay as the monolith received it.
fn relay_of_typing(product: &Product, member: &User, rid: &str) -> Value {
    let event = format!("{rid}/user-activity");
    let params = json!([event, member.username, ["user-typing"], {}]);
    let mut client = product.open(member);
    client
        .call("stream-notify-room", &params)
        .expect("a member");
    let relay = product.received("the relay", |line| {
        line["event"] == "stream" && line["args"].to_string().contains(&event)
    });
    relay["args"][0].clone()
}

fn typing_is_relayed_as_a_list(product: &Product) {
    let member = product.user(&["user"]);
    let rid = product.room("p", &[&member]);
    let relay = relay_of_typing(product, &member, &rid);
    let event = format!("{rid}/user-activity");
    let args = json!([member.username, ["user-typing"], {}]);
    assert_eq!(relay, json!(["notify-room", event, args]));
}

fn typing_is_relayed_as_an_object_once_the_monolith_has_shown_it(product: &Product) {
    let member = product.user(&["user"]);
    let rid = product.room("p", &[&member]);
    // One might be an odd one.
    for _ in 0..3 {
        product.settle(&mut Client::open(product.gateway.port));
    }
    let relay = relay_of_typing(product, &member, &rid);
    assert_eq!(relay["stream"], "notify-room", "{relay}");
    assert_eq!(relay["eventName"], format!("{rid}/user-activity"));
    assert_eq!(relay["args"][0], member.username);
    assert!(relay["origin"].is_string(), "{relay}");
}

/// While an upgrade is under way both are there.
#[test]
fn an_object_of_a_newer_monolith_does_not_change_the_form_for_an_older_one() {
    let binary = env!("CARGO_BIN_EXE_ddp-edge");
    let product = &Product::start(binary, Line::V6_14, Satellites::Theirs, &[]);
    let member = product.user(&["user"]);
    let rid = product.room("p", &[&member]);
    let (nats, mongo) = (product.nats.url(), product.mongo_url());
    let environment = [("TRANSPORTER", nats.as_str()), ("MONGO_URL", &mongo)];
    let arguments = ["--line", "8.x", "--services", "settings,license,meteor"];
    let mut newer = NodeProcess::start("monolith.js", &arguments, &environment);
    newer.ask(&json!({"cmd": "waitForServices", "names": ["streamer"]}));
    let mut witness = Client::open(product.gateway.port);
    witness
        .stream("notify-all", "shown")
        .expect("for everybody");
    newer.ask(&json!({"cmd": "relay", "stream": "notify-all", "event": "shown"}));
    witness.event("notify-all", "shown");
    let relay = relay_of_typing(product, &member, &rid);
    assert!(relay.is_array(), "a 6.14 peer throws: {relay}");
    newer.ask(&json!({"cmd": "stop"}));
    newer.wait_for_end();
}

/// 5.0 has another name for it.
#[test]
fn the_licence_is_asked_for_with_the_action_that_the_line_offers() {
    let binary = env!("CARGO_BIN_EXE_ddp-edge");
    let checks = [("LICENSE_CHECK_INTERVAL", "0.5")];
    let product = Product::start(binary, Line::V5, Satellites::All, &checks);
    product.received("a licence check", |line| {
        line["call"] == "license.hasLicense" && line["args"][0] == "scalability"
    });
    product.settle(&mut Client::open(product.gateway.port));
}
