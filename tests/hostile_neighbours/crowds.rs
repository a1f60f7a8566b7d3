//! Much at once from sound peers: a mass join, somebody who types without end, a user whose status flaps.

use std::collections::HashMap;

use harness::{Client, Workspace};
use serde_json::{Value, json};

use super::{BINARY, Witnesses};

#[test]
fn who_joins_1500_rooms_at_once_hears_of_each_once_and_then_what_happens_in_it() {
    const ROOMS: usize = 1_500;
    const MIB: u64 = 1 << 20;
    let workspace = Workspace::start(&[("DDP_EDGE_RATE_LIMITS", "false")]);
    let gateway = workspace.gateway(BINARY, &[]);
    let mut witnesses = Witnesses::open(&workspace, &gateway);
    let member = workspace.user(&["user"]);
    let followed = format!("{}/rooms-changed", member.id);
    let mut clients: Vec<_> = (0..3)
        .map(|_| {
            let mut client = Client::open(gateway.port);
            client.login(&member.token);
            client.stream("notify-user", &followed).expect("himself");
            client
        })
        .collect();
    let rids = workspace.ask(&json!({"cmd": "newRooms", "count": ROOMS}))["rids"].take();
    let gaps = gateway.metric("ddp_edge_gaps_total", &[]);
    let before = gateway.edge.rss();
    workspace.ask(&json!({"cmd": "joinAll", "rids": rids, "username": member.username}));
    witnesses.get(&workspace, 100);
    for client in &mut clients {
        let mut heard = HashMap::<String, Vec<Value>>::new();
        // Two of each room, whatever their order among the rooms.
        for _ in 0..2 * ROOMS {
            let mut args = client.event("notify-user", &followed);
            let rid = args[1]["_id"].as_str().expect("a room").to_owned();
            heard.entry(rid).or_default().push(args[0].take());
        }
        for rid in rids.as_array().expect("a list") {
            let heard = &heard[rid.as_str().expect("an id")];
            assert_eq!(*heard, ["inserted", "updated"], "{rid}");
        }
        workspace.settle(client);
        assert!(client.take_events("notify-user", &followed).is_empty());
        assert!(client.end().is_none());
    }
    let grown = gateway.edge.rss_peak().saturating_sub(before) / MIB;
    println!("{grown} MiB, {}", witnesses.latencies());
    assert!(grown < 128, "{grown} MiB more than before");
    assert_eq!(gateway.metric("ddp_edge_gaps_total", &[]), gaps);
    assert_eq!(gateway.metric("ddp_edge_hold_overflow_total", &[]), 0.0);
}

/// What was told is a part of what was said, in its order, with the last.
fn assert_thinned(told: &[usize], said: usize) {
    assert_eq!(told.last(), Some(&(said - 1)));
    assert!(told.is_sorted_by(|a, b| a < b), "{told:?}");
    assert!(told.len() < said, "all {said} were told");
}

#[test]
fn who_types_without_end_is_told_of_now_and_then_and_the_last_word_is_his_last() {
    const WRITES: usize = 200;
    let workspace = Workspace::start(&[("DDP_EDGE_RATE_LIMITS", "false")]);
    let gateway = workspace.gateway(BINARY, &[]);
    let (writer, reader) = (workspace.user(&["user"]), workspace.user(&["user"]));
    let room = workspace.room("p", &[&writer, &reader]);
    let told = format!("{room}/user-activity");
    let open = |token: &str| {
        let mut client = Client::open(gateway.port);
        client.login(token);
        client.stream("notify-room", &told).expect("a member");
        client
    };
    let (mut writing, mut reading) = (open(&writer.token), open(&reader.token));
    let calls: Vec<_> = (0..WRITES)
        .map(|number| {
            let activity = format!("activity-{number}");
            let params = json!([told, writer.username, [activity], {}]);
            writing.start_call("stream-notify-room", &params)
        })
        .collect();
    for call in calls {
        assert_eq!(writing.outcome(&call), Ok(Value::Null));
    }
    let number = |args: &Value| {
        assert_eq!(args[0], writer.username.as_str());
        let activity = args[1][0].as_str().and_then(|text| text.rsplit('-').next());
        activity
            .and_then(|text| text.parse().ok())
            .expect("one of ours")
    };
    let mut heard = Vec::new();
    while heard.last() != Some(&(WRITES - 1)) {
        heard.push(number(&reading.event("notify-room", &told)));
    }
    assert_eq!(heard[0], 0, "nothing was told before");
    assert_thinned(&heard, WRITES);
    // Who writes does not hear himself.
    writing.settle();
    assert!(writing.take_events("notify-room", &told).is_empty());
    println!("{} of {WRITES}", heard.len());
}

#[test]
fn a_status_that_flaps_is_told_to_everybody_now_and_then_and_to_its_user_each_time() {
    const CHANGES: usize = 200;
    let workspace = Workspace::start(&[]);
    let gateway = workspace.gateway(BINARY, &[]);
    let (user, other) = (workspace.user(&["user"]), workspace.user(&["user"]));
    let own = format!("{}/userData", user.id);
    let open = |token: &str, stream: &str, event: &str| {
        let mut client = Client::open(gateway.port);
        client.login(token);
        client.stream(stream, event).expect("for him");
        client
    };
    let mut himself = open(&user.token, "notify-user", &own);
    let mut everybody = open(&other.token, "notify-logged", "user-status");
    for number in 0..CHANGES {
        let status = json!({
            "_id": user.id, "username": user.username, "status": "busy", "statusText": format!("text-{number}")
        });
        workspace.broadcast("presence.status", &json!([{"user": status}]));
    }
    let number = |text: &Value| {
        let text = text.as_str().and_then(|text| text.strip_prefix("text-"));
        text.and_then(|text| text.parse::<usize>().ok())
    };
    let mut heard = Vec::new();
    while heard.last() != Some(&(CHANGES - 1)) {
        let args = everybody.event("notify-logged", "user-status");
        // Others come and go, and so does he.
        heard.extend(number(&args[0][3]));
    }
    assert_thinned(&heard, CHANGES);
    let mut heard = Vec::new();
    while heard.len() < CHANGES {
        heard.extend(number(
            &himself.event("notify-user", &own)[0]["diff"]["statusText"],
        ));
    }
    assert!(heard.into_iter().eq(0..CHANGES));
}
