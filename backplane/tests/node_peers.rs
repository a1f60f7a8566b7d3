//! Beside real Node processes with Moleculer 0.14: what they see of us, and what we see of them.

mod support;

use std::time::Duration;

use backplane::{
    Bus, CallOptions, Code, ErrorKind, Incoming, MeteorError, RemoteError, ServiceError,
};
use bytes::Bytes;
use harness::{NatsServer, NodeProcess};
use serde_json::{Value, json};
use support::{NatsBus, config, echo, find, listener, next_event, next_request, text, until};

/// A NATS server, one Node peer, and our node, which know each other.
struct Network {
    peer: NodeProcess,
    bus: NatsBus,
    _nats: NatsServer,
}

impl Network {
    async fn start() -> Self {
        let nats = NatsServer::start();
        let bus = NatsBus::start(config(&nats.url(), "edge-1"));
        let peer = start_peer(&nats, "peer-1", &[]);
        until("the peer's services", || bus.has_service("peer")).await;
        Self {
            peer,
            bus,
            _nats: nats,
        }
    }

    async fn call(&self, action: &str, params: &str) -> Result<Option<Bytes>, backplane::Error> {
        self.bus.call(action, params, CallOptions::default()).await
    }

    async fn refusal(&self, action: &str, params: &str) -> RemoteError {
        match self.call(action, params).await.unwrap_err().kind {
            ErrorKind::Refused(remote) => *remote,
            kind => panic!("{kind:?}"),
        }
    }
}

fn start_peer(nats: &NatsServer, id: &str, environment: &[(&str, &str)]) -> NodeProcess {
    let url = nats.url();
    let environment = [&[("TRANSPORTER", url.as_str())], environment].concat();
    NodeProcess::start("peer.js", &["--node-id", id], &environment)
}

fn node<'a>(answer: &'a Value, id: &str) -> Option<&'a Value> {
    answer["nodes"]
        .as_array()
        .unwrap()
        .iter()
        .find(|node| node["id"] == id)
}

#[tokio::test]
async fn a_node_sees_our_services_come_and_go_and_our_leave() {
    let mut net = Network::start().await;
    let inbox = net.bus.announce(echo());
    let names = json!(["echo"]);
    assert!(
        net.peer
            .ask(&json!({"cmd": "waitForServices", "names": names}))["error"]
            .is_null()
    );
    drop(inbox);
    net.peer.wait_for("an update without the service", |line| {
        line["node"] == "updated" && line["id"] == "edge-1"
    });
    let _inbox = net.bus.announce(echo());
    net.peer
        .ask(&json!({"cmd": "waitForServices", "names": names}));

    net.bus.leave(support::PATIENCE).await;
    let gone = net.peer.wait_for("our leave", |line| {
        line["node"] == "disconnected" && line["id"] == "edge-1"
    });
    assert_eq!(gone["unexpected"], false);
    // The driver ends with the leave, so no heartbeat brings us back.
    net.bus.join();
    let nodes = net.peer.ask(&json!({"cmd": "nodes"}));
    assert_eq!(node(&nodes, "edge-1").unwrap()["available"], false);
}

#[tokio::test]
async fn we_see_a_node_come_leave_and_come_again() {
    let mut net = Network::start().await;
    let mut inbox = net.bus.announce(echo());
    net.peer.send(&json!({"cmd": "stop"}));
    let (down, unexpected) = find(&mut inbox, "the leave", |incoming| match incoming {
        Incoming::NodeDown { node, unexpected } => Some((node, unexpected)),
        _ => None,
    })
    .await;
    assert_eq!(
        (&*down.id, down.available, unexpected),
        ("peer-1", false, false)
    );
    assert!(!net.bus.has_service("peer"));
    assert_eq!(
        net.call("peer.echo", "[]").await.unwrap_err().kind,
        ErrorKind::NotFound
    );

    net.peer = start_peer(&net._nats, "peer-1", &[]);
    let up = find(&mut inbox, "the return", |incoming| match incoming {
        Incoming::NodeUp(node) => Some(node),
        Incoming::Gap(gap) => panic!("a new process is no gap: {gap:?}"),
        _ => None,
    })
    .await;
    assert_eq!((&*up.id, up.local), ("peer-1", false));
    until("its services", || net.bus.has_service("peer")).await;
}

