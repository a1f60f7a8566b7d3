//! `/metrics` of every role: Moleculer's shape, which the official dashboards read, with the labels that they filter by.

#[path = "metrics/traces.rs"]
mod traces;

use std::collections::BTreeSet;

use harness::{Client, Edge, MongoServer, NatsServer, NodeProcess, eventually, free_port, http};
use serde_json::json;

const BINARY: &str = env!("CARGO_BIN_EXE_ddp-edge");

const LIST: &str = include_str!("metrics.txt");

/// One name of the list.
struct Row {
    name: &'static str,
    kind: &'static str,
    labels: BTreeSet<&'static str>,
    place: &'static str,
}

fn lines() -> impl Iterator<Item = Vec<&'static str>> {
    let lines = LIST.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| line.split('|').map(str::trim).collect())
}

fn rows() -> impl Iterator<Item = Row> {
    lines().filter(|line| line[0] != "no").map(|line| Row {
        name: line[0],
        kind: line[1],
        labels: line[2].split_whitespace().collect(),
        place: line[3],
    })
}

impl Row {
    /// The names under which its values stand.
    fn samples(&self) -> Vec<String> {
        let ends: &[&str] = match self.kind {
            "histogram" => &[
                "",
                "_bucket",
                "_sum",
                "_count",
                "_min",
                "_mean",
                "_variance",
                "_stddev",
                "_max",
            ],
            "buckets" => &["_bucket", "_sum", "_count"],
            _ => &[""],
        };
        ends.iter().map(|end| self.name.to_owned() + end).collect()
    }

    /// What a page has of it: nothing, or all of it as the list has it.
    fn is_on(&self, page: &str) -> bool {
        let Some(kind) = kinds(page).find_map(|(name, kind)| (name == self.name).then_some(kind))
        else {
            return false;
        };
        if !self
            .samples()
            .iter()
            .all(|name| values(page, name).next().is_some())
        {
            return false;
        }
        assert_eq!(
            kind,
            self.kind.replace("buckets", "histogram"),
            "{}",
            self.name
        );
        let found: BTreeSet<&str> = values(page, &self.samples()[0])
            .chain(values(page, self.samples().last().expect("its name")))
            .flat_map(labels)
            .filter(|label| !["nodeID", "namespace", "le", "quantile"].contains(label))
            .collect();
        // Left out where no group is named.
        let missing = self
            .labels
            .difference(&found)
            .filter(|label| **label != "groups");
        assert_eq!(missing.collect::<Vec<_>>(), [&""; 0], "{}", self.name);
        let more = found.difference(&self.labels);
        assert_eq!(more.collect::<Vec<_>>(), [&""; 0], "{}", self.name);
        true
    }
}

/// The families of a page.
fn kinds(page: &str) -> impl Iterator<Item = (&str, &str)> {
    let heads = page.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    heads.filter_map(|head| head.split_once(' '))
}

/// The lines of one name, without it.
fn values<'a>(page: &'a str, name: &str) -> impl Iterator<Item = &'a str> {
    let rest = move |line: &'a str| line.strip_prefix(name);
    let lines: Vec<_> = page.lines().filter_map(rest).collect();
    lines
        .into_iter()
        .filter(|rest| rest.starts_with(['{', ' ']))
}

/// The names of a line's labels.
fn labels(line: &str) -> impl Iterator<Item = &str> {
    let inner = line
        .strip_prefix('{')
        .and_then(|line| line.rsplit_once('}'));
    let pairs = inner.map_or("", |(inner, _)| inner).split("\",");
    pairs.filter_map(|pair| Some(pair.split_once("=\"")?.0))
}

#[test]
fn every_role_shows_what_the_dashboards_read() {
    let (nats, mongo) = (NatsServer::start(), MongoServer::start());
    let mongo_url = mongo.url(&format!("metrics-{}-{}", std::process::id(), nats.port()));
    let transporter = nats.url();
    let mut peer = NodeProcess::start(
        "peer.js",
        &["--node-id", "peer-1"],
        &[("TRANSPORTER", &transporter)],
    );
    for (role, call) in [
        ("accounts", "accounts.logout"),
        ("authorization", "authorization.hasPermission"),
        ("presence", "presence.removeConnection"),
        ("all", "accounts.logout"),
    ] {
        let (port, metrics) = (free_port().to_string(), free_port());
        let number = metrics.to_string();
        let environment = [
            ("PORT", port.as_str()),
            ("TRANSPORTER", &transporter),
            ("MONGO_URL", &mongo_url),
            ("MS_METRICS", "true"),
            ("MS_METRICS_PORT", &number),
            ("LICENSE_CHECK_INTERVAL", "0.1"),
            ("DDP_EDGE_SHARDS", "1"),
        ];
        let mut edge = Edge::start(BINARY, &[role], &environment);
        edge.wait_for_ok(port.parse().expect("a port"), "/livez");
        let service = call.split('.').next().unwrap_or_default();
        peer.ask(&json!({"cmd": "waitForServices", "names": [service]}));
        peer.ask(&json!({"cmd": "call", "action": call, "params": []}));
        // The licence is asked elsewhere, what the peer calls is answered here.
        let text = eventually("both calls", || {
            let text = http::get(metrics, "/metrics").body;
            let has = |side: &str, action: &str| {
                text.lines().any(|line| {
                    line.starts_with("moleculer_request_total{")
                        && line.contains(&format!("action=\"{action}\",type=\"{side}\""))
                })
            };
            (has("local", call) && has("remote", "license.hasValidLicense")).then_some(text)
        });
        for row in rows().filter(|row| row.place == "every") {
            let name = row.name;
            assert!(row.is_on(&text), "{role}: {name} is missing in {text}");
            for line in row.samples().iter().flat_map(|name| values(&text, name)) {
                assert!(line.contains("nodeID=\""), "{role}: {name}{line}");
                assert!(
                    !line.contains("namespace="),
                    "an empty one would hide the target's: {name}{line}"
                );
            }
        }
        let families: Vec<_> = text
            .lines()
            .filter_map(|line| line.strip_prefix("# TYPE "))
            .filter_map(|line| line.split(' ').next())
            .collect();
        let mut distinct = families.clone();
        distinct.sort_unstable();
        distinct.dedup();
        assert_eq!(
            families.len(),
            distinct.len(),
            "{role}: a family stands there twice: {families:?}"
        );
        // Politely, so that the peer calls the next one.
        edge.signal("TERM");
        edge.wait_for_end();
    }
}

