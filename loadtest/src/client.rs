//! One DDP client: a few hundred bytes, no task, no buffer of its own while nothing is half read.

use std::io::{self, Read, Write};
use std::net::TcpStream;

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::sequence::Sequence;
use crate::sys::{Epoll, Interest};
use crate::tally::Tally;
use crate::target::{Framing, Target};
use crate::ws;

/// What a client has to say before it is ready.
pub(crate) struct Script {
    pub(crate) token: String,
    /// Stream and key of each subscription; the first ones carry the topics of `Client::topics`.
    pub(crate) subscriptions: Vec<(String, Value)>,
    /// Whether everything is sent in one burst.
    pub(crate) at_once: bool,
    pub(crate) browser_headers: bool,
}

/// One connection.
pub(crate) struct Client {
    stream: TcpStream,
    stage: Stage,
    framing: Framing,
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
            framing: target.framing,
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
        self.framing.push_message(
            &mut out,
            &json!({"msg":"connect","version":"1","support":["1","pre2","pre1"]}),
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
        self.framing.push_message(out, &login);
    }

    fn push_subscriptions(&self, out: &mut Vec<u8>) {
        let Some(script) = &self.script else { return };
        for (index, (stream, params)) in script.subscriptions.iter().enumerate() {
            let sub = json!({"msg":"sub","id":format!("s{index}"),"name":stream,"params":params});
            self.framing.push_message(out, &sub);
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
        if self.framing != Framing::Centrifuge {
            return self.handle_text(payload, now, tally);
        }
        // Several publications share a frame there.
        payload
            .split(|&byte| byte == b'\n')
            .try_for_each(|line| self.handle_text(line, now, tally))
    }

    /// Counts a message of a topic, or goes on with what is said to this client.
    fn handle_text(&mut self, payload: &[u8], now: u64, tally: &mut Tally) -> Result<()> {
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
                tally.check_shape(&marker, || self.framing.messages(payload));
            }
            let verdict = topic.sequence.judge(marker.number);
            tally.deliver(&marker, verdict, now);
            return Ok(());
        }
        for message in self.framing.messages(payload)? {
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
                self.framing.push_message(&mut out, &pong);
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
    use std::net::TcpListener;
    use std::thread;
    use std::time::Duration;

    use super::*;
    use crate::backend::Names;
    use crate::scenario;

    /// A server that says what a gateway would say to one client, a byte at a time, and returns what it heard.
    fn serve(listener: &TcpListener, framing: Framing) -> String {
        let (mut stream, _) = listener.accept().unwrap();
        let mut heard = vec![0; 64 * 1024];
        let mut filled = 0;
        let mut hear = |stream: &mut TcpStream, needle: &str| {
            while memchr::memmem::find(&heard[..filled], needle.as_bytes()).is_none() {
                filled += stream.read(&mut heard[filled..]).unwrap();
            }
            String::from_utf8_lossy(&heard[..filled]).into_owned()
        };
        hear(&mut stream, "\r\n\r\n");
        let mut out = format!(
            "HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: {}\r\n\r\n",
            ws::ACCEPT
        );
        stream.write_all(out.as_bytes()).unwrap();
        hear(&mut stream, "room-0");
        let mut frames = Vec::new();
        if framing == Framing::SockJs {
            ws::push_server_frame(&mut frames, ws::TEXT, b"o");
        }
        for message in [
            r#"{"server_id":"0"}"#,
            r#"{"msg":"connected","session":"x"}"#,
            r#"{"msg":"result","id":"login","result":{"id":"user-0"}}"#,
            r#"{"msg":"updated","methods":["login"]}"#,
            r#"{"msg":"ready","subs":["s0"]}"#,
            r#"{"msg":"changed","collection":"stream-room-messages","id":"id","fields":{"eventName":"room-0","args":[{"_id":"lt~0~0~1~"}]}}"#,
            r#"{"msg":"ping","id":"are-you-there"}"#,
        ] {
            out = match framing {
                Framing::Raw | Framing::Centrifuge => message.to_owned(),
                Framing::SockJs => format!("a{}", json!([message])),
            };
            ws::push_server_frame(&mut frames, ws::TEXT, out.as_bytes());
        }
        stream.set_nodelay(true).unwrap();
        for byte in frames {
            stream.write_all(&[byte]).unwrap();
        }
        hear(&mut stream, "are-you-there")
    }

    #[track_caller]
    fn check(framing: Framing) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("ws://{}", listener.local_addr().unwrap());
        let server = thread::spawn(move || serve(&listener, framing));
        let target = Target::parse(&url, framing).unwrap();
        let script = Script {
            token: "token-0".into(),
            subscriptions: vec![("stream-room-messages".into(), json!(["room-0", false]))],
            at_once: true,
            browser_headers: true,
        };
        let mut epoll = Epoll::new().unwrap();
        let mut client = Client::start(&target, script, [0], &epoll, 7).unwrap();
        let interest = scenario::Interest::Rooms { rooms: 1, each: 1 };
        let mut tally = Tally::new(1, interest, Names::default());
        tally.add_subscriber(0);
        tally.publish(0).unwrap();
        let (mut ready, mut scratch, mut became_ready) = (Vec::new(), vec![0; 1024], 0);
        while !server.is_finished() {
            epoll.wait(&mut ready, Duration::from_millis(10)).unwrap();
            for ready in ready.drain(..) {
                if ready.writable {
                    client
                        .handle_writable(&target, &epoll, ready.token)
                        .unwrap();
                } else if let Ok(Progress::BecameReady) =
                    client.handle_readable(&mut scratch, &mut tally)
                {
                    became_ready += 1;
                }
            }
        }
        let heard = server.join().unwrap();
        assert_eq!((became_ready, tally.delivered, tally.missing()), (1, 1, 0));
        assert!(!tally.faults.any(), "{:?}", tally.faults);
        assert!(heard.contains("pong"));
    }

    #[test]
    fn a_client_gets_ready_and_counts_in_both_framings_however_the_bytes_are_cut() {
        check(Framing::Raw);
        check(Framing::SockJs);
    }
}
