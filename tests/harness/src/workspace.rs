//! The servers of a workspace, and gateways beside them.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::process::PATIENCE;
use crate::{Client, Edge, MongoServer, NatsServer, NodeProcess, free_port, http};

/// How long a lost right may go on giving data: twice what the slowest way takes (a second judgement after 2 s), and more
/// for a busy machine.
const REVOCATION_PATIENCE: Duration = Duration::from_secs(10);

/// A nats-server, a MongoDB and a Node process that plays the monolith on them, with the data of
/// `tests/node/workspace.js`.
pub struct Workspace {
    // In the order in which they end: the monolith first.
    monolith: Mutex<NodeProcess>,
    pub nats: NatsServer,
    pub mongo: MongoServer,
    database: String,
    environment: Vec<(String, String)>,
}

/// A user made for one test.
pub struct User {
    pub id: String,
    pub username: String,
    pub token: String,
}

/// A running `ddp-edge gateway`, or another role, with its metrics.
pub struct Gateway {
    pub edge: Edge,
    pub port: u16,
    /// Its node id on the bus.
    pub node: String,
    metrics: u16,
}

impl Workspace {
    /// Starts all of it; `environment` holds further variables for monolith and gateways, such as `HEARTBEAT_TIMEOUT`.
    #[must_use]
    pub fn start(environment: &[(&str, &str)]) -> Self {
        Self::start_on(MongoServer::start(), environment)
    }

    /// The same on a MongoDB that the test may kill.
    #[must_use]
    pub fn start_on(mongo: MongoServer, environment: &[(&str, &str)]) -> Self {
        Self::start_with(mongo, &[], environment)
    }

    /// The same with arguments for `monolith.js`.
    pub(crate) fn start_with(
        mongo: MongoServer,
        arguments: &[&str],
        environment: &[(&str, &str)],
    ) -> Self {
        let nats = NatsServer::start();
        // Several test processes may share one MongoDB.
        let database = format!("workspace-{}-{}", std::process::id(), nats.port());
        let (transporter, url) = (nats.url(), mongo_url(&mongo, &database));
        let mut variables = vec![("TRANSPORTER", transporter.as_str()), ("MONGO_URL", &url)];
        variables.extend(environment);
        let arguments = [&["--seed"], arguments].concat();
        let monolith = NodeProcess::start("monolith.js", &arguments, &variables);
        Self {
            monolith: Mutex::new(monolith),
            nats,
            mongo,
            database,
            environment: environment
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
        }
    }

    /// Starts a gateway, on the port of `PORT` if that is given, and waits until it is ready and the monolith knows it.
    ///
    /// # Panics
    ///
    /// When it does not come up.
    #[must_use]
    pub fn gateway(&self, binary: &str, environment: &[(&str, &str)]) -> Gateway {
        let mut gateway = self.gateway_alone(binary, environment);
        gateway.edge.wait_for_ok(gateway.port, "/readyz");
        self.wait_for_node(&gateway.node);
        gateway
    }

    /// Starts a gateway and waits only until it listens.
    ///
    /// # Panics
    ///
    /// When it does not come up.
    #[must_use]
    pub fn gateway_alone(&self, binary: &str, environment: &[(&str, &str)]) -> Gateway {
        self.role(binary, "gateway", environment)
    }

    /// Starts a role and waits until it says so.
    ///
    /// # Panics
    ///
    /// When it does not come up.
    #[must_use]
    pub fn role(&self, binary: &str, role: &str, environment: &[(&str, &str)]) -> Gateway {
        let given = environment.iter().find(|(name, _)| *name == "PORT");
        let given = given.and_then(|(_, port)| port.parse().ok());
        let (port, metrics) = (given.unwrap_or_else(free_port), free_port());
        let (url, mongo) = (self.nats.url(), mongo_url(&self.mongo, &self.database));
        let ports = (port.to_string(), metrics.to_string());
        let mut variables = vec![
            ("TRANSPORTER", url.as_str()),
            ("MONGO_URL", &mongo),
            ("PORT", &ports.0),
            ("MS_METRICS", "true"),
            ("MS_METRICS_PORT", &ports.1),
            ("DDP_EDGE_SHARDS", "2"),
        ];
        let shared = self.environment.iter();
        variables.extend(shared.map(|(name, value)| (name.as_str(), value.as_str())));
        variables.extend(environment);
        let edge = Edge::start(binary, &[role], &variables);
        let line = edge.wait_for_line("\"started\"");
        let line: Value = serde_json::from_str(&line).expect("logs are JSON");
        Gateway {
            edge,
            port,
            node: line["node"]
                .as_str()
                .expect("the line names the node")
                .to_owned(),
            metrics,
        }
    }

