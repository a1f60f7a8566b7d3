//! Every method of the sandbox's workspace, with good and bad arguments, over the in-process bus and the embedded store
//! with the real services around it. Errors have the codes that a real server gives.

use backplane::{Bus, CallOptions, ErrorKind, Incoming, Service};
use serde_json::{Value, json};
use services::{accounts, authorization, presence, sandbox, stream_hub};
use store::Store;
use tokio_util::sync::{CancellationToken, DropGuard};

/// A private room of alice and bob, a public one of bob and alice, and what alice and bob share.
const SECRET: &str = "demo-secret";
const RANDOM: &str = "demo-random";
const DIRECT: &str = "demo-alicedemo-bob";

struct Workspace {
    bus: Bus,
    store: Store,
    _stop: DropGuard,
}

/// Somebody who is logged in, or nobody.
struct Person {
    id: Value,
    hashed_token: Value,
}

const NOBODY: Person = Person {
    id: Value::Null,
    hashed_token: Value::Null,
};

impl Workspace {
    async fn start() -> Self {
        let bus = Bus::in_process("test".to_owned());
        let store = Store::embedded(None).unwrap();
        sandbox::prepare(&store).await.unwrap();
        let stop = CancellationToken::new();
        let config = accounts::Config {
            password_login: true,
            ..Default::default()
        };
        let parts = || (bus.clone(), store.clone(), stop.clone());
        let (b, s, t) = parts();
        tokio::spawn(accounts::run(b, s, config, t));
        let (b, s, t) = parts();
        tokio::spawn(authorization::run(
            b,
            s,
            authorization::Config::default(),
            t,
        ));
        let (b, s, t) = parts();
        tokio::spawn(presence::run(b, s, presence::Config::default(), t));
        let (b, s, t) = parts();
        tokio::spawn(stream_hub::run(
            b,
            s,
            stream_hub::Config::default(),
            stream_hub::Health::new(),
            t,
        ));
        let (b, s, t) = parts();
        tokio::spawn(sandbox::run(b, s, t));
        let services = ["accounts", "authorization", "presence", "hub", "meteor"];
        while !services.iter().all(|name| bus.has_service(name)) {
            tokio::task::yield_now().await;
        }
        Self {
            bus,
            store,
            _stop: stop.drop_guard(),
        }
    }

    async fn person(&self, name: &str) -> Person {
        let login = json!([{ "user": { "username": name }, "password": name }]).to_string();
        let options = CallOptions::default();
        let granted = self.bus.call("accounts.login", &login, options).await;
        let granted: Value = serde_json::from_slice(&granted.unwrap().unwrap()).unwrap();
        Person {
            id: granted["uid"].clone(),
            hashed_token: granted["hashedToken"].clone(),
        }
    }

    /// The method's result (`null` for none), or its error's code.
    async fn call(&self, who: &Person, method: &str, args: Value) -> Result<Value, String> {
        let params = json!([who.id, who.hashed_token, method, args]).to_string();
        let action = "meteor.callMethodWithToken";
        match self.bus.call(action, &params, CallOptions::default()).await {
            Ok(answer) => {
                let answer: Value = serde_json::from_slice(&answer.unwrap()).unwrap();
                Ok(answer["result"].clone())
            }
            Err(error) => match error.kind {
                ErrorKind::Refused(refusal) => {
                    let meteor = refusal.meteor().map(|error| error.error.to_string());
                    Err(meteor.unwrap_or(refusal.message))
                }
                other => panic!("{method}: {other:?}"),
            },
        }
    }

    async fn ok(&self, who: &Person, method: &str, args: Value) -> Value {
        let result = self.call(who, method, args.clone()).await;
        result.unwrap_or_else(|code| panic!("{method}({args}): {code}"))
    }

    /// Checks that each call ends with this code.
    async fn refuses(&self, who: &Person, code: &str, calls: &[(&str, Value)]) {
        for (method, args) in calls {
            let outcome = self.call(who, method, args.clone()).await;
            assert_eq!(outcome, Err(code.to_owned()), "{method}({args})");
        }
    }

