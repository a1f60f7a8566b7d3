//! What a request says about the client: its address, and the header object that travels in broadcasts.

use std::net::{IpAddr, SocketAddr};

use hyper::HeaderMap;

use crate::{config::Config, metrics};

/// Never leave this process unless configured: whoever reads a broadcast could act as the user.
const SECRETS: [&str; 4] = [
    "cookie",
    "authorization",
    "proxy-authorization",
    "x-auth-token",
];

/// Bytes of the header object. 4 KiB: every connection's is broadcast twice to every node and kept meanwhile; without
/// cookies a browser sends half a kilobyte.
const BROADCAST_BYTES_MAX: usize = 4_096;

/// The client's address: the peer's, or the element of `X-Forwarded-For` that the outermost of `count` trusted proxies
/// has written (gateway.md 1.7), or the last one that is no trusted proxy. `None` where the header does not say.
pub(super) fn address(headers: &HeaderMap, peer: IpAddr, config: &Config) -> Option<IpAddr> {
    let count = config.forwarded_count;
    if !config.trusted_proxies.is_empty() {
        if !config.is_proxy(peer) {
            return Some(peer);
        }
    } else if count == 0 {
        return Some(peer);
    }
    let lines = headers.get_all("x-forwarded-for").iter();
    // Bytes, because a client may have sent a line to which the proxy has added the hop that counts.
    let mut hops = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    if config.trusted_proxies.is_empty() {
        return parse(hops.nth_back(count - 1)?);
    }
    let mut last = None;
    for hop in hops.rev() {
        let hop = parse(hop)?;
        last = Some(hop);
        if !config.is_proxy(hop) {
            break;
        }
    }
    last
}

/// An address with or without brackets and port: proxies differ.
pub(super) fn parse(hop: &[u8]) -> Option<IpAddr> {
    let hop = std::str::from_utf8(hop.trim_ascii()).ok()?;
    let bare = hop
        .strip_prefix('[')
        .and_then(|hop| hop.strip_suffix(']'))
        .unwrap_or(hop);
    let with_port = || hop.parse().ok().map(|socket: SocketAddr| socket.ip());
    let address: Option<IpAddr> = bare.parse().ok().or_else(with_port);
    address.map(|address| address.to_canonical())
}

