//! Settings and licence decide rules: switching one is an event like any other (design.md 3.9).

use harness::{Client, Line, Product, User, Workspace, eventually, on_each_product};
use serde_json::{Value, json};

on_each_product!(
    Line::V8, &[];
    (Theirs theirs, Remembering remembering, Ours ours, All all);
    (
        anonymous_reading_comes_with_its_setting,
        anonymous_reading_ends_with_its_setting,
        canned_responses_end_with_their_setting_and_come_back_with_it,
        attributes_close_rooms_with_their_setting,
        attributes_close_rooms_with_the_licence,
    )
);

/// Tests share settings: each says first what it starts from.
fn set(product: &Product, setting: &str, value: bool) {
    product.ask(&json!({"cmd": "setSetting", "setting": setting, "value": value}));
}

fn relay(stream: &str, event: &str) -> Value {
    json!({"cmd": "relay", "stream": stream, "event": event, "args": [{"type": "changed"}]})
}

/// Waits until a question to the authorization service has this answer: it hears events in a process of its own.
fn agreed(product: &Product, action: &str, params: &Value, expected: bool) {
    let question =
        json!({"cmd": "call", "action": format!("authorization.{action}"), "params": params});
    eventually("the authorization service agrees", || {
        (product.ask(&question)["result"] == expected).then_some(())
    });
}

fn anonymous_reading_comes_with_its_setting(product: &Product) {
    let setting = "Accounts_AllowAnonymousRead";
    set(product, setting, false);
    let rid = product.room("c", &[]);
    let discussion = product.room_with("p", &[], &json!({"prid": rid}));
    let mut client = Client::open(product.gateway.port);
    for room in [&rid, &discussion] {
        client.stream("room-messages", room).expect_err("off");
    }
    set(product, setting, true);
    product.settle(&mut client);
    agreed(
        product,
        "canAccessRoom",
        &json!([{"_id": rid, "t": "c"}, null]),
        true,
    );
    for room in [&rid, &discussion] {
        client.stream("room-messages", room).expect("on by now");
    }
    set(product, setting, false);
}

fn anonymous_reading_ends_with_its_setting(product: &Product) {
    let setting = "Accounts_AllowAnonymousRead";
    set(product, setting, true);
    let rid = product.room("c", &[]);
    let discussion = product.room_with("p", &[], &json!({"prid": rid}));
    let mut client = Client::open(product.gateway.port);
    for room in [&rid, &discussion] {
        client.stream("room-messages", room).expect("on");
    }
    set(product, setting, false);
    for room in [&rid, &discussion] {
        let message = Workspace::message_in(room);
        product.assert_ends(&mut client, "room-messages", room, &message);
        product.assert_closed(&mut client, "room-messages", room, &message);
    }
}

fn canned_responses_end_with_their_setting_and_come_back_with_it(product: &Product) {
    let setting = "Canned_Responses_Enable";
    let (stream, event) = ("canned-responses", "canned-responses");
    set(product, setting, true);
    let agent = product.user(&["user", "livechat-agent"]);
    let mut client = product.open(&agent);
    client.stream(stream, event).expect("an agent");
    product.assert_flows(&mut client, stream, event, &relay(stream, event));
    set(product, setting, false);
    product.assert_ends(&mut client, stream, event, &relay(stream, event));
    product.assert_closed(&mut client, stream, event, &relay(stream, event));
    set(product, setting, true);
    product.settle(&mut client);
    client.stream(stream, event).expect("on again");
}

/// A member without the attributes that the room wants.
fn member_without_attributes(product: &Product) -> (User, String) {
    let member = product.user(&["user"]);
    let attributes = json!({"abacAttributes": [{"key": "clearance", "values": ["high"]}]});
    let rid = product.room_with("p", &[&member], &attributes);
    (member, rid)
}

fn attributes_close_rooms_with_their_setting(product: &Product) {
    set(product, "ABAC_Enabled", false);
    let (member, rid) = member_without_attributes(product);
    let mut client = product.open(&member);
    let (stream, message) = ("room-messages", Workspace::message_in(&rid));
    client.stream(stream, &rid).expect("off");
    set(product, "ABAC_Enabled", true);
    product.assert_ends(&mut client, stream, &rid, &message);
    product.assert_closed(&mut client, stream, &rid, &message);
    set(product, "ABAC_Enabled", false);
    product.settle(&mut client);
    agreed(product, "canAccessRoomId", &json!([rid, member.id]), true);
    client.stream(stream, &rid).expect("off again");
    product.assert_flows(&mut client, stream, &rid, &message);
}

/// Without the module the attributes mean nothing.
fn attributes_close_rooms_with_the_licence(product: &Product) {
    let license = |valid: bool| {
        product.ask(&json!({"cmd": "license", "valid": valid, "module": "abac"}));
    };
    let (member, rid) = member_without_attributes(product);
    let mut client = product.open(&member);
    let (stream, message) = ("room-messages", Workspace::message_in(&rid));
    license(false);
    set(product, "ABAC_Enabled", true);
    product.settle(&mut client);
    agreed(product, "canAccessRoomId", &json!([rid, member.id]), true);
    client.stream(stream, &rid).expect("no licence for it");
    license(true);
    product.assert_ends(&mut client, stream, &rid, &message);
    set(product, "ABAC_Enabled", false);
}
