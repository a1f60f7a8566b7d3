//! One HTTP question to a process of ours, for the commands that look at one.

use std::{
    io::{self, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

/// The body of a page, where the answer is 200.
///
/// # Errors
/// Nobody answers, or not with 200.
pub(crate) fn get(address: SocketAddr, path: &str, token: Option<&str>) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let authorization = token.map_or_else(String::new, |token| {
        format!("Authorization: Bearer {token}\r\n")
    });
    let request = format!("GET {path} HTTP/1.0\r\nHost: localhost\r\n{authorization}\r\n");
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream.take(ANSWER_MAX).read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
    let status = head.split(' ').nth(1).unwrap_or("no HTTP");
    if status != "200" {
        return Err(io::Error::other(format!("answered {status}")));
    }
    Ok(body.to_owned())
}

const PATIENCE: Duration = Duration::from_secs(2);
const ANSWER_MAX: u64 = 16 << 20;