#[tokio::test]
async fn a_node_that_offers_something_new_later_says_so() {
    let nats = NatsServer::start();
    let bus = NatsBus::start(config(&nats.url(), "edge-1"));
    let mut inbox = bus.announce(echo());
    let mut peer = start_peer(&nats, "peer-1", &[]);
    until("its first services", || bus.has_service("peer")).await;
    peer.send(&json!({"cmd": "create", "name": "late"}));
    find(&mut inbox, "the new service", |incoming| match incoming {
        Incoming::NodeOffers(node) => node
            .services
            .iter()
            .any(|name| **name == *"late")
            .then_some(()),
        _ => None,
    })
    .await;
    assert!(bus.has_service("late"));
}

#[tokio::test]
async fn our_services_stay_secret_until_settings_and_license_are_there() {
    let nats = NatsServer::start();
    let watcher = NatsBus::start(config(&nats.url(), "watcher"));
    let dependencies = vec!["settings".to_owned(), "license".to_owned()];
    let bus = NatsBus::start(backplane::Config {
        dependencies,
        ..config(&nats.url(), "edge-1")
    });
    let _inbox = bus.announce(echo());
    until("our node", || watcher.nodes().len() == 2).await;
    assert!(!watcher.has_service("echo") && !bus.status().announced && !bus.status().services_seen);
    let _peer = start_peer(&nats, "peer-1", &[]);
    until("our service", || watcher.has_service("echo")).await;
    assert!(bus.status().announced && bus.status().services_seen);
}

#[tokio::test]
async fn calls_to_a_node_bring_back_what_its_handler_returned() {
    let net = Network::start().await;
    let params = r#"[{"$date":1700000000000},{"$binary":"aGk="},null,1.5,"é😀"]"#;
    assert_eq!(
        net.call("peer.echo", params)
            .await
            .unwrap()
            .as_deref()
            .map(text),
        Some(params)
    );
    assert_eq!(net.call("peer.undefined", "[]").await, Ok(None));
    assert_eq!(
        net.call("peer.null", "[]").await.unwrap().as_deref(),
        Some(&b"null"[..])
    );
    let options = CallOptions {
        node: Some("peer-1".to_owned()),
        ..CallOptions::default()
    };
    assert!(net.bus.call("peer.echo", "[]", options).await.is_ok());
}

