//! Our own satellites on a real nats-server and MongoDB, beside a monolith that hosts only what belongs to it: as four
//! processes, and all in one.

use std::fs;

use harness::{Client, Edge, MongoServer, NatsServer, NodeProcess, eventually, free_port};
use serde_json::{Value, json};
use store::{
    MongoConfig, Store,
    bson::{DateTime, Document, doc},
};

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
        self.role_with(role, &[])
    }

    fn role_with(&self, role: &str, variables: &[(&str, &str)]) -> (Edge, u16) {
        let (mut edge, port) = self.role_alone(role, variables);
        edge.wait_for_ok(port, "/readyz");
        (edge, port)
    }

    /// Starts a role and waits for nothing.
    fn role_alone(&self, role: &str, variables: &[(&str, &str)]) -> (Edge, u16) {
        let port = free_port();
        let (number, transporter) = (port.to_string(), self.nats.url());
        let mut environment = vec![
            ("PORT", number.as_str()),
            ("TRANSPORTER", &transporter),
            ("MONGO_URL", &self.mongo_url),
            HEARTBEATS[0],
            HEARTBEATS[1],
        ];
        environment.extend(variables);
        (Edge::start(BINARY, &[role], &environment), port)
    }

    /// Calls an action from the monolith: the result, or what the error says.
    fn call(&mut self, action: &str, params: &Value) -> Result<Value, String> {
        let command = json!({ "cmd": "call", "action": action, "params": params });
        let reply = self.monolith.ask(&command);
        match reply["error"].as_str() {
            Some(error) => Err(error.to_owned()),
            None => Ok(reply["result"].clone()),
        }
    }

    fn may(&mut self, action: &str, params: &Value) -> Result<bool, String> {
        let answer = self.call(&format!("authorization.{action}"), params)?;
        Ok(answer.as_bool().expect("yes or no"))
    }

    /// Writes to the database, which nobody announces.
    fn write<T>(&self, write: impl AsyncFnOnce(&Store) -> T) -> T {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        runtime.block_on(async {
            let config = MongoConfig {
                url: self.mongo_url.clone(),
                ..MongoConfig::default()
            };
            write(&Store::mongo(config).await.expect("the database")).await
        })
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

/// services.md 11.
const HASHES: [(&str, &str); 3] = [
    ("abc", "ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0="),
    (
        "1f2e3d4c-5b6a-4798-8899-aabbccddeeff",
        "OfwIBw0O7wKjvzIm70YMi5OGVwNtC84f096e9VdM+ec=",
    ),
    (
        "Zq0_Y8mC3vJt1xLwN5uRkPdHsBfGaEiOyT7cXnMbVhQ",
        "dziiPOFiZ4ih7EzFTKdSPipczBUttZvMzyL3tN8dnt4=",
    ),
];
const DIGEST: &str = "4104d36f8da2c254349f85836793ebe029e0c957063a34c91c2e9203187b5631";
const BCRYPT: [&str; 2] = [
    "$2b$10$N9qo8uLOickgx2ZMRZoMye9ziAGq7vck5tvJgDvwdigaC3VYxmYaC",
    "$2b$10$N9qo8uLOickgx2ZMRZoMyeJO/0Iv0xkdctmXziw7z5HqVYx6andwW",
];

/// What the process has taken of the processor, in the kernel's ticks.
fn cpu_ticks(edge: &Edge) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{}/stat", edge.id())).expect("it runs");
    // What stands in parentheses is its name.
    let (_, fields) = stat.rsplit_once(')').expect("as proc(5) says");
    let fields = fields.split_whitespace().skip(11).take(2);
    fields.filter_map(|field| field.parse::<u64>().ok()).sum()
}

