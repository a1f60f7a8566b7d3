//! Nodes on the bus that offer more than any node has, over and over, and nodes that say what no node says.

use harness::{Client, RawNats, Workspace, eventually};
use serde_json::json;

use super::{BINARY, Witnesses};

const MIB: u64 = 1 << 20;

/// What no node says: packets of every kind that are cut off, of another version, from nobody, of other types, large, and events,
/// requests and answers whose parts are not what they must be. By the first part of their subject.
fn odd_packets() -> Vec<(&'static str, String)> {
    let kinds = [
        "EVENT",
        "REQ",
        "RES",
        "INFO",
        "DISCOVER",
        "HEARTBEAT",
        "PING",
        "PONG",
        "DISCONNECT",
    ];
    let head = r#""ver":"4","sender":"odd""#;
    let long = "x".repeat(500_000);
    let deep = format!("{}{}", "[".repeat(5_000), "]".repeat(5_000));
    let any = [
        String::new(),
        "x".into(),
        "[]".into(),
        "{}".into(),
        "\u{0}\u{1}".into(),
        r#"{"ver":"4"}"#.into(),
        r#"{"ver":5,"sender":"odd"}"#.into(),
        r#"{"ver":"4","sender":null}"#.into(),
        r#"{"ver":"4","sender":["odd"]}"#.into(),
        format!(r#"{{"ver":"4","sender":"{long}"}}"#),
        format!("{{{head},\"meta\":{deep}}}"),
        format!(
            r#"{{{head},"id":5,"action":5,"event":5,"data":5,"params":5,"success":5,"services":5,"time":"x","cpu":"x","groups":5}}"#
        ),
        format!("{{{head}"),
        format!("{{{head}}}}}"),
        format!("{{{head},{head}}}"),
    ];
    let mut all: Vec<_> = kinds
        .into_iter()
        .flat_map(|kind| {
            // Of a node for each kind: one that asks who we are after it has spoken to us has forgotten us, which is a gap.
            let named =
                move |packet: &String| packet.replace("\"odd\"", &format!("\"odd-{kind}\""));
            any.iter().map(move |packet| (kind, named(packet)))
        })
        .collect();
    let names = [
        "watch.messages",
        "watch.rooms",
        "watch.users",
        "watch.subscriptions",
        "presence.status",
        "stream",
        "watch.settings",
    ];
    let datas = [
        "null",
        "5",
        "\"x\"",
        "{}",
        "[]",
        "[null]",
        "[[]]",
        "[5]",
        "[{}]",
        r#"[{"message":5}]"#,
        r#"[{"message":{"rid":null,"_id":[]}}]"#,
        r#"[{"clientAction":5,"room":{"_id":5}}]"#,
        r#"[{"clientAction":"removed","id":5,"diff":[]}]"#,
        r#"[{"clientAction":"removed","subscription":{"u":5,"rid":{}}}]"#,
        r#"[["room-messages",5,[]]]"#,
        r#"[{"stream":5,"eventName":5,"args":5,"origin":5}]"#,
        "[",
    ];
    for name in names {
        for data in datas {
            all.push(("EVENT", format!(r#"{{{head},"id":"1","event":"{name}","data":{data},"groups":[],"broadcast":true}}"#)));
            all.push((
                "EVENT",
                format!(
                    r#"{{{head},"id":"1","event":"{name}","data":{data},"groups":"x","meta":5}}"#
                ),
            ));
        }
        all.push(("EVENT", format!(r#"{{{head},"event":"{name}"}}"#)));
        all.push((
            "EVENT",
            format!(r#"{{{head},"event":"{name}","data":[{deep}]}}"#),
        ));
    }
    for (action, params) in [
        ("streamer.x", "[]"),
        ("$node.list", "[]"),
        ("", "{}"),
        ("x", "null"),
        ("x", &*deep),
    ] {
        all.push((
            "REQ",
            format!(r#"{{{head},"id":"1","action":"{action}","params":{params}}}"#),
        ));
        all.push(("REQ", format!(r#"{{{head},"id":"1","action":"{action}","params":{params},"stream":true,"timeout":-1,"level":1e300}}"#)));
    }
    for rest in [
        r#""success":true"#,
        r#""success":false"#,
        r#""success":true,"data":5,"stream":true"#,
        r#""success":false,"error":5"#,
        r#""success":false,"error":{"name":5}"#,
    ] {
        all.push(("RES", format!(r#"{{{head},"id":"1",{rest}}}"#)));
    }
    all
}

#[test]
fn a_node_that_says_what_no_node_says_costs_nobody_an_event() {
    let workspace = Workspace::start(&[]);
    let gateway = workspace.gateway(BINARY, &[]);
    let mut witnesses = Witnesses::open(&workspace, &gateway);
    witnesses.get(&workspace, 50);
    let gaps = gateway.metric("ddp_edge_gaps_total", &[]);
    let mut nats = RawNats::connect(&workspace.nats);
    let packets = odd_packets();
    for round in 0..2 {
        for (number, (kind, packet)) in packets.iter().enumerate() {
            // To the gateway alone: it is not the other nodes that are tested.
            nats.publish(&format!("MOL.{kind}.{}", gateway.node), packet.as_bytes());
            if number % 100 == 99 {
                nats.flush();
                witnesses.get(&workspace, 20);
            }
        }
        nats.flush();
        witnesses.get(&workspace, 50);
        // What the witnesses got was said behind all of it.
        let malformed = gateway.metric("ddp_edge_bus_malformed_total", &[]);
        assert!(malformed > 0.0, "round {round}");
    }
    println!(
        "{} odd packets twice, {}",
        packets.len(),
        witnesses.latencies()
    );
    assert_eq!(gateway.metric("ddp_edge_gaps_total", &[]), gaps);
}

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

    // An honest node that comes when they have taken all the room hears what clients say.
    let mut late = RawNats::connect(&workspace.nats);
    late.subscribe("MOL.EVENT.late");
    let honest = r#"{"ver":"4","sender":"late","services":[{"name":"streamer","actions":{},"events":{"1":{"name":"stream"}}}],"instanceID":"late","seq":1}"#;
    late.publish(&subject, honest.as_bytes());
    let (writer, other) = (workspace.user(&["user"]), workspace.user(&["user"]));
    let room = workspace.room("p", &[&writer, &other]);
    let mut client = Client::open(gateway.port);
    client.login(&writer.token);
    let said = json!([format!("{room}/userData"), "heard"]);
    client
        .call("stream-notify-room-users", &said)
        .expect("a member");
    late.hear("heard");

    // What they say goes on beside honest people who come, subscribe and call.
    for round in ROUNDS + 1..ROUNDS + 20 {
        nats.publish(&subject, info(round, round).as_bytes());
        let mut client = Client::open(gateway.port);
        client.login(&other.token);
        client.stream("room-messages", &room).expect("a member");
        client
            .call("stream-notify-room-users", &said)
            .expect("a member");
    }
    witnesses.get(&workspace, 20);
}
