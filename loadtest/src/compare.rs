//! Runs scenarios against several servers in turn, so that every figure has its ratio from the same session.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, anyhow, bail};
use serde::Serialize;

use crate::backend::Names;
use crate::beside::Beside;
use crate::candidate::{Candidate, Kind};
use crate::launch::Launch;
use crate::outcome::{Curves, Outcome, Point, Rows, Runs};
use crate::plan::Plan;
use crate::process::{self, RaisedGroup};
use crate::report::Report;
use crate::run;
use crate::scenario::{Interest, Scenario};
use crate::sweep::Sweep;
use crate::target::Target;

/// What to compare; see the command's help.
pub(crate) struct Comparison {
    pub(crate) scenarios: Vec<Scenario>,
    pub(crate) sweeps: Vec<Sweep>,
    pub(crate) candidates: Vec<Candidate>,
    pub(crate) rounds: usize,
    pub(crate) launch: Launch,
    pub(crate) names: Names,
    /// Written anew after every scenario, so that a run which is ended early leaves what it has.
    pub(crate) json: Option<PathBuf>,
}

impl Comparison {
    /// Runs everything and prints each scenario's table as soon as it is complete.
    ///
    /// # Errors
    /// Only if nothing can be measured at all. A server that cannot do a scenario says so in its row.
    pub(crate) fn run(&self) -> Result<Outcome> {
        let mut outcome = Outcome {
            machine: process::machine(),
            commit: commit(),
            rounds: self.rounds,
            scenarios: Vec::new(),
            sweeps: Vec::new(),
        };
        println!(
            "machine {}\ncommit  {}\nrounds  {}, median (min-max)\n",
            outcome.machine, outcome.commit, self.rounds
        );
        if !self.launch.nats_server.is_file() {
            bail!(
                "no {}: see --nats-server",
                self.launch.nats_server.display()
            );
        }
        // Held to the end, and given back then.
        let raised = RaisedGroup::raise();
        if raised.is_none() {
            println!("the scheduling group could not be raised: other work shows in the figures\n");
        }
        let points: usize = self.sweeps.iter().map(|sweep| sweep.points.len()).sum();
        let situations = self.scenarios.len() + points;
        let mut progress = Progress::new(situations * self.rounds * self.candidates.len());
        for scenario in &self.scenarios {
            let rows = self.measure(scenario, scenario.name, &mut progress);
            println!("{rows}");
            outcome.scenarios.push(rows);
            self.save(&outcome)?;
        }
        for sweep in &self.sweeps {
            let mut curves = Curves::new(sweep);
            for &(value, ref scenario) in &sweep.points {
                let label = format!("{} {value}", sweep.name);
                let rows = self.measure(scenario, &label, &mut progress);
                println!("{label}: {rows}");
                curves.points.push(Point { value, rows });
            }
            outcome.sweeps.push(curves);
            self.save(&outcome)?;
        }
        print!("{outcome}");
        Ok(outcome)
    }

    fn save(&self, outcome: &Outcome) -> Result<()> {
        let write = |path: &PathBuf| write_json(path, outcome);
        self.json.as_ref().map_or(Ok(()), write)
    }

    /// All rounds of one scenario.
    fn measure(&self, scenario: &Scenario, label: &str, progress: &mut Progress) -> Rows {
        let mut runs: Vec<Runs> = self.candidates.iter().map(Runs::new).collect();
        for round in 0..self.rounds {
            // Every other round the other way round, so that a drift of the machine hits all alike.
            let mut order: Vec<usize> = (0..self.candidates.len()).collect();
            if round % 2 == 1 {
                order.reverse();
            }
            for index in order {
                let candidate = &self.candidates[index];
                progress.show(label, round, &candidate.name);
                let runs = &mut runs[index];
                if runs.failure.is_some() {
                    continue;
                }
                match self.run_once(scenario, candidate) {
                    Ok(report) => runs.reports.push(report),
                    Err(error) => runs.failure = Some(format!("{error:#}")),
                }
            }
        }
        Rows::new(scenario, runs)
    }

    /// One run against servers that are started for it.
    fn run_once(&self, scenario: &Scenario, candidate: &Candidate) -> Result<Report> {
        let command = candidate
            .command
            .as_ref()
            .map_err(|reason| anyhow!("{reason}"))?;
        let of_rocket_chat =
            matches!(scenario.interest, Interest::Watched { .. }) || scenario.typing_per_event > 0;
        if candidate.kind == Kind::Peer && of_rocket_chat {
            bail!("has no presence and no typing");
        }
        let has_satellites = candidate.kind == Kind::Tested;
        let running =
            self.launch
                .start(&candidate.name, command, scenario.servers, has_satellites)?;
        let satellites = self.launch.satellites.iter().filter(|_| has_satellites);
        let target = |addr: &SocketAddr| Target::parse(&format!("ws://{addr}"), candidate.framing);
        let targets: Vec<Target> = running.addrs.iter().map(target).collect::<Result<_>>()?;
        let begin = |attack| {
            let (target, names) = (targets[0].clone(), self.names.clone());
            Beside::start(attack, target, running.nats_addr, names)
        };
        let _beside = candidate.beside.map(begin);
        run::run(&Plan {
            scenario: *scenario,
            server: candidate.name.clone(),
            targets: targets.clone(),
            nats: Some(running.nats_addr),
            names: self.names.clone(),
            unplayed: satellites.map(|(service, _)| service.clone()).collect(),
            users: scenario.connections,
            pids: running.pids(),
        })
    }
}

/// Where a long comparison is and when it will be through.
struct Progress {
    started: Instant,
    done: usize,
    total: usize,
}

impl Progress {
    fn new(total: usize) -> Self {
        Self {
            started: Instant::now(),
            done: 0,
            total,
        }
    }

    /// Says on standard error what begins now.
    fn show(&mut self, scenario: &str, round: usize, server: &str) {
        let (number, total) = (self.done + 1, self.total);
        let elapsed = self.started.elapsed();
        let left = elapsed * (total - self.done) as u32 / self.done.max(1) as u32;
        let left = if self.done > 0 {
            format!(", {} min left", left.as_secs().div_ceil(60))
        } else {
            String::new()
        };
        let minutes = elapsed.as_secs() / 60;
        let seconds = elapsed.as_secs() % 60;
        eprintln!(
            "{number}/{total} {minutes}:{seconds:02}{left}  {scenario} round {} {server}",
            round + 1
        );
        self.done += 1;
    }
}

fn commit() -> String {
    let output = Command::new("git")
        .args(["describe", "--always", "--dirty"])
        .output();
    let text = output
        .ok()
        .filter(|output| output.status.success())
        .map(|output| output.stdout);
    text.map_or_else(
        || "unknown".into(),
        |text| String::from_utf8_lossy(&text).trim().to_owned(),
    )
}

/// Writes `value` as JSON to `path`.
pub(crate) fn write_json(path: &Path, value: &impl Serialize) -> Result<()> {
    let text = serde_json::to_string_pretty(value)?;
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}
