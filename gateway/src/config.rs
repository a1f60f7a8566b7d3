//! What a gateway can be told. Plain values with defaults: the environment is read and judged in one place, the binary.

use std::{net::IpAddr, sync::Arc, time::Duration};

use ipnet::IpNet;
use protocol::limits::Limits;

pub use crate::limiter::RateLimits;

/// Shards that the bit sets of the interest map can name; a machine with more cores gets so many.
pub const SHARDS_MAX: usize = 64;

/// Settings of one gateway process.
#[derive(Clone, Debug)]
pub struct Config {
    /// Address to listen on; `None` is dual stack `::`, or `0.0.0.0` where IPv6 is off.
    pub bind: Option<IpAddr>,
    /// A second address to listen on, with the same port; passed over where the system does not have it.
    pub bind_also: Option<IpAddr>,
    /// TCP port; 0 picks a free one.
    pub port: u16,
    /// Shard threads; by default one per core.
    pub shards: usize,
    /// Every bound on what a peer may send or hold.
    pub limits: Arc<Limits>,
    /// Trusted proxies in front (`HTTP_FORWARDED_COUNT`): which element of `X-Forwarded-For`, from the end, is the client.
    pub forwarded_count: usize,
    /// Proxies in front, by address: the last element of `X-Forwarded-For` that is none of them is the client, and a peer
    /// that is none of them is one. Where there are any, `forwarded_count` does not count.
    pub trusted_proxies: Vec<IpNet>,
    /// Bytes held for all clients together: what waits to be written, messages that have come in part, calls that wait.
    pub buffer_bytes: usize,
    /// Bytes of a socket that the system keeps for a client which does not read; `None` leaves it to the system, which
    /// takes megabytes. Small ones show a slow client soon, and cost throughput.
    pub send_buffer: Option<usize>,
    /// Open websockets on this node; more get 503 before the upgrade.
    pub connections_max: usize,
    /// Sockets beside them that speak HTTP; for one more the oldest of them goes.
    pub lobby_max: usize,
    /// Those of them from one address (IPv6: one /64), judged where proxies are told by their addresses: then it is known
    /// which peers are clients.
    pub lobby_per_address: usize,
    /// Trusted proxies begin each connection with a PROXY header (v1 or v2) that says who the client is.
    pub proxy_protocol: bool,
    /// Sockets without login from one address (IPv6: one /64); only judged where proxies say the address.
    pub anonymous_per_address: usize,
    /// Websockets from one address (IPv6: one /64), logged in or not; judged as the ones without login.
    pub connections_per_address: usize,
    /// Websockets of one user; judged as those of one address.
    pub connections_per_user: usize,
    /// Websocket handshakes admitted per second; more wait, then get 503 with Retry-After.
    pub handshakes_per_second: u32,
    /// Logins passed to the accounts service per second; more wait.
    pub logins_per_second: u32,
    /// Header bytes of one HTTP request, and the time it may take to arrive.
    pub header_bytes: usize,
    pub header_timeout: Duration,
    /// Which pages may talk to this gateway.
    pub origins: Origins,
    /// Passes `user`/`password` logins on to the accounts service.
    pub password_login: bool,
    /// Leaves cookies and authorization in the connection objects that travel on the bus.
    pub broadcast_secret_headers: bool,
    /// Publications waiting for one shard, in bytes; more is a gap of that shard.
    pub mailbox_bytes: usize,
    /// Events of one key waiting for a look-up.
    pub hold_events: usize,
    /// Time over which sockets are closed after a gap.
    pub resync_over: Duration,
    /// Time a drain may take, all told.
    pub drain_within: Duration,
    /// Time in which a gateway that drains says so and lets clients in all the same: proxies need a moment to notice, and
    /// not all of them try another one.
    pub drain_linger: Duration,
    /// After a bus outage: the longest wait for the peers before the resync starts.
    pub resync_wait: Duration,
    /// Lag of a thread at which it counts as stalled; the bus heartbeat timeout.
    pub stall_after: Duration,
    /// How the admin's `DDP_Rate_Limit_*` rules apply; off for load tests and trusted clients.
    pub rate_limits: RateLimits,
    /// Interval between two updates of this process' document in `instances`.
    pub instance_ping: Duration,
    /// Interval of the sweep that compares grants and tokens with the store.
    pub sweep_every: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            bind: None,
            bind_also: None,
            port: 3000,
            shards: shards_for(std::thread::available_parallelism().map_or(1, usize::from)),
            limits: Arc::new(Limits::default()),
            forwarded_count: 0,
            trusted_proxies: Vec::new(),
            buffer_bytes: 1 << 30,
            send_buffer: None,
            connections_max: 100_000,
            lobby_max: 1_024,
            lobby_per_address: 100,
            proxy_protocol: false,
            anonymous_per_address: 200,
            connections_per_address: 5_000,
            connections_per_user: 200,
            handshakes_per_second: 2_000,
            logins_per_second: 1_000,
            header_bytes: 16 * 1024,
            header_timeout: Duration::from_secs(10),
            origins: Origins::Any,
            password_login: false,
            broadcast_secret_headers: false,
            mailbox_bytes: 64 * 1024 * 1024,
            hold_events: 1_024,
            resync_over: Duration::from_secs(10),
            drain_within: Duration::from_secs(25),
            drain_linger: Duration::ZERO,
            resync_wait: Duration::from_secs(5),
            stall_after: Duration::from_secs(30),
            rate_limits: RateLimits::On,
            instance_ping: Duration::from_secs(10),
            sweep_every: Duration::from_secs(60),
        }
    }
}

impl Config {
    /// Whether the proxies in front, if any, say who the clients are: only then may limits count by address.
    pub(crate) fn knows_addresses(&self) -> bool {
        self.forwarded_count > 0 || !self.trusted_proxies.is_empty()
    }

    /// Whether this is one of the proxies that are told by their addresses.
    pub(crate) fn is_proxy(&self, address: IpAddr) -> bool {
        self.trusted_proxies
            .iter()
            .any(|net| net.contains(&address))
    }

    /// Sockets at the same time: the websockets, the lobby, and as many again that were sent away and are not gone yet.
    pub fn sockets_max(&self) -> usize {
        self.connections_max
            .saturating_add(self.lobby_max.saturating_mul(2))
    }
}

/// One shard for each core, as far as they can be named.
fn shards_for(cores: usize) -> usize {
    cores.min(SHARDS_MAX)
}

/// Which `Host` and `Origin` a request may carry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origins {
    /// Any, as the original.
    Any,
    /// Exactly these origins (`https://chat.example.org`), or none at all.
    List(Vec<String>),
    /// Loopback names and addresses with any port (tunnels, development servers), `Host` included, and these origins
    /// (`http://192.0.2.7:3000`) with their hosts: the sandbox. `null` is refused. Pages of other origins among them may
    /// read what they ask for.
    Loopback(Vec<String>),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_of_many_cores_gets_as_many_shards_as_can_be_named() {
        let shards = [1, 2, 64, 65, 384].map(shards_for);
        assert_eq!(shards, [1, 2, 64, 64, 64]);
    }
}