#[test]
fn accounts_gives_the_answers_of_the_contract() {
    let mut network = Network::start();
    let (accounts, _) = network.role_with("accounts", &[("DDP_EDGE_PASSWORD_LOGIN", "true")]);
    network.wait_for(&["accounts"]);
    let when = 1_000 * (DateTime::now().timestamp_millis() / 1_000);
    network.write(async |store| {
        let token =
            |hashed: &str| doc! { "hashedToken": hashed, "when": DateTime::from_millis(when) };
        let holder =
            |id: &str, services: Document| doc! { "_id": id, "username": id, "services": services };
        let tokens: Vec<_> = HASHES.iter().map(|(_, hashed)| token(hashed)).collect();
        let users = [
            holder("holder", doc! { "resume": { "loginTokens": tokens } }),
            holder("right", doc! { "password": { "bcrypt": BCRYPT[0] } }),
            holder("wrong", doc! { "password": { "bcrypt": BCRYPT[1] } }),
        ];
        for user in users {
            store.insert_user(user).await.unwrap();
        }
    });
    let resume = |network: &mut Network, token: &str| {
        network.call("accounts.login", &json!([{ "resume": token }]))
    };
    for (token, hashed) in HASHES {
        let granted = resume(&mut network, token).unwrap();
        let expected = json!({
            "uid": "holder", "token": token, "hashedToken": hashed, "type": "resume",
            "tokenExpires": { "$date": when + 90 * 86_400_000 },
        });
        assert_eq!(granted, expected);
    }
    for (value, days) in [
        (json!(1), 1.0),
        (json!(0.5), 0.5),
        (json!(0), 90.0),
        (json!(2), 2.0),
        (json!(-1), 90.0),
        (json!(2), 2.0),
        (json!("30"), 90.0),
        (json!(2), 2.0),
        (json!(null), 90.0),
        (json!(2), 2.0),
        // What JSON makes of NaN where EJSON has no word for it.
        (json!("NaN"), 90.0),
    ] {
        network.monolith.ask(
            &json!({ "cmd": "setSetting", "setting": "Accounts_LoginExpiration", "value": value }),
        );
        let end = when + (days * 86_400_000.0) as i64;
        // The event and the question take different ways.
        eventually("the setting applies", || {
            let granted = resume(&mut network, "abc").unwrap();
            (granted["tokenExpires"]["$date"] == end).then_some(())
        });
    }
    for (name, is_right) in [("right", true), ("wrong", false), ("nobody", false)] {
        let login = json!([{ "user": { "username": name }, "password": { "digest": DIGEST, "algorithm": "sha-256" } }]);
        let granted = network.call("accounts.login", &login).unwrap();
        assert_eq!(granted["uid"] == name, is_right, "{name}: {granted}");
    }
    // Whether somebody has the name does not show in the work, nearly all of which is bcrypt's.
    let [wrong, nobody, without] = ["wrong", "nobody", "holder"].map(|name| {
        let before = cpu_ticks(&accounts);
        for _ in 0..5 {
            let login = json!([{ "user": { "username": name }, "password": "made up" }]);
            assert_eq!(network.call("accounts.login", &login), Ok(json!(false)));
        }
        cpu_ticks(&accounts) - before
    });
    println!(
        "ticks of five logins: {wrong}, without a user {nobody}, without a password {without}"
    );
    assert!(wrong > 0 && 2 * nobody > wrong && 2 * without > wrong);
    let logout = json!([{ "userId": "holder", "token": HASHES[0].1 }]);
    network.call("accounts.logout", &logout).unwrap();
    assert_eq!(resume(&mut network, "abc"), Ok(json!(false)));
    drop(accounts);
}

