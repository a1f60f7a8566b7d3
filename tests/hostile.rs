//! Everything that a misbehaving client or peer can send (`gateway.md` 2.7, `design.md` 6): its close code or error, its
//! metric, and a healthy client beside it that misses nothing.

use std::{
    io::{ErrorKind, Read, Write},
    net::TcpStream,
    sync::OnceLock,
    thread,
};

use harness::{
    Client, Closed, Gateway, RawNats, User, Workspace, eventually, frame,
    http::{get, request},
};
use serde_json::{Value, json};
use tungstenite::Message;

const BINARY: &str = env!("CARGO_BIN_EXE_ddp-edge");
const CLOSED: &str = "ddp_edge_connections_closed_total";
const REFUSED: &str = "ddp_edge_refused_total";
const KIB: usize = 1_024;
const MIB: usize = 1_024 * KIB;

/// One workspace and a gateway without rate limits, which would come before the limits under test.
fn target() -> &'static (Workspace, Gateway) {
    static TARGET: OnceLock<(Workspace, Gateway)> = OnceLock::new();
    TARGET.get_or_init(|| {
        let workspace = Workspace::start(&[("DDP_EDGE_RATE_LIMITS", "false")]);
        let gateway = workspace.gateway(BINARY, &[]);
        (workspace, gateway)
    })
}

fn port() -> u16 {
    target().1.port
}

fn user() -> (User, Client) {
    let (workspace, gateway) = target();
    let user = workspace.user(&["user"]);
    let mut client = Client::open(gateway.port);
    client.login(&user.token);
    (user, client)
}

/// A client before `connect`.
fn silent(path: &str) -> Client {
    Client::upgrade(port(), path, &[]).expect("sockets are taken")
}

/// What this does to a connection ends it so, and is counted under this reason.
fn ends(
    client: &mut Client,
    (code, reason, label): (u16, &str, &str),
    act: impl FnOnce(&mut Client),
) {
    let gateway = &target().1;
    let labels = [("reason", label)];
    let before = gateway.metric(CLOSED, &labels);
    act(client);
    let expected = Closed {
        code: Some(code),
        reason: reason.to_owned(),
    };
    assert_eq!(client.closed(), expected, "{label}");
    gateway.metric_grows(CLOSED, &labels, before);
}

/// Writes, though the peer may have ended the connection in the middle.
fn write(client: &mut Client, bytes: &[u8]) {
    if let Err(error) = client.bytes().write_all(bytes) {
        assert!(
            matches!(
                error.kind(),
                ErrorKind::BrokenPipe | ErrorKind::ConnectionReset
            ),
            "{error}"
        );
    }
}

const UNSUPPORTED: (u16, &str, &str) = (1007, "UNSUPPORTED_DATA", "unsupported_data");
const PROTOCOL: (u16, &str, &str) = (1002, "", "websocket_protocol");
const ID_TOO_LONG: (u16, &str, &str) = (1002, "ID_TOO_LONG", "id_too_long");
const MALFORMED: (u16, &str, &str) = (1002, "", "malformed_message");
const TOO_BIG: (u16, &str, &str) = (1009, "", "too_big");
const NOT_CONNECT_FIRST: (u16, &str, &str) = (1002, "CLOSE_PROTOCOL_ERROR", "not_connect_first");

#[test]
fn what_is_not_json_closes_with_1007() {
    for text in [
        "{",
        "x",
        "{\"msg\":}",
        "",
        "[]",
        "nul",
        "{\"msg\":\"ping\"} x",
    ] {
        let mut client = Client::open(port());
        ends(&mut client, UNSUPPORTED, |client| client.send_text(text));
    }
    for text in ["[\"", "[5]", "[{}]"] {
        let mut client = Client::open_sockjs(port());
        ends(&mut client, UNSUPPORTED, |client| client.send_text(text));
    }
}

#[test]
fn empty_sockjs_messages_are_ignored() {
    let mut client = Client::open_sockjs(port());
    client.send_text("");
    client.send_text("[]");
    client.settle();
}

#[test]
fn a_binary_message_closes_with_1007() {
    let mut client = Client::open(port());
    ends(&mut client, UNSUPPORTED, |client| {
        client.try_send(Message::binary("{}")).expect("open");
    });
}

