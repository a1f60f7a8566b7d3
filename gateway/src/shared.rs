//! What all threads of one gateway share.

use std::{future::Future, net::SocketAddr, pin::Pin, sync::Arc};

use backplane::Bus;
use bytes::Bytes;
use http_body_util::Full;

use crate::{
    admission::{Accepted, Admission},
    buffers::{Buffers, Pressure},
    config::Config,
    limiter::Limiter,
    link::{ToBus, ToShard},
    mailbox::Mailbox,
    pulse::Pulse,
    readiness::Readiness,
    topics::Interest,
};

/// Answers what the gateway itself does not: the sandbox's console and REST.
pub type Fallback = Arc<
    dyn Fn(
            hyper::Request<hyper::body::Incoming>,
        ) -> Pin<Box<dyn Future<Output = hyper::Response<Full<Bytes>>> + Send>>
        + Send
        + Sync,
>;

/// What all threads of one gateway share.
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) bus: Bus,
    pub(crate) local: SocketAddr,
    /// UUID of this process' DDP server in connection objects.
    pub(crate) instance: Arc<str>,
    /// Node and shard tag of session ids, per shard.
    pub(crate) tags: Box<[String]>,
    pub(crate) admission: Arc<Admission>,
    pub(crate) buffers: Buffers,
    pub(crate) interest: Arc<Interest>,
    pub(crate) to_bus: Arc<Mailbox<ToBus>>,
    pub(crate) mailboxes: Box<[Arc<Mailbox<ToShard>>]>,
    /// Fresh sockets on their way to each shard.
    pub(crate) accepted: Box<[Mailbox<Accepted>]>,
    pub(crate) pulses: Box<[Pulse]>,
    pub(crate) fallback: Option<Fallback>,
    pub(crate) limiter: Arc<Limiter>,
    pub(crate) readiness: Readiness,
}

impl Shared {
    pub(crate) fn new(
        config: Config,
        bus: Bus,
        local: SocketAddr,
        fallback: Option<Fallback>,
    ) -> Self {
        let instance = uuid::Uuid::new_v4().to_string();
        Self {
            tags: (0..config.shards)
                .map(|shard| format!("{}{shard}", &instance[..5]))
                .collect(),
            instance: instance.into(),
            admission: Arc::new(Admission::new(&config)),
            buffers: Buffers::new(config.buffer_bytes, config.shards),
            interest: Arc::default(),
            to_bus: Arc::new(Mailbox::new(0)),
            mailboxes: (0..config.shards)
                .map(|_| Arc::new(Mailbox::new(config.mailbox_bytes)))
                .collect(),
            accepted: (0..config.shards).map(|_| Mailbox::new(0)).collect(),
            pulses: (0..=config.shards).map(|_| Pulse::new()).collect(),
            limiter: Arc::new(Limiter::new(
                config.rate_limits,
                config.knows_addresses(),
                std::time::Instant::now(),
            )),
            readiness: Readiness::default(),
            config,
            bus,
            local,
            fallback,
        }
    }

    /// Why new websockets are not let in now, if they are not: the value of the metric label `reason`.
    pub(crate) fn refuses(&self) -> Option<&'static str> {
        if self.readiness.is_closed() {
            Some("draining")
        } else if !self.bus.status().connected {
            Some("bus_down")
        } else if self.buffers.pressure() >= Pressure::High {
            Some("overload")
        } else {
            None
        }
    }

    /// Whether every thread answers its watchdog: what liveness is, whatever happens behind us.
    pub(crate) fn is_alive(&self) -> bool {
        self.pulses
            .iter()
            .all(|pulse| pulse.lag() < self.config.stall_after)
    }

    pub(crate) fn tell_shards(&self, message: impl Fn() -> ToShard) {
        for mailbox in &self.mailboxes {
            mailbox.post(message(), 0);
        }
    }
}
