//! A gateway's beginning and end, and what it says meanwhile.

use std::net::TcpStream;

use harness::{Client, Edge, Workspace, eventually};
use serde_json::json;
use store::{MongoConfig, Store};

const BINARY: &str = env!("CARGO_BIN_EXE_ddp-edge");

#[test]
fn it_listens_on_both_kinds_of_addresses() {
    let port = harness::free_port();
    let environment = [
        ("PORT", &*port.to_string()),
        ("TRANSPORTER", "nats://127.0.0.1:1"),
        ("MONGO_URL", "mongodb://127.0.0.1:1/x"),
    ];
    let mut edge = Edge::start(BINARY, &["gateway"], &environment);
    edge.wait_for_ok(port, "/livez");
    TcpStream::connect(("127.0.0.1", port)).expect("IPv4");
    // Where the machine has none, `0.0.0.0` is all there is.
    if std::net::TcpListener::bind(("::1", 0)).is_ok() {
        TcpStream::connect(("::1", port)).expect("IPv6");
    }
}

#[test]
fn a_second_signal_ends_it_at_once_and_says_so() {
    let workspace = Workspace::start(&[]);
    let mut gateway = workspace.gateway(BINARY, &[("DDP_EDGE_DRAIN_SECONDS", "600")]);
    // Sockets whose clients never answer the close: without the second signal they are waited for.
    let clients: Vec<_> = (0..20).map(|_| Client::open(gateway.port)).collect();
    gateway.edge.signal("TERM");
    gateway.edge.wait_for_line("draining");
    gateway.edge.signal("TERM");
    let status = gateway.edge.wait_for_end();
    assert_eq!(status.code(), Some(1), "{status}");
    gateway
        .edge
        .wait_for_line("a second signal: sockets were cut");
    drop(clients);
}

/// As the original's, so that the monolith counts its sockets and presence sees it live.
#[test]
fn its_document_among_the_instances_comes_back_and_goes_with_it() {
    let workspace = Workspace::start(&[]);
    let often = [("MULTIPLE_INSTANCES_PING_INTERVAL", "0.1")];
    let mut gateway = workspace.gateway(BINARY, &often);
    let ours = || {
        let filter = json!({"name": "ddp-streamer"});
        let find = json!({"cmd": "find", "collection": "instances", "filter": filter});
        let mut found = workspace.ask(&find)["documents"].take();
        found.as_array_mut().map(std::mem::take).unwrap_or_default()
    };
    let _client = Client::open(gateway.port);
    let counted = eventually("it is counted", || {
        let found = ours();
        (found.len() == 1 && found[0]["extraInformation"]["conns"] == 1).then(|| found[0].clone())
    });
    assert_eq!(counted["pid"], gateway.edge.id());
    assert!(counted["extraInformation"]["nodeId"].is_string());
    assert!(!counted["_createdAt"].is_null());
    eventually("it moves", || {
        (ours()[0]["_updatedAt"] != counted["_updatedAt"]).then_some(())
    });
    // As the database does when its time is up.
    let config = MongoConfig {
        url: workspace.mongo_url(),
        ..MongoConfig::default()
    };
    let id = counted["_id"].as_str().expect("an id");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let removed = runtime.block_on(async { Store::mongo(config).await?.remove_instance(id).await });
    assert!(removed.expect("the database"));
    eventually("it is back", || {
        let found = ours();
        (found.len() == 1 && found[0]["extraInformation"]["conns"] == 1).then_some(())
    });
    gateway.edge.signal("TERM");
    gateway.edge.wait_for_end();
    assert_eq!(ours().len(), 0);
}

/// Tokens, passwords, cookies and what people write, by every way in which they come to a gateway.
#[test]
fn no_log_level_makes_it_tell_a_secret() {
    let workspace = Workspace::start(&[("DDP_EDGE_RATE_LIMITS", "false")]);
    let trace = [
        ("RUST_LOG", "trace"),
        ("MOLECULER_LOG_LEVEL", "trace"),
        ("DDP_EDGE_PASSWORD_LOGIN", "true"),
    ];
    let gateway = workspace.gateway(BINARY, &trace);
    let user = workspace.user(&["user"]);
    let room = workspace.room("p", &[&user]);
    let headers = [
        ("Cookie", "rc_token=a-cookie-of-mine"),
        ("Authorization", "Bearer a-bearer-of-mine"),
        ("X-Auth-Token", "a-header-of-mine"),
    ];
    let mut client = Client::upgrade(gateway.port, "/websocket", &headers).expect("a websocket");
    client.connect();
    let password = json!([{"user": {"username": "nobody"}, "password": "a-password-of-mine"}]);
    let _ = client.call("login", &password);
    let _ = client.call("login", &json!([{"resume": "a-wrong-token-of-mine"}]));
    client.login(&user.token);
    let guest = json!([{"token": "a-guest-of-mine"}]);
    let _ = client.call("livechat:setUpConnection", &guest);
    client.stream("room-messages", &room).expect("a member");
    let said = json!({"_id": "m", "rid": room, "msg": "a-text-of-mine"});
    workspace.broadcast("watch.messages", &json!([{"message": said}]));
    client.event("room-messages", &room);
    let _ = client.call("test:echo", &json!(["a-payload-of-mine"]));
    let _ = client.call("test:error", &json!(["a-failure-of-mine"]));
    client.send_text(r#"{"msg":"method","method":"a-mistake-of-mine""#);
    client.closed();
    // It logs at this level at all, and has said everything that it says of this client.
    eventually("its end is logged", || {
        let output = gateway.edge.output();
        output
            .iter()
            .any(|line| line.contains("connection ends"))
            .then_some(())
    });
    let output = gateway.edge.output();
    let secrets = ["of-mine", user.token.as_str()];
    for line in output {
        for secret in secrets {
            assert!(!line.contains(secret), "{line}");
        }
    }
}
