//! One run, from an empty server to its report.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::plan::Plan;
use crate::probe::Probe;
use crate::process;
use crate::report::{Latency, Report};
use crate::scenario::Load;
use crate::swarm::Swarm;
use crate::traffic::Traffic;

/// What a server gets at least to come to rest after many sockets have come or gone.
const SETTLE: Duration = Duration::from_secs(2);
/// It has come to rest when it took less than a fiftieth of a core in each of so many looks in a row.
const LOOK: Duration = Duration::from_millis(250);
const QUIET_LOOKS: u32 = 4;
/// One that never rests is measured all the same.
const REST_MAX: Duration = Duration::from_secs(20);

/// Behind too much of it: what a server gets to work off what waits, and as long its messages are timed again.
const SETTLE_AFTER_LOAD: Duration = Duration::from_secs(1);

/// What connecting took.
struct Connected {
    elapsed: Duration,
    cpu: Option<Duration>,
    rest_seconds: f64,
    rss_bytes: Option<u64>,
}

/// What happened in the measured window.
#[derive(Default)]
struct Loaded {
    seconds: f64,
    cpu: Option<Duration>,
    generator_cpu: Duration,
    delivered: u64,
    reads: u64,
    published: u64,
    unwanted: u64,
    latency: Option<Latency>,
    ping: Option<Latency>,
    rss_bytes: Option<u64>,
    /// From a second after the load has come down on.
    recovered: Option<Latency>,
}

/// Runs `plan` to its end.
///
/// # Errors
/// Only if there is nothing to measure: no server, no nats-server, no client became ready. What goes wrong with single
/// clients or messages is in the report's faults.
pub(crate) fn run(plan: &Plan) -> Result<Report> {
    let mut swarm = Swarm::new(plan)?;
    swarm.find_targets(plan)?;
    let rss_empty = plan.rss_bytes()?;
    let connected = connect(plan, &mut swarm)?;
    let stalled = plan.scenario.stalled;
    swarm.stall_readers(stalled)?;
    let loaded = load(plan, &mut swarm)?;
    let rss_end = plan.rss_bytes()?;
    let stalled_closed = (stalled > 0).then(|| swarm.count_closed(stalled));
    let connections = swarm.opened();
    let ready_ms = swarm.ready_times();
    let faults = swarm.finish()?;

    let share = |cpu: Option<Duration>, count: u64| {
        cpu.filter(|_| count > 0)
            .map(|cpu| cpu.as_secs_f64() * 1e6 / count as f64)
    };
    Ok(Report {
        scenario: plan.scenario.name.to_owned(),
        server: plan.server.clone(),
        connections,
        subscriptions: plan.subscriptions(0).len(),
        connect_seconds: connected.elapsed.as_secs_f64(),
        connects_per_second: connections as f64 / connected.elapsed.as_secs_f64(),
        ready_ms,
        rest_seconds: connected.rest_seconds,
        cpu_us_per_connection: share(connected.cpu, connections as u64),
        rss_empty_bytes: rss_empty,
        rss_connected_bytes: connected.rss_bytes,
        rss_loaded_bytes: loaded.rss_bytes,
        rss_end_bytes: rss_end,
        rss_bytes_per_connection: rss_empty
            .zip(connected.rss_bytes)
            .map(|(empty, full)| (full as f64 - empty as f64) / connections as f64),
        seconds: loaded.seconds,
        published: loaded.published,
        unwanted: loaded.unwanted,
        delivered: loaded.delivered,
        deliveries_per_second: ratio(loaded.delivered as f64, loaded.seconds),
        cpu_us_per_delivery: share(loaded.cpu, loaded.delivered),
        cpu_us_per_event: share(loaded.cpu, loaded.published + loaded.unwanted),
        cpu_share: loaded
            .cpu
            .map(|cpu| ratio(cpu.as_secs_f64(), loaded.seconds)),
        generator_share: ratio(loaded.generator_cpu.as_secs_f64(), loaded.seconds),
        messages_per_read: ratio(loaded.delivered as f64, loaded.reads as f64),
        latency_ms: loaded.latency,
        ping_ms: loaded.ping,
        recovered_ms: loaded.recovered,
        stalled_closed,
        faults,
    })
}

