//! One client of a session whose life is written in lines.
//!
//! ```text
//! = raw subscriptions=1     (first) the framing, then limits that differ from the defaults
//! > text                    the client sends this frame
//! >> binary                 the client sends a binary message
//! +15s                      time passes; the driver keeps to `poll_timeout`
//! ! command                 the driver answers or commands, see `Peer::command`
//! < text                    a frame of the server
//! ? event                   what the session asks of its driver
//! x label code text         the connection ends
//! ```

use std::{
    io::IoSlice,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use protocol::{
    ddp,
    limits::Limits,
    outbox::Outbox,
    session::{Event, Session, SubKey},
    sockjs::Framing,
};

/// A session, its outbox and its driver.
pub(crate) struct Peer {
    session: Session,
    outbox: Outbox,
    limits: Arc<Limits>,
    now: Instant,
    is_over: bool,
}

impl Peer {
    /// The client of a transcript that begins with this `=` line, and what its server says first.
    pub(crate) fn new(settings: &str) -> (Self, Vec<String>) {
        let mut words = settings.split_whitespace().skip(1);
        let framing = match words.next() {
            Some("raw") => Framing::Raw,
            Some("sockjs") => Framing::SockJs,
            other => panic!("framing is raw or sockjs, not {other:?}"),
        };
        let mut limits = Limits::default();
        for word in words {
            let (name, value) = word.split_once('=').expect("name=value");
            let value = value.parse().expect("a number");
            match name {
                "subscriptions" => limits.subscriptions = value,
                "pending_messages" => limits.pending_messages = value,
                "pending_bytes" => limits.pending_bytes = value,
                "pending_bytes_before_login" => limits.pending_bytes_before_login = value,
                "name_bytes" => limits.name_bytes = value,
                "json_depth" => limits.json_depth = value,
                "login_deadline" => limits.login_deadline = Duration::from_secs(value as u64),
                _ => panic!("no limit {name}"),
            }
        }
        let limits = Arc::new(limits);
        let now = start();
        let session = Session::new("SESSION".to_owned(), framing, Arc::clone(&limits), now);
        let outbox = Outbox::new(limits.outbox_bytes);
        let mut peer = Self {
            session,
            outbox,
            limits,
            now,
            is_over: false,
        };
        let mut said = Vec::new();
        peer.drain(&mut said);
        (peer, said)
    }

    /// Does what an input line says; gives the output lines that follow from it.
    pub(crate) fn apply(&mut self, line: &str) -> Vec<String> {
        let mut said = Vec::new();
        if let Some(payload) = line.strip_prefix(">> ") {
            assert!(!payload.is_empty());
            let reason = self.session.handle_binary();
            self.settle(Err(reason), &mut said);
        } else if let Some(payload) = line.strip_prefix('>') {
            let outcome = self
                .session
                .handle_frame(payload.strip_prefix(' ').unwrap_or(payload), self.now);
            self.settle(outcome, &mut said);
        } else if let Some(command) = line.strip_prefix("! ") {
            self.command(command);
            self.drain(&mut said);
        } else if let Some(time) = line.strip_prefix('+') {
            let seconds = time.trim_end_matches('s').parse().expect("+<seconds>s");
            self.wait(Duration::from_secs(seconds), &mut said);
        } else {
            panic!("unknown line: {line}");
        }
        said
    }

    fn command(&mut self, command: &str) {
        let (verb, rest) = command.split_once(' ').unwrap_or((command, ""));
        let raw = || Some(Bytes::copy_from_slice(rest.as_bytes()));
        match verb {
            "result" if rest.is_empty() => self.session.method_result(Ok(None)),
            "result" => self.session.method_result(Ok(raw())),
            "error" => self.session.method_result(Err(error(rest))),
            "ready" => self.session.subscription_ready(),
            "nosub" if rest.is_empty() => self.session.subscription_failed(None),
            "nosub" => self.session.subscription_failed(Some(&error(rest))),
            "end" => {
                let (key, how) = rest
                    .split_once(' ')
                    .expect("end <key> silently|nosub|<error>");
                let error = match how {
                    "silently" => None,
                    "nosub" => Some(None),
                    _ => Some(Some(error(how))),
                };
                self.session
                    .subscription_ended(SubKey(key.parse().expect("a key")), error);
            }
            "document" => self.session.document(rest.to_owned()),
            "login" => self.session.logged_in(self.now),
            "logout" => self.session.logged_out(self.now),
            // As the driver does it: the result, then the end before the next call starts.
            "result-and-close" => {
                self.session.method_result(Ok(None));
                self.session.close();
            }
            _ => panic!("unknown command: {command}"),
        }
    }

    fn wait(&mut self, time: Duration, said: &mut Vec<String>) {
        let until = self.now + time;
        while !self.is_over && self.session.poll_timeout() <= until {
            self.now = self.now.max(self.session.poll_timeout());
            let outcome = self.session.handle_timeout(self.now);
            self.settle(outcome, said);
        }
        self.now = until;
    }

    fn settle(
        &mut self,
        outcome: Result<(), protocol::close::CloseReason>,
        said: &mut Vec<String>,
    ) {
        self.drain(said);
        if let Err(reason) = outcome {
            self.is_over = true;
            let code = reason
                .code(&self.limits)
                .expect("an end of ours has a code");
            said.push(
                format!("x {} {code} {}", reason.label(), reason.text())
                    .trim_end()
                    .to_owned(),
            );
        }
    }

    fn drain(&mut self, said: &mut Vec<String>) {
        while let Some(event) = self.session.poll_event() {
            said.push(match event {
                Event::Connected {
                    has_session,
                    has_count,
                } => format!(
                    "? connected{}{}",
                    if has_session { " session" } else { "" },
                    if has_count { " count" } else { "" }
                ),
                Event::Method { name, params } => format!("? method {name} {}", text(&params)),
                Event::Subscribe { sub, name, params } => {
                    format!("? sub {} {name} {}", sub.0, text(&params))
                }
                Event::Unsubscribe { sub } => format!("? unsub {}", sub.0),
                Event::Refused { limit } => format!("? refused {limit}"),
                Event::Activity => "? activity".to_owned(),
            });
        }
        while self.session.poll_frame(&mut self.outbox, self.now) {}
        while !self.outbox.is_empty() {
            let mut slices = [IoSlice::new(&[]); 8];
            let filled = self.outbox.io_slices(&mut slices);
            let bytes: Vec<u8> = slices[..filled]
                .iter()
                .flat_map(|slice| slice.iter().copied())
                .collect();
            said.extend(
                payloads(&bytes)
                    .into_iter()
                    .map(|payload| format!("< {payload}")),
            );
            self.outbox.advance(bytes.len());
        }
    }
}

/// The payloads of whole, unmasked text frames.
fn payloads(mut bytes: &[u8]) -> Vec<String> {
    let mut payloads = Vec::new();
    while let Some((&0x81, rest)) = bytes.split_first() {
        let (length, rest) = match rest[0] {
            126 => (
                usize::from(u16::from_be_bytes([rest[1], rest[2]])),
                &rest[3..],
            ),
            127 => (
                u64::from_be_bytes(rest[1..9].try_into().unwrap()) as usize,
                &rest[9..],
            ),
            length => (usize::from(length), &rest[1..]),
        };
        let (payload, rest) = rest.split_at(length);
        payloads.push(text(payload).to_owned());
        bytes = rest;
    }
    assert!(bytes.is_empty(), "no text frame: {bytes:?}");
    payloads
}

/// `403 Some reason` or `not-allowed`.
fn error(line: &str) -> ddp::Error {
    let (code, reason) = line.split_once(' ').unwrap_or((line, ""));
    let is_number = code.bytes().all(|byte| byte.is_ascii_digit());
    ddp::Error::recovered(
        code,
        is_number,
        (!reason.is_empty()).then(|| reason.to_owned()),
        None,
    )
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("UTF-8")
}

#[expect(
    clippy::disallowed_methods,
    reason = "virtual time has to start somewhere"
)]
fn start() -> Instant {
    Instant::now()
}