    /// Texts of a room as this person sees it, newest first.
    async fn history(&self, who: &Person, room: &str) -> Vec<String> {
        let result = self.ok(who, "loadHistory", json!([room])).await;
        let messages = result["messages"].as_array().expect("a list");
        let text = |message: &Value| message["msg"].as_str().unwrap_or_default().to_owned();
        messages.iter().map(text).collect()
    }

    async fn unread(&self, who: &Person, room: &str) -> i64 {
        let list = self.ok(who, "subscriptions/get", json!([])).await;
        let mut list = list.as_array().expect("a list").iter();
        let own = list.find(|subscription| subscription["rid"] == room);
        own.expect("a member")["unread"].as_i64().unwrap()
    }
}

#[tokio::test]
async fn arguments_of_a_wrong_type_do_not_match() {
    let it = Workspace::start().await;
    let alice = it.person("alice").await;
    let object = json!({ "$ne": "" });
    let long_id = "i".repeat(101);
    let calls = [
        ("sendMessage", json!([])),
        ("sendMessage", json!(["text"])),
        ("sendMessage", json!([{ "msg": "no room" }])),
        ("sendMessage", json!([{ "rid": object, "msg": "x" }])),
        ("sendMessage", json!([{ "rid": "GENERAL", "msg": object }])),
        ("sendMessage", json!([{ "rid": "GENERAL", "msg": 5 }])),
        (
            "sendMessage",
            json!([{ "rid": "GENERAL", "msg": "x", "_id": object }]),
        ),
        (
            "sendMessage",
            json!([{ "rid": "GENERAL", "msg": "x", "_id": long_id }]),
        ),
        (
            "sendMessage",
            json!([{ "rid": "GENERAL", "msg": "x", "tmid": 7 }]),
        ),
        ("updateMessage", json!([{ "_id": object, "msg": "x" }])),
        ("updateMessage", json!([{ "_id": "m" }])),
        ("deleteMessage", json!([{ "_id": object }])),
        ("deleteMessage", json!(["m"])),
        ("loadHistory", json!([object])),
        ("loadHistory", json!(["GENERAL", "yesterday"])),
        ("loadHistory", json!(["GENERAL", null, -1])),
        ("loadHistory", json!(["GENERAL", null, "20"])),
        ("loadMissedMessages", json!(["GENERAL"])),
        ("loadMissedMessages", json!([object, { "$date": 0 }])),
        ("readMessages", json!([object])),
        ("rooms/get", json!(["yesterday"])),
        ("subscriptions/get", json!([{ "$gt": 0 }])),
        ("public-settings/get", json!([5])),
        ("permissions/get", json!([5])),
        ("getRoomById", json!([object])),
        ("createDirectMessage", json!([object])),
        ("createChannel", json!([object])),
        ("createChannel", json!(["name", "bob"])),
        ("createChannel", json!(["name", ["bob", object]])),
        ("createPrivateGroup", json!([null])),
        ("joinRoom", json!([object])),
        ("leaveRoom", json!([["GENERAL"]])),
        ("removeUserFromRoom", json!([{ "rid": SECRET }])),
        (
            "removeUserFromRoom",
            json!([{ "rid": object, "username": "bob" }]),
        ),
        ("setUserStatus", json!([object])),
        ("setUserStatus", json!(["online", object])),
        ("UserPresence:setDefaultStatus", json!([5])),
    ];
    it.refuses(&alice, "400", &calls).await;
    // The real server checks this one by hand, too.
    let room = [(
        "addUsersToRoom",
        json!([{ "rid": object, "users": ["bob"] }]),
    )];
    it.refuses(&alice, "error-invalid-room", &room).await;
    let lists = [
        ("addUsersToRoom", json!([{ "rid": SECRET, "users": "bob" }])),
        (
            "addUsersToRoom",
            json!([{ "rid": SECRET, "users": [object] }]),
        ),
    ];
    it.refuses(&alice, "error-invalid-arguments", &lists).await;
    assert!(it.history(&alice, "GENERAL").await.is_empty());
}