#[test]
fn authorization_gives_the_answers_of_the_contract() {
    let mut network = Network::start();
    let (authorization, _) = network.role("authorization");
    network.wait_for(&["authorization", "abac"]);
    network.write(async |store| {
        let user = |id: &str, roles: &[&str]| doc! { "_id": id, "username": id, "roles": roles };
        store
            .insert_user(user("guest-admin", &["guest", "admin"]))
            .await
            .unwrap();
        store.insert_user(user("user", &["user"])).await.unwrap();
        store.insert_user(user("bot", &["bot"])).await.unwrap();
        store
            .insert_team(doc! { "_id": "private-team", "type": 1 })
            .await
            .unwrap();
        let rooms = [
            doc! { "_id": "of-team", "t": "c", "teamId": "private-team" },
            doc! { "_id": "discussion", "t": "p", "prid": "lounge" },
        ];
        for room in rooms {
            store.insert_room(room).await.unwrap();
        }
    });
    network.monolith.ask(
        &json!({ "cmd": "setPermission", "permission": "create-c", "roles": ["admin", "user"] }),
    );
    eventually("the guests' list is known", || {
        let answer = network.may("hasPermission", &json!(["guest-admin", "create-c"]));
        (answer == Ok(false)
            && network.may("hasPermission", &json!(["user", "create-c"])) == Ok(true))
        .then_some(())
    });
    for (action, params, expected) in [
        ("hasAllPermission", json!(["user", []]), Ok(true)),
        ("hasAtLeastOnePermission", json!(["user", []]), Ok(false)),
        (
            "hasPermission",
            json!(["user", "no-such-permission"]),
            Ok(false),
        ),
        (
            "hasAllPermission",
            json!(["user", null]),
            Err("invalid-param"),
        ),
        (
            "hasAllPermission",
            json!(["user", ["create-c", null]]),
            Err("invalid-param"),
        ),
        (
            "hasAllPermission",
            json!(["user", { "$ne": 1 }]),
            Err("invalid-param"),
        ),
        ("canAccessRoomId", json!(["of-team", "user"]), Ok(false)),
        ("canAccessRoomId", json!(["discussion", "user"]), Ok(true)),
        ("canAccessRoomId", json!(["lounge"]), Ok(false)),
        (
            "canAccessRoom",
            json!([{ "_id": "secret", "t": "l" }, { "_id": "user" }]),
            Ok(false),
        ),
        (
            "canAccessRoom",
            json!([null, null, { "rid": "secret" }]),
            Ok(false),
        ),
        // A bot may see public rooms, but not look into those it is not in.
        (
            "canAccessRoom",
            json!([{ "_id": "lounge", "t": "c" }, { "_id": "bot" }]),
            Ok(true),
        ),
        (
            "canReadRoom",
            json!([{ "_id": "lounge", "t": "c" }, { "_id": "bot" }]),
            Ok(false),
        ),
        (
            "canReadRoom",
            json!([{ "_id": "lounge", "t": "c" }, { "_id": "user" }]),
            Ok(true),
        ),
    ] {
        let expected = expected.map_err(str::to_owned);
        assert_eq!(network.may(action, &params), expected, "{action} {params}");
    }
    drop(authorization);
}

#[test]
fn what_somebody_loses_is_lost_for_the_next_question() {
    let mut network = Network::start();
    let (authorization, _) = network.role("authorization");
    network.wait_for(&["authorization"]);
    let privileged = json!(["bobbbbbbbbbbbbbbb", "view-privileged-setting"]);
    let secret = json!(["secret", "bobbbbbbbbbbbbbbb"]);
    for _ in 0..5 {
        network.monolith.ask(
            &json!({ "cmd": "setUser", "username": "bob", "set": { "roles": ["user", "admin"] } }),
        );
        assert_eq!(network.may("hasPermission", &privileged), Ok(true));
        network
            .monolith
            .ask(&json!({ "cmd": "setUser", "username": "bob", "set": { "roles": ["user"] } }));
        assert_eq!(network.may("hasPermission", &privileged), Ok(false));
    }
    assert_eq!(network.may("canAccessRoomId", &secret), Ok(true));
    network.write(async |store| {
        let ban = store::Update::set(doc! { "status": "BANNED" });
        store
            .update_subscription("secret", "bobbbbbbbbbbbbbbb", ban)
            .await
            .unwrap();
    });
    assert_eq!(network.may("canAccessRoomId", &secret), Ok(false));
    drop(authorization);
}

#[test]
fn two_refusals_of_the_licence_end_the_node_in_every_role() {
    let mut network = Network::start();
    network
        .monolith
        .ask(&json!({ "cmd": "license", "valid": false }));
    for role in [
        "gateway",
        "accounts",
        "authorization",
        "presence",
        "stream-hub",
    ] {
        let variables = [
            ("LICENSE_CHECK_INTERVAL", "0.1"),
            // With a second service in its process it would not be the only one there is.
            ("USE_EXTERNAL_ABAC_SERVICE", "true"),
        ];
        let (mut edge, _) = network.role_alone(role, &variables);
        edge.wait_for_line("no licence for more than one instance");
        assert_eq!(edge.wait_for_end().code(), Some(1), "{role}");
        // The next one must be alone.
        eventually("the node has left", || {
            let nodes = network.monolith.ask(&json!({ "cmd": "nodes" }));
            let known = nodes["nodes"].as_array()?;
            let others = known
                .iter()
                .filter(|node| node["available"] == true)
                .count();
            (others == 1).then_some(())
        });
    }
}

