//! The product: `ddp-edge gateway` on a real nats-server and MongoDB, beside a Node process that plays the monolith.

use std::sync::OnceLock;

use harness::{Client, Closed, Gateway, NodeProcess, User, Workspace, eventually};
use serde_json::{Value, json};

const BINARY: &str = env!("CARGO_BIN_EXE_ddp-edge");

/// Ids of `tests/node/workspace.js`.
const DAVE_TOKEN: &str = "resume-token-of-dave";
const EXPIRED_TOKEN: &str = "expired-token-of-alice";

/// One workspace and one gateway for all tests: each makes users and rooms of its own.
fn product() -> &'static (Workspace, Gateway) {
    static PRODUCT: OnceLock<(Workspace, Gateway)> = OnceLock::new();
    PRODUCT.get_or_init(|| {
        let workspace = Workspace::start(&[]);
        let gateway = workspace.gateway(BINARY, &[]);
        (workspace, gateway)
    })
}

/// Both framings, logged in.
fn both_sockets(port: u16, user: &User) -> [Client; 2] {
    [Client::open(port), Client::open_sockjs(port)].map(|mut client| {
        client.login(&user.token);
        client
    })
}

fn closed(code: u16, reason: &str) -> Closed {
    Closed {
        code: Some(code),
        reason: reason.to_owned(),
    }
}

/// Runs an npm client through the scenario of `tests/node/clients/lib.js`.
fn passes(script: &str) {
    let (workspace, gateway) = product();
    let token = |username: &str| {
        let made = workspace.ask(&json!({"cmd": "newToken", "username": username}));
        made["token"].as_str().expect("a token").to_owned()
    };
    let url = format!("http://127.0.0.1:{}", gateway.port);
    let arguments = [url.as_str(), &token("alice"), &token("bob")];
    let mut client = NodeProcess::start(&format!("clients/{script}.js"), &arguments, &[]);
    client.wait_for("the scenario's end", |line| {
        assert_ne!(line["ok"], false, "{script}: {line}");
        line["done"] == true
    });
}

#[test]
fn rocket_chats_ddp_client_gets_through_the_scenario() {
    passes("ddp-client");
}

#[test]
fn rocket_chats_sdk_gets_through_the_scenario() {
    passes("sdk");
}

#[test]
fn simpleddp_gets_through_the_scenario() {
    passes("simpleddp");
}

#[test]
fn ddp_js_gets_through_the_scenario() {
    passes("ddpjs");
}

#[test]
fn asteroid_gets_through_the_scenario() {
    passes("asteroid");
}

#[test]
fn ddp_gets_through_the_scenario_by_address_and_by_sockjs_info() {
    passes("ddp");
}

#[test]
fn the_rxjs_client_gets_through_the_scenario() {
    passes("rxjs");
}

#[test]
fn sockjs_client_gets_through_the_scenario_over_its_websocket() {
    passes("sockjs-client");
}

#[test]
fn messages_typing_and_deletions_arrive_on_both_kinds_of_socket() {
    let (workspace, gateway) = product();
    let (writer, reader) = (workspace.user(&["user"]), workspace.user(&["user"]));
    let rid = workspace.room("p", &[&writer, &reader]);
    let (typing, deletions) = (
        format!("{rid}/user-activity"),
        format!("{rid}/deleteMessage"),
    );
    let mut sockets = both_sockets(gateway.port, &reader);
    for socket in &mut sockets {
        socket.stream("room-messages", &rid).expect("a member");
        socket.stream("notify-room", &typing).expect("a member");
        socket.stream("notify-room", &deletions).expect("a member");
    }
    let mut typist = Client::open(gateway.port);
    typist.login(&writer.token);
    let text = "line\u{2028}separator, \u{1F600} and \"quotes\" \\";
    let sent = typist.call("sendMessage", &json!([{"rid": rid, "msg": text}]));
    let id = sent.expect("a member may write")["_id"].clone();
    let activity = json!([typing, writer.username, ["user-typing"], {}]);
    typist
        .call("stream-notify-room", &activity)
        .expect("never an error");
    typist
        .call("deleteMessage", &json!([{"_id": id}]))
        .expect("his own");
    for socket in &mut sockets {
        let message = socket.event("room-messages", &rid);
        assert_eq!(message[0]["_id"], id);
        assert_eq!(message[0]["msg"], text);
        assert!(message[0]["ts"]["$date"].is_i64(), "{message}");
        let expected = json!([writer.username, ["user-typing"], {}]);
        assert_eq!(socket.event("notify-room", &typing), expected);
        assert_eq!(
            socket.event("notify-room", &deletions),
            json!([{"_id": id}])
        );
    }
}

