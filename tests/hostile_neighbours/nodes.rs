//! Nodes on the bus that offer more than any node has, over and over.

use harness::{RawNats, Workspace, eventually};

use super::{BINARY, Witnesses};

const MIB: u64 = 1 << 20;

/// What a node says of itself: as many made-up names as fit into what NATS takes.
fn info(node: usize, round: usize) -> String {
    let mut events = String::new();
    for number in 0..14_000 {
        let separator = if number == 0 { "" } else { "," };
        events.push_str(&format!(
            r#"{separator}"{number}":{{"name":"made.up-{node}-{round}-{number}"}}"#
        ));
    }
    format!(
        r#"{{"ver":"4","sender":"flood-{node}","services":[{{"name":"flood-{node}","actions":{{}},"events":{{{events}}}}}],"instanceID":"i-{node}","seq":{round},"ipList":[],"hostname":"h","client":{{}},"config":{{}},"metadata":{{}}}}"#
    )
}

#[test]
fn nodes_that_offer_a_megabyte_each_cost_a_bounded_memory_and_nobody_an_event() {
    const NODES: usize = 40;
    const ROUNDS: usize = 2;
    let workspace = Workspace::start(&[]);
    let gateway = workspace.gateway(BINARY, &[]);
    let mut witnesses = Witnesses::open(&workspace, &gateway);
    witnesses.get(&workspace, 200);
    let gaps = gateway.metric("ddp_edge_gaps_total", &[]);
    let before = gateway.edge.rss();
    let mut nats = RawNats::connect(&workspace.nats);
    // To the gateway alone: it is not the other nodes that are tested.
    let subject = format!("MOL.INFO.{}", gateway.node);
    for round in 1..=ROUNDS {
        for node in 0..NODES {
            let info = info(node, round);
            assert!(info.len() < MIB as usize, "NATS does not take it");
            nats.publish(&subject, info.as_bytes());
            // What NATS itself holds for a slow reader is bounded as well: the witnesses show that all has been read.
            if node % 10 == 9 {
                nats.flush();
                witnesses.get(&workspace, 50);
            }
        }
    }
    // It has taken all of it when it knows how much it has cut.
    let cut = "ddp_edge_bus_offers_cut_total";
    eventually("offers are cut", || {
        (gateway.metric(cut, &[]) > 0.0).then_some(())
    });
    witnesses.get(&workspace, 200);
    let grown = gateway.edge.rss().saturating_sub(before) / MIB;
    println!("{grown} MiB, {}", witnesses.latencies());
    assert!(grown < 160, "{grown} MiB more than before");
    assert_eq!(gateway.metric("ddp_edge_gaps_total", &[]), gaps);
}
