//! A crowd of ordinary clients for the sandbox and for servers that are not ours: real logins, ws and wss, rooms by their
//! names. Its figures are for people; those that are compared come from `swarm`.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    process::id,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::{sync::watch, task::JoinSet, time::timeout};

use crate::{
    compare,
    people::{self, Client, Entered, Guests, refusal, websocket_url},
};

/// After the last message.
const DRAIN: Duration = Duration::from_secs(5);
/// Clients on their way in at the same time.
const CONNECTING_MAX: usize = 32;
/// More are a test for machines, not for strangers' servers.
const CLIENTS_MAX: usize = 10_000;

/// Who comes, and where to.
#[derive(clap::Args)]
pub(crate) struct CrowdArgs {
    /// The server, as a browser shows it: host, host:port, http(s)://.. or ws(s)://..
    #[arg(long, default_value = "localhost:3000")]
    url: String,
    #[command(flatten)]
    guests: Guests,
    /// Clients
    #[arg(long, default_value_t = 100)]
    clients: usize,
    /// Messages per second (servers limit what one person may write); with 0 everybody only stays
    #[arg(long, default_value_t = 2.0)]
    rate: f64,
    /// Seconds of writing, or of staying
    #[arg(long, default_value_t = 10.0)]
    seconds: f64,
    /// Write the summary as JSON here
    #[arg(long)]
    json: Option<PathBuf>,
}

/// What became of it.
#[derive(Debug, Serialize)]
struct Summary {
    server: String,
    clients: usize,
    /// Logged in and listening.
    came_in: usize,
    /// Why others did not: reason to count.
    refused: BTreeMap<String, usize>,
    written: usize,
    /// Messages that the server did not take: reason to count.
    not_taken: BTreeMap<String, usize>,
    /// Of how many: each message to each client that listened.
    expected: usize,
    delivered: usize,
    /// From writing to arrival, in ms; `None` where nothing arrived.
    latency_p50: Option<f64>,
    latency_p99: Option<f64>,
    latency_max: Option<f64>,
    /// Clients that were closed before the end: code and reason to count.
    closed: BTreeMap<String, usize>,
}

/// What all clients note.
#[derive(Default)]
struct Notes {
    sent: Vec<Instant>,
    latencies: Vec<Duration>,
    refused: BTreeMap<String, usize>,
    not_taken: BTreeMap<String, usize>,
    closed: BTreeMap<String, usize>,
    came_in: usize,
}

type Shared = Arc<Mutex<Notes>>;

/// Runs it, and prints a summary. Whether everybody came in, stayed, and got everything.
pub(crate) fn run(args: CrowdArgs) -> Result<bool> {
    if args.clients == 0 || args.clients > CLIENTS_MAX {
        bail!(
            "--clients: expected 1 to {CLIENTS_MAX}, not {}",
            args.clients
        );
    }
    if !(0.0..=1_000.0).contains(&args.rate) {
        bail!("--rate: expected 0 to 1000, not {}", args.rate);
    }
    let staying = Duration::try_from_secs_f64(args.seconds).context("--seconds")?;
    let runtime = people::runtime()?;
    let summary = runtime.block_on(crowd(&args, staying))?;
    // Whoever still reads is not waited for.
    runtime.shutdown_background();
    print!("{}", summary.for_people());
    if let Some(path) = &args.json {
        compare::write_json(path, &summary)?;
    }
    Ok(summary.came_in == summary.clients
        && summary.closed.is_empty()
        && summary.not_taken.is_empty()
        && summary.delivered == summary.expected)
}

async fn crowd(args: &CrowdArgs, staying: Duration) -> Result<Summary> {
    let url = websocket_url(&args.url)?;
    let notes = Shared::default();
    let Entered {
        people,
        room,
        mut writer,
    } = args.guests.enter(&url).await?;

    let (end, ended) = watch::channel(false);
    let mark = format!("load test {}", id());
    let mut coming = JoinSet::new();
    let mut listeners = JoinSet::new();
    for number in 0..args.clients {
        while coming.len() >= CONNECTING_MAX {
            welcome(
                coming.join_next().await,
                &notes,
                &mut listeners,
                &mark,
                &ended,
            );
        }
        let (url, room) = (url.clone(), room.clone());
        let token = people[number % people.len()].token.clone();
        coming.spawn(async move { Client::come_in(&url, &token, &room).await });
    }
    while !coming.is_empty() {
        welcome(
            coming.join_next().await,
            &notes,
            &mut listeners,
            &mark,
            &ended,
        );
    }

    let written = writer
        .write(&room, &mark, args.rate, staying, &notes)
        .await?;
    let expected = written * locked(&notes).came_in;
    let deadline = Instant::now() + DRAIN;
    while locked(&notes).latencies.len() < expected && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    end.send_replace(true);
    while listeners.join_next().await.is_some() {}
    let mut notes = locked(&notes);
    notes.latencies.sort();
    let latency = |share: f64| {
        let at = (notes.latencies.len() as f64 * share).ceil() as usize;
        let found = notes.latencies.get(at.saturating_sub(1))?;
        Some((found.as_secs_f64() * 10_000.0).round() / 10.0)
    };
    Ok(Summary {
        server: url,
        clients: args.clients,
        came_in: notes.came_in,
        refused: notes.refused.clone(),
        written,
        not_taken: notes.not_taken.clone(),
        expected,
        delivered: notes.latencies.len(),
        latency_p50: latency(0.5),
        latency_p99: latency(0.99),
        latency_max: latency(1.0),
        closed: notes.closed.clone(),
    })
}

