//! The admin port: who is connected, kick, shed, drain, log level, configuration, metrics. Off unless configured; every
//! request carries the token of a file, which is read again each time so that it can be replaced.

use std::{fs, net::SocketAddr, path::PathBuf, sync::Arc};

use anyhow::Context as _;
use backplane::Bus;
use gateway::admin::{Admin, Client, Filter};
use hyper::{
    Method, Request, StatusCode,
    body::Incoming,
    header::{AUTHORIZATION, HeaderValue},
};
use protocol::ddp::encode::push_string;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{
    http::{self, Page},
    log,
    metrics::{CONTENT_TYPE, Metrics},
    role::Role,
};

/// Where it listens, and the file that holds the token.
#[derive(Clone)]
pub(crate) struct Listen {
    pub(crate) address: SocketAddr,
    pub(crate) token_file: PathBuf,
}

/// What it shows and moves.
pub(crate) struct Panel {
    pub(crate) role: Role,
    pub(crate) bus: Bus,
    pub(crate) metrics: Metrics,
    /// `None`: this role has no clients.
    pub(crate) gateway: Option<Admin>,
    /// The effective configuration, without secrets.
    pub(crate) config: Arc<[String]>,
    pub(crate) level: log::Level,
    /// Ends the role as a signal would.
    pub(crate) drain: CancellationToken,
}

/// Binds now, so that a port in use ends the start, and serves until the process ends.
///
/// # Errors
/// The port is in use, or the address is not ours.
pub(crate) async fn serve(listen: &Listen, panel: Panel) -> anyhow::Result<()> {
    let listener = TcpListener::bind(listen.address)
        .await
        .with_context(|| format!("cannot listen on {}", listen.address))?;
    let (panel, token_file) = (Arc::new(panel), listen.token_file.clone());
    let answer =
        Arc::new(move |request: Request<Incoming>| {
            let (panel, token) = (panel.clone(), token(&token_file));
            Box::pin(async move {
                let page = if is_allowed(&request, token.as_deref()) {
                    panel.answer(&request).await
                } else {
                    Err((StatusCode::UNAUTHORIZED, "a bearer token is needed"))
                };
                http::response(page.unwrap_or_else(|(status, why)| {
                    (status, JSON, format!("{{\"error\":\"{why}\"}}"))
                }))
            }) as _
        });
    let address = http::serve(listener, answer)?;
    tracing::info!(%address, "the admin port listens");
    Ok(())
}

/// What the file holds; shorter ones could be guessed.
pub(crate) fn token(file: &PathBuf) -> Option<String> {
    let text = fs::read_to_string(file).ok()?;
    let token = text.trim();
    (TOKEN_MIN..=TOKEN_MAX)
        .contains(&token.len())
        .then(|| token.to_owned())
}

/// Without an early end, so that time tells nothing.
fn is_allowed(request: &Request<Incoming>, token: Option<&str>) -> bool {
    let header = request
        .headers()
        .get(AUTHORIZATION)
        .map(HeaderValue::as_bytes);
    let given = header.and_then(|header| header.strip_prefix(b"Bearer "));
    let (Some(given), Some(token)) = (given, token.map(str::as_bytes)) else {
        return false;
    };
    let differences = given.iter().zip(token).fold(0, |all, (a, b)| all | (a ^ b));
    given.len() == token.len() && differences == 0
}

