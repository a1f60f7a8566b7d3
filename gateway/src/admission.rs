//! Who may come in: sockets per node, anonymous sockets per address, handshakes per second. Sockets that speak HTTP wait in
//! the [lobby](Lobby), where there is always room for one more.
//!
//! One instance for all shards, touched a few times per connection and never per message.

use std::{
    net::{IpAddr, Ipv6Addr},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use dashmap::DashMap;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::{config::Config, metrics};

mod lobby;

use lobby::{Lobby, Visitor};

/// Handshakes beyond the rate wait this long at most.
const HANDSHAKE_WAIT: Duration = Duration::from_secs(2);
/// Handshakes that may come at once: this much of the rate.
const HANDSHAKE_BURST: Duration = Duration::from_millis(100);

/// The counters behind every limit that spans shards.
pub(crate) struct Admission {
    /// Open sockets per shard, HTTP included.
    sockets: Box<[AtomicUsize]>,
    lobby: Mutex<Lobby>,
    websockets: AtomicUsize,
    /// Told when the last websocket has gone.
    emptied: Notify,
    websockets_max: usize,
    sockets_max: usize,
    /// Websockets without a login, per address or /64; empty where the limit does not apply.
    anonymous: DashMap<IpAddr, usize>,
    anonymous_max: Option<usize>,
    /// When the next handshake would be due at the permitted rate.
    next_handshake: Mutex<Instant>,
    handshake_interval: Duration,
}

/// Why a client is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    NodeFull,
    AddressFull,
    TooManyHandshakes,
}

impl Refusal {
    /// The value of the metric label `reason`.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::NodeFull => "node_full",
            Self::AddressFull => "address_full",
            Self::TooManyHandshakes => "handshake_rate",
        }
    }
}

impl Admission {
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            sockets: (0..config.shards).map(|_| AtomicUsize::new(0)).collect(),
            lobby: Mutex::new(Lobby::new(config.lobby_max)),
            websockets: AtomicUsize::new(0),
            emptied: Notify::new(),
            websockets_max: config.connections_max,
            sockets_max: config.sockets_max(),
            anonymous: DashMap::new(),
            anonymous_max: (config.forwarded_count > 0).then_some(config.anonymous_per_address),
            next_handshake: Mutex::new(Instant::now()),
            handshake_interval: Duration::from_secs(1) / config.handshakes_per_second.max(1),
        }
    }

    /// Open websockets.
    pub(crate) fn websockets(&self) -> usize {
        self.websockets.load(Ordering::Relaxed)
    }

    /// Waits until no websocket is open.
    pub(crate) async fn emptied(&self) {
        loop {
            let emptied = self.emptied.notified();
            if self.websockets() == 0 {
                return;
            }
            emptied.await;
        }
    }

    /// A seat on the least loaded shard for a socket from this address; another one leaves the lobby for it if need be.
    /// Refused only while those who were sent away do not go.
    pub(crate) fn seat(self: &Arc<Self>, peer: IpAddr) -> Result<Seat, Refusal> {
        let mut total = 0;
        let mut best = (usize::MAX, 0);
        for (shard, sockets) in self.sockets.iter().enumerate() {
            let sockets = sockets.load(Ordering::Relaxed);
            total += sockets;
            best = best.min((sockets, shard));
        }
        if total >= self.sockets_max {
            return Err(Refusal::NodeFull);
        }
        self.sockets[best.1].fetch_add(1, Ordering::Relaxed);
        let (visitor, sent_away) = self.lobby().enter(group(peer));
        if sent_away {
            metrics::refused("lobby_full");
        }
        Ok(Seat {
            admission: self.clone(),
            shard: best.1,
            visitor: Some(visitor),
            websocket: false,
            anonymous: None,
        })
    }

    fn lobby(&self) -> MutexGuard<'_, Lobby> {
        // A panic elsewhere leaves at worst a visitor who is gone, who will be the oldest.
        self.lobby.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the next place in the line of handshakes; the time to wait for it.
    pub(crate) fn handshake(&self, now: Instant) -> Result<Duration, Refusal> {
        // The value is one instant: whole whatever a panic elsewhere has done.
        let mut next = self
            .next_handshake
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let due = (*next).max(now.checked_sub(HANDSHAKE_BURST).unwrap_or(now));
        let wait = due.saturating_duration_since(now);
        if wait > HANDSHAKE_WAIT {
            return Err(Refusal::TooManyHandshakes);
        }
        *next = due + self.handshake_interval;
        Ok(wait)
    }
}

/// A socket fresh from `accept`, on its way to its shard.
#[derive(Debug)]
pub(crate) struct Accepted {
    /// Set to non-blocking.
    pub(crate) stream: std::net::TcpStream,
    pub(crate) peer: IpAddr,
    pub(crate) seat: Seat,
}

/// One socket's share of the counters; gives it back when dropped.
pub(crate) struct Seat {
    admission: Arc<Admission>,
    shard: usize,
    /// While it speaks HTTP.
    visitor: Option<Visitor>,
    websocket: bool,
    anonymous: Option<IpAddr>,
}

impl Seat {
    /// Told when this socket must leave the lobby for others.
    pub(crate) fn sent_away(&self) -> CancellationToken {
        let visitor = self.visitor.as_ref();
        visitor.map_or_else(CancellationToken::new, Visitor::sent_away)
    }