#[test]
fn a_node_that_only_says_it_is_the_licence_ends_nobody() {
    let mut network = Network::start();
    let nats = network.nats.url();
    let environment = [
        ("TRANSPORTER", nats.as_str()),
        ("MONGO_URL", &network.mongo_url),
    ];
    let mut invented = NodeProcess::start("monolith.js", &["--services", "license"], &environment);
    invented.ask(&json!({ "cmd": "license", "valid": false }));
    let variables = [
        ("LICENSE_CHECK_INTERVAL", "0.1"),
        ("USE_EXTERNAL_ABAC_SERVICE", "true"),
    ];
    let (mut edge, port) = network.role_with("accounts", &variables);
    for _ in 0..10 {
        invented.wait_for("a question", |line| {
            line["call"] == "license.hasValidLicense"
        });
    }
    edge.wait_for_ok(port, "/readyz");
    network
        .monolith
        .ask(&json!({ "cmd": "license", "valid": false }));
    edge.wait_for_line("no licence for more than one instance");
    assert_eq!(edge.wait_for_end().code(), Some(1));
}

#[test]
fn of_two_nodes_with_all_roles_one_ends_without_a_licence() {
    let mut network = Network::start();
    network
        .monolith
        .ask(&json!({ "cmd": "license", "valid": false }));
    let variables = [("LICENSE_CHECK_INTERVAL", "0.5")];
    let mut pair = [
        network.role_alone("all", &variables).0,
        network.role_alone("all", &variables).0,
    ];
    let node = |edge: &Edge| {
        let line: Value = serde_json::from_str(&edge.wait_for_line("\"started\"")).expect("JSON");
        line["node"].as_str().expect("the node's id").to_owned()
    };
    let first = usize::from(node(&pair[1]) < node(&pair[0]));
    pair[first].wait_for_line("no licence for more than one instance");
    assert_eq!(pair[first].wait_for_end().code(), Some(1));
}

/// The gateway asks our own authorization, which has no memory that could answer for a role or a place that is lost.
fn rights_end_with_their_reasons(roles: &[&str]) {
    let mut network = Network::start();
    let edges: Vec<_> = roles.iter().map(|role| network.role(role)).collect();
    let port = edges.last().expect("the gateway comes last").1;
    network.wait_for(&["accounts", "authorization", "streamer"]);
    let set_roles = |network: &mut Network, roles: Value| {
        let command = json!({ "cmd": "setUser", "username": "bob", "set": { "roles": roles } });
        network.monolith.ask(&command);
    };
    let settings = |client: &mut Client| client.stream("notify-logged", "private-settings-changed");
    set_roles(&mut network, json!(["user", "admin"]));
    let mut bob = Client::open(port);
    bob.login("resume-token-of-bob");
    settings(&mut bob).expect("an admin sees them");
    bob.stream("room-messages", "secret")
        .expect("a member reads");
    bob.close();
    set_roles(&mut network, json!(["user"]));
    network.write(async |store| {
        let ban = store::Update::set(doc! { "status": "BANNED" });
        let bob = "bobbbbbbbbbbbbbbb";
        store
            .update_subscription("secret", bob, ban)
            .await
            .expect("the database");
    });
    let subscription = json!({ "_id": "secret-bob", "rid": "secret", "u": { "_id": "bobbbbbbbbbbbbbbb" }, "status": "BANNED" });
    let args = json!([{ "clientAction": "updated", "subscription": subscription }]);
    network
        .monolith
        .ask(&json!({ "cmd": "broadcast", "event": "watch.subscriptions", "args": args }));
    // The events take a moment, and the gateway doubts what is fresh: what counts is that it ends, and for good.
    let mut bob = Client::open(port);
    bob.login("resume-token-of-bob");
    eventually("the rights have ended", || {
        (settings(&mut bob).is_err() && bob.stream("room-messages", "secret").is_err())
            .then_some(())
    });
    let mut again = Client::open(port);
    again.login("resume-token-of-bob");
    assert!(settings(&mut again).is_err());
    assert!(again.stream("room-messages", "secret").is_err());
}

#[test]
fn rights_end_with_their_reasons_where_each_role_has_a_process() {
    rights_end_with_their_reasons(&["accounts", "authorization", "presence", "gateway"]);
}

#[test]
fn rights_end_with_their_reasons_in_one_process() {
    rights_end_with_their_reasons(&["all"]);
}