#[test]
fn rooms_and_streams_of_others_are_refused() {
    let (workspace, gateway) = product();
    let (owner, stranger) = (workspace.user(&["user"]), workspace.user(&["user"]));
    let rid = workspace.room("p", &[&owner]);
    let refused = |client: &mut Client, stream: &str, event: &str| {
        let error = client.stream(stream, event).expect_err(event);
        assert_eq!(error["error"], "not-allowed", "{stream} {event}: {error}");
        assert_eq!(error["errorType"], "Meteor.Error");
        assert_eq!(error["message"], "[not-allowed]");
    };
    let [mut stranger, _] = both_sockets(gateway.port, &stranger);
    let mut anonymous = Client::open(gateway.port);
    let mut dave = Client::open(gateway.port);
    dave.login(DAVE_TOKEN);
    for client in [&mut stranger, &mut anonymous, &mut dave] {
        refused(client, "room-messages", &rid);
        refused(client, "room-messages", "no-such-room");
        refused(client, "room-data", &rid);
        for event in ["user-activity", "deleteMessage"] {
            refused(client, "notify-room", &format!("{rid}/{event}"));
        }
        for event in ["rooms-changed", "message", "force_logout"] {
            refused(client, "notify-user", &format!("{}/{event}", owner.id));
        }
        refused(client, "notify-logged", "private-settings-changed");
    }
    refused(&mut anonymous, "room-messages", "GENERAL");
    refused(&mut anonymous, "notify-logged", "updateAvatar");
    refused(&mut anonymous, "roles", "roles");
    refused(&mut anonymous, "apps", "apps");
    // A role without permissions opens not even a public room.
    refused(&mut dave, "room-messages", "GENERAL");
    stranger
        .stream("room-messages", "GENERAL")
        .expect("public rooms are for every user");
    anonymous
        .stream("notify-all", "public-settings-changed")
        .expect("public");
}

#[test]
fn an_unknown_publication_and_an_empty_event_name_have_errors_of_their_own() {
    let (_, gateway) = product();
    let mut client = Client::open(gateway.port);
    let error = client
        .subscribe("no-such", &json!([]))
        .expect_err("unknown");
    assert_eq!(error["error"], 404);
    assert_eq!(error["reason"], "Subscription 'no-such' not found");
    let error = client.stream("notify-all", "").expect_err("empty");
    assert_eq!(error["error"], "invalid-event-name");
}

#[test]
fn tokens_that_are_wrong_or_over_get_403_and_the_socket_stays() {
    let (_, gateway) = product();
    let mut client = Client::open(gateway.port);
    let mut login = |params: Value| client.call("login", &params).expect_err("refused");
    let error = login(json!([{"resume": "no-such-token"}]));
    assert_eq!(error["error"], 403);
    assert_eq!(
        error["reason"],
        "You've been logged out by the server. Please log in again"
    );
    let error = login(json!([{"resume": EXPIRED_TOKEN}]));
    assert_eq!(error["error"], 403);
    assert_eq!(
        error["reason"],
        "Your session has expired. Please log in again."
    );
    let password = json!({"user": {"username": "alice"}, "password": "alice"});
    for params in [json!([password]), json!([]), json!([{"resume": 5}])] {
        assert_eq!(login(params)["error"], 403);
    }
    client.settle();
}

#[test]
fn a_login_answers_with_the_token_and_sends_the_users_document() {
    let (workspace, gateway) = product();
    let user = workspace.user(&["user"]);
    let mut client = Client::open(gateway.port);
    let result = client.login(&user.token);
    assert_eq!(result["id"], user.id);
    assert_eq!(result["token"], user.token);
    assert_eq!(result["type"], "resume");
    assert!(result["tokenExpires"]["$date"].is_i64(), "{result}");
    let document = client.wait_for("the users document", |message| {
        message["collection"] == "users"
    });
    assert_eq!(document["msg"], "added");
    assert_eq!(document["id"], user.id);
    assert_eq!(document["fields"]["username"], user.username);
    assert_eq!(document["fields"]["roles"], json!(["user"]));
    assert!(
        document["fields"]["services"]["resume"].is_null(),
        "{document}"
    );
}

