//! A raw NATS client on one nonblocking socket: what comes in is read in batches and sliced in place.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::sys::{Epoll, Interest};

/// A batch ends here even if the socket has more: what waits behind it is not starved.
const BATCH_BYTES_MAX: usize = 256 * 1024;
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// One connection to a nats-server.
pub(crate) struct Nats {
    stream: TcpStream,
    token: u64,
    input: Vec<u8>,
    filled: usize,
    output: Vec<u8>,
    /// True while the socket refuses more and write readiness is awaited.
    blocked: bool,
}

/// One delivered message, borrowed from the batch.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Message<'a> {
    /// The subscription it came by, as numbered by `subscribe`.
    pub(crate) sid: u32,
    pub(crate) payload: &'a [u8],
}

#[derive(Debug, PartialEq, Eq)]
enum Op<'a> {
    Message(Message<'a>),
    Ping,
    Error(&'a [u8]),
    Other,
}

impl Nats {
    /// Connects, says hello and waits for the server's PONG.
    pub(crate) fn connect(addr: SocketAddr, name: &str) -> Result<Self> {
        let mut stream = TcpStream::connect_timeout(&addr, HANDSHAKE_TIMEOUT)
            .with_context(|| format!("cannot reach nats-server at {addr}"))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(HANDSHAKE_TIMEOUT))?;
        let hello = format!(
            "CONNECT {{\"verbose\":false,\"pedantic\":false,\"lang\":\"rust\",\"version\":\"0\",\"echo\":false,\"name\":\"{name}\"}}\r\nPING\r\n"
        );
        stream.write_all(hello.as_bytes())?;
        // Without "protocol":1 the server sends nothing behind its PONG before it is asked to.
        let mut greeting = Vec::new();
        while !greeting.ends_with(b"PONG\r\n") {
            let mut chunk = [0; 4096];
            let count = stream.read(&mut chunk)?;
            greeting.extend_from_slice(&chunk[..count]);
            if count == 0 || memchr::memmem::find(&greeting, b"-ERR").is_some() {
                bail!(
                    "nats-server refused us: {}",
                    String::from_utf8_lossy(&greeting).trim()
                );
            }
        }
        stream.set_nonblocking(true)?;
        Ok(Self {
            stream,
            token: 0,
            input: vec![0; 2 * BATCH_BYTES_MAX],
            filled: 0,
            output: Vec::new(),
            blocked: false,
        })
    }

    /// Hands the socket to `epoll` under `token`.
    pub(crate) fn register(&mut self, epoll: &Epoll, token: u64) -> io::Result<()> {
        self.token = token;
        epoll.add(&self.stream, token, Interest::Read)
    }

    pub(crate) fn subscribe(&mut self, subject: &str, sid: u32) {
        self.output
            .extend_from_slice(format!("SUB {subject} {sid}\r\n").as_bytes());
    }

    /// Queues one message; nothing is written before `flush`.
    pub(crate) fn publish(&mut self, subject: &str, payload: &[u8]) {
        write!(self.output, "PUB {subject} {}\r\n", payload.len()).expect("a Vec takes any write");
        self.output.extend_from_slice(payload);
        self.output.extend_from_slice(b"\r\n");
    }

    /// Writes what is queued, as far as the socket takes it; the rest goes when it is writable.
    pub(crate) fn flush(&mut self, epoll: &Epoll) -> Result<()> {
        let mut written = 0;
        let blocked = loop {
            if written == self.output.len() {
                break false;
            }
            match self.stream.write(&self.output[written..]) {
                Ok(count) => written += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break true,
                Err(error) => return Err(error).context("writing to nats-server"),
            }
        };
        self.output.drain(..written);
        if blocked != self.blocked {
            let interest = if blocked {
                Interest::ReadWrite
            } else {
                Interest::Read
            };
            epoll.modify(&self.stream, self.token, interest)?;
            self.blocked = blocked;
        }
        Ok(())
    }

    /// Bytes that `flush` could not get rid of.
    pub(crate) fn backlog_bytes(&self) -> usize {
        self.output.len()
    }

    /// Reads what the socket holds, at most one batch.
    pub(crate) fn fill(&mut self) -> Result<()> {
        let start = self.filled;
        while self.filled - start < BATCH_BYTES_MAX {
            if self.filled == self.input.len() {
                self.input.resize(2 * self.input.len(), 0);
            }
            match self.stream.read(&mut self.input[self.filled..]) {
                Ok(0) => bail!("nats-server closed the connection"),
                Ok(count) => self.filled += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error).context("reading from nats-server"),
            }
        }
        Ok(())
    }

    /// Calls `handle` for every whole message of the batch and keeps the incomplete rest.
    pub(crate) fn drain(&mut self, mut handle: impl FnMut(Message<'_>)) -> Result<()> {
        let mut at = 0;
        while let Some((op, len)) = parse(&self.input[at..self.filled])? {
            match op {
                Op::Message(message) => handle(message),
                Op::Ping => self.output.extend_from_slice(b"PONG\r\n"),
                Op::Error(text) => bail!("nats-server: {}", String::from_utf8_lossy(text)),
                Op::Other => {}
            }
            at += len;
        }
        self.input.copy_within(at..self.filled, 0);
        self.filled -= at;
        Ok(())
    }
}

