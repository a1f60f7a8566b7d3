//! Livechat: guests have a token and no login, agents what the room and its department say (services.md 3.9).

use harness::{Client, Line, Product, User, Workspace, on_each_product};
use serde_json::{Value, json};

on_each_product!(
    Line::Late7, &[];
    (Theirs theirs, Ours ours, All all);
    (
        a_guest_reads_his_own_room_and_no_other,
        an_id_that_a_guest_chose_opens_nothing,
        a_changed_token_ends_the_old_one_and_opens_the_new_one,
        one_guests_lost_token_ends_only_his_subscriptions,
        a_lost_token_spares_the_other_conversation_of_its_socket,
        an_agent_loses_a_conversation_that_another_one_serves,
        an_agent_loses_a_conversation_that_moves_to_another_department,
        an_agent_loses_the_conversations_of_a_department_that_he_left,
        an_agent_gets_a_conversation_that_is_given_to_him,
    )
);

on_each_product!(Line::V8, &[]; (Ours ours_on_8); (the_monoliths_judge_gets_the_stored_room_whole));

on_each_product!(
    Line::V8, &[];
    (Theirs on_8);
    (
        an_id_that_a_guest_chose_opens_nothing,
        only_tokens_of_a_guest_are_passed_on,
        one_guests_lost_token_ends_only_his_subscriptions,
    )
);

/// The streams of one conversation, as the widget follows them.
const STREAMS: [(&str, &str); 4] = [
    ("room-messages", ""),
    ("livechat-room", ""),
    ("notify-room", "/user-activity"),
    ("notify-room", "/deleteMessage"),
];

/// A conversation of the guest with this token; further fields as the monolith stores them.
fn conversation(product: &Product, token: &str, fields: &Value) -> String {
    let mut set = json!({"open": true, "v": {"_id": "v", "token": token}});
    for (name, value) in fields.as_object().expect("an object") {
        set[name] = value.clone();
    }
    product.room_with("l", &[], &set)
}

/// A token that no other test has.
fn token(product: &Product) -> String {
    product.user(&[]).token
}

fn extra(token: &str) -> Value {
    json!([{"token": token, "visitorToken": token}])
}

fn refused(client: &mut Client, rid: &str, extra: &Value) {
    for (stream, what) in STREAMS {
        let event = format!("{rid}{what}");
        let error = client.stream_with(stream, &event, extra).expect_err(&event);
        assert_eq!(error["error"], "not-allowed", "{stream} {event}: {error}");
    }
}

/// What makes an event of that stream in that room.
fn emit(stream: &str, rid: &str, what: &str) -> Value {
    let args = match (stream, what) {
        ("room-messages", _) => return Workspace::message_in(rid),
        ("livechat-room", _) => {
            json!(["omnichannel.room", [rid, {"type": "agentStatus", "status": "online"}]])
        }
        (_, "/deleteMessage") => json!(["notify.deleteMessage", [rid, {"_id": "m"}]]),
        _ => json!(["user.activity", [{"isTyping": true, "roomId": rid, "user": "agent"}]]),
    };
    json!({"cmd": "broadcast", "event": args[0], "args": args[1]})
}

/// Subscribes a guest to all of it.
fn follow(product: &Product, client: &mut Client, rid: &str, extra: &Value) {
    for (stream, what) in STREAMS {
        let event = format!("{rid}{what}");
        client.stream_with(stream, &event, extra).expect(&event);
        product.assert_flows(client, stream, &event, &emit(stream, rid, what));
    }
}

fn assert_ends(product: &Product, client: &mut Client, rid: &str) {
    for (stream, what) in STREAMS {
        product.assert_ends(
            client,
            stream,
            &format!("{rid}{what}"),
            &emit(stream, rid, what),
        );
    }
}

fn a_guest_reads_his_own_room_and_no_other(product: &Product) {
    let [mine, other] = [token(product), token(product)];
    let rid = conversation(product, &mine, &json!({}));
    let foreign = conversation(product, &other, &json!({}));
    let mut guest = Client::open(product.gateway.port);
    follow(product, &mut guest, &rid, &extra(&mine));
    refused(&mut guest, &foreign, &extra(&mine));
    refused(&mut guest, &rid, &json!([]));
    for nothing in ["", "null"] {
        refused(&mut guest, &rid, &extra(nothing));
    }
    refused(
        &mut guest,
        &rid,
        &json!([{"token": {"$ne": 1}, "visitorToken": true}]),
    );
}

