//! The swarm and its event loop: connecting, publishing, reading and counting, all on the calling thread.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::backend::Backend;
use crate::client::{Client, Progress, Script};
use crate::plan::Plan;
use crate::report::{Faults, Histogram, Latency};
use crate::scenario::Scenario;
use crate::sys::{Epoll, Ready};
use crate::tally::Tally;
use crate::target::Target;
use crate::topics;
use crate::traffic::Traffic;

const BACKEND: u64 = u64::MAX;
const SCRATCH_BYTES: usize = 256 * 1024;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(120);
const TARGET_TIMEOUT: Duration = Duration::from_secs(60);
/// After the last publish; and without any delivery while messages are in flight.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);
const PROGRESS_INTERVAL: Duration = Duration::from_millis(500);

/// All clients of a run, the backend that feeds them, and what they have got.
pub(crate) struct Swarm {
    epoll: Epoll,
    ready: Vec<Ready>,
    scratch: Vec<u8>,
    targets: Vec<Target>,
    clients: Vec<Option<Client>>,
    backend: Option<Backend>,
    tally: Tally,
    opened: usize,
    /// When each began to connect.
    started: Vec<Instant>,
    /// From there to the last `ready`.
    ready_times: Histogram,
    /// Clients that ended before they were ready.
    lost: usize,
    progress: Line,
}

/// The progress line on a terminal; silent elsewhere.
struct Line {
    shown: bool,
    next: Instant,
}

impl Swarm {
    /// Joins the nats-server as the backend, if the plan has one; nobody connects yet.
    pub(crate) fn new(plan: &Plan) -> Result<Self> {
        let epoll = Epoll::new()?;
        let (names, unplayed) = (&plan.names, &plan.unplayed);
        let join = |addr| Backend::join(addr, names.clone(), unplayed, &epoll, BACKEND);
        let backend = plan.nats.map(join).transpose()?;
        let interest = plan.scenario.interest;
        let topics = if backend.is_some() {
            topics::topic_count(interest, plan.users)
        } else {
            0
        };
        Ok(Self {
            epoll,
            ready: Vec::new(),
            scratch: vec![0; SCRATCH_BYTES],
            targets: plan.targets.clone(),
            clients: Vec::new(),
            backend,
            tally: Tally::new(topics, interest, plan.names.clone()),
            opened: 0,
            started: Vec::new(),
            ready_times: Histogram::default(),
            lost: 0,
            progress: Line {
                shown: false,
                next: Instant::now(),
            },
        })
    }

    /// Waits until as many gateways as we know have announced that they take our events.
    pub(crate) fn find_targets(&mut self, plan: &Plan) -> Result<()> {
        let event = topics::event_name(plan.scenario.interest);
        let deadline = Instant::now() + TARGET_TIMEOUT;
        while self
            .backend
            .as_mut()
            .is_some_and(|backend| backend.find_targets(event) < plan.targets.len())
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

    /// Connects until everybody is ready or lost.
    pub(crate) fn connect_all(&mut self, plan: &Plan) -> Result<()> {
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
                    token: plan.names.token(number % plan.users),
                    subscriptions: plan.subscriptions(number),
                    at_once: connect.at_once,
                    browser_headers: plan.scenario.browser_headers,
                };
                let topics = topics::topics_of(interest, number, plan.users);
                let target = &self.targets[number % self.targets.len()];
                let client = Client::start(target, script, topics, &self.epoll, number as u64)?;
                self.clients.push(Some(client));
                self.started.push(Instant::now());
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

    /// Ends all connections at once.
    pub(crate) fn hang_up(&mut self) {
        for client in self.clients.drain(..).flatten() {
            client
                .topic_numbers()
                .for_each(|topic| self.tally.remove_subscriber(topic));
        }
        self.opened = 0;
        self.started.clear();
        self.ready_times = Histogram::default();
        self.tally.faults.closed += std::mem::take(&mut self.lost) as u64;
    }

    /// Makes the first `count` clients stop reading.
    pub(crate) fn stall_readers(&mut self, count: usize) -> Result<()> {
        for client in self.clients.iter().take(count).flatten() {
            client.stall(&self.epoll)?;
            client
                .topic_numbers()
                .for_each(|topic| self.tally.remove_subscriber(topic));
        }
        Ok(())
    }

    /// Publishes what is due; ends early when deliveries stop.
    pub(crate) fn publish_for(
        &mut self,
        time: Duration,
        traffic: &mut Traffic,
        phase: &str,
    ) -> Result<()> {
        let end = Instant::now() + time;
        let mut last_delivered = (self.tally.delivered, Instant::now());
        let mut handled = 0;
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
            // Readers first: a window is refilled when nothing is left to read. Otherwise two halves of it would take
            // turns for ever, one in the server and one in the clients, and a backlog of W would show as one of W/2.
            let refill = handled == 0 || !traffic.fills_a_window();
            if refill && let Some(backend) = &mut self.backend {
                traffic.publish_due(now, backend, &mut self.tally);
                backend.flush(&self.epoll)?;
            }
            let timeout = if refill {
                traffic.idle_for(now)
            } else {
                Duration::ZERO
            };
            handled = self.turn(timeout)?;
            let (delivered, missing) = (self.tally.delivered, self.tally.missing());
            self.progress
                .show(|| format!("{phase}: {delivered} delivered, {missing} on their way"));
        }
    }

