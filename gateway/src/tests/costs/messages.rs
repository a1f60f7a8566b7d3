//! What a client can say, of each kind the cheapest and the largest: every kind of DDP message, every row of the streams,
//! every method that ends here.

use harness::frame;
use protocol::{
    ddp::{ClientMessage, decode::decode},
    limits::Limits,
};

use super::gateway::{CONNECT, full_name, login, method, sub};
use crate::{
    handlers::method::own_methods,
    streams::table::{Addressed, ROWS, Read, Row, Stream, Write},
    tests::client::text,
};

/// One thing that a client says, and what it has said before. `@` stands for its user.
pub(super) struct Case {
    pub(super) kind: String,
    pub(super) before: Vec<Vec<u8>>,
    pub(super) said: Vec<u8>,
}

/// In what state a client says something.
#[derive(Clone, Copy)]
enum As {
    Fresh,
    Connected,
    LoggedIn,
}

/// Each is said by this user.
pub(super) fn cases(user: &str) -> Vec<Case> {
    let mut all = Vec::new();
    let mut add = |kind: String, by: As, said: Vec<u8>| {
        let before = match by {
            As::Fresh => vec![],
            As::Connected => vec![text(CONNECT)],
            As::LoggedIn => vec![text(CONNECT), text(&login(user))],
        };
        all.push(Case { kind, before, said });
    };
    add("nothing".into(), As::LoggedIn, Vec::new());
    frames(&mut add);
    plain(user, &mut add);
    for row in ROWS {
        subscriptions(row, user, &mut add);
        writes(row, user, &mut add);
    }
    for name in own_methods() {
        for (size, params) in own(name, user) {
            let by = if name == "login" {
                As::Connected
            } else {
                As::LoggedIn
            };
            add(
                format!("method {name}, {size}"),
                by,
                text(&method(name, &params)),
            );
        }
    }
    let begun = text(&sub(7, "stream-room-messages", r#"["r1"]"#));
    for case in &mut all {
        if case.kind == "unsub" {
            case.before.push(begun.clone());
        }
    }
    all
}

/// What is no message.
fn frames(add: &mut impl FnMut(String, As, Vec<u8>)) {
    let limits = Limits::default();
    let anonymous = limits.message_bytes_before_login;
    add(
        "websocket ping".into(),
        As::Fresh,
        frame(0x89, &[b'x'; 125]),
    );
    add(
        "websocket pong".into(),
        As::Fresh,
        frame(0x8A, &[b'x'; 125]),
    );
    add(
        "websocket close".into(),
        As::Fresh,
        frame(0x88, &1000_u16.to_be_bytes()),
    );
    add("binary".into(), As::Connected, frame(0x82, &[b'x'; 125]));
    add("reserved opcode".into(), As::Connected, frame(0x83, b"x"));
    add(
        "one of many fragments".into(),
        As::Connected,
        frame(0x01, b"x"),
    );
    let fragments = [frame(0x01, b"x"), frame(0x00, b"x").repeat(1_000)].concat();
    add("a thousand fragments".into(), As::Connected, fragments);
    add("no UTF-8".into(), As::Connected, frame(0x81, &[0xFF]));
    add("no JSON".into(), As::Connected, text("x"));
    add(
        "no JSON, long".into(),
        As::LoggedIn,
        text(&"[".repeat(limits.message_bytes)),
    );
    let nested = format!(r#"{{"msg":"x","a":{}"#, "[".repeat(anonymous / 2));
    add("nested".into(), As::Connected, text(&nested));
    let empty = format!(
        r#"{{"msg":"x","a":[{}1]}}"#,
        "1,".repeat(anonymous / 2 - 20)
    );
    add("many values".into(), As::Connected, text(&empty));
    add(
        "oversize".into(),
        As::Connected,
        text(&"x".repeat(anonymous + 1)),
    );
    let oversize = text(&"x".repeat(limits.message_bytes + 1));
    add("oversize with a login".into(), As::LoggedIn, oversize);
}

/// Every kind of message but what a subscription and a method is about.
fn plain(user: &str, add: &mut impl FnMut(String, As, Vec<u8>)) {
    let long = "x".repeat(Limits::default().name_bytes);
    let huge = "x".repeat(Limits::default().message_bytes - 100);
    let json = [
        ("connect", As::Fresh, CONNECT.to_owned()),
        (
            "connect, long",
            As::Fresh,
            format!(r#"{{"msg":"connect","version":"{long}","support":["1"]}}"#),
        ),
        ("connect again", As::Connected, CONNECT.to_owned()),
        ("ping", As::Connected, r#"{"msg":"ping"}"#.to_owned()),
        (
            "ping, long",
            As::Connected,
            format!(r#"{{"msg":"ping","id":"{}"}}"#, "x".repeat(65_000)),
        ),
        ("pong", As::Connected, r#"{"msg":"pong"}"#.to_owned()),
        (
            "unsub",
            As::LoggedIn,
            r#"{"msg":"unsub","id":"7"}"#.to_owned(),
        ),
        (
            "unsub of nothing",
            As::LoggedIn,
            r#"{"msg":"unsub","id":"8"}"#.to_owned(),
        ),
        (
            "disconnect",
            As::Connected,
            r#"{"msg":"disconnect"}"#.to_owned(),
        ),
        ("other", As::Connected, r#"{"msg":"x"}"#.to_owned()),
        ("sub of nothing", As::LoggedIn, sub(1, "x", "[]")),
        (
            "sub without an array",
            As::LoggedIn,
            sub(1, "stream-roles", "{}"),
        ),
        ("method, forwarded", As::LoggedIn, method("x", "[]")),
        (
            "method, forwarded, nobody",
            As::Connected,
            method("x", "[]"),
        ),
        (
            "method, forwarded, long",
            As::LoggedIn,
            method("x", &format!("[\"{huge}\"]")),
        ),
        (
            "method, forwarded, escaped",
            As::LoggedIn,
            method(&r"\u0000".repeat(150), "[]"),
        ),
        ("method without an array", As::LoggedIn, method("x", "{}")),
        (
            "login, refused",
            As::Connected,
            method("login", r#"[{"resume":"made-up"}]"#),
        ),
        ("login again", As::LoggedIn, login(user)),
    ];
    for (kind, by, message) in json {
        add(kind.to_owned(), by, text(&message));
    }
}

/// To each row: what is allowed, what is not, what nobody asks for without a login, and the longest.
fn subscriptions(row: &Row, user: &str, add: &mut impl FnMut(String, As, Vec<u8>)) {
    let name = full_name(row.stream);
    let long = format!("[\"{}\"]", "x".repeat(Limits::default().name_bytes));
    let (granted, refused) = match (row.addressed, row.read) {
        (_, Read::Watch) => {
            let added: Vec<_> = (0..Limits::default().presence_watch)
                .map(|user| format!("{user:017}"))
                .collect();
            let many = sub(1, &name, &format!(r#"["",{{"added":{added:?}}}]"#));
            add(format!("sub {name}, many"), As::LoggedIn, text(&many));
            let one = r#"["",{"added":["u1"]}]"#;
            (one.to_owned(), r#"["",{"added":[]}]"#.to_owned())
        }
        (_, Read::Conference) => (r#"["c1/updated"]"#.into(), r#"["c2/updated"]"#.into()),
        (_, Read::Records) => ("[]".into(), "[1]".into()),
        (_, Read::Room(_)) if row.stream == Stream::LivechatRoom => (
            r#"["l1",{"args":[{"visitorToken":"g"}]}]"#.into(),
            r#"["l1",{"args":[{"visitorToken":"x"}]}]"#.into(),
        ),
        (Addressed::Room, _) => (r#"["r1"]"#.into(), r#"["r2"]"#.into()),
        (Addressed::InRoom, _) => (r#"["r1/x"]"#.into(), r#"["r2/x"]"#.into()),
        (Addressed::User, _) => (format!(r#"["{user}/x"]"#), r#"["u1/x"]"#.into()),
        (Addressed::Nothing, _) => (r#"["x"]"#.into(), "[5]".into()),
    };
    let keys = row.keys.iter().map(|(key, _)| format!("[{key:?}]"));
    for (kind, by, params) in [
        ("", As::LoggedIn, granted.clone()),
        (", refused", As::LoggedIn, refused),
        (", nobody", As::Connected, granted),
        (", long", As::LoggedIn, long),
    ] {
        let message = text(&sub(1, &name, &params));
        add(format!("sub {name}{kind}"), by, message);
    }
    for params in keys {
        let message = text(&sub(1, &name, &params));
        add(format!("sub {name} {params}"), As::LoggedIn, message);
    }
}

/// What may be written to each row, short and long.
fn writes(row: &Row, user: &str, add: &mut impl FnMut(String, As, Vec<u8>)) {
    let name = full_name(row.stream);
    let samples: Vec<(&str, String)> = match row.write {
        Write::Never => vec![("", r#"["r1/x",1]"#.into())],
        Write::Activity => {
            let activities = |what: &str| format!(r#"["r1/user-activity","{user}",["{what}"]]"#);
            let refused = r#"["r1/user-activity","u1",["x"]]"#.to_owned();
            vec![
                ("", activities("user-typing")),
                (", long", activities(&"x".repeat(4_000))),
                (", too long", activities(&"x".repeat(5_000))),
                (", refused", refused),
            ]
        }
        Write::Signals => vec![
            (" otr", r#"["u1/otr","handshake",{}]"#.into()),
            (
                " otr, long",
                format!(r#"["u1/otr","handshake","{}"]"#, "x".repeat(16_000)),
            ),
            (
                " video-conference",
                format!(
                    r#"["u1/video-conference",{{"action":"call","params":{{"callId":"c1","uid":"{user}","rid":"r1"}}}}]"#
                ),
            ),
            (" media-calls", r#"["u1/media-calls","x"]"#.into()),
            (
                " media-calls, long",
                format!(r#"["u1/media-calls","{}"]"#, "x".repeat(65_000)),
            ),
            (" anything", r#"["u1/x",1]"#.into()),
        ],
        Write::Members => vec![
            (" userData", r#"["r1/userData",1]"#.into()),
            (
                " userData, long",
                format!(r#"["r1/userData","{}"]"#, "x".repeat(4_000)),
            ),
            (" video-conference", r#"["r1/video-conference",1]"#.into()),
            (" elsewhere", r#"["r2/userData",1]"#.into()),
        ],
    };
    for (kind, params) in samples {
        let message = text(&method(&name, &params));
        add(format!("write {name}{kind}"), As::LoggedIn, message);
    }
}

/// Params of a method that ends here.
fn own(name: &str, user: &str) -> Vec<(&'static str, String)> {
    let long = "x".repeat(Limits::default().message_bytes_before_login - 200);
    match name {
        "login" => vec![
            ("resume", format!(r#"[{{"resume":"token-of-{user}"}}]"#)),
            ("long", format!(r#"[{{"resume":"{long}"}}]"#)),
            (
                "password",
                r#"[{"user":{"username":"x"},"password":"x"}]"#.into(),
            ),
        ],
        "logout" => vec![("any", "[]".into())],
        _ => vec![
            ("short", r#"["busy"]"#.into()),
            ("long", format!("[\"busy\",\"{long}\"]")),
            ("guest", r#"[{"token":"g"}]"#.into()),
        ],
    }
}

/// The name of every kind of message; one that is new has a case as well.
fn kind(message: &ClientMessage<'_>) -> usize {
    match message {
        ClientMessage::Connect { .. } => 0,
        ClientMessage::Ping { .. } => 1,
        ClientMessage::Pong => 2,
        ClientMessage::Method { .. } => 3,
        ClientMessage::Sub { .. } => 4,
        ClientMessage::Unsub { .. } => 5,
        ClientMessage::Disconnect => 6,
        ClientMessage::Other => 7,
    }
}

#[test]
fn every_kind_of_message_is_among_them() {
    let limits = Limits::default();
    let mut seen = [false; 8];
    for case in cases("evil") {
        // Behind the header of a frame of that length.
        let header = match case.said.get(1).map(|length| length & 0x7F) {
            None => continue,
            Some(126) => 8,
            Some(127) => 14,
            Some(_) => 6,
        };
        let Ok(payload) = std::str::from_utf8(&case.said[header..]) else {
            continue;
        };
        if let Ok(message) = decode(payload, &limits) {
            seen[kind(&message)] = true;
        }
    }
    assert_eq!(seen, [true; 8]);
}