#[test]
fn anything_but_connect_first_closes_with_1002() {
    for text in [
        r#"{"msg":"sub","id":"1","name":"x"}"#,
        r#"{"msg":"method","id":"1","method":"x"}"#,
        r#"{"msg":"no-such"}"#,
        "{}",
        "5",
    ] {
        let mut client = silent("/websocket");
        ends(&mut client, NOT_CONNECT_FIRST, |client| {
            client.send_text(text)
        });
    }
}

#[test]
fn a_version_that_is_not_ours_is_answered_and_closed() {
    for support in [json!(["2"]), json!([])] {
        let mut client = silent("/websocket");
        ends(
            &mut client,
            (1002, "VERSION_REFUSED", "version_refused"),
            |client| {
                client.send(&json!({"msg": "connect", "version": "2", "support": support}));
            },
        );
        let failed = client.wait_for("failed", |message| message["msg"] == "failed");
        assert_eq!(failed["version"], "1");
    }
    let mut client = silent("/websocket");
    client.send(&json!({"msg": "connect", "version": "pre2", "support": ["pre2"]}));
    client.wait_for("connected", |message| message["msg"] == "connected");
}

#[test]
fn messages_without_a_meaning_are_ignored() {
    let mut client = Client::open(port());
    for text in [
        "{}",
        "5",
        r#""x""#,
        r#"{"msg":"no-such","id":"1"}"#,
        r#"{"msg":5}"#,
        r#"{"msg":"connect","version":"1","support":["1"]}"#,
        r#"{"msg":"pong"}"#,
    ] {
        client.send_text(text);
    }
    client.settle();
    client.wait_for("the greeting", |message| message["server_id"] == "0");
    assert!(!client.has(|_| true), "something was answered");
}

#[test]
fn calls_and_subscriptions_without_their_fields_close_with_1002() {
    for message in [
        json!({"msg": "method", "id": "1"}),
        json!({"msg": "method", "method": "x"}),
        json!({"msg": "sub", "id": "1"}),
        json!({"msg": "sub", "name": "x"}),
        json!({"msg": "unsub"}),
    ] {
        let mut client = Client::open(port());
        ends(&mut client, MALFORMED, |client| client.send(&message));
    }
}

#[test]
fn frames_against_the_protocol_close_with_1002() {
    let unmasked = b"\x81\x02{}".to_vec();
    let reserved_bit = frame(0xC1, b"{}");
    let reserved_opcode = frame(0x83, b"{}");
    let continuation_of_nothing = frame(0x80, b"{}");
    let fragmented_ping = frame(0x09, b"x");
    let long_ping = frame(0x89, &[b'x'; 126]);
    let interrupted = [frame(0x01, b"{"), frame(0x81, b"}")].concat();
    let bad_close = frame(0x88, &1005_u16.to_be_bytes());
    for bytes in [
        unmasked,
        reserved_bit,
        reserved_opcode,
        continuation_of_nothing,
        fragmented_ping,
        long_ping,
        interrupted,
        bad_close,
    ] {
        let mut client = Client::open(port());
        ends(&mut client, PROTOCOL, |client| write(client, &bytes));
    }
}

#[test]
fn text_that_is_not_utf_8_closes_with_1007() {
    let whole = frame(0x81, b"{\"msg\":\"\xFF\"}");
    let split = [frame(0x01, b"{\"msg\":\"\xE2\x82"), frame(0x80, b"x\"}")].concat();
    for bytes in [whole, split] {
        let mut client = Client::open(port());
        ends(&mut client, (1007, "", "invalid_utf8"), |client| {
            write(client, &bytes);
        });
    }
}

#[test]
fn a_message_in_many_fragments_is_one_message() {
    let mut client = Client::open(port());
    let text = br#"{"msg":"ping","id":"whole"}"#;
    let (last, first) = text.split_last().expect("not empty");
    let mut bytes = frame(0x01, b"");
    for byte in first {
        bytes.extend(frame(0x00, &[*byte]));
        bytes.extend(frame(0x89, b"between"));
    }
    bytes.extend(frame(0x80, &[*last]));
    write(&mut client, &bytes);
    client.wait_for("the pong", |message| message["id"] == "whole");
}

