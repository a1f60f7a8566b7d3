//! The quick starts of `examples/`: every line of their transcript is replayed against one sandbox.

use std::{
    fs,
    process::{Child, Command, Stdio},
};

use harness::{Client, Edge, free_port, root};
use serde_json::json;

const BINARY: &str = env!("CARGO_BIN_EXE_ddp-edge");

/// Ends with the test.
struct Script(Child);

impl Drop for Script {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn run(line: &str, port: u16) -> Script {
    let mut words = line.split(' ');
    let child = Command::new(words.next().expect("a program"))
        .args(words)
        .current_dir(root().join("examples"))
        .env("HOST", format!("localhost:{port}"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn();
    Script(child.expect("the program runs"))
}

#[test]
fn every_quick_start_gets_to_its_first_message_and_its_first_answer() {
    let port = free_port();
    let mut edge = Edge::start(BINARY, &["--ephemeral", "--port", &port.to_string()], &[]);
    edge.wait_for_ok(port, "/readyz");
    let mut alice = Client::open(port);
    let login = json!([{"user": {"username": "alice"}, "password": "alice"}]);
    alice.call("login", &login).expect("a demo login");
    alice.stream("room-messages", "GENERAL").expect("a member");

    let transcript = fs::read_to_string(root().join("examples/transcript.txt")).expect("it");
    let mut script = None;
    let mut run_files = Vec::new();
    for line in transcript.lines() {
        match line.split_once(' ') {
            Some(("$", typed)) => {
                // The one before has to be silent from here on.
                drop(script.take());
                script = Some(run(typed, port));
                run_files.extend(typed.split(' ').next_back().map(str::to_owned));
            }
            Some(("<", seen)) => {
                let (who, text) = seen.split_once(": ").expect("who: what");
                alice.wait_for(line, |message| {
                    let said = &message["fields"]["args"][0];
                    said["u"]["username"] == who && said["msg"] == text
                });
            }
            Some((">", written)) => {
                let message = json!([{"rid": "GENERAL", "msg": written}]);
                alice.call("sendMessage", &message).expect("a member");
            }
            _ => {}
        }
    }
    let names = fs::read_dir(root().join("examples")).expect("the folder");
    let names = names.flatten().map(|entry| entry.file_name());
    for name in names.filter_map(|name| name.into_string().ok()) {
        let is_script = [".js", ".sh"].iter().any(|end| name.ends_with(end));
        assert!(
            !is_script || run_files.contains(&name),
            "{name} is in no transcript"
        );
    }
}
