//! The small HTTP servers beside the gateway's own: health of the satellites, metrics of every role.

use std::{
    collections::VecDeque,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use anyhow::Context as _;
use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode, body::Incoming, header::CONTENT_TYPE,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    task::AbortHandle,
};

/// Scrapers and probes; more at once is somebody else, and the oldest goes so that a probe always gets in.
const CONNECTIONS_MAX: usize = 64;

/// What one server answers: path to status, content type and body; `None` is 404.
pub(crate) type Pages =
    Arc<dyn Fn(&str) -> Option<(StatusCode, &'static str, String)> + Send + Sync>;

/// Binds now, so that a port in use ends the start, and serves until the process ends.
///
/// # Errors
/// The port is in use, or the address is not ours.
pub(crate) async fn serve(
    bind: Option<IpAddr>,
    port: u16,
    pages: Pages,
) -> anyhow::Result<SocketAddr> {
    let listener = listen(bind, port)
        .await
        .with_context(|| format!("cannot listen on port {port}"))?;
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
            let connection = tokio::spawn(converse(stream, pages.clone()));
            connections.push_back(connection.abort_handle());
        }
    });
    Ok(address)
}

async fn converse(stream: TcpStream, pages: Pages) {
    let service = service_fn(|request: Request<Incoming>| {
        let response = answer(&request, &pages);
        async { Ok::<_, std::convert::Infallible>(response) }
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

fn answer(request: &Request<Incoming>, pages: &Pages) -> Response<Full<Bytes>> {
    let path = request.uri().path().trim_end_matches('/');
    let page = (request.method() == Method::GET || request.method() == Method::HEAD)
        .then(|| pages(path))
        .flatten();
    let (status, content_type, body) =
        page.unwrap_or_else(|| (StatusCode::NOT_FOUND, "text/plain", "Not Found".to_owned()));
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(
        CONTENT_TYPE,
        hyper::header::HeaderValue::from_static(content_type),
    );
    response
}
