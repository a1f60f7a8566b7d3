//! Floods of what clients may ask for: subscriptions without a login, logins by one user, the rooms of a user over and over,
//! handshakes with all the headers that fit.

use std::thread;

use harness::{Client, MongoServer, Workspace, eventually};
use serde_json::{Value, json};

use super::{BINARY, Witnesses};

/// Most that a session lets wait is 256.
const AT_ONCE: usize = 100;

/// Subscribes to so many events at once, without waiting.
fn ask_for(client: &mut Client, round: usize, stream: &str, event: impl Fn(usize) -> String) {
    for number in 0..AT_ONCE {
        let (id, name) = (format!("{round}-{number}"), format!("stream-{stream}"));
        client
            .send(&json!({"msg": "sub", "id": id, "name": name, "params": [event(number), false]}));
    }
}

/// The error of the `nosub` with which a subscription ends, or `null` where it was `ready`.
fn answer(client: &mut Client, round: usize, number: usize) -> Value {
    let id = format!("{round}-{number}");
    let mut answer = client.wait_for("an answer", |message| {
        message["subs"][0] == id || message["msg"] == "nosub" && message["id"] == id
    });
    answer["error"]["error"].take()
}

/// Holds as many subscriptions as it can, over and over, then as many as it may.
fn subscribe_without_end(port: u16, socket: usize) -> Client {
    let mut client = Client::open(port);
    for round in 0..3 {
        let (open, closed) = (2 * round, 2 * round + 1);
        // What is open to everybody: as many as fit, and not one more.
        ask_for(&mut client, open, "notify-all", |number| {
            format!("{}-{number}", "x".repeat(200))
        });
        let answers: Vec<_> = (0..AT_ONCE)
            .map(|number| answer(&mut client, open, number))
            .collect();
        let (first, last) = answers.split_at(50);
        assert!(first.iter().all(Value::is_null), "{first:?}");
        assert!(
            last.iter()
                .all(|answer| answer == "error-too-many-subscriptions")
        );
        for number in 0..50 {
            client.send(&json!({"msg": "unsub", "id": format!("{open}-{number}")}));
        }
        for number in 0..50 {
            answer(&mut client, open, number);
        }
        // What somebody has to be asked about, and is not there.
        ask_for(&mut client, closed, "room-messages", |number| {
            format!("missing-{socket}-{number}")
        });
        for number in 0..AT_ONCE {
            assert_eq!(answer(&mut client, closed, number), "not-allowed");
        }
    }
    ask_for(&mut client, 1_000, "notify-all", |number| {
        format!("last-{number}")
    });
    answer(&mut client, 1_000, AT_ONCE - 1);
    client
}

#[test]
fn subscriptions_without_a_login_are_fifty_each_whatever_is_asked_for() {
    const SOCKETS: usize = 20;
    let workspace = Workspace::start(&[("DDP_EDGE_RATE_LIMITS", "false")]);
    let gateway = workspace.gateway(BINARY, &[]);
    let mut witnesses = Witnesses::open(&workspace, &gateway);
    let held = || gateway.metric("ddp_edge_subscriptions", &[]);
    let most = (20 + SOCKETS * 50) as f64;
    let attackers = thread::scope(|scope| {
        let attackers: Vec<_> = (0..SOCKETS)
            .map(|socket| {
                let port = gateway.port;
                scope.spawn(move || subscribe_without_end(port, socket))
            })
            .collect();
        while !attackers.iter().all(thread::ScopedJoinHandle::is_finished) {
            witnesses.get(&workspace, 50);
            assert!(held() <= most);
            let running = gateway.metric("ddp_edge_work_running", &[]);
            assert!(
                running <= SOCKETS as f64,
                "{running} clients are worked for"
            );
        }
        let attackers = attackers.into_iter().map(|attacker| attacker.join());
        attackers
            .collect::<Result<Vec<_>, _>>()
            .expect("all is as it says")
    });
    eventually("all hold what they may", || (held() == most).then_some(()));
    drop(attackers);
    witnesses.get(&workspace, 50);
    eventually("nothing is left of them", || {
        let grants = gateway.metric("ddp_edge_grants", &[]);
        (held() == 20.0 && grants == 1.0).then_some(())
    });
    println!("{}", witnesses.latencies());
}

