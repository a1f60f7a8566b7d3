//! What a gateway does while something behind it is away, and what its clients have when it is back: never a silent gap.
//! And what it does with clients that are there but silent.

use std::{
    collections::BTreeSet,
    sync::{Arc, Barrier, Mutex},
    thread,
    time::{Duration, Instant},
};

use harness::{Client, Closed, Gateway, MongoServer, Workspace, eventually, http::get};
use serde_json::{Value, json};

const BINARY: &str = env!("CARGO_BIN_EXE_ddp-edge");

/// Short times, so that an outage is noticed and over within seconds.
const TIMES: &[(&str, &str)] = &[
    ("HEARTBEAT_INTERVAL", "1"),
    ("HEARTBEAT_TIMEOUT", "3"),
    ("DDP_EDGE_RESYNC_SECONDS", "1"),
    ("DDP_EDGE_RATE_LIMITS", "false"),
    // A call that waits for its deadline outlasts the test's patience.
    ("REQUEST_TIMEOUT", "600"),
];
const ROOM: &str = "GENERAL";

/// What `/readyz` gives as reasons; none when it is ready.
fn reasons(gateway: &Gateway) -> Vec<String> {
    let body = get(gateway.port, "/readyz").body;
    let body: Value = serde_json::from_str(&body).expect("JSON");
    let reasons = body["reasons"].as_array().expect("a list");
    let texts = reasons.iter().filter_map(Value::as_str);
    texts.map(str::to_owned).collect()
}

fn wait_for_reason(gateway: &Gateway, part: &str) {
    eventually(&format!("not ready because of {part}"), || {
        let reasons = reasons(gateway);
        reasons
            .iter()
            .any(|reason| reason.contains(part))
            .then_some(())
    });
}

fn wait_until_ready(gateway: &Gateway) {
    eventually("ready again", || reasons(gateway).is_empty().then_some(()));
}

fn closed(code: u16, reason: &str) -> Closed {
    Closed {
        code: Some(code),
        reason: reason.to_owned(),
    }
}

/// Sends the message with this number and announces it, if anybody can hear it.
fn send(workspace: &Workspace, number: usize) {
    workspace.ask(&json!({
        "cmd": "method", "username": "alice", "method": "sendMessage",
        "args": [{"_id": id_of(number), "rid": ROOM, "msg": "numbered"}]
    }));
}

fn id_of(number: usize) -> String {
    format!("number-{number}")
}

/// The number of a message, if it is one of ours.
fn number_of(message: &Value) -> Option<usize> {
    message["_id"]
        .as_str()?
        .strip_prefix("number-")?
        .parse()
        .ok()
}

/// A subscribed client that has read what there was before. `None`: its connection was closed meanwhile, or refused.
fn subscribe(port: u16) -> Option<(Client, BTreeSet<usize>)> {
    let mut client = Client::upgrade(port, "/websocket", &[]).ok()?;
    client.send(&json!({"msg": "connect", "version": "1", "support": ["1"]}));
    client.send(&json!({
        "msg": "method", "id": "login", "method": "login",
        "params": [{"resume": "resume-token-of-bob"}]
    }));
    client.send(&json!({
        "msg": "sub", "id": "sub", "name": "stream-room-messages", "params": [ROOM, false]
    }));
    // Behind the subscription: what the history lacks is delivered.
    client.send(&json!({
        "msg": "method", "id": "history", "method": "loadHistory",
        "params": [ROOM, null, 100_000]
    }));
    let mut numbers = BTreeSet::new();
    let mut is_ready = false;
    loop {
        let message = client.receive().ok()?;
        if message["msg"] == "changed" {
            numbers.extend(number_of(&message["fields"]["args"][0]));
        }
        is_ready |= message["subs"][0] == "sub";
        if message["id"] == "history" && message["msg"] == "result" {
            // A gateway that is just coming back may not reach everybody yet.
            let messages = message["result"]["messages"].as_array()?;
            numbers.extend(messages.iter().filter_map(number_of));
            return is_ready.then_some((client, numbers));
        }
    }
}

