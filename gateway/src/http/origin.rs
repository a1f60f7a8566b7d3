//! Which pages may talk to us.

use std::net::IpAddr;

use hyper::{
    HeaderMap,
    header::{self, HeaderName},
    http::uri::Authority,
};

use crate::config::Origins;

/// Whether a request with these headers may be answered by a server on this port.
pub(super) fn allowed(origins: &Origins, headers: &HeaderMap, port: u16) -> bool {
    let origin = single(headers, header::ORIGIN);
    match origins {
        Origins::Any => true,
        Origins::List(allowed) => match origin {
            Ok(None) => true,
            Ok(Some(origin)) => allowed
                .iter()
                .any(|allowed| allowed.eq_ignore_ascii_case(origin)),
            Err(Ambiguous) => false,
        },
        // Without the check of Host a page could point a name of its own at our address (DNS rebinding).
        Origins::Loopback => {
            let host = single(headers, header::HOST);
            let host = host.is_ok_and(|host| host.is_some_and(|host| is_loopback(host, port)));
            let origin = match origin {
                Ok(None) => true,
                Ok(Some(origin)) => origin
                    .strip_prefix("http://")
                    .is_some_and(|host| is_loopback(host, port)),
                Err(Ambiguous) => false,
            };
            host && origin
        }
    }
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

fn is_loopback(host: &str, port: u16) -> bool {
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
    loopback && authority.port_u16().unwrap_or(80) == port && !host.contains('@')
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
        allowed(origins, &headers, 3000)
    }

    #[test]
    fn the_sandbox_talks_to_its_own_pages_only() {
        let check = |host, origin| check(&Origins::Loopback, host, origin);
        assert!(check("localhost:3000", None));
        assert!(check("127.0.0.1:3000", Some("http://127.0.0.1:3000")));
        assert!(check("[::1]:3000", Some("http://localhost:3000")));
        for host in [
            "localhost",
            "localhost:3001",
            "evil.example:3000",
            "localhost.evil.example:3000",
            "a@localhost:3000",
        ] {
            assert!(!check(host, None), "{host}");
        }
        for origin in [
            "null",
            "http://localhost:8080",
            "https://localhost:3000",
            "http://evil.example:3000",
            "",
        ] {
            assert!(!check("localhost:3000", Some(origin)), "{origin}");
        }
    }

    #[test]
    fn a_second_origin_or_host_is_refused() {
        let mut headers = HeaderMap::new();
        headers.append(header::HOST, "localhost:3000".parse().unwrap());
        headers.append(header::HOST, "localhost:3000".parse().unwrap());
        assert!(!allowed(&Origins::Loopback, &headers, 3000));
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
