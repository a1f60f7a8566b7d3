//! Our own satellites on a real nats-server and MongoDB, beside a monolith that hosts only what belongs to it: as four
//! processes, and all in one.

use harness::{Client, Edge, MongoServer, NatsServer, NodeProcess, eventually, free_port};
use serde_json::json;

const BINARY: &str = env!("CARGO_BIN_EXE_ddp-edge");
const ALICE_TOKEN: &str = "resume-token-of-alice";

/// A network of its own: the same service must not be offered twice.
struct Network {
    monolith: NodeProcess,
    mongo_url: String,
    nats: NatsServer,
    _mongo: MongoServer,
}

/// So short that a test sees a lost node within seconds.
const HEARTBEATS: [(&str, &str); 2] = [("HEARTBEAT_INTERVAL", "1"), ("HEARTBEAT_TIMEOUT", "3")];

impl Network {
    fn start() -> Self {
        let (nats, mongo) = (NatsServer::start(), MongoServer::start());
        // Several tests may share one MongoDB.
        let mongo_url = mongo.url(&format!(
            "satellites-{}-{}",
            std::process::id(),
            nats.port()
        ));
        let transporter = nats.url();
        let environment = [
            ("TRANSPORTER", transporter.as_str()),
            ("MONGO_URL", &mongo_url),
            HEARTBEATS[0],
            HEARTBEATS[1],
        ];
        let monolith = NodeProcess::start(
            "monolith.js",
            &["--seed", "--services", "settings,license,meteor"],
            &environment,
        );
        Self {
            monolith,
            mongo_url,
            nats,
            _mongo: mongo,
        }
    }

    /// Starts a role and waits until it can serve.
    fn role(&self, role: &str) -> (Edge, u16) {
        let port = free_port();
        let (number, transporter) = (port.to_string(), self.nats.url());
        let environment = [
            ("PORT", number.as_str()),
            ("TRANSPORTER", &transporter),
            ("MONGO_URL", &self.mongo_url),
            HEARTBEATS[0],
            HEARTBEATS[1],
        ];
        let mut edge = Edge::start(BINARY, &[role], &environment);
        edge.wait_for_ok(port, "/readyz");
        (edge, port)
    }

    /// Waits until the monolith sees these services.
    fn wait_for(&mut self, services: &[&str]) {
        self.monolith
            .ask(&json!({ "cmd": "waitForServices", "names": services }));
    }

    /// Waits until the database says that alice has this status.
    fn wait_for_status(&mut self, wanted: &str) {
        eventually(wanted, || {
            let filter = json!({ "username": "alice" });
            let found = self
                .monolith
                .ask(&json!({ "cmd": "find", "collection": "users", "filter": filter }));
            (found["documents"][0]["status"] == wanted).then_some(())
        });
    }

    fn new_token(&mut self, username: &str) -> String {
        let made = self
            .monolith
            .ask(&json!({ "cmd": "newToken", "username": username }));
        made["token"].as_str().expect("a token").to_owned()
    }

    /// An npm client gets through the scenario of `tests/node/clients/lib.js` on this port.
    fn passes(&mut self, script: &str, port: u16) {
        let url = format!("http://127.0.0.1:{port}");
        let tokens = [self.new_token("alice"), self.new_token("bob")];
        let mut client = NodeProcess::start(script, &[&url, &tokens[0], &tokens[1]], &[]);
        client.wait_for("the scenario's end", |line| {
            assert_ne!(line["ok"], false, "{script}: {line}");
            line["done"] == true
        });
    }
}

#[test]
fn four_processes_of_ours_carry_a_client_through_the_whole_scenario() {
    let mut network = Network::start();
    let satellites = ["accounts", "authorization", "presence"].map(|role| network.role(role));
    let (gateway, port) = network.role("gateway");
    network.wait_for(&["accounts", "authorization", "presence", "streamer"]);
    network.passes("clients/ddp-client.js", port);
    drop((gateway, satellites));
}

#[test]
fn one_process_with_all_roles_carries_a_client_through_the_whole_scenario() {
    let mut network = Network::start();
    let (all, port) = network.role("all");
    network.wait_for(&["accounts", "authorization", "presence", "streamer"]);
    network.passes("clients/ddp-client.js", port);
    drop(all);
}

#[test]
fn presence_follows_the_sockets_even_when_their_gateway_is_killed() {
    let mut network = Network::start();
    let satellites = ["accounts", "authorization", "presence"].map(|role| network.role(role));
    let (mut gateway, port) = network.role("gateway");
    network.wait_for(&["presence", "streamer"]);
    let mut client = Client::open(port);
    client.login(ALICE_TOKEN);
    network.wait_for_status("online");
    gateway.kill9();
    network.wait_for_status("offline");
    drop(satellites);
}
