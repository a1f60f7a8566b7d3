//! HTTP on a shard: from the first byte of a socket to its session, or to a plain answer (design.md 5).

use std::{cell::RefCell, convert::Infallible, net::IpAddr, rc::Rc};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    HeaderMap, Method, Request, Response, StatusCode, Version,
    body::Incoming,
    header::{self, HeaderValue},
    service::service_fn,
    upgrade::OnUpgrade,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use protocol::{
    sockjs::{self, Framing, Route},
    ws::{self, HandshakeError},
};
use tokio::net::TcpStream;

use crate::{
    admission::{Accepted, Seat},
    io::Io,
    metrics,
    readiness::Readiness,
    shard::{Arrival, Shard},
};

mod client;
mod forwarded;
mod origin;
mod proxy;

type Answer = Response<Full<Bytes>>;

/// A connection may speak HTTP for so many header timeouts; then it ends behind the answer that is under way. Without
/// this a client that asks and does not read would keep its place for ever.
const HTTP_TIMEOUTS: u32 = 6;
/// hyper's own lower bound for its buffer.
const HEADER_BYTES_MIN: usize = 8_192;
/// Seconds after which a refused client is welcome to try again.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("5");

/// Serves what the acceptor hands to this shard, for as long as the shard's thread runs.
pub(crate) async fn run(shard: Rc<Shard>) {
    let accepted = &shard.shared.accepted[usize::from(shard.index)];
    let mut batch = Vec::new();
    loop {
        accepted.wait().await;
        accepted.take(&mut batch);
        for Accepted { stream, peer, seat } in batch.drain(..) {
            tokio::task::spawn_local(serve(shard.clone(), stream, peer, seat));
        }
    }
}

/// Serves one accepted socket until it is upgraded or closed.
async fn serve(shard: Rc<Shard>, stream: std::net::TcpStream, mut peer: IpAddr, mut seat: Seat) {
    // Fails only without a reactor or for a bad socket.
    let Ok(mut stream) = TcpStream::from_std(stream) else {
        return;
    };
    let config = &shard.shared.config;
    if config.proxy_protocol && config.is_proxy(peer) {
        let header = tokio::time::timeout(config.header_timeout, proxy::source(&mut stream));
        match seat.sent_away().run_until_cancelled(header).await {
            Some(Ok(Ok(Some(client)))) => {
                peer = client;
                seat.came_from(client);
            }
            // The proxy has come for itself: to see whether we are there.
            Some(Ok(Ok(None))) => {}
            Some(Ok(Err(_)) | Err(_)) => return metrics::refused("proxy_header"),
            None => return,
        }
    }
    let mut builder = hyper::server::conn::http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(config.header_timeout)
        .max_buf_size(config.header_bytes.max(HEADER_BYTES_MIN));
    let sent_away = seat.sent_away();
    let seat = Rc::new(RefCell::new(Some(seat)));
    let service = service_fn(|request| {
        let (shard, seat) = (shard.clone(), seat.clone());
        async move {
            let head = request.method() == Method::HEAD;
            let page = origin::reader(&shard.shared.config.origins, request.headers());
            let mut answer = respond(shard, request, peer, &seat).await;
            if let Some(page) = page {
                origin::let_read(&mut answer, page);
            }
            if head {
                *answer.body_mut() = Full::default();
            }
            Ok::<_, Infallible>(answer)
        }
    });
    let connection = builder
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut connection = std::pin::pin!(connection);
    let lifetime = config.header_timeout * HTTP_TIMEOUTS;
    let served = async {
        let mut outcome = tokio::time::timeout(lifetime, connection.as_mut()).await;
        if outcome.is_err() {
            connection.as_mut().graceful_shutdown();
            outcome = tokio::time::timeout(config.header_timeout, connection).await;
        }
        outcome
    };
    // Who has become a websocket has left hyper, and the lobby.
    let Some(outcome) = sent_away.run_until_cancelled(served).await else {
        return;
    };
    let Ok(outcome) = outcome else {
        metrics::refused("http_timeout");
        return;
    };
    if let Err(error) = outcome {
        if error.is_timeout() {
            metrics::refused("header_timeout");
        } else if error.is_parse_too_large() {
            metrics::refused("header_bytes");
        }
        tracing::debug!(%error, "http connection ends");
    }
}

