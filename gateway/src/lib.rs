//! The DDP/SockJS front door: sockets, sessions, streams.
//!
//! ```text
//!  acceptor ──▶ shard-0..N ◀── mailboxes ── bus ◀── NATS, or the in-process bus
//!  (caller's      sockets,                   events to publications,
//!   runtime)      sessions, writing          rules, grants, calls
//! ```
//!
//! [`Gateway`] owns every thread and task and ends them in order: no new sockets, sockets closed while events still
//! flow, shards joined, the bus left, its thread joined.

use std::{net::SocketAddr, sync::Arc, thread, time::Duration};

use backplane::{Bus, Driver};
use store::Store;
use tokio_util::sync::CancellationToken;

mod acceptor;
mod address;
pub mod admin;
mod admission;
#[cfg(feature = "bench")]
pub mod bench;
mod buffers;
mod bus;
pub mod config;
mod handlers;
mod http;
mod io;
mod limiter;
mod link;
mod lobby;
mod mailbox;
mod metrics;
mod one_or_many;
mod panics;
mod place;
mod publication;
mod pulse;
mod readiness;
mod shard;
mod shared;
mod state;
mod streams;
#[cfg(test)]
mod tests;
mod threads;
mod topics;
mod turns;
mod upstream;

pub use config::Config;
use config::SHARDS_MAX;
pub use lobby::{Lobby, Visitor};
pub use panics::end_process_on_panic;
pub use readiness::Readiness;
pub use shared::Fallback;

use link::ToShard;
use shared::Shared;

/// Share of the drain time over which sockets are closed; the rest is for their close handshakes and the bus.
const DRAIN_SHARE: f64 = 0.6;
/// A drain closes sockets no slower than this, however long it might take.
const DRAIN_PER_SOCKET: Duration = Duration::from_millis(5);

/// A running gateway. Dropping it without [`Gateway::drain`] leaves its threads to the end of the process.
pub struct Gateway {
    shared: Arc<Shared>,
    accepting: CancellationToken,
    on_bus: CancellationToken,
    acceptors: Vec<tokio::task::JoinHandle<()>>,
    watchdog: tokio::task::JoinHandle<()>,
    doorman: tokio::task::JoinHandle<()>,
    shards: Vec<thread::JoinHandle<usize>>,
    bus: thread::JoinHandle<()>,
}

/// Why a gateway does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The listener could not be opened.
    #[error("cannot listen on port {port}: {}", explain(source))]
    Listen { port: u16, source: std::io::Error },
    /// More shards than the interest map can name.
    #[error("{0} shards are too many, {SHARDS_MAX} is the limit")]
    Shards(usize),
    /// The system refuses a thread.
    #[error("cannot start a thread")]
    Thread(#[source] std::io::Error),
}

fn explain(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::AddrInUse => "another process listens there already".into(),
        _ => error.to_string(),
    }
}

impl Gateway {
    /// Opens the listener and starts the `bus` thread (which runs `driver`), the shards and the acceptor.
    ///
    /// # Errors
    ///
    /// The port is taken, or the system refuses a socket or a thread.
    pub async fn start(
        config: Config,
        bus: Bus,
        driver: Option<Driver>,
        store: Store,
        fallback: Option<Fallback>,
    ) -> Result<Self, StartError> {
        metrics::describe();
        if config.shards == 0 || config.shards > SHARDS_MAX {
            return Err(StartError::Shards(config.shards));
        }
        let refused = |source| StartError::Listen {
            port: config.port,
            source,
        };
        let listener = acceptor::bind(config.bind, config.port).map_err(refused)?;
        let listener = tokio::net::TcpListener::from_std(listener).map_err(refused)?;
        let local = listener.local_addr().map_err(refused)?;
        let also = match config.bind_also {
            Some(address) => acceptor::bind_also(address, local.port()).map_err(refused)?,
            None => None,
        };
        let also = also
            .map(tokio::net::TcpListener::from_std)
            .transpose()
            .map_err(refused)?;
        let shared = Arc::new(Shared::new(config, bus, local, fallback));

        let on_bus = CancellationToken::new();
        let bus = threads::bus(
            shared.clone(),
            driver,
            store,
            tokio::runtime::Handle::current(),
            on_bus.clone(),
        )
        .map_err(StartError::Thread)?;
        let shards = (0..shared.config.shards).map(|index| threads::shard(index, shared.clone()));
        let shards = shards
            .collect::<Result<_, _>>()
            .map_err(StartError::Thread)?;
        let accepting = CancellationToken::new();
        let accept =
            |listener| tokio::spawn(acceptor::run(listener, shared.clone(), accepting.clone()));
        let acceptors = std::iter::once(listener).chain(also).map(accept).collect();
        let watchdog = tokio::spawn(threads::watch(shared.clone()));
        let doorman = tokio::spawn({
            let admission = shared.admission.clone();
            async move { admission.let_in().await }
        });
        Ok(Self {
            shared,
            accepting,
            on_bus,
            acceptors,
            watchdog,
            doorman,
            shards,
            bus,
        })
    }

    /// An operator's hand on it.
    pub fn admin(&self) -> admin::Admin {
        admin::Admin::new(self.shared.clone())
    }

    /// Whether this gateway should get traffic, as `/readyz` says.
    pub fn readiness(&self) -> Readiness {
        self.shared.readiness.clone()
    }

    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.shared.local
    }

    /// Ends the gateway: not ready, after a moment no new sockets, sockets closed in jittered order while events still flow, the bus
    /// left. Returns the number of sockets that did not close in time.
    pub async fn drain(self) -> usize {
        let Self {
            shared,
            accepting,
            on_bus,
            acceptors,
            watchdog,
            doorman,
            shards,
            bus,
        } = self;
        let started = tokio::time::Instant::now();
        shared.readiness.drain();
        tokio::time::sleep(shared.config.drain_linger).await;
        shared.readiness.close();
        accepting.cancel();
        for acceptor in acceptors {
            threads::end(acceptor).await;
        }

        let within = shared.config.drain_within;
        let rest = within.saturating_sub(shared.config.drain_linger);
        let open = u32::try_from(shared.admission.websockets()).unwrap_or(u32::MAX);
        let over = rest
            .mul_f64(DRAIN_SHARE)
            .min(DRAIN_PER_SOCKET.saturating_mul(open));
        shared.tell_shards(|| ToShard::Drain { over });
        let _ = tokio::time::timeout_at(
            started + within.saturating_sub(threads::LEAVE_TIME),
            shared.admission.emptied(),
        )
        .await;

        shared.tell_shards(|| ToShard::Stop);
        let mut left = 0;
        for shard in shards {
            left += threads::join(shard).await;
        }
        on_bus.cancel();
        threads::join(bus).await;
        doorman.abort();
        watchdog.abort();
        left
    }
}