fn an_id_that_a_guest_chose_opens_nothing(product: &Product) {
    let [mine, victim] = [token(product), token(product)];
    let own = conversation(product, &mine, &json!({}));
    let foreign = conversation(product, &victim, &json!({}));
    let private = product.room("p", &[]);
    let mut guest = Client::open(product.gateway.port);
    for rid in [&foreign, &private] {
        refused(
            &mut guest,
            rid,
            &json!([{"rid": own, "visitorToken": mine}]),
        );
        refused(
            &mut guest,
            rid,
            &json!([{"rid": own, "token": mine, "visitorToken": mine}]),
        );
        // The last one of two keys of one name is the one that Node reads.
        let event = json!(rid).to_string();
        let (own, mine) = (json!(own), json!(mine));
        guest.send_text(&format!(
            r#"{{"msg":"sub","id":"twice","name":"stream-room-messages","params":[{event},{{"useCollection":false,"args":[{{"visitorToken":"x","rid":{own},"visitorToken":{mine}}}]}}]}}"#
        ));
        guest.wait_for("a refusal", |message| {
            message["msg"] == "nosub" && message["id"] == "twice"
        });
    }
    // The same as a user, whose own rights do not reach there.
    let mut user = product.open(&product.user(&["user"]));
    refused(
        &mut user,
        &foreign,
        &json!([{"rid": own, "visitorToken": mine}]),
    );
}

/// Whatever else a client says stays here: an id that it chose could be judged instead of the room.
fn only_tokens_of_a_guest_are_passed_on(product: &Product) {
    let mine = token(product);
    let own = conversation(product, &mine, &json!({}));
    let other = conversation(product, &mine, &json!({}));
    let mut guest = Client::open(product.gateway.port);
    let said = json!([{"rid": other, "token": mine, "visitorToken": mine, "includeInvitations": true}, {"rid": other}]);
    guest
        .stream_with("room-messages", &own, &said)
        .expect("his own");
    let question = product.received("the question", |line| {
        let call = line["call"].as_str().unwrap_or_default();
        call.starts_with("authorization.") && line["args"][0]["_id"] == own.as_str()
    });
    let extra = question["args"][2].as_object().expect("the tokens").clone();
    assert!(
        extra
            .keys()
            .all(|key| key == "token" || key == "visitorToken"),
        "{question}"
    );
    assert_eq!(extra["visitorToken"], mine.as_str());
    assert_eq!(
        question["args"].as_array().expect("a list").len(),
        3,
        "{question}"
    );
}

fn set_room(product: &Product, rid: &str, set: &Value) {
    product.ask(&json!({"cmd": "setRoom", "rid": rid, "set": set}));
}

fn a_changed_token_ends_the_old_one_and_opens_the_new_one(product: &Product) {
    let [old, new] = [token(product), token(product)];
    let rid = conversation(product, &old, &json!({}));
    let [mut before, mut after] = [(), ()].map(|()| Client::open(product.gateway.port));
    follow(product, &mut before, &rid, &extra(&old));
    refused(&mut after, &rid, &extra(&new));
    set_room(product, &rid, &json!({"v": {"_id": "v", "token": new}}));
    product.settle(&mut after);
    follow(product, &mut after, &rid, &extra(&new));
    assert_ends(product, &mut before, &rid);
    refused(&mut before, &rid, &extra(&old));
    // The end of one is not the end of the other.
    for (stream, what) in STREAMS {
        let event = format!("{rid}{what}");
        product.assert_flows(&mut after, stream, &event, &emit(stream, &rid, what));
    }
}

/// Apps and contacts may let further guests in: the monolith says so, not the room's own token.
fn one_guests_lost_token_ends_only_his_subscriptions(product: &Product) {
    let [leaves, stays] = [token(product), token(product)];
    let rid = conversation(product, &leaves, &json!({"guests": [stays]}));
    let [mut leaver, mut stayer] = [(), ()].map(|()| Client::open(product.gateway.port));
    follow(product, &mut leaver, &rid, &extra(&leaves));
    let by = json!([{"visitorToken": stays}]);
    let id = stayer
        .stream_with("room-messages", &rid, &by)
        .expect("let in");
    set_room(
        product,
        &rid,
        &json!({"v": {"_id": "v", "token": "another"}}),
    );
    assert_ends(product, &mut leaver, &rid);
    product.settle(&mut stayer);
    assert!(!stayer.has(|message| message["msg"] == "nosub" && message["id"] == id));
    product.assert_flows(
        &mut stayer,
        "room-messages",
        &rid,
        &Workspace::message_in(&rid),
    );
}

