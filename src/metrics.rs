//! What `/metrics` shows, in every role: our own metrics, Moleculer's shape beside them, the bus and the process.

use std::{
    fs,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use backplane::{Bus, Text};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

use crate::files;

/// The page; cheap to clone.
#[derive(Clone)]
pub(crate) struct Metrics {
    recorder: PrometheusHandle,
    started: Instant,
    /// On every line: `nodeID`, and `namespace` where there is one (an empty one would hide the label of the target).
    common: Arc<[(&'static str, String)]>,
}

impl Metrics {
    /// Starts to record; once per process.
    ///
    /// # Errors
    /// Somebody else records already.
    pub(crate) fn install(node: Option<&str>, namespace: Option<&str>) -> anyhow::Result<Self> {
        let common: Arc<[_]> = [("namespace", namespace), ("nodeID", node)]
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?.to_owned())))
            .collect();
        let builder = common
            .iter()
            .fold(PrometheusBuilder::new(), |builder, (name, value)| {
                builder.add_global_label(*name, value)
            });
        let recorder = builder
            // Without buckets they would be summaries, whose sketches take 240 kB each by and by.
            .set_buckets(&SECONDS)
            .and_then(|builder| {
                let original = Matcher::Full("rocketchat_subscription".to_owned());
                builder.set_buckets_for_metric(original, &MILLIS)
            })
            .and_then(PrometheusBuilder::install_recorder)
            .context("cannot install the metrics")?;
        Ok(Self {
            recorder,
            started: Instant::now(),
            common,
        })
    }

    /// Folds what was recorded and moves the rates on, for ever: nothing grows while nobody scrapes.
    pub(crate) async fn keep(self, bus: Bus) {
        loop {
            count(&bus);
            bus.meters().tick(Instant::now());
            self.recorder.run_upkeep();
            tokio::time::sleep(UPKEEP_EVERY).await;
        }
    }

    /// The whole page.
    pub(crate) fn render(&self, bus: &Bus) -> String {
        let common: Vec<_> = self
            .common
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        count(bus);
        let mut text = Text::new(&common);
        self.bus(&mut text, bus);
        self.process(&mut text);
        [
            self.recorder.render(),
            bus.meters().render(&common, Instant::now()),
            text.finish(),
        ]
        .concat()
    }

    fn bus(&self, text: &mut Text, bus: &Bus) {
        let (stats, offered) = (bus.stats(), bus.offered());
        let ((nodes, online), status) = (bus.node_count(), bus.status());
        for (name, value) in [
            ("moleculer_registry_nodes_total", nodes),
            ("moleculer_registry_nodes_online_total", online),
            ("moleculer_registry_services_total", offered.services.len()),
            ("moleculer_registry_actions_total", offered.actions.len()),
            ("moleculer_registry_events_total", offered.events.len()),
            (
                "moleculer_transit_requests_active",
                stats.calls_pending as usize,
            ),
            ("moleculer_transit_connected", status.connected.into()),
            (
                "moleculer_transit_ready",
                (status.connected && status.announced).into(),
            ),
            ("moleculer_broker_local_services_total", bus.served()),
            ("ddp_edge_bus_requests_open", stats.requests_open as usize),
        ] {
            text.head(name, "gauge");
            text.value(name, &[], value as f64);
        }
        for (name, label, endpoints) in [
            (
                "moleculer_registry_service_endpoints_total",
                "service",
                &offered.services,
            ),
            (
                "moleculer_registry_action_endpoints_total",
                "action",
                &offered.actions,
            ),
            (
                "moleculer_registry_event_endpoints_total",
                "event",
                &offered.events,
            ),
        ] {
            text.head(name, "gauge");
            // The names are the words of other nodes.
            for (value, count) in endpoints.iter().take(ENDPOINTS_MAX) {
                text.value(name, &[(label, value)], *count as f64);
            }
        }
        let name = "moleculer_transit_pong_time";
        text.head(name, "gauge");
        for (node, distance) in bus.distances() {
            let millis = distance.as_secs_f64() * 1e3;
            text.value(name, &[("targetNodeID", &*node)], millis);
        }
        for (name, value) in [
            ("ddp_edge_bus_connects_total", stats.connects),
            ("ddp_edge_bus_conflicts_total", stats.conflicts),
            (
                "ddp_edge_bus_malformed_total",
                stats.malformed + stats.wrong_version,
            ),
            ("ddp_edge_bus_offers_cut_total", stats.offers_cut),
            ("ddp_edge_bus_requests_late_total", stats.requests_late),
            ("ddp_edge_bus_requests_stale_total", stats.requests_stale),
        ] {
            text.head(name, "counter");
            text.value(name, &[], value as f64);
        }
        let lost = "ddp_edge_bus_lost_total";
        text.head(lost, "counter");
        for (place, count) in [
            ("client", stats.messages_lost),
            ("inbox", stats.inbox_refused),
            ("unsent", stats.unsent),
        ] {
            text.value(lost, &[("place", place)], count as f64);
        }
    }

    /// The process and the machine, by Moleculer's names and by those that Prometheus' own clients use; what the system
    /// does not tell is left out.
    fn process(&self, text: &mut Text) {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let (status, memory) = (read("/proc/self/status"), read("/proc/meminfo"));
        let kibibytes = |text: &str, name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name))?;
            let value: f64 = line.trim().trim_end_matches(" kB").parse().ok()?;
            Some(value * 1024.0)
        };
        let word = |path: &str, index: usize| -> Option<f64> {
            read(path).split_whitespace().nth(index)?.parse().ok()
        };
        let files = fs::read_dir("/proc/self/fd").map(|files| files.count() as f64);
        let rss = kibibytes(&status, "VmRSS:");
        let [total, free] = ["MemTotal:", "MemAvailable:"].map(|name| kibibytes(&memory, name));
        for (name, value) in [
            ("process_memory_rss", rss),
            ("process_resident_memory_bytes", rss),
            ("process_uptime", Some(self.started.elapsed().as_secs_f64())),
            (
                "process_threads",
                kibibytes(&status, "Threads:").map(|count| count / 1024.0),
            ),
            ("process_open_fds", files.ok()),
            ("process_max_fds", files::limit().map(|files| files as f64)),
            ("os_memory_total", total),
            ("os_memory_free", free),
            (
                "os_memory_used",
                total.zip(free).map(|(all, free)| all - free),
            ),
            ("os_uptime", word("/proc/uptime", 0)),
            ("os_cpu_load_1", word("/proc/loadavg", 0)),
            ("os_cpu_load_5", word("/proc/loadavg", 1)),
            ("os_cpu_load_15", word("/proc/loadavg", 2)),
        ] {
            if let Some(value) = value {
                text.head(name, "gauge");
                text.value(name, &[], value);
            }
        }
        for (name, value) in [
            ("process_pid", std::process::id().to_string().as_str()),
            ("moleculer_node_type", "rust"),
            ("moleculer_node_versions_protocol", "4"),
            ("ddp_edge_build_info", env!("CARGO_PKG_VERSION")),
        ] {
            text.head(name, "gauge");
            text.value(name, &[("value", value)], 1.0);
        }
    }
}