/// The headers as a raw JSON object with lower-case names (gateway.md 1.8), without secrets unless `secrets`, and
/// without the handshake's nonce, which would make every client's object different. What does not fit into
/// [`BROADCAST_BYTES_MAX`] is left out, unless everything is wanted.
pub(super) fn headers(headers: &HeaderMap, secrets: bool) -> String {
    let mut object = String::from("{");
    for name in headers.keys() {
        if name == "sec-websocket-key" || !secrets && SECRETS.contains(&name.as_str()) {
            continue;
        }
        let separator = if name == "cookie" { "; " } else { ", " };
        // Latin-1, as Node reads header bytes.
        let values = headers
            .get_all(name)
            .iter()
            .map(|value| value.as_bytes().iter().copied().map(char::from).collect());
        let value = values.collect::<Vec<String>>().join(separator);
        let before = object.len();
        if before > 1 {
            object.push(',');
        }
        protocol::ddp::encode::push_string(&mut object, name.as_str());
        object.push(':');
        protocol::ddp::encode::push_string(&mut object, &value);
        if !secrets && object.len() >= BROADCAST_BYTES_MAX {
            metrics::cut("headers");
            object.truncate(before);
        }
    }
    object.push('}');
    object
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use hyper::{HeaderMap, header::HeaderValue};

    use super::{address, headers};
    use crate::config::Config;

    fn map(pairs: &[(&str, &[u8])]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| {
                (
                    name.parse().unwrap(),
                    HeaderValue::from_bytes(value).unwrap(),
                )
            })
            .collect()
    }

    #[test]
    fn what_is_broadcast_of_the_headers_is_bounded() {
        let long = "x".repeat(5_000);
        let pairs: [(&str, &[u8]); 3] = [
            ("x-long", long.as_bytes()),
            ("user-agent", b"a browser"),
            ("cookie", long.as_bytes()),
        ];
        let short = headers(&map(&pairs), false);
        assert_eq!(short, r#"{"user-agent":"a browser"}"#);
        // Each byte may become several.
        let many = [0xFF; 3_000];
        assert_eq!(headers(&map(&[("x", &many)]), false), "{}");
        assert!(headers(&map(&pairs), true).len() > 10_000);
    }

    #[test]
    fn the_address_is_counted_from_the_end() {
        let peer: IpAddr = "10.0.0.1".parse().unwrap();
        let forwarded = map(&[("x-forwarded-for", b"198.51.100.1, 203.0.113.9 ,10.0.0.2")]);
        let at =
            |count| address(&forwarded, peer, &counting(count)).map(|address| address.to_string());
        assert_eq!(at(0).as_deref(), Some("10.0.0.1"));
        assert_eq!(at(1).as_deref(), Some("10.0.0.2"));
        assert_eq!(at(2).as_deref(), Some("203.0.113.9"));
        assert_eq!(at(4), None);
        assert_eq!(address(&HeaderMap::new(), peer, &counting(1)), None);
    }

    fn counting(forwarded_count: usize) -> Config {
        Config {
            forwarded_count,
            ..Config::default()
        }
    }

    #[test]
    fn trusted_proxies_are_told_by_their_addresses() {
        let config = Config {
            trusted_proxies: vec!["10.0.0.0/8".parse().unwrap()],
            ..Config::default()
        };
        let check = |peer: &str, header: &[u8], expected: Option<&str>| {
            let forwarded = map(&[("x-forwarded-for", header)]);
            let found = address(&forwarded, peer.parse().unwrap(), &config);
            assert_eq!(found, expected.map(|address| address.parse().unwrap()));
        };
        let header = b"198.51.100.1, 203.0.113.9, 10.0.0.2";
        check("10.0.0.1", header, Some("203.0.113.9"));
        check("192.0.2.1", header, Some("192.0.2.1"));
        check("10.0.0.1", b"10.0.0.3", Some("10.0.0.3"));
        check("10.0.0.1", b"203.0.113.9, unknown", None);
        let none = address(&HeaderMap::new(), "10.0.0.1".parse().unwrap(), &config);
        assert_eq!(none, None);
    }

    #[test]
    fn nothing_that_a_client_sends_moves_the_trusted_hop() {
        let peer: IpAddr = "10.0.0.1".parse().unwrap();
        // A proxy appends to whatever line was there.
        let appended = map(&[
            ("x-forwarded-for", b"198.51.100.1"),
            ("x-forwarded-for", b"\xff, 203.0.113.9"),
        ]);
        assert_eq!(
            address(&appended, peer, &counting(1)),
            "203.0.113.9".parse().ok()
        );
        for (hop, expected) in [
            ("203.0.113.9:4711", "203.0.113.9"),
            ("[2001:db8::1]:4711", "2001:db8::1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("::ffff:203.0.113.9", "203.0.113.9"),
        ] {
            let with_port = map(&[("x-forwarded-for", hop.as_bytes())]);
            assert_eq!(
                address(&with_port, peer, &counting(1)),
                expected.parse().ok(),
                "{hop}"
            );
        }
    }

    #[test]
    fn secrets_and_the_nonce_stay_here() {
        let map = map(&[
            ("user-agent", b"x \xe9\""),
            ("cookie", b"a=b"),
            ("authorization", b"Bearer t"),
            ("x-auth-token", b"t"),
            ("sec-websocket-key", b"k"),
        ]);
        assert_eq!(headers(&map, false), r#"{"user-agent":"x é\""}"#);
        let all = headers(&map, true);
        assert!(
            all.contains(r#""cookie":"a=b""#)
                && all.contains("Bearer")
                && !all.contains("sec-websocket-key")
        );
    }
}
