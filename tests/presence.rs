//! Who is online, with real processes that are killed, frozen and started in any order.

#[path = "presence/churn.rs"]
mod churn;
#[path = "presence/claims.rs"]
mod claims;
#[path = "presence/storm.rs"]
mod storm;

use harness::{Client, Edge, MongoServer, NatsServer, NodeProcess, eventually, free_port};
use serde_json::{Value, json};
use tungstenite::Message;

const BINARY: &str = env!("CARGO_BIN_EXE_ddp-edge");
const ALICE: &str = "resume-token-of-alice";
const BOB: &str = "resume-token-of-bob";

/// So short that a test sees a lost node within seconds.
const TIMES: [(&str, &str); 3] = [
    ("HEARTBEAT_INTERVAL", "1"),
    ("HEARTBEAT_TIMEOUT", "3"),
    ("DDP_EDGE_RESYNC_SECONDS", "1"),
];

/// A workspace that hosts what belongs to the monolith; presence and gateways are ours.
struct Network {
    monolith: NodeProcess,
    mongo_url: String,
    nats: NatsServer,
    mongo: MongoServer,
    times: &'static [(&'static str, &'static str)],
}

struct Role {
    edge: Edge,
    port: u16,
}

impl Network {
    fn start() -> Self {
        Self::start_with(&TIMES, "settings,license,meteor,accounts,authorization")
    }

    /// `times`: none are the usual ones; `services`: what the monolith hosts.
    fn start_with(times: &'static [(&'static str, &'static str)], services: &str) -> Self {
        let (nats, mongo) = (NatsServer::start(), MongoServer::start_own(&[]));
        let mongo_url = mongo.url(&format!("presence-{}", nats.port()));
        let transporter = nats.url();
        let mut environment = vec![
            ("TRANSPORTER", transporter.as_str()),
            ("MONGO_URL", &mongo_url),
        ];
        environment.extend(times);
        let flags = ["--seed", "--services", services];
        let monolith = NodeProcess::start("monolith.js", &flags, &environment);
        Self {
            monolith,
            mongo_url,
            nats,
            mongo,
            times,
        }
    }

    /// Starts a role without waiting for it.
    fn starting(&self, role: &str) -> Role {
        self.starting_with(role, &[])
    }

    fn starting_with(&self, role: &str, more: &[(&str, &str)]) -> Role {
        let port = free_port();
        let (number, transporter) = (port.to_string(), self.nats.url());
        let mut environment = vec![
            ("PORT", number.as_str()),
            ("TRANSPORTER", &transporter),
            ("MONGO_URL", &self.mongo_url),
        ];
        environment.extend(self.times);
        environment.extend(more);
        let edge = Edge::start(BINARY, &[role], &environment);
        Role { edge, port }
    }

    fn role(&self, role: &str) -> Role {
        let mut started = self.starting(role);
        started.edge.wait_for_ok(started.port, "/readyz");
        started
    }

    /// Waits until the monolith knows so many nodes with this service.
    fn wait_for(&mut self, service: &str, count: usize) {
        eventually(service, || {
            let nodes = self.monolith.ask(&json!({ "cmd": "nodes" }));
            let serves = |node: &&Value| {
                let services = node["services"].as_array();
                node["available"] == true
                    && services.is_some_and(|names| names.iter().any(|name| name == service))
            };
            let nodes = nodes["nodes"].as_array()?;
            (nodes.iter().filter(serves).count() == count).then_some(())
        });
    }

    fn find(&mut self, collection: &str, filter: Value) -> Value {
        let find = json!({ "cmd": "find", "collection": collection, "filter": filter });
        let mut found = self.monolith.ask(&find);
        found["documents"]
            .get_mut(0)
            .map(Value::take)
            .unwrap_or_default()
    }

    /// Waits until the database says that a user shows this status with so many entries.
    fn shows(&mut self, username: &str, status: &str, entries: usize) {
        eventually(&format!("{username} {status} with {entries}"), || {
            let user = self.find("users", json!({ "username": username }));
            let sessions = self.find("usersSessions", json!({ "_id": user["_id"] }));
            let listed = sessions["connections"].as_array().map_or(0, Vec::len);
            (user["status"] == status && listed == entries).then_some(())
        });
    }
}

