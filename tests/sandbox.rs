//! The newcomer's sandbox: one process without any server, its demo people, its rules about pages elsewhere, its data.

use std::{
    collections::BTreeSet,
    sync::{
        Mutex, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use harness::{Client, Closed, Edge, NodeProcess, eventually, free_port, http::request};
use serde_json::{Value, json};
use tungstenite::Message;

const BINARY: &str = env!("CARGO_BIN_EXE_ddp-edge");
const SECRET: &str = "demo-secret";

fn start(arguments: &[&str]) -> (Edge, u16) {
    let port = free_port();
    let port_text = port.to_string();
    let arguments = [arguments, &["--port", &port_text]].concat();
    let mut edge = Edge::start(BINARY, &arguments, &[("DDP_EDGE_RATE_LIMITS", "false")]);
    edge.wait_for_ok(port, "/readyz");
    (edge, port)
}

/// One sandbox for all tests that end nothing.
fn port() -> u16 {
    static SANDBOX: OnceLock<(Edge, u16)> = OnceLock::new();
    SANDBOX.get_or_init(|| start(&["--ephemeral"])).1
}

/// A demo person's password is the name. Returns the login's result.
fn log_in(client: &mut Client, name: &str) -> Value {
    let params = json!([{"user": {"username": name}, "password": name}]);
    client.call("login", &params).expect("a demo login")
}

fn person(port: u16, name: &str) -> Client {
    let mut client = Client::open(port);
    log_in(&mut client, name);
    client
}

/// A room of its own for a test, made by alice; returns its id.
fn new_room(alice: &mut Client, name: &str, members: &[&str]) -> String {
    let made = alice.call("createPrivateGroup", &json!([name, members]));
    let made = made.expect("alice may make rooms");
    made["rid"].as_str().expect("a room id").to_owned()
}

#[test]
fn two_people_see_each_others_messages_typing_and_deletions() {
    let mut alice = person(port(), "alice");
    let room = new_room(&mut alice, "two-people", &["bob"]);
    // Bob comes once by password and once with the token that he got, in SockJS framing.
    let mut bob = Client::open(port());
    let token = log_in(&mut bob, "bob")["token"].clone();
    let mut bob_again = Client::open_sockjs(port());
    bob_again.login(token.as_str().expect("a token"));
    let (typing, deletions) = (
        format!("{room}/user-activity"),
        format!("{room}/deleteMessage"),
    );
    for socket in [&mut alice, &mut bob, &mut bob_again] {
        socket.stream("room-messages", &room).expect("a member");
        socket.stream("notify-room", &typing).expect("a member");
        socket.stream("notify-room", &deletions).expect("a member");
    }
    let send = |socket: &mut Client, text: &str| {
        let sent = socket.call("sendMessage", &json!([{"rid": room, "msg": text}]));
        sent.expect("a member")["_id"].clone()
    };
    let from_alice = send(&mut alice, "hello bob");
    let from_bob = send(&mut bob_again, "hello alice");
    for socket in [&mut alice, &mut bob, &mut bob_again] {
        for (id, text) in [(&from_alice, "hello bob"), (&from_bob, "hello alice")] {
            let message = socket.wait_for(text, |message| {
                message["collection"] == "stream-room-messages"
                    && message["fields"]["args"][0]["_id"] == *id
            });
            assert_eq!(message["fields"]["args"][0]["msg"], text);
        }
    }
    let activity = json!([typing, "alice", ["user-typing"], {}]);
    alice
        .call("stream-notify-room", &activity)
        .expect("never an error");
    alice
        .call("deleteMessage", &json!([{"_id": from_alice}]))
        .expect("her own");
    for socket in [&mut bob, &mut bob_again] {
        let args = socket.event("notify-room", &typing);
        assert_eq!(
            (&args[0], &args[1][0]),
            (&json!("alice"), &json!("user-typing"))
        );
    }
    for socket in [&mut alice, &mut bob, &mut bob_again] {
        let deleted = socket.event("notify-room", &deletions);
        assert_eq!(deleted, json!([{"_id": from_alice}]));
    }
}

#[test]
fn a_password_may_be_hashed_and_must_be_right() {
    let mut client = Client::open(port());
    let mut login = |password: Value| {
        let params = json!([{"user": {"username": "carol"}, "password": password}]);
        client.call("login", &params)
    };
    // SHA-256 of "carol".
    let digest = "4c26d9074c27d89ede59270c0ac14b71e071b15239519f75474b2f3ba63481f5";
    login(json!({"digest": digest, "algorithm": "sha-256"})).expect("the right one");
    let error = login(json!("wrong")).expect_err("the wrong one");
    assert_eq!(error["error"], 403);
}

#[test]
fn people_outside_a_private_room_are_refused() {
    let mut carol = person(port(), "carol");
    let error = carol.stream("room-messages", SECRET).expect_err("outside");
    assert_eq!(error["error"], "not-allowed");
    let error = carol.call("sendMessage", &json!([{"rid": SECRET, "msg": "let me in"}]));
    assert_eq!(error.expect_err("outside")["error"], "error-not-allowed");
    let history = carol.call("loadHistory", &json!([SECRET]));
    assert_eq!(history, Ok(json!(false)));
}

#[test]
fn removal_from_a_room_ends_delivery() {
    let mut alice = person(port(), "alice");
    let room = new_room(&mut alice, "removal", &["bob"]);
    let mut bob = person(port(), "bob");
    bob.stream("room-messages", &room).expect("a member");
    alice.stream("room-messages", &room).expect("the owner");
    alice
        .call(
            "removeUserFromRoom",
            &json!([{"rid": room, "username": "bob"}]),
        )
        .expect("the owner may");
    // It is announced by the change feed, behind the answer.
    eventually("bob is out", || bob.stream("room-messages", &room).err());
    let sent = alice.call("sendMessage", &json!([{"rid": room, "msg": "he is gone"}]));
    let id = sent.expect("the owner")["_id"].clone();
    alice.wait_for("her message", |message| {
        message["fields"]["args"][0]["_id"] == id
    });
    bob.settle();
    assert!(!bob.has(|message| message["fields"]["args"][0]["_id"] == id));
}

#[test]
fn pages_elsewhere_are_refused_but_for_health() {
    let port = port();
    let own = [
        format!("127.0.0.1:{port}"),
        format!("localhost:{port}"),
        // The near end of a tunnel.
        "localhost:8080".to_owned(),
    ];
    for host in &own {
        let origin = format!("http://{host}");
        for headers in [
            vec![("Host", host.as_str())],
            vec![("Host", host.as_str()), ("Origin", &origin)],
            // A development server.
            vec![
                ("Host", host.as_str()),
                ("Origin", "https://localhost:5173"),
            ],
        ] {
            assert_eq!(
                request(port, "GET", "/", &headers).status,
                200,
                "{headers:?}"
            );
            drop(Client::upgrade(port, "/websocket", &headers).expect("our own page"));
        }
    }
    let host = own[0].as_str();
    let foreign = [
        ("Origin", "http://evil.example".to_owned()),
        ("Origin", "null".to_owned()),
        ("Origin", format!("http://localhost:{port}.evil.example")),
        // A name of somebody else that points at our address.
        ("Host", format!("rebinding.example:{port}")),
        ("Host", format!("192.0.2.7:{port}")),
    ];
    for (name, value) in &foreign {
        let mut headers = vec![(*name, value.as_str())];
        if *name != "Host" {
            headers.push(("Host", host));
        }
        let refused = Client::upgrade(port, "/websocket", &headers).err();
        assert_eq!(
            refused.map(|answer| answer.status),
            Some(403),
            "{headers:?}"
        );
        for path in ["/", "/sockjs/info", "/api/v1/info", "/metrics"] {
            let answer = request(port, "GET", path, &headers);
            assert_eq!(answer.status, 403, "{path} {headers:?}");
        }
        for path in ["/health", "/livez", "/readyz"] {
            let answer = request(port, "GET", path, &headers);
            assert_eq!(answer.status, 200, "{path} {headers:?}");
        }
    }
}

#[test]
fn a_development_server_may_use_rest_and_sockjs_from_its_own_port() {
    let port = port();
    let origin = ("Origin", "http://localhost:5173");
    let host = format!("localhost:{port}");
    let host = ("Host", host.as_str());
    let preflight = [
        host,
        origin,
        ("Access-Control-Request-Method", "POST"),
        ("Access-Control-Request-Headers", "x-user-id,x-auth-token"),
    ];
    let answer = request(port, "OPTIONS", "/api/v1/chat.sendMessage", &preflight);
    assert_eq!(answer.status, 204);
    let allowed = answer.header("access-control-allow-headers");
    assert_eq!(allowed, Some("x-user-id,x-auth-token"));
    for path in ["/api/v1/info", "/sockjs/info"] {
        let answer = request(port, "GET", path, &[host, origin]);
        assert_eq!(answer.status, 200);
        let allowed = answer.header("access-control-allow-origin");
        assert_eq!(allowed, Some("http://localhost:5173"), "{path}");
    }
    let foreign = [host, ("Origin", "http://evil.example"), preflight[2]];
    let answer = request(port, "OPTIONS", "/api/v1/chat.sendMessage", &foreign);
    assert_eq!(answer.status, 403);
}

#[test]
fn what_the_sandbox_does_not_do_says_so() {
    let port = port();
    let mut bob = person(port, "bob");
    let error = bob
        .call("livechat:takeInquiry", &json!([]))
        .expect_err("no");
    let reason = error["reason"].as_str().unwrap_or_default();
    assert!(reason.contains("not implemented in the sandbox"), "{error}");
    let host = format!("localhost:{port}");
    let answer = request(port, "GET", "/api/v1/livechat/rooms", &[("Host", &host)]);
    assert_eq!(answer.status, 501);
    assert!(answer.body.contains("not implemented in the sandbox"));
}

#[test]
fn the_last_owner_hands_over_before_leaving() {
    let mut alice = person(port(), "alice");
    let room = new_room(&mut alice, "handed-over", &["bob"]);
    let error = alice
        .call("leaveRoom", &json!([room]))
        .expect_err("an owner");
    assert_eq!(error["error"], "error-you-are-last-owner");
    let mut bob = person(port(), "bob");
    let error = bob.call("addRoomOwner", &json!([room, "demo-bob"]));
    assert_eq!(error.expect_err("no owner")["error"], "error-not-allowed");
    let members = alice.call("getUsersOfRoom", &json!([room])).expect("hers");
    assert_eq!(members["total"], 2);
    let owner = alice.call("addRoomOwner", &json!([room, "demo-bob"]));
    owner.expect("an owner may");
    alice
        .call("leaveRoom", &json!([room]))
        .expect("there is another");
    // Alone, nobody is there to hand over to.
    bob.call("leaveRoom", &json!([room])).expect("the last one");
}

/// A hundred clients come, subscribe, write and go, again and again.
#[test]
fn clients_that_come_and_go_leave_the_sandbox_small() {
    const LIVES: usize = 30;
    const MEMORY_MAX: u64 = 100 << 20;
    let folder = tempfile::tempdir().expect("a folder");
    let (edge, port) = start(&["--data", folder.path().to_str().expect("UTF-8")]);
    thread::scope(|scope| {
        for number in 0..20 {
            let name = ["alice", "bob", "carol", "dave"][number % 4];
            scope.spawn(move || {
                for _ in 0..LIVES {
                    let mut client = person(port, name);
                    client.stream("room-messages", "GENERAL").expect("a member");
                    let message = json!([{"rid": "GENERAL", "msg": "x".repeat(200)}]);
                    client.call("sendMessage", &message).expect("a member");
                }
            });
        }
    });
    let peak = edge.rss_peak();
    assert!(peak < MEMORY_MAX, "{} MB at its peak", peak >> 20);
}

#[test]
fn npm_clients_get_through_their_scenario() {
    let mut alice = person(port(), "alice");
    let room = new_room(&mut alice, "npm-clients", &["bob"]);
    let mut carol = person(port(), "carol");
    let foreign = carol
        .call("createPrivateGroup", &json!(["without-alice", []]))
        .expect("carol may make rooms");
    let url = format!("http://127.0.0.1:{}", port());
    for script in ["ddp-client", "sdk", "simpleddp", "sockjs-client"] {
        // Each logs alice out, which uses the token up.
        let tokens = ["alice", "bob"].map(|name| {
            let token = log_in(&mut Client::open(port()), name)["token"].clone();
            token.as_str().expect("a token").to_owned()
        });
        let mut client = NodeProcess::start(
            &format!("clients/{script}.js"),
            &[&url, &tokens[0], &tokens[1]],
            &[
                ("ROOM", &room),
                ("FOREIGN_ROOM", foreign["rid"].as_str().expect("a room id")),
                ("ALICE_ID", "demo-alice"),
                ("BOB_ID", "demo-bob"),
            ],
        );
        client.wait_for("the scenario's end", |line| {
            assert_ne!(line["ok"], false, "{script}: {line}");
            line["done"] == true
        });
    }
}

#[test]
fn sigterm_ends_it_with_exit_code_0() {
    let (mut edge, port) = start(&["--ephemeral"]);
    let mut alice = person(port, "alice");
    edge.signal("TERM");
    let expected = Closed {
        code: Some(1012),
        reason: "DRAINING".to_owned(),
    };
    assert_eq!(alice.closed(), expected);
    assert!(edge.wait_for_end().success());
}

/// All ids of a room, by its history, page by page.
fn history(client: &mut Client, room: &str) -> Vec<String> {
    const PAGE: usize = 100;
    let mut ids = Vec::new();
    let mut before = Value::Null;
    loop {
        let page = client
            .call("loadHistory", &json!([room, before, PAGE]))
            .expect("a member");
        let messages = page["messages"].as_array().expect("a list");
        let new: Vec<_> = messages
            .iter()
            .map(|message| message["_id"].as_str().expect("an id").to_owned())
            .filter(|id| !ids.contains(id))
            .collect();
        let last = messages.last().map(|message| &message["ts"]["$date"]);
        if new.is_empty() {
            return ids;
        }
        // Messages of one millisecond may stand on both pages.
        let last = last.and_then(Value::as_i64).expect("a time");
        before = json!({"$date": last + 1});
        ids.extend(new);
    }
}

/// Sends messages until the connection ends; returns the ids of those that were acknowledged.
fn write_until_the_end(
    port: u16,
    (name, token): (&str, &str),
    round: usize,
    acknowledged: &AtomicUsize,
) -> Vec<String> {
    let mut client = Client::open(port);
    client.login(token);
    let mut ids = Vec::new();
    for number in 0.. {
        let id = format!("{name}-{round}-{number}");
        let call = json!({
            "msg": "method", "id": id, "method": "sendMessage",
            "params": [{"_id": id, "rid": "GENERAL", "msg": "x".repeat(200)}]
        });
        if client.try_send(Message::text(call.to_string())).is_err() {
            return ids;
        }
        loop {
            match client.receive() {
                Ok(message) if message["msg"] == "result" && message["id"] == id => {
                    assert!(message.get("error").is_none(), "{message}");
                    break;
                }
                Ok(_) => {}
                Err(_) => return ids,
            }
        }
        ids.push(id);
        acknowledged.fetch_add(1, Ordering::Relaxed);
    }
    unreachable!("the numbers do not end")
}

#[test]
fn kill_9_under_load_loses_no_acknowledged_message_and_no_login() {
    const NAMES: [&str; 4] = ["alice", "bob", "carol", "dave"];
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path().to_str().expect("UTF-8");
    let mut tokens: Vec<String> = Vec::new();
    let all = Mutex::new(BTreeSet::new());
    // The counts at which it is killed have nothing in common with any batch.
    for (round, kill_at) in [7, 61, 131].into_iter().enumerate() {
        let (mut edge, port) = start(&["--data", folder]);
        if tokens.is_empty() {
            tokens.extend(NAMES.map(|name| {
                let token = log_in(&mut Client::open(port), name)["token"].clone();
                token.as_str().expect("a token").to_owned()
            }));
        }
        let acknowledged = AtomicUsize::new(0);
        thread::scope(|scope| {
            for (name, token) in NAMES.into_iter().zip(&tokens) {
                let (all, acknowledged) = (&all, &acknowledged);
                scope.spawn(move || {
                    let ids = write_until_the_end(port, (name, token), round, acknowledged);
                    all.lock().expect("no writer panics").extend(ids);
                });
            }
            eventually("enough is acknowledged", || {
                (acknowledged.load(Ordering::Relaxed) >= kill_at).then_some(())
            });
            edge.kill9();
        });
    }
    let (_edge, port) = start(&["--data", folder]);
    let mut reader = Client::open(port);
    reader.login(&tokens[0]);
    let found = history(&mut reader, "GENERAL");
    let distinct: BTreeSet<_> = found.iter().cloned().collect();
    assert_eq!(distinct.len(), found.len(), "a message is there twice");
    let all = all.into_inner().expect("no writer panics");
    let lost: Vec<_> = all.difference(&distinct).collect();
    assert!(lost.is_empty(), "lost of {}: {lost:?}", all.len());
}
