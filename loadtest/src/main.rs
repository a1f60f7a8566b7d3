//! A load generator for DDP gateways: a sequence-checked swarm of clients, a stand-in backend that publishes over a real
//! nats-server, floor servers and peers, so that every figure is a ratio of the same run.
//!
//! `scenario` says what is measured, `swarm` runs one scenario against one server, `compare` runs several in turn.
//!
//! ```text
//! loadtest list
//! loadtest compare --scenario w1 --scenario w32 --server 'edge=target/release/ddp-edge gateway' --env MONGO_URL=... --json out.json
//! loadtest swarm --url ws://127.0.0.1:3000 --nats 127.0.0.1:4222 --scenario chat --pid <gateway>
//! loadtest swarm --url ws://localhost:3000 --scenario idle --connections 100 --login alice:alice    (the sandbox)
//! ```
//!
//! The store of a gateway under test must know the rooms, users and tokens of `--room-prefix` and its kin, from 0 up; without a
//! backend `--login` brings real people. A
//! run exits with 1 if any message was missing, late out of order, doubled or where it did not belong.
//!
//! Client sockets, websocket frames and NATS are written here from scratch: sharing code with the product would mean
//! sharing its mistakes.

mod backend;
mod beside;
mod candidate;
mod centrifuge;
mod chat;
mod client;
mod compare;
mod crowd;
mod launch;
mod nats;
mod node;
mod outcome;
mod peers;
mod people;
mod plan;
mod probe;
mod process;
mod report;
mod run;
mod scenario;
mod sequence;
mod swarm;
mod sweep;
mod sys;
mod tally;
mod target;
mod topics;
mod traffic;
mod ws;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, anyhow, bail};
use clap::{Parser, Subcommand, ValueEnum as _};

use crate::backend::Names;
use crate::beside::Attack;
use crate::candidate::Candidate;
use crate::compare::Comparison;
use crate::launch::Launch;
use crate::peers::Peer;
use crate::peers::floor::{self, Mode};
use crate::peers::tungstenite;
use crate::people::Guests;
use crate::plan::Plan;
use crate::scenario::{Interest, Load, Scenario};
use crate::target::{Framing, Target};

#[derive(Parser)]
#[command(
    name = "loadtest",
    about = "Loads a DDP gateway on loopback and measures it",
    version
)]
struct Cli {
    #[command(subcommand)]
    command: Action,
}

#[derive(Subcommand)]
enum Action {
    /// List the scenarios
    List,
    /// Write and read in a room of the sandbox, from a terminal
    Chat(chat::ChatArgs),
    /// Load any server, or the sandbox, with real logins: who gets in, what arrives, how late
    Crowd(crowd::CrowdArgs),
    /// Run one scenario against a running gateway
    Swarm(Box<SwarmArgs>),
    /// Play the backend for a gateway, without a swarm
    Backend {
        /// The nats-server's host:port
        #[arg(long)]
        nats: SocketAddr,
        #[command(flatten)]
        names: Names,
        /// Ends after this many seconds
        #[arg(long, default_value_t = 3600)]
        seconds: u64,
    },
    /// Serve as the floor
    Floor {
        /// The nats-server's host:port
        #[arg(long)]
        nats: SocketAddr,
        /// Port on 127.0.0.1; 0 takes a free one
        #[arg(long, default_value_t = 0)]
        port: u16,
        #[arg(long, value_enum, default_value = "one-send")]
        mode: Mode,
        /// Ends after this many seconds
        #[arg(long, default_value_t = 3600)]
        seconds: u64,
    },
    /// Serve as the peer on tokio-tungstenite
    Tungstenite {
        /// The nats-server's host:port
        #[arg(long)]
        nats: SocketAddr,
        /// Port on 127.0.0.1
        #[arg(long)]
        port: u16,
        /// Ends after this many seconds
        #[arg(long, default_value_t = 3600)]
        seconds: u64,
    },
    /// Run scenarios alternately against the floor and other servers, each started afresh
    #[command(args_override_self = true)]
    // so that a script's values can be followed by other ones
    Compare(Box<CompareArgs>),
}