#[test]
fn the_publications_that_are_no_streams_have_what_the_monolith_gave() {
    let (_, gateway) = product();
    let mut client = Client::open(gateway.port);
    client
        .subscribe("meteor.loginServiceConfiguration", &json!([]))
        .expect("for everybody");
    let service = client.wait_for("a login service", |message| {
        message["collection"] == "meteor_accounts_loginServiceConfiguration"
    });
    assert_eq!(service["fields"]["service"], "github");
    client
        .subscribe("meteor_autoupdate_clientVersions", &json!([null]))
        .expect("for everybody");
    for id in ["web.browser", "web.browser.legacy"] {
        let version = client.wait_for(id, |message| {
            message["collection"] == "meteor_autoupdate_clientVersions" && message["id"] == id
        });
        assert!(version["fields"]["versionNonRefreshable"].is_string());
        assert!(version["fields"].get("_id").is_none());
    }
}

#[test]
fn removal_from_a_room_ends_delivery_silently_on_every_socket() {
    let (workspace, gateway) = product();
    let (leaver, stayer) = (workspace.user(&["user"]), workspace.user(&["user"]));
    // Two open rooms: the original goes on delivering then.
    let left = workspace.room("p", &[&leaver, &stayer]);
    let kept = workspace.room("p", &[&leaver, &stayer]);
    let deletions = format!("{left}/deleteMessage");
    let removed = format!("{}/subscriptions-changed", leaver.id);
    let mut sockets = both_sockets(gateway.port, &leaver);
    for socket in &mut sockets {
        for rid in [&left, &kept] {
            socket.stream("room-messages", rid).expect("a member");
        }
        socket.stream("room-data", &left).expect("a member");
        socket.stream("notify-room", &deletions).expect("a member");
        socket.stream("notify-user", &removed).expect("himself");
    }
    let [mut other, _] = both_sockets(gateway.port, &stayer);
    other.stream("room-messages", &left).expect("a member");

    workspace.ask(&json!({"cmd": "removeMember", "rid": left, "username": leaver.username}));
    let unheard = workspace.send_as(&stayer, &left, "behind his back");
    workspace.ask(&json!({
        "cmd": "method", "username": stayer.username, "method": "deleteMessage",
        "args": [{"_id": unheard["_id"]}]
    }));
    let heard = workspace.send_as(&stayer, &kept, "to both");
    for socket in &mut sockets {
        // All of it came from one node, in this order.
        assert_eq!(socket.event("room-messages", &kept)[0]["_id"], heard["_id"]);
        let told = socket.wait_for("the removal", |message| {
            message["fields"]["eventName"] == removed && message["fields"]["args"][0] == "removed"
        });
        assert_eq!(told["fields"]["args"][1]["rid"], left);
        assert!(!socket.has(|message| message["fields"]["eventName"] == left
            && message["collection"] == "stream-room-messages"));
        assert!(!socket.has(|message| message["fields"]["eventName"] == deletions));
        assert!(!socket.has(|message| message["msg"] == "nosub"));
        let error = socket.stream("room-messages", &left).expect_err("outside");
        assert_eq!(error["error"], "not-allowed");
    }
    assert_eq!(
        other.event("room-messages", &left)[0]["_id"],
        unheard["_id"]
    );
}

/// Waits for the `nosub` of a subscription that was revoked.
fn revoked(socket: &mut Client, id: &str) {
    let nosub = socket.wait_for("a revocation", |message| {
        message["msg"] == "nosub" && message["id"] == id
    });
    assert_eq!(nosub["error"]["error"], "not-allowed");
}

#[test]
fn a_changed_role_is_judged_again() {
    let (workspace, gateway) = product();
    let user = workspace.user(&["user"]);
    let rid = workspace.room("p", &[&user]);
    for (socket, diff) in both_sockets(gateway.port, &user)
        .iter_mut()
        .zip([true, false])
    {
        let id = socket.stream("room-messages", &rid).expect("a member");
        let set = |roles: &[&str]| {
            workspace.ask(&json!({
                "cmd": "setUser", "username": user.username, "set": {"roles": roles}, "diff": diff
            }))
        };
        set(&["outsider"]);
        revoked(socket, &id);
        set(&["user"]);
        eventually("the role counts again", || {
            socket.stream("room-messages", &rid).ok()
        });
    }
}

