//! Runs scenarios against several servers in turn, so that every figure has its ratio from the same session.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, thread};

use anyhow::{Context, Result, anyhow, bail};
use serde::Serialize;

use crate::backend::Names;
use crate::outcome::{Outcome, Rows, Runs};
use crate::peers::floor::Mode;
use crate::plan::Plan;
use crate::process;
use crate::report::Report;
use crate::run;
use crate::scenario::Scenario;
use crate::sys;
use crate::target::{Framing, Target};

const START_TIMEOUT: Duration = Duration::from_secs(30);

/// What to compare; see the command's help.
pub(crate) struct Comparison {
    pub(crate) scenarios: Vec<Scenario>,
    pub(crate) floors: Vec<Mode>,
    /// Commands of the servers under test by name; `{port}` and `{nats}` are filled in.
    pub(crate) servers: Vec<(String, String)>,
    pub(crate) env: Vec<(String, String)>,
    pub(crate) rounds: usize,
    pub(crate) nats_server: PathBuf,
    pub(crate) logs: PathBuf,
    pub(crate) server_cpu: usize,
    pub(crate) generator_cpu: usize,
    /// Of the servers under test; the floor speaks raw only.
    pub(crate) framing: Framing,
    pub(crate) names: Names,
}

/// A child that does not outlive its run.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself; either way it is gone afterwards.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A server to start: its name and its command line.
struct Candidate {
    name: String,
    command: Vec<String>,
    floor: bool,
}

impl Comparison {
    /// Runs everything and prints each scenario's table as soon as it is complete.
    pub(crate) fn run(&self) -> Result<Outcome> {
        let commit = commit();
        println!(
            "machine {}\ncommit  {commit}\nrounds  {}, median (min-max)\n",
            process::machine(),
            self.rounds
        );
        let all_cpus = sys::allowed_cpus()?;
        if [self.server_cpu, self.generator_cpu]
            .iter()
            .any(|cpu| !all_cpus.contains(cpu))
        {
            bail!("choose --server-cpu and --generator-cpu among {all_cpus:?}");
        }
        let candidates = self.candidates()?;
        let mut scenarios = Vec::new();
        for scenario in &self.scenarios {
            let mut runs: Vec<Runs> = candidates
                .iter()
                .map(|candidate| Runs::new(&candidate.name, candidate.floor))
                .collect();
            for round in 0..self.rounds {
                // Every other round the other way round, so that a drift of the machine hits all alike.
                let mut order: Vec<usize> = (0..candidates.len()).collect();
                if round % 2 == 1 {
                    order.reverse();
                }
                for index in order {
                    let candidate = &candidates[index];
                    let report =
                        self.run_once(scenario, candidate, &all_cpus)
                            .with_context(|| {
                                format!(
                                    "{} against {} (logs in {})",
                                    scenario.name,
                                    candidate.name,
                                    self.logs.display()
                                )
                            })?;
                    runs[index].reports.push(report);
                }
            }
            let rows = Rows::new(scenario, runs);
            println!("{rows}");
            scenarios.push(rows);
        }
        Ok(Outcome {
            machine: process::machine(),
            commit,
            rounds: self.rounds,
            scenarios,
        })
    }

    fn candidates(&self) -> Result<Vec<Candidate>> {
        let own = env::current_exe()?.display().to_string();
        let floors = self.floors.iter().map(|mode| Candidate {
            name: format!("floor {}", mode.name()),
            command: [
                &own,
                "floor",
                "--nats",
                "{nats}",
                "--port",
                "{port}",
                "--mode",
                mode.name(),
            ]
            .map(String::from)
            .into(),
            floor: true,
        });
        let servers = self.servers.iter().map(|(name, command)| Candidate {
            name: name.clone(),
            command: command.split_whitespace().map(str::to_owned).collect(),
            floor: false,
        });
        Ok(floors.chain(servers).collect())
    }

    /// One run with a nats-server (on any CPU) and a server (on its own) started for it.
    fn run_once(
        &self,
        scenario: &Scenario,
        candidate: &Candidate,
        all_cpus: &[usize],
    ) -> Result<Report> {
        fs::create_dir_all(&self.logs)?;
        sys::run_on(all_cpus)?;
        let nats_port = free_port()?;
        let mut command = Command::new(&self.nats_server);
        command.args(["-a", "127.0.0.1", "-p", &nats_port.to_string()]);
        let mut nats = self.spawn(command, "nats-server")?;
        let nats_addr = SocketAddr::from((Ipv4Addr::LOCALHOST, nats_port));
        wait_for_port(nats_addr, &mut nats)?;

        let port = free_port()?;
        let fill = |text: &str| {
            text.replace("{port}", &port.to_string())
                .replace("{nats}", &nats_addr.to_string())
        };
        let (program, arguments) = candidate
            .command
            .split_first()
            .ok_or_else(|| anyhow!("an empty command"))?;
        let mut command = Command::new(fill(program));
        command.args(arguments.iter().map(|argument| fill(argument)));
        command
            .env("PORT", port.to_string())
            .env("TRANSPORTER", format!("nats://{nats_addr}"));
        command.envs(self.env.iter().map(|(name, value)| (name, fill(value))));
        sys::run_on(&[self.server_cpu])?;
        let mut server = self.spawn(command, &candidate.name.replace(' ', "-"))?;
        sys::run_on(&[self.generator_cpu])?;
        wait_for_port(SocketAddr::from((Ipv4Addr::LOCALHOST, port)), &mut server)?;

        let framing = if candidate.floor {
            Framing::Raw
        } else {
            self.framing
        };
        run::run(&Plan {
            scenario: *scenario,
            server: candidate.name.clone(),
            target: Target::parse(&format!("ws://127.0.0.1:{port}"), framing)?,
            nats: Some(nats_addr),
            names: self.names.clone(),
            users: scenario.connections,
            pid: Some(server.0.id()),
        })
    }

    fn spawn(&self, mut command: Command, name: &str) -> Result<Process> {
        let log = File::create(self.logs.join(format!("{name}.log")))?;
        command
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        let child = command
            .spawn()
            .with_context(|| format!("cannot start {:?}", command.get_program()))?;
        Ok(Process(child))
    }
}

/// A port that was free a moment ago.
fn free_port() -> Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?
        .local_addr()?
        .port())
}

fn wait_for_port(addr: SocketAddr, process: &mut Process) -> Result<()> {
    let deadline = Instant::now() + START_TIMEOUT;
    while TcpStream::connect_timeout(&addr, Duration::from_secs(1)).is_err() {
        if let Some(status) = process.0.try_wait()? {
            bail!("the server ended at its start: {status}");
        }
        if Instant::now() > deadline {
            bail!(
                "nothing listens on {addr} after {} s",
                START_TIMEOUT.as_secs()
            );
        }
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
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
