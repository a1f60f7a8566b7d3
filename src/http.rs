//! The small HTTP servers beside the gateway's own: health of the satellites, metrics and the admin port of every role.

use std::{
    collections::VecDeque,
    future::ready,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use anyhow::Context as _;
use bytes::Bytes;
use gateway::Fallback;
use http_body_util::Full;
use hyper::{Method, Response, StatusCode, header::CONTENT_TYPE, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    task::AbortHandle,
};

/// Scrapers and probes; more at once is somebody else, and the oldest goes so that a probe always gets in.
const CONNECTIONS_MAX: usize = 64;

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
    tokio::spawn(async move {
        let mut connections: VecDeque<AbortHandle> = VecDeque::new();
        loop {
            let Ok((stream, _)) = listener.accept().await else {
                // Out of file descriptors, mostly: give others time to close some.
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            };
            connections.retain(|connection| !connection.is_finished());
            if connections.len() == CONNECTIONS_MAX
                && let Some(oldest) = connections.pop_front()
            {
                oldest.abort();
            }
            let connection = tokio::spawn(converse(stream, answer.clone()));
            connections.push_back(connection.abort_handle());
        }
    });
    Ok(address)
}

async fn converse(stream: TcpStream, answer: Fallback) {
    let service = service_fn(|request| {
        let response = answer(request);
        async { Ok::<_, std::convert::Infallible>(response.await) }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_secs(10))
        .serve_connection(TokioIo::new(stream), service);
    // A peer that goes away in the middle is its own affair.
    drop(connection.await);
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