#[tokio::test]
async fn a_room_that_does_not_exist_is_said_not_to() {
    let it = Workspace::start().await;
    let alice = it.person("alice").await;
    let calls = [
        ("sendMessage", json!([{ "rid": "none", "msg": "x" }])),
        ("joinRoom", json!(["none"])),
        ("leaveRoom", json!(["none"])),
        (
            "addUsersToRoom",
            json!([{ "rid": "none", "users": ["bob"] }]),
        ),
        ("sandbox:flood", json!(["none"])),
    ];
    it.refuses(&alice, "error-invalid-room", &calls).await;
    let calls = [
        ("getRoomById", json!(["none"])),
        (
            "removeUserFromRoom",
            json!([{ "rid": "none", "username": "bob" }]),
        ),
    ];
    it.refuses(&alice, "error-not-allowed", &calls).await;
    let calls = [("readMessages", json!(["none"]))];
    it.refuses(&alice, "error-room-does-not-exist", &calls)
        .await;
    for method in ["loadHistory", "loadMissedMessages"] {
        let args = json!(["none", { "$date": 0 }]);
        assert_eq!(it.ok(&alice, method, args).await, json!(false));
    }
}

#[tokio::test]
async fn a_room_that_is_not_theirs_stays_closed() {
    let it = Workspace::start().await;
    let carol = it.person("carol").await;
    for room in [SECRET, DIRECT] {
        let calls = [
            ("sendMessage", json!([{ "rid": room, "msg": "x" }])),
            ("getRoomById", json!([room])),
            ("joinRoom", json!([room])),
            ("readMessages", json!([room])),
            (
                "removeUserFromRoom",
                json!([{ "rid": room, "username": "bob" }]),
            ),
            ("sandbox:flood", json!([room])),
        ];
        it.refuses(&carol, "error-not-allowed", &calls).await;
        for method in ["loadHistory", "loadMissedMessages"] {
            let args = json!([room, { "$date": 0 }]);
            assert_eq!(it.ok(&carol, method, args).await, json!(false));
        }
    }
    let calls = [(
        "addUsersToRoom",
        json!([{ "rid": SECRET, "users": ["carol"] }]),
    )];
    it.refuses(&carol, "error-not-allowed", &calls).await;
    let calls = [("leaveRoom", json!([SECRET]))];
    it.refuses(&carol, "error-user-not-in-room", &calls).await;
    let list = it.ok(&carol, "rooms/get", json!([])).await;
    assert_eq!(list.as_array().map(Vec::len), Some(1), "{list}");
}

#[tokio::test]
async fn nobody_may_do_what_needs_a_user() {
    let it = Workspace::start().await;
    let mismatch = Person {
        id: json!("demo-bob"),
        ..it.person("alice").await
    };
    for who in [&NOBODY, &mismatch] {
        let calls = [
            ("sendMessage", json!([{ "rid": "GENERAL", "msg": "x" }])),
            ("updateMessage", json!([{ "_id": "m", "msg": "x" }])),
            ("deleteMessage", json!([{ "_id": "m" }])),
            ("loadHistory", json!(["GENERAL"])),
            ("loadMissedMessages", json!(["GENERAL", { "$date": 0 }])),
            ("readMessages", json!(["GENERAL"])),
            ("getRoomById", json!(["GENERAL"])),
            ("createDirectMessage", json!(["bob"])),
            ("createChannel", json!(["name"])),
            ("createPrivateGroup", json!(["name"])),
            ("joinRoom", json!(["GENERAL"])),
            ("leaveRoom", json!(["GENERAL"])),
            (
                "addUsersToRoom",
                json!([{ "rid": "GENERAL", "users": ["bob"] }]),
            ),
            (
                "removeUserFromRoom",
                json!([{ "rid": "GENERAL", "username": "bob" }]),
            ),
            ("sandbox:flood", json!(["GENERAL"])),
            ("sandbox:dropSockets", json!([])),
        ];
        it.refuses(who, "error-invalid-user", &calls).await;
        for method in ["rooms/get", "subscriptions/get"] {
            assert_eq!(it.ok(who, method, json!([])).await, json!([]));
        }
        for method in ["logout", "setUserStatus", "UserPresence:online"] {
            assert_eq!(it.ok(who, method, json!(["away"])).await, Value::Null);
        }
        it.refuses(who, "404", &[("noSuchMethod", json!([]))]).await;
    }
}