#[derive(clap::Args)]
struct SwarmArgs {
    /// Where the gateway listens, ws://host:port[/path]
    #[arg(long)]
    url: String,
    /// Use SockJS framing
    #[arg(long)]
    sockjs: bool,
    /// What to run; see `list`
    #[arg(long, default_value = "w1")]
    scenario: String,
    /// Publish through this nats-server, and play the backend there; without it the swarm only listens
    #[arg(long, conflicts_with_all = ["logins", "tokens"])]
    nats: Option<SocketAddr>,
    #[command(flatten)]
    guests: Guests,
    /// Number of clients, instead of the scenario's
    #[arg(long)]
    connections: Option<usize>,
    /// Number of users that the clients share; one each if not given
    #[arg(long)]
    users: Option<usize>,
    /// Number of rooms, instead of the scenario's
    #[arg(long)]
    rooms: Option<usize>,
    /// Rooms that each client subscribes to
    #[arg(long)]
    rooms_each: Option<usize>,
    /// Messages published and not yet read by all, instead of the scenario's load
    #[arg(long, conflicts_with = "rate")]
    in_flight: Option<u32>,
    /// Events per second, instead of the scenario's load
    #[arg(long)]
    rate: Option<f64>,
    /// Measured seconds
    #[arg(long)]
    seconds: Option<f64>,
    /// The gateway's process, for CPU time and memory
    #[arg(long)]
    pid: Option<u32>,
    /// Stay on this CPU
    #[arg(long)]
    cpu: Option<usize>,
    /// Write the report as JSON here
    #[arg(long)]
    json: Option<PathBuf>,
    #[command(flatten)]
    names: Names,
}

#[derive(clap::Args)]
struct CompareArgs {
    /// A server under test as name=command; {port} and {nats} (host:port) are filled in, PORT and TRANSPORTER are set
    #[arg(long = "server", value_name = "NAME=COMMAND", value_parser = parse_pair)]
    servers: Vec<(String, String)>,
    /// An environment variable for the servers, as NAME=VALUE
    #[arg(long = "env", value_name = "NAME=VALUE", value_parser = parse_pair)]
    env: Vec<(String, String)>,
    /// A satellite as service=command: it runs beside the servers under test, and the backend leaves that service to it
    #[arg(long = "satellite", value_name = "SERVICE=COMMAND", value_parser = parse_pair)]
    satellites: Vec<(String, String)>,
    /// Scenarios to run, all if not given
    #[arg(long = "scenario")]
    scenarios: Vec<String>,
    /// Curves to measure; only they are run if no scenario is named beside them
    #[arg(long = "sweep")]
    sweeps: Vec<String>,
    #[arg(long = "floor", value_enum, default_values = ["one-send", "coalesce"])]
    floors: Vec<Mode>,
    /// Servers that others have built; see loadtest/peers/README.md
    #[arg(long = "peer", value_enum, value_delimiter = ',')]
    peers: Vec<Peer>,
    /// Run the servers under test once more beside each of these attacks, with a ping's p99 in every scenario with load; `all` are
    /// all of them
    #[arg(long = "beside", value_name = "ATTACK", value_delimiter = ',', value_parser = attacks)]
    beside: Vec<Vec<Attack>>,
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=20))]
    rounds: u8,
    #[command(flatten)]
    instead: Overrides,
    #[arg(long, default_value = "target/tools/bin/nats-server")]
    nats_server: PathBuf,
    /// Where the servers' output goes
    #[arg(long, default_value = "target/loadtest")]
    logs: PathBuf,
    #[arg(long, default_value_t = 0)]
    server_cpu: usize,
    #[arg(long, default_value_t = 1)]
    generator_cpu: usize,
    /// Use SockJS framing against the servers under test (the floor speaks raw only)
    #[arg(long)]
    sockjs: bool,
    /// Write everything as JSON here
    #[arg(long)]
    json: Option<PathBuf>,
    #[command(flatten)]
    names: Names,
}