/// One of them is on every page.
const RATES: [&str; 2] = [
    "moleculer_request_total_rate",
    "moleculer_transit_publish_total_rate",
];

/// A page that has all of these names.
fn complete(port: u16, is_meant: impl Fn(&Row) -> bool) -> String {
    let mut awaited = Vec::new();
    eventually("all that happens on a page", || {
        let page = http::get(port, "/metrics").body;
        let missing = rows().filter(|row| is_meant(row) && !row.is_on(&page));
        let missing: Vec<_> = missing.map(|row| row.name).collect();
        if missing != awaited {
            eprintln!("{port} lacks {missing:?}");
            awaited.clone_from(&missing);
        }
        // Rates are there from the second look at them on.
        let has_rates = RATES
            .iter()
            .any(|name| values(&page, name).next().is_some());
        (missing.is_empty() && has_rates).then_some(page)
    })
}

/// Every name of the list, with its kind and its labels, is on our page, and where the original has it on that of a real
/// Node peer; and what that page has, the list has, or says why not.
#[test]
fn our_page_and_that_of_a_node_peer_say_the_same() {
    let (nats, mongo) = (NatsServer::start(), MongoServer::start());
    let mongo_url = mongo.url(&format!("page-{}-{}", std::process::id(), nats.port()));
    let ports = [free_port(), free_port(), free_port()];
    let [port, metrics, peers] = ports.map(|port| port.to_string());
    let transporter = nats.url();
    let monolith = NodeProcess::start(
        "monolith.js",
        &["--seed", "--services", "settings,license,meteor"],
        &[("TRANSPORTER", &transporter), ("MONGO_URL", &mongo_url)],
    );
    let mut peer = NodeProcess::start(
        "peer.js",
        &["--node-id", "peer-1", "--services", "peer"],
        &[
            ("TRANSPORTER", &transporter),
            ("MS_METRICS", "true"),
            ("MS_METRICS_PORT", &peers),
        ],
    );
    let environment = [
        ("PORT", port.as_str()),
        ("TRANSPORTER", &transporter),
        ("MONGO_URL", &mongo_url),
        ("MS_METRICS", "true"),
        ("MS_METRICS_PORT", &metrics),
        ("BALANCE_STRATEGY", "Latency"),
        ("REQUEST_TIMEOUT", "1"),
        ("LICENSE_CHECK_INTERVAL", "0.1"),
        ("DDP_EDGE_SHARDS", "1"),
    ];
    let mut edge = Edge::start(BINARY, &["all"], &environment);
    edge.wait_for_ok(ports[0], "/readyz");
    peer.ask(&json!({"cmd": "waitForServices", "names": ["streamer", "accounts"]}));

    // Calls both ways, of which some fail and some are too late; events both ways, of which one is none.
    let mut client = Client::open(ports[0]);
    client
        .subscribe("meteor_autoupdate_clientVersions", &json!([]))
        .expect("everybody may");
    assert!(client.call("nobodyHasThis", &json!([])).is_err());
    peer.ask(&json!({"cmd": "call", "action": "accounts.login", "params": "none"}));
    peer.ask(&json!({"cmd": "call", "action": "peer.boom", "params": ["plain"]}));
    peer.ask(&json!({"cmd": "call", "action": "peer.slow", "params": [10_000], "timeout": 1}));
    for (event, args) in [
        ("watch.settings", json!([])),
        ("watch.settings", json!("no array")),
        ("test.event", json!([])),
    ] {
        peer.ask(&json!({"cmd": "broadcast", "event": event, "args": args}));
    }
    peer.ask(&json!({"cmd": "emit", "event": "test.event", "args": []}));
    peer.ask(&json!({"cmd": "ping"}));

    // Its licence is asked for all the time.
    monolith.signal("STOP");

    complete(ports[1], |row| row.place != "seldom");
    // What fails in a peer's handler is swallowed there before it is counted.
    let theirs = complete(ports[2], |row| {
        row.name.starts_with("moleculer_") && row.name != "moleculer_event_received_error_total"
    });
    monolith.signal("CONT");
    let left_out: Vec<_> = lines().filter(|line| line[0] == "no").collect();
    for (name, _) in kinds(&theirs) {
        let is_ours = rows().any(|row| row.name == name);
        let is_left_out = left_out
            .iter()
            .any(|line| name.starts_with(line[1]) && !line[2].is_empty());
        assert!(is_ours != is_left_out, "{name}");
    }
}