/// What the bus itself has counted, among the meters: they have rates.
fn count(bus: &Bus) {
    let (stats, meters) = (bus.stats(), bus.meters());
    for (name, counts) in [
        ("moleculer_transit_publish_total", &stats.packets_out),
        ("moleculer_transit_receive_total", &stats.packets_in),
    ] {
        for (kind, count) in counts {
            meters.set(name, &[("type", kind)], *count as f64);
        }
    }
    let sum = |counts: &[(_, u64)]| counts.iter().map(|(_, count)| count).sum::<u64>();
    for (name, value) in [
        (
            "moleculer_transporter_packets_sent_total",
            sum(&stats.packets_out),
        ),
        ("moleculer_transporter_packets_sent_bytes", stats.bytes_out),
        (
            "moleculer_transporter_packets_received_total",
            sum(&stats.packets_in),
        ),
        (
            "moleculer_transporter_packets_received_bytes",
            stats.bytes_in,
        ),
    ] {
        meters.set(name, &[], value as f64);
    }
}

/// The text format that Prometheus reads.
pub(crate) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";
/// As often as peers look at their rates.
const UPKEEP_EVERY: Duration = Duration::from_secs(5);
/// A monolith offers some hundred actions.
const ENDPOINTS_MAX: usize = 2_000;
/// Of our own histograms: from a batch that reaches its outboxes at once to a call at its deadline.
const SECONDS: [f64; 16] = [
    0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    5.0, 10.0,
];
/// As peers have them.
const MILLIS: [f64; 12] = [
    1.0, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1_000.0, 2_500.0, 5_000.0, 10_000.0,
];
