//! Everything in one process, and what it stands on: each killed and frozen in any order.

use std::net::TcpStream;

use harness::{Client, Dice, eventually};

use super::{ALICE, BOB, Fate, Network, TIMES, visit};

#[test]
fn whatever_happens_to_one_process_its_bus_and_its_database_the_end_is_the_truth() {
    let mut network = Network::start_with(&TIMES, "settings,license,meteor");
    let seed = u64::from(std::process::id());
    println!("seed {seed}");
    let mut dice = Dice::new(seed);
    let mut all = network.role("all");
    // Of `all`, the bus, the database.
    let mut fates = [Fate::Runs; 3];
    let mut clients = Vec::new();
    for _ in 0..16 {
        let index = dice.roll(3);
        let next = match (fates[index], dice.roll(5) / 3) {
            (Fate::Runs, 0) => Fate::Frozen,
            (Fate::Runs, _) => Fate::Gone,
            _ => Fate::Runs,
        };
        println!("{index}: {:?} -> {next:?}", fates[index]);
        match (index, fates[index], next) {
            (0, Fate::Gone, _) => all = network.starting("all"),
            (0, _, Fate::Frozen) => all.edge.signal("STOP"),
            (0, _, Fate::Gone) => all.edge.kill9(),
            (0, ..) => all.edge.signal("CONT"),
            (1, Fate::Gone, _) => network.nats.restart(),
            (1, _, Fate::Frozen) => network.nats.freeze(),
            (1, _, Fate::Gone) => network.nats.kill9(),
            (1, ..) => network.nats.thaw(),
            (_, Fate::Gone, _) => network.mongo.restart(),
            (_, _, Fate::Frozen) => network.mongo.freeze(),
            (_, _, Fate::Gone) => network.mongo.kill9(),
            _ => network.mongo.thaw(),
        }
        fates[index] = next;
        let token = *dice.pick(&[ALICE, BOB]);
        // Nobody waits for an answer: there may be none, and no socket either.
        if fates[0] == Fate::Runs && TcpStream::connect(("127.0.0.1", all.port)).is_ok() {
            clients.extend(visit(all.port, token));
        }
        if dice.roll(3) == 0 {
            clients.clear();
        }
    }
    match fates[1] {
        Fate::Gone => network.nats.restart(),
        Fate::Frozen => network.nats.thaw(),
        Fate::Runs => {}
    }
    match fates[2] {
        Fate::Gone => network.mongo.restart(),
        Fate::Frozen => network.mongo.thaw(),
        Fate::Runs => {}
    }
    // The same process where it has lived through it, else a new one.
    match fates[0] {
        Fate::Gone => all = network.starting("all"),
        Fate::Frozen => all.edge.signal("CONT"),
        Fate::Runs => {}
    }
    drop(clients);
    all.edge.wait_for_ok(all.port, "/readyz");
    network.wait_for("presence", 1);
    network.shows("alice", "offline", 0);
    network.shows("bob", "offline", 0);
    // Readiness may be older than what it has not noticed yet.
    let _alice = eventually("a socket", || {
        let mut client = Client::upgrade(all.port, "/websocket", &[]).ok()?;
        client.connect();
        client.login(ALICE);
        Some(client)
    });
    network.shows("alice", "online", 1);
    network.shows("bob", "offline", 0);
}
