//! What an operator sees when something is wrong before anything runs: one clear line each, a non-zero exit, and
//! nothing overwritten.

use std::{fs, net::TcpListener, path::PathBuf, process::Command};

use harness::Edge;

const BINARY: &str = env!("CARGO_BIN_EXE_ddp-edge");

/// Runs to the end: exit code and everything printed.
fn run(arguments: &[&str], environment: &[(&str, &str)]) -> (i32, String) {
    Edge::run(BINARY, arguments, environment)
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
    assert!(
        text.contains("--port: expected a number from 0 to 65535, not `70000`"),
        "{text}"
    );
}

#[test]
fn flags_stand_before_or_behind_the_command_and_switches_stand_bare() {
    let refused = [
        (&["--port", "x", "gateway"][..], "--port: "),
        (&["gateway", "--port", "x"], "--port: "),
        // A bare switch takes no command for its value.
        (&["--rate-limits", "gateway", "--port", "x"], "--port: "),
        (
            &["--port", "1", "gateway", "--port", "2"],
            "--port is given twice",
        ),
        (&["--data", "x", "gateway"], "--data is not for `gateway`"),
        (
            &["--mongo-url", "mongodb://h/d"],
            "--mongo-url is not for `sandbox`",
        ),
        (
            &["--ephemeral", "--data", "x"],
            "--data: a folder for what --ephemeral",
        ),
        (
            &["gatway"],
            "no command `gatway` here; did you mean `gateway`?",
        ),
        (
            &["gateway", "--prot", "1"],
            "no flag --prot here; did you mean `--port`?",
        ),
    ];
    for (arguments, told) in refused {
        let (code, text) = run(arguments, &[]);
        assert_eq!(code, 2, "{arguments:?}: {text}");
        assert!(text.contains(told), "{arguments:?}: {text}");
    }
}

