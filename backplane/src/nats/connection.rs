//! One connection to one NATS server, from connect to loss.

use std::{
    error::Error as _,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use async_nats::{
    AuthError, Client, ConnectError, ConnectOptions, Event, Message, Statistics, Subscriber,
};
use bytes::Bytes;
use futures_util::{
    FutureExt, StreamExt,
    stream::{BoxStream, SelectAll, select_all},
};
use protocol::moleculer::{Kind, Subjects};
use tokio::task::unconstrained;
use tokio_util::sync::CancellationToken;

use super::access::{Access, Server};

/// A client, its twelve subscriptions, and what is known about its loss and its losses.
pub(super) struct Connection {
    client: Client,
    events: Subscriber,
    others: SelectAll<BoxStream<'static, (Kind, bool, Message)>>,
    lost: CancellationToken,
    statistics: Arc<Statistics>,
    /// The library said that it dropped something.
    is_slow: Arc<AtomicBool>,
    /// Messages taken from the subscriptions.
    taken: u64,
    /// What the last two checks found missing at least, and what has been reported.
    missing: i64,
    reported: i64,
    checked: Instant,
    last_received: Instant,
}

/// What was taken from the subscriptions in one go.
pub(super) enum Taken {
    /// EVENT packets in order.
    Events(Vec<Bytes>),
    Packet {
        kind: Kind,
        is_targeted: bool,
        payload: Bytes,
    },
}

impl Connection {
    /// Connects to one server and subscribes.
    ///
    /// # Errors
    /// A text for logs.
    pub(super) async fn new(
        server: &Server,
        access: &Access,
        node_id: &str,
        subjects: &Subjects,
    ) -> Result<Self, String> {
        let lost = CancellationToken::new();
        let is_slow = Arc::new(AtomicBool::new(false));
        let options = options(server, access, node_id, lost.clone(), is_slow.clone());
        let client = options
            .connect(server.address.clone())
            .await
            .map_err(|error| explain(&error))?;

        let mut events = None;
        let mut others = Vec::new();
        for (kind, is_targeted, subject) in subjects.subscriptions(node_id) {
            let subscriber = client
                .subscribe(subject)
                .await
                .map_err(|error| error.kind().to_string())?;
            match kind {
                Kind::Event => events = Some(subscriber),
                _ => others.push(
                    subscriber
                        .map(move |message| (kind, is_targeted, message))
                        .boxed(),
                ),
            }
        }
        let now = Instant::now();
        Ok(Self {
            events: events.ok_or("no subscription for events")?,
            others: select_all(others),
            lost,
            statistics: client.statistics(),
            client,
            is_slow,
            taken: 0,
            missing: 0,
            reported: 0,
            checked: now,
            last_received: now,
        })
    }

    /// Waits for a packet or for a batch of events; `None` once the connection is lost. Cancel-safe: nothing is taken
    /// before it returns.
    pub(super) async fn next(&mut self) -> Option<Taken> {
        tokio::select! {
            message = self.others.next() => message.map(|message| self.packet(message)),
            message = self.events.next() => message.map(|message| self.batch(message)),
        }
    }

    /// What has been delivered already, without waiting.
    pub(super) fn take_delivered(&mut self) -> Option<Taken> {
        if let Some(message) = unconstrained(self.others.next()).now_or_never().flatten() {
            return Some(self.packet(message));
        }
        let message = unconstrained(self.events.next()).now_or_never().flatten()?;
        Some(self.batch(message))
    }

    /// How many messages the library has dropped since the last time, and since when. Only right after everything
    /// delivered has been taken.
    pub(super) fn messages_lost(&mut self) -> Option<(u64, Instant)> {
        let now = Instant::now();
        let since = std::mem::replace(&mut self.checked, now);
        let missing = self.statistics.in_messages.load(Relaxed) as i64 - self.taken as i64;
        // On a runtime of several threads one message may be on its way right now: hence twice, and a tolerance of one.
        let certain = missing.min(std::mem::replace(&mut self.missing, missing));
        let is_slow = self.is_slow.swap(false, Relaxed);
        if !is_slow && certain <= self.reported + 1 {
            return None;
        }
        let lost = (missing - self.reported).max(1);
        self.reported = missing.max(self.reported);
        Some((lost.unsigned_abs(), since))
    }

    pub(super) fn client(&self) -> Client {
        self.client.clone()
    }

    /// Cancelled when the connection is lost.
    pub(super) fn lost(&self) -> CancellationToken {
        self.lost.clone()
    }

    pub(super) fn payload_max(&self) -> usize {
        self.client.max_payload()
    }

    /// When the last message was taken: our own heartbeats come back too, so this is never long ago.
    pub(super) fn last_received(&self) -> Instant {
        self.last_received
    }

    fn packet(&mut self, (kind, is_targeted, message): (Kind, bool, Message)) -> Taken {
        self.received(1);
        Taken::Packet {
            kind,
            is_targeted,
            payload: message.payload,
        }
    }

    /// Takes events until there are none, at most 256 KiB.
    fn batch(&mut self, first: Message) -> Taken {
        let mut bytes = first.payload.len();
        let mut batch = vec![first.payload];
        while bytes < BATCH_BYTES_MAX {
            // Without tokio's budget, which would end the batch after 128 messages.
            let Some(message) = unconstrained(self.events.next()).now_or_never().flatten() else {
                break;
            };
            bytes += message.payload.len();
            batch.push(message.payload);
        }
        self.received(batch.len());
        Taken::Events(batch)
    }

    fn received(&mut self, count: usize) {
        self.taken += count as u64;
        self.last_received = Instant::now();
    }
}

/// What went wrong, and the system's or the server's own word for it.
pub(super) fn explain(error: &ConnectError) -> String {
    match error.source() {
        Some(cause) => format!("{}: {cause}", error.kind()),
        None => error.kind().to_string(),
    }
}

/// A client that connects once: its second attempt is refused by ourselves, before it could send what it has buffered.
fn options(
    server: &Server,
    access: &Access,
    node_id: &str,
    lost: CancellationToken,
    is_slow: Arc<AtomicBool>,
) -> ConnectOptions {
    let (account, tls) = (server.account.clone(), access.clone());
    let access = access.clone();
    let was_used = AtomicBool::new(false);
    let options = ConnectOptions::with_auth_callback(move |nonce| {
        let auth = match was_used.swap(true, Relaxed) {
            false => access.auth(&account, &nonce),
            true => Err(AuthError::new("this client connects once")),
        };
        std::future::ready(auth)
    });
    tls.tls(options)
        .name(node_id)
        .max_reconnects(1)
        .reconnect_delay_callback(|_| Duration::ZERO)
        .ignore_discovered_servers()
        .ping_interval(PING_INTERVAL)
        .event_callback(move |event| {
            match event {
                Event::Disconnected | Event::Closed => lost.cancel(),
                Event::SlowConsumer(_) => is_slow.store(true, Relaxed),
                _ => {}
            }
            std::future::ready(())
        })
}

/// One batch is one turn of the bus thread (design.md 3.5).
const BATCH_BYTES_MAX: usize = 256 << 10;
/// A dead connection is noticed after two of these.
const PING_INTERVAL: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use harness::NatsServer;

    use super::*;

    #[tokio::test]
    async fn messages_that_the_library_drops_are_counted_once() {
        // The library keeps 65,536 messages of a subscription that nobody reads.
        const SENT: usize = 70_000;
        let nats = NatsServer::start();
        let subjects = Subjects::new(None);
        let server = &Server::list(&nats.url()).unwrap()[0];
        let mut connection = Connection::new(server, &Access::default(), "edge-1", &subjects)
            .await
            .unwrap();
        let sender = async_nats::connect(nats.url()).await.unwrap();
        for _ in 0..SENT {
            sender
                .publish("MOL.EVENT.edge-1", Bytes::new())
                .await
                .unwrap();
        }
        sender.flush().await.unwrap();
        while connection.statistics.in_messages.load(Relaxed) < SENT as u64 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let mut taken = 0;
        while let Some(Taken::Events(batch)) = connection.take_delivered() {
            taken += batch.len();
        }
        assert!(taken < SENT);
        let (lost, since) = connection.messages_lost().unwrap();
        assert_eq!(lost as usize, SENT - taken);
        assert!(since <= Instant::now());
        assert_eq!(connection.messages_lost(), None);
    }
}