/// Notes whether a client has come in, and lets it listen.
fn welcome(
    came: Option<Result<Result<Client>, tokio::task::JoinError>>,
    notes: &Shared,
    listeners: &mut JoinSet<()>,
    mark: &str,
    ended: &watch::Receiver<bool>,
) {
    match came {
        Some(Ok(Ok(client))) => {
            locked(notes).came_in += 1;
            listeners.spawn(client.listen(mark.to_owned(), notes.clone(), ended.clone()));
        }
        Some(Ok(Err(error))) => count(&mut locked(notes).refused, format!("{error:#}")),
        Some(Err(error)) => count(&mut locked(notes).refused, error.to_string()),
        None => {}
    }
}

impl Client {
    async fn come_in(url: &str, token: &str, room: &str) -> Result<Self> {
        let mut client = Self::open(url).await?;
        client.call("login", json!([{ "resume": token }])).await?;
        let listen = json!({ "msg": "sub", "id": "room", "name": "stream-room-messages", "params": [room, false] });
        client.send(&listen).await?;
        let is_answer = |message: &Value| message["subs"][0] == "room" || message["id"] == "room";
        let answer = client.wait(is_answer).await?;
        match answer["msg"] == "ready" {
            true => Ok(client),
            false => Err(refusal(&answer["error"])),
        }
    }

    /// Writes as many messages as fit into the time; returns how many the server took.
    async fn write(
        &mut self,
        room: &str,
        mark: &str,
        rate: f64,
        staying: Duration,
        notes: &Shared,
    ) -> Result<usize> {
        let started = Instant::now();
        let mut written = 0;
        if rate == 0.0 {
            // Answers pings.
            let stay = async { while self.next().await.is_ok() {} };
            let _ = timeout(staying, stay).await;
            tokio::time::sleep_until((started + staying).into()).await;
        }
        while started.elapsed() < staying {
            let number = locked(notes).sent.len();
            let due = started + Duration::from_secs_f64(number as f64 / rate);
            tokio::time::sleep_until(due.into()).await;
            if started.elapsed() >= staying {
                break;
            }
            locked(notes).sent.push(Instant::now());
            let message = json!([{ "rid": room, "msg": format!("{mark} #{number}") }]);
            match self.call("sendMessage", message).await {
                Ok(_) => written += 1,
                Err(error) => count(&mut locked(notes).not_taken, format!("{error:#}")),
            }
        }
        Ok(written)
    }

    /// Notes what arrives until the end.
    async fn listen(mut self, mark: String, notes: Shared, mut ended: watch::Receiver<bool>) {
        loop {
            let message = tokio::select! {
                message = self.next() => message,
                _ = ended.wait_for(|ended| *ended) => return,
            };
            match message {
                Ok(message) => {
                    let text = message["fields"]["args"][0]["msg"].as_str();
                    let number = text.and_then(|text| text.strip_prefix(&mark)?.strip_prefix(" #"));
                    let mut notes = locked(&notes);
                    let sent = number.and_then(|number| number.parse::<usize>().ok());
                    if let Some(sent) = sent.and_then(|number| notes.sent.get(number).copied()) {
                        notes.latencies.push(sent.elapsed());
                    }
                }
                Err(error) => {
                    count(&mut locked(&notes).closed, format!("{error:#}"));
                    return;
                }
            }
        }
    }
}

impl Summary {
    fn for_people(&self) -> String {
        let list = |reasons: &BTreeMap<String, usize>| -> String {
            reasons
                .iter()
                .map(|(reason, count)| format!("  {count} x {reason}\n"))
                .collect()
        };
        let mut text = format!(
            "{}: {} of {} clients came in\n{}",
            self.server,
            self.came_in,
            self.clients,
            list(&self.refused)
        );
        if self.written > 0 || !self.not_taken.is_empty() {
            text += &format!(
                "{} messages were written, {} of {} deliveries arrived\n{}",
                self.written,
                self.delivered,
                self.expected,
                list(&self.not_taken)
            );
        }
        if let (Some(p50), Some(p99), Some(max)) =
            (self.latency_p50, self.latency_p99, self.latency_max)
        {
            text += &format!(
                "half arrived within {p50} ms, 99 % within {p99} ms, the last after {max} ms\n"
            );
        }
        match self.closed.is_empty() {
            true => text += "nobody was closed\n",
            false => text += &format!("closed before the end:\n{}", list(&self.closed)),
        }
        text
    }
}

fn count(reasons: &mut BTreeMap<String, usize>, reason: String) {
    *reasons.entry(reason).or_default() += 1;
}

fn locked(notes: &Shared) -> MutexGuard<'_, Notes> {
    notes.lock().unwrap_or_else(PoisonError::into_inner)
}
