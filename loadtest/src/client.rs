//! One DDP client: a few hundred bytes, no task, no buffer of its own while nothing is half read.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};

use anyhow::{Context, Result, anyhow, bail};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::sequence::Sequence;
use crate::sys::{Epoll, Interest};
use crate::tally::Tally;
use crate::ws;

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

/// A gateway's address, always on loopback: this tool must not be pointed at anybody's server.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) addr: SocketAddr,
    host: String,
    path: String,
    pub(crate) sockjs: bool,
}

/// What a client has to say before it is ready.
pub(crate) struct Script {
    pub(crate) token: String,
    /// Stream and key of each subscription; the first ones carry the topics of `Client::topics`.
    pub(crate) subscriptions: Vec<(String, String)>,
    /// Whether everything is sent in one burst.
    pub(crate) at_once: bool,
    pub(crate) browser_headers: bool,
}

/// One connection.
pub(crate) struct Client {
    stream: TcpStream,
    stage: Stage,
    sockjs: bool,
    /// The incomplete end of the last read.
    rest: Vec<u8>,
    script: Option<Box<Script>>,
    topics: Vec<Topic>,
    waiting: u32,
}

/// A topic that this connection is subscribed to.
pub(crate) struct Topic {
    number: u32,
    sequence: Sequence,
    /// Whether the shape of its first message was looked at.
    seen: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Connecting,
    Upgrading,
    Opening,
    Ready,
}

/// What a client's turn led to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    Same,
    /// The last subscription was answered.
    BecameReady,
}

#[derive(Deserialize)]
struct Reply {
    msg: Option<String>,
    #[serde(default)]
    id: Value,
    error: Option<Value>,
    #[serde(default)]
    subs: Vec<Value>,
}