    /// Waits until the monolith sends events to that node.
    ///
    /// # Panics
    ///
    /// When it never knows the node's service.
    pub fn wait_for_node(&self, node: &str) {
        eventually("the monolith knows the gateway", || {
            let nodes = self.ask(&json!({"cmd": "nodes"}));
            nodes["nodes"].as_array()?.iter().find(|known| {
                known["id"] == node
                    && known["services"]
                        .as_array()
                        .is_some_and(|services| services.iter().any(|name| name == "streamer"))
            })?;
            Some(())
        });
    }

    /// Gives the monolith a command (`tests/node/monolith/commands.js`) and returns its answer.
    ///
    /// # Panics
    ///
    /// When the command fails.
    pub fn ask(&self, command: &Value) -> Value {
        let reply = self.monolith().ask(command);
        assert!(
            reply.get("error").is_none(),
            "{command} has failed: {reply}"
        );
        reply
    }

    /// The URL of its database.
    pub fn mongo_url(&self) -> String {
        mongo_url(&self.mongo, &self.database)
    }

    /// The process that plays the monolith, to freeze or end it.
    pub fn monolith(&self) -> MutexGuard<'_, NodeProcess> {
        // A failed test must not take the others with it.
        self.monolith.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A new user with these roles.
    pub fn user(&self, roles: &[&str]) -> User {
        self.user_with(roles, &json!({}))
    }

    /// The same with further fields in the database.
    pub fn user_with(&self, roles: &[&str], fields: &Value) -> User {
        let made = self.ask(&json!({"cmd": "newUser", "roles": roles, "set": fields}));
        let text = |name: &str| made[name].as_str().expect("a text").to_owned();
        User {
            id: text("id"),
            username: text("username"),
            token: text("token"),
        }
    }

    /// A new room of this type (`c`, `p`, `d`) with these members; returns its id.
    pub fn room(&self, kind: &str, members: &[&User]) -> String {
        self.room_with(kind, members, &json!({}))
    }

    /// The same with further fields in the database, such as `prid` of a discussion.
    pub fn room_with(&self, kind: &str, members: &[&User], fields: &Value) -> String {
        let members: Vec<_> = members.iter().map(|user| &user.username).collect();
        let made =
            self.ask(&json!({"cmd": "newRoom", "t": kind, "members": members, "set": fields}));
        made["rid"].as_str().expect("a room id").to_owned()
    }

    /// Has a user send a message over REST, so to say; returns the message.
    pub fn send_as(&self, user: &User, rid: &str, text: &str) -> Value {
        let args = json!([{"rid": rid, "msg": text}]);
        let command = json!({"cmd": "method", "username": user.username, "method": "sendMessage", "args": args});
        self.ask(&command)["result"].take()
    }

    /// Has the monolith send an event to everybody who listens to it.
    pub fn broadcast(&self, event: &str, args: &Value) {
        self.ask(&json!({"cmd": "broadcast", "event": event, "args": args}));
    }

