//! One user's many sockets come and go through a gateway, the bus and two presence services.

use std::thread;

use harness::{Client, eventually};
use serde_json::{Value, json};

use super::{ALICE, Network, Role, client};

/// At the same time.
const CLIENTS: usize = 60;

/// Of each client; for a long look more in `DDP_EDGE_CHURN`.
fn lives() -> usize {
    std::env::var("DDP_EDGE_CHURN").map_or(2, |lives| lives.parse().unwrap())
}

/// Everybody lives so often; some go away, some end without a word. Returns who is still there.
fn churn(gateway: &Role) -> Vec<Client> {
    let each = |number: usize| {
        let mut last = None;
        for life in 0..lives() {
            let mut socket = client(gateway, ALICE);
            if (number + life).is_multiple_of(3) {
                socket.call("UserPresence:away", &json!([])).unwrap();
            }
            // The one before ends beside the new one.
            if let Some(before) = last.replace(socket) {
                match life % 2 {
                    0 => Client::close(before),
                    _ => drop(before),
                }
            }
        }
        last.filter(|_| number.is_multiple_of(4))
    };
    thread::scope(|scope| {
        let all: Vec<_> = (0..CLIENTS)
            .map(|number| scope.spawn(move || each(number)))
            .collect();
        all.into_iter()
            .filter_map(|one| one.join().unwrap())
            .collect()
    })
}

/// Waits until the database says so, and what was told last.
fn tells(network: &mut Network, user: &Value, status: &str, entries: usize) {
    network.shows("alice", status, entries);
    eventually(&format!("{status} told"), || {
        let received = json!({ "cmd": "received" });
        let lines = network.monolith.ask(&received)["received"].take();
        let mut lines = lines.as_array()?.iter().rev();
        let last = lines.find(|line| {
            line["event"] == "presence.status" && line["args"][0]["user"]["_id"] == *user
        });
        (last?["args"][0]["user"]["status"] == status).then_some(())
    });
}

#[test]
fn after_a_churn_beside_each_other_the_entries_are_the_sockets_and_the_last_word_is_true() {
    // Nobody is to count as lost on a busy machine.
    let mut network = Network::start_with(&[], "settings,license,meteor,accounts,authorization");
    for limit in [
        "IP",
        "User",
        "Connection",
        "User_By_Method",
        "Connection_By_Method",
    ] {
        let setting = format!("DDP_Rate_Limit_{limit}_Enabled");
        let off = json!({ "cmd": "setSetting", "setting": setting, "value": false });
        network.monolith.ask(&off);
    }
    let presences = [network.role("presence"), network.role("presence")];
    let gateway = network.role("gateway");
    network.wait_for("presence", 2);
    let alice = network.find("users", json!({ "username": "alice" }))["_id"].take();
    let mut memory = Vec::new();
    for _ in 0..2 {
        let live = churn(&gateway);
        let entries = |network: &mut Network| {
            let mut found = network.find("usersSessions", json!({ "_id": alice }));
            found["connections"].take()
        };
        eventually("an entry for each socket", || {
            (entries(&mut network).as_array()?.len() == live.len()).then_some(())
        });
        let entries = entries(&mut network);
        let mut entries = entries.as_array().unwrap().iter();
        let status = match entries.any(|entry| entry["status"] == "online") {
            true => "online",
            false => "away",
        };
        tells(&mut network, &alice, status, live.len());
        drop(live);
        tells(&mut network, &alice, "offline", 0);
        memory.extend(presences.iter().map(|role| role.edge.rss() >> 20));
    }
    println!("MB of either service after half of it and after all: {memory:?}");
    for (half, all) in [(memory[0], memory[2]), (memory[1], memory[3])] {
        assert!(all < half + 16, "{memory:?}");
    }
}
