//! What a run measured, as text and JSON, and the arithmetic behind it.

use std::fmt;

use serde::Serialize;

/// Sub-buckets per power of two: a reading is at most 1.6 % above the true value.
const SUB_BITS: u32 = 6;
const SUB_COUNT: usize = 1 << SUB_BITS;
const BUCKETS: usize = (64 - SUB_BITS as usize + 1) * SUB_COUNT;

/// A log-linear histogram of nanoseconds: constant cost per value, whatever its size.
#[derive(Clone)]
pub(crate) struct Histogram {
    counts: Vec<u64>,
    total: u64,
    max: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            counts: vec![0; BUCKETS],
            total: 0,
            max: 0,
        }
    }
}

impl Histogram {
    pub(crate) fn record(&mut self, nanos: u64) {
        self.counts[bucket(nanos)] += 1;
        self.total += 1;
        self.max = self.max.max(nanos);
    }

    /// The smallest recorded bucket's upper end that `quantile` (0 to 1) of the values do not exceed.
    pub(crate) fn quantile(&self, quantile: f64) -> u64 {
        let rank = ((self.total as f64 * quantile).ceil() as u64).max(1);
        let mut below = 0;
        for (index, count) in self.counts.iter().enumerate() {
            below += count;
            if below >= rank {
                return upper_end(index).min(self.max);
            }
        }
        self.max
    }

    /// The usual percentiles, or `None` without a value.
    pub(crate) fn summary(&self) -> Option<Latency> {
        let ms = |nanos: u64| nanos as f64 / 1e6;
        (self.total > 0).then(|| Latency {
            count: self.total,
            p50: ms(self.quantile(0.5)),
            p99: ms(self.quantile(0.99)),
            p999: ms(self.quantile(0.999)),
            max: ms(self.max),
        })
    }
}

/// Percentiles in milliseconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Latency {
    pub(crate) count: u64,
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) p999: f64,
    pub(crate) max: f64,
}

/// What must not happen; all zero in a good run.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Faults {
    /// Numbers that were missing when a later one came.
    pub(crate) gaps: u64,
    pub(crate) reorders: u64,
    pub(crate) duplicates: u64,
    /// Messages on a connection that did not ask for them, or in the wrong shape.
    pub(crate) strays: u64,
    /// Expected until the end of the run and never seen.
    pub(crate) undelivered: u64,
    /// Subscriptions answered with `nosub`.
    pub(crate) refused: u64,
    /// Connections that ended before we ended them.
    pub(crate) closed: u64,
    /// The first few reasons, in words.
    pub(crate) reasons: Vec<String>,
}

impl Faults {
    pub(crate) fn any(&self) -> bool {
        self.gaps
            + self.reorders
            + self.duplicates
            + self.strays
            + self.undelivered
            + self.refused
            + self.closed
            > 0
    }

    /// Keeps `reason` if it is among the first ten.
    pub(crate) fn explain(&mut self, reason: impl FnOnce() -> String) {
        if self.reasons.len() < 10 {
            self.reasons.push(reason());
        }
    }
}

