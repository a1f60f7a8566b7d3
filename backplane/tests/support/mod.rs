//! A bus whose driver runs on a thread of its own, so that a test may block; and ways to wait for a condition.

#![expect(dead_code, unreachable_pub, reason = "each test binary uses its part")]

use std::{
    ops::Deref,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use backplane::{Bus, Config, Event, Inbox, Incoming, Request, Server, Service};
use tokio_util::sync::CancellationToken;

/// A bus on NATS; its driver ends with it.
pub struct NatsBus {
    bus: Bus,
    shutdown: CancellationToken,
    driver: Option<JoinHandle<()>>,
}

impl NatsBus {
    pub fn start(config: Config) -> Self {
        let (bus, driver) = Bus::nats(config);
        let shutdown = CancellationToken::new();
        let stop = shutdown.clone();
        let driver = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(driver.run(stop));
        });
        Self {
            bus,
            shutdown,
            driver: Some(driver),
        }
    }

    /// Waits until the driver has ended by itself.
    pub fn join(&mut self) {
        self.driver.take().unwrap().join().unwrap();
    }
}

impl Deref for NatsBus {
    type Target = Bus;

    fn deref(&self) -> &Bus {
        &self.bus
    }
}

impl Drop for NatsBus {
    fn drop(&mut self) {
        self.shutdown.cancel();
        if let Some(driver) = self.driver.take()
            && driver.join().is_err()
            && !thread::panicking()
        {
            panic!("the driver panicked");
        }
    }
}

/// A node of this id that waits for nobody.
pub fn config(url: &str, node_id: &str) -> Config {
    Config {
        servers: Server::list(url).unwrap(),
        node_id: node_id.to_owned(),
        hostname: "test".to_owned(),
        dependencies: Vec::new(),
        ..Config::default()
    }
}

/// As `config`, with heartbeats of 200 ms and a timeout of 2 s.
pub fn quick_config(url: &str, node_id: &str) -> Config {
    Config {
        heartbeat_interval: Duration::from_millis(200),
        heartbeat_timeout: Duration::from_secs(2),
        ..config(url, node_id)
    }
}

/// The service that tests call and send to.
pub fn echo() -> Service {
    Service {
        name: "echo",
        actions: vec!["echo.it", "echo.other"],
        events: vec!["test.event", "test.flood"],
    }
}

/// A service that only listens.
pub fn listener(name: &'static str) -> Service {
    Service {
        name,
        actions: vec![],
        events: vec!["test.event", "test.flood"],
    }
}

/// Waits until a condition holds.
pub async fn until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "{what} never came true");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Skips what arrives until `wanted` takes something.
pub async fn find<T>(inbox: &mut Inbox, what: &str, wanted: impl Fn(Incoming) -> Option<T>) -> T {
    let search = async {
        loop {
            if let Some(found) = wanted(inbox.recv().await) {
                return found;
            }
        }
    };
    tokio::time::timeout(PATIENCE, search)
        .await
        .unwrap_or_else(|_| panic!("{what} never came"))
}

pub async fn next_request(inbox: &mut Inbox) -> Request {
    find(inbox, "a request", |incoming| match incoming {
        Incoming::Request(request) => Some(*request),
        _ => None,
    })
    .await
}

pub async fn next_event(inbox: &mut Inbox) -> Event {
    find(inbox, "an event", |incoming| match incoming {
        Incoming::Event(event) => Some(event),
        _ => None,
    })
    .await
}

pub fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// Generous: the machine may be busy.
pub const PATIENCE: Duration = Duration::from_secs(40);