#[test]
fn help_and_version_may_be_asked_for_as_commands() {
    let (code, text) = run(&["help"], &[]);
    assert!(code == 0 && text.contains("stream-hub"), "{text}");
    let (code, text) = run(&["help", "gateway"], &[]);
    assert!(code == 0 && text.contains("--transporter"), "{text}");
    let (code, text) = run(&["version"], &[]);
    let version = format!("ddp-edge {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!((code, text), (0, version));
}

#[test]
fn the_sandbox_is_short_on_a_pipe_unless_json_is_asked_for() {
    let arguments = ["--ephemeral", "--port", "0"];
    let short = Edge::start(BINARY, &arguments, &[("RUST_LOG", "loud")]);
    let _ = short.wait_for_line("ddp-edge sandbox");
    let _ = short.wait_for_line("RUST_LOG is passed over");
    let text = short.output().join("\n");
    assert!(!text.contains('{') && !text.contains('\x1b'), "{text}");
    let asked = [("DDP_EDGE_LOG_FORMAT", "json")];
    let long = Edge::start(BINARY, &arguments, &asked);
    let line = long.wait_for_line("DDP_EDGE_ORIGINS=loopback");
    assert!(line.starts_with('{'), "{line}");
}

#[test]
fn a_missing_database_name_is_said() {
    let port = harness::free_port().to_string();
    let environment = [
        ("PORT", &*port),
        ("TRANSPORTER", "nats://127.0.0.1:1"),
        ("MONGO_URL", "mongodb://127.0.0.1:1"),
    ];
    let edge = Edge::start(BINARY, &["accounts"], &environment);
    let _ = edge.wait_for_line("MONGO_URL names no database");
}

/// As in a container: nothing may be written, and the host's port is forwarded.
#[test]
fn the_sandbox_can_be_tried_where_nothing_may_be_written() {
    let file = folder("no-folder");
    fs::write(&file, "").expect("a file");
    let (code, text) = run(
        &["--data", file.to_str().expect("UTF-8"), "--port", "0"],
        &[],
    );
    assert_eq!(code, 1, "{text}");
    assert!(
        text.contains("--data") && text.contains("--ephemeral"),
        "{text}"
    );
    let port = harness::free_port();
    let environment = [("PORT", &*port.to_string())];
    let arguments = ["sandbox", "--ephemeral", "--bind", "0.0.0.0"];
    let mut edge = Edge::start(BINARY, &arguments, &environment);
    edge.wait_for_ok(port, "/readyz");
    let _ = edge.wait_for_line("whoever reaches it can log in as anybody");
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
    let _ = first.wait_for_line("ddp-edge sandbox");
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
fn no_part_of_a_password_is_printed_however_odd_the_value() {
    let urls = [
        "s3cret@h",
        "nats:u:s3cret@h",
        "nats://u:s3/cret@h",
        "nats://u:1/s3cret@h",
        "nats://u:1?s3cret@h",
        "nats://u:a://s3cret@h",
        "mongodb:/u:s3cret@h/db",
        "mongodb://u:s3@cret@h/db",
        "mongodb://u:1?s3=cret@h",
        "mongodb://u:s3#cret@h/db",
        "mongodb://u:s3%cret@h",
    ];
    for url in urls {
        let environment = [("TRANSPORTER", url), ("MONGO_URL", url)];
        let flags = ["gateway", "--transporter", url, "--mongo-url", url];
        for (arguments, environment) in [
            (&["gateway"][..], &environment[..]),
            (&flags[..], &[][..]),
            (&["gateway", url][..], &[][..]),
            (&[url][..], &[][..]),
        ] {
            let (code, text) = run(arguments, environment);
            assert_eq!(code, 2, "{url}: {text}");
            assert!(
                !text.contains("s3") && !text.contains("cret"),
                "{url}: {text}"
            );
        }
    }
    let (_, text) = run(&["gateway", "--prot=s3cret"], &[]);
    assert!(
        text.contains("--prot") && !text.contains("s3cret"),
        "{text}"
    );
}

#[test]
fn what_a_driver_would_refuse_later_is_in_the_one_list() {
    let wrong = [
        ("TRANSPORTER", "nats://a:4222,nats://b:70000"),
        ("MONGO_URL", "mongodb://h/db?maxPoolSize=many"),
        ("DDP_EDGE_NATS_NKEY", "/nowhere"),
        ("DDP_EDGE_NATS_CERT", "Cargo.toml"),
        ("BALANCE_STRATEGY", "Best"),
    ];
    let (code, text) = run(&["presence"], &wrong);
    assert_eq!(code, 2, "{text}");
    for (name, _) in wrong {
        assert!(
            text.contains(&format!("{name}: ")),
            "{name} is missing in: {text}"
        );
    }
}

#[test]
fn a_value_that_is_no_text_is_a_mistake_and_no_panic() {
    use std::os::unix::ffi::OsStrExt as _;
    let output = Command::new(BINARY)
        .arg("gateway")
        .env_clear()
        .env("ODD", std::ffi::OsStr::from_bytes(b"\xff"))
        .env("PORT", std::ffi::OsStr::from_bytes(b"30\xff00"))
        .output()
        .expect("the binary runs");
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("PORT: "));
}

#[test]
fn no_log_level_makes_a_driver_tell_a_password() {
    let nats = harness::NatsServer::start_with(&["--user", "someone", "--pass", "hunter2"]);
    let url = format!("nats://someone:hunter2@127.0.0.1:{}", nats.port());
    let port = harness::free_port().to_string();
    let environment = [
        ("PORT", &*port),
        ("TRANSPORTER", &url),
        ("MONGO_URL", "mongodb://someone:hunter2@127.0.0.1:1/x"),
        ("RUST_LOG", "trace"),
    ];
    let edge = Edge::start(BINARY, &["accounts"], &environment);
    let _ = edge.wait_for_line("connected to NATS");
    // The database is looked for as well.
    let _ = edge.wait_for_line("started");
    let text = edge.output().join("\n");
    assert!(!text.contains("hunter2"), "{text}");
}

#[test]
fn a_container_engine_can_ask_for_health() {
    let port = harness::free_port().to_string();
    let ask = || run(&["health", "--port", &port], &[]).0;
    assert_eq!(ask(), 1, "nobody listens");
    let environment = [
        ("PORT", &*port),
        ("TRANSPORTER", "nats://127.0.0.1:1"),
        ("MONGO_URL", "mongodb://127.0.0.1:1/x"),
    ];
    let edge = Edge::start(BINARY, &["presence"], &environment);
    let _ = edge.wait_for_line("started");
    assert_eq!(ask(), 0);
    assert_eq!(run(&["health"], &[("PORT", &*port)]).0, 0);
}

#[test]
fn idle_connections_do_not_silence_the_health_of_a_satellite() {
    let port = harness::free_port();
    let number = port.to_string();
    let environment = [
        ("PORT", &*number),
        ("TRANSPORTER", "nats://127.0.0.1:1"),
        ("MONGO_URL", "mongodb://127.0.0.1:1/x"),
    ];
    let edge = Edge::start(BINARY, &["accounts"], &environment);
    let _ = edge.wait_for_line("started");
    let idle = || std::net::TcpStream::connect(("127.0.0.1", port)).expect("a connection");
    let idle: Vec<_> = (0..400).map(|_| idle()).collect();
    assert_eq!(harness::http::get(port, "/health").status, 200);
    let answer = harness::http::get(port, "/readyz");
    assert_eq!(answer.status, 503);
    assert_eq!(
        answer.body,
        r#"{"ready":false,"reasons":["the bus is not connected","our services are not announced","the store is not reachable"]}"#
    );
    drop(idle);
}

#[test]
fn every_role_ends_in_time_whichever_server_does_not_answer() {
    // They accept and are silent, as a frozen server is.
    let silent = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let silent = silent.local_addr().expect("an address").to_string();
    let nats = harness::NatsServer::start();
    let frozen = harness::NatsServer::start();
    let deaf = format!("nats://{silent}");
    for (role, transporter, is_frozen) in [
        ("accounts", frozen.url(), true),
        ("authorization", deaf.clone(), false),
        ("presence", nats.url(), false),
        ("gateway", frozen.url(), true),
        ("all", deaf, false),
    ] {
        let port = harness::free_port().to_string();
        let mongo = format!("mongodb://{silent}/x");
        let environment = [
            ("PORT", &*port),
            ("TRANSPORTER", &transporter),
            ("MONGO_URL", &mongo),
            ("DDP_EDGE_DRAIN_SECONDS", "2"),
            ("DDP_EDGE_SHARDS", "1"),
        ];
        let mut edge = Edge::start(BINARY, &[role], &environment);
        let _ = edge.wait_for_line("started");
        if is_frozen {
            let _ = edge.wait_for_line("connected to NATS");
            frozen.freeze();
        }
        edge.signal("TERM");
        let status = edge.wait_for_end();
        frozen.thaw();
        assert_eq!(status.code(), Some(0), "{role} {transporter}");
    }
}

#[test]
fn a_database_that_stops_answering_makes_every_role_unready_until_it_is_back() {
    let (nats, mut mongo) = (
        harness::NatsServer::start(),
        harness::MongoServer::start_own(&[]),
    );
    let (transporter, url) = (nats.url(), mongo.url("readiness"));
    let environment = [("TRANSPORTER", &*transporter), ("MONGO_URL", &url)];
    let _monolith = harness::NodeProcess::start("monolith.js", &["--seed"], &environment);
    let roles = [
        "gateway",
        "accounts",
        "authorization",
        "presence",
        "stream-hub",
        "all",
    ];
    let mut edges: Vec<_> = roles
        .iter()
        .map(|role| {
            let port = harness::free_port();
            let number = port.to_string();
            let environment = [("PORT", &*number), environment[0], environment[1]];
            (Edge::start(BINARY, &[role], &environment), port)
        })
        .collect();
    for (edge, port) in &mut edges {
        edge.wait_for_ok(*port, "/readyz");
    }
    // Frozen it still accepts connections: only an answer that does not come tells.
    mongo.freeze();
    for ((_, port), role) in edges.iter().zip(roles) {
        harness::eventually(role, || {
            let answer = harness::http::get(*port, "/readyz");
            let says = answer.body.contains("the store is not reachable");
            assert_eq!(harness::http::get(*port, "/health").status, 200, "{role}");
            (answer.status == 503 && says).then_some(())
        });
    }
    mongo.thaw();
    for (edge, port) in &mut edges {
        edge.wait_for_ok(*port, "/readyz");
    }
}

#[test]
fn an_unknown_variable_of_our_prefix_is_mentioned() {
    let edge = Edge::start(
        BINARY,
        &["sandbox", "--ephemeral", "--port", "0"],
        &[("DDP_EDGE_SHARD", "2"), ("DDP_EDGE_PORT_3000_TCP", "x")],
    );
    let _ = edge.wait_for_line("DDP_EDGE_SHARD is not a variable");
    let _ = edge.wait_for_line("ddp-edge sandbox");
    assert!(!edge.output().join("\n").contains("DDP_EDGE_PORT_3000_TCP"));
}