/// One run of one scenario against one server.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Report {
    pub(crate) scenario: String,
    pub(crate) server: String,
    pub(crate) connections: usize,
    pub(crate) subscriptions: usize,
    pub(crate) connect_seconds: f64,
    pub(crate) connects_per_second: f64,
    /// From a client's start to its last `ready`.
    pub(crate) ready_ms: Option<Latency>,
    /// Between the last `ready` and the first reading of memory or the load: until the server had come to rest.
    pub(crate) rest_seconds: f64,
    /// Server CPU from the first connect to the last `ready`, per connection.
    pub(crate) cpu_us_per_connection: Option<f64>,
    pub(crate) rss_empty_bytes: Option<u64>,
    pub(crate) rss_connected_bytes: Option<u64>,
    /// At the end of the measured window.
    pub(crate) rss_loaded_bytes: Option<u64>,
    pub(crate) rss_end_bytes: Option<u64>,
    pub(crate) rss_bytes_per_connection: Option<f64>,
    /// Of the measured window, without warm-up.
    pub(crate) seconds: f64,
    pub(crate) published: u64,
    /// Events published that nobody had subscribed to.
    pub(crate) unwanted: u64,
    pub(crate) delivered: u64,
    pub(crate) deliveries_per_second: f64,
    pub(crate) cpu_us_per_delivery: Option<f64>,
    /// Per published event, the unwanted ones included.
    pub(crate) cpu_us_per_event: Option<f64>,
    /// Of one core.
    pub(crate) cpu_share: Option<f64>,
    /// Of one core, by us: near 1 the generator is what is measured.
    pub(crate) generator_share: f64,
    pub(crate) messages_per_read: f64,
    pub(crate) latency_ms: Option<Latency>,
    pub(crate) ping_ms: Option<Latency>,
    /// A second after too much load has come down to what can be done.
    pub(crate) recovered_ms: Option<Latency>,
    /// How the stalled readers ended: still open, or closed by the server.
    pub(crate) stalled_closed: Option<usize>,
    pub(crate) faults: Faults,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = |f: &mut fmt::Formatter<'_>, name: &str, value: String| {
            writeln!(f, "  {name:<24} {value}")
        };
        let optional = |value: Option<f64>, unit: &str| {
            value.map_or_else(|| "-".into(), |v| format!("{v:.2} {unit}"))
        };
        let mib = |bytes: Option<u64>| {
            bytes.map_or_else(|| "-".into(), |b| format!("{:.1}", b as f64 / 1048576.0))
        };
        writeln!(f, "{} against {}", self.scenario, self.server)?;
        line(
            f,
            "connections",
            format!(
                "{} with {} subscriptions each",
                self.connections, self.subscriptions
            ),
        )?;
        line(
            f,
            "connects",
            format!(
                "{:.0}/s in {:.2} s",
                self.connects_per_second, self.connect_seconds
            ),
        )?;
        line(
            f,
            "server cpu/connection",
            optional(self.cpu_us_per_connection, "us"),
        )?;
        let rss = [
            self.rss_empty_bytes,
            self.rss_connected_bytes,
            self.rss_loaded_bytes,
            self.rss_end_bytes,
        ]
        .map(mib)
        .join(" / ");
        line(f, "rss empty/connected/loaded/end", format!("{rss} MiB"))?;
        line(
            f,
            "rss/connection",
            optional(self.rss_bytes_per_connection, "bytes"),
        )?;
        if self.delivered > 0 || self.published > 0 {
            line(
                f,
                "published",
                format!(
                    "{} (+ {} unwanted) in {:.2} s",
                    self.published, self.unwanted, self.seconds
                ),
            )?;
            line(
                f,
                "delivered",
                format!("{} = {:.0}/s", self.delivered, self.deliveries_per_second),
            )?;
            line(
                f,
                "server cpu/delivery",
                optional(self.cpu_us_per_delivery, "us"),
            )?;
            line(f, "server cpu/event", optional(self.cpu_us_per_event, "us"))?;
            line(f, "server cpu share", optional(self.cpu_share, "of a core"))?;
            line(
                f,
                "generator cpu share",
                format!("{:.2} of a core", self.generator_share),
            )?;
            line(f, "messages/read", format!("{:.2}", self.messages_per_read))?;
        }
        for (name, latency) in [
            ("ready", self.ready_ms),
            ("latency", self.latency_ms),
            ("ping", self.ping_ms),
            ("latency a second after", self.recovered_ms),
        ] {
            if let Some(Latency {
                count,
                p50,
                p99,
                p999,
                max,
            }) = latency
            {
                let text = format!(
                    "p50 {p50:.2}  p99 {p99:.2}  p99.9 {p999:.2}  max {max:.2} ms  (n {count})"
                );
                line(f, name, text)?;
            }
        }
        if let Some(closed) = self.stalled_closed {
            line(f, "stalled readers closed", closed.to_string())?;
        }
        let Faults {
            gaps,
            reorders,
            duplicates,
            strays,
            undelivered,
            refused,
            closed,
            reasons,
        } = &self.faults;
        let faults = format!(
            "gaps {gaps}  reorders {reorders}  duplicates {duplicates}  strays {strays}  undelivered {undelivered}  refused {refused}  closed {closed}"
        );
        line(f, "faults", faults)?;
        for reason in reasons {
            line(f, "", reason.clone())?;
        }
        Ok(())
    }
}