    /// The same with the arguments as JSON text, whose members keep their order.
    pub fn broadcast_text(&self, event: &str, args: &str) {
        let reply = self.monolith().ask_text(
            "broadcast",
            &format!(r#"{{"cmd":"broadcast","event":"{event}","args":{args}}}"#),
        );
        assert!(reply.get("error").is_none(), "{event} has failed: {reply}");
    }

    /// A command that puts a message into a room, without anything else that follows a message.
    #[must_use]
    pub fn message_in(rid: &str) -> Value {
        let message = json!({"_id": "m", "rid": rid, "msg": "for members", "u": {"_id": "x", "username": "x"}});
        json!({"cmd": "broadcast", "event": "watch.messages", "args": [{"message": message}]})
    }

    /// Waits until what the monolith has sent so far has reached a client's gateway and gone out to the client.
    pub fn settle(&self, client: &mut Client) {
        let sentinel = Sentinel::new(client);
        sentinel.pass(self, client);
    }

    /// Has an event emitted, which a client must get.
    ///
    /// # Panics
    ///
    /// When it does not come.
    pub fn assert_flows(&self, client: &mut Client, stream: &str, event: &str, emit: &Value) {
        let sentinel = Sentinel::new(client);
        let arrives = self.arrives(client, stream, event, emit, &sentinel);
        assert!(arrives, "{stream} {event} does not arrive");
    }

    /// Has an event emitted, which a client must not get: what came before it has told so.
    ///
    /// # Panics
    ///
    /// When it comes.
    pub fn assert_silent(&self, client: &mut Client, stream: &str, event: &str, emit: &Value) {
        let sentinel = Sentinel::new(client);
        let arrives = self.arrives(client, stream, event, emit, &sentinel);
        assert!(!arrives, "{stream} {event} arrives");
    }

    /// Has an event emitted again and again, which a client must soon not get any more: somebody has to be asked first.
    ///
    /// # Panics
    ///
    /// When it goes on arriving for longer than a second judgement and a busy machine need. The slow sweep over all grants
    /// takes minutes: it does not save a test.
    pub fn assert_ends(&self, client: &mut Client, stream: &str, event: &str, emit: &Value) {
        let deadline = Instant::now() + REVOCATION_PATIENCE;
        let sentinel = Sentinel::new(client);
        while self.arrives(client, stream, event, emit, &sentinel) {
            let is_soon = Instant::now() < deadline;
            assert!(is_soon, "{stream} {event} goes on arriving");
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// Whether an event that is emitted now reaches a client, by one behind it that does.
    fn arrives(
        &self,
        client: &mut Client,
        stream: &str,
        event: &str,
        emit: &Value,
        sentinel: &Sentinel,
    ) -> bool {
        client.take_events(stream, event);
        self.ask(emit);
        sentinel.pass(self, client);
        !client.take_events(stream, event).is_empty()
    }

    /// A subscription that must not last: refused, or ended soon.
    ///
    /// # Panics
    ///
    /// When it is allowed and [stays](Self::assert_ends).
    pub fn assert_closed(&self, client: &mut Client, stream: &str, event: &str, emit: &Value) {
        match client.stream(stream, event) {
            Err(error) => assert_eq!(error["error"], "not-allowed", "{stream} {event}: {error}"),
            Ok(_) => self.assert_ends(client, stream, event, emit),
        }
    }

    /// Waits until the monolith has received such a call or event from another node, and returns its line.
    pub fn received(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let mut from = 0;
        eventually(what, || {
            let mut reply = self.ask(&json!({"cmd": "received", "from": from}));
            let lines = reply["received"].as_array_mut()?;
            from += lines.len();
            lines.iter_mut().find(|line| wanted(line)).map(Value::take)
        })
    }
}

impl Gateway {
    /// The port of its metrics.
    #[must_use]
    pub fn metrics_port(&self) -> u16 {
        self.metrics
    }

    /// The sum of a metric over all series that have these labels; 0 where there is none yet.
    #[must_use]
    pub fn metric(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let text = http::get(self.metrics, "/metrics").body;
        let has_labels = |series: &str| {
            labels
                .iter()
                .all(|(label, value)| series.contains(&format!("{label}=\"{value}\"")))
        };
        text.lines()
            .filter_map(|line| line.rsplit_once(' '))
            .filter(|(series, _)| series.split('{').next() == Some(name) && has_labels(series))
            .filter_map(|(_, value)| value.parse::<f64>().ok())
            .sum()
    }

    /// Waits until a metric is above a value that it had before.
    ///
    /// # Panics
    ///
    /// When it stays.
    pub fn metric_grows(&self, name: &str, labels: &[(&str, &str)], before: f64) {
        eventually(&format!("{name} {labels:?} grows"), || {
            (self.metric(name, labels) > before).then_some(())
        });
    }
}

/// An event of a name of its own on a stream that everybody may read.
struct Sentinel {
    event: String,
}

impl Sentinel {
    fn new(client: &mut Client) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let event = format!("sentinel-{number}");
        client.stream("notify-all", &event).expect("for everybody");
        Self { event }
    }

    /// Sends it and waits for it.
    fn pass(&self, workspace: &Workspace, client: &mut Client) {
        workspace.ask(&json!({"cmd": "relay", "stream": "notify-all", "event": self.event}));
        client.event("notify-all", &self.event);
    }
}

/// With a short patience, so that an absent MongoDB is noticed within seconds.
fn mongo_url(mongo: &MongoServer, database: &str) -> String {
    mongo.url(database) + "&serverSelectionTimeoutMS=2000"
}

/// Asks until there is an answer: for what has no event to wait for.
///
/// # Panics
///
/// When there is none within a minute.
pub fn eventually<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "{what}: never");
        thread::sleep(Duration::from_millis(20));
    }
}
