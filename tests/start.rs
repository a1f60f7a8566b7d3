//! What an operator sees when something is wrong before anything runs: one clear line each, a non-zero exit, and
//! nothing overwritten.

use std::{fs, net::TcpListener, path::PathBuf, process::Command};

use harness::Edge;

const BINARY: &str = env!("CARGO_BIN_EXE_ddp-edge");

/// Runs to the end: exit code and everything printed.
fn run(arguments: &[&str], environment: &[(&str, &str)]) -> (i32, String) {
    let output = Command::new(BINARY)
        .args(arguments)
        .env_clear()
        .envs(environment.iter().copied())
        .output()
        .expect("the binary runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    (output.status.code().unwrap_or(-1), text)
}

/// A folder of its own for one test, removed first.
fn folder(name: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    drop(fs::remove_dir_all(&path));
    path
}

#[test]
fn all_configuration_mistakes_are_printed_together_with_exit_code_2() {
    let wrong = [
        ("PORT", "http"),
        ("TRANSPORTER", "TCP"),
        ("MONGO_URL", "somewhere"),
        ("DDP_EDGE_SHARDS", "0"),
    ];
    let (code, text) = run(&["gateway"], &wrong);
    assert_eq!(code, 2, "{text}");
    for (name, _) in wrong {
        assert!(
            text.contains(&format!("{name}: ")),
            "{name} is missing in: {text}"
        );
    }
}

#[test]
fn a_flag_overrides_the_variable_of_the_same_name() {
    let (code, text) = run(&["gateway", "--port", "70000"], &[("PORT", "3000")]);
    assert_eq!(code, 2, "{text}");
    assert!(text.contains("PORT: "), "{text}");
}

#[test]
fn a_port_in_use_is_one_clear_line() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = taken.local_addr().expect("an address").port().to_string();
    let (code, text) = run(
        &["sandbox", "--ephemeral", "--port", &port],
        &[("MOLECULER_LOG_LEVEL", "error")],
    );
    assert_eq!(code, 1, "{text}");
    let lines: Vec<_> = text
        .lines()
        .filter(|line| line.starts_with("ddp-edge: "))
        .collect();
    assert_eq!(lines.len(), 1, "{text}");
    assert!(lines[0].contains(&port), "{text}");
}

#[test]
fn a_folder_that_is_not_ours_is_refused_and_left_as_it_is() {
    let path = folder("foreign");
    fs::create_dir_all(&path).expect("a folder");
    fs::write(path.join("thesis.txt"), "three years of work").expect("a file");
    let (code, text) = run(
        &["--data", path.to_str().expect("UTF-8"), "--port", "0"],
        &[("MOLECULER_LOG_LEVEL", "error")],
    );
    assert_eq!(code, 1, "{text}");
    assert_eq!(
        text.lines()
            .filter(|line| line.starts_with("ddp-edge: "))
            .count(),
        1,
        "{text}"
    );
    let names: Vec<_> = fs::read_dir(&path)
        .expect("the folder")
        .flatten()
        .map(|entry| entry.file_name())
        .collect();
    assert_eq!(names, ["thesis.txt"]);
}

#[test]
fn a_folder_that_cannot_be_made_is_one_clear_line() {
    let file = folder("a-file");
    fs::write(&file, "").expect("a file");
    let inside = file.join("data");
    let (code, text) = run(
        &["--data", inside.to_str().expect("UTF-8"), "--port", "0"],
        &[("MOLECULER_LOG_LEVEL", "error")],
    );
    assert_eq!(code, 1, "{text}");
    assert_eq!(
        text.lines()
            .filter(|line| line.starts_with("ddp-edge: "))
            .count(),
        1,
        "{text}"
    );
}

#[test]
fn a_folder_in_use_by_another_sandbox_is_refused() {
    let path = folder("in-use");
    let arguments = ["--data", path.to_str().expect("UTF-8"), "--port", "0"];
    let first = Edge::start(BINARY, &arguments, &[]);
    let _ = first.wait_for_line("started");
    let (code, text) = run(&arguments, &[("MOLECULER_LOG_LEVEL", "error")]);
    assert_eq!(code, 1, "{text}");
    drop(first);
}

#[test]
fn the_effective_configuration_is_printed_without_credentials() {
    let port = harness::free_port().to_string();
    let edge = Edge::start(
        BINARY,
        &["accounts"],
        &[
            ("PORT", &port),
            ("TRANSPORTER", "nats://someone:hunter2@127.0.0.1:1"),
            ("MONGO_URL", "mongodb://someone:hunter2@127.0.0.1:1/x"),
        ],
    );
    let _ = edge.wait_for_line("started");
    let text = edge.output().join("\n");
    assert!(
        text.contains("TRANSPORTER=nats://***@127.0.0.1:1"),
        "{text}"
    );
    assert!(!text.contains("hunter2"), "{text}");
}

#[test]
fn an_unknown_variable_of_our_prefix_is_mentioned() {
    let edge = Edge::start(
        BINARY,
        &["sandbox", "--ephemeral", "--port", "0"],
        &[("DDP_EDGE_SHARD", "2"), ("DDP_EDGE_PORT_3000_TCP", "x")],
    );
    let _ = edge.wait_for_line("DDP_EDGE_SHARD is not a variable");
    let _ = edge.wait_for_line("started");
    assert!(!edge.output().join("\n").contains("DDP_EDGE_PORT_3000_TCP"));
}
