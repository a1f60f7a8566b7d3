//! HTTP by hand: what goes over the wire is exactly what the test wrote.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// More than any answer of ours; a longer one is a bug.
const ANSWER_BYTES: u64 = 16 * 1024 * 1024;
const HEAD_BYTES: usize = 64 * 1024;

/// An HTTP answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Answer {
    /// The first header of that name, which is given in lower case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }
}

/// A `GET` over a connection of its own.
///
/// # Panics
///
/// When nobody listens or the answer is not HTTP.
#[must_use]
pub fn get(port: u16, path: &str) -> Answer {
    request(port, "GET", path, &[])
}

/// A request without a body over a connection of its own. `Host` is our own unless `headers` has one.
///
/// # Panics
///
/// When nobody listens or the answer is not HTTP.
#[must_use]
pub fn request(port: u16, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
    try_request(port, method, path, headers)
        .unwrap_or_else(|error| panic!("{method} {path} has no answer: {error}"))
}

pub(crate) fn try_request(
    port: u16,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
) -> io::Result<Answer> {
    let mut socket = connect(port)?;
    let headers = [headers, &[("Connection", "close")]].concat();
    socket.write_all(head(port, method, path, &headers).as_bytes())?;
    let mut answer = read_head(&mut socket)?;
    let mut body = answer.body.into_bytes();
    socket.take(ANSWER_BYTES).read_to_end(&mut body)?;
    answer.body = String::from_utf8_lossy(&body).into_owned();
    Ok(answer)
}

/// A loopback connection whose reads give up after a while.
pub(crate) fn connect(port: u16) -> io::Result<TcpStream> {
    let socket = TcpStream::connect(("127.0.0.1", port))?;
    socket.set_nodelay(true)?;
    socket.set_read_timeout(Some(Duration::from_secs(30)))?;
    Ok(socket)
}

pub(crate) fn head(port: u16, method: &str, path: &str, headers: &[(&str, &str)]) -> String {
    let mut text = format!("{method} {path} HTTP/1.1\r\n");
    let has_host = headers
        .iter()
        .any(|(name, _)| name.eq_ignore_ascii_case("host"));
    if !has_host {
        text += &format!("Host: 127.0.0.1:{port}\r\n");
    }
    for (name, value) in headers {
        text += &format!("{name}: {value}\r\n");
    }
    text + "\r\n"
}

/// Reads up to the end of the headers, and no byte more.
pub(crate) fn read_head(socket: &mut TcpStream) -> io::Result<Answer> {
    let mut text = Vec::new();
    let mut byte = [0];
    while !text.ends_with(b"\r\n\r\n") {
        if text.len() == HEAD_BYTES {
            return Err(io::Error::other("headers without an end"));
        }
        socket.read_exact(&mut byte)?;
        text.push(byte[0]);
    }
    let text = String::from_utf8_lossy(&text);
    let mut lines = text.split("\r\n");
    let status = lines
        .next()
        .and_then(|line| line.strip_prefix("HTTP/1.")?.get(2..))
        .and_then(|rest| rest.get(..3))
        .and_then(|status| status.parse().ok())
        .ok_or_else(|| io::Error::other(format!("not HTTP: {text}")))?;
    let headers = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    Ok(Answer {
        status,
        headers,
        body: String::new(),
    })
}
