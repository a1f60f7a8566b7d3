//! Servers that are killed, peers that freeze: nothing hangs, nothing happens late, nothing is lost in silence.

mod support;

use std::time::{Duration, Instant};

use backplane::{Bus, CallOptions, ErrorKind, Gap, GapCause, GapScope, Inbox, Incoming};
use harness::{NatsServer, NodeProcess};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use support::{NatsBus, config, echo, find, listener, next_event, quick_config, until};

const QUICK: [(&str, &str); 2] = [("HEARTBEAT_INTERVAL", "1"), ("HEARTBEAT_TIMEOUT", "2")];

fn start_peer(nats: &NatsServer, id: &str) -> NodeProcess {
    let url = nats.url();
    let environment = [&[("TRANSPORTER", url.as_str())][..], &QUICK[..]].concat();
    NodeProcess::start("peer.js", &["--node-id", id], &environment)
}

/// The next gap that is not the machine's doing: one without a processor for a while makes ours tell of itself.
async fn next_gap(inbox: &mut Inbox) -> Gap {
    find(inbox, "a gap", |incoming| match incoming {
        Incoming::Gap(gap) if gap.cause != GapCause::Stalled => Some(gap),
        _ => None,
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn while_nats_is_away_calls_fail_at_once_and_nothing_is_executed_late() {
    let mut nats = NatsServer::start();
    let bus = NatsBus::start(quick_config(&nats.url(), "edge-1"));
    let mut inbox = bus.announce(echo());
    let mut peer = start_peer(&nats, "peer-1");
    until("the peer's services", || bus.has_service("peer")).await;

    // One call is under way when the server dies.
    let under_way = {
        let bus = bus.clone();
        tokio::spawn(async move {
            bus.call("peer.slow", "[600000]", CallOptions::default())
                .await
        })
    };
    peer.wait_for("the slow call", |line| line["call"] == "peer.slow");
    let good = Instant::now();
    nats.kill9();
    assert_eq!(
        under_way.await.unwrap().unwrap_err().kind,
        ErrorKind::Disconnected
    );
    find(&mut inbox, "down", |incoming| {
        matches!(incoming, Incoming::Down).then_some(())
    })
    .await;
    assert!(!bus.status().connected && bus.status().ever_connected);

    let asked = Instant::now();
    for number in 0..1_000 {
        let outcome = bus
            .call(
                "peer.echo",
                &format!("[\"late\",{number}]"),
                CallOptions::default(),
            )
            .await;
        assert_eq!(outcome.unwrap_err().kind, ErrorKind::Disconnected);
        bus.broadcast("test.event", "[\"late\"]");
    }
    let meta = serde_json::value::to_raw_value(&json!({})).unwrap();
    let sent = bus.broadcast_with_meta("test.event", "[\"late\"]", &meta);
    assert_eq!(sent, Err(ErrorKind::Disconnected), "an emitter is told");
    assert!(!bus.flush().await, "nothing was given to a server");
    assert!(
        asked.elapsed() < Duration::from_secs(30),
        "none of them waited for its deadline of a minute"
    );

    nats.restart();
    find(&mut inbox, "up", |incoming| {
        matches!(incoming, Incoming::Up).then_some(())
    })
    .await;
    let gap = next_gap(&mut inbox).await;
    assert_eq!(
        (&gap.scope, gap.cause),
        (&GapScope::All, GapCause::ConnectionLost)
    );
    assert!(gap.since <= good + Duration::from_secs(1));
    find(&mut inbox, "settled", |incoming| {
        matches!(incoming, Incoming::Settled).then_some(())
    })
    .await;

    until("the call works again", || bus.has_service("peer")).await;
    let mut outcome = Err(ErrorKind::Timeout);
    while outcome.is_err() {
        // The peer reconnects in its own time.
        let options = CallOptions {
            timeout: Some(Duration::from_millis(500)),
            ..CallOptions::default()
        };
        outcome = bus
            .call("peer.echo", "[\"after\"]", options)
            .await
            .map_err(|error| error.kind);
    }
    let first = peer.wait_for("the first thing after the outage", |line| {
        line["call"].is_string() || line["event"].is_string()
    });
    assert_eq!(
        first["args"],
        json!(["after"]),
        "what failed during the outage was executed after all"
    );
    assert_eq!(bus.stats().connects, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_calls_us_again_after_the_server_was_killed() {
    let mut nats = NatsServer::start();
    let bus = NatsBus::start(quick_config(&nats.url(), "edge-1"));
    let mut inbox = bus.announce(listener("one"));
    let mut peer = start_peer(&nats, "peer-1");
    peer.ask(&json!({"cmd": "waitForServices", "names": ["one"]}));
    until("the peer's services", || bus.has_service("peer")).await;
    nats.kill9();
    find(&mut inbox, "down", |incoming| {
        matches!(incoming, Incoming::Down).then_some(())
    })
    .await;
    nats.restart();
    // Settled means that the peer's events reach us again.
    find(&mut inbox, "settled", |incoming| {
        matches!(incoming, Incoming::Settled).then_some(())
    })
    .await;
    peer.ask(&json!({"cmd": "waitForServices", "names": ["one"]}));
    peer.ask(&json!({"cmd": "broadcast", "event": "test.event", "args": ["again"]}));
    assert_eq!(&*next_event(&mut inbox).await.args, "[\"again\"]");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_driver_that_starts_before_its_server_connects_when_it_can() {
    let mut nats = NatsServer::start();
    nats.kill9();
    let bus = NatsBus::start(quick_config(&nats.url(), "edge-1"));
    let mut inbox = bus.announce(echo());
    let outcome = bus.call("peer.echo", "[]", CallOptions::default()).await;
    assert_eq!(outcome.unwrap_err().kind, ErrorKind::Disconnected);
    assert!(!bus.status().ever_connected);
    nats.restart();
    let first = inbox.recv().await;
    assert!(matches!(first, Incoming::Up), "{first:?}");
    assert_eq!(bus.stats().connects, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_server_is_tried_when_the_first_is_gone() {
    let mut first = NatsServer::start();
    let second = NatsServer::start();
    let servers = backplane::Server::list(&format!("{},{}", first.url(), second.url())).unwrap();
    let bus = NatsBus::start(backplane::Config {
        servers,
        ..config(&first.url(), "edge-1")
    });
    let mut inbox = bus.announce(echo());
    find(&mut inbox, "up", |incoming| {
        matches!(incoming, Incoming::Up).then_some(())
    })
    .await;
    first.kill9();
    find(&mut inbox, "down", |incoming| {
        matches!(incoming, Incoming::Down).then_some(())
    })
    .await;
    find(&mut inbox, "up again", |incoming| {
        matches!(incoming, Incoming::Up).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_is_taken_from_the_address() {
    let nats = NatsServer::start_with(&["--user", "rocket", "--pass", "s3cret"]);
    let wrong = NatsBus::start(config(&nats.url(), "stranger"));
    let url = format!("nats://rocket:s3cret@127.0.0.1:{}", nats.port());
    let bus = NatsBus::start(config(&url, "edge-1"));
    until("connected", || bus.status().connected).await;
    assert!(!wrong.status().ever_connected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_peer_is_lost_and_its_return_is_a_gap() {
    let nats = NatsServer::start();
    let bus = NatsBus::start(quick_config(&nats.url(), "edge-1"));
    let mut inbox = bus.announce(listener("one"));
    let mut peer = start_peer(&nats, "peer-1");
    until("the peer's services", || bus.has_service("peer")).await;
    let under_way = {
        let bus = bus.clone();
        tokio::spawn(async move {
            bus.call("peer.slow", "[600000]", CallOptions::default())
                .await
        })
    };
    peer.wait_for("the slow call", |line| line["call"] == "peer.slow");
    peer.signal("STOP");
    assert_eq!(
        under_way.await.unwrap().unwrap_err().kind,
        ErrorKind::Unavailable
    );
    let unexpected = find(&mut inbox, "the loss", |incoming| match incoming {
        Incoming::NodeDown { unexpected, .. } => Some(unexpected),
        _ => None,
    })
    .await;
    assert!(unexpected);
    let outcome = bus.call("peer.echo", "[]", CallOptions::default()).await;
    assert_eq!(outcome.unwrap_err().kind, ErrorKind::NotFound);

    peer.signal("CONT");
    let gap = next_gap(&mut inbox).await;
    assert_eq!(gap.cause, GapCause::PeerReturned);
    assert_eq!(gap.scope, GapScope::Node("peer-1".into()));
    until("its services", || bus.has_service("peer")).await;
    assert!(
        bus.call("peer.echo", "[]", CallOptions::default())
            .await
            .is_ok()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_server_leaves_no_peer_behind() {
    let nats = NatsServer::start();
    let bus = NatsBus::start(quick_config(&nats.url(), "edge-1"));
    let mut inbox = bus.announce(listener("one"));
    let mut peer = start_peer(&nats, "peer-1");
    until("the peer's services", || bus.has_service("peer")).await;
    nats.freeze();
    // Both sides hear nothing for longer than the timeout.
    peer.wait_for("our loss", |line| {
        line["node"] == "disconnected" && line["id"] == "edge-1"
    });
    nats.thaw();
    // Either we lost the peer as well, or it asks who we are; whichever comes first, we know that we missed something.
    let gap = next_gap(&mut inbox).await;
    assert_eq!(gap.scope, GapScope::Node("peer-1".into()));
    peer.ask(&json!({"cmd": "waitForServices", "names": ["one"]}));
    peer.ask(&json!({"cmd": "broadcast", "event": "test.event", "args": [1]}));
    assert_eq!(&*next_event(&mut inbox).await.args, "[1]");
}

#[tokio::test]
async fn standing_still_for_longer_than_the_heartbeat_timeout_is_a_gap() {
    let nats = NatsServer::start();
    let timeout = Duration::from_millis(300);
    let config = backplane::Config {
        heartbeat_timeout: timeout,
        ..quick_config(&nats.url(), "edge-1")
    };
    let (bus, driver) = Bus::nats(config);
    let shutdown = CancellationToken::new();
    let task = tokio::spawn(driver.run(shutdown.clone()));
    let mut inbox = bus.announce(listener("one"));
    find(&mut inbox, "up", |incoming| {
        matches!(incoming, Incoming::Up).then_some(())
    })
    .await;
    let before = Instant::now();
    // The driver shares this thread.
    std::thread::sleep(timeout * 3);
    let gap = find(&mut inbox, "a gap", |incoming| match incoming {
        Incoming::Gap(gap) => Some(gap),
        _ => None,
    })
    .await;
    assert_eq!((&gap.scope, gap.cause), (&GapScope::All, GapCause::Stalled));
    assert!(gap.since <= before);
    shutdown.cancel();
    task.await.unwrap();
}

/// Two kinds of one service: what dies with a node fails, everything else is answered by whoever is there.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_service_and_ours_of_the_same_name_share_the_calls_through_kill_freeze_and_restart()
{
    let nats = NatsServer::start();
    let caller = NatsBus::start(quick_config(&nats.url(), "caller-1"));
    let ours = NatsBus::start(quick_config(&nats.url(), "ours-1"));
    let mut inbox = ours.announce(backplane::Service {
        name: "peer",
        actions: vec!["peer.echo"],
        events: vec![],
    });
    let serving = tokio::spawn(async move {
        loop {
            if let Incoming::Request(request) = inbox.recv().await {
                request.respond(Ok(Some("\"ours\"".into())));
            }
        }
    });
    let mut peer = start_peer(&nats, "peer-1");
    // How many of ten calls each kind answers; none may fail.
    let share = async || {
        let mut answers = [0, 0];
        for _ in 0..10 {
            let answer = caller
                .call("peer.echo", "[1]", CallOptions::default())
                .await;
            let is_ours = answer.unwrap().as_deref() == Some(b"\"ours\"");
            answers[usize::from(is_ours)] += 1;
        }
        answers
    };
    let offering = || caller.offered().actions.get("peer.echo").copied();
    until("both kinds", || offering() == Some(2)).await;
    assert_eq!(share().await, [5, 5]);

    peer.signal("STOP");
    until("the frozen one is given up", || offering() == Some(1)).await;
    assert_eq!(share().await, [0, 10]);
    peer.signal("CONT");
    until("it is back", || offering() == Some(2)).await;
    assert_eq!(share().await, [5, 5]);

    peer.kill9();
    until("the dead one is given up", || offering() == Some(1)).await;
    assert_eq!(share().await, [0, 10]);
    let _peer = start_peer(&nats, "peer-2");
    until("its successor", || offering() == Some(2)).await;
    assert_eq!(share().await, [5, 5]);
    serving.abort();
}
