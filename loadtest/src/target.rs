//! Where a gateway listens and how it frames DDP messages.

use std::net::{SocketAddr, ToSocketAddrs};

use anyhow::{Context, Result, anyhow, bail};
use serde_json::{Value, json};

use crate::{centrifuge, ws};

/// What a browser sends along with an upgrade: about 1.5 kB, most of it cookies.
const BROWSER_HEADERS: &str = concat!(
    "Pragma: no-cache\r\nCache-Control: no-cache\r\nOrigin: http://localhost:3000\r\n",
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36\r\n",
    "Accept-Encoding: gzip, deflate, br, zstd\r\nAccept-Language: en-GB,en;q=0.9,de;q=0.8,fr;q=0.7\r\n",
    "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n",
    "Sec-Fetch-Dest: websocket\r\nSec-Fetch-Mode: websocket\r\nSec-Fetch-Site: same-origin\r\n",
    "X-Forwarded-For: 203.0.113.9\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: chat.example.org\r\n",
    "X-Real-Ip: 203.0.113.9\r\nX-Request-Id: 5b0c9b103a5111f09c3f0242ac110002\r\n",
);
const BROWSER_COOKIE_BYTES: usize = 640;

/// How DDP messages are put into websocket frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// The message itself, on `/websocket`.
    Raw,
    /// An array of one string, on `/sockjs/<server>/<session>/websocket`.
    SockJs,
    /// Commands and replies of another protocol, one a line, on `/websocket`.
    Centrifuge,
}

/// A gateway's address, always on loopback: this tool must not be pointed at anybody's server.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) addr: SocketAddr,
    host: String,
    path: String,
    pub(crate) framing: Framing,
}

impl Target {
    /// Reads `ws://host:port/path`; without a path the transport's usual one is taken.
    pub(crate) fn parse(url: &str, framing: Framing) -> Result<Self> {
        let rest = url
            .strip_prefix("ws://")
            .ok_or_else(|| anyhow!("{url}: only ws:// is spoken here"))?;
        let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let addr = host
            .to_socket_addrs()
            .with_context(|| format!("{url}: host:port"))?
            .next();
        let addr = addr.ok_or_else(|| anyhow!("{url}: no address"))?;
        if !addr.ip().is_loopback() {
            bail!("{url}: only loopback addresses are loaded");
        }
        let path = match (path, framing) {
            ("" | "/", Framing::Raw | Framing::Centrifuge) => "/websocket",
            ("" | "/", Framing::SockJs) => "/sockjs/042/loadtest/websocket",
            (path, _) => path,
        };
        Ok(Self {
            addr,
            host: host.to_owned(),
            path: path.to_owned(),
            framing,
        })
    }

    /// Appends the upgrade request.
    pub(crate) fn push_upgrade(&self, out: &mut Vec<u8>, browser_headers: bool) {
        let extra = if browser_headers {
            format!(
                "{BROWSER_HEADERS}Cookie: rc_token={}\r\n",
                "x".repeat(BROWSER_COOKIE_BYTES)
            )
        } else {
            String::new()
        };
        ws::push_upgrade_request(out, &self.host, &self.path, &extra);
    }
}

impl Framing {
    /// Appends `message` as a masked text frame, or nothing where the protocol has no such message.
    pub(crate) fn push_message(self, out: &mut Vec<u8>, message: &Value) {
        let text = match self {
            Self::Raw => message.to_string(),
            Self::SockJs => json!([message.to_string()]).to_string(),
            Self::Centrifuge => match centrifuge::command(message) {
                Some(command) => command,
                None => return,
            },
        };
        ws::push_client_frame(out, ws::TEXT, text.as_bytes());
    }

    /// The DDP messages in one frame.
    pub(crate) fn messages(self, payload: &[u8]) -> Result<Vec<String>> {
        let text = std::str::from_utf8(payload).context("a text frame that is not UTF-8")?;
        match self {
            Self::Raw => return Ok(vec![text.to_owned()]),
            Self::Centrifuge => return centrifuge::messages(text),
            Self::SockJs => {}
        }
        match text.split_at_checked(1) {
            Some(("o" | "h", "")) => Ok(Vec::new()),
            Some(("a", array)) => {
                serde_json::from_str(array).with_context(|| format!("bad SockJS frame {text}"))
            }
            _ => bail!("unexpected SockJS frame {text}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sockjs_frame_holds_any_number_of_messages() {
        let check = |frame: &str, expected: &[&str]| {
            assert_eq!(
                Framing::SockJs.messages(frame.as_bytes()).unwrap(),
                expected
            )
        };
        check("o", &[]);
        check("h", &[]);
        check(r#"a["{\"msg\":\"ping\"}"]"#, &[r#"{"msg":"ping"}"#]);
        check(r#"a["1","2"]"#, &["1", "2"]);
        assert!(Framing::SockJs.messages(b"{}").is_err());
        assert_eq!(Framing::Raw.messages(b"{}").unwrap(), ["{}"]);
    }

    #[test]
    fn only_loopback_is_loaded_and_paths_have_defaults() {
        let path = |url, framing| Target::parse(url, framing).unwrap().path;
        assert_eq!(path("ws://127.0.0.1:3000", Framing::Raw), "/websocket");
        assert_eq!(
            path("ws://127.0.0.1:3000/", Framing::SockJs),
            "/sockjs/042/loadtest/websocket"
        );
        assert_eq!(
            path("ws://127.0.0.1:3000/chat/websocket", Framing::Raw),
            "/chat/websocket"
        );
        assert!(Target::parse("ws://192.0.2.1:3000", Framing::Raw).is_err());
        assert!(Target::parse("wss://127.0.0.1:3000", Framing::Raw).is_err());
    }

    #[test]
    fn browser_headers_are_of_a_browsers_size() {
        let mut out = Vec::new();
        Target::parse("ws://127.0.0.1:3000", Framing::Raw)
            .unwrap()
            .push_upgrade(&mut out, true);
        assert!((1400..2000).contains(&out.len()), "{} bytes", out.len());
    }
}
