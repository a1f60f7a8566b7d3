//! What one server says and allows, found out before anything depends on it.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use async_nats::{ConnectOptions, Event, ServerError};
use futures_util::StreamExt as _;
use protocol::moleculer::{Disconnect, Discover, Heartbeat, Kind, Subjects, Version, encode};
use tokio::time::{sleep, timeout};

use super::Server;
use crate::config::Config;

/// What one of the servers of [`Config::servers`] says and allows.
#[derive(Clone, Debug)]
pub struct Examination {
    /// Host and port.
    pub place: String,
    /// What was found there, or why nobody gets in.
    pub found: Result<Found, String>,
}

/// A server that let us in.
#[derive(Clone, Debug)]
pub struct Found {
    pub version: String,
    /// The largest message it takes, in bytes.
    pub payload_max: usize,
    /// From our publishing to our hearing it; `None`: it never came back.
    pub round_trip: Option<Duration>,
    /// What the account may not do, in the server's words.
    pub refused: Vec<String>,
}

/// Goes to each server as a node would: connects, subscribes to all that a node reads, publishes all that a node says.
/// Other nodes see one that asks who is there and leaves again.
pub async fn examine(config: &Config) -> Vec<Examination> {
    let mut examinations = Vec::new();
    for server in &config.servers {
        let found = timeout(CONNECT_MAX, visit(server, config)).await;
        examinations.push(Examination {
            place: server.place(),
            found: found.unwrap_or_else(|_| Err("no answer in time".to_owned())),
        });
    }
    examinations
}

async fn visit(server: &Server, config: &Config) -> Result<Found, String> {
    let refused = Arc::new(Mutex::new(Vec::new()));
    let (account, access) = (server.account.clone(), config.access.clone());
    let options = ConnectOptions::with_auth_callback(move |nonce| {
        std::future::ready(access.auth(&account, &nonce))
    });
    let noted = refused.clone();
    let options = config
        .access
        .tls(options)
        .name(&config.node_id)
        .max_reconnects(1)
        .ignore_discovered_servers()
        .event_callback(move |event| {
            if let Event::ServerError(ServerError::Other(text)) = event {
                noted
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(text);
            }
            std::future::ready(())
        });
    let client = options
        .connect(server.address.clone())
        .await
        .map_err(|error| super::connection::explain(&error))?;

    let subjects = Subjects::new(config.namespace.as_deref());
    let node = &*config.node_id;
    let gone = |error: async_nats::SubscribeError| error.to_string();
    for (_, _, subject) in subjects.subscriptions(node) {
        client.subscribe(subject).await.map_err(gone)?;
    }
    let answers = subjects.node(Kind::Response, node);
    let mut own = client.subscribe(answers.clone()).await.map_err(gone)?;
    // To itself a node may say anything; to all only what they understand, and a goodbye last.
    let to_itself = [
        Kind::Discover,
        Kind::Info,
        Kind::Request,
        Kind::Event,
        Kind::Ping,
        Kind::Pong,
    ];
    let sender = || node.into();
    let to_all = [
        (
            Kind::Discover,
            encode(&Discover {
                ver: Version,
                sender: sender(),
            }),
        ),
        (
            Kind::Heartbeat,
            encode(&Heartbeat {
                cpu: None,
                ver: Version,
                sender: sender(),
            }),
        ),
        (
            Kind::Disconnect,
            encode(&Disconnect {
                ver: Version,
                sender: sender(),
            }),
        ),
    ];
    let started = Instant::now();
    let said = to_itself.map(|kind| (subjects.node(kind, node), Vec::new()));
    let said = said.into_iter().chain([(answers, Vec::new())]);
    let said = said.chain(to_all.map(|(kind, packet)| (subjects.all(kind), packet)));
    for (subject, packet) in said {
        let published = client.publish(subject, packet.into()).await;
        published.map_err(|error| error.to_string())?;
    }
    client.flush().await.map_err(|error| error.to_string())?;
    let heard = timeout(ECHO_MAX, own.next()).await;
    let round_trip = matches!(heard, Ok(Some(_))).then(|| started.elapsed());
    // What is refused is said by the server after the fact, and by the library through a queue of its own.
    sleep(REFUSALS_MAX).await;
    let info = client.server_info();
    let refused = std::mem::take(&mut *refused.lock().unwrap_or_else(PoisonError::into_inner));
    Ok(Found {
        version: info.version,
        payload_max: info.max_payload,
        round_trip,
        refused,
    })
}

const CONNECT_MAX: Duration = Duration::from_secs(8);
const ECHO_MAX: Duration = Duration::from_secs(2);
const REFUSALS_MAX: Duration = Duration::from_millis(300);
