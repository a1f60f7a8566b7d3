//! Who may come in: sockets per node, sockets per address, handshakes per second. Sockets that speak HTTP wait in
//! the [lobby](Lobby), where there is always room for one more.
//!
//! One instance for all shards, touched a few times per connection and never per message.

use std::{
    net::IpAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use dashmap::DashMap;
use ipnet::IpNet;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::{
    address::group,
    config::Config,
    lobby::{Lobby, Visitor},
    metrics,
    turns::{Turn, Turns},
};

/// Handshakes beyond the rate wait this long at most.
const HANDSHAKE_WAIT: Duration = Duration::from_secs(2);

/// The counters behind every limit that spans shards.
pub(crate) struct Admission {
    /// Open sockets per shard, HTTP included.
    sockets: Box<[AtomicUsize]>,
    lobby: Mutex<Lobby>,
    /// Places of one address in the lobby, and whose addresses do not count.
    lobby_per_address: Option<usize>,
    proxies: Vec<IpNet>,
    websockets: AtomicUsize,
    /// Told when the last websocket has gone.
    emptied: Notify,
    websockets_max: usize,
    sockets_max: usize,
    /// Websockets per address or /64; empty where the limits do not apply.
    by_address: DashMap<IpAddr, Open>,
    by_address_max: Option<Open>,
    handshakes: Mutex<Turns>,
    /// Told when a handshake waits.
    handshake_waits: Notify,
}

/// Websockets of one address.
#[derive(Clone, Copy, Default)]
struct Open {
    all: usize,
    anonymous: usize,
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
            // Without a list of them every peer may be a proxy with many behind it.
            lobby_per_address: (!config.trusted_proxies.is_empty())
                .then_some(config.lobby_per_address),
            proxies: config.trusted_proxies.clone(),
            websockets: AtomicUsize::new(0),
            emptied: Notify::new(),
            websockets_max: config.connections_max,
            sockets_max: config.sockets_max(),
            by_address: DashMap::new(),
            by_address_max: config.knows_addresses().then_some(Open {
                all: config.connections_per_address,
                anonymous: config.anonymous_per_address,
            }),
            handshakes: Mutex::new(Turns::new(config.handshakes_per_second, HANDSHAKE_WAIT)),
            handshake_waits: Notify::new(),
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
        for (shard, sockets) in (0..).zip(&self.sockets) {
            let sockets = sockets.load(Ordering::Relaxed);
            total += sockets;
            best = best.min((sockets, shard));
        }
        if total >= self.sockets_max {
            return Err(Refusal::NodeFull);
        }
        self.sockets[usize::from(best.1)].fetch_add(1, Ordering::Relaxed);
        let visitor = self.enter(peer);
        Ok(Seat {
            admission: self.clone(),
            shard: best.1,
            visitor: Some(visitor),
            websocket: false,
            group: None,
            anonymous: false,
        })
    }

    fn enter(&self, peer: IpAddr) -> Box<Visitor> {
        let is_proxy = self.proxies.iter().any(|net| net.contains(&peer));
        let most = self.lobby_per_address.filter(|_| !is_proxy);
        let (visitor, sent_away) = self.lobby().enter(group(peer), most.unwrap_or(usize::MAX));
        if let Some(limit) = sent_away {
            metrics::refused(limit);
        }
        // Few are here at a time, many have been.
        visitor.into()
    }

    fn lobby(&self) -> MutexGuard<'_, Lobby> {
        // A panic elsewhere leaves at worst a visitor who is gone, who will be the oldest.
        self.lobby.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the turn of a handshake from this address.
    pub(crate) async fn handshake(&self, source: IpAddr) -> Result<(), Refusal> {
        let turn = self.handshakes().ask(group(source), 0, now());
        let told = match turn {
            Turn::Now => return Ok(()),
            Turn::Wait(told) => told,
            Turn::Refused => return Err(Refusal::TooManyHandshakes),
        };
        self.handshake_waits.notify_one();
        match tokio::time::timeout(HANDSHAKE_WAIT, told).await {
            Ok(Ok(())) => Ok(()),
            _ => Err(Refusal::TooManyHandshakes),
        }
    }

    /// Gives handshakes their turns for ever.
    pub(crate) async fn let_in(&self) {
        loop {
            let next = self.handshakes().serve(now());
            match next {
                Some(next) => tokio::time::sleep_until(next.into()).await,
                None => self.handshake_waits.notified().await,
            }
        }
    }

    fn handshakes(&self) -> MutexGuard<'_, Turns> {
        // Nothing in there can panic half-way.
        self.handshakes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// The time by the runtime's clock, which tests can stop.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
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
    shard: u16,
    /// While it speaks HTTP.
    visitor: Option<Box<Visitor>>,
    websocket: bool,
    /// Whose websocket it is, where that is counted.
    group: Option<IpAddr>,
    anonymous: bool,
}