/// Reads the operation at the start of `bytes` and its length; `None` while it is incomplete.
fn parse(bytes: &[u8]) -> Result<Option<(Op<'_>, usize)>> {
    let Some(end) = memchr::memchr(b'\n', bytes) else {
        return Ok(None);
    };
    let line = bytes[..end].strip_suffix(b"\r").unwrap_or(&bytes[..end]);
    let after = end + 1;
    let Some(arguments) = line.strip_prefix(b"MSG ") else {
        let op = match line {
            b"PING" => Op::Ping,
            _ if line.starts_with(b"-ERR") => Op::Error(line),
            _ => Op::Other,
        };
        return Ok(Some((op, after)));
    };
    // MSG <subject> <sid> [reply] <bytes>
    let mut words = arguments.split(|&byte| byte == b' ');
    let sid = words.nth(1).and_then(number);
    let length = words.next_back().and_then(number);
    let (Some(sid), Some(length)) = (sid, length) else {
        bail!(
            "unexpected line from nats-server: {}",
            String::from_utf8_lossy(line)
        );
    };
    let length = length as usize;
    let Some(payload) = bytes.get(after..after + length) else {
        return Ok(None);
    };
    if bytes.len() < after + length + 2 {
        return Ok(None);
    }
    Ok(Some((
        Op::Message(Message { sid, payload }),
        after + length + 2,
    )))
}

fn number(digits: &[u8]) -> Option<u32> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_with_or_without_reply_subject_is_sliced_and_its_prefixes_are_incomplete() {
        for head in ["MSG MOL.EVENT.x 7 4", "MSG MOL.EVENT.x 7 reply.to 4"] {
            let bytes = format!("{head}\r\na\r\nb\r\nPING\r\n");
            let whole = bytes.len() - "PING\r\n".len();
            for cut in 0..whole {
                assert_eq!(parse(&bytes.as_bytes()[..cut]).unwrap(), None);
            }
            let expected = (
                Op::Message(Message {
                    sid: 7,
                    payload: b"a\r\nb",
                }),
                whole,
            );
            assert_eq!(parse(bytes.as_bytes()).unwrap(), Some(expected));
            assert_eq!(
                parse(&bytes.as_bytes()[whole..]).unwrap(),
                Some((Op::Ping, 6))
            );
        }
    }

    #[test]
    fn a_message_line_without_numbers_is_an_error() {
        assert!(parse(b"MSG a b c\r\n").is_err());
    }
}
