//! Metrics in the shape that Moleculer's reporter gives them, which the official dashboards read: buckets and quantiles
//! under one name, and rates per minute (ecosystem.md 4). Time comes in as an argument.

mod help;
mod window;

use std::{
    collections::{BTreeMap, HashMap},
    fmt::Write as _,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use window::Window;

/// What one process has counted, by name and labels.
#[derive(Default)]
pub struct Meters {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// By name, then by labels as they are printed.
    families: BTreeMap<&'static str, HashMap<String, Series>>,
    /// The labels that are looked up now; its space is used again.
    key: String,
    /// What found no room.
    dropped: u64,
    ticked: Option<Instant>,
}

#[derive(Default)]
struct Series {
    /// Of a counter or gauge, and how many values a histogram has.
    value: f64,
    rate: f64,
    /// `value` at the last tick.
    before: f64,
    times: Option<Box<Times>>,
}

#[derive(Default)]
struct Times {
    sum: f64,
    buckets: [u64; BUCKETS.len()],
    window: Window,
}

/// Labels of one measurement.
pub type Labels<'a> = &'a [(&'a str, &'a str)];

impl Meters {
    /// Adds to a counter, or to a gauge.
    pub fn add(&self, name: &'static str, labels: Labels<'_>, by: f64) {
        self.add_each(&[name], labels, by);
    }

    /// Adds to several with the same labels.
    pub fn add_each(&self, names: &[&'static str], labels: Labels<'_>, by: f64) {
        let mut state = self.lock();
        state.label(labels);
        for name in names {
            if let Some(series) = state.series(name) {
                series.value += by;
            }
        }
    }

    /// Says what somebody else has counted so far.
    pub fn set(&self, name: &'static str, labels: Labels<'_>, value: f64) {
        let mut state = self.lock();
        state.label(labels);
        if let Some(series) = state.series(name) {
            series.value = value;
        }
    }

    /// Puts a time that so many things took into a histogram.
    pub fn observe(
        &self,
        name: &'static str,
        labels: Labels<'_>,
        millis: f64,
        count: u64,
        now: Instant,
    ) {
        let mut state = self.lock();
        state.label(labels);
        if let Some(series) = state.series(name) {
            series.value += count as f64;
            let times = series.times.get_or_insert_default();
            times.sum += millis * count as f64;
            for (bucket, bound) in times.buckets.iter_mut().zip(BUCKETS) {
                *bucket += if millis <= bound { count } else { 0 };
            }
            times.window.push(millis, now);
        }
    }

    /// Moves the rates on; to be called every five seconds, as peers do.
    pub fn tick(&self, now: Instant) {
        let mut state = self.lock();
        let since = state
            .ticked
            .replace(now)
            .map(|last| now.duration_since(last));
        let Some(minutes) = since.map(|since| since.as_secs_f64() / 60.0) else {
            return;
        };
        for series in state.families.values_mut().flat_map(HashMap::values_mut) {
            let difference = series.value - std::mem::replace(&mut series.before, series.value);
            series.rate += (difference / minutes.max(f64::EPSILON) - series.rate) * 0.5;
            if series.rate.abs() < 0.05 {
                series.rate = 0.0;
            }
        }
    }

    /// The text that Prometheus reads; every line gets the `common` labels.
    pub fn render(&self, common: Labels<'_>, now: Instant) -> String {
        let mut state = self.lock();
        let mut text = Text::new(common);
        for (name, family) in &mut state.families {
            let series = |family: &mut HashMap<String, Series>,
                          each: &mut dyn FnMut(&str, &mut Series)| {
                for (labels, series) in family {
                    each(labels, series);
                }
            };
            let kind = kind(name);
            text.head(name, kind);
            if kind == "histogram" {
                series(family, &mut |labels, series| {
                    text.histogram(name, labels, series, now)
                });
                for (suffix, of) in SHOWN {
                    text.head(&format!("{name}_{suffix}"), "gauge");
                    series(family, &mut |labels, series| {
                        if let Some(shown) = series
                            .times
                            .as_mut()
                            .and_then(|times| times.window.show(now))
                        {
                            text.line(name, &format!("_{suffix}"), labels, "", of(&shown));
                        }
                    });
                }
            } else {
                series(family, &mut |labels, series| {
                    text.line(name, "", labels, "", series.value)
                });
            }
            if kind != "gauge" {
                text.head(&format!("{name}_rate"), "gauge");
                series(family, &mut |labels, series| {
                    text.line(name, "_rate", labels, "", series.rate)
                });
            }
        }
        text.head("ddp_edge_metrics_dropped_total", "counter");
        text.line(
            "ddp_edge_metrics_dropped_total",
            "",
            "",
            "",
            state.dropped as f64,
        );
        text.out
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Chooses what [`series`](Self::series) looks up.
    fn label(&mut self, labels: Labels<'_>) {
        self.key.clear();
        push_labels(&mut self.key, labels);
    }

    fn series(&mut self, name: &'static str) -> Option<&mut Series> {
        let family = self.families.entry(name).or_default();
        if !family.contains_key(&self.key) {
            // Callers and actions are the words of others.
            if family.len() >= SERIES_MAX {
                self.dropped += 1;
                return None;
            }
            family.insert(self.key.clone(), Series::default());
        }
        family.get_mut(&self.key)
    }
}

/// Prometheus' text format, a line at a time.
pub struct Text {
    common: String,
    out: String,
}

impl Text {
    /// Every line gets the `common` labels.
    pub fn new(common: Labels<'_>) -> Self {
        let mut text = Self {
            common: String::new(),
            out: String::new(),
        };
        push_labels(&mut text.common, common);
        text
    }

    /// The start of a family.
    pub fn head(&mut self, name: &str, kind: &str) {
        if let Some(help) = help::of(name) {
            let _ = writeln!(self.out, "# HELP {name} {help}");
        }
        let _ = writeln!(self.out, "# TYPE {name} {kind}");
    }

    /// A value of the family that was begun last.
    pub fn value(&mut self, name: &str, labels: Labels<'_>, value: f64) {
        let mut own = String::new();
        push_labels(&mut own, labels);
        self.line(name, "", &own, "", value);
    }

    /// Everything so far.
    pub fn finish(self) -> String {
        self.out
    }

    fn histogram(&mut self, name: &str, labels: &str, series: &mut Series, now: Instant) {
        let Some(times) = &mut series.times else {
            return;
        };
        for (bucket, bound) in times.buckets.iter().zip(BUCKETS) {
            self.line(
                name,
                "_bucket",
                labels,
                &format!("le=\"{bound}\""),
                *bucket as f64,
            );
        }
        self.line(name, "_bucket", labels, "le=\"+Inf\"", series.value);
        self.line(name, "_sum", labels, "", times.sum);
        self.line(name, "_count", labels, "", series.value);
        if let Some(shown) = times.window.show(now) {
            for share in QUANTILES {
                let quantile = format!("quantile=\"{share}\"");
                self.line(name, "", labels, &quantile, shown.quantile(share));
            }
        }
    }

    fn line(&mut self, name: &str, suffix: &str, labels: &str, more: &str, value: f64) {
        let parts = [&*self.common, labels, more];
        let parts: Vec<_> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        let labels = match parts.is_empty() {
            true => String::new(),
            false => format!("{{{}}}", parts.join(",")),
        };
        let _ = writeln!(self.out, "{name}{suffix}{labels} {value}");
    }
}

fn push_labels(into: &mut String, labels: Labels<'_>) {
    for (index, (name, value)) in labels.iter().enumerate() {
        if index > 0 {
            into.push(',');
        }
        into.push_str(name);
        into.push_str("=\"");
        for character in value.chars().take(LABEL_CHARS_MAX) {
            match character {
                '\\' => into.push_str("\\\\"),
                '"' => into.push_str("\\\""),
                '\n' => into.push_str("\\n"),
                character => into.push(character),
            }
        }
        into.push('"');
    }
}

fn kind(name: &str) -> &'static str {
    match name {
        _ if name.ends_with("_time") => "histogram",
        _ if name.ends_with("_active") => "gauge",
        _ => "counter",
    }
}

type View = fn(&window::Shown) -> f64;

/// What a window shows, by the end of the name.
const SHOWN: [(&str, View); 5] = [
    ("min", |shown| shown.min),
    ("mean", |shown| shown.mean),
    ("variance", |shown| shown.variance),
    ("stddev", |shown| shown.variance.sqrt()),
    ("max", |shown| shown.max),
];
/// Milliseconds, as peers have them.
const BUCKETS: [f64; 12] = [
    1.0, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1_000.0, 2_500.0, 5_000.0, 10_000.0,
];
const QUANTILES: [f64; 5] = [0.5, 0.9, 0.95, 0.99, 0.999];
/// Every action with every caller of a large workspace is some hundred.
const SERIES_MAX: usize = 2_000;
const LABEL_CHARS_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn counters_histograms_and_rates_look_as_the_dashboards_expect() {
        let (meters, now) = (Meters::default(), Instant::now());
        meters.tick(now);
        let labels = [("action", "a.b"), ("caller", "x\"y")];
        for millis in [0.5, 30.0, 20_000.0] {
            meters.add("moleculer_request_total", &labels, 1.0);
            meters.observe("moleculer_request_time", &labels, millis, 1, now);
        }
        meters.tick(now + Duration::from_secs(5));
        let text = meters.render(&[("nodeID", "n-1")], now);
        let own = r#"nodeID="n-1",action="a.b",caller="x\"y""#;
        for line in [
            "# TYPE moleculer_request_total counter".to_owned(),
            format!("moleculer_request_total{{{own}}} 3"),
            format!("moleculer_request_total_rate{{{own}}} 18"),
            "# TYPE moleculer_request_time histogram".to_owned(),
            format!("moleculer_request_time_bucket{{{own},le=\"1\"}} 1"),
            format!("moleculer_request_time_bucket{{{own},le=\"10000\"}} 2"),
            format!("moleculer_request_time_bucket{{{own},le=\"+Inf\"}} 3"),
            format!("moleculer_request_time{{{own},quantile=\"0.5\"}} 30"),
            format!("moleculer_request_time_sum{{{own}}} 20030.5"),
            format!("moleculer_request_time_count{{{own}}} 3"),
            format!("moleculer_request_time_min{{{own}}} 0.5"),
            format!("moleculer_request_time_max{{{own}}} 20000"),
            format!("moleculer_request_time_rate{{{own}}} 18"),
        ] {
            assert!(
                text.lines().any(|found| found == line),
                "{line} is missing in:\n{text}"
            );
        }
    }

    #[test]
    fn words_of_others_cannot_make_it_grow() {
        let meters = Meters::default();
        for number in 0..SERIES_MAX + 10 {
            let caller = format!("{number}{}", "x".repeat(10_000));
            meters.add("moleculer_request_total", &[("caller", &caller)], 1.0);
        }
        let text = meters.render(&[], Instant::now());
        assert!(text.len() < SERIES_MAX * 2 * 400, "{}", text.len());
        assert!(text.contains("ddp_edge_metrics_dropped_total 10\n"));
    }
}
