//! Odd and hostile packets: each costs a count, none costs a panic, a hang or somebody else's message.

mod support;

use backplane::{CallOptions, ErrorKind, GapCause, GapScope, Incoming, ServiceError};
use futures_util::StreamExt;
use harness::NatsServer;
use support::{NatsBus, config, echo, find, next_event, next_request, until};

/// A hand-made node that says whatever it is told to.
struct Stranger {
    client: async_nats::Client,
    answers: async_nats::Subscriber,
}

impl Stranger {
    async fn start(nats: &NatsServer) -> Self {
        let client = async_nats::connect(nats.url()).await.unwrap();
        let answers = client.subscribe("MOL.*.odd-1").await.unwrap();
        client.flush().await.unwrap();
        Self { client, answers }
    }

    async fn say(&self, kind: &str, packet: impl Into<String>) {
        self.client
            .publish(format!("MOL.{kind}"), packet.into().into())
            .await
            .unwrap();
        self.client.flush().await.unwrap();
    }

    /// The next packet of one kind that was sent to this node.
    async fn hear(&mut self, kind: &str) -> serde_json::Value {
        let search = async {
            loop {
                let message = self.answers.next().await.unwrap();
                if message.subject.as_str() == format!("MOL.{kind}.odd-1") {
                    return serde_json::from_slice(&message.payload).unwrap();
                }
            }
        };
        tokio::time::timeout(support::PATIENCE, search)
            .await
            .unwrap_or_else(|_| panic!("{kind} never came"))
    }
}

