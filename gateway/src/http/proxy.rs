//! The PROXY header, v1 or v2, with which a load balancer begins a connection that is somebody else's.

use std::{io, net::IpAddr};

use ppp::{HeaderResult, PartialResult as _, v1, v2};
use tokio::{io::AsyncReadExt as _, net::TcpStream};

/// The longest header: 107 bytes of text, or 52 bytes and what clouds add to them.
const HEADER_BYTES_MAX: usize = 1_024;

/// Takes the header off a connection; whose it is, `None` where the proxy speaks for itself or does not know.
///
/// # Errors
/// It begins with something else, or ends too early.
pub(super) async fn source(stream: &mut TcpStream) -> io::Result<Option<IpAddr>> {
    let mut header = [0; HEADER_BYTES_MAX];
    let mut read = 0;
    while read < header.len() {
        // What follows the header is not ours to take.
        let peeked = stream.peek(&mut header[read..]).await?;
        if peeked == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let parsed = HeaderResult::parse(&header[..read + peeked]);
        if parsed.is_incomplete() {
            read += stream.read_exact(&mut header[read..read + peeked]).await?;
            continue;
        }
        let (length, source) = match parsed {
            HeaderResult::V1(Ok(found)) => (found.header.len(), of_text(&found.addresses)),
            HeaderResult::V2(Ok(found)) => (found.len(), of_binary(&found)),
            HeaderResult::V1(Err(_)) | HeaderResult::V2(Err(_)) => break,
        };
        stream.read_exact(&mut header[read..length]).await?;
        return Ok(source.map(|address| address.to_canonical()));
    }
    Err(io::ErrorKind::InvalidData.into())
}

fn of_text(addresses: &v1::Addresses) -> Option<IpAddr> {
    match addresses {
        v1::Addresses::Tcp4(of) => Some(of.source_address.into()),
        v1::Addresses::Tcp6(of) => Some(of.source_address.into()),
        v1::Addresses::Unknown => None,
    }
}

fn of_binary(header: &v2::Header<'_>) -> Option<IpAddr> {
    match (header.command, header.addresses) {
        (v2::Command::Proxy, v2::Addresses::IPv4(of)) => Some(of.source_address.into()),
        (v2::Command::Proxy, v2::Addresses::IPv6(of)) => Some(of.source_address.into()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use tokio::{io::AsyncWriteExt as _, net::TcpListener};

    use super::*;

    /// What is understood of these pieces, which come one after the other, and what is left for whoever reads on.
    async fn read(pieces: &[&[u8]]) -> (io::Result<Option<IpAddr>>, Vec<u8>) {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let mut proxy = TcpStream::connect(listener.local_addr().unwrap())
            .await
            .unwrap();
        proxy.set_nodelay(true).unwrap();
        let (mut ours, _) = listener.accept().await.unwrap();
        let write = async {
            for piece in pieces {
                proxy.write_all(piece).await.unwrap();
                tokio::task::yield_now().await;
            }
            proxy.shutdown().await.unwrap();
        };
        let (found, ()) = tokio::join!(source(&mut ours), write);
        let mut rest = Vec::new();
        if found.is_ok() {
            ours.read_to_end(&mut rest).await.unwrap();
        }
        (found, rest)
    }

    fn binary(command: v2::Command) -> Vec<u8> {
        let addresses: (SocketAddr, SocketAddr) = (
            "192.0.2.7:1234".parse().unwrap(),
            "198.51.100.1:80".parse().unwrap(),
        );
        let version = v2::Version::Two | command;
        v2::Builder::with_addresses(version, v2::Protocol::Stream, addresses)
            .build()
            .unwrap()
    }

    #[tokio::test]
    async fn both_versions_are_understood_and_nothing_behind_them_is_taken() {
        let text = "PROXY TCP4 192.0.2.7 198.51.100.1 1234 80\r\n".as_bytes();
        let client: Option<IpAddr> = Some([192, 0, 2, 7].into());
        for header in [text, &binary(v2::Command::Proxy)] {
            let (begin, end) = header.split_at(9);
            let whole = [header, b"GET /"].concat();
            for pieces in [[whole.as_slice(), b""], [b"", &whole]] {
                let (found, rest) = read(&pieces).await;
                assert_eq!((found.unwrap(), rest.as_slice()), (client, &b"GET /"[..]));
            }
            let (found, rest) = read(&[begin, end, b"GET /"]).await;
            assert_eq!((found.unwrap(), rest.as_slice()), (client, &b"GET /"[..]));
        }
        for header in [&b"PROXY UNKNOWN\r\n"[..], &binary(v2::Command::Local)] {
            assert_eq!(read(&[header]).await.0.unwrap(), None);
        }
    }

    #[tokio::test]
    async fn anything_else_is_an_error() {
        let endless = [&binary(v2::Command::Proxy)[..14], &[0xFF; 2_000]].concat();
        let whole = binary(v2::Command::Proxy);
        let wrong: [&[u8]; 5] = [
            b"GET / HTTP/1.1\r\n\r\n",
            b"PROXY TCP4 192.0.2.7\r\n",
            &whole[..20],
            &endless,
            b"",
        ];
        for header in wrong {
            assert!(read(&[header]).await.0.is_err(), "{header:?}");
        }
    }
}
