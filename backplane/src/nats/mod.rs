//! Moleculer v4 over NATS: the only lines that name async-nats.
//!
//! A connection is one client of async-nats. When it is lost the client is thrown away together with everything that it
//! has buffered, and a new one is made: its own reconnect would send what waited, so that a call that has failed long
//! ago is executed after all. This also makes every loss visible, whatever becomes of the library's event queue.

mod access;
mod connection;
#[cfg(test)]
mod costs;
mod examine;
mod receive;

use std::{
    future::pending,
    pin::pin,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use protocol::moleculer::{Disconnect, Discover, Heartbeat, Kind, Ping, Version, encode};
use serde_json::value::RawValue;
use tokio::time::{MissedTickBehavior, interval, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    bus::Bus,
    config::Config,
    incoming::{GapCause, GapScope, Incoming},
    outgoing::Item,
    registry::Strategy,
    uplink::{Network, Uplink},
};
pub use access::{Access, AccessPart, Server};
use connection::{Connection, Taken};
pub use examine::{Examination, Found, examine};

/// The NATS side of a [`Bus`]: spawn `run` on the runtime that shall own the connection.
///
/// A current-thread runtime is best: messages that the client library drops are then counted exactly.
pub struct Driver {
    bus: Bus,
    network: Arc<Network>,
    /// When the last connection was known to be good.
    lost_since: Option<Instant>,
}

/// Why a connection is no longer served.
enum Exit {
    Lost,
    /// We have left, or shall stop.
    Done,
}

impl Bus {
    /// A bus over NATS; returns at once, the driver connects and retries for ever.
    pub fn nats(config: Config) -> (Self, Driver) {
        let (uplink, network) = Uplink::nats(&config);
        let bus = Self::new(config, uplink);
        let driver = Driver {
            bus: bus.clone(),
            network,
            lost_since: None,
        };
        (bus, driver)
    }
}

impl Driver {
    /// Connects, reconnects and serves until `shutdown` is cancelled or [`Bus::leave`] was called.
    pub async fn run(mut self, shutdown: CancellationToken) {
        let mut pause = PAUSE_MIN;
        loop {
            let connection = tokio::select! {
                () = shutdown.cancelled() => return,
                connection = self.connect() => connection,
            };
            let entered = Instant::now();
            match self.serve(connection, &shutdown).await {
                Exit::Lost => tracing::warn!("the connection to NATS is lost"),
                Exit::Done => return,
            }
            // A server that takes us and drops us again must not be stormed.
            pause = match entered.elapsed() < PAUSE_MAX {
                true => (pause * 2).min(PAUSE_MAX),
                false => PAUSE_MIN,
            };
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = sleep(pause) => {}
            }
        }
    }

    /// Tries one server after the other, with a growing pause after each round.
    async fn connect(&self) -> Connection {
        let config = self.bus.config();
        let mut pause = PAUSE_MIN;
        let mut attempts: u64 = 0;
        loop {
            for server in &config.servers {
                let subjects = &self.network.subjects;
                let connection =
                    Connection::new(server, &config.access, self.bus.node_id(), subjects);
                match connection.await {
                    Ok(connection) => return connection,
                    Err(error) => {
                        attempts += 1;
                        // Ever more rarely: an outage may be long.
                        if attempts.is_power_of_two() {
                            let server = server.place();
                            tracing::warn!(server, attempts, "cannot connect to NATS: {error}");
                        }
                    }
                }
            }
            sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    async fn serve(&mut self, mut connection: Connection, shutdown: &CancellationToken) -> Exit {
        self.enter(&connection);
        let exit = {
            let client = connection.client();
            let lost = connection.lost();
            let writer = pin!(write(&self.bus, &self.network, client));
            let reader = pin!(read(&self.bus, &mut connection));
            tokio::select! {
                () = shutdown.cancelled() => Exit::Done,
                () = lost.cancelled() => Exit::Lost,
                exit = writer => exit,
                exit = reader => exit,
            }
        };
        if matches!(exit, Exit::Lost) {
            // What had arrived before the loss still counts.
            let _ = take_all(&self.bus, &mut connection);
        } else {
            // A server that does not read must not keep us from ending.
            let client = connection.client();
            let _ = timeout(FLUSH_MAX, client.flush()).await;
        }
        self.lost_since = Some(connection.last_received());
        self.network.outgoing.shut();
        let now = Instant::now();
        let mut core = self.bus.core();
        core.is_connected = false;
        core.calls.fail_all();
        core.tell(|| Incoming::Down, now);
        drop(core);
        self.bus.owed().forget();
        exit
    }

    /// Says hello on a new connection, whose subscriptions are already under way.
    fn enter(&self, connection: &Connection) {
        let now = Instant::now();
        let bus = &self.bus;
        bus.counters().connects.fetch_add(1, Relaxed);
        bus.uplink().set_payload_max(connection.payload_max());
        self.network.outgoing.open();
        let discover = Discover {
            ver: Version,
            sender: bus.node_id().into(),
        };
        let _ = bus.uplink().send(Kind::Discover, None, encode(&discover));
        {
            let mut core = bus.core();
            core.is_connected = true;
            core.was_connected = true;
            // We would not have heard them.
            core.registry.excuse_silence(now);
            core.tell(|| Incoming::Up, now);
            if let Some(since) = self.lost_since {
                core.tell_gap(since, GapScope::All, GapCause::ConnectionLost, now);
                core.unsettle();
            }
        }
        bus.publish_info();
        beat(bus);
        ping_unsettled(bus);
        tracing::info!("connected to NATS");
    }
}

/// Gives to the client what waits, until we leave.
async fn write(bus: &Bus, network: &Network, client: async_nats::Client) -> Exit {
    loop {
        for item in network.outgoing.take().await {
            match item {
                Item::Packet {
                    kind,
                    subject,
                    payload,
                } => {
                    let bytes = payload.len();
                    match client.publish(subject, payload.into()).await {
                        Ok(()) => bus.counters().packet_out(kind, bytes),
                        Err(_) => {
                            bus.counters().unsent.fetch_add(1, Relaxed);
                        }
                    }
                }
                Item::Flush(done) => {
                    // Dropped, it says that the connection was lost.
                    if client.flush().await.is_ok() {
                        let _ = done.send(());
                    }
                }
                Item::Leave(done) => {
                    let goodbye = encode(&Disconnect {
                        ver: Version,
                        sender: bus.node_id().into(),
                    });
                    let _ = client
                        .publish(network.subjects.all(Kind::Disconnect), goodbye.into())
                        .await;
                    let _ = client.flush().await;
                    let _ = done.send(());
                    return Exit::Done;
                }
            }
        }
    }
}

/// Takes what arrives, beats the heart and watches the clock. A heartbeat so means that events are really taken.
async fn read(bus: &Bus, connection: &mut Connection) -> Exit {
    let config = bus.config();
    let entered = Instant::now();
    let mut last_tick = entered;
    let mut last_beat = entered;
    let mut last_ping: Option<Instant> = None;
    let mut tick = interval(TICK_MAX.min(config.heartbeat_interval / 4).max(TICK_MIN));
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            taken = connection.next() => match taken {
                Some(taken) => handle(bus, taken),
                None => return Exit::Lost,
            },
            () = due(bus.owed().next_deadline()) => bus.owed().handle_timeout(Instant::now()),
            _ = tick.tick() => {
                let now = Instant::now();
                let stalled = now.duration_since(last_tick) > config.heartbeat_timeout;
                let is_drained = take_all(bus, connection);
                if stalled {
                    bus.core().registry.excuse_silence(now);
                    bus.core().tell_gap(last_tick, GapScope::All, GapCause::Stalled, now);
                }
                if is_drained && let Some((lost, since)) = connection.messages_lost() {
                    bus.counters().messages_lost.fetch_add(lost, Relaxed);
                    bus.core().tell_gap(since, GapScope::All, GapCause::MessagesDropped, now);
                }
                if now.duration_since(last_beat) >= config.heartbeat_interval {
                    last_beat = now;
                    beat(bus);
                }
                let mut core = bus.core();
                let changes = core.registry.handle_timeout(now);
                core.apply(changes, now);
                if now.duration_since(entered) >= SETTLE_MAX {
                    core.settle_all(now);
                }
                drop(core);
                ping_unsettled(bus);
                let is_due = last_ping.is_none_or(|last| now.duration_since(last) >= PING_EVERY);
                if config.strategy == Strategy::Latency && is_due {
                    last_ping = Some(now);
                    let peers = bus.core().registry.ping(now);
                    ping(bus, &peers);
                }
                last_tick = now;
            }
        }
    }
}