#[test]
fn logins_of_one_user_wait_for_themselves_and_others_pass_between_them() {
    const PER_SECOND: usize = 20;
    /// As many as have their turn while a login waits at most.
    const LINE: usize = PER_SECOND * 15;
    const HONEST: usize = 3;
    let workspace = Workspace::start(&[("DDP_EDGE_RATE_LIMITS", "false")]);
    let rate = PER_SECOND.to_string();
    let gateway = workspace.gateway(BINARY, &[("DDP_EDGE_LOGINS_PER_SECOND", &rate)]);
    let mut witnesses = Witnesses::open(&workspace, &gateway);
    let attacker = workspace.user(&["user"]);
    let honest: Vec<_> = (0..HONEST).map(|_| workspace.user(&["user"])).collect();
    let mut honest: Vec<_> = honest
        .iter()
        .map(|user| (user, Client::open(gateway.port)))
        .collect();
    let login = json!([{ "resume": attacker.token }]);
    let mut flood = Vec::new();
    // The line is full when one of them is sent away.
    while gateway.metric("ddp_edge_refused_total", &[("reason", "login_rate")]) == 0.0 {
        assert!(flood.len() < 20 * LINE, "nobody is ever sent away");
        for _ in 0..50 {
            let mut client = Client::open(gateway.port);
            client.start_call("login", &login);
            flood.push(client);
        }
    }
    thread::scope(|scope| {
        let others = scope.spawn(|| witnesses.get(&workspace, 100));
        let accepted = || gateway.metric("ddp_edge_login_seconds_count", &[("result", "accepted")]);
        let before = accepted();
        for (user, client) in &mut honest {
            client.login(&user.token);
        }
        let passed = accepted() - before;
        assert!(
            passed < LINE as f64,
            "all that waited have passed before them"
        );
        others.join().expect("they miss nothing");
    });
    // Whoever was sent away may come back with the same token.
    let away: Vec<_> = flood.iter_mut().filter_map(Client::end).collect();
    assert!(!away.is_empty());
    assert!(away.iter().all(|end| end.code == Some(1013)), "{away:?}");
    drop(flood);
    witnesses.get(&workspace, 50);
    println!("{}", witnesses.latencies());
}

#[test]
fn who_follows_his_rooms_over_and_over_has_them_read_once() {
    const TIMES: usize = 500;
    let mongo = MongoServer::start_own(&[]);
    let mut workspace = Workspace::start_on(mongo, &[("DDP_EDGE_RATE_LIMITS", "false")]);
    let gateway = workspace.gateway(BINARY, &[]);
    let mut witnesses = Witnesses::open(&workspace, &gateway);
    let member = workspace.user(&["user"]);
    let room = workspace.room("p", &[&member]);
    let mut client = Client::open(gateway.port);
    client.login(&member.token);
    let followed = format!("{}/rooms-changed", member.id);
    let mut other = Client::open(gateway.port);
    other.login(&member.token);
    let first = client.stream("notify-user", &followed).expect("himself");
    client.unsubscribe(&first);
    // From here on whatever asks the database waits for ever.
    workspace.mongo.freeze();
    thread::scope(|scope| {
        let attackers: Vec<_> = [client, other]
            .into_iter()
            .map(|mut client| {
                let followed = followed.as_str();
                scope.spawn(move || {
                    for _ in 0..TIMES {
                        let id = client.stream("notify-user", followed).expect("himself");
                        client.unsubscribe(&id);
                    }
                    client.stream("notify-user", followed).expect("himself");
                    client
                })
            })
            .collect();
        witnesses.get(&workspace, 50);
        for attacker in attackers {
            let mut client = attacker.join().expect("nobody asks the database");
            // What was known is known still.
            let changed =
                json!({"clientAction": "updated", "room": {"_id": room, "t": "p", "msgs": 1}});
            workspace.broadcast("watch.rooms", &json!([changed]));
            assert_eq!(client.event("notify-user", &followed)[1]["_id"], room);
        }
    });
    workspace.mongo.thaw();
    witnesses.get(&workspace, 50);
    println!("{}", witnesses.latencies());
}

#[test]
fn what_a_handshake_says_is_told_to_all_nodes_in_4_kib_at_most() {
    const SOCKETS: usize = 40;
    let workspace = Workspace::start(&[]);
    let gateway = workspace.gateway(BINARY, &[]);
    let mut witnesses = Witnesses::open(&workspace, &gateway);
    let long = "x".repeat(13_000);
    let many: Vec<_> = (0..80)
        .map(|number| (format!("x-many-{number}"), "y".repeat(100)))
        .collect();
    let mut headers: Vec<_> = many
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    headers.push(("user-agent", "a stranger"));
    thread::scope(|scope| {
        let attackers: Vec<_> = (0..SOCKETS)
            .map(|number| {
                let (gateway, long, headers) = (&gateway, &long, &headers);
                scope.spawn(move || {
                    let long = [("user-agent", "a stranger"), ("x-long", long.as_str())];
                    let headers = if number % 2 == 0 {
                        &long[..]
                    } else {
                        &headers[..]
                    };
                    let client = Client::upgrade(gateway.port, "/websocket", headers);
                    drop(client.unwrap_or_else(|answer| panic!("{answer:?}")));
                })
            })
            .collect();
        witnesses.get(&workspace, 50);
        for attacker in attackers {
            attacker.join().expect("it is upgraded");
        }
    });
    let cut = gateway.metric("ddp_edge_cut_total", &[("what", "headers")]);
    assert!(cut >= SOCKETS as f64, "{cut} were cut");
    let mut strangers = 0;
    eventually("all nodes have heard of all of them", || {
        let lines = workspace.ask(&json!({"cmd": "received"}));
        let lines = lines["received"].as_array()?;
        strangers = 0;
        for line in lines
            .iter()
            .filter(|line| line["event"] == "socket.disconnected")
        {
            let told = &line["args"][0]["httpHeaders"];
            let bytes = told.to_string().len();
            assert!(bytes <= 4_096, "{bytes} bytes were told");
            strangers += usize::from(told["user-agent"] == "a stranger");
        }
        (strangers == SOCKETS).then_some(())
    });
    witnesses.get(&workspace, 50);
    println!("{}", witnesses.latencies());
}