fn client(gateway: &Role, token: &str) -> Client {
    let mut client = Client::open(gateway.port);
    client.login(token);
    client
}

/// A socket that says who it is and waits for no answer; `None` where it is turned away.
fn visit(port: u16, token: &str) -> Option<Client> {
    let mut socket = Client::upgrade(port, "/websocket", &[]).ok()?;
    let login =
        json!({ "msg": "method", "id": "1", "method": "login", "params": [{ "resume": token }] });
    for message in [
        json!({ "msg": "connect", "version": "1", "support": ["1"] }),
        login,
    ] {
        let _ = socket.try_send(Message::text(message.to_string()));
    }
    Some(socket)
}

#[test]
fn a_gateway_that_died_while_presence_was_down_takes_nobody_with_it_for_ever() {
    let mut network = Network::start();
    let (mut gateway, other) = (network.role("gateway"), network.role("gateway"));
    let mut presence = network.role("presence");
    network.wait_for("presence", 1);
    let _alice = (client(&gateway, ALICE), client(&other, ALICE));
    let _bob = client(&gateway, BOB);
    network.shows("alice", "online", 2);
    network.shows("bob", "online", 1);
    presence.edge.kill9();
    gateway.edge.kill9();
    let _presence = network.role("presence");
    network.shows("bob", "offline", 0);
    network.shows("alice", "online", 1);
}

#[test]
fn a_frozen_gateway_is_gone_and_its_clients_are_back_when_it_thaws() {
    let mut network = Network::start();
    let presence = network.role("presence");
    let gateway = network.role("gateway");
    network.wait_for("presence", 1);
    let mut alice = client(&gateway, ALICE);
    network.shows("alice", "online", 1);
    gateway.edge.signal("STOP");
    network.shows("alice", "offline", 0);
    gateway.edge.signal("CONT");
    // It missed events, and says so to everybody.
    while alice.receive().is_ok() {}
    let _alice = eventually("a new socket", || {
        let mut client = Client::upgrade(gateway.port, "/websocket", &[]).ok()?;
        client.connect();
        client.login(ALICE);
        Some(client)
    });
    network.shows("alice", "online", 1);
    drop(presence);
}

#[test]
fn a_gateway_that_dies_while_the_database_is_frozen_takes_its_users_offline_when_that_thaws() {
    let mut network = Network::start();
    let _presence = network.role("presence");
    let mut gateway = network.role("gateway");
    network.wait_for("presence", 1);
    let _alice = client(&gateway, ALICE);
    network.shows("alice", "online", 1);
    network.mongo.freeze();
    gateway.edge.kill9();
    network.wait_for("streamer", 0);
    network.mongo.thaw();
    network.shows("alice", "offline", 0);
}

#[test]
fn two_presence_services_stand_in_for_each_other() {
    let mut network = Network::start();
    // The gateway is there before the presence services, and those start together.
    let mut gateway = network.role("gateway");
    let other = network.role("gateway");
    let starting = [network.starting("presence"), network.starting("presence")];
    network.wait_for("presence", 2);
    network.wait_for("streamer", 2);
    let [mut first, second] = starting;
    let bob = client(&other, BOB);
    let _alice = client(&gateway, ALICE);
    network.shows("alice", "online", 1);
    network.shows("bob", "online", 1);
    // Whichever of them is first in line for the work: it is frozen, and then dead, when a gateway dies.
    first.edge.signal("STOP");
    // Half of them are told to the frozen one, then to the other, and their end to the other alone.
    let passing: Vec<Client> = (0..8).map(|_| client(&other, ALICE)).collect();
    gateway.edge.kill9();
    network.wait_for("presence", 1);
    network.shows("alice", "online", 8);
    drop(passing);
    network.shows("alice", "offline", 0);
    first.edge.signal("CONT");
    network.wait_for("presence", 2);
    // Answered by each behind what it had not read yet.
    let alice = network.find("users", json!({ "username": "alice" }))["_id"].take();
    for _ in 0..2 {
        let look =
            json!({ "cmd": "call", "action": "presence.updateUserPresence", "params": [alice] });
        network.monolith.ask(&look);
    }
    network.shows("alice", "offline", 0);
    first.edge.kill9();
    network.wait_for("presence", 1);
    let again = client(&other, ALICE);
    network.shows("alice", "online", 1);
    drop((again, bob));
    network.shows("alice", "offline", 0);
    network.shows("bob", "offline", 0);
    drop(second);
}