#[tokio::test]
async fn errors_of_a_node_arrive_with_their_true_code() {
    let net = Network::start().await;
    let thrown = net.refusal("peer.boom", r#"["meteor"]"#).await;
    assert_eq!(
        thrown.meteor(),
        Some(MeteorError {
            error: Code::Text("error-presence-disabled".to_owned()),
            reason: Some("Presence is disabled".to_owned()),
            details: Some(Bytes::from_static(br#"{"method":"setStatus"}"#)),
        })
    );
    let thrown = net.refusal("peer.boom", r#"["meteor403"]"#).await;
    assert_eq!(thrown.meteor().unwrap().error, Code::Number(403));
    let thrown = net.refusal("peer.boom", r#"["plain"]"#).await;
    assert_eq!(
        (&*thrown.message, thrown.meteor()),
        ("Cannot enable broadcast", None)
    );
    let thrown = net.refusal("peer.boom", r#"["string"]"#).await;
    assert_eq!(
        (&*thrown.name, thrown.code.as_deref()),
        ("MoleculerError", Some("500"))
    );
    let thrown = net.refusal("peer.big", "[1100000]").await;
    assert_eq!(
        (&*thrown.name, thrown.code.as_deref()),
        ("NatsError", Some("MAX_PAYLOAD_EXCEEDED"))
    );
}

#[tokio::test]
async fn a_call_to_a_node_ends_at_its_deadline() {
    let net = Network::start().await;
    let options = CallOptions {
        timeout: Some(Duration::from_millis(100)),
        ..CallOptions::default()
    };
    let outcome = net.bus.call("peer.slow", "[60000]", options).await;
    assert_eq!(outcome.unwrap_err().kind, ErrorKind::Timeout);
    assert_eq!(net.bus.stats().calls_pending, 0);
}

/// What a Node caller gets when our handler answers `outcome`.
async fn answered(net: &mut Network, outcome: Result<Option<Bytes>, ServiceError>) -> Value {
    let mut inbox = net.bus.announce(echo());
    net.peer
        .ask(&json!({"cmd": "waitForServices", "names": ["echo"]}));
    net.peer
        .send(&json!({"cmd": "call", "action": "echo.it", "params": [1, null, {"$date": 5}]}));
    let request = next_request(&mut inbox).await;
    assert_eq!(text(&request.params), r#"[1,null,{"$date":5}]"#);
    request.respond(outcome);
    net.peer
        .wait_for("the answer", |line| line["reply"] == "call")
}

#[tokio::test]
async fn a_node_gets_our_results() {
    let mut net = Network::start().await;
    let result = br#"{"a":[1.5,{"$date":7}]}"#;
    let answer = answered(&mut net, Ok(Some(Bytes::from_static(result)))).await;
    assert_eq!(answer["result"], json!({"a": [1.5, {"$date": 7}]}));
    assert_eq!(answered(&mut net, Ok(None)).await.get("result"), None);
}

#[tokio::test]
async fn a_node_gets_our_errors_as_from_the_original() {
    let mut net = Network::start().await;
    let meteor = MeteorError {
        error: Code::Text("error-x".to_owned()),
        reason: Some("Because".to_owned()),
        details: Some(Bytes::from_static(br#"{"d":1}"#)),
    };
    let answer = answered(&mut net, Err(ServiceError::Meteor(meteor))).await;
    // The original's restorer takes the message for the code.
    assert_eq!(answer["error"]["code"], "Because [error-x]");
    assert_eq!(
        (&answer["error"]["reason"], &answer["error"]["details"]),
        (&json!("Because"), &json!({"d": 1}))
    );
    let plain = ServiceError::Plain {
        name: "Error".to_owned(),
        message: "no".to_owned(),
    };
    assert_eq!(
        answered(&mut net, Err(plain)).await["error"]["message"],
        "no"
    );
}

/// A peer rebuilds these from their data, and would wait for its deadline if there were none.
#[tokio::test]
async fn a_node_gets_errors_of_moleculers_own_names_at_once() {
    let mut net = Network::start().await;
    let mut inbox = net.bus.announce(echo());
    net.peer
        .ask(&json!({"cmd": "waitForServices", "names": ["echo"]}));
    for (name, kind) in [
        ("ServiceNotFoundError", "SERVICE_NOT_FOUND"),
        ("ServiceNotAvailableError", "SERVICE_NOT_AVAILABLE"),
        ("RequestTimeoutError", "REQUEST_TIMEOUT"),
        ("RequestSkippedError", "REQUEST_SKIPPED"),
        ("RequestRejectedError", "REQUEST_REJECTED"),
        ("QueueIsFullError", "QUEUE_FULL"),
        ("MaxCallLevelError", "MAX_CALL_LEVEL"),
    ] {
        let error = ServiceError::Plain {
            name: name.to_owned(),
            message: "in our words".to_owned(),
        };
        net.peer.send(&json!({"cmd": "call", "action": "echo.it"}));
        next_request(&mut inbox).await.respond(Err(error));
        let answer = net
            .peer
            .wait_for("the answer", |line| line["reply"] == "call");
        let error = &answer["error"];
        assert_eq!(
            (&error["name"], &error["type"]),
            (&name.into(), &kind.into()),
            "{answer}"
        );
    }
}

#[tokio::test]
async fn a_result_that_the_bus_cannot_carry_becomes_an_error() {
    let mut net = Network::start().await;
    let huge = format!("\"{}\"", "x".repeat(1_100_000));
    let answer = answered(&mut net, Ok(Some(Bytes::from(huge)))).await;
    assert_eq!(answer["error"]["message"], "MAX_PAYLOAD_EXCEEDED");
    let params = format!("[\"{}\"]", "x".repeat(1_100_000));
    assert_eq!(
        net.call("peer.echo", &params).await.unwrap_err().kind,
        ErrorKind::TooLarge
    );
}

#[tokio::test]
async fn a_nested_call_of_a_node_says_so() {
    let mut net = Network::start().await;
    let mut inbox = net.bus.announce(echo());
    net.peer
        .ask(&json!({"cmd": "waitForServices", "names": ["echo"]}));
    net.peer
        .send(&json!({"cmd": "call", "action": "watcher.nested", "params": ["echo.it", []]}));
    let request = next_request(&mut inbox).await;
    assert_eq!(request.context.level, 2);
    assert_ne!(request.context.request_id, request.context.id);
    request.respond(Ok(None));
    net.peer
        .wait_for("the answer", |line| line["reply"] == "call");
}

#[tokio::test]
async fn broadcasts_go_both_ways() {
    let mut net = Network::start().await;
    let mut one = net.bus.announce(listener("one"));
    let mut two = net.bus.announce(listener("two"));
    net.peer
        .ask(&json!({"cmd": "waitForServices", "names": ["one", "two"]}));

    net.peer.ask(&json!({"cmd": "broadcast", "event": "test.event", "args": [[["notify-room", "é", [{"$date": 1}]]]]}));
    for inbox in [&mut one, &mut two] {
        let event = next_event(inbox).await;
        assert_eq!(&*event.args, r#"[[["notify-room","é",[{"$date":1}]]]]"#);
        assert_eq!((&*event.sender, event.from_us), ("peer-1", false));
    }
    net.peer
        .ask(&json!({"cmd": "broadcast", "event": "test.event", "args": [1], "groups": ["two"]}));
    net.peer
        .ask(&json!({"cmd": "emit", "event": "test.event", "args": [2]}));
    assert_eq!(&*next_event(&mut one).await.args, "[2]");
    assert_eq!(&*next_event(&mut two).await.args, "[1]");
    assert_eq!(&*next_event(&mut two).await.args, "[2]");

    net.bus.broadcast("test.event", r#"[1,{"$date":5}]"#);
    net.bus
        .broadcast_to("test.other", "[\"never\"]", &["nobody"]);
    net.bus.broadcast_to("test.other", "[2]", &["peer"]);
    net.bus.emit("test.event", "[3]");
    let mut heard = Vec::new();
    for _ in 0..3 {
        heard.push(
            net.peer
                .wait_for("our event", |line| line["from"] == "edge-1"),
        );
    }
    let heard: Vec<_> = heard
        .iter()
        .map(|line| (line["event"].as_str().unwrap(), line["args"].to_string()))
        .collect();
    let expected = [
        ("test.event", r#"[1,{"$date":5}]"#),
        ("test.other", "[2]"),
        ("test.event", "[3]"),
    ];
    assert_eq!(heard, expected.map(|(name, args)| (name, args.to_owned())));
}

#[tokio::test]
async fn a_burst_of_a_node_arrives_whole_and_in_order() {
    const COUNT: usize = 5_000;
    let mut net = Network::start().await;
    let mut inbox = net.bus.announce(listener("one"));
    net.peer
        .ask(&json!({"cmd": "waitForServices", "names": ["one"]}));
    net.peer
        .send(&json!({"cmd": "burst", "event": "test.event", "count": COUNT, "size": 500}));
    let mut batch = Vec::new();
    let mut next = 0;
    while next < COUNT {
        inbox.recv_batch(&mut batch).await;
        for incoming in batch.drain(..) {
            match incoming {
                Incoming::Event(event) => {
                    assert!(event.args.starts_with(&format!("[{next},")), "{next}");
                    next += 1;
                }
                Incoming::Gap(gap) => panic!("{gap:?}"),
                _ => {}
            }
        }
    }
    assert_eq!(net.bus.stats().messages_lost, 0);
}

#[tokio::test]
async fn a_namespace_keeps_networks_apart() {
    let nats = NatsServer::start();
    let inside = NatsBus::start(backplane::Config {
        namespace: Some("rc1".to_owned()),
        ..config(&nats.url(), "in")
    });
    let outside = NatsBus::start(config(&nats.url(), "out"));
    let _peer = start_peer(&nats, "peer-1", &[("MS_NAMESPACE", "rc1")]);
    until("the peer", || inside.has_service("peer")).await;
    assert!(
        inside
            .call("peer.echo", "[]", CallOptions::default())
            .await
            .is_ok()
    );
    assert!(!Bus::has_service(&outside, "peer"));
}
