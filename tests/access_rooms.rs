//! Rooms: what opens a room may be another room, a team, or its type; whoever loses that loses the data (design.md 3.9).

use harness::{Client, Line, Product, User, Workspace, on_each_product};
use serde_json::{Value, json};

on_each_product!(
    Line::V8, &[];
    (Theirs theirs, Ours ours, All all);
    (
        a_discussion_that_was_left_for_a_moment_stays_closed_to_who_left_its_parent,
        a_discussion_ends_with_the_membership_in_its_parents_parent,
        a_discussion_ends_when_its_public_parent_turns_private,
        a_discussion_ends_when_it_is_moved_under_another_parent,
        a_teams_room_ends_when_the_team_turns_private,
        a_teams_room_ends_with_the_membership_in_the_team,
        a_public_room_that_turned_private_is_closed_to_who_comes_back,
        a_removed_room_ends_for_its_members,
        a_room_asked_for_before_it_existed_opens_when_it_exists,
        a_room_asked_for_before_joining_opens_with_the_membership,
        a_private_room_asked_for_opens_when_it_turns_public,
        a_removed_member_gets_nothing_under_any_stream_of_the_room,
        a_member_removed_from_a_public_room_may_come_back_as_a_guest,
    )
);

/// A user in a private room with a discussion that he is not a member of.
fn discussion(product: &Product) -> (User, String, String) {
    let user = product.user(&["user"]);
    let parent = product.room("p", &[&user]);
    let discussion = product.room_with("p", &[], &json!({"prid": parent}));
    (user, parent, discussion)
}

fn leave(product: &Product, rid: &str, user: &User) {
    product.ask(&json!({"cmd": "removeMember", "rid": rid, "username": user.username}));
}

fn set_room(product: &Product, rid: &str, set: &Value) {
    product.ask(&json!({"cmd": "setRoom", "rid": rid, "set": set}));
}

fn assert_open(product: &Product, client: &mut Client, rid: &str) -> String {
    let id = client.stream("room-messages", rid).expect("open to him");
    product.assert_flows(client, "room-messages", rid, &Workspace::message_in(rid));
    id
}

fn assert_ends(product: &Product, client: &mut Client, rid: &str) {
    product.assert_ends(client, "room-messages", rid, &Workspace::message_in(rid));
}

fn assert_closed(product: &Product, client: &mut Client, rid: &str) {
    product.assert_closed(client, "room-messages", rid, &Workspace::message_in(rid));
}

fn a_discussion_that_was_left_for_a_moment_stays_closed_to_who_left_its_parent(product: &Product) {
    let (user, parent, discussion) = discussion(product);
    let mut client = product.open(&user);
    let id = assert_open(product, &mut client, &discussion);
    client.unsubscribe(&id);
    leave(product, &parent, &user);
    product.settle(&mut client);
    assert_closed(product, &mut client, &discussion);
}

fn a_discussion_ends_with_the_membership_in_its_parents_parent(product: &Product) {
    let (user, root, middle) = discussion(product);
    let leaf = product.room_with("p", &[], &json!({"prid": middle}));
    let mut client = product.open(&user);
    assert_open(product, &mut client, &leaf);
    leave(product, &root, &user);
    assert_ends(product, &mut client, &leaf);
    assert_closed(product, &mut client, &leaf);
}

fn a_discussion_ends_when_its_public_parent_turns_private(product: &Product) {
    let (guest, member) = (product.user(&["user"]), product.user(&["user"]));
    let parent = product.room("c", &[&member]);
    let discussion = product.room_with("p", &[], &json!({"prid": parent}));
    let [mut outside, mut inside] = [&guest, &member].map(|user| product.open(user));
    let id = assert_open(product, &mut outside, &discussion);
    assert_open(product, &mut inside, &discussion);
    set_room(product, &parent, &json!({"t": "p"}));
    assert_ends(product, &mut outside, &discussion);
    let nosub = outside.wait_for("the end", |message| message["msg"] == "nosub");
    assert_eq!(nosub["id"], id);
    assert_eq!(nosub["error"]["error"], "not-allowed");
    assert_closed(product, &mut outside, &discussion);
    product.assert_flows(
        &mut inside,
        "room-messages",
        &discussion,
        &Workspace::message_in(&discussion),
    );
}