#[test]
fn a_licensed_workspace_is_told_of_everybody_from_the_start() {
    let mut network = Network::start();
    // More sockets than go without a licence.
    let instance = json!({
        "cmd": "write", "collection": "instances", "filter": { "_id": "big" },
        "update": { "$set": {
            "name": "ddp-streamer", "pid": 1, "extraInformation": { "conns": 5_000 }, "_updatedAt": { "$date": 1_000 },
        } },
    });
    network.monolith.ask(&instance);
    let alice = network.find("users", json!({ "username": "alice" }))["_id"].take();
    let node = network.monolith.ready()["nodeID"].clone();
    // Whoever knows the licence is silent when it starts to count.
    network.monolith.signal("STOP");
    let mut presence = network.starting_with("presence", &[("DDP_EDGE_CREATE_INDEXES", "false")]);
    presence.edge.wait_for_ok(presence.port, "/livez");
    network.monolith.signal("CONT");
    network.wait_for("presence", 1);
    let ask =
        |action: &str, params: Value| json!({ "cmd": "call", "action": action, "params": params });
    let connect = ask("presence.newConnection", json!([alice, "s", node]));
    network.monolith.ask(&connect);
    eventually("alice told", || {
        let received = network.monolith.ask(&json!({ "cmd": "received" }));
        let mut lines = received["received"].as_array()?.iter();
        let is_told = |line: &Value| {
            line["event"] == "presence.status" && line["args"][0]["user"]["_id"] == alice
        };
        lines.any(is_told).then_some(())
    });
    let count = ask("presence.getConnectionCount", json!([]));
    eventually("the sockets counted", || {
        (network.monolith.ask(&count)["result"]["current"] == 5_000).then_some(())
    });
    let filter = json!({ "_id": "Presence_broadcast_disabled" });
    assert_ne!(network.find("rocketchat_settings", filter)["value"], true);
}

#[test]
fn a_restart_of_presence_changes_nothing_for_those_who_are_there() {
    let mut network = Network::start();
    let mut presence = network.role("presence");
    let gateway = network.role("gateway");
    network.wait_for("presence", 1);
    let _alice = client(&gateway, ALICE);
    network.shows("alice", "online", 1);
    presence.edge.kill9();
    let presence = network.role("presence");
    network.wait_for("presence", 1);
    // When somebody is swept who came later, and has no node, those who are there could have been swept too.
    let bob = network.find("users", json!({ "username": "bob" }))["_id"].take();
    let ghost = json!({
        "cmd": "call", "action": "presence.newConnection", "params": [bob, "ghost", "nowhere"]
    });
    network.monolith.ask(&ghost);
    network.shows("bob", "online", 1);
    network.shows("bob", "offline", 0);
    network.shows("alice", "online", 1);
    drop(presence);
}