/// What is taken instead of the scenarios' own values.
#[derive(clap::Args)]
struct Overrides {
    /// Measured seconds of each run, instead of the scenario's
    #[arg(long)]
    seconds: Option<f64>,
    /// Seconds of load before those, instead of the scenario's
    #[arg(long)]
    warmup: Option<f64>,
    /// Number of clients, instead of the scenario's
    #[arg(long)]
    connections: Option<usize>,
    /// Events per second of scenarios that have such a rate, instead of theirs
    #[arg(long)]
    rate: Option<f64>,
}

impl Overrides {
    fn apply(&self, scenario: &mut Scenario) -> Result<()> {
        if let Some(seconds) = self.seconds {
            scenario.measure = Duration::try_from_secs_f64(seconds)?;
        }
        if let Some(seconds) = self.warmup {
            scenario.warmup = Duration::try_from_secs_f64(seconds)?;
        }
        if let Some(connections) = self.connections {
            scenario.connections = connections;
        }
        if let (Some(rate), Load::PerSecond(scenarios_own)) = (self.rate, &mut scenario.load) {
            *scenarios_own = rate;
        }
        Ok(())
    }
}

fn main() -> Result<ExitCode> {
    let good = match Cli::parse().command {
        Action::List => {
            for scenario in scenario::all() {
                println!(
                    "{:<10} {} [{}]",
                    scenario.name,
                    scenario.title,
                    scenario.figure.unit()
                );
            }
            for sweep in sweep::all() {
                println!(
                    "--sweep {:<13} {} [{}]",
                    sweep.name,
                    sweep.title,
                    sweep.figure().unit()
                );
            }
            true
        }
        Action::Chat(args) => {
            chat::run(&args)?;
            true
        }
        Action::Crowd(args) => crowd::run(args)?,
        Action::Swarm(args) => run_swarm(*args)?,
        Action::Backend {
            nats,
            names,
            seconds,
        } => {
            backend::serve(nats, names, seconds)?;
            true
        }
        Action::Floor {
            nats,
            port,
            mode,
            seconds,
        } => {
            sys::raise_file_limit()?;
            floor::serve(nats, port, mode, seconds)?;
            true
        }
        Action::Tungstenite {
            nats,
            port,
            seconds,
        } => {
            sys::raise_file_limit()?;
            tungstenite::serve(nats, port, Duration::from_secs(seconds))?;
            true
        }
        Action::Compare(args) => run_compare(*args)?,
    };
    Ok(if good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn run_swarm(mut args: SwarmArgs) -> Result<bool> {
    sys::raise_file_limit()?;
    if let Some(cpu) = args.cpu {
        sys::run_on(&[cpu])?;
    }
    let mut scenario = find(&args.scenario)?;
    if let Some(connections) = args.connections {
        scenario.connections = connections;
    }
    if let Interest::Rooms { rooms, each } = &mut scenario.interest {
        *rooms = args.rooms.unwrap_or(*rooms).max(1);
        *each = args.rooms_each.unwrap_or(*each).min(*rooms);
    }
    if let Some(in_flight) = args.in_flight {
        scenario.load = Load::InFlight(in_flight);
    }
    if let Some(rate) = args.rate {
        scenario.load = Load::PerSecond(rate);
    }
    if let Some(seconds) = args.seconds {
        scenario.measure = Duration::try_from_secs_f64(seconds)?;
    }
    if args.guests.is_anybody() {
        let url = people::websocket_url(&args.url)?;
        let entered = people::runtime()?.block_on(args.guests.enter(&url))?;
        args.users = Some(entered.people.len());
        args.names.real = Some((entered.people, entered.room));
        if let Interest::Rooms { rooms, each } = &mut scenario.interest {
            (*rooms, *each) = (1, 1);
        }
    }
    let report = run::run(&Plan {
        server: args.url.clone(),
        targets: vec![Target::parse(&args.url, framing(args.sockjs))?],
        nats: args.nats,
        names: args.names,
        unplayed: Vec::new(),
        users: args.users.unwrap_or(scenario.connections).max(1),
        pids: args.pid.into_iter().collect(),
        scenario,
    })?;
    print!("machine {}\n{report}", process::machine());
    if let Some(path) = &args.json {
        compare::write_json(path, &report)?;
    }
    Ok(!report.faults.any())
}

fn run_compare(args: CompareArgs) -> Result<bool> {
    sys::raise_file_limit()?;
    let mut scenarios = if args.scenarios.is_empty() && args.sweeps.is_empty() {
        scenario::all()
    } else {
        args.scenarios
            .iter()
            .map(|name| find(name))
            .collect::<Result<_>>()?
    };
    let mut sweeps = sweep::all();
    if let Some(unknown) = args
        .sweeps
        .iter()
        .find(|name| sweeps.iter().all(|sweep| sweep.name != **name))
    {
        bail!("no sweep {unknown}; see `loadtest list`");
    }
    sweeps.retain(|sweep| args.sweeps.iter().any(|name| name == sweep.name));
    let points = sweeps.iter_mut().flat_map(|sweep| &mut sweep.points);
    let points = points.map(|(_, scenario)| scenario);
    for scenario in scenarios.iter_mut().chain(points) {
        args.instead.apply(scenario)?;
        scenario.probe |= !args.beside.is_empty();
    }
    let all_cpus = sys::allowed_cpus()?;
    if [args.server_cpu, args.generator_cpu]
        .iter()
        .any(|cpu| !all_cpus.contains(cpu))
    {
        bail!("choose --server-cpu and --generator-cpu among {all_cpus:?}");
    }
    let mut other_cpus = all_cpus;
    if other_cpus.len() > 1 {
        other_cpus.retain(|&cpu| cpu != args.server_cpu);
    }
    let floors = args.floors.iter().map(|&mode| Candidate::floor(mode));
    let peers = args.peers.iter().map(|&peer| Candidate::peer(peer));
    let framing = framing(args.sockjs);
    let tested = args.servers.iter();
    let attacks: Vec<Attack> = args.beside.concat();
    let tested = tested.flat_map(|(name, command)| {
        let alone = Candidate::tested(name, command, framing);
        let beside: Vec<_> = attacks.iter().map(|attack| alone.beside(*attack)).collect();
        [alone].into_iter().chain(beside)
    });
    let outcome = Comparison {
        scenarios,
        sweeps,
        candidates: floors.chain(peers).chain(tested).collect(),
        rounds: args.rounds.into(),
        launch: Launch {
            nats_server: args.nats_server,
            logs: args.logs,
            env: args.env,
            satellites: args.satellites,
            server_cpu: args.server_cpu,
            generator_cpu: args.generator_cpu,
            other_cpus,
        },
        names: args.names,
        json: args.json,
    }
    .run()?;
    if !args.beside.is_empty() {
        print!("\n{}", outcome.by_server());
    }
    Ok(!outcome.any_fault())
}

fn framing(sockjs: bool) -> Framing {
    if sockjs {
        Framing::SockJs
    } else {
        Framing::Raw
    }
}

fn find(name: &str) -> Result<Scenario> {
    let found = scenario::named(name);
    found.ok_or_else(|| anyhow!("no scenario {name}; see `loadtest list`"))
}

fn attacks(name: &str) -> Result<Vec<Attack>, String> {
    match name {
        "all" => Ok(Attack::value_variants().to_vec()),
        name => Ok(vec![Attack::from_str(name, false)?]),
    }
}

fn parse_pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}