fn a_discussion_ends_when_it_is_moved_under_another_parent(product: &Product) {
    let (user, _, discussion) = discussion(product);
    let elsewhere = product.room("p", &[]);
    let mut client = product.open(&user);
    assert_open(product, &mut client, &discussion);
    set_room(product, &discussion, &json!({"prid": elsewhere}));
    assert_ends(product, &mut client, &discussion);
}

/// A team with its main room, a public room of it, and a member; `kind` 0 is a public team.
fn team(product: &Product, kind: u8) -> (User, String, String, String) {
    let member = product.user(&["user"]);
    let team = format!("team-{}", member.id);
    let main = json!({"teamId": team, "teamMain": true});
    let main = product.room_with(if kind == 0 { "c" } else { "p" }, &[&member], &main);
    write(
        product,
        "rocketchat_team",
        &json!({"_id": team}),
        &json!({"$set": {"type": kind, "roomId": main}}),
    );
    let membership = json!({"teamId": team, "userId": member.id});
    write(
        product,
        "rocketchat_team_member",
        &membership,
        &json!({"$set": {"roles": []}}),
    );
    let room = product.room_with("c", &[], &json!({"teamId": team}));
    (member, team, main, room)
}

fn write(product: &Product, collection: &str, filter: &Value, update: &Value) {
    product.ask(
        &json!({"cmd": "write", "collection": collection, "filter": filter, "update": update}),
    );
}

fn a_teams_room_ends_when_the_team_turns_private(product: &Product) {
    let (member, team, main, room) = team(product, 0);
    let guest = product.user(&["user"]);
    let [mut outside, mut inside] = [&guest, &member].map(|user| product.open(user));
    assert_open(product, &mut outside, &room);
    assert_open(product, &mut inside, &room);
    // No event tells of a team: its main room changes with it.
    write(
        product,
        "rocketchat_team",
        &json!({"_id": team}),
        &json!({"$set": {"type": 1}}),
    );
    set_room(product, &main, &json!({"t": "p"}));
    assert_ends(product, &mut outside, &room);
    assert_closed(product, &mut outside, &room);
    let message = Workspace::message_in(&room);
    product.assert_flows(&mut inside, "room-messages", &room, &message);
}

fn a_teams_room_ends_with_the_membership_in_the_team(product: &Product) {
    let (member, team, main, room) = team(product, 1);
    let mut client = product.open(&member);
    let id = assert_open(product, &mut client, &room);
    let other = product.room_with("c", &[], &json!({"teamId": team}));
    assert_open(product, &mut client, &other);
    client.unsubscribe(&id);
    write(
        product,
        "rocketchat_team_member",
        &json!({"teamId": team, "userId": member.id}),
        &json!({"$set": {"teamId": "-"}}),
    );
    leave(product, &main, &member);
    product.settle(&mut client);
    assert_closed(product, &mut client, &room);
    assert_ends(product, &mut client, &other);
}

fn a_public_room_that_turned_private_is_closed_to_who_comes_back(product: &Product) {
    let guest = product.user(&["user"]);
    let rid = product.room("c", &[]);
    let mut before = product.open(&guest);
    assert_open(product, &mut before, &rid);
    product.close(before, &guest);
    let mut witness = Client::open(product.gateway.port);
    set_room(product, &rid, &json!({"t": "p"}));
    product.settle(&mut witness);
    assert_closed(product, &mut product.open(&guest), &rid);
}

