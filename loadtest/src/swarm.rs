//! One run: connect the swarm, put the load on, count, and report. Everything happens on the calling thread.

use std::io::{IsTerminal, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::backend::{Backend, Names};
use crate::client::{Client, Progress, Script, Target};
use crate::probe::Probe;
use crate::process;
use crate::report::{Histogram, Report};
use crate::scenario::{EXTRAS, Load, Scenario};
use crate::sys::{Epoll, Ready};
use crate::tally::Tally;
use crate::traffic::{self, Traffic};

const BACKEND: u64 = u64::MAX;
const SCRATCH_BYTES: usize = 256 * 1024;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(120);
const TARGET_TIMEOUT: Duration = Duration::from_secs(60);
/// After the last publish; and without any delivery while messages are in flight.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);
const SETTLE: Duration = Duration::from_secs(2);
const PROGRESS_INTERVAL: Duration = Duration::from_millis(500);

/// What to run against which server.
pub(crate) struct Plan {
    pub(crate) scenario: Scenario,
    /// How the report calls the server.
    pub(crate) server: String,
    pub(crate) target: Target,
    /// Where the stand-in backend joins; without it the swarm only connects and listens.
    pub(crate) nats: Option<SocketAddr>,
    pub(crate) names: Names,
    /// Clients share this many users.
    pub(crate) users: usize,
    /// The server's process, for CPU time and memory.
    pub(crate) pid: Option<u32>,
}

/// The state of a run.
struct Swarm {
    epoll: Epoll,
    ready: Vec<Ready>,
    scratch: Vec<u8>,
    target: Target,
    clients: Vec<Option<Client>>,
    backend: Option<Backend>,
    tally: Tally,
    opened: usize,
    /// Clients that ended before they were ready.
    lost: usize,
    progress: Line,
}

/// The progress line on a terminal; silent elsewhere.
struct Line {
    shown: bool,
    next: Instant,
}

/// Runs `plan` to its end.
///
/// # Errors
/// Only if there is nothing to measure: no server, no nats-server, no client became ready. What goes wrong with single
/// clients or messages is in the report's faults.
pub(crate) fn run(plan: &Plan) -> Result<Report> {
    let Plan { scenario, pid, .. } = plan;
    let mut swarm = Swarm::new(plan)?;
    swarm.find_targets(plan)?;
    let cpu = || pid.map_or(Ok(Duration::ZERO), process::cpu_time);
    let rss = || pid.map(process::rss_bytes).transpose();

    let rss_empty = rss()?;
    let rounds = if scenario.connect.twice { 2 } else { 1 };
    let mut connected = (Duration::ZERO, Duration::ZERO);
    for _ in 0..rounds {
        if swarm.opened > 0 {
            swarm.hang_up()?;
        }
        let (start, cpu_before) = (Instant::now(), cpu()?);
        swarm.connect_all(plan)?;
        connected = (start.elapsed(), cpu()? - cpu_before);
    }
    if swarm.opened == 0 {
        bail!("no client became ready: {:?}", swarm.tally.faults.reasons);
    }
    let probe = scenario.probe.then(|| Probe::start(plan.target.clone()));
    let mut rss_connected = rss()?;
    if matches!(scenario.load, Load::Nothing) {
        swarm.turns_until(Instant::now() + SETTLE)?;
        rss_connected = rss()?;
    }
    swarm.stall_readers(scenario.stalled)?;

    let mut traffic = Traffic::new(scenario, plan.names.clone(), plan.users, Instant::now());
    if plan.nats.is_some() && !matches!(scenario.load, Load::Nothing) {
        swarm.publish_until(Instant::now() + scenario.warmup, &mut traffic, "warm-up")?;
    }
    swarm.tally.begin_measuring();
    let (start, cpu_before, before) = (Instant::now(), cpu()?, traffic.published());
    if plan.nats.is_none() {
        swarm.turns_until(start + scenario.measure)?;
    } else if !matches!(scenario.load, Load::Nothing) {
        swarm.publish_until(start + scenario.measure, &mut traffic, scenario.name)?;
    }
    let (seconds, cpu_spent) = (
        start.elapsed().as_secs_f64(),
        (cpu()? - cpu_before).as_secs_f64(),
    );
    let (delivered, reads) = (swarm.tally.delivered, swarm.tally.reads);
    let after = traffic.published();
    let latency_ms = swarm.tally.latency.summary();
    swarm.drain()?;
    let ping = probe.map(Probe::finish).transpose()?;
    let rss_end = rss()?;
    let stalled_closed = swarm.stalled_closed(scenario.stalled);
    swarm.end()?;

    let mut faults = swarm.tally.faults;
    faults.closed += swarm.lost as u64;
    let (published, unwanted) = (after.0 - before.0, after.1 - before.1);
    let per = |count: u64| (pid.is_some() && count > 0).then(|| cpu_spent * 1e6 / count as f64);
    let connections = swarm.opened;
    Ok(Report {
        scenario: scenario.name.to_owned(),
        server: plan.server.clone(),
        connections,
        subscriptions: subscriptions(plan, 0).len(),
        connect_seconds: connected.0.as_secs_f64(),
        connects_per_second: connections as f64 / connected.0.as_secs_f64(),
        cpu_us_per_connection: pid.map(|_| connected.1.as_secs_f64() * 1e6 / connections as f64),
        rss_empty_bytes: rss_empty,
        rss_connected_bytes: rss_connected,
        rss_end_bytes: rss_end,
        rss_bytes_per_connection: rss_empty
            .zip(rss_connected)
            .map(|(empty, full)| (full as f64 - empty as f64) / connections as f64),
        seconds,
        published,
        unwanted,
        delivered,
        deliveries_per_second: delivered as f64 / seconds,
        cpu_us_per_delivery: per(delivered),
        cpu_us_per_event: per(published + unwanted),
        cpu_share: pid.map(|_| cpu_spent / seconds),
        messages_per_read: if reads == 0 {
            0.0
        } else {
            delivered as f64 / reads as f64
        },
        latency_ms,
        ping_ms: ping.as_ref().and_then(Histogram::summary),
        stalled_closed,
        faults,
    })
}

impl Swarm {
    fn new(plan: &Plan) -> Result<Self> {
        let epoll = Epoll::new()?;
        let join = |addr| Backend::join(addr, plan.names.clone(), &epoll, BACKEND);
        let backend = plan.nats.map(join).transpose()?;
        let interest = plan.scenario.interest;
        let topics = if backend.is_some() {
            traffic::topic_count(interest, plan.users)
        } else {
            0
        };
        Ok(Self {
            epoll,
            ready: Vec::new(),
            scratch: vec![0; SCRATCH_BYTES],
            target: plan.target.clone(),
            clients: Vec::new(),
            backend,
            tally: Tally::new(topics, interest, plan.names.clone()),
            opened: 0,
            lost: 0,
            progress: Line {
                shown: false,
                next: Instant::now(),
            },
        })
    }

    /// Waits until a gateway has announced that it takes our events.
    fn find_targets(&mut self, plan: &Plan) -> Result<()> {
        let event = traffic::event_name(plan.scenario.interest);
        let deadline = Instant::now() + TARGET_TIMEOUT;
        while self
            .backend
            .as_mut()
            .is_some_and(|backend| !backend.find_targets(event))
        {
            if Instant::now() > deadline {
                bail!(
                    "no node has announced {event} within {} s",
                    TARGET_TIMEOUT.as_secs()
                );
            }
            self.turn(Duration::from_millis(10))?;
        }
        Ok(())
    }

    fn connect_all(&mut self, plan: &Plan) -> Result<()> {
        let Scenario {
            connections,
            connect,
            interest,
            ..
        } = plan.scenario;
        let deadline = Instant::now() + CONNECT_TIMEOUT;
        while self.opened + self.lost < connections {
            while self.clients.len() < connections
                && self.clients.len() - self.opened - self.lost < connect.in_progress
            {
                let number = self.clients.len();
                let script = Script {
                    token: format!("{}{}", plan.names.token_prefix, number % plan.users),
                    subscriptions: subscriptions(plan, number),
                    at_once: connect.at_once,
                    browser_headers: plan.scenario.browser_headers,
                };
                let topics = traffic::topics_of(interest, number, plan.users);
                let client =
                    Client::start(&self.target, script, topics, &self.epoll, number as u64)?;
                self.clients.push(Some(client));
            }
            if Instant::now() > deadline {
                bail!(
                    "{} of {connections} clients ready after {} s",
                    self.opened,
                    CONNECT_TIMEOUT.as_secs()
                );
            }
            self.turn(Duration::from_millis(10))?;
            let (opened, lost) = (self.opened, self.lost);
            self.progress
                .show(|| format!("connecting {opened}/{connections}, lost {lost}"));
        }
        Ok(())
    }

    /// Ends all connections at once and lets the server settle.
    fn hang_up(&mut self) -> Result<()> {
        for client in self.clients.drain(..).flatten() {
            client
                .topic_numbers()
                .for_each(|topic| self.tally.remove_subscriber(topic));
        }
        self.opened = 0;
        self.turns_until(Instant::now() + SETTLE)
    }

    fn stall_readers(&mut self, count: usize) -> Result<()> {
        for client in self.clients.iter().take(count).flatten() {
            client.stall(&self.epoll)?;
            client
                .topic_numbers()
                .for_each(|topic| self.tally.remove_subscriber(topic));
        }
        Ok(())
    }

    fn publish_until(&mut self, end: Instant, traffic: &mut Traffic, phase: &str) -> Result<()> {
        let mut last_delivered = (self.tally.delivered, Instant::now());
        loop {
            let now = Instant::now();
            if now >= end {
                return Ok(());
            }
            if self.tally.delivered != last_delivered.0 {
                last_delivered = (self.tally.delivered, now);
            } else if self.tally.in_flight > 0 && now - last_delivered.1 > DRAIN_TIMEOUT {
                self.tally.faults.explain(|| "deliveries stopped".into());
                return Ok(());
            }
            if let Some(backend) = &mut self.backend {
                traffic.publish_due(now, backend, &mut self.tally);
                backend.flush(&self.epoll)?;
            }
            self.turn(traffic.idle_for(now))?;
            let (delivered, missing) = (self.tally.delivered, self.tally.missing());
            self.progress
                .show(|| format!("{phase}: {delivered} delivered, {missing} on their way"));
        }
    }

    /// Waits for what is still on its way; what does not come in time is undelivered.
    fn drain(&mut self) -> Result<()> {
        let deadline = Instant::now() + DRAIN_TIMEOUT;
        while self.tally.missing() > 0 && Instant::now() < deadline {
            self.turn(Duration::from_millis(10))?;
        }
        // A duplicate would come right behind.
        self.turns_until(Instant::now() + Duration::from_millis(100))?;
        self.tally.faults.undelivered = self.tally.missing();
        Ok(())
    }

    fn stalled_closed(&mut self, count: usize) -> Option<usize> {
        let stalled = self.clients.iter_mut().take(count).flatten();
        (count > 0).then(|| {
            stalled
                .map(Client::was_closed)
                .filter(|&closed| closed)
                .count()
        })
    }

    fn end(&mut self) -> Result<()> {
        self.progress.clear();
        if let Some(backend) = &mut self.backend {
            backend.leave(&self.epoll)?;
        }
        Ok(())
    }

    fn turns_until(&mut self, end: Instant) -> Result<()> {
        while let Some(left) = end
            .checked_duration_since(Instant::now())
            .filter(|left| !left.is_zero())
        {
            self.turn(left.min(Duration::from_millis(20)))?;
        }
        Ok(())
    }

    /// Waits for at most `timeout` and handles everything that is ready.
    fn turn(&mut self, timeout: Duration) -> Result<()> {
        self.epoll.wait(&mut self.ready, timeout)?;
        let mut batch = std::mem::take(&mut self.ready);
        for ready in batch.drain(..) {
            if ready.token != BACKEND {
                self.handle_client(ready);
            } else if let Some(backend) = &mut self.backend {
                backend.handle_ready(&self.epoll, ready)?;
            }
        }
        self.ready = batch;
        if let Some(backend) = &mut self.backend {
            backend.handle_timeout(&self.epoll, Instant::now())?;
        }
        Ok(())
    }

    fn handle_client(&mut self, ready: Ready) {
        let slot = &mut self.clients[ready.token as usize];
        let Some(client) = slot else { return };
        let progress = if ready.writable {
            client
                .handle_writable(&self.target, &self.epoll, ready.token)
                .map(|()| Progress::Same)
        } else {
            client.handle_readable(&mut self.scratch, &mut self.tally)
        };
        match progress {
            Ok(Progress::Same) => {}
            Ok(Progress::BecameReady) => {
                self.opened += 1;
                client
                    .topic_numbers()
                    .for_each(|topic| self.tally.add_subscriber(topic));
            }
            Err(error) => {
                self.tally
                    .faults
                    .explain(|| format!("client {}: {error:#}", ready.token));
                if client.is_ready() {
                    self.tally.faults.closed += 1;
                } else {
                    self.lost += 1;
                }
                *slot = None;
            }
        }
    }
}

impl Line {
    fn show(&mut self, text: impl FnOnce() -> String) {
        let now = Instant::now();
        if now >= self.next && std::io::stderr().is_terminal() {
            self.next = now + PROGRESS_INTERVAL;
            self.shown = true;
            eprint!("\r\x1b[K{}", text());
            // A progress line that cannot be shown is no reason to stop measuring.
            let _ = std::io::stderr().flush();
        }
    }

    fn clear(&mut self) {
        if std::mem::take(&mut self.shown) {
            eprint!("\r\x1b[K");
        }
    }
}

/// Streams and keys of client `number`: first those of its topics, then the extra ones.
fn subscriptions(plan: &Plan, number: usize) -> Vec<(String, String)> {
    let Plan {
        scenario,
        names,
        users,
        ..
    } = plan;
    let user = format!("{}{}", names.user_prefix, number % users);
    let topics = traffic::topics_of(scenario.interest, number, *users)
        .into_iter()
        .map(|topic| {
            let (stream, event) = traffic::stream_and_event(scenario.interest, names, topic);
            (stream.to_owned(), event)
        });
    let extras = EXTRAS[..scenario.extra_subscriptions].iter();
    topics
        .chain(extras.map(|(stream, key)| ((*stream).to_owned(), key.replace("{}", &user))))
        .collect()
}