    /// Waits for what is still on its way; what does not come in time is undelivered.
    pub(crate) fn drain(&mut self) -> Result<()> {
        let deadline = Instant::now() + DRAIN_TIMEOUT;
        while self.tally.missing() > 0 && Instant::now() < deadline {
            self.turn(Duration::from_millis(10))?;
        }
        // A duplicate would come right behind.
        self.turns_for(Duration::from_millis(100))?;
        self.tally.faults.undelivered = self.tally.missing();
        Ok(())
    }

    /// How many of the first `count` clients, which stopped reading, the server has closed.
    pub(crate) fn count_closed(&mut self, count: usize) -> usize {
        let stalled = self.clients.iter_mut().take(count).flatten();
        stalled
            .map(Client::was_closed)
            .filter(|&closed| closed)
            .count()
    }

    /// Clients that became ready.
    pub(crate) fn opened(&self) -> usize {
        self.opened
    }

    /// From a client's start to its last `ready`.
    pub(crate) fn ready_times(&self) -> Option<Latency> {
        self.ready_times.summary()
    }

    /// The first few things that went wrong.
    pub(crate) fn reasons(&self) -> &[String] {
        &self.tally.faults.reasons
    }

    pub(crate) fn begin_measuring(&mut self) {
        self.tally.begin_measuring();
    }

    /// Deliveries, reads that brought some, and latency, since `begin_measuring`.
    pub(crate) fn measured(&self) -> (u64, u64, Option<Latency>) {
        (
            self.tally.delivered,
            self.tally.reads,
            self.tally.latency.summary(),
        )
    }

    /// Leaves the bus and hands over what went wrong.
    pub(crate) fn finish(mut self) -> Result<Faults> {
        self.progress.clear();
        if let Some(backend) = &mut self.backend {
            backend.leave(&self.epoll)?;
        }
        self.tally.faults.closed += self.lost as u64;
        Ok(self.tally.faults)
    }

    /// Only reads, for so long.
    pub(crate) fn turns_for(&mut self, time: Duration) -> Result<()> {
        let end = Instant::now() + time;
        while let Some(left) = end
            .checked_duration_since(Instant::now())
            .filter(|left| !left.is_zero())
        {
            self.turn(left.min(Duration::from_millis(20)))?;
        }
        Ok(())
    }

    /// Waits for at most `timeout` and handles everything that is ready: so many sockets.
    fn turn(&mut self, timeout: Duration) -> Result<usize> {
        self.epoll.wait(&mut self.ready, timeout)?;
        let handled = self.ready.len();
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
        Ok(handled)
    }

    fn handle_client(&mut self, ready: Ready) {
        let slot = &mut self.clients[ready.token as usize];
        let Some(client) = slot else { return };
        let progress = if ready.writable {
            let target = &self.targets[ready.token as usize % self.targets.len()];
            client
                .handle_writable(target, &self.epoll, ready.token)
                .map(|()| Progress::Same)
        } else {
            client.handle_readable(&mut self.scratch, &mut self.tally)
        };
        match progress {
            Ok(Progress::Same) => {}
            Ok(Progress::BecameReady) => {
                self.opened += 1;
                let time = self.started[ready.token as usize].elapsed();
                self.ready_times.record(time.as_nanos() as u64);
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
