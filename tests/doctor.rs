//! What `ddp-edge doctor` says of set-ups that work and of broken ones, with real servers.

use std::{fs, net::TcpListener, process::Command};

use harness::{Edge, MongoServer, NatsServer, Workspace, free_port, root};
use serde_json::Value;

const BINARY: &str = env!("CARGO_BIN_EXE_ddp-edge");

/// What it found.
struct Findings {
    code: i32,
    all: Vec<Value>,
}

impl Findings {
    /// Level and everything said of the findings of one check.
    fn of(&self, check: &str) -> (String, String) {
        let of_check = || self.all.iter().filter(|finding| finding["check"] == check);
        let worst = ["fault", "warning", "fine"];
        let level = worst
            .into_iter()
            .find(|level| of_check().any(|finding| finding["level"] == **level));
        let text = of_check().map(Value::to_string).collect();
        let level = level.unwrap_or_else(|| panic!("no {check} in {:#?}", self.all));
        (level.to_owned(), text)
    }

    fn expect(&self, check: &str, level: &str, words: &str) {
        let (found, text) = self.of(check);
        assert_eq!(found, level, "{check}: {text}");
        assert!(text.contains(words), "{check}: {text}");
        // Whatever is wrong is explained, and can be mended.
        if level != "fine" {
            assert!(
                text.contains("\"means\"") && text.contains("\"mend\""),
                "{text}"
            );
        }
    }
}

fn run(arguments: &[&str], environment: &[(&str, &str)]) -> (i32, String) {
    Edge::run(BINARY, &[&["doctor"], arguments].concat(), environment)
}

fn doctor(environment: &[(&str, &str)]) -> Findings {
    let (code, text) = run(&["--json"], environment);
    let found: Value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("no JSON: {text}"));
    let all = found["findings"].as_array().expect("a list").clone();
    Findings { code, all }
}

/// Where nobody listens.
fn nowhere(scheme: &str) -> String {
    format!("{scheme}://u:s3cret@127.0.0.1:{}", free_port())
}

#[test]
fn a_workspace_that_works_has_no_fault() {
    let workspace = Workspace::start(&[]);
    let gateway = workspace.gateway(BINARY, &[]);
    let port = free_port().to_string();
    let found = doctor(&[
        ("TRANSPORTER", &workspace.nats.url()),
        ("MONGO_URL", &workspace.mongo_url()),
        ("PORT", &port),
    ]);
    assert_eq!(found.code, 0, "{:#?}", found.all);
    found.expect("nats.reachable", "fine", "nats-server");
    found.expect("nats.rights", "fine", "every subject");
    found.expect("nats.payload", "fine", "1048576");
    found.expect("mongo.reachable", "fine", "MongoDB");
    found.expect("mongo.replica_set", "fine", "primary");
    found.expect("mongo.clock", "fine", "ms");
    found.expect("network.monolith", "fine", "nodejs");
    found.expect("network.nodes", "fine", &gateway.node);
    found.expect("port.http", "fine", "free");
}

#[test]
fn servers_that_are_away_are_faults_without_a_word_of_their_passwords() {
    let (nats, mongo) = (nowhere("nats"), nowhere("mongodb"));
    let port = free_port().to_string();
    let environment = [
        ("TRANSPORTER", &*nats),
        ("MONGO_URL", &mongo),
        ("PORT", &port),
    ];
    let found = doctor(&environment);
    assert_eq!(found.code, 1);
    found.expect("nats.reachable", "fault", "TRANSPORTER");
    found.expect("mongo.reachable", "fault", "MONGO_URL");
    let (code, text) = run(&[], &environment);
    assert_eq!(code, 1);
    assert!(
        text.contains("FAULT    nats.reachable") && text.contains("mend: "),
        "{text}"
    );
    assert!(!text.contains("s3cret"), "{text}");
    // As the guide shows it, but for the ports.
    let words = |text: &str| -> Vec<String> {
        let pieces = text.split(|c: char| c.is_ascii_digit());
        let pieces = pieces.filter(|piece| !piece.is_empty());
        pieces.map(str::to_owned).collect()
    };
    let guide = fs::read_to_string(root().join("docs/operators.md")).expect("the guide");
    let (_, shown) = guide.split_once("```text\n").expect("an example");
    let (shown, _) = shown.split_once("```").expect("its end");
    let said: Vec<_> = text.lines().map(words).collect();
    for line in shown.lines() {
        assert!(said.contains(&words(line)), "{line} is not in {text}");
    }
}

