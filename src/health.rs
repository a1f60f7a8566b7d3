//! `ddp-edge health`: what a container engine asks, because the image has no curl.

use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream},
    time::Duration,
};

/// Whether the process that listens on this port of the machine says that it lives.
pub(crate) fn is_alive(port: u16) -> bool {
    let places: [SocketAddr; 2] = [
        (Ipv4Addr::LOCALHOST, port).into(),
        (Ipv6Addr::LOCALHOST, port).into(),
    ];
    places
        .iter()
        .any(|place| ask(place).is_ok_and(|is_ok| is_ok))
}

fn ask(place: &SocketAddr) -> std::io::Result<bool> {
    let mut stream = TcpStream::connect_timeout(place, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut answer = [0; 12];
    stream.read_exact(&mut answer)?;
    Ok(&answer == b"HTTP/1.1 200")
}

const PATIENCE: Duration = Duration::from_secs(1);
