//! What a comparison found: one table per scenario, each figure with its ratio to the floors of the same run.

use std::fmt;

use serde::Serialize;

use crate::candidate::{Candidate, Kind};
use crate::report::{Faults, Report, Spread, short};
use crate::scenario::{Figure, Scenario};
use crate::sweep::Sweep;

/// A whole comparison, as it is written to JSON.
#[derive(Serialize)]
pub(crate) struct Outcome {
    pub(crate) machine: String,
    pub(crate) commit: String,
    pub(crate) rounds: usize,
    pub(crate) scenarios: Vec<Rows>,
    pub(crate) sweeps: Vec<Curves>,
}

/// All servers along one quantity.
#[derive(Serialize)]
pub(crate) struct Curves {
    name: &'static str,
    title: &'static str,
    axis: &'static str,
    unit: &'static str,
    pub(crate) points: Vec<Point>,
}

/// One value of the quantity.
#[derive(Serialize)]
pub(crate) struct Point {
    pub(crate) value: usize,
    pub(crate) rows: Rows,
}

impl Curves {
    pub(crate) fn new(sweep: &Sweep) -> Self {
        Self {
            name: sweep.name,
            title: sweep.title,
            axis: sweep.axis,
            unit: sweep.figure().unit(),
            points: Vec::new(),
        }
    }
}

/// All servers of one scenario.
#[derive(Serialize)]
pub(crate) struct Rows {
    name: &'static str,
    title: &'static str,
    unit: &'static str,
    message_bytes: usize,
    rows: Vec<Row>,
}

/// One server's figure in one scenario.
#[derive(Serialize)]
struct Row {
    #[serde(flatten)]
    runs: Runs,
    figure: Option<Spread>,
    /// The median's ratio to that of each floor, by the floor's name.
    ratios: Vec<(String, f64)>,
}

/// The rounds of one server.
#[derive(Serialize)]
pub(crate) struct Runs {
    server: String,
    kind: Kind,
    /// Why there is no report, or no more of them.
    pub(crate) failure: Option<String>,
    pub(crate) reports: Vec<Report>,
}

impl Outcome {
    /// Whether any message went missing, came twice, or out of order or place, or a scenario could not be done. What a
    /// peer cannot do is a finding, not a fault of the comparison.
    pub(crate) fn any_fault(&self) -> bool {
        let points = self.sweeps.iter().flat_map(|curves| &curves.points);
        let tables = points.map(|point| &point.rows).chain(&self.scenarios);
        let rows = tables.flat_map(|table| &table.rows);
        let mut ours = rows.filter(|row| row.runs.kind != Kind::Peer);
        ours.any(|Row { runs, .. }| runs.failure.is_some() || runs.faults().next().is_some())
    }
}

impl Outcome {
    /// The other way round, a row per server: each scenario's figure and what a `ping` took at p99 meanwhile, or a client until it
    /// was ready.
    pub(crate) fn by_server(&self) -> String {
        let heads = self.scenarios.iter().map(|rows| {
            let (name, unit) = (rows.name, rows.unit);
            format!(" {name}, {unit} | p99, ms |")
        });
        let mut table = format!("| server |{}\n", heads.collect::<String>());
        table += &format!("|---|{}\n", "---|---|".repeat(self.scenarios.len()));
        let servers = self.scenarios.first().map_or(0, |rows| rows.rows.len());
        for at in 0..servers {
            table += &format!("| {} |", self.scenarios[0].rows[at].runs.server);
            for Row { runs, figure, .. } in self.scenarios.iter().map(|rows| &rows.rows[at]) {
                let lost = if runs.faults().next().is_some() {
                    " †"
                } else {
                    ""
                };
                let p99 = runs.middle(|report| Some(report.ping_ms.or(report.ready_ms)?.p99));
                table += &format!(" {}{lost} | {p99} |", text(*figure));
            }
            table.push('\n');
        }
        table
    }
}