/// Waits until a time, or for ever.
async fn due(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at.into()).await,
        None => pending().await,
    }
}

/// Takes everything that has been delivered; false if more kept coming.
fn take_all(bus: &Bus, connection: &mut Connection) -> bool {
    for _ in 0..BATCHES_MAX {
        match connection.take_delivered() {
            Some(taken) => handle(bus, taken),
            None => return true,
        }
    }
    false
}

fn handle(bus: &Bus, taken: Taken) {
    match taken {
        Taken::Events(batch) => receive::events(bus, &batch),
        Taken::Packet {
            kind,
            is_targeted,
            payload,
        } => receive::packet(bus, kind, is_targeted, payload),
    }
}

fn beat(bus: &Bus) {
    let heartbeat = Heartbeat {
        cpu: cpu_percent(),
        ver: Version,
        sender: bus.node_id().into(),
    };
    let _ = bus.uplink().send(Kind::Heartbeat, None, encode(&heartbeat));
}

/// Asks again and again those who have not answered since the reconnect: they may not be back yet themselves.
fn ping_unsettled(bus: &Bus) {
    let peers = bus.core().unsettled();
    ping(bus, &peers);
}

fn ping(bus: &Bus, peers: &[Arc<str>]) {
    for peer in peers {
        let time = receive::unix_ms() as u64;
        let [time, id] = [time.to_string(), format!("\"{}\"", Uuid::new_v4())]
            .map(|text| RawValue::from_string(text).expect("a number and a text without escapes"));
        let ping = Ping {
            time: Some(&time),
            id: Some(&id),
            ver: Version,
            sender: bus.node_id().into(),
        };
        let _ = bus.uplink().send(Kind::Ping, Some(peer), encode(&ping));
    }
}

/// Load of the machine, as far as the system tells: only a balancing strategy that nobody chooses by default reads it.
fn cpu_percent() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/loadavg").ok()?;
    let load: f64 = text.split(' ').next()?.parse().ok()?;
    let cores = std::thread::available_parallelism().ok()?.get() as f64;
    Some((load / cores * 100.0).round().min(100.0))
}

/// Pause between rounds of attempts to connect; a Node peer waits 2 s.
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(2);
/// Pings that nobody answers are given up (design.md 3.8).
const SETTLE_MAX: Duration = Duration::from_secs(5);
/// How often distances are measured, where the balancing strategy looks at them.
const PING_EVERY: Duration = Duration::from_secs(10);
const TICK_MIN: Duration = Duration::from_millis(10);
const TICK_MAX: Duration = Duration::from_secs(1);
/// Bounds one sweep at a tick; what is left is taken as usual.
const BATCHES_MAX: usize = 256;
const FLUSH_MAX: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn the_driver_may_be_spawned_on_any_runtime() {
        fn spawnable(_: impl Future<Output = ()> + Send + 'static) {}
        let (_bus, driver) = Bus::nats(Config::default());
        spawnable(driver.run(CancellationToken::new()));
    }
}