impl Target {
    /// Reads `ws://host:port/path`; without a path the transport's usual one is taken.
    pub(crate) fn parse(url: &str, sockjs: bool) -> Result<Self> {
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
        let path = match (path, sockjs) {
            ("" | "/", false) => "/websocket",
            ("" | "/", true) => "/sockjs/042/loadtest/websocket",
            (path, _) => path,
        };
        Ok(Self {
            addr,
            host: host.to_owned(),
            path: path.to_owned(),
            sockjs,
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

    /// Appends `message` as a frame in the target's framing.
    pub(crate) fn push_message(&self, out: &mut Vec<u8>, message: &Value) {
        push_message(out, message, self.sockjs);
    }
}

impl Client {
    /// Starts to connect and registers with `epoll` under `token`.
    pub(crate) fn start(
        target: &Target,
        script: Script,
        topics: impl IntoIterator<Item = u32>,
        epoll: &Epoll,
        token: u64,
    ) -> Result<Self> {
        let socket = socket2::Socket::new(
            socket2::Domain::for_address(target.addr),
            socket2::Type::STREAM,
            None,
        )?;
        socket.set_nonblocking(true)?;
        socket.set_tcp_nodelay(true)?;
        match socket.connect(&target.addr.into()) {
            Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => {
                return Err(error.into());
            }
            _ => {}
        }
        let stream = TcpStream::from(socket);
        epoll.add(&stream, token, Interest::ReadWrite)?;
        let topics = topics.into_iter().map(|number| Topic {
            number,
            sequence: Sequence::default(),
            seen: false,
        });
        Ok(Self {
            stream,
            stage: Stage::Connecting,
            sockjs: target.sockjs,
            rest: Vec::new(),
            waiting: script.subscriptions.len() as u32,
            topics: topics.collect(),
            script: Some(Box::new(script)),
        })
    }

    /// Goes on after the connect: sends the upgrade request.
    pub(crate) fn handle_writable(
        &mut self,
        target: &Target,
        epoll: &Epoll,
        token: u64,
    ) -> Result<()> {
        if self.stage != Stage::Connecting {
            return Ok(());
        }
        if let Some(error) = self.stream.take_error()? {
            return Err(error).context("connect");
        }
        epoll.modify(&self.stream, token, Interest::Read)?;
        self.stage = Stage::Upgrading;
        let mut out = Vec::new();
        target.push_upgrade(
            &mut out,
            self.script
                .as_ref()
                .is_some_and(|script| script.browser_headers),
        );
        self.send(&out)
    }

    /// Reads once into `scratch`, judges what came and answers what wants an answer.
    pub(crate) fn handle_readable(
        &mut self,
        scratch: &mut Vec<u8>,
        tally: &mut Tally,
    ) -> Result<Progress> {
        let kept = self.rest.len();
        if scratch.len() < 2 * kept {
            scratch.resize(4 * kept, 0);
        }
        scratch[..kept].copy_from_slice(&self.rest);
        let filled = match self.stream.read(&mut scratch[kept..]) {
            Ok(0) => bail!("connection ended by the server"),
            Ok(count) => kept + count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Progress::Same),
            Err(error) => return Err(error).context("read"),
        };
        let now = tally.begin_read();
        let was_ready = self.stage == Stage::Ready;
        let mut at = 0;
        if self.stage == Stage::Upgrading {
            match ws::parse_upgrade_response(&scratch[..filled])? {
                Some(length) => at = length,
                None => return Ok(self.keep(&scratch[..filled])),
            }
            self.stage = Stage::Opening;
            self.open()?;
        }
        while let Some(frame) = ws::parse(&scratch[at..filled])? {
            self.handle_frame(frame.opcode, frame.payload, now, tally)?;
            at += frame.len;
        }
        tally.end_read();
        self.keep(&scratch[at..filled]);
        let became_ready = !was_ready && self.stage == Stage::Ready;
        Ok(if became_ready {
            Progress::BecameReady
        } else {
            Progress::Same
        })
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.stage == Stage::Ready
    }

    /// Stops reading for good, so that the server's writes pile up.
    pub(crate) fn stall(&self, epoll: &Epoll) -> io::Result<()> {
        epoll.remove(&self.stream)
    }

    /// Whether the server has ended the connection of a stalled client: everything it got is read and thrown away.
    pub(crate) fn was_closed(&mut self) -> bool {
        let mut sink = vec![0; 1024 * 1024];
        loop {
            match self.stream.read(&mut sink) {
                Ok(0) => return true,
                Ok(_) => {}
                Err(error) => return error.kind() != io::ErrorKind::WouldBlock,
            }
        }
    }

    pub(crate) fn topic_numbers(&self) -> impl Iterator<Item = u32> {
        self.topics.iter().map(|topic| topic.number)
    }

    fn keep(&mut self, rest: &[u8]) -> Progress {
        self.rest.clear();
        self.rest.extend_from_slice(rest);
        if rest.is_empty() {
            self.rest = Vec::new();
        }
        Progress::Same
    }

    fn open(&mut self) -> Result<()> {
        let mut out = Vec::new();
        push_message(
            &mut out,
            &json!({"msg":"connect","version":"1","support":["1","pre2","pre1"]}),
            self.sockjs,
        );
        if self.script.as_ref().is_some_and(|script| script.at_once) {
            self.push_login(&mut out);
            self.push_subscriptions(&mut out);
        }
        self.send(&out)
    }

    fn push_login(&self, out: &mut Vec<u8>) {
        let Some(script) = &self.script else { return };
        let login = json!({"msg":"method","id":"login","method":"login","params":[{"resume":script.token}]});
        push_message(out, &login, self.sockjs);
    }

    fn push_subscriptions(&self, out: &mut Vec<u8>) {
        let Some(script) = &self.script else { return };
        for (index, (stream, key)) in script.subscriptions.iter().enumerate() {
            let params = json!([key, {"useCollection":false,"args":[]}]);
            let sub = json!({"msg":"sub","id":format!("s{index}"),"name":stream,"params":params});
            push_message(out, &sub, self.sockjs);
        }
    }

    fn handle_frame(
        &mut self,
        opcode: u8,
        payload: &[u8],
        now: u64,
        tally: &mut Tally,
    ) -> Result<()> {
        match opcode {
            ws::TEXT => {}
            ws::PING => {
                let mut out = Vec::new();
                ws::push_client_frame(&mut out, ws::PONG, payload);
                return self.send(&out);
            }
            ws::PONG => return Ok(()),
            ws::CLOSE => bail!("{}", close_reason(payload)),
            other => bail!("unexpected opcode {other}"),
        }
        if let Some(marker) = tally.find_marker(payload) {
            let Some(topic) = self
                .topics
                .iter_mut()
                .find(|topic| topic.number == marker.topic)
            else {
                tally.stray(|| {
                    format!(
                        "a message of topic {} on a connection without it",
                        marker.topic
                    )
                });
                return Ok(());
            };
            if !topic.seen {
                topic.seen = true;
                if !tally.publishes() {
                    topic.sequence = Sequence::starting_at(marker.number);
                }
                tally.check_shape(&marker, || messages(payload, self.sockjs));
            }
            let verdict = topic.sequence.judge(marker.number);
            tally.deliver(&marker, verdict, now);
            return Ok(());
        }
        for message in messages(payload, self.sockjs)? {
            self.handle_reply(&message, tally)?;
        }
        Ok(())
    }

    fn handle_reply(&mut self, message: &str, tally: &mut Tally) -> Result<()> {
        let reply: Reply =
            serde_json::from_str(message).with_context(|| format!("bad message {message}"))?;
        match reply.msg.as_deref() {
            Some("ping") => {
                let mut out = Vec::new();
                let pong = if reply.id.is_null() {
                    json!({"msg":"pong"})
                } else {
                    json!({"msg":"pong","id":reply.id})
                };
                push_message(&mut out, &pong, self.sockjs);
                self.send(&out)?;
            }
            Some("connected") if self.script.as_ref().is_some_and(|script| !script.at_once) => {
                let mut out = Vec::new();
                self.push_login(&mut out);
                self.send(&out)?;
            }
            Some("result") => {
                if let Some(error) = reply.error {
                    bail!("login refused: {error}");
                }
                if self.script.as_ref().is_some_and(|script| !script.at_once) {
                    let mut out = Vec::new();
                    self.push_subscriptions(&mut out);
                    self.send(&out)?;
                }
                self.answered(0);
            }
            Some("ready") => self.answered(reply.subs.len() as u32),
            Some("nosub") => {
                tally.refuse(|| format!("subscription {} refused: {message}", reply.id));
                self.answered(1);
            }
            Some("failed") => bail!("connect refused: {message}"),
            _ => {}
        }
        Ok(())
    }

    fn answered(&mut self, subscriptions: u32) {
        self.waiting = self.waiting.saturating_sub(subscriptions);
        if self.waiting == 0 {
            self.stage = Stage::Ready;
            self.script = None;
        }
    }

    fn send(&mut self, bytes: &[u8]) -> Result<()> {
        // All that a client says fits into an empty socket buffer; if it does not, the server has stopped reading.
        self.stream.write_all(bytes).context("write")
    }
}

/// Appends `message` as a masked text frame, wrapped in an array for SockJS.
fn push_message(out: &mut Vec<u8>, message: &Value, sockjs: bool) {
    let text = if sockjs {
        json!([message.to_string()]).to_string()
    } else {
        message.to_string()
    };
    ws::push_client_frame(out, ws::TEXT, text.as_bytes());
}

/// The DDP messages in one frame.
pub(crate) fn messages(payload: &[u8], sockjs: bool) -> Result<Vec<String>> {
    let text = std::str::from_utf8(payload).context("a text frame that is not UTF-8")?;
    if !sockjs {
        return Ok(vec![text.to_owned()]);
    }
    match text.split_at_checked(1) {
        Some(("o" | "h", "")) => Ok(Vec::new()),
        Some(("a", array)) => {
            serde_json::from_str(array).with_context(|| format!("bad SockJS frame {text}"))
        }
        _ => bail!("unexpected SockJS frame {text}"),
    }
}

fn close_reason(payload: &[u8]) -> String {
    match payload.split_first_chunk::<2>() {
        Some((code, reason)) => format!(
            "closed {} {}",
            u16::from_be_bytes(*code),
            String::from_utf8_lossy(reason)
        ),
        None => "closed without a code".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sockjs_frame_holds_any_number_of_messages() {
        let check = |frame: &str, expected: &[&str]| {
            assert_eq!(messages(frame.as_bytes(), true).unwrap(), expected)
        };
        check("o", &[]);
        check("h", &[]);
        check(r#"a["{\"msg\":\"ping\"}"]"#, &[r#"{"msg":"ping"}"#]);
        check(r#"a["1","2"]"#, &["1", "2"]);
        assert!(messages(b"{}", true).is_err());
        assert_eq!(messages(b"{}", false).unwrap(), ["{}"]);
    }

    #[test]
    fn only_loopback_is_loaded_and_paths_have_defaults() {
        let path = |url, sockjs| Target::parse(url, sockjs).unwrap().path;
        assert_eq!(path("ws://127.0.0.1:3000", false), "/websocket");
        assert_eq!(
            path("ws://127.0.0.1:3000/", true),
            "/sockjs/042/loadtest/websocket"
        );
        assert_eq!(
            path("ws://127.0.0.1:3000/chat/websocket", false),
            "/chat/websocket"
        );
        assert!(Target::parse("ws://192.0.2.1:3000", false).is_err());
        assert!(Target::parse("wss://127.0.0.1:3000", false).is_err());
    }

    #[test]
    fn browser_headers_are_of_a_browsers_size() {
        let mut out = Vec::new();
        Target::parse("ws://127.0.0.1:3000", false)
            .unwrap()
            .push_upgrade(&mut out, true);
        assert!((1400..2000).contains(&out.len()), "{} bytes", out.len());
    }
}
