//! URL path to what is asked for (`design.md` 5).

/// What a request path names, whether or not the request is an upgrade. A prefix is accepted before all of them, a slash
/// behind all of them.
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
    let path = path.split_once('?').map_or(path, |(path, _)| path);
    let Some(path) = path.strip_prefix('/') else {
        return Route::Other;
    };
    let path = path.strip_suffix('/').unwrap_or(path);
    let below_sockjs = path.split('/').any(|segment| segment == "sockjs");

    let mut last_first = path.rsplit('/');
    match [
        last_first.next(),
        last_first.next(),
        last_first.next(),
        last_first.next(),
    ] {
        [Some("websocket"), Some("sockjs"), ..] => Route::RawWebSocket,
        [Some("websocket"), ..] if !below_sockjs => Route::RawWebSocket,
        [
            Some("websocket"),
            Some(session),
            Some(server),
            Some("sockjs"),
        ] if is_id(session) && is_id(server) => Route::SockJsWebSocket,
        [Some("sockjs"), ..] => Route::SockJsGreeting,
        [Some("info"), Some("sockjs"), ..] => Route::SockJsInfo,
        _ if below_sockjs => Route::SockJsOther,
        _ => Route::Other,
    }
}

/// Server and session ids are free but for this (`conformance.md` 1.5, SessionURLs).
fn is_id(segment: &str) -> bool {
    !segment.is_empty() && !segment.contains('.')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(expected: Route, paths: &[&str]) {
        for path in paths {
            assert_eq!(route(path), expected, "{path}");
        }
    }

    #[test]
    fn raw_websockets() {
        check(
            Route::RawWebSocket,
            &[
                "/websocket",
                "/websocket/",
                "/websocket?x=1",
                "/websocket/?x=/sockjs/a",
                "/chat/websocket",
                "/a/b/c/websocket",
            ],
        );
        check(
            Route::RawWebSocket,
            &[
                "/sockjs/websocket",
                "/sockjs/websocket/",
                "/chat/sockjs/websocket?x",
            ],
        );
    }

    #[test]
    fn sockjs_websockets() {
        check(
            Route::SockJsWebSocket,
            &[
                "/sockjs/000/abcdefgh/websocket",
                "/sockjs/%20/a%20b/websocket",
                "/chat/sockjs/1/s/websocket/?t=1",
            ],
        );
    }

    #[test]
    fn ids_have_no_dot_and_are_not_empty() {
        check(
            Route::SockJsOther,
            &[
                "/sockjs/a.b/c/websocket",
                "/sockjs/a/b.c/websocket",
                "/sockjs//b/websocket",
                "/sockjs/a//websocket",
            ],
        );
        check(
            Route::SockJsOther,
            &["/sockjs/a/websocket", "/sockjs/a/b/c/websocket"],
        );
    }

    #[test]
    fn pages() {
        check(
            Route::SockJsGreeting,
            &["/sockjs", "/sockjs/", "/chat/sockjs"],
        );
        check(
            Route::SockJsInfo,
            &[
                "/sockjs/info",
                "/sockjs/info?t=1700000000000",
                "/chat/sockjs/info",
            ],
        );
    }

    #[test]
    fn everything_else() {
        check(
            Route::SockJsOther,
            &[
                "/sockjs//",
                "/sockjs///",
                "/sockjs/a",
                "/sockjs/iframe.html",
                "/sockjs/1/a/xhr",
                "/sockjs/infos",
            ],
        );
        check(
            Route::Other,
            &[
                "",
                "/",
                "//",
                "*",
                "websocket",
                "/health",
                "/websockets",
                "/websocket//",
                "/asockjs/info",
            ],
        );
    }
}
