//! A member is a subscription without `status`; who is invited or banned is none, and either can change without anybody
//! joining or leaving (services.md 3.8).

use harness::{Client, Line, Product, User, Workspace, on_each_product};
use serde_json::{Value, json};

on_each_product!(
    Line::V8, &[];
    (Theirs theirs, Ours ours, All all);
    (
        whoever_has_a_status_is_refused_every_stream_of_a_private_room,
        an_invitation_tells_nothing_of_the_room_until_it_is_accepted,
        an_invitation_that_was_there_before_tells_nothing_either,
        an_accepted_invitation_opens_the_room_at_once,
        a_ban_ends_everything_at_once,
        a_ban_from_the_parent_ends_its_discussion,
        an_invitation_after_a_ban_opens_nothing,
        an_unread_counter_is_no_change_of_membership,
        words_to_the_members_reach_no_one_else,
    )
);

/// Those that are known, and one that is not.
const STATUSES: [&str; 3] = ["INVITED", "BANNED", "SUSPENDED"];

/// Makes somebody what he is in a room, announced: a pending guest for instance.
fn add(product: &Product, rid: &str, user: &User, status: &str) {
    product.ask(&json!({
        "cmd": "addMember", "rid": rid, "username": user.username, "set": {"status": status}
    }));
}

fn set_status(product: &Product, rid: &str, user: &User, status: &str) {
    product.ask(&json!({
        "cmd": "setMember", "rid": rid, "username": user.username, "set": {"status": status}
    }));
}

fn accept(product: &Product, rid: &str, user: &User) {
    product.ask(&json!({
        "cmd": "setMember", "rid": rid, "username": user.username, "unset": ["status"]
    }));
}

/// A change of the room, as everybody who follows its list of rooms gets it.
fn change_of(rid: &str) -> Value {
    let room = json!({"_id": rid, "t": "p", "lastMessage": {"msg": "for members"}});
    let change = json!({"clientAction": "updated", "room": room});
    json!({"cmd": "broadcast", "event": "watch.rooms", "args": [change]})
}

fn follow_own_rooms(product: &Product, client: &mut Client, user: &User) -> String {
    let event = format!("{}/rooms-changed", user.id);
    client.stream("notify-user", &event).expect("himself");
    // Which rooms they are is read behind `ready`.
    let own = product.room("p", &[user]);
    harness::eventually("his rooms are known", || {
        product.ask(&change_of(&own));
        product.settle(client);
        let told = client.take_events("notify-user", &event);
        told.iter()
            .any(|args| args[0] == "updated" && args[1]["_id"] == own.as_str())
            .then_some(())
    });
    event
}

fn refused(client: &mut Client, rid: &str) {
    for (stream, event) in [
        ("room-messages", rid.to_owned()),
        ("room-data", rid.to_owned()),
        ("notify-room", format!("{rid}/user-activity")),
        ("notify-room", format!("{rid}/deleteMessage")),
    ] {
        let error = client.stream(stream, &event).expect_err(stream);
        assert_eq!(error["error"], "not-allowed", "{stream} {event}: {error}");
    }
}

fn whoever_has_a_status_is_refused_every_stream_of_a_private_room(product: &Product) {
    for status in STATUSES {
        let user = product.user(&["user"]);
        let rid = product.room("p", &[]);
        add(product, &rid, &user, status);
        refused(&mut product.open(&user), &rid);
    }
}

fn an_invitation_tells_nothing_of_the_room_until_it_is_accepted(product: &Product) {
    let user = product.user(&["user"]);
    let rid = product.room("p", &[]);
    let mut client = product.open(&user);
    let event = follow_own_rooms(product, &mut client, &user);
    add(product, &rid, &user, "INVITED");
    product.settle(&mut client);
    let told = client.take_events("notify-user", &event);
    let about = |args: &Value| args[1]["_id"] == rid.as_str();
    assert!(!told.iter().any(about), "{told:?}");
    product.assert_silent(&mut client, "notify-user", &event, &change_of(&rid));

    accept(product, &rid, &user);
    client.wait_for("the new room", |message| {
        let fields = &message["fields"];
        fields["eventName"] == event && fields["args"][0] == "inserted" && about(&fields["args"])
    });
    product.assert_flows(&mut client, "notify-user", &event, &change_of(&rid));
    set_status(product, &rid, &user, "BANNED");
    product.assert_silent(&mut client, "notify-user", &event, &change_of(&rid));
}

fn an_invitation_that_was_there_before_tells_nothing_either(product: &Product) {
    for status in STATUSES {
        let user = product.user(&["user"]);
        let rid = product.room("p", &[]);
        add(product, &rid, &user, status);
        let mut client = product.open(&user);
        let event = follow_own_rooms(product, &mut client, &user);
        product.assert_silent(&mut client, "notify-user", &event, &change_of(&rid));
        accept(product, &rid, &user);
        // The room's document comes behind a look-up, and what follows waits for it.
        client.wait_for("the new room", |message| {
            let fields = &message["fields"];
            let args = &fields["args"];
            fields["eventName"] == event && args[0] == "inserted" && args[1]["_id"] == rid
        });
        product.assert_flows(&mut client, "notify-user", &event, &change_of(&rid));
    }
}

fn an_accepted_invitation_opens_the_room_at_once(product: &Product) {
    let user = product.user(&["user"]);
    let rid = product.room("p", &[]);
    let discussion = product.room_with("p", &[], &json!({"prid": rid}));
    add(product, &rid, &user, "INVITED");
    let mut client = product.open(&user);
    refused(&mut client, &rid);
    refused(&mut client, &discussion);
    accept(product, &rid, &user);
    product.settle(&mut client);
    for room in [&rid, &discussion] {
        client.stream("room-messages", room).expect("a member");
        client.stream("room-data", room).expect("a member");
        let message = Workspace::message_in(room);
        product.assert_flows(&mut client, "room-messages", room, &message);
    }
}

