//! The console in headless Chromium: what two people do with it, and what pages of other origins cannot.
//!
//! With `DDP_EDGE_TEST_PICTURES` set, the README's pictures in `docs/` are made anew.

use harness::{Edge, NodeProcess, chromium, free_port, root};

const BINARY: &str = env!("CARGO_BIN_EXE_ddp-edge");

/// Runs a script; one that speaks of a drain sees one.
fn passes(script: &str, target: impl Fn(u16) -> String) {
    let port = free_port();
    let mut edge = Edge::start(
        BINARY,
        &["sandbox", "--ephemeral", "--port", &port.to_string()],
        &[("MOLECULER_LOG_LEVEL", "warn")],
    );
    edge.wait_for_ok(port, "/readyz");
    let (chromium, docs) = (chromium(), root().join("docs"));
    let mut environment = vec![("CHROMIUM", chromium.to_str().expect("UTF-8"))];
    if std::env::var_os("DDP_EDGE_TEST_PICTURES").is_some() {
        environment.push(("PICTURES", docs.to_str().expect("UTF-8")));
    }
    let mut node = NodeProcess::start(script, &[&target(port)], &environment);
    if script == "console/people.js" {
        node.pass_steps("drain");
        edge.signal("TERM");
    }
    node.pass_steps("done");
}

#[test]
fn the_first_minute_is_what_the_transcript_tells() {
    passes("console/transcript.js", |port| {
        format!("http://localhost:{port}")
    });
}

#[test]
fn two_people_use_all_of_the_console() {
    passes("console/people.js", |port| {
        format!("http://127.0.0.1:{port}/")
    });
}

#[test]
fn pages_of_other_origins_and_rebound_names_get_nothing() {
    passes("console/origins.js", |port| port.to_string());
}
