//! The k6 scenarios of `loadtest/k6` against a real gateway: a few clients for a few seconds, thresholds and all.

use std::{
    fs,
    path::PathBuf,
    process::Command,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
    time::Duration,
};

use harness::{Gateway, Workspace, root, tool};
use serde_json::{Value, json};

const BINARY: &str = env!("CARGO_BIN_EXE_ddp-edge");

/// A gateway and the tokens of some users.
struct Target {
    gateway: Gateway,
    tokens: PathBuf,
    workspace: Workspace,
}

impl Target {
    fn start(name: &str, environment: &[(&str, &str)]) -> Self {
        let workspace = Workspace::start(&[]);
        // The limits of the workspace are for people; a scenario writes more.
        let environment = [environment, &[("DDP_EDGE_RATE_LIMITS", "false")]].concat();
        let gateway = workspace.gateway(BINARY, &environment);
        let users = (0..4).map(|_| workspace.user(&["user"]).token + "\n");
        let tokens = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("k6-{name}.tokens"));
        fs::write(&tokens, users.collect::<String>()).expect("the folder can be written");
        Self {
            gateway,
            tokens,
            workspace,
        }
    }

    /// Runs a scenario and returns its metrics.
    fn run(&self, scenario: &str, settings: &[(&str, &str)]) -> Value {
        let summary = self.tokens.with_extension("json");
        let output = Command::new(tool("k6"))
            .args(["run", "--quiet", "--no-usage-report", "--no-color"])
            .arg("--summary-export")
            .arg(&summary)
            .arg(format!("{scenario}.js"))
            .current_dir(root().join("loadtest/k6"))
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("HOME", env!("CARGO_TARGET_TMPDIR"))
            .env("URL", format!("ws://127.0.0.1:{}", self.gateway.port))
            .env("TOKENS", &self.tokens)
            // A machine that builds beside is no measure.
            .env("ANSWER_MS", "30000")
            .env("DELIVERY_MS", "30000")
            .envs(settings.iter().copied())
            .output()
            .expect("k6 runs");
        let said = String::from_utf8_lossy(&output.stdout).into_owned()
            + &String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{scenario}: {said}");
        let text = fs::read_to_string(&summary).expect("k6 writes a summary");
        let summary: Value = serde_json::from_str(&text).expect("the summary is JSON");
        println!("{scenario}: {said}");
        summary["metrics"].clone()
    }
}

fn count(metrics: &Value, name: &str) -> f64 {
    let count = metrics[name]["count"].as_f64();
    count.unwrap_or_else(|| panic!("no {name} in {metrics:#}"))
}

#[test]
fn a_connect_storm_lets_everybody_in() {
    let target = Target::start("storm", &[]);
    for framing in ["raw", "sockjs"] {
        let settings = [("FRAMING", framing), ("CLIENTS", "8"), ("SECONDS", "3")];
        let metrics = target.run("connect-storm", &settings);
        assert!(
            metrics["ddp_login_time"]["avg"].as_f64() > Some(0.0),
            "{metrics:#}"
        );
    }
}

#[test]
fn a_message_fans_out_to_all_readers_in_order() {
    let target = Target::start("fan-out", &[]);
    for framing in ["raw", "sockjs"] {
        let settings = [
            ("FRAMING", framing),
            ("CLIENTS", "5"),
            ("SECONDS", "3"),
            ("RATE", "2"),
        ];
        let metrics = target.run("fan-out", &settings);
        assert!(count(&metrics, "ddp_deliveries") >= 15.0, "{metrics:#}");
    }
}

#[test]
fn people_chat() {
    let target = Target::start("chat", &[]);
    let settings = [
        ("FRAMING", "sockjs"),
        ("CLIENTS", "4"),
        ("SECONDS", "4"),
        ("RATE", "2"),
    ];
    let metrics = target.run("chat", &settings);
    assert!(count(&metrics, "ddp_deliveries") > 0.0, "{metrics:#}");
}

#[test]
fn people_come_back_after_the_network_flapped() {
    let target = Target::start("reconnect", &[]);
    let settings = [("CLIENTS", "4"), ("SECONDS", "4")];
    let metrics = target.run("reconnect", &settings);
    assert!(
        metrics["ddp_reconnect_time"]["avg"].as_f64() > Some(0.0),
        "{metrics:#}"
    );
}

#[test]
fn slow_readers_are_cut_and_nobody_else_notices() {
    let target = Target::start("slow", &[("DDP_MAX_BUFFERED_BYTES", "1000000")]);
    // More than the kernels on the way hold, which one writer does not reach in a few seconds.
    let text = "x".repeat(500_000);
    let message =
        json!({"_id": "m", "rid": "GENERAL", "msg": text, "u": {"_id": "x", "username": "x"}});
    let finished = AtomicBool::new(false);
    let metrics = thread::scope(|scope| {
        scope.spawn(|| {
            while !finished.load(Relaxed) {
                let news = json!([{ "message": message }]);
                target.workspace.broadcast("watch.messages", &news);
                // No faster than anybody can read.
                thread::sleep(Duration::from_millis(100));
            }
        });
        let settings = [("CLIENTS", "4"), ("SECONDS", "10"), ("BYTES", "1000")];
        let metrics = target.run("slow-readers", &settings);
        finished.store(true, Relaxed);
        metrics
    });
    assert_eq!(count(&metrics, "ddp_cut"), 1.0, "{metrics:#}");
    let slow = [("reason", "slow_consumer")];
    let closed = target
        .gateway
        .metric("ddp_edge_connections_closed_total", &slow);
    assert_eq!(closed, 1.0);
}