#[test]
fn deep_json_closes_with_1007_and_the_deepest_allowed_does_not() {
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    let method = |params: &str| {
        format!(r#"{{"msg":"method","id":"deep","method":"test:echo","params":{params}}}"#)
    };
    let mut client = Client::open(port());
    // The message itself is the first level.
    client.send_text(&method(&nested(31)));
    client.outcome("deep").expect("echoed");
    ends(&mut client, (1007, "TOO_DEEP", "too_deep"), |client| {
        client.send_text(&method(&nested(32)));
    });
}

#[test]
fn a_message_over_64_kib_before_the_login_closes_with_1009() {
    let padded = |bytes: usize| {
        let empty = r#"{"msg":"ping","id":"p","pad":""}"#.len();
        format!(
            r#"{{"msg":"ping","id":"p","pad":"{}"}}"#,
            "x".repeat(bytes - empty)
        )
    };
    let mut client = Client::open(port());
    client.send_text(&padded(64 * KIB));
    client.wait_for("the pong", |message| message["id"] == "p");
    ends(&mut client, TOO_BIG, |client| {
        write(client, &frame(0x81, padded(64 * KIB + 1).as_bytes()));
    });

    let (_, mut client) = user();
    client.send_text(&padded(MIB));
    client.wait_for("the pong", |message| message["id"] == "p");
    ends(&mut client, TOO_BIG, |client| {
        write(client, &frame(0x81, padded(MIB + 1).as_bytes()));
    });
}

#[test]
fn a_huge_length_is_refused_before_its_bytes_come() {
    let mut client = Client::open(port());
    ends(&mut client, TOO_BIG, |client| {
        let mut header = vec![0x81, 0x80 | 127];
        header.extend(u64::MAX.wrapping_shr(1).to_be_bytes());
        header.extend([0; 4]);
        write(client, &header);
    });
}

#[test]
fn more_than_65_536_fragments_close_with_1009() {
    let (_, mut client) = user();
    ends(&mut client, TOO_BIG, |client| {
        let mut bytes = frame(0x01, b"");
        for _ in 0..65_536 {
            bytes.extend(frame(0x00, b""));
        }
        write(client, &bytes);
    });
}

#[test]
fn more_than_256_waiting_messages_close_with_1008() {
    const TOO_MANY: (u16, &str, &str) = (1008, "TOO_MANY_PENDING", "too_many_pending");
    let flood = |client: &mut Client, message: &Value, count: usize| {
        client.start_call("test:slow", &json!([600_000]));
        let bytes = frame(0x81, message.to_string().as_bytes());
        write(client, &bytes.repeat(count));
    };
    let sub = json!({"msg": "sub", "id": "s", "name": "stream-notify-all", "params": ["x"]});
    let (_, mut client) = user();
    ends(&mut client, TOO_MANY, |client| flood(client, &sub, 257));

    // Before a login it is 128 KiB, whatever the number.
    let large = json!({"msg": "sub", "id": "s", "name": "x", "params": ["x".repeat(60 * KIB)]});
    let mut anonymous = Client::open(port());
    ends(&mut anonymous, TOO_MANY, |client| flood(client, &large, 3));

    let large = json!({"msg": "sub", "id": "s", "name": "x", "params": ["x".repeat(600 * KIB)]});
    let (_, mut client) = user();
    ends(&mut client, TOO_MANY, |client| flood(client, &large, 4));
}

#[test]
fn a_flood_before_connect_closes_at_once() {
    let mut client = silent("/websocket");
    ends(&mut client, NOT_CONNECT_FIRST, |client| {
        let sub = frame(0x81, br#"{"msg":"sub","id":"s","name":"x","params":[]}"#);
        write(client, &sub.repeat(10_000));
    });
}

#[test]
fn the_1001st_subscription_is_refused() {
    let (_, mut client) = user();
    for number in 0..1_000 {
        client.send(&json!({
            "msg": "sub", "id": format!("s{number}"), "name": "stream-notify-all",
            "params": [format!("event-{number}")]
        }));
        // What waits is limited too.
        if number % 100 == 99 {
            client.wait_for("ready", |message| {
                message["subs"][0] == format!("s{number}")
            });
        }
    }
    let error = client.stream("notify-all", "one-more").expect_err("full");
    assert_eq!(error["error"], "error-too-many-subscriptions");
    client.unsubscribe("s0");
    client.stream("notify-all", "one-more").expect("room again");
}

#[test]
fn the_51st_subscription_without_a_login_is_refused() {
    let (user, _) = user();
    let mut client = Client::open(port());
    for number in 0..50 {
        let event = format!("event-{number}");
        client.stream("notify-all", &event).expect("for everybody");
    }
    let error = client.stream("notify-all", "one-more").expect_err("full");
    assert_eq!(error["error"], "error-too-many-subscriptions");
    client.login(&user.token);
    client
        .stream("notify-all", "one-more")
        .expect("room for a user");
    let refused = "ddp_edge_subscriptions_refused_total";
    let gateway = &target().1;
    gateway.metric_grows(refused, &[("limit", "count")], 0.0);
    let long = "x".repeat(KIB + 1);
    let error = client.stream("notify-all", &long).expect_err("too long");
    assert_eq!(error["error"], "invalid-event-name");
    gateway.metric_grows(refused, &[("limit", "name")], 0.0);
}

#[test]
fn params_that_are_no_array_get_500_and_missing_ones_count_as_none() {
    let mut client = Client::open(port());
    for params in [json!({}), json!("x"), json!(5), json!(null)] {
        let error = client.call("test:echo", &params).expect_err("no array");
        assert_eq!(error["error"], 500, "{params}");
        let error = client
            .subscribe("stream-notify-all", &params)
            .expect_err("no array");
        assert_eq!(error["error"], 500, "{params}");
    }
    client.send(&json!({"msg": "method", "id": "m", "method": "test:echo"}));
    assert_eq!(client.outcome("m"), Ok(json!([])));
    client.send(&json!({"msg": "sub", "id": "s", "name": "meteor_autoupdate_clientVersions"}));
    client.wait_for("ready", |message| message["subs"][0] == "s");
}

#[test]
fn a_subscription_id_in_use_is_answered_and_delivers_once() {
    let (workspace, gateway) = target();
    let (user, mut client) = user();
    let sub = json!({
        "msg": "sub", "id": "twice", "name": "stream-notify-user",
        "params": [format!("{}/notification", user.id), false]
    });
    for _ in 0..2 {
        client.send(&sub);
        client.wait_for("ready", |message| message["subs"][0] == "twice");
    }
    workspace.ask(&json!({
        "cmd": "broadcast", "event": "notify.desktop", "args": [user.id, {"n": 1}]
    }));
    client.event("notify-user", &format!("{}/notification", user.id));
    client.settle();
    assert!(!client.has(|message| message["msg"] == "changed"));
    assert!(gateway.metric("ddp_edge_deliveries_total", &[]) > 0.0);
}

#[test]
fn a_method_id_in_use_runs_again() {
    let mut client = Client::open(port());
    for _ in 0..2 {
        client.send(&json!({"msg": "method", "id": "same", "method": "test:zero", "params": []}));
        assert_eq!(client.outcome("same"), Ok(json!(0)));
    }
}

#[test]
fn an_unknown_unsub_is_answered() {
    let mut client = Client::open(port());
    client.unsubscribe("never-was");
}

#[test]
fn an_unknown_ejson_type_is_an_error_and_no_end() {
    let mut client = Client::open(port());
    let params = json!([{"$type": "no-such", "$value": 1}]);
    for method in ["test:echo", "login"] {
        let error = client.call(method, &params).expect_err("unknown type");
        assert_eq!(error["error"], 400, "{method}");
    }
    let error = client.subscribe("stream-notify-all", &params);
    assert_eq!(error.expect_err("unknown type")["error"], 400);
}

#[test]
fn names_and_ids_beyond_1_kib_are_malformed_messages() {
    let long = "x".repeat(KIB + 1);
    for message in [
        json!({"msg": "method", "id": "1", "method": long}),
        json!({"msg": "sub", "id": "1", "name": long}),
    ] {
        let mut client = Client::open(port());
        ends(&mut client, MALFORMED, |client| client.send(&message));
    }
    for message in [
        json!({"msg": "method", "id": long, "method": "test:echo"}),
        json!({"msg": "sub", "id": long, "name": "x"}),
        json!({"msg": "unsub", "id": long}),
    ] {
        let mut client = Client::open(port());
        ends(&mut client, ID_TOO_LONG, |client| client.send(&message));
    }
    let mut client = Client::open(port());
    let error = client.stream("notify-all", &long).expect_err("too long");
    assert_eq!(error["error"], "invalid-event-name", "{error}");
}

#[test]
fn a_ping_is_echoed_whatever_the_length_of_its_id() {
    for path in ["/websocket", "/sockjs/123/abcdefgh/websocket"] {
        let mut client = Client::open_at(port(), path);
        for id in ["x".repeat(KIB + 1), "\u{1f600}".repeat(8 * KIB)] {
            client.send(&json!({"msg": "ping", "id": id}));
            client.wait_for("the pong", |message| message["id"] == id.as_str());
        }
    }
}

/// What `JSON.parse` takes and stricter readers do not (design.md 6): passed on as it is, and no call fails of it.
#[test]
fn what_a_node_peer_can_read_reaches_it() {
    let (_, mut client) = user();
    let mut call = |params: &str| {
        let id = client.next_id();
        let method = r#"{"msg":"method","method":"test:echo""#;
        client.send_text(&format!(r#"{method},"id":"{id}","params":{params}}}"#));
        client.outcome(&id).expect("an answer")
    };
    // Half of a surrogate pair comes back as the escape it was, which no Rust text holds: see it on the bus.
    assert_eq!(call(r#"[{"a":1,"a":2}]"#), json!([{"a": 2}]));
    assert_eq!(call("[1e999,-0,1e-999]"), json!([{"$InfNaN": 1}, 0, 0]));
    assert_eq!(call(r#"["\ud83d\ude00"]"#), json!(["\u{1f600}"]));
    let deep = format!("{}1{}", "[".repeat(30), "]".repeat(30));
    assert_eq!(call(&deep).to_string(), deep);
    let (status, half) = ("setUserStatus", r#""\ud83d""#);
    let id = client.next_id();
    client.send_text(&format!(
        r#"{{"msg":"method","method":"{status}","id":"{id}","params":["online",{half}]}}"#
    ));
    client.outcome(&id).expect("no call fails of it");
}

#[test]
fn a_call_beyond_what_the_bus_takes_is_an_error_and_no_end() {
    let (_, mut client) = user();
    // The message is allowed, but not with what a call adds to it.
    let large = "x".repeat(1024 * KIB - 100);
    let error = client
        .call("test:echo", &json!([large]))
        .expect_err("too large");
    assert_eq!(error["error"], "error-too-large", "{error}");
    client.settle();
}

#[test]
fn odd_event_names_are_only_names() {
    let (_, mut client) = user();
    for name in ["toString", "__proto__", "constructor", "/", "//", "\u{0}"] {
        client.stream("notify-all", name).expect(name);
        let error = client.stream("room-messages", name).expect_err(name);
        assert_eq!(error["error"], "not-allowed", "{name}");
    }
}

#[test]
fn ddp_disconnect_closes_with_1000_behind_what_was_asked_before() {
    let mut client = Client::open(port());
    ends(&mut client, (1000, "", "disconnect"), |client| {
        client.send(&json!({"msg": "ping", "id": "before"}));
        client.send(&json!({"msg": "disconnect"}));
    });
    client.wait_for("the pong", |message| message["id"] == "before");
}

#[test]
fn a_client_that_does_not_read_is_closed_with_1013() {
    let (workspace, _) = target();
    let gateway = workspace.gateway(BINARY, &[("DDP_MAX_BUFFERED_BYTES", "1048576")]);
    let reader = workspace.user(&["user"]);
    let rid = workspace.room("p", &[&reader]);
    let mut clients = [(); 2].map(|()| {
        let mut client = Client::open(gateway.port);
        client.login(&reader.token);
        client.stream("room-messages", &rid).expect("a member");
        client
    });
    let [stalled, healthy] = &mut clients;
    let labels = [("reason", "slow_consumer")];
    let mut number = 0;
    // The kernel's buffers come first, and their size is its own affair.
    while gateway.metric(CLOSED, &labels) == 0.0 {
        workspace.ask(&json!({"cmd": "burst", "count": 8, "rid": rid, "size": 32 * KIB}));
        for burst in 0..8 {
            let message = healthy.event("room-messages", &rid);
            assert_eq!(message[0]["_id"], format!("burst-{burst}"));
        }
        number += 1;
        assert!(number < 1_000, "it is never closed");
    }
    let end = stalled.closed();
    assert_eq!(end.code, Some(1013));
    assert_eq!(end.reason, "SLOW_CONSUMER");
    // What did arrive has no hole in it.
    let mut arrived = 0;
    while stalled.has(|message| message["msg"] == "changed") {
        let message = stalled.event("room-messages", &rid);
        assert_eq!(message[0]["_id"], format!("burst-{}", arrived % 8));
        arrived += 1;
    }
    healthy.settle();
}

#[test]
fn headers_beyond_16_kib_are_431() {
    let gateway = &target().1;
    let large = "x".repeat(17 * KIB);
    let answer = request(gateway.port, "GET", "/websocket", &[("X-Large", &large)]);
    assert_eq!(answer.status, 431);
    gateway.metric_grows(REFUSED, &[("reason", "header_bytes")], 0.0);
    let fits = "x".repeat(14 * KIB);
    let headers = [("X-Large", fits.as_str())];
    drop(Client::upgrade(gateway.port, "/websocket", &headers).expect("a large header"));
}

#[test]
fn a_slow_handshake_is_cut_off() {
    let gateway = &target().1;
    let mut socket = TcpStream::connect(("127.0.0.1", gateway.port)).expect("it listens");
    write!(socket, "GET /websocket HTTP/1.1\r\nHost: x\r\nX-Slow: ").expect("it reads");
    let mut rest = Vec::new();
    // An end or a reset, and no 101.
    let _ = socket.read_to_end(&mut rest);
    assert!(!rest.starts_with(b"HTTP/1.1 101"));
    gateway.metric_grows(REFUSED, &[("reason", "header_timeout")], 0.0);
}

#[test]
fn a_full_node_and_a_full_address_get_503_before_the_upgrade() {
    let (workspace, _) = target();
    let gateway = workspace.gateway(
        BINARY,
        &[
            ("DDP_EDGE_MAX_CONNECTIONS", "4"),
            ("DDP_EDGE_ANONYMOUS_PER_ADDRESS", "2"),
            ("HTTP_FORWARDED_COUNT", "1"),
        ],
    );
    let from = |address: &str| {
        let headers = [("X-Forwarded-For", address)];
        Client::upgrade(gateway.port, "/websocket", &headers)
    };
    let refused = |address: &str, reason: &str| {
        let answer = from(address).err().expect("it is full");
        assert_eq!(answer.status, 503);
        assert!(answer.header("retry-after").is_some(), "{answer:?}");
        gateway.metric_grows(REFUSED, &[("reason", reason)], 0.0);
    };
    let mut first = from("2001:db8::1").expect("the first");
    let _second = from("2001:db8::2").expect("the second of the same /64");
    refused("2001:db8::3", "address_full");
    // Who logs in counts no longer.
    first.connect();
    first.login(&workspace.user(&["user"]).token);
    let _third = from("2001:db8::3").expect("room again");
    let _fourth = from("198.51.100.7").expect("another address");
    refused("198.51.100.8", "node_full");
    assert_eq!(get(gateway.port, "/livez").status, 200, "probes still fit");
}

#[test]
fn handshakes_beyond_the_rate_wait_and_then_get_503() {
    let (workspace, _) = target();
    let gateway = workspace.gateway(BINARY, &[("DDP_EDGE_HANDSHAKES_PER_SECOND", "1")]);
    let attempts: Vec<_> = (0..8)
        .map(|_| {
            let port = gateway.port;
            thread::spawn(move || Client::upgrade(port, "/websocket", &[]).map_err(|a| a.status))
        })
        .collect();
    let outcomes: Vec<_> = attempts
        .into_iter()
        .map(|attempt| attempt.join().expect("an answer"))
        .collect();
    assert!(outcomes.iter().any(Result::is_ok));
    assert!(
        outcomes
            .iter()
            .any(|outcome| outcome.as_ref().err() == Some(&503))
    );
    gateway.metric_grows(REFUSED, &[("reason", "handshake_rate")], 0.0);
}

/// Packets that no sane peer sends, on every subject that a node listens to. Returns when all of them have been taken.
fn send_nonsense(workspace: &Workspace, gateway: &Gateway, rid: &str) {
    let witness = workspace.user(&["user"]);
    let mut client = Client::open(gateway.port);
    client.login(&witness.token);
    let told = format!("{}/notification", witness.id);
    client.stream("notify-user", &told).expect("himself");
    let node = &gateway.node;
    let mut nats = RawNats::connect(&workspace.nats);
    let subjects = [
        format!("MOL.EVENT.{node}"),
        format!("MOL.REQ.{node}"),
        format!("MOL.RES.{node}"),
        format!("MOL.INFO.{node}"),
        format!("MOL.PING.{node}"),
        format!("MOL.PONG.{node}"),
        format!("MOL.DISCOVER.{node}"),
        "MOL.INFO".to_owned(),
        "MOL.DISCOVER".to_owned(),
        "MOL.HEARTBEAT".to_owned(),
        "MOL.DISCONNECT".to_owned(),
        "MOL.PING".to_owned(),
        format!("MOL.NONSENSE.{node}"),
    ];
    let nested = format!(
        r#"{{"ver":"4","sender":"x","data":{}}}"#,
        "[".repeat(100_000)
    );
    let large = vec![b'x'; 900 * KIB];
    let payloads: [&[u8]; 13] = [
        b"",
        b"x",
        b"{",
        b"null",
        b"[]",
        b"{}",
        b"\xFF\xFE\xFD",
        br#"{"ver":"4"}"#,
        br#"{"ver":4,"sender":"x"}"#,
        br#"{"ver":"5","sender":"x"}"#,
        br#"{"ver":"4","sender":"x","event":5,"data":{},"groups":7,"seq":"x","services":{"a":1}}"#,
        br#"{"ver":"4","sender":"x","id":null,"success":"maybe","action":{},"params":"none","data":"none"}"#,
        nested.as_bytes(),
    ];
    for subject in &subjects {
        for payload in payloads {
            nats.publish(subject, payload);
        }
    }
    // As large as a NATS server takes, or nearly.
    nats.publish(&subjects[0], &large);
    // Well-formed packets with events whose arguments are not what their name promises.
    for event in [
        "watch.messages",
        "watch.rooms",
        "watch.subscriptions",
        "watch.users",
        "watch.roles",
        "watch.settings",
        "permission.changed",
        "presence.status",
        "user.activity",
        "user.forceLogout",
        "notify.deleteMessage",
        "notify.desktop",
        "stream",
        "no.such.event",
    ] {
        for data in [
            "null".to_owned(),
            "5".to_owned(),
            "[]".to_owned(),
            "[null]".to_owned(),
            "[[]]".to_owned(),
            "[{}]".to_owned(),
            r#"[{"message":5,"room":5,"subscription":5,"user":5,"role":5,"setting":5}]"#.to_owned(),
            format!(r#"[{{"message":{{"rid":["{rid}"]}}}}]"#),
            r#"[["notify-room"]]"#.to_owned(),
            r#"[{"stream":"notify-room","eventName":null,"args":{}}]"#.to_owned(),
        ] {
            nats.publish(&subjects[0], event_packet(event, &data).as_bytes());
        }
    }
    let last = format!(r#"["{}","the last"]"#, witness.id);
    nats.publish(
        &subjects[0],
        event_packet("notify.desktop", &last).as_bytes(),
    );
    client.wait_for("the last packet", |message| {
        message["fields"]["eventName"] == told && message["fields"]["args"][0] == "the last"
    });
}

/// A well-formed EVENT of a node that nobody knows.
fn event_packet(event: &str, data: &str) -> String {
    let head = r#"{"ver":"4","sender":"stranger","id":"1","meta":{},"level":1,"tracing":false"#;
    let tail = r#""parentID":null,"requestID":"1","caller":null,"needAck":false,"broadcast":true}"#;
    format!(r#"{head},"event":"{event}","data":{data},{tail}"#)
}

#[test]
fn nonsense_from_the_bus_is_counted_and_nothing_else_happens() {
    let (workspace, gateway) = target();
    let reader = workspace.user(&["user"]);
    let rid = workspace.room("p", &[&reader]);
    let mut client = Client::open(gateway.port);
    client.login(&reader.token);
    client.stream("room-messages", &rid).expect("a member");
    let before = gateway.metric("ddp_edge_bus_malformed_total", &[]);
    send_nonsense(workspace, gateway, &rid);
    let sent = workspace.send_as(&reader, &rid, "still here");
    assert_eq!(client.event("room-messages", &rid)[0]["_id"], sent["_id"]);
    gateway.metric_grows("ddp_edge_bus_malformed_total", &[], before);
    assert!(client.end().is_none());
}

/// Everything that costs memory if anything does, several times over.
fn attack(workspace: &Workspace, gateway: &Gateway, rid: &str) {
    let open = || Client::open(gateway.port);
    for _ in 0..3 {
        send_nonsense(workspace, gateway, rid);
        // Incomplete messages, as large as they may be before a login.
        let incomplete: Vec<_> = (0..50)
            .map(|_| {
                let mut client = open();
                let mut bytes = frame(0x01, &vec![b'x'; 60 * KIB]);
                bytes.extend(frame(0x00, b""));
                write(&mut client, &bytes);
                client
            })
            .collect();
        // Full queues.
        let queued: Vec<_> = (0..20)
            .map(|_| {
                let mut client = open();
                client.start_call("test:slow", &json!([600_000]));
                let sub =
                    json!({"msg": "sub", "id": "s", "name": "x", "params": ["x".repeat(500)]});
                write(
                    &mut client,
                    &frame(0x81, sub.to_string().as_bytes()).repeat(200),
                );
                client
            })
            .collect();
        // Handshakes that do not end, with as many headers as fit.
        let handshakes: Vec<_> = (0..100)
            .map(|_| {
                let mut socket = TcpStream::connect(("127.0.0.1", gateway.port)).expect("open");
                let _ = write!(socket, "GET /websocket HTTP/1.1\r\n");
                for number in 0..100 {
                    let _ = write!(socket, "X-Header-{number}: {}\r\n", "x".repeat(100));
                }
                socket
            })
            .collect();
        for _ in 0..50 {
            let mut client = open();
            write(&mut client, &frame(0x82, b"binary"));
            let mut client = open();
            write(&mut client, &frame(0x81, &vec![b'['; 60 * KIB]));
            let mut client = open();
            write(&mut client, &frame(0x81, &vec![b'x'; 2 * MIB]));
            let ping = frame(0x81, br#"{"msg":"ping","id":"flood"}"#);
            let mut client = open();
            write(&mut client, &ping.repeat(1_000));
        }
        drop((incomplete, queued, handshakes));
    }
}

#[test]
fn attacks_cost_at_most_32_mib_and_a_healthy_client_beside_them_misses_nothing() {
    const MESSAGES: usize = 2_000;
    let (workspace, _) = target();
    let gateway = workspace.gateway(BINARY, &[]);
    let reader = workspace.user(&["user"]);
    let rid = workspace.room("p", &[&reader]);
    let subscriber = || {
        let mut client = Client::open(gateway.port);
        client.login(&reader.token);
        client.stream("room-messages", &rid).expect("a member");
        client
    };
    let read = |client: &mut Client, count: usize| {
        for number in 0..count {
            let message = client.event("room-messages", &rid);
            assert_eq!(message[0]["_id"], format!("burst-{number}"));
        }
    };
    // Warm: allocator, caches, the threads' stacks.
    let mut healthy = subscriber();
    workspace.ask(&json!({"cmd": "burst", "count": MESSAGES, "rid": rid, "size": 1_000}));
    read(&mut healthy, MESSAGES);
    let before = gateway.edge.rss();
    thread::scope(|scope| {
        let attacker = scope.spawn(|| attack(workspace, &gateway, &rid));
        workspace.ask(&json!({"cmd": "burst", "count": MESSAGES, "rid": rid, "size": 500}));
        read(&mut healthy, MESSAGES);
        attacker.join().expect("attacks do not fail");
    });
    let grown = gateway.edge.rss_peak().saturating_sub(before);
    assert!(
        grown <= 32 * MIB as u64,
        "grew by {grown} bytes from {before}"
    );
    assert!(healthy.end().is_none());
    healthy.settle();
    eventually("the attackers are gone", || {
        (gateway.metric("users_connected", &[]) == 1.0).then_some(())
    });
}