/// Follows the room as a real client does, until every message is there: whoever is closed comes back and reads everything
/// again. Who misses something without being told waits in vain. Returns the codes with which it was closed.
fn follow(port: u16, last: usize, subscribed: &Barrier) -> Vec<Closed> {
    let (mut client, mut numbers) = subscribe(port).expect("nothing is wrong yet");
    subscribed.wait();
    let mut closes = Vec::new();
    // Whoever misses something is closed, maybe only after later messages have arrived; then it comes back and reads all.
    let patience = Instant::now() + Duration::from_secs(120);
    while !(0..=last).all(|number| numbers.contains(&number)) {
        assert!(
            Instant::now() < patience,
            "has {numbers:?} and was not told; closed with {closes:?}"
        );
        match client.receive() {
            Ok(message) if message["msg"] == "changed" => {
                numbers.extend(number_of(&message["fields"]["args"][0]));
            }
            Ok(_) => {}
            Err(close) => {
                closes.push(close);
                (client, numbers) = eventually("coming back", || subscribe(port));
            }
        }
    }
    closes
}

/// Sends messages, has `outage` happen while the next ones are sent, and sends the rest when it is over. Every client must
/// have all of them then; returns how each was closed.
fn under_traffic(
    workspace: &Arc<Mutex<Workspace>>,
    gateway: &Gateway,
    outage: impl FnOnce(&dyn Fn()),
) -> Vec<Vec<Closed>> {
    const CLIENTS: usize = 20;
    const LAST: usize = 200;
    let subscribed = Barrier::new(CLIENTS + 1);
    let next = Mutex::new(0);
    // One message with the next number; the last one is kept for the end.
    let send_next = || {
        let mut number = next.lock().expect("no sender panics");
        if *number < LAST {
            send(&workspace.lock().expect("no sender panics"), *number);
            *number += 1;
        }
    };
    let port = gateway.port;
    thread::scope(|scope| {
        let followers: Vec<_> = (0..CLIENTS)
            .map(|_| scope.spawn(|| follow(port, LAST, &subscribed)))
            .collect();
        subscribed.wait();
        for _ in 0..50 {
            send_next();
        }
        outage(&send_next);
        while *next.lock().expect("no sender panics") < LAST {
            send_next();
        }
        // Sent to a node that is known again, this one reaches whoever listens.
        let known = workspace.lock().expect("no sender panics");
        known.wait_for_node(&gateway.node);
        send(&known, LAST);
        drop(known);
        let results = followers.into_iter().map(thread::ScopedJoinHandle::join);
        results.map(|closes| closes.expect("it follows")).collect()
    })
}

#[test]
fn nats_dies_under_traffic_and_everybody_who_missed_something_is_told() {
    let workspace = Workspace::start(TIMES);
    let gateway = workspace.gateway(BINARY, &[]);
    let mut caller = Client::open(gateway.port);
    caller.login("resume-token-of-carol");
    let workspace = Arc::new(Mutex::new(workspace));
    let closes = under_traffic(&workspace, &gateway, |send_next| {
        workspace.lock().expect("whole").nats.kill9();
        wait_for_reason(&gateway, "bus");
        assert_eq!(
            get(gateway.port, "/health").status,
            200,
            "alive all the same"
        );
        let refused = Client::upgrade(gateway.port, "/websocket", &[]).err();
        let refused = refused.expect("no new sockets");
        assert_eq!(refused.status, 503);
        assert!(refused.header("retry-after").is_some(), "{refused:?}");
        // Calls fail at once, sockets stay.
        let error = caller.call("test:zero", &json!([])).expect_err("no bus");
        assert_eq!(error["error"], 500);
        caller.settle();
        for _ in 0..50 {
            send_next();
        }
        workspace.lock().expect("whole").nats.restart();
        wait_until_ready(&gateway);
    });
    for closes in closes {
        assert!(closes.contains(&closed(1012, "RESYNC")), "{closes:?}");
    }
    assert_eq!(caller.closed(), closed(1012, "RESYNC"));
    assert!(gateway.metric("ddp_edge_gaps_total", &[]) > 0.0);
    assert!(gateway.metric("ddp_edge_resyncs_total", &[]) > 0.0);
}

#[test]
fn nats_freezes_under_traffic_and_nobody_misses_anything_unnoticed() {
    let workspace = Workspace::start(TIMES);
    let gateway = workspace.gateway(BINARY, &[]);
    let workspace = Arc::new(Mutex::new(workspace));
    under_traffic(&workspace, &gateway, |send_next| {
        let nats = |act: fn(&harness::NatsServer)| act(&workspace.lock().expect("whole").nats);
        nats(harness::NatsServer::freeze);
        // Its connections stay open; the peers fall silent.
        wait_for_reason(&gateway, "monolith");
        for _ in 0..50 {
            send_next();
        }
        nats(harness::NatsServer::thaw);
        wait_until_ready(&gateway);
    });
}