/// One socket may carry two conversations.
fn a_lost_token_spares_the_other_conversation_of_its_socket(product: &Product) {
    let [lost, kept] = [token(product), token(product)];
    let ended = conversation(product, &lost, &json!({}));
    let goes_on = conversation(product, &kept, &json!({}));
    let mut guest = Client::open(product.gateway.port);
    follow(product, &mut guest, &ended, &extra(&lost));
    follow(product, &mut guest, &goes_on, &extra(&kept));
    set_room(
        product,
        &ended,
        &json!({"v": {"_id": "v", "token": "another"}}),
    );
    assert_ends(product, &mut guest, &ended);
    for (stream, what) in STREAMS {
        let event = format!("{goes_on}{what}");
        product.assert_flows(&mut guest, stream, &event, &emit(stream, &goes_on, what));
    }
}

/// An agent who is in no conversation as a member.
fn agent(product: &Product) -> (User, Client) {
    let agent = product.user(&["user", "livechat-agent"]);
    let client = product.open(&agent);
    (agent, client)
}

fn assert_taken_away(product: &Product, client: &mut Client, rid: &str) {
    let message = Workspace::message_in(rid);
    product.assert_ends(client, "room-messages", rid, &message);
    product.assert_closed(client, "room-messages", rid, &message);
}

fn assert_served(product: &Product, client: &mut Client, rid: &str) {
    client.stream("room-messages", rid).expect("his own");
    product.assert_flows(client, "room-messages", rid, &Workspace::message_in(rid));
}

fn an_agent_loses_a_conversation_that_another_one_serves(product: &Product) {
    let (own, mut client) = agent(product);
    let serves = json!({"servedBy": {"_id": own.id, "username": own.username}});
    let rid = conversation(product, &token(product), &serves);
    assert_served(product, &mut client, &rid);
    set_room(
        product,
        &rid,
        &json!({"servedBy": {"_id": "another", "username": "another"}}),
    );
    assert_taken_away(product, &mut client, &rid);
}

/// A department with the agent in it.
fn department(product: &Product, agent: &User) -> String {
    let department = format!("department-{}", agent.id);
    set_department_of(product, agent, &department, &department);
    department
}

/// Puts the agent's place in one department into another.
fn set_department_of(product: &Product, agent: &User, from: &str, to: &str) {
    product.ask(&json!({
        "cmd": "write", "collection": "rocketchat_livechat_department_agents",
        "filter": {"agentId": agent.id, "departmentId": from}, "update": {"$set": {"departmentId": to}}
    }));
}

fn an_agent_loses_a_conversation_that_moves_to_another_department(product: &Product) {
    let (own, mut client) = agent(product);
    let department = department(product, &own);
    let rid = conversation(
        product,
        &token(product),
        &json!({"departmentId": department}),
    );
    assert_served(product, &mut client, &rid);
    set_room(product, &rid, &json!({"departmentId": "elsewhere"}));
    assert_taken_away(product, &mut client, &rid);
}

fn an_agent_loses_the_conversations_of_a_department_that_he_left(product: &Product) {
    let (own, mut client) = agent(product);
    let department = department(product, &own);
    let rid = conversation(
        product,
        &token(product),
        &json!({"departmentId": department}),
    );
    assert_served(product, &mut client, &rid);
    set_department_of(product, &own, &department, "elsewhere");
    let data = json!({"_id": "x", "agentId": own.id, "departmentId": department});
    let change = json!({"clientAction": "removed", "id": "x", "data": data});
    product.broadcast("watch.livechatDepartmentAgents", &json!([change]));
    assert_taken_away(product, &mut client, &rid);
}

fn an_agent_gets_a_conversation_that_is_given_to_him(product: &Product) {
    let (own, mut client) = agent(product);
    let rid = conversation(product, &token(product), &json!({}));
    client.stream("room-messages", &rid).expect_err("nobody's");
    set_room(
        product,
        &rid,
        &json!({"servedBy": {"_id": own.id, "username": own.username}}),
    );
    product.settle(&mut client);
    assert_served(product, &mut client, &rid);
}

/// Its rules read what only it knows: our authorization service has no list of fields for them.
fn the_monoliths_judge_gets_the_stored_room_whole(product: &Product) {
    let mine = token(product);
    let own = json!({"contactId": "c", "customFields": {"plan": "gold"}, "fieldOfAnApp": [1]});
    let rid = conversation(product, &mine, &own);
    let mut guest = Client::open(product.gateway.port);
    let stream = "room-messages";
    guest
        .stream_with(stream, &rid, &extra(&mine))
        .expect("his own");
    let question = product.received("the question", |line| {
        line["call"] == "authorization-livechat.canAccessRoom"
            && line["args"][0]["_id"] == rid.as_str()
    });
    let room = &question["args"][0];
    for (name, value) in own.as_object().expect("an object") {
        assert_eq!(room[name], *value, "{room}");
    }
    assert_eq!(room["v"]["token"], mine.as_str());
}