fn a_removed_room_ends_for_its_members(product: &Product) {
    let guest = product.user(&["user"]);
    let rid = product.room("c", &[]);
    let mut client = product.open(&guest);
    assert_open(product, &mut client, &rid);
    write(
        product,
        "rocketchat_room",
        &json!({"_id": rid}),
        &json!({"$set": {"t": "gone"}}),
    );
    let change = json!({"clientAction": "removed", "room": {"_id": rid}});
    product.broadcast("watch.rooms", &json!([change]));
    assert_ends(product, &mut client, &rid);
}

fn a_room_asked_for_before_it_existed_opens_when_it_exists(product: &Product) {
    let user = product.user(&["user"]);
    let rid = format!("room-of-{}", user.id);
    let mut client = product.open(&user);
    client.stream("room-messages", &rid).expect_err("no room");
    product.ask(&json!({"cmd": "newRoom", "t": "c", "rid": rid}));
    product.settle(&mut client);
    assert_open(product, &mut client, &rid);
}

fn a_room_asked_for_before_joining_opens_with_the_membership(product: &Product) {
    let user = product.user(&["user"]);
    let rid = product.room("p", &[]);
    let discussion = product.room_with("p", &[], &json!({"prid": rid}));
    let mut client = product.open(&user);
    for room in [&rid, &discussion] {
        client
            .stream("room-messages", room)
            .expect_err("a stranger");
    }
    product.ask(&json!({"cmd": "addMember", "rid": rid, "username": user.username}));
    product.settle(&mut client);
    assert_open(product, &mut client, &rid);
    assert_open(product, &mut client, &discussion);
}

fn a_private_room_asked_for_opens_when_it_turns_public(product: &Product) {
    let user = product.user(&["user"]);
    let rid = product.room("p", &[]);
    let discussion = product.room_with("p", &[], &json!({"prid": rid}));
    let mut client = product.open(&user);
    for room in [&rid, &discussion] {
        client.stream("room-messages", room).expect_err("private");
    }
    set_room(product, &rid, &json!({"t": "c"}));
    product.settle(&mut client);
    assert_open(product, &mut client, &rid);
    assert_open(product, &mut client, &discussion);
}

fn a_removed_member_gets_nothing_under_any_stream_of_the_room(product: &Product) {
    let user = product.user(&["user"]);
    let rid = product.room("p", &[&user]);
    let mut client = product.open(&user);
    let typing = format!("{rid}/user-activity");
    let room =
        json!({"clientAction": "updated", "room": {"_id": rid, "t": "p", "topic": "secret"}});
    let activity = json!({"isTyping": true, "roomId": rid, "user": "somebody"});
    let broadcast =
        |event: &str, args: Value| json!({"cmd": "broadcast", "event": event, "args": [args]});
    let own = format!("{}/rooms-changed", user.id);
    let followed = [
        ("room-messages", &rid, Workspace::message_in(&rid)),
        ("room-data", &rid, broadcast("watch.rooms", room.clone())),
        ("notify-room", &typing, broadcast("user.activity", activity)),
        ("notify-user", &own, broadcast("watch.rooms", room)),
    ];
    for (stream, event, emit) in &followed {
        client.stream(stream, event).expect("a member");
        product.settle(&mut client);
        product.assert_flows(&mut client, stream, event, emit);
    }
    leave(product, &rid, &user);
    product.settle(&mut client);
    for (stream, event, emit) in &followed {
        product.assert_silent(&mut client, stream, event, emit);
    }
}

fn a_member_removed_from_a_public_room_may_come_back_as_a_guest(product: &Product) {
    let user = product.user(&["user"]);
    let rid = product.room("c", &[&user]);
    let mut client = product.open(&user);
    assert_open(product, &mut client, &rid);
    leave(product, &rid, &user);
    // Silently: a client that was removed does not ask why.
    let message = Workspace::message_in(&rid);
    product.assert_silent(&mut client, "room-messages", &rid, &message);
    assert!(!client.has(|message| message["msg"] == "nosub"));
    assert_open(product, &mut client, &rid);
}
