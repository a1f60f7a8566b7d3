//! The admin port of a real gateway, and `ddp-edge top` in front of it.

use std::{
    fs,
    path::PathBuf,
    process::{Command, Output},
};

use harness::{Client, Edge, Gateway, Workspace, eventually, free_port, http};
use serde_json::{Value, json};

const BINARY: &str = env!("CARGO_BIN_EXE_ddp-edge");
const TOKEN: &str = "a-token-of-more-than-16-bytes";

/// A gateway with an admin port.
struct Operated {
    gateway: Gateway,
    admin: u16,
    token_file: PathBuf,
    workspace: Workspace,
}

impl Operated {
    fn start(name: &str) -> Self {
        let token_file = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::write(&token_file, format!("{TOKEN}\n")).expect("the folder can be written");
        let (workspace, admin) = (Workspace::start(&[]), free_port());
        let listen = format!("127.0.0.1:{admin}");
        let path = token_file.to_str().expect("a plain path");
        let environment = [
            ("DDP_EDGE_ADMIN_LISTEN", &*listen),
            ("DDP_EDGE_ADMIN_TOKEN_FILE", path),
            ("HTTP_FORWARDED_COUNT", "1"),
            ("DDP_EDGE_RESYNC_SECONDS", "0.1"),
        ];
        let gateway = workspace.gateway(BINARY, &environment);
        Self {
            gateway,
            admin,
            token_file,
            workspace,
        }
    }

    fn ask(&self, method: &str, path: &str) -> (u16, Value) {
        let bearer = format!("Bearer {TOKEN}");
        let answer = http::request(self.admin, method, path, &[("Authorization", &bearer)]);
        let body = serde_json::from_str(&answer.body).unwrap_or(Value::String(answer.body));
        (answer.status, body)
    }

    fn count(&self, query: &str) -> u64 {
        let (status, answer) = self.ask("GET", &format!("/connections{query}"));
        assert_eq!(status, 200, "{answer}");
        answer["count"].as_u64().expect("a number")
    }

    fn open_at(&self, address: &str) -> Client {
        let forwarded = [("X-Forwarded-For", address)];
        let client = Client::upgrade(self.gateway.port, "/websocket", &forwarded);
        let mut client = client.expect("it is let in");
        client.connect();
        client
    }

    fn top(&self) -> Output {
        Command::new(BINARY)
            .args([
                "top",
                "--admin-listen",
                &format!("localhost:{}", self.admin),
            ])
            .arg("--admin-token-file")
            .arg(&self.token_file)
            .env_clear()
            .output()
            .expect("the binary runs")
    }
}

#[test]
fn clients_are_found_by_user_address_and_room_and_kicked() {
    let operated = Operated::start("admin-kick.token");
    let (ada, bob) = (
        operated.workspace.user(&["user"]),
        operated.workspace.user(&["user"]),
    );
    let mut first = operated.open_at("198.51.100.7");
    first.login(&ada.token);
    let mut second = operated.open_at("198.51.100.8");
    second.login(&bob.token);
    let live = second.subscribe("stream-room-messages", &json!(["GENERAL", false]));
    live.expect("the room is open to him");
    eventually("both are there", || (operated.count("") == 2).then_some(()));

    assert_eq!(operated.count(&format!("?user={}", ada.id)), 1);
    assert_eq!(operated.count("?address=198.51.100.8"), 1);
    assert_eq!(operated.count("?address=198.51.100.0/24"), 2);
    assert_eq!(operated.count("?address=203.0.113.0/24"), 0);
    assert_eq!(operated.count("?room=GENERAL"), 1);
    assert_eq!(operated.count(&format!("?room=GENERAL&user={}", ada.id)), 0);
    let (_, found) = operated.ask("GET", "/connections?room=GENERAL");
    let found = &found["connections"][0];
    assert_eq!(found["user"], bob.id);
    assert_eq!(found["address"], "198.51.100.8");
    assert_eq!(found["subscriptions"], 1);

    assert_eq!(operated.ask("POST", "/kick").0, 400, "nobody is named");
    let (status, answer) = operated.ask("POST", &format!("/kick?user={}", ada.id));
    assert_eq!((status, &answer["kicked"]), (200, &json!(1)));
    let closed = first.closed();
    assert_eq!((closed.code, &*closed.reason), (Some(1008), "KICKED"));
    assert_eq!(operated.count(""), 1);
    second.settle();
}