    /// The shard on which it is.
    pub(crate) fn shard(&self) -> usize {
        self.shard
    }

    /// From HTTP to a websocket without a login.
    pub(crate) fn upgrade(&mut self, address: Option<IpAddr>) -> Result<(), Refusal> {
        let admission = &self.admission;
        let room =
            admission
                .websockets
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |open| {
                    (open < admission.websockets_max).then_some(open + 1)
                });
        room.map_err(|_| Refusal::NodeFull)?;
        self.websocket = true;
        if let Some(visitor) = self.visitor.take() {
            admission.lobby().leave(&visitor);
        }
        if let (Some(max), Some(address)) = (admission.anonymous_max, address) {
            let group = group(address);
            let mut open = admission.anonymous.entry(group).or_insert(0);
            *open += 1;
            let over = *open > max;
            drop(open);
            self.anonymous = Some(group);
            if over {
                return Err(Refusal::AddressFull);
            }
        }
        Ok(())
    }

    /// Not anonymous any more.
    pub(crate) fn logged_in(&mut self) {
        let Some(group) = self.anonymous.take() else {
            return;
        };
        if let dashmap::Entry::Occupied(mut open) = self.admission.anonymous.entry(group) {
            *open.get_mut() -= 1;
            if *open.get() == 0 {
                open.remove();
            }
        }
    }

    /// No websocket any more.
    fn downgrade(&mut self) {
        self.logged_in();
        if std::mem::take(&mut self.websocket) {
            let before = self.admission.websockets.fetch_sub(1, Ordering::Relaxed);
            if before == 1 {
                self.admission.emptied.notify_waiters();
            }
        }
    }
}

impl std::fmt::Debug for Seat {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Seat(shard {})", self.shard)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.downgrade();
        if let Some(visitor) = self.visitor.take() {
            self.admission.lobby().leave(&visitor);
        }
        self.admission.sockets[self.shard].fetch_sub(1, Ordering::Relaxed);
    }
}

/// The unit of address limits: an IPv4 address, or the /64 that one IPv6 subscriber gets.
pub(crate) fn group(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use std::{net::IpAddr, sync::Arc, time::Instant};

    use super::{Admission, HANDSHAKE_WAIT, Refusal, group};
    use crate::config::Config;

    const PEER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn admission(change: impl FnOnce(&mut Config)) -> Arc<Admission> {
        let mut config = Config {
            shards: 2,
            ..Config::default()
        };
        change(&mut config);
        Arc::new(Admission::new(&config))
    }

    #[test]
    fn sockets_go_to_the_least_loaded_shard() {
        let admission = admission(|_| {});
        let first = admission.seat(PEER).unwrap();
        let second = admission.seat(PEER).unwrap();
        assert_ne!(first.shard(), second.shard());
        let freed = first.shard();
        drop(first);
        assert_eq!(admission.seat(PEER).unwrap().shard(), freed);
    }

    #[test]
    fn the_limit_of_websockets_is_exact_and_leaves_room_for_http() {
        let admission = admission(|config| config.connections_max = 1);
        let mut first = admission.seat(PEER).unwrap();
        let mut second = admission.seat(PEER).unwrap();
        first.upgrade(None).unwrap();
        assert_eq!(second.upgrade(None), Err(Refusal::NodeFull));
        drop(first);
        second.upgrade(None).unwrap();
        let _rest: Vec<_> = (2..=admission.sockets_max)
            .map(|_| admission.seat(PEER).unwrap())
            .collect();
        assert!(admission.seat(PEER).is_err());
    }

    #[test]
    fn anonymous_sockets_are_limited_per_address_only_behind_proxies() {
        let address = Some("2001:db8::1".parse().unwrap());
        let neighbour = Some("2001:db8::2".parse().unwrap());
        let admission = admission(|config| {
            config.forwarded_count = 1;
            config.anonymous_per_address = 1;
        });
        let mut first = admission.seat(PEER).unwrap();
        let mut second = admission.seat(PEER).unwrap();
        first.upgrade(address).unwrap();
        assert_eq!(second.upgrade(neighbour), Err(Refusal::AddressFull));
        second.downgrade();
        first.logged_in();
        second.upgrade(neighbour).unwrap();
        drop((first, second));
        assert!(admission.anonymous.is_empty());
        assert_eq!(admission.websockets(), 0);
    }

    #[test]
    fn handshakes_beyond_the_rate_wait_and_then_are_refused() {
        let admission = admission(|config| config.handshakes_per_second = 10);
        let now = Instant::now();
        let waits: Vec<_> = std::iter::from_fn(|| admission.handshake(now).ok()).collect();
        assert!(waits[0].is_zero());
        assert!(waits.is_sorted());
        assert_eq!(
            waits.last().map(|wait| wait.as_secs_f64().round()),
            Some(HANDSHAKE_WAIT.as_secs_f64())
        );
        assert!(admission.handshake(now + HANDSHAKE_WAIT).is_ok());
    }

    #[test]
    fn ipv6_counts_by_subnet_and_mapped_ipv4_as_ipv4() {
        assert_eq!(
            group("::ffff:192.0.2.1".parse().unwrap()),
            group("192.0.2.1".parse().unwrap())
        );
        assert_eq!(
            group("2001:db8:1:2:3::4".parse().unwrap()),
            group("2001:db8:1:2::".parse().unwrap())
        );
    }
}