#[test]
fn a_changed_permission_is_judged_again() {
    let (workspace, gateway) = product();
    let user = workspace.user(&["temporary"]);
    let rid = workspace.room("p", &[&user]);
    let allow = |roles: &[&str]| {
        workspace.ask(&json!({"cmd": "setPermission", "permission": "view-p-room", "roles": roles}))
    };
    allow(&["admin", "user", "guest", "temporary"]);
    let [mut socket, _] = both_sockets(gateway.port, &user);
    let id = eventually("the permission counts", || {
        socket.stream("room-messages", &rid).ok()
    });
    allow(&["admin", "user", "guest"]);
    revoked(&mut socket, &id);
}

#[test]
fn a_public_room_that_becomes_private_is_judged_again() {
    let (workspace, gateway) = product();
    let (member, guest) = (workspace.user(&["user"]), workspace.user(&["user"]));
    let rid = workspace.room("c", &[&member]);
    let [mut inside, _] = both_sockets(gateway.port, &member);
    let [mut outside, _] = both_sockets(gateway.port, &guest);
    inside.stream("room-messages", &rid).expect("a member");
    let id = outside.stream("room-messages", &rid).expect("public");
    workspace.ask(&json!({"cmd": "setRoom", "rid": rid, "set": {"t": "p"}}));
    revoked(&mut outside, &id);
    let sent = workspace.send_as(&member, &rid, "among us");
    assert_eq!(inside.event("room-messages", &rid)[0]["_id"], sent["_id"]);
}

#[test]
fn a_deactivated_user_is_closed_and_cannot_come_back() {
    let (workspace, gateway) = product();
    let user = workspace.user(&["user"]);
    let sockets = both_sockets(gateway.port, &user);
    workspace.ask(&json!({"cmd": "deactivate", "username": user.username}));
    for mut socket in sockets {
        assert_eq!(socket.closed(), closed(1008, "REVOKED"));
    }
    let mut again = Client::open(gateway.port);
    let error = again.call("login", &json!([{"resume": user.token}]));
    assert_eq!(error.expect_err("deactivated")["error"], 403);
}

#[test]
fn a_forced_logout_is_told_before_the_close_and_spares_other_sessions() {
    let (workspace, gateway) = product();
    let user = workspace.user(&["user"]);
    let event = format!("{}/force_logout", user.id);
    let agents = ["first", "second"].map(|name| format!("{name} of {}", user.id));
    let mut sockets = agents.clone().map(|agent| {
        let headers = [("User-Agent", agent.as_str())];
        let mut socket = Client::upgrade(gateway.port, "/websocket", &headers).expect("open");
        socket.connect();
        socket.login(&user.token);
        socket.stream("notify-user", &event).expect("himself");
        socket
    });
    let login = workspace.received("the second login", |line| {
        line["event"] == "accounts.login"
            && line["args"][0]["connection"]["httpHeaders"]["user-agent"] == agents[1]
    });
    let session = &login["args"][0]["connection"]["id"];
    let [first, second] = &mut sockets;

    workspace.ask(&json!({
        "cmd": "forceLogout", "username": user.username, "sessionId": session
    }));
    second.event("notify-user", &event);
    assert_eq!(second.closed(), closed(1008, "FORCED_LOGOUT"));
    // Both hear of it, one is meant.
    first.event("notify-user", &event);
    first.settle();

    workspace.ask(&json!({"cmd": "forceLogout", "username": user.username}));
    first.event("notify-user", &event);
    assert_eq!(first.closed(), closed(1008, "FORCED_LOGOUT"));
}

#[test]
fn a_logout_is_answered_and_closes_and_uses_the_token_up() {
    let (workspace, gateway) = product();
    let user = workspace.user(&["user"]);
    let [mut socket, mut other] = both_sockets(gateway.port, &user);
    assert_eq!(socket.call("logout", &json!([])), Ok(Value::Null));
    assert_eq!(socket.closed(), closed(1002, ""));
    assert_eq!(other.closed(), closed(1008, "REVOKED"), "the same token");
    workspace.received("the logout", |line| {
        line["event"] == "accounts.logout" && line["args"][0]["userId"] == user.id
    });
    let mut again = Client::open(gateway.port);
    let error = again.call("login", &json!([{"resume": user.token}]));
    assert_eq!(error.expect_err("used up")["error"], 403);
}

