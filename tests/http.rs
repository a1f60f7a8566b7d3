//! The HTTP surface, row by row (`design.md` 5).

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    sync::OnceLock,
};

use harness::{
    Client, Edge, Gateway, MongoServer, NatsServer, Workspace, eventually, free_port,
    http::{get, request},
};
use serde_json::Value;

const BINARY: &str = env!("CARGO_BIN_EXE_ddp-edge");
/// What a plain request may ask for.
const PLAIN: [&str; 8] = [
    "/health",
    "/livez",
    "/readyz",
    "/",
    "/sockjs",
    "/sockjs/info",
    "/elsewhere",
    "/websocket",
];

/// One gateway beside real servers and a monolith, for all tests that change nothing.
fn gateway() -> &'static Gateway {
    static SERVERS: OnceLock<(Workspace, Gateway)> = OnceLock::new();
    let (_, gateway) = SERVERS.get_or_init(|| {
        let workspace = Workspace::start(&[]);
        let gateway = workspace.gateway(BINARY, &[]);
        (workspace, gateway)
    });
    gateway
}

/// The reasons that `/readyz` gives for its 503.
fn reasons(port: u16) -> Vec<String> {
    let answer = get(port, "/readyz");
    assert_eq!(answer.status, 503, "{answer:?}");
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let body: Value = serde_json::from_str(&answer.body).expect("JSON");
    assert_eq!(body["ready"], false);
    let reasons = body["reasons"].as_array().expect("a list");
    let texts = reasons.iter().filter_map(Value::as_str);
    texts.map(str::to_owned).collect()
}

#[test]
fn without_nats_and_mongodb_it_is_alive_but_not_ready_and_takes_no_sockets() {
    let port = free_port();
    let mut edge = Edge::start(
        BINARY,
        &["gateway"],
        &[
            ("PORT", &port.to_string()),
            ("TRANSPORTER", "nats://127.0.0.1:1"),
            ("MONGO_URL", "mongodb://127.0.0.1:1/x"),
        ],
    );
    edge.wait_for_ok(port, "/livez");
    for path in ["/health", "/health/", "/health?probe=1", "/livez"] {
        let answer = get(port, path);
        assert_eq!((answer.status, answer.body.as_str()), (200, "ok"), "{path}");
    }
    let reasons = reasons(port);
    for missing in ["bus", "store", "monolith"] {
        assert!(
            reasons.iter().any(|reason| reason.contains(missing)),
            "{missing} is missing in {reasons:?}"
        );
    }
    let refused = Client::upgrade(port, "/websocket", &[])
        .err()
        .expect("no socket without a bus");
    assert_eq!(refused.status, 503);
    assert!(refused.header("retry-after").is_some(), "{refused:?}");
}

#[test]
fn without_a_monolith_it_is_not_ready_but_takes_sockets() {
    let (nats, mongo) = (NatsServer::start(), MongoServer::start());
    let port = free_port();
    let mut edge = Edge::start(
        BINARY,
        &["gateway"],
        &[
            ("PORT", &port.to_string()),
            ("TRANSPORTER", &nats.url()),
            ("MONGO_URL", &mongo.url("no-monolith")),
        ],
    );
    edge.wait_for_ok(port, "/livez");
    let reasons = eventually("only the monolith is missing", || {
        let reasons = reasons(port);
        let found = |part: &str| reasons.iter().any(|reason| reason.contains(part));
        (!found("bus") && !found("store")).then_some(reasons)
    });
    assert!(
        reasons.iter().any(|reason| reason.contains("monolith")),
        "{reasons:?}"
    );
    let mut client = Client::open(port);
    client.settle();
}

