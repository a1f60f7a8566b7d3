//! The one listening socket: every accepted connection goes to the least loaded shard.
//!
//! One listener for all shards, because closing one of several (`SO_REUSEPORT`) drops the connections in its queue,
//! and because limits would not be exact.

use std::{
    io::{self, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::Arc,
    time::Duration,
};

use backplane::Complaints;
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio_util::sync::CancellationToken;

use crate::{admission::Accepted, metrics, shared::Shared};

/// Connections that the kernel keeps for us between two accepts.
const BACKLOG: i32 = 4_096;
/// Pause after an error of `accept` that is ours, such as too many open files.
const BACK_OFF: Duration = Duration::from_millis(100);

/// Opens the listener: dual stack `::` unless an address is given, `0.0.0.0` where IPv6 is off.
pub(crate) fn bind(address: Option<IpAddr>, port: u16) -> io::Result<TcpListener> {
    let Some(address) = address else {
        return match listen(Ipv6Addr::UNSPECIFIED.into(), port) {
            // Where the port is taken, 0.0.0.0 might still succeed and serve half of the network.
            Err(error) if error.kind() != io::ErrorKind::AddrInUse => {
                listen(Ipv4Addr::UNSPECIFIED.into(), port)
            }
            outcome => outcome,
        };
    };
    listen(address, port)
}

/// Opens the second listener, on the first one's port; `None` where the system has no such address.
pub(crate) fn bind_also(address: IpAddr, port: u16) -> io::Result<Option<TcpListener>> {
    match listen(address, port) {
        Ok(listener) => Ok(Some(listener)),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => Err(error),
        Err(_) => Ok(None),
    }
}

fn listen(address: IpAddr, port: u16) -> io::Result<TcpListener> {
    let address = SocketAddr::new(address, port);
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    // So that a restart does not wait for the last connections' TIME_WAIT.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Accepts until `stop`; then the listener is closed.
pub(crate) async fn run(
    listener: tokio::net::TcpListener,
    shared: Arc<Shared>,
    stop: CancellationToken,
) {
    let complaints = Complaints::default();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => return,
        };
        match accepted {
            Ok((stream, peer)) => {
                // Fails only for a socket that is gone already.
                let Ok(stream) = stream.into_std() else {
                    continue;
                };
                hand_over(stream, peer.ip().to_canonical(), &shared);
            }
            // The peer's doing: it has gone before we came.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => {
                metrics::accept_failed();
                complaints.warn("accept has failed", &error);
                tokio::time::sleep(BACK_OFF).await;
            }
        }
    }
}

fn hand_over(stream: TcpStream, peer: IpAddr, shared: &Shared) {
    match shared.admission.seat(peer) {
        Ok(seat) => {
            let _ = stream.set_nodelay(true);
            if let Some(bytes) = shared.config.send_buffer {
                let _ = SockRef::from(&stream).set_send_buffer_size(bytes);
            }
            let accepted = Accepted { stream, peer, seat };
            shared.accepted[accepted.seat.shard()].post(accepted, 0);
        }
        Err(refusal) => {
            metrics::refused(refusal.label());
            // Not even HTTP fits any more: a short answer that the socket's empty buffer takes, and no waiting.
            let _ = (&stream).write_all(
                b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
            );
            let _ = SockRef::from(&stream).shutdown(Shutdown::Write);
        }
    }
}
