//! The load generator against its own floor and its peers, over a real nats-server.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use serde_json::Value;

/// A folder that goes with its value.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("loadtest-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Runs one short round and returns what was written as JSON.
fn compare(name: &str, arguments: &[&str]) -> Value {
    // All of them on one CPU at a time would only wait for each other.
    static TURN: Mutex<()> = Mutex::new(());
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = Folder::new(name);
    let json = folder.0.join("outcome.json");
    let output = Command::new(env!("CARGO_BIN_EXE_loadtest"))
        .arg("compare")
        .arg("--nats-server")
        .arg(harness::tool("nats-server"))
        .args(arguments)
        .args(["--rounds", "1", "--seconds", "0.2", "--warmup", "0.2"])
        .args(["--server-cpu", "0", "--generator-cpu", "0"])
        .arg("--logs")
        .arg(&folder.0)
        .arg("--json")
        .arg(&json)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&std::fs::read(&json).unwrap()).unwrap()
}

/// The rows of every scenario.
fn rows(outcome: &Value) -> impl Iterator<Item = &Value> {
    let scenarios = outcome["scenarios"].as_array().unwrap();
    scenarios
        .iter()
        .flat_map(|scenario| scenario["rows"].as_array().unwrap())
}

#[test]
fn both_floors_deliver_every_message_of_every_kind_once_and_in_order() {
    let scenarios = ["w32", "chat", "users", "stalled"];
    let arguments = scenarios.map(|scenario| ["--scenario", scenario]).concat();
    let outcome = compare("floors", &arguments);
    assert_eq!(rows(&outcome).count(), 2 * scenarios.len());
    for row in rows(&outcome) {
        let report = &row["reports"][0];
        assert!(report["delivered"].as_u64().unwrap() > 0, "{report}");
        assert_eq!(report["faults"]["undelivered"], 0, "{report}");
        // Zero where others kept the server off its CPU for the whole window.
        assert!(report["cpu_us_per_delivery"].is_number(), "{report}");
    }
}

#[test]
fn a_server_runs_once_alone_and_once_beside_each_attack() {
    let floor = format!(
        "x={} floor --nats {{nats}} --port {{port}}",
        env!("CARGO_BIN_EXE_loadtest")
    );
    let arguments = [
        "--scenario",
        "w1",
        "--floor",
        "one-send",
        "--connections",
        "10",
    ];
    let attacks = [
        "--server",
        &floor,
        "--beside",
        "sessions,garbage,requests,offers,discoveries",
    ];
    let outcome = compare("beside", &[arguments.as_slice(), &attacks].concat());
    let names: Vec<_> = rows(&outcome)
        .map(|row| row["server"].as_str().unwrap())
        .collect();
    assert_eq!(
        names,
        [
            "floor one-send",
            "x",
            "x + sessions",
            "x + garbage",
            "x + requests",
            "x + offers",
            "x + discoveries"
        ]
    );
    for row in rows(&outcome) {
        let report = &row["reports"][0];
        assert!(report["delivered"].as_u64().unwrap() > 0, "{row}");
        assert!(report["ping_ms"]["p99"].is_number(), "{row}");
    }
}

/// The peer as a comparison calls it; `built` is what scripts/peers makes of it, beside this crate or under the root.
#[track_caller]
fn check_peer(peer: &str, built: &Path) {
    if !built.exists() {
        println!("skipped: no {peer} here (scripts/peers)");
        return;
    }
    let mut arguments = vec!["--floor", "coalesce", "--peer", peer];
    // Few and slow: what is judged is that nothing is lost, not how fast it comes.
    arguments.extend(["--connections", "50", "--rate", "200"]);
    let scenarios = ["w32", "rooms", "chat", "users", "ping", "reconnect"];
    arguments.extend(scenarios.map(|scenario| ["--scenario", scenario]).concat());
    let outcome = compare(peer, &arguments);
    let mut peers = rows(&outcome).filter(|row| row["kind"] == "peer");
    for scenario in scenarios {
        let row = peers.next().unwrap();
        assert_eq!(row["failure"], Value::Null, "{scenario}");
        let report = &row["reports"][0];
        assert_eq!(report["connections"], 50, "{report}");
        let faults = report["faults"].as_object().unwrap();
        for (fault, count) in faults.iter().filter(|(_, count)| count.is_u64()) {
            assert_eq!(count, 0, "{fault} in {scenario}: {report}");
        }
        if scenario != "reconnect" {
            assert!(report["delivered"].as_u64().unwrap() > 0, "{report}");
        }
    }
}

fn beside_this_crate(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("peers")
        .join(path)
}

#[test]
fn uwebsockets_delivers_every_message_once_and_in_order() {
    check_peer("uws", &beside_this_crate("uws/node_modules/.stamp"));
}

#[test]
fn the_originals_shape_delivers_every_message_once_and_in_order() {
    check_peer(
        "original",
        &beside_this_crate("original/node_modules/.stamp"),
    );
}

#[test]
fn centrifuge_delivers_every_message_once_and_in_order() {
    check_peer(
        "centrifuge",
        &harness::root().join("target/peers/centrifuge"),
    );
}

#[test]
fn tokio_tungstenite_delivers_every_message_once_and_in_order() {
    check_peer("tungstenite", Path::new(env!("CARGO_BIN_EXE_loadtest")));
}