impl Seat {
    /// Told when this socket must leave the lobby for others.
    pub(crate) fn sent_away(&self) -> CancellationToken {
        let visitor = self.visitor.as_ref();
        visitor.map_or_else(CancellationToken::new, |visitor| visitor.sent_away())
    }

    /// The peer was a proxy, and has said for whom it has come.
    pub(crate) fn came_from(&mut self, client: IpAddr) {
        if let Some(visitor) = self.visitor.take() {
            self.admission.lobby().leave(&visitor);
            self.visitor = Some(self.admission.enter(client));
        }
    }

    /// The shard on which it is.
    pub(crate) fn shard(&self) -> usize {
        self.shard.into()
    }

    /// From HTTP to a websocket without a login.
    pub(crate) fn upgrade(&mut self, source: IpAddr) -> Result<(), Refusal> {
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
        if let Some(max) = admission.by_address_max {
            let group = group(source);
            let mut open = admission.by_address.entry(group).or_default();
            open.all += 1;
            open.anonymous += 1;
            let over = open.all > max.all || open.anonymous > max.anonymous;
            drop(open);
            self.group = Some(group);
            self.anonymous = true;
            if over {
                return Err(Refusal::AddressFull);
            }
        }
        Ok(())
    }

    /// Not anonymous any more.
    pub(crate) fn logged_in(&mut self) {
        if std::mem::take(&mut self.anonymous)
            && let Some(group) = self.group
            && let Some(mut open) = self.admission.by_address.get_mut(&group)
        {
            open.anonymous -= 1;
        }
    }

    /// No websocket any more.
    fn downgrade(&mut self) {
        self.logged_in();
        if let Some(group) = self.group.take()
            && let dashmap::Entry::Occupied(mut open) = self.admission.by_address.entry(group)
        {
            open.get_mut().all -= 1;
            if open.get().all == 0 {
                open.remove();
            }
        }
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
        self.admission.sockets[self.shard()].fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::{net::IpAddr, sync::Arc};

    use super::{Admission, HANDSHAKE_WAIT, Refusal};
    use crate::{address::group, config::Config};

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
        first.upgrade(PEER).unwrap();
        assert_eq!(second.upgrade(PEER), Err(Refusal::NodeFull));
        drop(first);
        second.upgrade(PEER).unwrap();
        let _rest: Vec<_> = (2..=admission.sockets_max)
            .map(|_| admission.seat(PEER).unwrap())
            .collect();
        assert!(admission.seat(PEER).is_err());
    }

    #[test]
    fn an_address_has_so_many_websockets_whoever_is_logged_in() {
        let admission = admission(|config| {
            config.forwarded_count = 1;
            config.connections_per_address = 2;
        });
        let mut seats = [(); 3].map(|()| admission.seat(PEER).unwrap());
        let [first, second, third] = &mut seats;
        for seat in [first, second] {
            seat.upgrade(PEER).unwrap();
            seat.logged_in();
        }
        assert_eq!(third.upgrade(PEER), Err(Refusal::AddressFull));
        drop(seats);
        assert!(admission.by_address.is_empty());
    }

    #[test]
    fn anonymous_sockets_are_limited_per_address_only_behind_proxies() {
        let address = "2001:db8::1".parse().unwrap();
        let neighbour = "2001:db8::2".parse().unwrap();
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
        assert!(admission.by_address.is_empty());
        assert_eq!(admission.websockets(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn handshakes_beyond_the_rate_wait_and_then_are_refused() {
        let admission = admission(|config| config.handshakes_per_second = 10);
        let doorman = tokio::spawn({
            let admission = admission.clone();
            async move { admission.let_in().await }
        });
        let begin = tokio::time::Instant::now();
        let all = (0..40).map(|_| admission.handshake(PEER));
        let outcomes = futures_util::future::join_all(all).await;
        let passed = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
        assert!((20..=22).contains(&passed), "{passed}");
        assert_eq!(outcomes.last(), Some(&Err(Refusal::TooManyHandshakes)));
        assert!(begin.elapsed() <= HANDSHAKE_WAIT);
        doorman.abort();
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