#[test]
fn relays_are_delivered_in_both_forms() {
    let (workspace, gateway) = product();
    let user = workspace.user(&["user"]);
    let event = format!("{}/otr", user.id);
    let [mut socket, _] = both_sockets(gateway.port, &user);
    socket.stream("notify-user", &event).expect("himself");
    for (number, relay) in [
        json!([["notify-user", event, [1, {"a": null}]]]),
        json!([{"stream": "notify-user", "eventName": event, "args": [2], "origin": "elsewhere"}]),
    ]
    .into_iter()
    .enumerate()
    {
        workspace.ask(&json!({"cmd": "broadcast", "event": "stream", "args": relay}));
        assert_eq!(socket.event("notify-user", &event)[0], number + 1);
    }
}

#[test]
fn connections_are_announced_without_cookies_and_authorization() {
    let (workspace, gateway) = product();
    let user = workspace.user(&["user"]);
    let agent = format!("agent of {}", user.id);
    let headers = [
        ("User-Agent", agent.as_str()),
        ("Cookie", "rc_token=secret"),
        ("Authorization", "Basic secret"),
    ];
    let mut socket = Client::upgrade(gateway.port, "/websocket", &headers).expect("open");
    let session = socket.connect();
    let announced = |event: &str, at: &str| {
        let line = workspace.received(event, |line| {
            line["event"] == event
                && line["args"][0].pointer(&format!("{at}/httpHeaders/user-agent"))
                    == Some(&json!(agent))
        });
        assert_eq!(line["from"], gateway.node);
        line["args"][0].pointer(at).expect("it was found").clone()
    };
    let connection = announced("socket.connected", "");
    assert_eq!(connection["clientAddress"], "127.0.0.1");
    let headers = connection["httpHeaders"].as_object().expect("an object");
    assert!(!headers.contains_key("cookie"), "{connection}");
    assert!(!headers.contains_key("authorization"), "{connection}");
    // What travels must not be what resumes.
    assert_ne!(connection["id"], session);

    socket.login(&user.token);
    let login = announced("accounts.login", "/connection");
    assert_eq!(login["id"], connection["id"]);
    let presence = workspace.received("newConnection", |line| {
        line["call"] == "presence.newConnection" && line["args"][0] == user.id
    });
    assert_eq!(
        presence["args"],
        json!([user.id, connection["id"], gateway.node])
    );
    socket.close();
    announced("socket.disconnected", "");
    workspace.received("removeConnection", |line| {
        line["call"] == "presence.removeConnection"
            && line["args"][0] == user.id
            && line["args"][1] == connection["id"]
    });
}

#[test]
fn forwarded_methods_answer_what_the_monolith_answers() {
    let (workspace, gateway) = product();
    let user = workspace.user(&["user"]);
    let [mut socket, _] = both_sockets(gateway.port, &user);
    let echoed =
        json!([{"$date": 1_700_000_000_123_i64}, "\u{2028}", {"$binary": "AQI="}, null, 1.5]);
    assert_eq!(socket.call("test:echo", &echoed), Ok(echoed));
    assert_eq!(socket.call("test:whoami", &json!([])), Ok(json!(user.id)));
    let mut anonymous = Client::open(gateway.port);
    assert_eq!(anonymous.call("test:whoami", &json!([])), Ok(Value::Null));

    let error = socket.call("test:error", &json!([])).expect_err("thrown");
    assert_eq!(error["error"], "error-test");
    assert_eq!(error["reason"], "A test error");
    assert_eq!(error["message"], "A test error [error-test]");
    assert_eq!(error["details"]["when"], json!({"$date": 0}));
    assert_eq!(error["errorType"], "Meteor.Error");
    assert_eq!(error["isClientSafe"], true);
    let error = socket.call("test:error-without-reason", &json!([]));
    assert_eq!(error.expect_err("thrown")["message"], "[error-test]");
    let error = socket.call("test:error-numeric", &json!([]));
    assert_eq!(error.expect_err("thrown")["error"], 403);
    let error = socket.call("test:error-plain", &json!([]));
    let error = error.expect_err("thrown");
    assert_eq!(error["error"], 500);
    assert_eq!(error["reason"], "Internal server error");
    let error = socket.call("no-such-method", &json!([]));
    assert_eq!(error.expect_err("unknown")["error"], 404);
}

