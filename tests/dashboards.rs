//! What a real Prometheus makes of our metrics: the official dashboards' queries have answers, and our own rules and
//! dashboard ask for nothing that does not exist.

use std::{
    collections::BTreeSet,
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use harness::{Line, Product, Satellites, eventually, free_port, http, root};
use serde_json::{Value, json};

const BINARY: &str = env!("CARGO_BIN_EXE_ddp-edge");

/// A Prometheus that scrapes one target each second and loads our rules.
struct Prometheus {
    process: Child,
    port: u16,
}

impl Prometheus {
    fn start(target: u16) -> Self {
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("prometheus");
        drop(fs::remove_dir_all(&folder));
        fs::create_dir_all(&folder).expect("the folder can be made");
        let port = free_port();
        let rules = root().join("deploy/alerts.yaml");
        let config = json!({
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [rules],
            "scrape_configs": [{"job_name": "edge", "static_configs": [{
                "targets": [format!("127.0.0.1:{target}")],
                // As the chart's PodMonitor labels its targets.
                "labels": {"namespace": "rocketchat", "tenant_id": "cluster"},
            }]}],
        });
        // JSON is YAML.
        let file = folder.join("prometheus.yml");
        fs::write(&file, config.to_string()).expect("the folder can be written");
        let process = Command::new("/usr/bin/prometheus")
            .arg(format!("--config.file={}", file.display()))
            .arg(format!(
                "--storage.tsdb.path={}",
                folder.join("data").display()
            ))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("Prometheus is installed (scripts/tools)");
        Self { process, port }
    }

    fn get(&self, path: &str) -> Option<Value> {
        // Its answers come in chunks, which the harness does not read.
        let output = Command::new("curl")
            .args(["-s", &format!("http://127.0.0.1:{}{path}", self.port)])
            .output()
            .expect("curl is installed");
        serde_json::from_slice(&output.stdout).ok()
    }

    /// How many series a query has; `None`: Prometheus is not there yet.
    fn series(&self, query: &str) -> Option<usize> {
        let encoded: String = query.bytes().map(|byte| format!("%{byte:02x}")).collect();
        let answer = self.get(&format!("/api/v1/query?query={encoded}"))?;
        assert_eq!(answer["status"], "success", "{query}: {answer}");
        Some(answer["data"]["result"].as_array()?.len())
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        // An error means that it has ended.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

/// The official queries: the query with its variables filled in, and who answers.
fn official() -> Vec<(String, String)> {
    let text = fs::read_to_string(root().join("tests/dashboards.txt")).expect("the data is there");
    let rows = text.lines().filter(|line| !line.starts_with('#'));
    rows.map(|row| {
        let parts: Vec<_> = row.split(" | ").collect();
        let [_, query, who] = parts[..] else {
            panic!("not three parts: {row}")
        };
        let query = query
            .replace("$namespace", "rocketchat")
            .replace("$Namespace", "rocketchat")
            .replace("$Cluster", "cluster");
        (query, who.to_owned())
    })
    .collect()
}

#[test]
fn the_official_dashboards_and_our_alerts_have_answers() {
    let unlimited = [("DDP_EDGE_RATE_LIMITS", "false")];
    let product = Product::start(BINARY, Line::V8, Satellites::All, &unlimited);
    let port = product.gateway.metrics_port();
    let prometheus = Prometheus::start(port);
    let mut client = product.open(&product.user(&["user"]));
    for (query, who) in official() {
        if who == "monolith" {
            continue;
        }
        eventually(&query, || {
            // Rates need traffic between two scrapes.
            let echoed = client.call("test:echo", &json!([1]));
            assert!(echoed.is_ok(), "{echoed:?}");
            drop(client.call("test:error", &json!([])));
            product.broadcast("notify.ephemeralMessage", &json!(["nobody", "nowhere", {}]));
            (prometheus.series(&query)? > 0).then_some(())
        });
    }
    // Our rules were taken, and each of them can be evaluated.
    let rules = eventually("the rules are evaluated", || {
        let answer = prometheus.get("/api/v1/rules")?;
        let rules = answer["data"]["groups"][0]["rules"].as_array()?.clone();
        rules
            .iter()
            .all(|rule| rule["health"] == "ok")
            .then_some(rules)
    });
    assert!(rules.len() >= 8, "{rules:#?}");
    let firing: Vec<_> = rules
        .iter()
        .filter(|rule| rule["state"] == "firing")
        .map(|rule| &rule["name"])
        .collect();
    assert!(firing.is_empty(), "{firing:?}");
}

/// The complaints of a `promtool` command.
fn promtool(arguments: &[&str], input: &str) -> (Option<i32>, String) {
    let mut process = Command::new("/usr/bin/promtool")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool is installed (scripts/tools)");
    let mut stdin = process.stdin.take().expect("it is piped");
    stdin.write_all(input.as_bytes()).expect("promtool reads");
    drop(stdin);
    let output = process.wait_with_output().expect("promtool ends");
    let said = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    (output.status.code(), said)
}

#[test]
fn promtool_finds_nothing_in_our_metrics_but_names_that_others_have_chosen() {
    let product = Product::start(BINARY, Line::V8, Satellites::All, &[]);
    drop(product.open(&product.user(&["user"])));
    let page = http::get(product.gateway.metrics_port(), "/metrics").body;
    // A summary's sketch grows to 240 kB, and nobody can add the quantiles of two gateways.
    let summaries: Vec<_> = page
        .lines()
        .filter(|line| line.ends_with(" summary"))
        .collect();
    assert!(summaries.is_empty(), "{summaries:?}");
    let (code, said) = promtool(&["check", "metrics"], &page);
    // 3: it could be read, and there is something to say about the style.
    assert!(matches!(code, Some(0 | 3)), "{said}");
    let theirs = |line: &&str| {
        let by_moleculer = line.starts_with("moleculer_") || line.starts_with("os_");
        // `nodeID` is Moleculer's too, and on every line.
        line.ends_with("not 'camelCase'") || by_moleculer && !line.ends_with("no help text")
    };
    let ours: Vec<_> = said.lines().filter(|line| !theirs(line)).collect();
    assert!(ours.is_empty(), "{ours:#?}");
}

#[test]
fn promtool_takes_our_alerts() {
    let rules = root().join("deploy/alerts.yaml");
    let (code, said) = promtool(
        &["check", "rules", rules.to_str().expect("a plain path")],
        "",
    );
    assert_eq!(code, Some(0), "{said}");
}

#[test]
fn our_dashboard_and_alerts_ask_for_metrics_that_exist() {
    let sources = [
        "gateway/src/metrics.rs",
        "backplane/src/meters/help.rs",
        "src/metrics.rs",
    ];
    let sources: String = sources.map(|file| read(&root().join(file))).concat();
    let asked =
        read(&root().join("deploy/alerts.yaml")) + &read(&root().join("deploy/grafana.json"));
    let names: BTreeSet<_> = asked
        .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .filter(|word| {
            ["ddp_edge_", "moleculer_", "users_", "process_"]
                .iter()
                .any(|p| word.starts_with(p))
        })
        .map(|word| {
            let views = ["_bucket", "_sum", "_count", "_rate"];
            views
                .iter()
                .fold(word, |word, view| word.strip_suffix(view).unwrap_or(word))
        })
        .collect();
    assert!(names.len() > 15, "{names:?}");
    for name in names {
        assert!(
            sources.contains(&format!("\"{name}\"")),
            "nothing exports {name}"
        );
    }
}

#[test]
fn our_dashboard_is_one() {
    let dashboard: Value =
        serde_json::from_str(&read(&root().join("deploy/grafana.json"))).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("panels");
    for panel in panels {
        assert!(
            panel["title"].is_string() && panel["gridPos"]["w"].is_number(),
            "{panel}"
        );
        let targets = panel["targets"].as_array().expect("targets");
        assert!(
            targets.iter().all(|target| target["expr"].is_string()),
            "{panel}"
        );
    }
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