type Answer = Result<Page, (StatusCode, &'static str)>;

impl Panel {
    async fn answer(&self, request: &Request<Incoming>) -> Answer {
        let query = Query(request.uri().query().unwrap_or_default());
        let path = request.uri().path();
        match (request.method(), path) {
            (&Method::GET, "/connections") => self.connections(&query).await,
            (&Method::GET, "/stats") => Ok(json(self.stats())),
            (&Method::GET, "/metrics") => {
                Ok((StatusCode::OK, CONTENT_TYPE, self.metrics.render(&self.bus)))
            }
            (&Method::GET, "/config") => {
                Ok((StatusCode::OK, "text/plain", self.config.join("\n") + "\n"))
            }
            (&Method::GET, "/log-level") => {
                Ok(json(format!("{{\"level\":\"{}\"}}", self.level.now())))
            }
            (&Method::POST, "/log-level") => {
                let level = query.get("to").unwrap_or_default();
                if !self.level.set(&level) {
                    return Err((
                        StatusCode::BAD_REQUEST,
                        "to is error, warn, info, debug or trace",
                    ));
                }
                tracing::info!(level, "an operator has set the log level");
                Ok(json(format!("{{\"level\":\"{level}\"}}")))
            }
            (&Method::POST, "/kick") => {
                let filter = filter(&query)?;
                if filter.is_empty() {
                    return Err((StatusCode::BAD_REQUEST, "name a user, an address or a room"));
                }
                let count = self.gateway()?.kick(&filter).await;
                Ok(json(format!("{{\"kicked\":{count}}}")))
            }
            (&Method::POST, "/shed") => {
                let keep = query.get("to").and_then(|to| to.parse().ok());
                let keep = keep.ok_or((StatusCode::BAD_REQUEST, "to is the number that stays"))?;
                let count = self.gateway()?.shed(keep).await;
                Ok(json(format!("{{\"shed\":{count}}}")))
            }
            (&Method::POST, "/drain") => {
                tracing::info!("an operator drains this process");
                self.drain.cancel();
                Ok((StatusCode::ACCEPTED, JSON, "{\"draining\":true}".to_owned()))
            }
            (_, known) if PATHS.contains(&known) => {
                Err((StatusCode::METHOD_NOT_ALLOWED, "GET reads, POST orders"))
            }
            _ => Err((StatusCode::NOT_FOUND, "no such page")),
        }
    }

    fn gateway(&self) -> Result<&Admin, (StatusCode, &'static str)> {
        let none = (StatusCode::NOT_FOUND, "this role has no clients");
        self.gateway.as_ref().ok_or(none)
    }

    async fn connections(&self, query: &Query<'_>) -> Answer {
        let filter = filter(query)?;
        let limit = match query.get("limit").map(|text| text.parse()) {
            None => LIMIT,
            Some(Ok(limit)) => usize::min(limit, LIMIT_MAX),
            Some(Err(_)) => return Err((StatusCode::BAD_REQUEST, "limit is a number")),
        };
        let (count, clients) = self.gateway()?.connections(&filter, limit).await;
        let clients: Vec<_> = clients.iter().map(client).collect();
        Ok(json(format!(
            "{{\"count\":{count},\"connections\":[{}]}}",
            clients.join(",")
        )))
    }

    fn stats(&self) -> String {
        let (status, stats) = (self.bus.status(), self.bus.stats());
        let (known, online) = self.bus.node_count();
        let sockets = self.gateway.as_ref().map_or(0, Admin::websockets);
        let mut text = String::from("{\"node\":");
        push_string(&mut text, self.bus.node_id());
        text + &format!(
            ",\"version\":\"{}\",\"role\":\"{}\",\"sockets\":{sockets},\"bus\":{{\"connected\":{},\"announced\":{},\"nodes\":{known},\"online\":{online},\"calls\":{}}},\"draining\":{}}}",
            env!("CARGO_PKG_VERSION"),
            self.role.name(),
            status.connected,
            status.announced,
            stats.calls_pending,
            self.drain.is_cancelled(),
        )
    }
}

fn client(client: &Client) -> String {
    let mut text = String::from("{\"connection\":");
    push_string(&mut text, &client.connection);
    for (name, value) in [
        ("user", client.user.as_deref().map(str::to_owned)),
        ("address", client.address.map(|address| address.to_string())),
    ] {
        text += &format!(",\"{name}\":");
        match value {
            Some(value) => push_string(&mut text, &value),
            None => text += "null",
        }
    }
    text + &format!(
        ",\"shard\":{},\"subscriptions\":{},\"waiting\":{}}}",
        client.shard, client.subscriptions, client.waiting
    )
}

fn json(body: String) -> Page {
    (StatusCode::OK, JSON, body)
}

fn filter(query: &Query<'_>) -> Result<Filter, (StatusCode, &'static str)> {
    let address = match query.get("address") {
        None => None,
        Some(text) => {
            let net = text
                .parse()
                .or_else(|_| text.parse().map(std::net::IpAddr::into));
            let wrong = (
                StatusCode::BAD_REQUEST,
                "address is an IP address or a network",
            );
            Some(net.map_err(|_| wrong)?)
        }
    };
    Ok(Filter {
        user: query.get("user"),
        address,
        room: query.get("room"),
    })
}

/// The part of a URL behind its question mark.
struct Query<'a>(&'a str);

impl Query<'_> {
    /// The value of a name, decoded; empty is none.
    fn get(&self, name: &str) -> Option<String> {
        let pairs = self.0.split('&').filter_map(|pair| pair.split_once('='));
        let value = pairs.into_iter().find(|(known, _)| *known == name)?.1;
        let value = percent_decoded(value);
        (!value.is_empty()).then_some(value)
    }
}

fn percent_decoded(text: &str) -> String {
    let mut bytes = text.bytes();
    let mut decoded = Vec::new();
    while let Some(byte) = bytes.next() {
        let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
        decoded.push(match byte {
            b'%' => match (digit(bytes.next()), digit(bytes.next())) {
                (Some(high), Some(low)) => (high * 16 + low) as u8,
                // What is no text is nobody's id.
                _ => b'%',
            },
            b'+' => b' ',
            byte => byte,
        });
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

const JSON: &str = "application/json";
const PATHS: [&str; 8] = [
    "/connections",
    "/stats",
    "/metrics",
    "/config",
    "/log-level",
    "/kick",
    "/shed",
    "/drain",
];
/// Connections shown unless the query says otherwise, and at most.
const LIMIT: usize = 100;
const LIMIT_MAX: usize = 10_000;
/// Bytes of a token.
const TOKEN_MIN: usize = 16;
const TOKEN_MAX: usize = 1_024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_decoded_and_empty_is_none() {
        let query = Query("user=a%2Fb&room=&address=10.0.0.0/8&limit=%zz");
        assert_eq!(query.get("user").as_deref(), Some("a/b"));
        assert_eq!(query.get("room"), None);
        assert_eq!(query.get("nothing"), None);
        let meant = filter(&query).ok();
        assert_eq!(
            meant.and_then(|filter| filter.address),
            "10.0.0.0/8".parse().ok()
        );
        let one = filter(&Query("address=203.0.113.9")).ok();
        assert_eq!(
            one.and_then(|filter| filter.address),
            "203.0.113.9/32".parse().ok()
        );
        assert!(filter(&Query("address=somewhere")).is_err());
    }
}