#[test]
fn falsy_results_are_sent() {
    let (_, gateway) = product();
    let mut socket = Client::open(gateway.port);
    for (method, expected) in [
        ("test:false", json!(false)),
        ("test:zero", json!(0)),
        ("test:empty", json!("")),
        ("test:null", Value::Null),
    ] {
        let id = socket.start_call(method, &json!([]));
        let result = socket.wait_for("the result", |message| {
            message["msg"] == "result" && message["id"] == id
        });
        assert_eq!(result.get("result"), Some(&expected), "{method}");
    }
    let id = socket.start_call("test:nothing", &json!([]));
    let result = socket.wait_for("the result", |message| {
        message["msg"] == "result" && message["id"] == id
    });
    assert_eq!(result.get("result"), None);
}

#[test]
fn a_slow_method_holds_up_what_comes_after_it_but_not_a_ping() {
    let (_, gateway) = product();
    let mut socket = Client::open(gateway.port);
    socket.settle();
    let slow = socket.start_call("test:slow", &json!([300]));
    let fast = socket.start_call("test:zero", &json!([]));
    socket.send(&json!({"msg": "sub", "id": "late", "name": "stream-notify-all", "params": ["x"]}));
    socket.send(&json!({"msg": "ping", "id": "now"}));
    let mut order = Vec::new();
    while order.len() < 4 {
        let message = socket.next_message();
        match message["msg"].as_str() {
            Some("result" | "pong") => order.push(message["id"].clone()),
            Some("ready") => order.push(message["subs"][0].clone()),
            _ => {}
        }
    }
    assert_eq!(
        order,
        [json!("now"), json!(slow), json!(fast), json!("late")]
    );
}

#[test]
fn typing_under_a_foreign_name_or_in_a_foreign_room_is_refused_without_an_error() {
    let (workspace, gateway) = product();
    let (member, stranger) = (workspace.user(&["user"]), workspace.user(&["user"]));
    let rid = workspace.room("p", &[&member]);
    let event = format!("{rid}/user-activity");
    let [mut listener, mut typist] = both_sockets(gateway.port, &member);
    listener.stream("notify-room", &event).expect("a member");
    let [mut intruder, _] = both_sockets(gateway.port, &stranger);
    let mut anonymous = Client::open(gateway.port);
    let write = |socket: &mut Client, name: &str| {
        let params = json!([event, name, ["user-typing"], {}]);
        let answer = socket.call("stream-notify-room", &params);
        assert_eq!(answer, Ok(Value::Null));
    };
    write(&mut intruder, &stranger.username);
    write(&mut intruder, &member.username);
    write(&mut anonymous, &member.username);
    write(&mut typist, &stranger.username);
    write(&mut typist, &member.username);
    // Only the last one was allowed.
    let expected = json!([member.username, ["user-typing"], {}]);
    assert_eq!(listener.event("notify-room", &event), expected);
    listener.settle();
    assert!(!listener.has(|message| message["msg"] == "changed"));
}

#[test]
fn presence_methods_are_answered_with_whether_something_changed() {
    let (workspace, gateway) = product();
    let user = workspace.user(&["user"]);
    let [mut socket, _] = both_sockets(gateway.port, &user);
    workspace.received("newConnection", |line| {
        line["call"] == "presence.newConnection" && line["args"][0] == user.id
    });
    for (method, params, action) in [
        ("UserPresence:away", json!([]), "setConnectionStatus"),
        ("UserPresence:online", json!([]), "setConnectionStatus"),
        (
            "UserPresence:setDefaultStatus",
            json!(["busy"]),
            "setStatus",
        ),
        ("setUserStatus", json!(["online", "here"]), "setStatus"),
    ] {
        let answer = socket.call(method, &params).expect(method);
        assert!(answer.is_boolean(), "{method}: {answer}");
        workspace.received(method, |line| {
            line["call"] == format!("presence.{action}") && line["args"][0] == user.id
        });
    }
    let mut anonymous = Client::open(gateway.port);
    assert_eq!(
        anonymous.call("UserPresence:away", &json!([])),
        Ok(Value::Null)
    );
}