/// The middle of a few runs and how far they spread.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl Spread {
    /// `None` without a value; the mean of the middle two for an even number.
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let (&min, &max) = (values.first()?, values.last()?);
        let middle = values.len() / 2;
        let median = if values.len().is_multiple_of(2) {
            (values[middle - 1] + values[middle]) / 2.0
        } else {
            values[middle]
        };
        Some(Self { median, min, max })
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = format!(
            "{} ({}-{})",
            short(self.median),
            short(self.min),
            short(self.max)
        );
        f.pad(&text)
    }
}

/// Three significant digits, thousands as k and M.
pub(crate) fn short(value: f64) -> String {
    match value.abs() {
        v if v >= 1e6 => format!("{:.2}M", value / 1e6),
        v if v >= 1e4 => format!("{:.1}k", value / 1e3),
        v if v >= 100.0 => format!("{value:.0}"),
        v if v >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

fn bucket(nanos: u64) -> usize {
    if nanos < SUB_COUNT as u64 {
        return nanos as usize;
    }
    let exponent = nanos.ilog2() - SUB_BITS;
    (exponent as usize) * SUB_COUNT + (nanos >> exponent) as usize
}

/// The largest value of a bucket.
fn upper_end(index: usize) -> u64 {
    if index < 2 * SUB_COUNT {
        return index as u64;
    }
    let exponent = index / SUB_COUNT - 1;
    let mantissa = (index - exponent * SUB_COUNT) as u64;
    mantissa
        .wrapping_add(1)
        .checked_shl(exponent as u32)
        .unwrap_or(0)
        .wrapping_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_holds_its_value_within_two_percent_over_the_whole_range() {
        for nanos in
            (0..64).flat_map(|bit| [1_u64 << bit, (1 << bit) + (1 << bit) / 3, u64::MAX >> bit])
        {
            let end = upper_end(bucket(nanos));
            assert!(end >= nanos, "{nanos} above its bucket's end {end}");
            assert!(
                end - nanos <= nanos / 60,
                "{nanos} far below its bucket's end {end}"
            );
            assert!(bucket(nanos) < BUCKETS);
        }
    }

    #[test]
    fn percentiles_of_a_uniform_range_are_where_they_belong() {
        let mut histogram = Histogram::default();
        assert!(histogram.summary().is_none());
        for milliseconds in 1..=1000 {
            histogram.record(milliseconds * 1_000_000);
        }
        let Latency {
            count,
            p50,
            p99,
            p999,
            max,
        } = histogram.summary().unwrap();
        assert_eq!((count, max), (1000, 1000.0));
        for (value, expected) in [(p50, 500.0), (p99, 990.0), (p999, 999.0)] {
            assert!(
                (value - expected).abs() / expected < 0.02,
                "{value} instead of {expected}"
            );
        }
    }

    #[test]
    fn the_median_is_the_middle_and_the_spread_its_ends() {
        assert_eq!(Spread::of([]), None);
        assert_eq!(
            Spread::of([3.0, 1.0, 2.0]),
            Some(Spread {
                median: 2.0,
                min: 1.0,
                max: 3.0
            })
        );
        assert_eq!(
            Spread::of([4.0, 1.0]),
            Some(Spread {
                median: 2.5,
                min: 1.0,
                max: 4.0
            })
        );
    }

    #[test]
    fn numbers_are_shortened_to_three_digits() {
        let texts = [0.314, 6.2, 12.34, 707.0, 9_900.0, 163_000.0, 2_450_000.0].map(short);
        assert_eq!(
            texts,
            ["0.31", "6.20", "12.3", "707", "9900", "163.0k", "2.45M"]
        );
    }

    #[test]
    fn any_fault_makes_a_run_bad() {
        assert!(!Faults::default().any());
        assert!(
            Faults {
                reorders: 1,
                ..Faults::default()
            }
            .any()
        );
    }
}