/// A table in Markdown: a row per scenario, a column per server.
impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(first) = self.scenarios.first() else {
            return Ok(());
        };
        write!(f, "| row |")?;
        for row in &first.rows {
            write!(f, " {} |", row.runs.server)?;
        }
        write!(f, "\n|---|")?;
        writeln!(f, "{}", "---|".repeat(first.rows.len()))?;
        for Rows {
            name, unit, rows, ..
        } in &self.scenarios
        {
            write!(f, "| {name}, {unit} |")?;
            for Row { runs, figure, .. } in rows {
                let lost = if runs.faults().next().is_some() {
                    " †"
                } else {
                    ""
                };
                match (figure, &runs.failure) {
                    (Some(figure), _) => write!(f, " {figure}{lost} |")?,
                    (None, Some(_)) => write!(f, " cannot ‡ |")?,
                    (None, None) => write!(f, " - |")?,
                }
            }
            writeln!(f)?;
        }
        writeln!(
            f,
            "\n† with faults: messages missing, late or closed sockets. ‡ for the reason see the row's own table."
        )
    }
}

impl Rows {
    /// Divides each server's figure by those of the floors among `runs`.
    pub(crate) fn new(scenario: &Scenario, runs: Vec<Runs>) -> Self {
        let spread = |runs: &Runs| runs.spread(|report| figure(scenario.figure, report));
        let floors: Vec<(String, f64)> = runs
            .iter()
            .filter(|runs| runs.kind == Kind::Floor)
            .filter_map(|runs| Some((runs.server.clone(), spread(runs)?.median)))
            .collect();
        let rows = runs.into_iter().map(|runs| {
            let figure = spread(&runs);
            let ratio =
                |(name, floor): &(String, f64)| Some((name.clone(), figure?.median / floor));
            let ratios = floors.iter().filter_map(ratio).collect();
            Row {
                runs,
                figure,
                ratios,
            }
        });
        Self {
            name: scenario.name,
            title: scenario.title,
            unit: scenario.figure.unit(),
            message_bytes: scenario.message_bytes,
            rows: rows.collect(),
        }
    }

    fn publishes(&self) -> bool {
        self.rows
            .iter()
            .flat_map(|row| &row.runs.reports)
            .any(|report| report.published > 0)
    }
}

