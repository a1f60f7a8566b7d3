//! From a page of metrics to a page for people.

use std::{collections::BTreeMap, fmt::Write as _, time::Duration};

/// One page of metrics: the values by name and labels.
pub(crate) struct Sample {
    values: BTreeMap<String, f64>,
}

impl Sample {
    pub(crate) fn of(page: &str) -> Self {
        let lines = page.lines().filter(|line| !line.starts_with('#'));
        let values = lines.filter_map(|line| {
            let (series, value) = line.rsplit_once(' ')?;
            Some((series.to_owned(), value.parse().ok()?))
        });
        Self {
            values: values.collect(),
        }
    }

    /// Every series of a metric.
    fn of_name<'a>(&'a self, name: &'a str) -> impl Iterator<Item = (&'a str, f64)> {
        self.values.iter().filter_map(move |(series, value)| {
            let labels = series.strip_prefix(name)?;
            (labels.is_empty() || labels.starts_with('{')).then_some((labels, *value))
        })
    }

    /// The sum over a metric's series.
    fn sum(&self, name: &str) -> f64 {
        self.of_name(name).map(|(_, value)| value).sum()
    }

    /// The sums of a metric by one of its labels, the largest first.
    fn by(&self, name: &str, label: &str) -> Vec<(String, f64)> {
        let mut sums = BTreeMap::new();
        let begin = format!("{label}=\"");
        for (labels, value) in self.of_name(name) {
            let behind = labels.split_once(&begin).map(|(_, behind)| behind);
            let text = behind.and_then(|behind| behind.split('"').next());
            *sums
                .entry(text.unwrap_or_default().to_owned())
                .or_insert(0.0) += value;
        }
        let mut sums: Vec<_> = sums.into_iter().collect();
        sums.sort_by(|a, b| b.1.total_cmp(&a.1));
        sums
    }
}

/// The whole page. `past` is how long ago the last sample was taken, and that sample: without it there are no rates.
pub(crate) fn draw(stats: &str, now: &Sample, past: Option<(Duration, &Sample)>) -> String {
    let mut text = format!("ddp-edge top   {}\n\n", stats.trim());
    let rate = |name: &str| match past {
        Some((since, past)) => {
            let per_second = (now.sum(name) - past.sum(name)).max(0.0) / since.as_secs_f64();
            format!("{per_second:.0}/s")
        }
        None => format!("{} in all", now.sum(name)),
    };
    let mebibytes = |name: &str| format!("{:.1} MiB", now.sum(name) / 1_048_576.0);
    for (label, value) in [
        ("sockets", now.sum("users_connected").to_string()),
        ("logged in", now.sum("users_logged").to_string()),
        (
            "subscriptions",
            now.sum("ddp_edge_subscriptions").to_string(),
        ),
        ("slow clients", now.sum("ddp_edge_slow_clients").to_string()),
        ("waiting", mebibytes("ddp_edge_outbox_bytes")),
        ("memory", mebibytes("process_memory_rss")),
        ("open files", now.sum("process_open_fds").to_string()),
        ("deliveries", rate("ddp_edge_deliveries_total")),
        ("shed", rate("ddp_edge_shed_total")),
        ("bus in", rate("moleculer_transit_receive_total")),
        ("bus out", rate("moleculer_transit_publish_total")),
        (
            "calls out",
            now.sum("moleculer_transit_requests_active").to_string(),
        ),
        (
            "nodes",
            now.sum("moleculer_registry_nodes_online_total").to_string(),
        ),
        ("gaps", now.sum("ddp_edge_gaps_total").to_string()),
    ] {
        let _ = writeln!(text, "{label:>14}  {value}");
    }
    for (title, name, label) in [
        ("lag (s)", "ddp_edge_thread_lag_seconds", "thread"),
        (
            "closed, by reason",
            "ddp_edge_connections_closed_total",
            "reason",
        ),
        ("refused, by reason", "ddp_edge_refused_total", "reason"),
        ("limited, by rule", "ddp_edge_limited_total", "rule"),
    ] {
        let rows = now.by(name, label);
        if rows.is_empty() {
            continue;
        }
        let _ = writeln!(text, "\n  {title}");
        for (what, value) in rows.iter().take(ROWS_MAX) {
            let value = if value.fract() == 0.0 {
                value.to_string()
            } else {
                format!("{value:.3}")
            };
            let _ = writeln!(text, "{what:>24}  {value}");
        }
    }
    text
}

/// Of each table.
const ROWS_MAX: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "# HELP ddp_edge_deliveries_total Frames\n\
        ddp_edge_deliveries_total{nodeID=\"n\"} 100\n\
        ddp_edge_thread_lag_seconds{nodeID=\"n\",thread=\"bus\"} 0.25\n\
        users_connected 7\n";

    #[test]
    fn rates_are_between_two_samples() {
        let (then, now) = (Sample::of(PAGE), Sample::of(&PAGE.replace(" 100", " 300")));
        let text = draw("{}", &now, Some((Duration::from_secs(2), &then)));
        assert!(text.contains("deliveries  100/s"), "{text}");
        assert!(
            text.contains("sockets  7\n") && text.contains("bus  0.250"),
            "{text}"
        );
    }
}
