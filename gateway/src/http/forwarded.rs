//! Whether the proxies in front are what we were told: judged by what they send, said once for each way to be wrong.

use std::{net::IpAddr, sync::Once};

use hyper::HeaderMap;

use crate::{config::Config, metrics};

/// What one handshake tells about the proxies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// As we were told.
    Fine,
    /// Someone forwards, and we were told of nobody: everybody has the proxy's address.
    Unexpected,
    /// We were told of proxies, and this one came without their header, or with fewer hops: no address.
    Missing,
    /// The hop that counts is an address of the inside, and one of the outside stands before it: a proxy's, most likely.
    Inside,
}

impl Seen {
    /// Judges what [`super::client::address`] has made of the request.
    pub(super) fn of(headers: &HeaderMap, address: Option<IpAddr>, config: &Config) -> Self {
        let mut lines = headers.get_all("x-forwarded-for").iter().peekable();
        let forwards = lines.peek().is_some();
        if !config.knows_addresses() {
            return if forwards {
                Self::Unexpected
            } else {
                Self::Fine
            };
        }
        let Some(address) = address else {
            return Self::Missing;
        };
        let is_outside = |hop: &[u8]| {
            super::client::parse(hop).is_some_and(|hop| hop != address && !is_inside(hop))
        };
        let hops = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
        match is_inside(address) && hops.into_iter().any(is_outside) {
            true => Self::Inside,
            false => Self::Fine,
        }
    }

    /// Counts it, and says once what an operator should know.
    pub(super) fn tell(self) {
        static UNEXPECTED: Once = Once::new();
        static MISSING: Once = Once::new();
        static INSIDE: Once = Once::new();
        let (label, said, what) = match self {
            Self::Fine => return metrics::forwarded("fine"),
            Self::Unexpected => (
                "unexpected",
                &UNEXPECTED,
                "a proxy in front sends X-Forwarded-For, and HTTP_FORWARDED_COUNT is 0: every client has the proxy's address",
            ),
            Self::Missing => (
                "missing",
                &MISSING,
                "a client came with fewer hops in X-Forwarded-For than HTTP_FORWARDED_COUNT or DDP_EDGE_TRUSTED_PROXIES promise: it has no address",
            ),
            Self::Inside => (
                "inside",
                &INSIDE,
                "the address of a client is one of the inside with one of the outside before it: HTTP_FORWARDED_COUNT is too small, or DDP_EDGE_TRUSTED_PROXIES lacks a proxy",
            ),
        };
        metrics::forwarded(label);
        said.call_once(|| tracing::warn!("{what}"));
    }
}

/// Addresses that no client on the internet has.
fn is_inside(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_private() || v4.is_loopback() || v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unique_local() || v6.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(count: usize, header: Option<&str>) -> Seen {
        let config = Config {
            forwarded_count: count,
            ..Config::default()
        };
        let mut headers = HeaderMap::new();
        if let Some(value) = header {
            headers.insert("x-forwarded-for", value.parse().unwrap());
        }
        let peer = "10.0.0.1".parse().unwrap();
        let address = super::super::client::address(&headers, peer, &config);
        Seen::of(&headers, address, &config)
    }

    #[test]
    fn a_wrong_number_of_proxies_shows_in_what_they_send() {
        assert_eq!(seen(0, None), Seen::Fine);
        assert_eq!(seen(0, Some("203.0.113.9")), Seen::Unexpected);
        assert_eq!(seen(1, Some("203.0.113.9")), Seen::Fine);
        assert_eq!(seen(1, None), Seen::Missing);
        assert_eq!(seen(2, Some("203.0.113.9")), Seen::Missing);
        assert_eq!(seen(1, Some("203.0.113.9, 10.0.0.7")), Seen::Inside);
        assert_eq!(seen(2, Some("203.0.113.9, 10.0.0.7")), Seen::Fine);
        // An office without a way out has inside addresses only.
        assert_eq!(seen(1, Some("10.1.2.3")), Seen::Fine);
    }
}