#[tokio::test]
async fn every_request_is_answered_however_odd() {
    let nats = NatsServer::start();
    let bus = NatsBus::start(config(&nats.url(), "edge-1"));
    until("connected", || bus.status().connected).await;
    let mut inbox = bus.announce(echo());
    let mut stranger = Stranger::start(&nats).await;
    let head = r#""ver":"4","sender":"odd-1","id":"1","meta":{"optl":{}}"#;
    for (rest, name) in [
        (
            r#""action":"echo.missing","params":[]"#,
            "ServiceNotFoundError",
        ),
        (
            r#""action":"$node.list","params":[]"#,
            "ServiceNotFoundError",
        ),
        (r#""action":"echo.it","params":{}"#, "TypeError"),
        (r#""action":"echo.it","params":null"#, "TypeError"),
        (r#""action":"echo.it""#, "TypeError"),
        (r#""action":5,"params":[]"#, "ServiceNotFoundError"),
        (r#""params":[]"#, "ServiceNotFoundError"),
        (
            r#""action":"echo.it","params":null,"stream":true,"seq":0"#,
            "TypeError",
        ),
    ] {
        stranger
            .say("REQ.edge-1", format!("{{{head},{rest}}}"))
            .await;
        let answer = stranger.hear("RES").await;
        assert_eq!(
            (&answer["success"], &answer["error"]["name"]),
            (&false.into(), &name.into()),
            "{rest}"
        );
        assert_eq!(answer["meta"], serde_json::json!({"optl": {}}));
    }
    // Minimal, from a node that nobody knows, with numbers of nonsense.
    for numbers in [
        "",
        r#","timeout":0,"level":-3"#,
        r#","timeout":1e300,"level":1e300"#,
        r#","timeout":null,"level":null,"caller":null"#,
        r#","timeout":"soon","level":"deep","caller":5,"requestID":7,"parentID":{},"tracing":"no","stream":"no","seq":0"#,
    ] {
        let packet = format!(
            r#"{{"ver":"4","sender":"odd-1","id":"2","action":"echo.it","params":[]{numbers}}}"#
        );
        stranger.say("REQ.edge-1", packet).await;
        let request = next_request(&mut inbox).await;
        assert_eq!(&*request.sender, "odd-1");
        request.respond(Ok(None));
        let answer = stranger.hear("RES").await;
        assert_eq!(
            (&answer["success"], answer.get("data")),
            (&true.into(), None)
        );
    }
}

#[tokio::test]
async fn a_streamed_request_has_one_answer() {
    let nats = NatsServer::start();
    let bus = NatsBus::start(config(&nats.url(), "edge-1"));
    until("connected", || bus.status().connected).await;
    let _inbox = bus.announce(echo());
    let mut stranger = Stranger::start(&nats).await;
    for frame in [
        r#""id":"1","params":null,"stream":true,"seq":0"#,
        r#""id":"1","params":{"$binary":"aGk="},"stream":true,"seq":1"#,
        r#""id":"1","params":null,"stream":false,"seq":2"#,
        r#""id":"2","params":{}"#,
    ] {
        let packet = format!(r#"{{"ver":"4","sender":"odd-1","action":"echo.it",{frame}}}"#);
        stranger.say("REQ.edge-1", packet).await;
    }
    for id in ["1", "2"] {
        assert_eq!(stranger.hear("RES").await["id"], id);
    }
}

#[tokio::test]
async fn a_pong_has_what_the_ping_had() {
    let nats = NatsServer::start();
    let bus = NatsBus::start(config(&nats.url(), "edge-1"));
    until("connected", || bus.status().connected).await;
    let mut stranger = Stranger::start(&nats).await;
    for given in [
        r#"{"time":1795492110075,"id":"p"}"#,
        r#"{"time":"noon","id":{"n":1}}"#,
        r#"{"time":null}"#,
        "{}",
    ] {
        let mut ping: serde_json::Value = serde_json::from_str(given).unwrap();
        ping["ver"] = "4".into();
        ping["sender"] = "odd-1".into();
        stranger.say("PING.edge-1", ping.to_string()).await;
        let mut pong = stranger.hear("PONG").await;
        assert!(pong["arrived"].is_u64(), "{pong}");
        pong.as_object_mut().unwrap().remove("arrived");
        ping["sender"] = "edge-1".into();
        assert_eq!(pong, ping);
    }
}

#[tokio::test]
async fn an_action_that_nobody_offers_is_named_in_the_error() {
    let nats = NatsServer::start();
    let bus = NatsBus::start(config(&nats.url(), "edge-1"));
    until("connected", || bus.status().connected).await;
    let mut stranger = Stranger::start(&nats).await;
    stranger
        .say("REQ.edge-1", request(1, "echo.missing", 1_000))
        .await;
    let error = &stranger.hear("RES").await["error"];
    assert_eq!(
        (&error["code"], &error["type"]),
        (&404.into(), &"SERVICE_NOT_FOUND".into())
    );
    assert_eq!(
        error["data"],
        serde_json::json!({"action": "echo.missing", "nodeID": "edge-1"})
    );
    assert_eq!(error["retryable"], true);
}

#[tokio::test]
async fn a_request_is_answered_at_its_deadline_and_only_once() {
    let nats = NatsServer::start();
    let bus = NatsBus::start(config(&nats.url(), "edge-1"));
    until("connected", || bus.status().connected).await;
    let mut inbox = bus.announce(echo());
    let mut stranger = Stranger::start(&nats).await;
    stranger.say("REQ.edge-1", request(1, "echo.it", 100)).await;
    let held = next_request(&mut inbox).await;
    let answer = stranger.hear("RES").await;
    let error = &answer["error"];
    assert_eq!(
        (&answer["id"], &answer["success"]),
        (&"1".into(), &false.into())
    );
    assert_eq!(
        (&error["name"], &error["code"], &error["type"]),
        (
            &"RequestTimeoutError".into(),
            &504.into(),
            &"REQUEST_TIMEOUT".into()
        )
    );
    assert_eq!(
        error["data"],
        serde_json::json!({"action": "echo.it", "nodeID": "odd-1"})
    );
    assert_eq!(
        (bus.stats().requests_open, bus.stats().requests_late),
        (0, 1)
    );
    held.respond(Ok(None));
    stranger
        .say("REQ.edge-1", request(2, "echo.it", 60_000))
        .await;
    next_request(&mut inbox).await.respond(Ok(None));
    assert_eq!(
        stranger.hear("RES").await["id"],
        "2",
        "the late answer is dropped"
    );
    // A handler that sees it first says the same.
    stranger
        .say("REQ.edge-1", request(3, "echo.it", 60_000))
        .await;
    let late = ServiceError::Plain {
        name: "RequestTimeoutError".to_owned(),
        message: "too late".to_owned(),
    };
    next_request(&mut inbox).await.respond(Err(late));
    assert_eq!(
        stranger.hear("RES").await["error"]["data"],
        serde_json::json!({"action": "echo.it", "nodeID": "odd-1"})
    );
}

#[tokio::test]
async fn work_that_nobody_waits_for_any_more_is_not_begun() {
    let nats = NatsServer::start();
    let bus = NatsBus::start(config(&nats.url(), "edge-1"));
    until("connected", || bus.status().connected).await;
    let mut inbox = bus.announce(echo());
    let mut stranger = Stranger::start(&nats).await;
    for id in 1..=2 {
        stranger.say("REQ.edge-1", request(id, "echo.it", 50)).await;
    }
    stranger
        .say("REQ.edge-1", request(3, "echo.other", 60_000))
        .await;
    for _ in 1..=2 {
        assert_eq!(stranger.hear("RES").await["error"]["code"], 504);
    }
    assert_eq!(next_request(&mut inbox).await.action, "echo.other");
    assert_eq!(bus.stats().requests_stale, 2);
}

#[tokio::test]
async fn a_node_that_leaves_answers_what_is_under_way_and_refuses_the_rest() {
    let nats = NatsServer::start();
    let bus = NatsBus::start(config(&nats.url(), "edge-1"));
    until("connected", || bus.status().connected).await;
    let mut inbox = bus.announce(echo());
    let mut stranger = Stranger::start(&nats).await;
    let mut goodbyes = stranger.client.subscribe("MOL.DISCONNECT").await.unwrap();
    for id in 1..=2 {
        stranger
            .say("REQ.edge-1", request(id, "echo.it", 60_000))
            .await;
    }
    let one = next_request(&mut inbox).await;
    let _two = next_request(&mut inbox).await;
    let talk = async {
        // Refused from 100 ms after the goodbye on; until then requests are still taken.
        loop {
            stranger
                .say("REQ.edge-1", request(3, "echo.other", 60_000))
                .await;
            tokio::select! {
                answer = stranger.hear("RES") => {
                    assert_eq!(answer["error"]["name"], "ServiceNotAvailableError");
                    break;
                }
                taken = next_request(&mut inbox) => taken.respond(Ok(None)),
            }
            assert_eq!(stranger.hear("RES").await["id"], "3");
        }
        one.respond(Ok(Some("7".into())));
        let answer = stranger.hear("RES").await;
        assert_eq!((&answer["id"], &answer["data"]), (&"1".into(), &7.into()));
        // Nobody answers the second one, so patience runs out.
        let answer = stranger.hear("RES").await;
        assert_eq!(
            (&answer["id"], &answer["error"]["code"]),
            (&"2".into(), &404.into())
        );
        goodbyes.next().await.unwrap();
    };
    tokio::join!(bus.leave(std::time::Duration::from_secs(2)), talk);
}

#[tokio::test]
async fn what_a_packet_gives_us_to_keep_beside_its_arguments_is_counted() {
    const LARGE: usize = 500_000;
    let nats = NatsServer::start();
    let bus = NatsBus::start(config(&nats.url(), "edge-1"));
    until("connected", || bus.status().connected).await;
    let mut inbox = bus.announce(echo());
    let mut stranger = Stranger::start(&nats).await;
    // Given back with the answer, and the caller takes as long for it as it likes.
    let meta = format!(r#"{{"x":"{}"}}"#, "x".repeat(LARGE));
    for id in 0..100 {
        let packet = request(id, "echo.it", 0).replacen('{', &format!(r#"{{"meta":{meta},"#), 1);
        let before = packets_in(&bus, "REQ");
        stranger.say("REQ.edge-1", packet).await;
        until("it was read", || packets_in(&bus, "REQ") > before).await;
    }
    let refused = stranger.hear("RES").await;
    assert_eq!(refused["error"]["type"], "QUEUE_FULL");
    let open = bus.stats().requests_open as usize;
    assert!((1..100).contains(&open), "{open}");
    assert!(open * LARGE <= 32 << 20, "{open} are held");
    for _ in 0..open {
        next_request(&mut inbox).await.respond(Ok(None));
    }
    stranger.say("REQ.edge-1", request(200, "echo.it", 0)).await;
    next_request(&mut inbox).await.respond(Ok(None));

    let event = format!(
        r#"{{"ver":"4","sender":"odd-1","id":"1","event":"test.event","data":["x"],"meta":{meta},"broadcast":true}}"#
    );
    // No faster than it is read, or the server ends the connection of who reads.
    for _ in 0..200 {
        let before = packets_in(&bus, "EVENT");
        stranger.say("EVENT.edge-1", event.clone()).await;
        until("it was read", || packets_in(&bus, "EVENT") > before).await;
        if bus.stats().inbox_refused > 0 {
            break;
        }
    }
    find(&mut inbox, "a gap", |incoming| match incoming {
        Incoming::Gap(gap) => (gap.cause == GapCause::InboxFull).then_some(()),
        _ => None,
    })
    .await;
}

fn packets_in(bus: &backplane::Bus, wanted: &str) -> u64 {
    let packets = bus.stats().packets_in;
    let (_, count, ..) = packets.iter().find(|packets| packets.0 == wanted).unwrap();
    *count
}

fn request(id: u32, action: &str, timeout: u32) -> String {
    format!(
        r#"{{"ver":"4","sender":"odd-1","id":"{id}","action":"{action}","params":[],"timeout":{timeout}}}"#
    )
}

#[tokio::test]
async fn garbage_is_counted_and_disturbs_nobody() {
    let nats = NatsServer::start();
    let bus = NatsBus::start(config(&nats.url(), "edge-1"));
    let mut inbox = bus.announce(echo());
    until("connected", || bus.status().connected).await;
    let stranger = Stranger::start(&nats).await;
    let kinds = [
        "INFO",
        "DISCOVER",
        "HEARTBEAT",
        "DISCONNECT",
        "PING",
        "PONG.edge-1",
        "REQ.edge-1",
        "RES.edge-1",
        "EVENT.edge-1",
    ];
    for kind in kinds {
        for packet in [
            "",
            "{",
            "null",
            "[]",
            "1",
            "{not json",
            r#"{"ver":"4"}"#,
            r#"{"ver":"4","sender":"a b","id":"1","success":true,"action":"x","event":"test.event"}"#,
            r#"{"ver":4,"sender":"x","event":"test.event"}"#,
            r#"{"ver":"5","sender":"x","event":"test.event"}"#,
        ] {
            stranger.say(kind, packet).await;
        }
    }
    for args in ["{}", "[1,]", "null", "\"x\"", "[}"] {
        stranger
            .say(
                "EVENT.edge-1",
                format!(r#"{{"ver":"4","sender":"odd-1","event":"test.event","data":{args}}}"#),
            )
            .await;
    }
    stranger
        .say(
            "EVENT.edge-1",
            r#"{"ver":"4","sender":"odd-1","event":"test.event"}"#,
        )
        .await;
    // Not ours: our id, another process.
    stranger
        .say(
            "INFO",
            r#"{"ver":"4","sender":"edge-1","services":[],"instanceID":"other","seq":1}"#,
        )
        .await;
    stranger
        .say(
            "RES.edge-1",
            r#"{"ver":"4","sender":"odd-1","id":"nobody waits","success":true}"#,
        )
        .await;
    stranger
        .say(
            "EVENT.edge-1",
            r#"{"ver":"4","sender":"odd-1","event":"test.event","data":["good"],"groups":null}"#,
        )
        .await;

    let event = loop {
        let event = next_event(&mut inbox).await;
        if event.is_sound() {
            break event;
        }
    };
    assert_eq!((&*event.args, &*event.sender), ("[\"good\"]", "odd-1"));
    until("the conflict", || bus.stats().conflicts == 1).await;
    let stats = bus.stats();
    assert!(
        stats.malformed > 40 && stats.wrong_version >= 18,
        "{stats:?}"
    );
    assert_eq!(bus.nodes().len(), 1, "nobody has joined: {:?}", bus.nodes());
}

#[tokio::test]
async fn an_answer_that_makes_no_sense_ends_its_call() {
    let nats = NatsServer::start();
    let bus = NatsBus::start(config(&nats.url(), "edge-1"));
    until("connected", || bus.status().connected).await;
    let mut stranger = Stranger::start(&nats).await;
    stranger.say("INFO", r#"{"ver":"4","sender":"odd-1","services":[{"name":"odd","actions":[{"name":"odd.it"}]}]}"#).await;
    until("the service", || bus.has_service("odd")).await;
    for (answer, expected) in [
        (r#""success":false"#, ErrorKind::Malformed),
        (r#""success":false,"error":"oops""#, ErrorKind::Malformed),
        (r#""success":null"#, ErrorKind::Malformed),
        (r#""data":[]"#, ErrorKind::Malformed),
        (
            r#""success":true,"stream":true,"seq":0,"data":null"#,
            ErrorKind::Malformed,
        ),
    ] {
        let respond = async {
            let id = stranger.hear("REQ").await["id"].to_string();
            stranger
                .say(
                    "RES.edge-1",
                    format!(r#"{{"ver":"4","sender":"odd-1","id":{id},{answer}}}"#),
                )
                .await;
        };
        let (outcome, ()) = tokio::join!(bus.call("odd.it", "[]", CallOptions::default()), respond);
        assert_eq!(outcome.unwrap_err().kind, expected);
    }
    // A minimal error is enough, and what is odd in one takes nothing from the rest.
    for (error, name, message, reason) in [
        (r#"{"message":"m","code":null}"#, "Error", "m", None),
        (
            r#"{"message":5,"code":{},"type":5,"retryable":"yes","name":"E"}"#,
            "E",
            "",
            None,
        ),
        (
            r#"{"message":"r\ud83d [e]","reason":"r\ud83d"}"#,
            "Error",
            "r\u{fffd} [e]",
            Some("r\u{fffd}"),
        ),
        (r#"{"message":"5 [e]","reason":5}"#, "Error", "5 [e]", None),
    ] {
        let respond = async {
            let id = stranger.hear("REQ").await["id"].to_string();
            stranger
                .say(
                    "RES.edge-1",
                    format!(
                        r#"{{"ver":"4","sender":"odd-1","id":{id},"success":false,"error":{error}}}"#
                    ),
                )
                .await;
        };
        let (outcome, ()) = tokio::join!(bus.call("odd.it", "[]", CallOptions::default()), respond);
        let ErrorKind::Refused(remote) = outcome.unwrap_err().kind else {
            panic!("{error}")
        };
        assert_eq!(
            (&*remote.name, &*remote.message, remote.reason.as_deref()),
            (name, message, reason)
        );
    }
}

#[tokio::test]
async fn a_node_that_asks_is_told_and_a_node_that_forgot_us_is_a_gap() {
    let nats = NatsServer::start();
    let bus = NatsBus::start(config(&nats.url(), "edge-1"));
    let mut inbox = bus.announce(echo());
    until("connected", || bus.status().connected).await;
    let mut stranger = Stranger::start(&nats).await;
    stranger
        .say("HEARTBEAT", r#"{"ver":"4","sender":"odd-1","cpu":null}"#)
        .await;
    assert_eq!(stranger.hear("DISCOVER").await["sender"], "edge-1");
    let ask = r#"{"ver":"4","sender":"odd-1"}"#;
    stranger.say("DISCOVER", ask).await;
    let info = stranger.hear("INFO").await;
    assert_eq!(info["services"][0]["actions"]["echo.it"]["name"], "echo.it");
    assert!(info["seq"].as_u64().unwrap() > 1_700_000_000);
    stranger
        .say(
            "PING.edge-1",
            r#"{"ver":"4","sender":"odd-1","time":12,"id":"p"}"#,
        )
        .await;
    let pong = stranger.hear("PONG").await;
    assert_eq!((&pong["time"], &pong["id"]), (&12.into(), &"p".into()));
    assert!(pong["arrived"].is_u64());

    stranger
        .say(
            "INFO",
            r#"{"ver":"4","sender":"odd-1","services":[],"instanceID":"i","seq":1}"#,
        )
        .await;
    until("the node", || bus.nodes().len() == 2).await;
    // It asks, but has never sent to us: no gap. Then it has.
    stranger.say("DISCOVER.edge-1", ask).await;
    stranger.hear("INFO").await;
    let event = r#"{"ver":"4","sender":"odd-1","event":"test.event","data":[]}"#;
    stranger.say("EVENT.edge-1", event).await;
    next_event(&mut inbox).await;
    stranger.say("DISCOVER.edge-1", ask).await;
    let gap = find(&mut inbox, "the gap", |incoming| match incoming {
        Incoming::Gap(gap) => Some(gap),
        _ => None,
    })
    .await;
    assert_eq!(
        (gap.scope, gap.cause),
        (GapScope::Node("odd-1".into()), GapCause::Forgotten)
    );
    // A hostile node cannot go on like this.
    stranger.say("EVENT.edge-1", event).await;
    stranger.say("DISCOVER.edge-1", ask).await;
    stranger.hear("INFO").await;
    stranger.hear("INFO").await;
    stranger
        .say(
            "EVENT.edge-1",
            r#"{"ver":"4","sender":"odd-1","event":"test.event","data":["last"]}"#,
        )
        .await;
    find(&mut inbox, "the last event", |incoming| match incoming {
        Incoming::Event(event) => (&*event.args == "[\"last\"]").then_some(()),
        Incoming::Gap(gap) => panic!("a second gap within a minute: {gap:?}"),
        _ => None,
    })
    .await;
}

#[tokio::test]
async fn invented_nodes_are_bounded() {
    let nats = NatsServer::start();
    let bus = NatsBus::start(config(&nats.url(), "edge-1"));
    until("connected", || bus.status().connected).await;
    let stranger = Stranger::start(&nats).await;
    for number in 0..1_000 {
        let packet = format!(r#"{{"ver":"4","sender":"odd-{number}","services":[]}}"#);
        stranger
            .client
            .publish("MOL.INFO", packet.into())
            .await
            .unwrap();
    }
    stranger.client.flush().await.unwrap();
    until("all were read", || packets_in(&bus, "INFO") >= 1_000).await;
    assert_eq!(bus.nodes().len(), 501);
}