fn a_ban_ends_everything_at_once(product: &Product) {
    for status in STATUSES {
        let user = product.user(&["user"]);
        let rid = product.room("p", &[&user]);
        let typing = format!("{rid}/user-activity");
        let mut client = product.open(&user);
        let own = follow_own_rooms(product, &mut client, &user);
        let activity = json!({"isTyping": true, "roomId": rid, "user": "somebody"});
        let activity = json!({"cmd": "broadcast", "event": "user.activity", "args": [activity]});
        let followed = [
            ("room-messages", &rid, Workspace::message_in(&rid)),
            ("room-data", &rid, change_of(&rid)),
            ("notify-room", &typing, activity),
        ];
        for (stream, event, emit) in &followed {
            client.stream(stream, event).expect("a member");
            product.assert_flows(&mut client, stream, event, emit);
        }
        set_status(product, &rid, &user, status);
        for (stream, event, emit) in &followed {
            product.assert_ends(&mut client, stream, event, emit);
        }
        product.assert_silent(&mut client, "notify-user", &own, &change_of(&rid));
        refused(&mut client, &rid);
    }
}

fn a_ban_from_the_parent_ends_its_discussion(product: &Product) {
    let user = product.user(&["user"]);
    let parent = product.room("p", &[&user]);
    let discussion = product.room_with("p", &[], &json!({"prid": parent}));
    let mut client = product.open(&user);
    let stream = "room-messages";
    client.stream(stream, &discussion).expect("by its parent");
    set_status(product, &parent, &user, "BANNED");
    let message = Workspace::message_in(&discussion);
    product.assert_ends(&mut client, stream, &discussion, &message);
    product.assert_closed(&mut client, stream, &discussion, &message);
}

fn an_invitation_after_a_ban_opens_nothing(product: &Product) {
    let user = product.user(&["user"]);
    let rid = product.room("p", &[]);
    add(product, &rid, &user, "BANNED");
    let mut client = product.open(&user);
    refused(&mut client, &rid);
    set_status(product, &rid, &user, "INVITED");
    product.settle(&mut client);
    refused(&mut client, &rid);
}

fn an_unread_counter_is_no_change_of_membership(product: &Product) {
    let user = product.user(&["user"]);
    let rid = product.room("p", &[&user]);
    let mut client = product.open(&user);
    let event = follow_own_rooms(product, &mut client, &user);
    client.stream("room-messages", &rid).expect("a member");
    product.ask(&json!({
        "cmd": "setMember", "rid": rid, "username": user.username, "set": {"unread": 3}
    }));
    product.settle(&mut client);
    // A room that he has been in all along is not new to him.
    let told = client.take_events("notify-user", &event);
    assert!(
        !told
            .iter()
            .any(|args| args[0] == "inserted" && args[1]["_id"] == rid.as_str()),
        "{told:?}"
    );
    product.assert_flows(
        &mut client,
        "room-messages",
        &rid,
        &Workspace::message_in(&rid),
    );
    product.assert_flows(&mut client, "notify-user", &event, &change_of(&rid));
}

fn words_to_the_members_reach_no_one_else(product: &Product) {
    let users = ["member", "other", "invited", "banned"].map(|_| product.user(&["user"]));
    let [member, other, invited, banned] = &users;
    let rid = product.room("p", &[member, other]);
    add(product, &rid, invited, "INVITED");
    add(product, &rid, banned, "BANNED");
    let event = |user: &User| format!("{}/userData", user.id);
    let mut sockets = users.each_ref().map(|user| {
        let mut client = product.open(user);
        client.stream("notify-user", &event(user)).expect("himself");
        client
    });
    let write = |client: &mut Client, word: &str| {
        let params = json!([format!("{rid}/userData"), {"word": word}]);
        client
            .call("stream-notify-room-users", &params)
            .expect("never an error");
    };
    let [by_member, by_other, by_invited, by_banned] = &mut sockets;
    write(by_invited, "of a guest");
    write(by_banned, "of a stranger");
    write(by_member, "of a member");
    let word = |client: &mut Client, user: &User| {
        product.settle(client);
        let told = client.take_events("notify-user", &event(user));
        let words = told.into_iter().filter(|args| args[0]["word"].is_string());
        words.collect::<Vec<_>>()
    };
    let expected = [json!([{"word": "of a member"}])];
    assert_eq!(word(by_other, other), expected);
    assert!(word(by_member, member).is_empty());
    assert!(word(by_invited, invited).is_empty());
    assert!(word(by_banned, banned).is_empty());
}

/// Roles in a room count for its members only, whoever asks.
#[test]
fn a_role_in_a_room_counts_for_members_only() {
    let binary = env!("CARGO_BIN_EXE_ddp-edge");
    let product = Product::start(binary, Line::V8, harness::Satellites::Ours, &[]);
    let rid = product.room("p", &[]);
    let may_delete = |user: &User| {
        let params = json!([user.id, "delete-message", rid]);
        product
            .ask(&json!({"cmd": "call", "action": "authorization.hasPermission", "params": params}))
            ["result"]
            .clone()
    };
    let users = STATUSES.map(|status| (product.user(&["user"]), Some(status)));
    for (user, status) in users.iter().chain([&(product.user(&["user"]), None)]) {
        let mut set = json!({"roles": ["owner"]});
        if let Some(status) = status {
            set["status"] = json!(status);
        }
        product
            .ask(&json!({"cmd": "addMember", "rid": rid, "username": user.username, "set": set}));
        assert_eq!(may_delete(user), status.is_none(), "{status:?}");
    }
}