impl fmt::Display for Rows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            name,
            title,
            unit,
            message_bytes,
            rows,
        } = self;
        writeln!(
            f,
            "{name}: {title} ({unit}, documents of {message_bytes} bytes)"
        )?;
        let publishes = self.publishes();
        let rate = if publishes {
            "deliveries/s"
        } else {
            "connects/s"
        };
        write!(
            f,
            "  {:<16} {:<22} {:<12} {rate:<24}",
            "server", "median (min-max)", "x floor(s)"
        )?;
        writeln!(
            f,
            " {:>6} {:>6} {:>6} {:>8} {:>8} {:>8}  faults",
            "share", "gen", "m/read", "p50 ms", "p99 ms", "MiB"
        )?;
        for Row {
            runs,
            figure,
            ratios,
        } in rows
        {
            let ratios: Vec<_> = ratios.iter().map(|(_, ratio)| short(*ratio)).collect();
            let rate = runs.spread(|report| {
                Some(if publishes {
                    report.deliveries_per_second
                } else {
                    report.connects_per_second
                })
            });
            write!(
                f,
                "  {:<16} {:<22} {:<12} {:<24}",
                runs.server,
                text(*figure),
                ratios.join(" / "),
                text(rate)
            )?;
            let middles = [
                runs.middle(|report| report.cpu_share),
                runs.middle(|report| Some(report.generator_share)),
                runs.middle(|report| Some(report.messages_per_read)),
            ];
            write!(f, " {:>6} {:>6} {:>6}", middles[0], middles[1], middles[2])?;
            // Where nothing is published: until the last `ready`.
            let times = |report: &Report| {
                if publishes {
                    report.latency_ms
                } else {
                    report.ready_ms
                }
            };
            let middles = [
                runs.middle(|report| Some(times(report)?.p50)),
                runs.middle(|report| Some(times(report)?.p99)),
                runs.middle(|report| Some(report.rss_end_bytes? as f64 / 1_048_576.0)),
            ];
            write!(
                f,
                " {:>8} {:>8} {:>8}  ",
                middles[0], middles[1], middles[2]
            )?;
            let faults: Vec<_> = runs.faults().collect();
            match (&runs.failure, faults.as_slice()) {
                (Some(failure), _) => write!(f, "{failure}")?,
                (None, []) => write!(f, "none")?,
                (None, faults) => write!(f, "{faults:?}")?,
            }
            let after = runs.spread(|report| Some(report.recovered_ms?.p99));
            if let Some(after) = after {
                write!(f, "; a second after the load p99 {after} ms")?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

impl Runs {
    pub(crate) fn new(candidate: &Candidate) -> Self {
        Self {
            server: candidate.name.clone(),
            kind: candidate.kind,
            failure: candidate.command.as_ref().err().cloned(),
            reports: Vec::new(),
        }
    }

    fn faults(&self) -> impl Iterator<Item = &Faults> {
        self.reports
            .iter()
            .map(|report| &report.faults)
            .filter(|faults| faults.any())
    }

    fn spread(&self, value: impl Fn(&Report) -> Option<f64>) -> Option<Spread> {
        Spread::of(self.reports.iter().filter_map(value))
    }

    fn middle(&self, value: impl Fn(&Report) -> Option<f64>) -> String {
        self.spread(value)
            .map_or_else(|| "-".into(), |spread| short(spread.median))
    }
}

/// The figure that a scenario is about.
fn figure(figure: Figure, report: &Report) -> Option<f64> {
    match figure {
        Figure::CpuPerDelivery => report.cpu_us_per_delivery,
        Figure::CpuPerEvent => report.cpu_us_per_event,
        Figure::CpuPerConnection => report.cpu_us_per_connection,
        Figure::RssPerConnection => report.rss_bytes_per_connection,
        Figure::PingP99 => Some(report.ping_ms?.p99),
        Figure::LatencyP99 => Some(report.latency_ms?.p99),
    }
}

fn text(spread: Option<Spread>) -> String {
    spread.map_or_else(|| "-".into(), |spread| spread.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario;
    use crate::target::Framing;

    fn runs(server: &str, kind: Kind, costs: &[f64]) -> Runs {
        let mut runs = Runs::new(&Candidate {
            kind,
            ..Candidate::tested(server, "true", Framing::Raw)
        });
        runs.reports = costs
            .iter()
            .map(|&cost| Report {
                cpu_us_per_delivery: Some(cost),
                ..Report::default()
            })
            .collect();
        runs
    }

    #[test]
    fn every_server_is_divided_by_the_medians_of_the_floors() {
        let all = vec![
            runs("floor a", Kind::Floor, &[5.0, 6.0, 7.0]),
            runs("floor b", Kind::Floor, &[3.0]),
            runs("gateway", Kind::Tested, &[9.0, 8.0, 30.0]),
        ];
        let rows = Rows::new(&scenario::all()[0], all);
        let ratios: Vec<Vec<f64>> = rows
            .rows
            .iter()
            .map(|row| row.ratios.iter().map(|(_, ratio)| *ratio).collect())
            .collect();
        assert_eq!(ratios, [[1.0, 2.0], [0.5, 1.0], [1.5, 3.0]]);
        assert!(rows.to_string().contains("1.50 / 3.00"), "{rows}");
    }

    #[test]
    fn the_whole_table_says_who_lost_messages_and_who_could_not() {
        let mut lossy = runs("lossy", Kind::Peer, &[2.0]);
        lossy.reports[0].faults.gaps = 1;
        let mut absent = runs("absent", Kind::Peer, &[]);
        absent.failure = Some("not installed".into());
        let outcome = Outcome {
            machine: String::new(),
            commit: String::new(),
            rounds: 1,
            scenarios: vec![Rows::new(&scenario::all()[0], vec![lossy, absent])],
            sweeps: Vec::new(),
        };
        let table = outcome.to_string();
        assert!(
            table.contains("| 2.00 (2.00-2.00) † | cannot ‡ |"),
            "{table}"
        );
        assert!(!outcome.any_fault());
    }

    #[test]
    fn one_fault_in_one_round_is_a_fault_of_the_whole() {
        let mut bad = runs("gateway", Kind::Tested, &[1.0, 1.0]);
        let outcome = |runs| Outcome {
            machine: String::new(),
            commit: String::new(),
            rounds: 2,
            scenarios: vec![Rows::new(&scenario::all()[0], vec![runs])],
            sweeps: Vec::new(),
        };
        assert!(!outcome(runs("gateway", Kind::Tested, &[1.0, 1.0])).any_fault());
        bad.reports[1].faults.gaps = 1;
        assert!(outcome(bad).any_fault());
    }
}