#[test]
fn a_frozen_monolith_that_comes_back_is_a_gap() {
    let workspace = Workspace::start(TIMES);
    let gateway = workspace.gateway(BINARY, &[]);
    let (mut client, _) = subscribe(gateway.port).expect("nothing is wrong");
    workspace.monolith().signal("STOP");
    wait_for_reason(&gateway, "monolith");
    client.settle();
    // A missing monolith alone is no reason to refuse sockets.
    Client::open(gateway.port).settle();
    workspace.monolith().signal("CONT");
    assert_eq!(client.closed(), closed(1012, "RESYNC"));
    wait_until_ready(&gateway);
    workspace.wait_for_node(&gateway.node);
    eventually("it can be followed again", || subscribe(gateway.port));
}

#[test]
fn a_login_without_anybody_to_judge_it_asks_to_try_again() {
    let workspace = Workspace::start(TIMES);
    let gateway = workspace.gateway(BINARY, &[]);
    workspace.monolith().kill9();
    wait_for_reason(&gateway, "monolith");
    let mut client = Client::open(gateway.port);
    client.start_call("login", &json!([{"resume": "resume-token-of-bob"}]));
    assert_eq!(client.closed(), closed(1013, "TRY_AGAIN"));
    assert!(!client.has(|message| message["error"]["error"] == 403));
    let mut other = Client::open(gateway.port);
    let error = other.call("test:zero", &json!([])).expect_err("nobody");
    assert_eq!(error["error"], 500);
}

#[test]
fn mongodb_away_keeps_sockets_and_tokens() {
    let mongo = MongoServer::start_own(&[]);
    let mut workspace = Workspace::start_on(mongo, TIMES);
    // The monolith's own driver is patient.
    let gateway = workspace.gateway(BINARY, &[("REQUEST_TIMEOUT", "2")]);
    let (mut client, _) = subscribe(gateway.port).expect("nothing is wrong");
    workspace.mongo.kill9();
    wait_for_reason(&gateway, "store");
    assert_eq!(
        get(gateway.port, "/health").status,
        200,
        "alive all the same"
    );

    let event = json!({"message": {"_id": "live", "rid": ROOM, "msg": "still delivered"}});
    workspace.ask(&json!({"cmd": "broadcast", "event": "watch.messages", "args": [event]}));
    assert_eq!(client.event("room-messages", ROOM)[0]["_id"], "live");
    let error = client
        .stream("room-messages", "lounge")
        .expect_err("unknown means no");
    assert_eq!(error["error"], 500);

    let mut newcomer = Client::open(gateway.port);
    newcomer.start_call("login", &json!([{"resume": "resume-token-of-carol"}]));
    assert_eq!(newcomer.closed(), closed(1013, "TRY_AGAIN"));
    assert!(!newcomer.has(|message| message["error"]["error"] == 403));

    workspace.mongo.restart();
    wait_until_ready(&gateway);
    client.settle();
    assert!(client.end().is_none(), "its events never stopped");
    eventually("logins work again", || {
        let mut newcomer = Client::open(gateway.port);
        newcomer.start_call("login", &json!([{"resume": "resume-token-of-carol"}]));
        loop {
            match newcomer.receive() {
                Ok(message) if message["msg"] == "result" => {
                    return message.get("result").map(|_| ());
                }
                Ok(_) => {}
                Err(end) => {
                    assert_eq!(end, closed(1013, "TRY_AGAIN"));
                    return None;
                }
            }
        }
    });
}

#[test]
fn a_client_that_stays_silent_is_closed_at_its_deadline() {
    let workspace = Workspace::start(&[]);
    let gateway = workspace.gateway(BINARY, &[]);
    // Says nothing at all.
    let mute = Client::upgrade(gateway.port, "/websocket", &[]).expect("sockets are taken");
    // Neither logs in nor subscribes.
    let nobody = Client::open(gateway.port);
    // Has a subscription, and is gone without a word.
    let mut gone = Client::open(gateway.port);
    gone.stream("notify-all", "x").expect("public");
    gone.ignore_pings();
    let deadlines = [
        (mute, 1002, "CONNECT_DEADLINE", "connect_deadline"),
        (nobody, 1008, "LOGIN_DEADLINE", "login_deadline"),
        (gone, 1001, "TIMEOUT", "idle_timeout"),
    ];
    thread::scope(|scope| {
        for (mut client, code, reason, label) in deadlines {
            let gateway = &gateway;
            scope.spawn(move || {
                assert_eq!(client.closed(), closed(code, reason));
                let labels = [("reason", label)];
                gateway.metric_grows("ddp_edge_connections_closed_total", &labels, 0.0);
            });
        }
    });
}