async fn respond(
    shard: Rc<Shard>,
    mut request: Request<Incoming>,
    peer: IpAddr,
    seat: &RefCell<Option<Seat>>,
) -> Answer {
    let shared = &shard.shared;
    let path = request.uri().path();
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    match path.strip_suffix('/').unwrap_or(path) {
        _ if wants_websocket(request.headers()) => {}
        "/health" | "/livez" if reads => return alive(shared.is_alive()),
        "/readyz" if reads => return ready(&shared.readiness),
        _ => {}
    }
    if !origin::allowed(&shared.config.origins, request.headers()) {
        metrics::refused("origin");
        return text(StatusCode::FORBIDDEN, "Origin not allowed");
    }
    if let Some(answer) = origin::preflight(&shared.config.origins, &request) {
        return answer;
    }
    let route = sockjs::route(path);
    let framing = match route {
        Route::RawWebSocket => Framing::Raw,
        Route::SockJsWebSocket => Framing::SockJs,
        #[cfg(feature = "echo")]
        Route::Other if path == "/echo/websocket" => Framing::Raw,
        _ if wants_websocket(request.headers()) => return not_found(),
        Route::SockJsGreeting if reads => return text(StatusCode::OK, sockjs::GREETING),
        Route::SockJsInfo if reads => return info(request.headers()),
        Route::Other => match &shared.fallback {
            Some(fallback) => return fallback(request).await,
            None if reads && path == "/" => return info(request.headers()),
            None => return not_found(),
        },
        _ => return not_found(),
    };
    // Only a GET becomes a websocket; a HEAD is told what a GET without a handshake is told, and so is a proxy of HTTP/1.0.
    if *request.method() == Method::HEAD || request.version() < Version::HTTP_11 {
        return bad_handshake(HandshakeError::Upgrade, framing);
    }
    match upgrade(&shard, &mut request, peer, framing, seat).await {
        Ok(answer) | Err(answer) => answer,
    }
}

/// Answers a handshake and spawns what becomes of the socket.
async fn upgrade(
    shard: &Rc<Shard>,
    request: &mut Request<Incoming>,
    peer: IpAddr,
    framing: Framing,
    seat: &RefCell<Option<Seat>>,
) -> Result<Answer, Answer> {
    let shared = &shard.shared;
    let headers = request
        .headers()
        .iter()
        .filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)));
    let accepted = ws::handshake(request.method().as_str(), headers)
        .map_err(|error| bad_handshake(error, framing))?;
    if let Some(reason) = shared.refuses() {
        return Err(unavailable(reason));
    }
    let address = client::address(request.headers(), peer, &shared.config);
    forwarded::Seen::of(request.headers(), address, &shared.config).tell();
    // Limits must know somebody to count for: where the proxies do not say whom, it is they.
    let source = address.unwrap_or(peer);
    // A second request on the same connection, pipelined behind an upgrade, finds no seat.
    let Some(mut seat) = seat.borrow_mut().take() else {
        return Err(not_found());
    };
    let admitted = match seat.upgrade(source) {
        Ok(()) => shared.admission.handshake(source).await,
        Err(refusal) => Err(refusal),
    };
    // A refused socket is closed with its answer, so its seat may go before.
    admitted.map_err(|refusal| unavailable(refusal.label()))?;
    let arrival = Arrival {
        framing,
        address,
        source,
        headers: client::headers(request.headers(), shared.config.broadcast_secret_headers),
        #[cfg(feature = "echo")]
        echo: request.uri().path() == "/echo/websocket",
    };
    let upgrade = hyper::upgrade::on(request);
    tokio::task::spawn_local(open(shard.clone(), upgrade, arrival, seat));
    Ok(switching(accepted))
}

/// Takes the socket, and what came behind the request, from hyper: its buffers and its future end here.
async fn open(shard: Rc<Shard>, upgrade: OnUpgrade, arrival: Arrival, seat: Seat) {
    // The peer has gone before it had our answer.
    let Ok(upgraded) = upgrade.await else { return };
    let Ok(parts) = upgraded.downcast::<TokioIo<TcpStream>>() else {
        return;
    };
    shard.open(
        Io::Plain(parts.io.into_inner()),
        parts.read_buf,
        arrival,
        seat,
    );
}

fn switching(accepted: ws::Accepted) -> Answer {
    let mut answer = Response::new(Full::default());
    *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = answer.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    insert(headers, header::SEC_WEBSOCKET_ACCEPT, &accepted.accept);
    if let Some(subprotocol) = &accepted.subprotocol {
        insert(headers, header::SEC_WEBSOCKET_PROTOCOL, subprotocol);
    }
    answer
}

