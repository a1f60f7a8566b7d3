//! The small HTTP servers beside the gateway's own: health of the satellites, metrics and the admin port of every role.

use std::{
    future::ready,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::Context as _;
use bytes::Bytes;
use gateway::{Fallback, Lobby, Visitor};
use http_body_util::Full;
use hyper::{Method, Response, StatusCode, header::CONTENT_TYPE, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};

/// Scrapers and probes; more at once is somebody else, and the oldest of the address that has the most goes, so that a
/// probe always gets in.
const CONNECTIONS_MAX: usize = 64;
/// Time that a request's header may take, and that a connection may last, whatever it asks: a scraper makes another one.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
const LIFETIME: Duration = Duration::from_secs(300);

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
        Box::pin(ready(response(page))) as _
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

/// A page as an answer.
pub(crate) fn response((status, content_type, body): Page) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(
        CONTENT_TYPE,
        hyper::header::HeaderValue::from_static(content_type),
    );
    response
}
