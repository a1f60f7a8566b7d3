//! The opening handshake (RFC 6455 4.2) as a pure function over method and headers.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use sha1::{Digest, Sha1};

/// What the 101 answer carries besides `Connection: Upgrade` and `Upgrade: websocket`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// `Sec-WebSocket-Accept`.
    pub accept: String,
    /// `Sec-WebSocket-Protocol`: the first one offered, as the original does (`gateway.md` 1.3).
    pub subprotocol: Option<String>,
}

/// Why a request is not a websocket handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HandshakeError {
    /// Not a GET: 405, with `Allow: GET` and no body.
    #[error("method is not GET")]
    Method,
    /// No `Upgrade: websocket`.
    #[error("no upgrade to websocket")]
    Upgrade,
    /// `Connection` does not name `upgrade`.
    #[error("connection header does not name upgrade")]
    Connection,
    /// Neither version 13 nor 8; the answer names ours in `Sec-WebSocket-Version: 13, 8`.
    #[error("websocket version is neither 13 nor 8")]
    Version,
    /// No key, two keys, or a key that is not 16 bytes in base64.
    #[error("websocket key is not 16 bytes in base64")]
    Key,
}

impl HandshakeError {
    /// The HTTP status of the answer.
    pub fn status(self) -> u16 {
        match self {
            Self::Method => 405,
            Self::Upgrade | Self::Connection | Self::Version | Self::Key => 400,
        }
    }
}

/// Judges a request by its method and all its headers, names in any case.
pub fn handshake<'a>(
    method: &str,
    headers: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> Result<Accepted, HandshakeError> {
    let (mut upgrade, mut connection, mut version_ok) = (false, false, false);
    let (mut keys, mut key, mut subprotocol) = (0, "", None);
    for (name, value) in headers {
        if name.eq_ignore_ascii_case("upgrade") {
            upgrade |= has_token(value, "websocket");
        } else if name.eq_ignore_ascii_case("connection") {
            connection |= has_token(value, "upgrade");
        } else if name.eq_ignore_ascii_case("sec-websocket-version") {
            version_ok = matches!(value.trim(), "13" | "8");
        } else if name.eq_ignore_ascii_case("sec-websocket-key") {
            keys += 1;
            key = value.trim();
        } else if name.eq_ignore_ascii_case("sec-websocket-protocol") && subprotocol.is_none() {
            subprotocol = value
                .split(',')
                .map(str::trim)
                .find(|offer| !offer.is_empty());
        }
    }
    if method != "GET" {
        return Err(HandshakeError::Method);
    }
    if !upgrade {
        return Err(HandshakeError::Upgrade);
    }
    if !connection {
        return Err(HandshakeError::Connection);
    }
    if !version_ok {
        return Err(HandshakeError::Version);
    }
    if keys != 1 || !is_key(key) {
        return Err(HandshakeError::Key);
    }
    Ok(Accepted {
        accept: accept_key(key),
        subprotocol: subprotocol.map(str::to_owned),
    })
}

/// `Sec-WebSocket-Accept` for this `Sec-WebSocket-Key`.
pub fn accept_key(key: &str) -> String {
    let mut sha = Sha1::new();
    sha.update(key);
    sha.update("258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    STANDARD.encode(sha.finalize())
}

fn has_token(value: &str, token: &str) -> bool {
    value
        .split(',')
        .any(|part| part.trim().eq_ignore_ascii_case(token))
}

fn is_key(key: &str) -> bool {
    let mut nonce = [0; 18];
    matches!(STANDARD.decode_slice(key, &mut nonce), Ok(16))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: [(&str, &str); 4] = [
        ("Upgrade", "websocket"),
        ("Connection", "keep-alive, Upgrade"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", "x3JJHMbDL1EzLkh9GBhXDw=="),
    ];

    fn check(name: &str, value: Option<&str>, expected: Result<(), HandshakeError>) {
        let headers = GOOD.into_iter().filter_map(|(n, v)| {
            if n == name {
                Some((n, value?))
            } else {
                Some((n, v))
            }
        });
        assert_eq!(
            handshake("GET", headers).map(drop),
            expected,
            "{name}: {value:?}"
        );
    }

    #[test]
    fn the_accept_key_is_that_of_the_specification() {
        assert_eq!(
            accept_key("dGhlIHNhbXBsZSBub25jZQ=="),
            "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        );
        assert_eq!(
            handshake("GET", GOOD).unwrap().accept,
            "HSmrc0sMlYUkAGmm5OPpG2HaGWk="
        );
    }

    #[test]
    fn every_header_is_needed_and_checked() {
        use HandshakeError::{Connection, Key, Upgrade, Version};
        check("Upgrade", Some("WebSocket"), Ok(()));
        check("Upgrade", Some("h2c"), Err(Upgrade));
        check("Upgrade", None, Err(Upgrade));
        check("Connection", Some("UPGRADE"), Ok(()));
        check("Connection", Some("close"), Err(Connection));
        check("Connection", Some("upgraded"), Err(Connection));
        check("Connection", None, Err(Connection));
        check("Sec-WebSocket-Version", Some("8"), Ok(()));
        check("Sec-WebSocket-Version", Some("7"), Err(Version));
        check("Sec-WebSocket-Version", Some("130"), Err(Version));
        check("Sec-WebSocket-Version", None, Err(Version));
        check(
            "Sec-WebSocket-Key",
            Some("dGhlIHNhbXBsZSBub25jZQ=="),
            Ok(()),
        );
        check("Sec-WebSocket-Key", Some("dGhlIHNhbXBsZSBub25j"), Err(Key));
        check(
            "Sec-WebSocket-Key",
            Some("dGhlIHNhbXBsZSBub25jZQ"),
            Err(Key),
        );
        check(
            "Sec-WebSocket-Key",
            Some("dGhlIHNhbXBsZSBub25jZXM="),
            Err(Key),
        );
        check(
            "Sec-WebSocket-Key",
            Some("dGhlIHNhbXBsZSBub25jZXMhISEhISEhISEh"),
            Err(Key),
        );
        check(
            "Sec-WebSocket-Key",
            Some("*hhlIHNhbXBsZSBub25jZQ=="),
            Err(Key),
        );
        check("Sec-WebSocket-Key", Some(""), Err(Key));
        check("Sec-WebSocket-Key", None, Err(Key));
    }

    #[test]
    fn two_keys_are_none() {
        let headers = GOOD.into_iter().chain([GOOD[3]]);
        assert_eq!(handshake("GET", headers), Err(HandshakeError::Key));
    }

    #[test]
    fn another_method_is_refused_whatever_the_headers() {
        assert_eq!(handshake("POST", GOOD), Err(HandshakeError::Method));
        assert_eq!(HandshakeError::Method.status(), 405);
        assert_eq!(HandshakeError::Key.status(), 400);
    }

    #[test]
    fn header_lines_of_one_name_are_one_list() {
        let headers = [
            ("connection", "keep-alive"),
            ("connection", "Upgrade"),
            GOOD[0],
            GOOD[2],
            GOOD[3],
        ];
        assert!(handshake("GET", headers).is_ok());
    }

    #[test]
    fn the_first_subprotocol_is_taken() {
        let offers = [
            ("Sec-WebSocket-Protocol", "ddp, chat"),
            ("Sec-WebSocket-Protocol", "other"),
        ];
        let accepted = handshake("GET", GOOD.into_iter().chain(offers)).unwrap();
        assert_eq!(accepted.subprotocol.as_deref(), Some("ddp"));
        assert_eq!(handshake("GET", GOOD).unwrap().subprotocol, None);
    }
}