#[tokio::test]
async fn a_message_is_written_once_however_often_it_is_sent() {
    let it = Workspace::start().await;
    let (alice, bob) = (it.person("alice").await, it.person("bob").await);
    let message = json!([{ "_id": "m1", "rid": SECRET, "msg": "<b>text</b>" }]);
    let sent = it.ok(&alice, "sendMessage", message.clone()).await;
    assert_eq!(
        (&sent["_id"], &sent["msg"]),
        (&json!("m1"), &json!("<b>text</b>"))
    );
    assert_eq!(sent["u"]["username"], "alice");
    // Replayed by its writer, and tried by somebody else.
    for who in [&alice, &bob] {
        let again = it.ok(who, "sendMessage", message.clone()).await;
        assert_eq!(again, Value::Null);
    }
    assert_eq!(it.history(&bob, SECRET).await, ["<b>text</b>"]);
    assert_eq!(it.unread(&bob, SECRET).await, 1);
    assert_eq!(it.unread(&alice, SECRET).await, 0);
    it.ok(&bob, "readMessages", json!([SECRET])).await;
    assert_eq!(it.unread(&bob, SECRET).await, 0);
}

#[tokio::test]
async fn what_a_method_writes_is_announced_by_the_change_feed() {
    let it = Workspace::start().await;
    let alice = it.person("alice").await;
    let mut heard = it.bus.announce(Service {
        name: "listener",
        actions: vec![],
        events: vec!["watch.messages"],
    });
    let message = json!([{ "rid": SECRET, "msg": "heard" }]);
    let sent = it.ok(&alice, "sendMessage", message).await;
    let event = loop {
        if let Incoming::Event(event) = heard.recv().await {
            break event;
        }
    };
    let args: Value = serde_json::from_str(&event.args).unwrap();
    assert_eq!(args[0]["message"]["_id"], sent["_id"]);
}

#[tokio::test]
async fn texts_and_names_have_limits() {
    let it = Workspace::start().await;
    let alice = it.person("alice").await;
    let (most, more) = ("ü".repeat(5_000), "ü".repeat(5_001));
    let send = |text: &str| json!([{ "_id": "m1", "rid": "GENERAL", "msg": text }]);
    it.ok(&alice, "sendMessage", send(&most)).await;
    let calls = [
        ("sendMessage", send(&more)),
        ("updateMessage", json!([{ "_id": "m1", "msg": more }])),
    ];
    it.refuses(&alice, "error-message-size-exceeded", &calls)
        .await;
    for method in ["createChannel", "createPrivateGroup"] {
        for name in ["<img>", "two words", "a/b", &"n".repeat(101)] {
            let calls = [(method, json!([name]))];
            it.refuses(&alice, "error-invalid-room-name", &calls).await;
        }
        it.refuses(&alice, "error-invalid-name", &[(method, json!([" "]))])
            .await;
        let taken = [(method, json!(["general"]))];
        it.refuses(&alice, "error-duplicate-channel-name", &taken)
            .await;
    }
}

#[tokio::test]
async fn messages_are_changed_by_their_writer_and_deleted_by_an_owner_too() {
    let it = Workspace::start().await;
    let (alice, bob) = (it.person("alice").await, it.person("bob").await);
    for (id, who) in [("m1", &alice), ("m2", &bob), ("m3", &bob)] {
        let message = json!([{ "_id": id, "rid": "GENERAL", "msg": id }]);
        it.ok(who, "sendMessage", message).await;
    }
    let foreign = [
        ("updateMessage", json!([{ "_id": "m1", "msg": "x" }])),
        ("deleteMessage", json!([{ "_id": "m1" }])),
        ("deleteMessage", json!([{ "_id": "none" }])),
    ];
    it.refuses(&bob, "error-action-not-allowed", &foreign).await;
    // The real server says nothing to this one.
    let gone = json!([{ "_id": "none", "msg": "x" }]);
    assert_eq!(it.ok(&bob, "updateMessage", gone).await, Value::Null);

    it.ok(
        &bob,
        "updateMessage",
        json!([{ "_id": "m2", "msg": "changed" }]),
    )
    .await;
    it.ok(&bob, "deleteMessage", json!([{ "_id": "m3" }])).await;
    let mut texts = it.history(&bob, "GENERAL").await;
    texts.sort();
    assert_eq!(texts, ["changed", "m1"]);
    it.ok(&alice, "deleteMessage", json!([{ "_id": "m2" }]))
        .await;
    assert_eq!(it.history(&bob, "GENERAL").await, ["m1"]);
    let room = it.ok(&bob, "getRoomById", json!(["GENERAL"])).await;
    assert_eq!(room["lastMessage"]["msg"], "m1", "{room}");
}