#[test]
fn a_wrong_password_and_missing_rights_are_told_apart() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("nats.conf");
    let text = r#"
        max_payload: 65536
        authorization { users: [ { user: edge, password: s3cret, permissions: {
            publish: ["MOL.>"], subscribe: ["MOL.DISCOVER.>", "MOL.RES.>"]
        } } ] }
    "#;
    fs::write(&path, text).expect("the folder can be written");
    let nats = NatsServer::start_with(&["-c", path.to_str().expect("a plain path")]);
    let mongo = nowhere("mongodb");
    let (port, http) = (nats.port(), free_port().to_string());
    let at = |account: &str| {
        let url = format!("nats://{account}@127.0.0.1:{port}");
        doctor(&[
            ("TRANSPORTER", &url),
            ("MONGO_URL", &mongo),
            ("PORT", &http),
        ])
    };
    at("edge:wrong").expect("nats.reachable", "fault", "user, password");
    let found = at("edge:s3cret");
    found.expect("nats.reachable", "fine", "nats-server");
    found.expect("nats.rights", "fault", "MOL.EVENT");
    found.expect("nats.payload", "warning", "65536");
}

#[test]
fn an_empty_network_and_an_empty_database_are_noticed() {
    let (nats, mongo) = (NatsServer::start(), MongoServer::shared());
    let taken = TcpListener::bind(("::", 0)).expect("a port");
    let port = taken.local_addr().expect("it has one").port().to_string();
    let found = doctor(&[
        ("TRANSPORTER", &nats.url()),
        ("MONGO_URL", &mongo.url("doctor-empty")),
        ("PORT", &port),
    ]);
    assert_eq!(found.code, 1);
    found.expect("network.monolith", "fault", "MS_NAMESPACE");
    found.expect("network.licence", "warning", "licence");
    found.expect("workspace.version", "warning", "MONGO_URL");
    found.expect("mongo.indexes", "warning", "hashedToken");
    found.expect("port.http", "fault", "ss -ltnp");
}

#[test]
fn a_gateway_that_counts_the_wrong_hops_is_noticed() {
    let workspace = Workspace::start(&[]);
    let metrics = free_port().to_string();
    let environment = [("MS_METRICS_PORT", &*metrics)];
    let gateway = workspace.gateway(BINARY, &environment);
    for _ in 0..3 {
        let forwarded = [("X-Forwarded-For", "203.0.113.9")];
        let client = harness::Client::upgrade(gateway.port, "/websocket", &forwarded);
        drop(client.expect("it is let in"));
    }
    gateway.edge.wait_for_line("HTTP_FORWARDED_COUNT is 0");
    let said = || {
        let lines = gateway.edge.output();
        lines
            .iter()
            .filter(|line| line.contains("HTTP_FORWARDED_COUNT is 0"))
            .count()
    };
    assert_eq!(said(), 1, "once is enough");
    let port = gateway.port.to_string();
    let found = doctor(&[
        ("TRANSPORTER", &workspace.nats.url()),
        ("MONGO_URL", &workspace.mongo_url()),
        ("PORT", &port),
        ("MS_METRICS", "true"),
        ("MS_METRICS_PORT", &metrics),
    ]);
    found.expect("proxies.forwarded", "warning", "DDP_EDGE_TRUSTED_PROXIES");
    found.expect("port.http", "fine", "lives");
    found.expect("port.metrics", "fine", "metrics are served");
}

#[test]
fn few_open_files_are_a_warning() {
    let environment = [
        ("TRANSPORTER", nowhere("nats")),
        ("MONGO_URL", nowhere("mongodb")),
        ("PORT", free_port().to_string()),
    ];
    let output = Command::new("sh")
        .args(["-c", "ulimit -n 512; exec \"$0\" doctor", BINARY])
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .envs(environment)
        .output()
        .expect("a shell runs");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("warning  files: 512 open files"), "{text}");
}