fn insert(headers: &mut HeaderMap, name: header::HeaderName, value: &str) {
    // It came out of a header, or is base64: it fits into one.
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

fn bad_handshake(error: HandshakeError, framing: Framing) -> Answer {
    let status = StatusCode::from_u16(error.status()).unwrap_or(StatusCode::BAD_REQUEST);
    let body = match (error, framing) {
        (HandshakeError::Method, _) => "",
        (HandshakeError::Upgrade, Framing::SockJs) => r#"Can "Upgrade" only to "WebSocket"."#,
        (HandshakeError::Connection, Framing::SockJs) => r#""Connection" must be "Upgrade"."#,
        _ => "Not a valid websocket request",
    };
    let mut answer = text(status, body);
    match error {
        HandshakeError::Method => {
            let headers = answer.headers_mut();
            headers.insert(header::ALLOW, HeaderValue::from_static("GET"));
            headers.remove(header::CONTENT_TYPE);
        }
        HandshakeError::Version => {
            answer.headers_mut().insert(
                header::SEC_WEBSOCKET_VERSION,
                HeaderValue::from_static("13, 8"),
            );
        }
        _ => {}
    }
    answer
}

/// 503 with the time to come back; the connection is closed behind it.
fn unavailable(reason: &'static str) -> Answer {
    metrics::refused(reason);
    let mut answer = text(StatusCode::SERVICE_UNAVAILABLE, reason);
    answer
        .headers_mut()
        .insert(header::RETRY_AFTER, RETRY_AFTER);
    answer
        .headers_mut()
        .insert(header::CONNECTION, HeaderValue::from_static("close"));
    answer
}

fn alive(alive: bool) -> Answer {
    if alive {
        text(StatusCode::OK, "ok")
    } else {
        text(StatusCode::INTERNAL_SERVER_ERROR, "not healthy")
    }
}

fn ready(readiness: &Readiness) -> Answer {
    let status = if readiness.is_ready() {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    json(status, readiness.to_json())
}

/// Whether a websocket is asked for. Other offers (h2c, TLS) may be ignored, RFC 9110 7.8, and are.
fn wants_websocket(headers: &HeaderMap) -> bool {
    let offers = headers.get_all(header::UPGRADE).iter();
    let offers = offers.filter_map(|value| value.to_str().ok());
    offers
        .flat_map(|value| value.split(','))
        .any(|offer| offer.trim().eq_ignore_ascii_case("websocket"))
}

/// SockJS info. A page of another site sends its cookies along, so its browser wants to see its own name in the answer; that
/// it may ask has been found out before.
fn info(asked: &HeaderMap) -> Answer {
    let mut entropy = [0; 4];
    getrandom::fill(&mut entropy).expect("the system has random numbers");
    let mut answer = json(
        StatusCode::OK,
        sockjs::info_body(u32::from_ne_bytes(entropy)),
    );
    let headers = answer.headers_mut();
    headers.insert(header::VARY, HeaderValue::from_static("Origin"));
    // A sandboxed frame is called `null`, whoever made it; without a name nobody asks.
    let origin = asked
        .get(header::ORIGIN)
        .filter(|origin| *origin != "null" && !origin.is_empty());
    let any = HeaderValue::from_static("*");
    headers.insert(
        header::ACCESS_CONTROL_ALLOW_ORIGIN,
        origin.cloned().unwrap_or(any),
    );
    if origin.is_some() {
        headers.insert(
            header::ACCESS_CONTROL_ALLOW_CREDENTIALS,
            HeaderValue::from_static("true"),
        );
    }
    headers.insert(
        header::CACHE_CONTROL,
        HeaderValue::from_static("no-store, no-cache, no-transform, must-revalidate, max-age=0"),
    );
    answer
}

fn not_found() -> Answer {
    text(StatusCode::NOT_FOUND, "Not Found")
}

fn text(status: StatusCode, body: &'static str) -> Answer {
    with_type(status, "text/plain; charset=UTF-8", body.into())
}

fn json(status: StatusCode, body: String) -> Answer {
    with_type(status, "application/json", body.into())
}

fn with_type(status: StatusCode, content_type: &'static str, body: Bytes) -> Answer {
    let mut answer = Response::new(Full::new(body));
    *answer.status_mut() = status;
    answer
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    answer
}
