//! `/metrics` of every role: Moleculer's shape, which the official dashboards read, with the labels that they filter by.

use harness::{Edge, MongoServer, NatsServer, NodeProcess, eventually, free_port, http};
use serde_json::json;

const BINARY: &str = env!("CARGO_BIN_EXE_ddp-edge");

/// What the official dashboards and their alerts name (ecosystem.md 4), as far as a fresh process has it.
const ALWAYS: [&str; 14] = [
    "moleculer_registry_nodes_total",
    "moleculer_registry_nodes_online_total",
    "moleculer_registry_services_total",
    "moleculer_registry_actions_total",
    "moleculer_registry_events_total",
    "moleculer_registry_service_endpoints_total",
    "moleculer_transit_publish_total",
    "moleculer_transit_receive_total",
    "moleculer_transit_requests_active",
    "moleculer_transporter_packets_sent_bytes",
    "moleculer_request_total",
    "moleculer_request_time_bucket",
    "process_memory_rss",
    "process_uptime",
];

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
        for name in ALWAYS {
            let mut lines = text.lines().filter(|line| {
                line.strip_prefix(name)
                    .is_some_and(|rest| rest.starts_with(['{', ' ']))
            });
            let line = lines
                .next()
                .unwrap_or_else(|| panic!("{role}: {name} is missing in {text}"));
            assert!(line.contains("nodeID=\""), "{role}: {line}");
            assert!(
                !line.contains("namespace="),
                "an empty one would hide the target's: {line}"
            );
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
