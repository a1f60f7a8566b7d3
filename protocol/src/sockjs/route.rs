//! URL path to what is asked for (`design.md` 5).

/// What a request path names, whether or not the request is an upgrade. A prefix is accepted before all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// `/websocket` without a `sockjs` segment before it, or exactly `/sockjs/websocket` at the end: raw DDP.
    RawWebSocket,
    /// `/sockjs/<server>/<session>/websocket`: DDP in SockJS framing.
    SockJsWebSocket,
    /// `/sockjs` and `/sockjs/`.
    SockJsGreeting,
    /// `/sockjs/info`.
    SockJsInfo,
    /// Anything else below `/sockjs`: iframe page, other transports, nonsense.
    SockJsOther,
    /// Not ours.
    Other,
}

/// The route of a request path; a query behind it is ignored.
pub fn route(path: &str) -> Route {
    let _ = path;
    todo!()
}
