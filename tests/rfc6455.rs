//! The RFC 6455 suite (`conformance.md` 3) against the echo endpoint, which lives on the shards, outboxes and flush of
//! the product.

use std::process::Command;

use harness::{Edge, free_port, tool};

#[test]
fn all_301_cases_of_the_websocket_suite_pass() {
    let port = free_port();
    let mut edge = Edge::start(
        env!("CARGO_BIN_EXE_ddp-edge"),
        &["--ephemeral", "--port", &port.to_string()],
        &[],
    );
    edge.wait_for_ok(port, "/livez");
    let reports = tempfile::tempdir().expect("a folder for the reports");
    let output = Command::new(tool("kosoku"))
        .arg(format!("ws://127.0.0.1:{port}/echo/websocket"))
        // No compression: permessage-deflate is not offered.
        .args(["-x", "12.*", "-x", "13.*", "-p", "4", "-o"])
        .arg(reports.path())
        .output()
        .expect("the suite runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
    assert!(text.contains("301 cases passed"), "{text}");
}