#[tokio::test]
async fn members_come_and_go_and_the_last_owner_stays() {
    let it = Workspace::start().await;
    let (alice, bob) = (it.person("alice").await, it.person("bob").await);
    let carol = it.person("carol").await;
    let add = |name: &str| json!([{ "rid": SECRET, "users": [name] }]);
    let remove = |name: &str| json!([{ "rid": SECRET, "username": name }]);

    it.ok(&carol, "joinRoom", json!([RANDOM])).await;
    it.ok(&carol, "joinRoom", json!([RANDOM])).await;
    assert_eq!(it.history(&carol, RANDOM).await, ["carol"]);
    it.ok(&carol, "leaveRoom", json!([RANDOM])).await;
    let again = [("leaveRoom", json!([RANDOM]))];
    it.refuses(&carol, "error-user-not-in-room", &again).await;

    let last_owner = [
        ("leaveRoom", json!([SECRET])),
        ("removeUserFromRoom", remove("alice")),
    ];
    it.refuses(&alice, "error-you-are-last-owner", &last_owner)
        .await;
    let not_owner = [
        ("addUsersToRoom", add("carol")),
        ("removeUserFromRoom", remove("alice")),
    ];
    it.refuses(&bob, "error-not-allowed", &not_owner).await;
    let unknown = [("addUsersToRoom", add("nobody"))];
    it.refuses(&alice, "error-user-not-found", &unknown).await;
    for name in ["carol", "nobody"] {
        let calls = [("removeUserFromRoom", remove(name))];
        it.refuses(&alice, "error-user-not-in-room", &calls).await;
    }

    it.ok(&alice, "addUsersToRoom", add("carol")).await;
    let hello = json!([{ "rid": SECRET, "msg": "hello" }]);
    it.ok(&carol, "sendMessage", hello.clone()).await;
    it.ok(&alice, "removeUserFromRoom", remove("carol")).await;
    it.refuses(&carol, "error-not-allowed", &[("sendMessage", hello)])
        .await;
    // Who came and went stands in the room.
    let mut texts = it.history(&alice, SECRET).await;
    texts.sort();
    assert_eq!(texts, ["carol", "carol", "hello"]);
}

#[tokio::test]
async fn a_new_room_belongs_to_who_made_it() {
    let it = Workspace::start().await;
    let (alice, bob) = (it.person("alice").await, it.person("bob").await);
    let carol = it.person("carol").await;
    let args = json!(["new-room", ["carol", "nobody", "bob"]]);
    let made = it.ok(&bob, "createPrivateGroup", args).await;
    let room = made["rid"].as_str().unwrap();
    assert_eq!(made["name"], "new-room");
    it.ok(&carol, "sendMessage", json!([{ "rid": room, "msg": "in" }]))
        .await;
    let calls = [("joinRoom", json!([room]))];
    it.refuses(&alice, "error-not-allowed", &calls).await;
    let args = json!([{ "rid": room, "username": "carol" }]);
    it.ok(&bob, "removeUserFromRoom", args).await;
    let made = it.ok(&bob, "createChannel", json!(["new-channel"])).await;
    it.ok(&alice, "joinRoom", json!([made["rid"]])).await;
}