#[test]
fn a_gateway_sheds_drains_and_changes_its_log_level_on_order() {
    let mut operated = Operated::start("admin-shed.token");
    let mut clients: Vec<_> = (0..6).map(|_| operated.open_at("198.51.100.7")).collect();
    eventually("all are there", || (operated.count("") == 6).then_some(()));
    let (status, answer) = operated.ask("POST", "/shed?to=2");
    assert_eq!((status, &answer["shed"]), (200, &json!(4)));
    eventually("two are left", || (operated.count("") == 2).then_some(()));
    assert_eq!(operated.ask("POST", "/shed").0, 400);

    assert_eq!(operated.ask("GET", "/log-level").1["level"], "info");
    assert_eq!(operated.ask("POST", "/log-level?to=loud").0, 400);
    assert_eq!(operated.ask("POST", "/log-level?to=debug").0, 200);
    drop(operated.open_at("198.51.100.7"));
    operated.gateway.edge.wait_for_line("connection ends");

    let (_, config) = operated.ask("GET", "/config");
    let config = config.as_str().expect("lines");
    assert!(config.contains("HTTP_FORWARDED_COUNT=1"), "{config}");
    let top = operated.top();
    let text = String::from_utf8_lossy(&top.stdout);
    assert!(
        top.status.success() && text.contains("sockets  2"),
        "{text}"
    );
    assert!(text.contains("shed  4"), "{text}");

    let (status, _) = operated.ask("POST", "/drain");
    assert_eq!(status, 202);
    let closed: Vec<_> = clients
        .iter_mut()
        .map(|client| client.closed())
        .map(|closed| (closed.code, closed.reason))
        .collect();
    let with = |reason: &str| {
        closed
            .iter()
            .filter(|(code, text)| *code == Some(1012) && text == reason)
            .count()
    };
    assert_eq!((with("SHED"), with("DRAINING")), (4, 2), "{closed:?}");
    assert!(operated.gateway.edge.wait_for_end().success());
}

#[test]
fn the_admin_port_answers_nobody_without_the_token() {
    let operated = Operated::start("admin-token.token");
    for headers in [
        &[][..],
        &[("Authorization", "Bearer a-token-of-more-than-16-bytez")],
        &[("Authorization", "Bearer ")],
        &[("Authorization", TOKEN)],
    ] {
        for (method, path) in [("GET", "/stats"), ("POST", "/drain"), ("GET", "/nothing")] {
            let answer = http::request(operated.admin, method, path, headers);
            assert_eq!(answer.status, 401, "{method} {path} {headers:?}");
        }
    }
    assert_eq!(operated.ask("GET", "/stats").1["role"], "gateway");
    assert_eq!(operated.ask("GET", "/nothing").0, 404);
    assert_eq!(operated.ask("GET", "/drain").0, 405);

    // A new token counts at once, and none lets nobody in.
    fs::write(&operated.token_file, "another-token-of-enough-bytes").expect("it can be written");
    assert_eq!(operated.ask("GET", "/stats").0, 401);
    fs::remove_file(&operated.token_file).expect("it can be removed");
    assert_eq!(operated.ask("GET", "/stats").0, 401);
    assert!(!operated.top().status.success());
    let said = operated.gateway.edge.output().join("\n");
    assert!(
        !said.contains(TOKEN) && !said.contains("another-token"),
        "{said}"
    );
}

#[test]
fn an_admin_port_without_a_good_token_ends_the_start() {
    let mut edge = Edge::start(
        BINARY,
        &["gateway"],
        &[
            ("DDP_EDGE_ADMIN_LISTEN", "nowhere"),
            ("DDP_EDGE_ADMIN_TOKEN_FILE", "/dev/null"),
        ],
    );
    assert_eq!(edge.wait_for_end().code(), Some(2));
    for name in ["DDP_EDGE_ADMIN_LISTEN", "DDP_EDGE_ADMIN_TOKEN_FILE"] {
        edge.wait_for_line(name);
    }
}
