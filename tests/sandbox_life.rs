//! Real npm clients live a whole life in the sandbox, through its death by kill -9 and its return.

use std::path::PathBuf;

use harness::{Edge, NodeProcess, free_port};
use serde_json::json;

const BINARY: &str = env!("CARGO_BIN_EXE_ddp-edge");

fn start(port: u16, data: &str) -> Edge {
    let arguments = ["sandbox", "--data", data, "--port", &port.to_string()];
    let mut edge = Edge::start(BINARY, &arguments, &[("MOLECULER_LOG_LEVEL", "warn")]);
    edge.wait_for_ok(port, "/readyz");
    edge
}

/// Runs `tests/node/life.js` with a client.
fn lives(client: &str) {
    let data = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("life-{client}"));
    let _ = std::fs::remove_dir_all(&data);
    let (port, data) = (free_port(), data.to_str().expect("UTF-8"));
    let mut edge = start(port, data);
    let script = format!("clients/{client}.js");
    let url = format!("http://127.0.0.1:{port}");
    let mut node = NodeProcess::start(&script, &[&url], &[("SCENARIO", "life")]);
    node.pass_steps("need");
    edge.kill9();
    let _edge = start(port, data);
    node.send(&json!({ "back": true }));
    node.pass_steps("done");
}

#[test]
fn rocket_chats_ddp_client_lives() {
    lives("ddp-client");
}

#[test]
fn rocket_chats_sdk_lives() {
    lives("sdk");
}

#[test]
fn rocket_chats_rxjs_client_lives() {
    lives("rxjs");
}

#[test]
fn simpleddp_lives() {
    lives("simpleddp");
}

#[test]
fn ddp_js_lives() {
    lives("ddpjs");
}

#[test]
fn asteroid_lives() {
    lives("asteroid");
}

#[test]
fn the_ddp_package_lives() {
    lives("ddp");
}

#[test]
fn sockjs_client_lives() {
    lives("sockjs-client");
}