#[tokio::test]
async fn two_people_share_one_direct_room() {
    let it = Workspace::start().await;
    let (alice, bob) = (it.person("alice").await, it.person("bob").await);
    let carol = it.person("carol").await;
    let call = |args| it.ok(&carol, "createDirectMessage", args);
    let made = call(json!(["bob"])).await;
    assert_eq!(call(json!(["bob"])).await, made);
    assert_eq!(made["usernames"], json!(["carol", "bob"]));
    let room = made["rid"].clone();
    let message = json!([{ "rid": room, "msg": "hi" }]);
    it.ok(&bob, "sendMessage", message.clone()).await;
    it.refuses(&alice, "error-not-allowed", &[("sendMessage", message)])
        .await;

    let alone = call(json!(["carol"])).await;
    assert_eq!(alone["usernames"], json!(["carol"]));
    it.ok(
        &carol,
        "sendMessage",
        json!([{ "rid": alone["rid"], "msg": "note" }]),
    )
    .await;

    let calls = [("createDirectMessage", json!(["nobody"]))];
    it.refuses(&carol, "error-invalid-user", &calls).await;
    let calls = [("createDirectMessage", json!(["alice", "bob"]))];
    it.refuses(&carol, "error-direct-message-max-user-exceeded", &calls)
        .await;
    let calls = [(
        "addUsersToRoom",
        json!([{ "rid": room, "users": ["alice"] }]),
    )];
    it.refuses(&carol, "error-cant-invite-for-direct-room", &calls)
        .await;
    let calls = [("leaveRoom", json!([room]))];
    it.refuses(&carol, "error-not-allowed", &calls).await;
}

#[tokio::test]
async fn history_is_given_in_pages_and_from_a_time_on() {
    let it = Workspace::start().await;
    let (alice, carol) = (it.person("alice").await, it.person("carol").await);
    let mut times = Vec::new();
    for text in ["one", "two", "three"] {
        let message = json!([{ "rid": RANDOM, "msg": text }]);
        let sent = it.ok(&alice, "sendMessage", message).await;
        times.push(sent["ts"]["$date"].as_i64().unwrap());
    }
    // A public room may be looked into.
    let page = it.ok(&carol, "loadHistory", json!([RANDOM, null, 2])).await;
    assert_eq!(page["messages"].as_array().map(Vec::len), Some(2));
    let args = json!([RANDOM, { "$date": times[2] + 1 }, 1_000_000]);
    let page = it.ok(&carol, "loadHistory", args).await;
    assert_eq!(page["messages"].as_array().map(Vec::len), Some(3));
    let args = json!([RANDOM, { "$date": times[0] - 1 }]);
    let missed = it.ok(&carol, "loadMissedMessages", args).await;
    assert_eq!(missed.as_array().map(Vec::len), Some(3));
}

#[tokio::test]
async fn lists_are_whole_or_differences_by_their_argument() {
    let it = Workspace::start().await;
    let alice = it.person("alice").await;
    let methods = [
        "rooms/get",
        "subscriptions/get",
        "public-settings/get",
        "permissions/get",
    ];
    for method in methods {
        let whole = it.ok(&alice, method, json!([])).await;
        assert!(
            whole.as_array().is_some_and(|list| !list.is_empty()),
            "{method}"
        );
        let difference = it.ok(&alice, method, json!([{ "$date": 0 }])).await;
        assert_eq!(difference["update"], whole, "{method}");
        assert_eq!(difference["remove"], json!([]), "{method}");
    }
}

#[tokio::test]
async fn a_status_is_one_of_four_words() {
    let it = Workspace::start().await;
    let alice = it.person("alice").await;
    let id = alice.id.as_str().unwrap();
    it.store
        .add_connection(id, "s1", "test", "online")
        .await
        .unwrap();
    let calls = [
        ("setUserStatus", json!(["asleep"])),
        ("UserPresence:setDefaultStatus", json!(["asleep"])),
    ];
    it.refuses(&alice, "error-invalid-status", &calls).await;
    it.ok(&alice, "setUserStatus", json!(["busy", "in a meeting"]))
        .await;
    let user = it.store.user(id).await.unwrap().unwrap();
    assert_eq!(user.status.as_deref(), Some("busy"));
    assert_eq!(user.status_text.as_deref(), Some("in a meeting"));
}

#[tokio::test]
async fn a_start_forgets_the_sockets_of_an_earlier_process() {
    let store = Store::embedded(None).unwrap();
    sandbox::prepare(&store).await.unwrap();
    let online = store::bson::doc! { "status": "online", "statusConnection": "online" };
    store
        .add_connection("demo-bob", "s1", "killed", "online")
        .await
        .unwrap();
    store
        .set_user_status("demo-bob", store::Update::set(online))
        .await
        .unwrap();
    sandbox::prepare(&store).await.unwrap();
    assert!(store.connections("demo-bob").await.unwrap().is_empty());
    let bob = store.user("demo-bob").await.unwrap().unwrap();
    assert_eq!(bob.status.as_deref(), Some("offline"));
}