#[test]
fn events_of_the_monolith_become_stream_events() {
    let (workspace, gateway) = product();
    let user = workspace.user(&["user"]);
    let rid = workspace.room("p", &[&user]);
    let [mut socket, mut admin] = both_sockets(gateway.port, &user);
    admin.login("resume-token-of-alice");
    let own = |event: &str| format!("{}/{event}", user.id);
    for event in [
        "userData",
        "notification",
        "subscriptions-changed",
        "rooms-changed",
    ] {
        socket.stream("notify-user", &own(event)).expect("himself");
    }
    socket.stream("room-data", &rid).expect("a member");
    socket.stream("roles", "roles").expect("logged in");
    socket
        .stream("notify-logged", "permissions-changed")
        .expect("logged in");
    socket
        .stream("notify-all", "public-settings-changed")
        .expect("for all");
    admin
        .stream("notify-logged", "private-settings-changed")
        .expect("an admin");
    let activity = format!("{rid}/user-activity");
    socket.stream("notify-room", &activity).expect("a member");
    let tell = |event: &str, args: Value| {
        workspace.ask(&json!({"cmd": "broadcast", "event": event, "args": args}));
    };

    // Other causes, such as his own login, make events of the same names.
    let mut arrives = |event: &str, args: Value| {
        socket.wait_for(event, |message| {
            message["fields"]["eventName"] == event && message["fields"]["args"] == args
        });
    };

    tell("notify.desktop", json!([user.id, {"title": "x"}]));
    arrives(&own("notification"), json!([{"title": "x"}]));

    let change =
        json!({"clientAction": "updated", "id": user.id, "diff": {"bio": "y"}, "unset": {}});
    tell("watch.users", json!([change]));
    let diff = json!({"id": user.id, "diff": {"bio": "y"}, "unset": {}, "type": "updated"});
    arrives(&own("userData"), json!([diff]));

    let subscription = json!({"_id": "s", "rid": rid, "u": {"_id": user.id}, "unread": 3});
    let change = json!({"clientAction": "updated", "subscription": subscription});
    tell("watch.subscriptions", json!([change]));
    let expected = json!(["updated", subscription]);
    arrives(&own("subscriptions-changed"), expected);

    let room = json!({"_id": rid, "t": "p", "topic": "z"});
    let change = json!({"clientAction": "updated", "room": room});
    tell("watch.rooms", json!([change]));
    arrives(&own("rooms-changed"), json!(["updated", room]));
    arrives(&rid, json!([room]));

    let role = json!({"_id": "r", "name": "r"});
    let change = json!({"clientAction": "changed", "role": role});
    tell("watch.roles", json!([change]));
    arrives(
        "roles",
        json!([{"type": "changed", "_id": "r", "name": "r"}]),
    );

    let permission = json!({"_id": "p", "roles": []});
    let change = json!({"clientAction": "updated", "data": permission});
    tell("permission.changed", json!([change]));
    arrives("permissions-changed", json!(["updated", permission]));

    for (typing, activities) in [(true, json!(["user-typing"])), (false, json!([]))] {
        let change = json!({"isTyping": typing, "roomId": rid, "user": "somebody"});
        tell("user.activity", json!([change]));
        arrives(&activity, json!(["somebody", activities]));
    }

    let setting = json!({"_id": "s", "value": 1, "public": true});
    let change = json!({"clientAction": "updated", "setting": setting});
    tell("watch.settings", json!([change]));
    for (socket, event) in [
        (&mut socket, "public-settings-changed"),
        (&mut admin, "private-settings-changed"),
    ] {
        let changed = socket.wait_for(event, |message| {
            message["fields"]["eventName"] == event && message["fields"]["args"][1]["_id"] == "s"
        });
        assert_eq!(changed["fields"]["args"][1]["value"], 1);
    }
}

#[test]
fn a_new_room_reaches_its_members_with_rooms_changed() {
    let (workspace, gateway) = product();
    let (user, other) = (workspace.user(&["user"]), workspace.user(&["user"]));
    let event = format!("{}/rooms-changed", user.id);
    let mut sockets = both_sockets(gateway.port, &user);
    for socket in &mut sockets {
        socket.stream("notify-user", &event).expect("himself");
    }
    let rid = workspace.room("p", &[&other]);
    workspace.ask(&json!({"cmd": "addMember", "rid": rid, "username": user.username}));
    workspace.ask(&json!({"cmd": "setRoom", "rid": rid, "set": {"topic": "t"}}));
    for socket in &mut sockets {
        let inserted = socket.wait_for("the new room", |message| {
            message["fields"]["eventName"] == event && message["fields"]["args"][0] == "inserted"
        });
        assert_eq!(inserted["fields"]["args"][1]["_id"], rid);
        socket.wait_for("its change", |message| {
            message["fields"]["eventName"] == event && message["fields"]["args"][1]["topic"] == "t"
        });
    }
}