/// Connects everybody, twice if the scenario is about coming back.
fn connect(plan: &Plan, swarm: &mut Swarm) -> Result<Connected> {
    if plan.scenario.connect.twice {
        swarm.connect_all(plan)?;
        swarm.hang_up();
        swarm.turns_for(SETTLE)?;
    }
    let (start, cpu) = (Instant::now(), plan.cpu_time()?);
    swarm.connect_all(plan)?;
    let (elapsed, cpu) = (start.elapsed(), plan.cpu_since(cpu)?);
    if swarm.opened() == 0 {
        bail!("no client became ready: {}", swarm.reasons().join("; "));
    }
    let resting = Instant::now();
    if plan.scenario.rests() {
        rest(plan, swarm)?;
    }
    Ok(Connected {
        elapsed,
        cpu,
        rest_seconds: resting.elapsed().as_secs_f64(),
        rss_bytes: plan.rss_bytes()?,
    })
}

/// Waits until what follows a storm of logins is over: judgements that are made again, memory that is given back.
fn rest(plan: &Plan, swarm: &mut Swarm) -> Result<()> {
    swarm.turns_for(SETTLE)?;
    let deadline = Instant::now() + REST_MAX;
    let mut quiet = 0;
    while quiet < QUIET_LOOKS && Instant::now() < deadline {
        let before = plan.cpu_time()?;
        swarm.turns_for(LOOK)?;
        let is_quiet = plan.cpu_since(before)?.is_none_or(|used| used < LOOK / 50);
        quiet = if is_quiet { quiet + 1 } else { 0 };
    }
    Ok(())
}

/// Publishes, or only listens when somebody else does.
fn load(plan: &Plan, swarm: &mut Swarm) -> Result<Loaded> {
    let scenario = &plan.scenario;
    let listens = plan.nats.is_none();
    if matches!(scenario.load, Load::Nothing) && !listens {
        return Ok(Loaded::default());
    }
    let probe = scenario
        .probe
        .then(|| Probe::start(plan.targets[0].clone()));
    let mut traffic = Traffic::new(scenario, plan.names.clone(), plan.users, Instant::now());
    if !listens {
        swarm.publish_for(scenario.warmup, &mut traffic, "warm-up")?;
    }
    swarm.begin_measuring();
    let own_cpu = process::cpu_time(std::process::id())?;
    let (start, cpu, before) = (Instant::now(), plan.cpu_time()?, traffic.published());
    if listens {
        swarm.turns_for(scenario.measure)?;
    } else {
        swarm.publish_for(scenario.measure, &mut traffic, scenario.name)?;
    }
    let (delivered, reads, latency) = swarm.measured();
    let (published, unwanted) = traffic.published();
    let mut loaded = Loaded {
        seconds: start.elapsed().as_secs_f64(),
        cpu: plan.cpu_since(cpu)?,
        generator_cpu: process::cpu_time(std::process::id())?.saturating_sub(own_cpu),
        delivered,
        reads,
        published: published - before.0,
        unwanted: unwanted - before.1,
        latency,
        rss_bytes: plan.rss_bytes()?,
        ..Loaded::default()
    };
    if scenario.typing_per_event > 0 {
        traffic.calm();
        swarm.publish_for(SETTLE_AFTER_LOAD, &mut traffic, "calm")?;
        swarm.begin_measuring();
        swarm.publish_for(SETTLE_AFTER_LOAD, &mut traffic, "calm")?;
        loaded.recovered = swarm.measured().2;
    }
    swarm.drain()?;
    if let Some(probe) = probe {
        loaded.ping = probe.finish()?.summary();
    }
    Ok(loaded)
}

/// Zero instead of a division by zero.
fn ratio(amount: f64, per: f64) -> f64 {
    if per > 0.0 { amount / per } else { 0.0 }
}
