//! The small HTTP servers beside the gateway's own: health of the satellites, metrics and the admin port of every role.

use std::{
    future::ready,
    io::Write as _,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::Context as _;
use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use gateway::{Fallback, Lobby, Visitor};
use http_body_util::Full;
use hyper::{
    HeaderMap, Method, Response, StatusCode,
    header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, HeaderValue, VARY},
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};

/// Scrapers and probes; more at once is somebody else, and the oldest of the address that has the most goes, so that a
/// probe always gets in.
const CONNECTIONS_MAX: usize = 64;
/// Time that a request's header may take, and that a connection may last, whatever it asks: a scraper makes another one.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
const LIFETIME: Duration = Duration::from_secs(300);

/// Shorter pages fit into one packet anyway.
const COMPRESSED_MIN: usize = 1_024;

/// Status, content type and body.
pub(crate) type Page = (StatusCode, &'static str, String);

/// Serves what can be read without waiting: path to page; `None` is 404. Binds as [`serve`] does.
///
/// # Errors
/// The port is in use, or the address is not ours.
pub(crate) async fn serve_pages(
    bind: Option<IpAddr>,
    port: u16,
    pages: impl Fn(&str) -> Option<Page> + Send + Sync + 'static,
) -> anyhow::Result<SocketAddr> {
    let listener = listen(bind, port)
        .await
        .with_context(|| format!("cannot listen on port {port}"))?;
    let answer = Arc::new(move |request: hyper::Request<_>| {
        let path = request.uri().path().trim_end_matches('/');
        let reads = request.method() == Method::GET || request.method() == Method::HEAD;
        let page = reads.then(|| pages(path)).flatten();
        let page =
            page.unwrap_or_else(|| (StatusCode::NOT_FOUND, "text/plain", "Not Found".to_owned()));
        let is_worth_it = page.2.len() >= COMPRESSED_MIN && takes_gzip(request.headers());
        Box::pin(ready(if is_worth_it {
            compressed(page)
        } else {
            response(page)
        })) as _
    });
    serve(listener, answer)
}

/// Serves until the process ends.
///
/// # Errors
/// The listener is no good.
pub(crate) fn serve(listener: TcpListener, answer: Fallback) -> anyhow::Result<SocketAddr> {
    let address = listener.local_addr()?;
    tokio::spawn(accept(listener, answer));
    Ok(address)
}

async fn accept(listener: TcpListener, answer: Fallback) {
    // In the hands of this task and of its connections, none of which holds the lock across an await.
    let lobby = Arc::new(Mutex::new(Lobby::new(CONNECTIONS_MAX)));
    loop {
        let Ok((stream, peer)) = listener.accept().await else {
            // Out of file descriptors, mostly: give others time to close some.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let (visitor, sent_away) = enter(&lobby, peer.ip());
        if let Some(limit) = sent_away {
            ::metrics::counter!("ddp_edge_http_sent_away_total", "reason" => limit).increment(1);
        }
        let (lobby, answer) = (lobby.clone(), answer.clone());
        tokio::spawn(async move {
            let conversation = converse(stream, answer);
            visitor.sent_away().run_until_cancelled(conversation).await;
            lock(&lobby).leave(&visitor);
        });
    }
}

fn enter(lobby: &Mutex<Lobby>, peer: IpAddr) -> (Visitor, Option<&'static str>) {
    lock(lobby).enter(peer.to_canonical(), CONNECTIONS_MAX)
}

fn lock(lobby: &Mutex<Lobby>) -> MutexGuard<'_, Lobby> {
    // Whole after every statement in there.
    lobby.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn converse(stream: TcpStream, answer: Fallback) {
    let service = service_fn(|request| {
        let response = answer(request);
        async { Ok::<_, std::convert::Infallible>(response.await) }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    // A peer that goes away in the middle is its own affair.
    if tokio::time::timeout(LIFETIME, connection.as_mut())
        .await
        .is_err()
    {
        connection.as_mut().graceful_shutdown();
        drop(tokio::time::timeout(HEADER_TIMEOUT, connection).await);
    }
}

async fn listen(bind: Option<IpAddr>, port: u16) -> std::io::Result<TcpListener> {
    match bind {
        Some(address) => TcpListener::bind((address, port)).await,
        None => match TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)).await {
            Err(error) if error.kind() != std::io::ErrorKind::AddrInUse => {
                TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).await
            }
            result => result,
        },
    }
}

/// Whether the asker can read gzip and does not forbid it.
fn takes_gzip(headers: &HeaderMap) -> bool {
    let offers = headers.get_all(ACCEPT_ENCODING).iter();
    let mut offers = offers
        .filter_map(|offers| offers.to_str().ok())
        .flat_map(|offers| offers.split(','));
    offers.any(|offer| {
        let (name, weight) = offer.split_once(';').unwrap_or((offer, "q=1"));
        let weight = weight.trim().trim_start_matches(['q', 'Q', '=']);
        name.trim().eq_ignore_ascii_case("gzip") && weight.parse() != Ok(0.0)
    })
}

/// The same as [`response`] in a tenth of the bytes: metrics say the same words over and over.
fn compressed((status, content_type, body): Page) -> Response<Full<Bytes>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    let written = encoder
        .write_all(body.as_bytes())
        .and_then(|()| encoder.finish());
    let mut response = response((status, content_type, String::new()));
    *response.body_mut() = Full::new(Bytes::from(written.expect("a Vec takes every write")));
    let headers = response.headers_mut();
    headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    headers.insert(VARY, HeaderValue::from_static("accept-encoding"));
    response
}

/// A page as an answer.
pub(crate) fn response((status, content_type, body): Page) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use flate2::read::GzDecoder;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test]
    async fn a_long_page_comes_compressed_to_those_who_take_it() {
        let page = "a metric 1\n".repeat(1_000);
        let pages = {
            let page = page.clone();
            move |path: &str| {
                let body = if path == "/long" { &page } else { "ok" };
                Some((StatusCode::OK, "text/plain", body.to_owned()))
            }
        };
        let address = serve_pages(Some(Ipv4Addr::LOCALHOST.into()), 0, pages)
            .await
            .unwrap();
        for (path, takes, expected) in [
            ("/long", "gzip", true),
            ("/long", "deflate, GZip;q=0.5", true),
            ("/long", "gzip;q=0, identity", false),
            ("/long", "gzip; q=0.000", false),
            ("/long", "br", false),
            ("/short", "gzip", false),
        ] {
            let mut socket = TcpStream::connect(address).await.unwrap();
            let request = format!(
                "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAccept-Encoding: {takes}\r\n\r\n"
            );
            socket.write_all(request.as_bytes()).await.unwrap();
            let mut answer = Vec::new();
            socket.read_to_end(&mut answer).await.unwrap();
            let end = answer.windows(4).position(|at| at == b"\r\n\r\n").unwrap();
            let (head, body) = answer.split_at(end + 4);
            let head = String::from_utf8_lossy(head);
            assert_eq!(
                head.contains("content-encoding: gzip"),
                expected,
                "{takes}: {head}"
            );
            if expected {
                let mut text = String::new();
                GzDecoder::new(body).read_to_string(&mut text).unwrap();
                assert_eq!(text, page);
            }
        }
    }
}
