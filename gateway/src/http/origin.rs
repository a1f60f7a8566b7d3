//! Which pages may talk to us.

use std::net::IpAddr;

use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    HeaderMap, Method, Request, Response, StatusCode,
    header::{self, HeaderName, HeaderValue},
    http::uri::Authority,
};

use crate::config::Origins;

type Answer = Response<Full<Bytes>>;

/// Whether a request with these headers may be answered.
pub(super) fn allowed(origins: &Origins, headers: &HeaderMap) -> bool {
    let origin = single(headers, header::ORIGIN);
    match origins {
        Origins::Any => true,
        Origins::List(allowed) => match origin {
            Ok(None) => true,
            Ok(Some(origin)) => is_listed(allowed, origin),
            Err(Ambiguous) => false,
        },
        // Without the check of Host a page could point a name of its own at our address (DNS rebinding).
        Origins::Loopback(also) => {
            let host = single(headers, header::HOST).ok().flatten();
            let host = host.is_some_and(|host| is_loopback(host) || is_host_of(also, host));
            let origin = match origin {
                Ok(None) => true,
                Ok(Some(origin)) => {
                    without_scheme(origin).is_some_and(is_loopback) || is_listed(also, origin)
                }
                Err(Ambiguous) => false,
            };
            host && origin
        }
    }
}

/// The page that may read what the sandbox answers: one of another origin, perhaps, that is [allowed].
pub(super) fn reader(origins: &Origins, headers: &HeaderMap) -> Option<HeaderValue> {
    let is_sandbox = matches!(origins, Origins::Loopback(_));
    (is_sandbox && allowed(origins, headers))
        .then(|| headers.get(header::ORIGIN).cloned())
        .flatten()
}

/// Lets a browser give the answer to that page.
pub(super) fn let_read(answer: &mut Answer, page: HeaderValue) {
    let headers = answer.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, page);
    headers.insert(
        header::ACCESS_CONTROL_ALLOW_CREDENTIALS,
        HeaderValue::from_static("true"),
    );
    headers.insert(header::VARY, HeaderValue::from_static("Origin"));
}

/// What a browser asks before it lets a page of another origin send more than a form could: an allowed page may send
/// all that it asks for.
pub(super) fn preflight<B>(origins: &Origins, request: &Request<B>) -> Option<Answer> {
    let asked = request
        .headers()
        .get(header::ACCESS_CONTROL_REQUEST_METHOD)?;
    if request.method() != Method::OPTIONS || !matches!(origins, Origins::Loopback(_)) {
        return None;
    }
    let mut answer = Response::new(Full::default());
    *answer.status_mut() = StatusCode::NO_CONTENT;
    let headers = answer.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, asked.clone());
    if let Some(names) = request
        .headers()
        .get(header::ACCESS_CONTROL_REQUEST_HEADERS)
    {
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, names.clone());
    }
    Some(answer)
}

/// A header that is there twice, or is no text.
struct Ambiguous;

fn single(headers: &HeaderMap, name: HeaderName) -> Result<Option<&str>, Ambiguous> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => value.to_str().map(Some).map_err(|_| Ambiguous),
        (Some(_), Some(_)) => Err(Ambiguous),
    }
}

fn is_loopback(host: &str) -> bool {
    let Ok(authority) = host.parse::<Authority>() else {
        return false;
    };
    let name = authority.host();
    let address = name
        .strip_prefix('[')
        .and_then(|name| name.strip_suffix(']'))
        .unwrap_or(name);
    let loopback = name.eq_ignore_ascii_case("localhost")
        || address.parse().is_ok_and(|ip: IpAddr| ip.is_loopback());
    // Around the name stand a port or nothing at all: not `localhost:80.evil.example`, no user.
    let has_good_port = host == name || authority.port_u16().is_some();
    loopback && has_good_port && !host.contains('@')
}

fn without_scheme(origin: &str) -> Option<&str> {
    origin
        .strip_prefix("http://")
        .or_else(|| origin.strip_prefix("https://"))
}

fn is_listed(list: &[String], origin: &str) -> bool {
    list.iter()
        .any(|listed| listed.eq_ignore_ascii_case(origin))
}

/// Whether one of these origins is served under this `Host`.
fn is_host_of(list: &[String], host: &str) -> bool {
    list.iter()
        .filter_map(|listed| without_scheme(listed))
        .any(|listed| listed.eq_ignore_ascii_case(host))
}

#[cfg(test)]
mod tests {
    use hyper::{HeaderMap, header};

    use super::allowed;
    use crate::config::Origins;

    fn check(origins: &Origins, host: &str, origin: Option<&str>) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, host.parse().unwrap());
        if let Some(origin) = origin {
            headers.insert(header::ORIGIN, origin.parse().unwrap());
        }
        allowed(origins, &headers)
    }

    #[test]
    fn the_sandbox_talks_to_loopback_pages_only() {
        let check = |host, origin| check(&Origins::Loopback(vec![]), host, origin);
        assert!(check("localhost:3000", None));
        assert!(check("127.0.0.1:3000", Some("http://127.0.0.1:3000")));
        assert!(check("[::1]:3000", Some("http://localhost:3000")));
        // Another end of a tunnel, a development server.
        assert!(check("localhost:8080", Some("http://localhost:5173")));
        assert!(check("localhost", Some("https://[::1]:5173")));
        for host in [
            "evil.example:3000",
            "localhost.evil.example:3000",
            "localhost:3000.evil.example",
            "localhost:",
            "127.0.0.1.evil.example",
            "a@localhost:3000",
            "192.168.1.2:3000",
        ] {
            assert!(!check(host, None), "{host}");
        }
        for origin in [
            "null",
            "localhost:3000",
            "file://localhost",
            "http://evil.example:3000",
            "http://localhost.evil.example",
            "http://localhost:3000.evil.example",
            "http://evil.example@localhost",
            "",
        ] {
            assert!(!check("localhost:3000", Some(origin)), "{origin}");
        }
    }

    #[test]
    fn the_sandbox_talks_to_named_pages_under_their_host_and_on_loopback() {
        let named = Origins::Loopback(vec!["http://192.168.1.2:3000".into()]);
        let check = |host, origin| check(&named, host, origin);
        assert!(check("192.168.1.2:3000", Some("http://192.168.1.2:3000")));
        assert!(check("192.168.1.2:3000", None));
        assert!(check("localhost:3000", Some("http://192.168.1.2:3000")));
        assert!(!check("192.168.1.2:3001", None));
        assert!(!check("localhost:3000", Some("http://192.168.1.2:3001")));
    }

    #[test]
    fn a_second_origin_or_host_is_refused() {
        let mut headers = HeaderMap::new();
        headers.append(header::HOST, "localhost:3000".parse().unwrap());
        headers.append(header::HOST, "localhost:3000".parse().unwrap());
        assert!(!allowed(&Origins::Loopback(vec![]), &headers));
    }

    #[test]
    fn a_list_is_exact_and_other_programs_need_no_origin() {
        let list = Origins::List(vec!["https://chat.example.org".into()]);
        assert!(check(&list, "x", None));
        assert!(check(&list, "x", Some("https://chat.example.org")));
        assert!(!check(
            &list,
            "x",
            Some("https://chat.example.org.evil.example")
        ));
        assert!(check(&Origins::Any, "x", Some("null")));
    }
}