#[test]
fn the_workspaces_rate_limits_apply_to_forwarded_methods() {
    let (workspace, gateway) = product();
    let user = workspace.user(&["user"]);
    let [mut socket, _] = both_sockets(gateway.port, &user);
    // 10 in 10 s per connection and method; a bucket that fills up may let a few more through.
    let error = (0..40).find_map(|_| socket.call("test:zero", &json!([])).err());
    let error = error.expect("the limit is reached");
    assert_eq!(error["error"], "too-many-requests");
    assert!(error["details"]["timeToReset"].is_number(), "{error}");
    assert!(gateway.metric("ddp_edge_limited_total", &[]) > 0.0);
    assert_eq!(socket.call("test:null", &json!([])), Ok(Value::Null));
}

#[test]
fn typing_reaches_the_sockets_of_another_gateway_once() {
    let (workspace, here) = product();
    let there = workspace.gateway(BINARY, &[]);
    let (typist, listener) = (workspace.user(&["user"]), workspace.user(&["user"]));
    let rid = workspace.room("p", &[&typist, &listener]);
    let event = format!("{rid}/user-activity");
    let ports = [here.port, there.port];
    let mut listeners = ports.map(|port| {
        let mut socket = Client::open(port);
        socket.login(&listener.token);
        socket.stream("notify-room", &event).expect("a member");
        socket
    });
    // Each gateway must know that the other one takes relays.
    for node in [&here.node, &there.node] {
        workspace.wait_for_node(node);
    }
    let mut typists = ports.map(|port| {
        let mut socket = Client::open(port);
        socket.login(&typist.token);
        socket.stream("notify-room", &event).expect("a member");
        socket
    });
    for (number, socket) in typists.iter_mut().enumerate() {
        let args = json!([event, typist.username, [format!("typing-{number}")], {}]);
        socket.call("stream-notify-room", &args).expect("a member");
    }
    // A message of the monolith comes behind both, on both.
    for socket in &mut listeners {
        for _ in 0..2 {
            socket.event("notify-room", &event);
        }
    }
    for (number, socket) in typists.iter_mut().enumerate() {
        // What he wrote himself does not come back, the other's does.
        let args = socket.event("notify-room", &event);
        assert_eq!(args[1][0], format!("typing-{}", 1 - number));
    }
    for socket in listeners.iter_mut().chain(&mut typists) {
        socket.settle();
        assert!(!socket.has(|message| message["msg"] == "changed"));
    }
}

#[test]
fn sigterm_closes_the_sockets_with_1012_and_leaves_the_network() {
    let (workspace, _) = product();
    let mut gateway = workspace.gateway(BINARY, &[]);
    let user = workspace.user(&["user"]);
    let mut sockets = Vec::from(both_sockets(gateway.port, &user));
    sockets.push(Client::open(gateway.port));
    workspace.received("newConnection", |line| {
        line["call"] == "presence.newConnection" && line["args"][0] == user.id
    });
    gateway.edge.signal("TERM");
    for socket in &mut sockets {
        assert_eq!(socket.closed(), closed(1012, "DRAINING"));
    }
    let status = gateway.edge.wait_for_end();
    assert!(status.success(), "{status}");
    for _ in 0..2 {
        workspace.received("removeConnection", |line| {
            line["call"] == "presence.removeConnection" && line["args"][0] == user.id
        });
    }
    eventually("the monolith sees it gone", || {
        let nodes = workspace.ask(&json!({"cmd": "nodes"}));
        let nodes = nodes["nodes"].as_array().expect("a list").clone();
        let still_there = nodes
            .iter()
            .any(|node| node["id"] == gateway.node && node["available"] == true);
        (!still_there).then_some(())
    });
    let gone = workspace.ask(&json!({
        "cmd": "find", "collection": "usersSessions", "filter": {"_id": user.id}
    }));
    assert_eq!(gone["documents"][0]["connections"], json!([]));
}