#[test]
fn a_connection_of_an_original_gateway_that_ended_while_presence_stood_still_does_not_come_back() {
    let mut network = Network::start();
    let nodes = |network: &mut Network| -> Vec<Value> {
        let nodes = network.monolith.ask(&json!({ "cmd": "nodes" }))["nodes"].take();
        let all = nodes.as_array().unwrap().iter();
        let serving = all.filter(|node| {
            let services = node["services"].as_array().unwrap();
            services.iter().any(|name| name == "presence")
        });
        serving.map(|node| node["id"].clone()).collect()
    };
    let call = |action: &str, params: Value, node: &Value| {
        let action = format!("presence.{action}");
        json!({ "cmd": "call", "action": action, "params": params, "nodeID": node })
    };
    let first = network.role("presence");
    network.wait_for("presence", 1);
    let stands_still = nodes(&mut network).remove(0);
    let second = network.role("presence");
    network.wait_for("presence", 2);
    let goes_on = nodes(&mut network);
    let goes_on = goes_on.iter().find(|id| **id != stands_still).unwrap();
    let alice = network.find("users", json!({ "username": "alice" }))["_id"].take();
    let gateway = network.monolith.ready()["nodeID"].clone();
    // Of a line without heartbeats the other service knows; of one with them the next heartbeat tells.
    for (session, beats) in [("ghost", false), ("stale", true)] {
        let params = json!([alice, session, gateway]);
        if beats {
            let real = json!([alice, "real", gateway]);
            let beat = json!([alice, "real"]);
            for (action, params) in [("newConnection", &real), ("updateConnection", &beat)] {
                network
                    .monolith
                    .ask(&call(action, params.clone(), &stands_still));
            }
        }
        first.edge.signal("STOP");
        // Fails when that node counts as lost.
        network
            .monolith
            .ask(&call("newConnection", params.clone(), &stands_still));
        network.wait_for("presence", 1);
        if !beats {
            network
                .monolith
                .ask(&call("removeConnection", params, goes_on));
        }
        first.edge.signal("CONT");
        network.wait_for("presence", 2);
        // Answered behind what had not been read.
        let look = call("updateUserPresence", json!([alice]), &stands_still);
        network.monolith.ask(&look);
        match beats {
            false => network.shows("alice", "offline", 0),
            true => network.shows("alice", "online", 1),
        }
    }
    let beat = call("updateConnection", json!([alice, "stale"]), &stands_still);
    assert_eq!(
        network.monolith.ask(&beat)["result"]["connectionId"],
        "stale"
    );
    network.shows("alice", "online", 2);
    drop((first, second));
}

/// What can happen to a process.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fate {
    Runs,
    Frozen,
    Gone,
}

#[test]
fn whatever_dies_freezes_and_starts_in_whichever_order_the_end_is_the_truth() {
    let mut network = Network::start();
    let seed = std::process::id();
    println!("seed {seed}");
    let mut state = seed;
    let mut roll = |sides: u32| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 16) % sides
    };
    let names = ["gateway", "gateway", "presence", "presence"];
    let mut roles: Vec<(Role, Fate)> = names
        .iter()
        .map(|name| (network.role(name), Fate::Runs))
        .collect();
    network.wait_for("presence", 2);
    let mut clients = Vec::new();
    for _ in 0..12 {
        let index = roll(4) as usize;
        let others = |fate: Fate| {
            let same = roles.iter().zip(names).enumerate();
            same.filter(|(at, ((_, is), name))| {
                *at != index && *name == names[index] && *is == fate
            })
            .count()
        };
        // Somebody must be there to log in at.
        let is_needed = names[index] == "gateway" && others(Fate::Runs) == 0;
        let next = match (roles[index].1, roll(2)) {
            (Fate::Runs, _) if is_needed => Fate::Runs,
            (Fate::Runs, 0) => Fate::Gone,
            (Fate::Runs, _) => Fate::Frozen,
            (Fate::Frozen, 0) => Fate::Gone,
            _ => Fate::Runs,
        };
        let (role, fate) = &mut roles[index];
        println!("{} {index}: {fate:?} -> {next:?}", names[index]);
        match (*fate, next) {
            (Fate::Gone, Fate::Runs) => *role = network.role(names[index]),
            (Fate::Frozen, Fate::Runs) => role.edge.signal("CONT"),
            (_, Fate::Frozen) => role.edge.signal("STOP"),
            (_, Fate::Gone) => role.edge.kill9(),
            (_, Fate::Runs) => {}
        }
        *fate = next;
        let running = roles[..2].iter().find(|(_, fate)| *fate == Fate::Runs);
        let (gateway, _) = running.expect("one of them runs");
        let token = [ALICE, BOB][roll(2) as usize];
        // One that has just thawed may turn a socket away: it has missed events.
        clients.extend(visit(gateway.port, token));
        if roll(3) == 0 {
            clients.clear();
        }
    }
    for (role, fate) in &mut roles {
        if *fate != Fate::Gone {
            role.edge.kill9();
        }
    }
    let gateway = network.role("gateway");
    let (first, second) = (network.role("presence"), network.role("presence"));
    network.wait_for("presence", 2);
    let _alice = client(&gateway, ALICE);
    network.shows("alice", "online", 1);
    network.shows("bob", "offline", 0);
    drop((first, second));
}
