//! What every kind of packet costs at most, found out by handing it in: bytes that we send for the bytes that came, what the
//! services of this node are told, memory. `costs.txt` has it; `UPDATE_COSTS=1 cargo test -p backplane --lib costs` writes it
//! anew. What an event that somebody wants costs further on is in `gateway/costs.txt`.

use std::{collections::BTreeSet, env, fmt::Write as _, fs};

use allocation_counter::AllocationInfo;
use bytes::Bytes;
use futures_util::FutureExt as _;
use protocol::moleculer::Kind;
use tokio::runtime::Builder;

use super::receive;
use crate::{
    bus::Bus, calls::CallOptions, config::Config, core::Service, inbox::Inbox, outgoing::Item,
};

/// One packet, and what has come before it.
struct Case {
    name: &'static str,
    before: Vec<(Kind, String)>,
    kind: Kind,
    payload: String,
    /// We wait for an answer.
    calls: bool,
}

/// A packet by its kind and what is in it besides version and sender.
fn packet(sender: &str, more: &str) -> String {
    format!(r#"{{"ver":"4","sender":"{sender}"{more}}}"#)
}

/// What a node says that offers this many actions.
fn info(sender: &str, actions: usize) -> String {
    let actions: Vec<_> = (0..actions)
        .map(|number| format!(r#""s.a{number:05}":{{"name":"s.a{number:05}"}}"#))
        .collect();
    let services = format!(
        r#"[{{"name":"s","actions":{{{}}},"events":{{"e":{{"name":"e"}}}}}}]"#,
        actions.join(",")
    );
    packet(
        sender,
        &format!(r#","seq":1,"instanceID":"i","services":{services}"#),
    )
}

/// The packets of one kind that differ in what we do. A new kind of packet does not compile without.
fn cases(kind: Kind) -> Vec<Case> {
    let known = || vec![(Kind::Info, info("peer", 1))];
    let large = "x".repeat(1_000_000);
    let case = |name, before, payload| Case {
        name,
        before,
        kind,
        payload,
        calls: false,
    };
    let request = |action: &str, params: &str| {
        packet(
            "peer",
            &format!(r#","id":"1","action":"{action}","params":{params}"#),
        )
    };
    let response = |id: &str, data: &str| {
        packet(
            "peer",
            &format!(r#","id":"{id}","success":true,"data":{data}"#),
        )
    };
    let event = |name: &str, data: &str, groups: &str| {
        let more = format!(r#","id":"1","event":"{name}","data":{data}{groups},"broadcast":true"#);
        packet("peer", &more)
    };
    let own = match kind {
        Kind::Discover => vec![
            case("from a stranger", vec![], packet("peer", "")),
            case("from a known node", known(), packet("peer", "")),
            case("in our own name", vec![], packet("us", "")),
        ],
        Kind::Info => vec![
            case("of a new node", vec![], info("peer", 1)),
            case("of a new node, large", vec![], info("peer", 20_000)),
            case("again", known(), info("peer", 1)),
            case("of more", known(), info("peer", 2)),
            case("in our own name", vec![], info("us", 1)),
        ],
        Kind::Heartbeat => vec![
            case("of a stranger", vec![], packet("peer", "")),
            case("of a known node", known(), packet("peer", "")),
        ],
        Kind::Disconnect => vec![
            case("of a stranger", vec![], packet("peer", "")),
            case("of a known node", known(), packet("peer", "")),
        ],
        Kind::Ping => vec![
            case("short", vec![], packet("peer", "")),
            case(
                "long",
                vec![],
                packet("peer", &format!(r#","id":"{large}""#)),
            ),
        ],
        Kind::Pong => vec![
            case("of a stranger", vec![], packet("peer", "")),
            case("of a known node", known(), packet("peer", "")),
        ],
        Kind::Request => vec![
            case("of what we offer", known(), request("ours.do", "[]")),
            case(
                "of what we offer, large",
                known(),
                request("ours.do", &format!("[\"{large}\"]")),
            ),
            case("of what nobody knows", known(), request("ours.x", "[]")),
            case(
                "of what nobody knows, large",
                known(),
                request(&large, "[]"),
            ),
            case("by a stranger", vec![], request("ours.do", "[]")),
            case("without an array", known(), request("ours.do", "{}")),
            case(
                "for the second time",
                vec![(Kind::Request, request("ours.do", "[]"))],
                request("ours.do", "[]"),
            ),
        ],
        Kind::Response => vec![
            case("that nobody waits for", known(), response("1", "1")),
            case(
                "that nobody waits for, large",
                known(),
                response("1", &format!("\"{large}\"")),
            ),
            Case {
                calls: true,
                ..case("that somebody waits for", known(), response("@", "1"))
            },
            Case {
                calls: true,
                ..case(
                    "that is an error",
                    known(),
                    packet(
                        "peer",
                        r#","id":"@","success":false,"error":{"name":"E","message":"m"}"#,
                    ),
                )
            },
            Case {
                calls: true,
                ..case(
                    "that makes no sense",
                    known(),
                    packet("peer", r#","id":"@","success":false"#),
                )
            },
        ],
        Kind::Event => vec![
            case("that we want", known(), event("ours", "[1]", "")),
            case(
                "that we want, large",
                known(),
                event("ours", &format!("[\"{large}\"]"), ""),
            ),
            case(
                "that we want, of a stranger",
                vec![],
                event("ours", "[1]", ""),
            ),
            case(
                "for others",
                known(),
                event("ours", "[1]", r#","groups":["x"]"#),
            ),
            case("that nobody wants", known(), event("x", "[1]", "")),
            case(
                "that nobody wants, large",
                known(),
                event("x", &format!("[\"{large}\"]"), ""),
            ),
            case("that is no array", known(), event("ours", "{}", "")),
            case(
                "without an end",
                known(),
                r#"{"event":"ours","data":["#.into(),
            ),
        ],
    };
    let garbage = [
        ("nothing", String::new()),
        ("no JSON", "x".into()),
        ("no JSON, large", "[".repeat(1_000_000)),
        ("an empty object", "{}".into()),
        ("another version", r#"{"ver":"9","sender":"peer"}"#.into()),
        (
            "a sender that is no text",
            r#"{"ver":"4","sender":5}"#.into(),
        ),
    ];
    let garbage = garbage.map(|(name, payload)| case(name, vec![], payload));
    own.into_iter().chain(garbage).collect()
}

/// A node on an open connection, with one service whose inbox is this.
fn node() -> (Bus, Inbox) {
    let (bus, driver) = Bus::nats(Config {
        node_id: "us".into(),
        dependencies: Vec::new(),
        ..Config::default()
    });
    driver.network.outgoing.open();
    bus.core().is_connected = true;
    // As many as a gateway listens to.
    let others = (0..70).map(|number| -> &str { format!("watch.collection-{number:02}").leak() });
    let inbox = bus.announce(Service {
        name: "ours",
        actions: vec!["ours.do"],
        events: others.chain(["ours"]).collect(),
    });
    (bus, inbox)
}

fn take(bus: &Bus) -> Vec<Item> {
    let network = bus.network().expect("it has one");
    network.outgoing.take().now_or_never().unwrap_or_default()
}

fn hand_in(bus: &Bus, kind: Kind, payload: Bytes) {
    match kind {
        Kind::Event => receive::events(bus, &[payload]),
        _ => receive::packet(bus, kind, false, payload),
    }
}

/// The line of one case: what is the same in each run, and about so much memory.
fn cost(case: Case) -> (String, [u64; 3]) {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (bus, mut inbox) = node();
        for (kind, payload) in case.before {
            hand_in(&bus, kind, payload.into());
        }
        let mut id = String::new();
        let mut calling = Box::pin(bus.call("s.a00000", "[]", CallOptions::default()));
        take(&bus);
        if case.calls {
            assert!(
                calling.as_mut().now_or_never().is_none(),
                "nobody answers yet"
            );
            let Some(Item::Packet { payload, .. }) = take(&bus).pop() else {
                panic!("nobody was called")
            };
            let request: serde_json::Value = serde_json::from_slice(&payload).unwrap();
            id = request["id"].as_str().unwrap().to_owned();
        }
        let mut told = Vec::with_capacity(64);
        inbox.recv_batch(&mut told).now_or_never();
        told.clear();
        let payload = Bytes::from(case.payload.replace('@', &id));
        let bytes = payload.len();
        let memory = allocation_counter::measure(|| hand_in(&bus, case.kind, payload));
        let sent: Vec<_> = take(&bus);
        let sizes = sent.iter().filter_map(|item| match item {
            Item::Packet { payload, .. } => Some(payload.len()),
            Item::Flush(_) | Item::Leave(_) => None,
        });
        let out: usize = sizes.sum();
        inbox.recv_batch(&mut told).now_or_never();
        let factor = (out as f64 / bytes.max(1) as f64 * 10.0).round() / 10.0;
        let name = format!("{} {}", case.kind.token(), case.name);
        let line = format!(
            "{name:<40} {bytes:>8} {:>5} {out:>8} {factor:>6} {:>5}",
            sent.len(),
            told.len()
        );
        (line, about(&memory))
    })
}

fn about(memory: &AllocationInfo) -> [u64; 3] {
    let kept = u64::try_from(memory.bytes_current).unwrap_or(0);
    [memory.count_total, memory.bytes_max, kept]
}

const HEAD: &str = "\
# What a packet costs at most: bytes in, packets and bytes out, bytes out for one in, what a service is told; allocations,
# bytes held at once, bytes kept (these three about). Written by `UPDATE_COSTS=1 cargo test -p backplane --lib costs`.
";

#[test]
fn every_packet_costs_what_the_table_says() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/costs.txt");
    let costs: Vec<_> = Kind::ALL.into_iter().flat_map(cases).map(cost).collect();
    let lines = costs.iter().map(|(exact, about)| {
        let [allocations, most, kept] = about;
        format!("{exact} {allocations:>6} {most:>8} {kept:>8}")
    });
    if env::var_os("UPDATE_COSTS").is_some() {
        let table = lines.fold(HEAD.to_owned(), |mut table, line| {
            let _ = writeln!(table, "{line}");
            table
        });
        fs::write(path, table).unwrap();
        return;
    }
    let table = fs::read_to_string(path).unwrap();
    let told: Vec<_> = table
        .lines()
        .filter(|line| !line.starts_with('#'))
        .collect();
    let is_true = |told: &str, (exact, about): &(String, [u64; 3])| {
        told.strip_prefix(exact.as_str()).is_some_and(|numbers| {
            let numbers = numbers
                .split_whitespace()
                .map(|number| number.parse::<u64>().unwrap());
            let slack = [(8, 8), (2, 512), (8, 128)];
            numbers
                .zip(about)
                .zip(slack)
                .all(|((told, is), (part, more))| told.abs_diff(*is) <= told.max(*is) / part + more)
        })
    };
    for (at, (line, cost)) in lines.zip(&costs).enumerate() {
        let told = told.get(at).copied().unwrap_or("nothing");
        assert!(is_true(told, cost), "it is\n{line}\nand told is\n{told}");
    }
    assert_eq!(told.len(), costs.len());
    let names: BTreeSet<_> = costs.iter().map(|(line, _)| &line[..40]).collect();
    assert_eq!(names.len(), costs.len(), "each stands there once");
}

#[test]
fn who_asks_for_ever_who_we_are_is_told_at_a_bounded_rate() {
    let (bus, _inbox) = node();
    take(&bus);
    let mut told = 0;
    for _ in 0..10_000 {
        hand_in(&bus, Kind::Discover, packet("peer", "").into());
        told += take(&bus).len();
    }
    // However many seconds that has taken, short of ten.
    assert!((1_000..10_000).contains(&told), "{told}");
}