#[test]
fn with_everything_there_it_is_ready_without_a_reason() {
    let answer = get(gateway().port, "/readyz");
    assert_eq!(answer.status, 200);
    assert_eq!(answer.body, r#"{"ready":true,"reasons":[]}"#);
}

#[test]
fn the_info_has_its_keys_in_order_and_a_new_number_each_time() {
    let port = gateway().port;
    let mut numbers = Vec::new();
    for path in [
        "/sockjs/info",
        "/sockjs/info?t=1700000000000",
        "/chat/sockjs/info",
        "/",
    ] {
        let answer = get(port, path);
        assert_eq!(answer.status, 200, "{path}");
        assert_eq!(answer.header("content-type"), Some("application/json"));
        assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
        let number = answer
            .body
            .strip_prefix(r#"{"websocket":true,"origins":["*:*"],"cookie_needed":false,"entropy":"#)
            .and_then(|rest| rest.strip_suffix(r#","ms":true}"#))
            .unwrap_or_else(|| panic!("{path}: {}", answer.body));
        numbers.push(number.parse::<u32>().expect("an unsigned 32 bit number"));
    }
    numbers.sort_unstable();
    numbers.dedup();
    assert!(numbers.len() > 1, "entropy is always {numbers:?}");
}

#[test]
fn the_greeting_stands_at_the_prefix_with_and_without_a_slash() {
    for path in ["/sockjs", "/sockjs/", "/chat/sockjs"] {
        let answer = get(gateway().port, path);
        assert_eq!(
            (answer.status, answer.body.as_str()),
            (200, "Welcome to SockJS!\n"),
            "{path}"
        );
        assert_eq!(
            answer.header("content-type"),
            Some("text/plain; charset=UTF-8")
        );
    }
}

#[test]
fn a_websocket_path_without_an_upgrade_is_400() {
    let answer = get(gateway().port, "/websocket");
    assert_eq!(
        (answer.status, answer.body.as_str()),
        (400, "Not a valid websocket request")
    );
}

#[test]
fn raw_paths_speak_ddp_without_framing() {
    for path in [
        "/websocket",
        "/websocket/",
        "/websocket?x=1",
        "/chat/websocket",
        "/sockjs/websocket",
        "/chat/sockjs/websocket?y",
    ] {
        // The client would not take SockJS frames here.
        let mut client = Client::open_at(gateway().port, path);
        client.wait_for("the greeting", |message| message["server_id"] == "0");
    }
}

#[test]
fn session_paths_speak_sockjs() {
    for path in [
        "/sockjs/123/abcdefgh/websocket",
        "/chat/sockjs/000/x/websocket/",
        "/sockjs/1/2/websocket?z=1",
    ] {
        let mut client = Client::open_at(gateway().port, path);
        client.wait_for("the greeting", |message| message["server_id"] == "0");
    }
}

#[test]
fn an_upgrade_elsewhere_is_404() {
    for path in [
        "/",
        "/health",
        "/livez/",
        "/readyz",
        "/elsewhere",
        "/sockjs/info",
        "/sockjs/123/abcdefgh/xhr",
        "/sockjs/1/2/3/websocket",
    ] {
        let answer = Client::upgrade(gateway().port, path, &[])
            .err()
            .unwrap_or_else(|| panic!("{path} was upgraded"));
        assert_eq!(answer.status, 404, "{path}");
    }
}

#[test]
fn everything_else_is_404() {
    let port = gateway().port;
    for (method, path) in [
        ("GET", "/elsewhere"),
        ("GET", "/sockjs/iframe.html"),
        ("POST", "/sockjs/123/abcdefgh/xhr"),
        ("POST", "/sockjs/123/abcdefgh/xhr_send"),
        ("OPTIONS", "/sockjs/info"),
        ("POST", "/"),
    ] {
        let answer = request(port, method, path, &[]);
        assert_eq!(
            (answer.status, answer.body.as_str()),
            (404, "Not Found"),
            "{method} {path}"
        );
    }
}

#[test]
fn head_is_get_without_a_body() {
    let port = gateway().port;
    for path in PLAIN.into_iter().chain(["/sockjs/000/abcdefgh/websocket"]) {
        let (with, without) = (get(port, path), request(port, "HEAD", path, &[]));
        assert_eq!(without.status, with.status, "{path}");
        let type_of =
            |answer: &harness::http::Answer| answer.header("content-type").map(str::to_owned);
        assert_eq!(type_of(&without), type_of(&with), "{path}");
        assert_eq!(without.body, "", "{path}");
    }
}

#[test]
fn a_handshake_that_is_not_one_is_refused() {
    let port = gateway().port;
    let upgrade = [("Connection", "Upgrade"), ("Upgrade", "websocket")];
    let key = ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==");

    let no_key = [&upgrade[..], &[("Sec-WebSocket-Version", "13")]].concat();
    assert_eq!(request(port, "GET", "/websocket", &no_key).status, 400);

    let old = [&upgrade[..], &[("Sec-WebSocket-Version", "7"), key]].concat();
    let answer = request(port, "GET", "/websocket", &old);
    assert_eq!(answer.status, 400);
    assert_eq!(answer.header("sec-websocket-version"), Some("13, 8"));

    let other = [
        ("Connection", "Upgrade"),
        ("Upgrade", "h2c"),
        ("Sec-WebSocket-Version", "13"),
        key,
    ];
    assert_eq!(request(port, "GET", "/websocket", &other).status, 400);

    for path in ["/websocket", "/sockjs/000/abcdefgh/websocket"] {
        let answer = request(port, "POST", path, &[]);
        assert_eq!((answer.status, answer.body.as_str()), (405, ""), "{path}");
        assert_eq!(answer.header("allow"), Some("GET"));
        assert_eq!(answer.header("content-type"), None);
    }

    let mut socket = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let old = "GET /websocket HTTP/1.0\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    socket.write_all(old.as_bytes()).unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.0 400 "), "{answer}");
}

#[test]
fn the_first_subprotocol_is_taken_and_no_extension() {
    use std::io::{Read as _, Write as _};
    let port = gateway().port;
    let mut socket = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
    write!(
        socket,
        "GET /websocket HTTP/1.1\r\nHost: x\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         Sec-WebSocket-Protocol: first, second\r\n\
         Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n"
    )
    .expect("it reads");
    let mut answer = Vec::new();
    let mut byte = [0];
    while !answer.ends_with(b"\r\n\r\n") {
        socket.read_exact(&mut byte).expect("an answer");
        answer.push(byte[0]);
    }
    let answer = String::from_utf8_lossy(&answer).to_ascii_lowercase();
    assert!(answer.starts_with("http/1.1 101"), "{answer}");
    assert!(
        answer.contains("sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=\r\n"),
        "{answer}"
    );
    assert!(
        answer.contains("sec-websocket-protocol: first\r\n"),
        "{answer}"
    );
    assert!(!answer.contains("sec-websocket-extensions"), "{answer}");
}

/// Java's HttpClient and `curl --http2` offer h2c with every request, others TLS.
#[test]
fn offers_of_other_protocols_are_ignored() {
    let port = gateway().port;
    for offer in ["h2c", "TLS/1.2", "h2c, TLS/1.3"] {
        let headers = [
            ("Connection", "Upgrade, HTTP2-Settings"),
            ("Upgrade", offer),
            ("HTTP2-Settings", "AAMAAABkAAQAAP__"),
        ];
        for path in PLAIN {
            let (with, without) = (request(port, "GET", path, &headers), get(port, path));
            assert_eq!(with.status, without.status, "{offer} {path}");
        }
    }
    let both = [("Connection", "Upgrade"), ("Upgrade", "h2c, WebSocket")];
    assert_eq!(request(port, "GET", "/elsewhere", &both).status, 404);
    assert_eq!(request(port, "GET", "/sockjs/info", &both).status, 404);
}

#[test]
fn the_info_names_the_page_that_asks_and_lets_it_send_cookies() {
    let port = gateway().port;
    for path in ["/sockjs/info", "/sockjs/info?cb=1"] {
        let asked = |headers: &[_]| {
            let answer = request(port, "GET", path, headers);
            let header = |name| answer.header(name).map(str::to_owned);
            assert_eq!(header("vary").as_deref(), Some("Origin"));
            (
                header("access-control-allow-origin"),
                header("access-control-allow-credentials"),
            )
        };
        let named = |name: &str| Some(name.to_owned());
        let page = "https://shop.example.org";
        assert_eq!(asked(&[("Origin", page)]), (named(page), named("true")));
        assert_eq!(asked(&[]), (named("*"), None));
        for nobody in ["null", ""] {
            assert_eq!(asked(&[("Origin", nobody)]), (named("*"), None));
        }
    }
}
