//! What one peer does costs that peer: attacks beside healthy clients, each of whom must get every sequence number.

#[path = "hostile_neighbours/clients.rs"]
mod clients;
#[path = "hostile_neighbours/crowds.rs"]
mod crowds;
#[path = "hostile_neighbours/fuzz.rs"]
mod fuzz;
#[path = "hostile_neighbours/nodes.rs"]
mod nodes;

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    os::unix::fs::PermissionsExt as _,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use harness::{Client, Edge, Gateway, User, Workspace, eventually, free_port, http::get};
use serde_json::json;

const BINARY: &str = env!("CARGO_BIN_EXE_ddp-edge");

/// Healthy clients in a room of their own.
struct Witnesses {
    rid: String,
    clients: Vec<Client>,
    /// How long each waited for the answer to a ping.
    waited: Vec<Duration>,
}

impl Witnesses {
    fn open(workspace: &Workspace, gateway: &Gateway) -> Self {
        let reader = workspace.user(&["user"]);
        let rid = workspace.room("p", &[&reader]);
        let open = |_| {
            let mut client = Client::open(gateway.port);
            client.login(&reader.token);
            client.stream("room-messages", &rid).expect("a member");
            client
        };
        let clients = (0..20).map(open).collect();
        Self {
            rid,
            clients,
            waited: Vec::new(),
        }
    }

    /// Everybody gets so many messages, in their order, and keeps the connection.
    fn get(&mut self, workspace: &Workspace, count: usize) {
        workspace.ask(&json!({"cmd": "burst", "count": count, "rid": self.rid, "size": 100}));
        for client in &mut self.clients {
            for number in 0..count {
                let message = client.event("room-messages", &self.rid);
                assert_eq!(message[0]["_id"], format!("burst-{number}"));
            }
            let asked = Instant::now();
            client.settle();
            self.waited.push(asked.elapsed());
            assert!(client.end().is_none());
        }
    }

    /// The witnesses' round trips, for whoever reads: never judged, because the machine has a say in them.
    fn latencies(&mut self) -> String {
        self.waited.sort_unstable();
        let at = |part: f64| self.waited[((self.waited.len() - 1) as f64 * part) as usize];
        let (half, most) = (at(0.5), at(0.99));
        format!("witnesses' ping p50 {half:.1?}, p99 {most:.1?}")
    }
}

/// What was found: one relay per member, our own inbox overflowing, everybody closed, over and over.
#[test]
fn a_member_who_shouts_at_a_room_of_eighty_is_refused_and_nobody_else_notices() {
    a_member_shouts_at_a_whole_room(80, 900_000);
}

#[test]
fn a_member_who_shouts_at_a_room_of_a_thousand_is_refused_and_nobody_else_notices() {
    a_member_shouts_at_a_whole_room(1_000, 70_000);
}

fn a_member_shouts_at_a_whole_room(count: usize, shout: usize) {
    let workspace = Workspace::start(&[("DDP_EDGE_RATE_LIMITS", "false")]);
    let gateway = workspace.gateway(BINARY, &[]);
    let members: Vec<User> = (0..count).map(|_| workspace.user(&["user"])).collect();
    let room = workspace.room("p", &members.iter().collect::<Vec<_>>());
    let mut witnesses = Witnesses::open(&workspace, &gateway);
    let mut neighbour = Client::open(gateway.port);
    neighbour.login(&members[1].token);
    let told = format!("{}/userData", members[1].id);
    neighbour.stream("notify-user", &told).expect("himself");

    // The start itself may have counted some.
    let missed =
        || ["ddp_edge_bus_lost_total", "ddp_edge_gaps_total"].map(|name| gateway.metric(name, &[]));
    let before = missed();
    let write = |client: &mut Client, bytes: usize| {
        let params = json!([format!("{room}/userData"), "x".repeat(bytes)]);
        client.call("stream-notify-room-users", &params)
    };
    thread::scope(|scope| {
        let attacker = scope.spawn(|| {
            let mut client = Client::open(gateway.port);
            client.login(&members[0].token);
            for _ in 0..3 {
                let error = write(&mut client, shout).expect_err("too large");
                assert_eq!(error["error"], "error-too-large");
            }
            let mut passed = 0;
            while passed < 1_000 {
                match write(&mut client, 4_000) {
                    Ok(_) => passed += 1,
                    Err(error) => {
                        assert_eq!(error["error"], "too-many-requests");
                        return passed;
                    }
                }
            }
            passed
        });
        for _ in 0..5 {
            witnesses.get(&workspace, 200);
        }
        let passed = attacker.join().expect("it is answered");
        assert!((1..100).contains(&passed), "{passed} writes passed");
        println!(
            "{shout} bytes to {count} members: {passed} small ones passed, {}",
            witnesses.latencies()
        );
    });
    // What passed reached the room, and came back to nobody.
    neighbour.event("notify-user", &told);
    let refused = "ddp_edge_stream_writes_refused_total";
    assert_eq!(gateway.metric(refused, &[("limit", "size")]), 3.0);
    assert_eq!(gateway.metric(refused, &[("limit", "bytes")]), 1.0);
    assert_eq!(missed(), before);
}

/// Keep-alive connections that ask once and then say nothing more.
fn idle(port: u16, count: usize) -> Vec<TcpStream> {
    let open = |_| {
        let mut socket = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
        let asked = write!(socket, "GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n");
        // Who was sent away already has had its turn.
        if asked.is_ok() {
            let _ = socket.read(&mut [0; 512]);
        }
        socket
    };
    (0..count).map(open).collect()
}

#[test]
fn probes_are_answered_beside_more_idle_sockets_than_there_are_seats() {
    let workspace = Workspace::start(&[]);
    let gateway = workspace.gateway(BINARY, &[("DDP_EDGE_MAX_CONNECTIONS", "40")]);
    let mut witnesses = Witnesses::open(&workspace, &gateway);
    let _full: Vec<_> = (20..40).map(|_| Client::open(gateway.port)).collect();
    let _idle = idle(gateway.port, 40 + 1_024 + 100);
    for path in ["/health", "/livez", "/readyz"] {
        assert_eq!(get(gateway.port, path).status, 200, "{path}");
    }
    let refused = [("reason", "lobby_full")];
    assert!(gateway.metric("ddp_edge_refused_total", &refused) >= 100.0);
    witnesses.get(&workspace, 100);

    let port = free_port();
    let number = port.to_string();
    let nats = workspace.nats.url();
    let url = workspace.mongo.url("idle");
    let mut satellite = Edge::start(
        BINARY,
        &["accounts"],
        &[
            ("PORT", &number),
            ("TRANSPORTER", &nats),
            ("MONGO_URL", &url),
        ],
    );
    satellite.wait_for_ok(port, "/health");
    let _idle = idle(port, 200);
    assert_eq!(get(port, "/health").status, 200);
}

#[test]
fn sockets_never_take_the_files_that_the_servers_need() {
    let mut workspace = Workspace::start(&[]);
    let folder = tempfile::tempdir().expect("a folder");
    let script = folder.path().join("limited");
    // Started as most systems start a process: with far fewer files than it may have.
    let text = format!("#!/bin/sh\nulimit -S -n 200\nulimit -H -n 700\nexec {BINARY} \"$@\"\n");
    fs::write(&script, text).expect("it can be written");
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).expect("it is ours");
    let mut gateway = workspace.gateway(script.to_str().expect("a text"), &[]);
    let mut witnesses = Witnesses::open(&workspace, &gateway);
    let mut open = Vec::new();
    let refused = loop {
        assert!(open.len() < 700, "it never refuses");
        match Client::upgrade(gateway.port, "/websocket", &[]) {
            Ok(client) => open.push(client),
            Err(answer) => break answer,
        }
    };
    assert_eq!(refused.status, 503);
    assert!(open.len() > 200, "{} and no more", open.len());
    let _idle = idle(gateway.port, 300);
    assert_eq!(get(gateway.port, "/readyz").status, 200);
    witnesses.get(&workspace, 100);
    assert_eq!(gateway.metric("ddp_edge_accept_errors_total", &[]), 0.0);

    // Full as it is, it comes back to NATS.
    let connects = || gateway.metric("ddp_edge_bus_connects_total", &[]);
    let before = connects();
    workspace.nats.restart();
    eventually("it is back", || (connects() > before).then_some(()));
    gateway.edge.wait_for_ok(gateway.port, "/readyz");
}

#[test]
fn a_process_that_may_open_no_more_files_says_so_rarely_and_lets_in_again() {
    let workspace = Workspace::start(&[]);
    let gateway = workspace.gateway(BINARY, &[]);
    let mut witnesses = Witnesses::open(&workspace, &gateway);
    witnesses.get(&workspace, 20);
    let pid = gateway.edge.id();
    let limit = |files: usize| {
        let limit = format!("--nofile={files}:");
        let status = Command::new("prlimit")
            .args(["--pid", &pid.to_string(), &limit])
            .status();
        assert!(status.expect("util-linux").success());
    };
    let before = get_limit(pid);
    let open = fs::read_dir(format!("/proc/{pid}/fd"))
        .expect("it runs")
        .count();
    limit(open);
    // They wait in the listener's queue.
    let mut waiting: Vec<_> = (0..5)
        .map(|_| TcpStream::connect(("127.0.0.1", gateway.port)).expect("the kernel answers"))
        .collect();
    let said = || {
        let lines = gateway.edge.output().into_iter();
        lines
            .filter(|line| line.contains("accept has failed"))
            .count()
    };
    eventually("it says so, and once more", || (said() >= 2).then_some(()));
    witnesses.get(&workspace, 20);
    limit(before);
    for socket in &mut waiting {
        write!(
            socket,
            "GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        )
        .expect("it is open");
        let mut answer = String::new();
        socket.read_to_string(&mut answer).expect("it is answered");
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
    // It tried ten times as often as it said so.
    let (failed, said) = (gateway.metric("ddp_edge_accept_errors_total", &[]), said());
    assert!(failed > said as f64, "{failed} failed, {said} were told");
    witnesses.get(&workspace, 20);
    Witnesses::open(&workspace, &gateway).get(&workspace, 20);
}

/// How many files a process may have open.
fn get_limit(pid: u32) -> usize {
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).expect("it runs");
    let line = limits
        .lines()
        .find(|line| line.starts_with("Max open files"));
    let soft = line.and_then(|line| line.split_whitespace().nth(3)?.parse().ok());
    soft.expect("the kernel tells")
}

const CLOSED: &str = "ddp_edge_connections_closed_total";
const REFUSED: &str = "ddp_edge_refused_total";

#[test]
fn requests_that_never_end_cost_the_places_of_their_own_address() {
    let workspace = Workspace::start(&[]);
    let limits = [
        ("DDP_EDGE_TRUSTED_PROXIES", "10.0.0.0/8"),
        ("DDP_EDGE_HTTP_PER_ADDRESS", "10"),
        ("DDP_EDGE_HTTP_SECONDS", "5"),
    ];
    let gateway = workspace.gateway(BINARY, &limits);
    let mut witnesses = Witnesses::open(&workspace, &gateway);
    let mut begun: Vec<_> = (0..50)
        .map(|_| {
            let mut socket = TcpStream::connect(("127.0.0.1", gateway.port)).expect("it listens");
            write!(socket, "GET /websocket HTTP/1.1\r\nHost: x\r\n").expect("it is open");
            socket
        })
        .collect();
    let refused = || gateway.metric(REFUSED, &[("reason", "lobby_address")]);
    eventually("all others are refused", || {
        (refused() >= 40.0).then_some(())
    });
    // Those that have kept their places lose them in time, a byte now and then or not.
    for socket in &mut begun {
        let _ = socket.write_all(b"X");
        let mut answer = Vec::new();
        let _ = socket.read_to_end(&mut answer);
        assert!(!answer.starts_with(b"HTTP/1.1 1"), "it is upgraded");
    }
    witnesses.get(&workspace, 100);
}

/// The first line that answers a handshake which begins with this PROXY header and has these lines; empty if there is none.
/// The socket stays open as long as what is returned.
fn through_a_load_balancer(port: u16, header: &[u8], lines: &str) -> (TcpStream, String) {
    let mut socket = TcpStream::connect(("::1", port)).expect("it listens");
    let handshake = format!(
        "GET /websocket HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n{lines}\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    socket
        .write_all(&[header, handshake.as_bytes()].concat())
        .expect("it is open");
    let mut line = Vec::new();
    let mut byte = [0];
    while !line.ends_with(b"\r\n") && socket.read(&mut byte).unwrap_or(0) == 1 {
        line.push(byte[0]);
    }
    (socket, String::from_utf8(line).expect("a text"))
}

#[test]
fn clients_behind_a_load_balancer_are_told_apart_by_its_proxy_header() {
    let workspace = Workspace::start(&[]);
    let proxied = [
        ("DDP_EDGE_PROXY_PROTOCOL", "true"),
        ("DDP_EDGE_TRUSTED_PROXIES", "::1"),
        ("DDP_EDGE_ANONYMOUS_PER_ADDRESS", "30"),
        ("DDP_EDGE_HTTP_SECONDS", "2"),
    ];
    let gateway = workspace.gateway(BINARY, &proxied);
    let mut witnesses = Witnesses::open(&workspace, &gateway);
    let come = |header: &[u8], lines: &str| through_a_load_balancer(gateway.port, header, lines);
    let of = |address: &str| format!("PROXY TCP4 {address} 198.51.100.1 4321 443\r\n").into_bytes();
    let flood: Vec<_> = (0..31).map(|_| come(&of("203.0.113.9"), "")).collect();
    assert_eq!(flood.iter().filter(|(_, line)| is_let_in(line)).count(), 30);
    let full = || gateway.metric(REFUSED, &[("reason", "address_full")]);
    assert_eq!(full(), 1.0);
    let (_honest, answer) = come(&of("203.0.113.10"), "");
    assert!(is_let_in(&answer), "{answer}");

    // The balancer for itself: what it does not say of a client, or says without sense, is its own.
    let odd = ["", "X-Forwarded-For: \r\n", "X-Forwarded-For: nobody\r\n"];
    let own: Vec<_> = (0..31)
        .map(|number| come(b"PROXY UNKNOWN\r\n", odd[number % odd.len()]))
        .collect();
    assert_eq!(own.iter().filter(|(_, line)| is_let_in(line)).count(), 30);
    assert_eq!(full(), 2.0);
    let (_named, answer) = come(b"PROXY UNKNOWN\r\n", "X-Forwarded-For: 203.0.113.11\r\n");
    assert!(is_let_in(&answer), "{answer}");

    // One who pretends to be behind it, and what begins like a header.
    let endless = [
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff".as_slice(),
        &[0xFF; 4_096],
    ]
    .concat();
    let wrong: [&[u8]; 4] = [
        b"",
        b"PROXY TCP4 x\r\n",
        b"PROXY TCP9 1 2 3 4\r\n",
        &endless,
    ];
    for header in wrong {
        let (_open, answer) = come(header, "");
        assert_eq!(answer, "", "{header:?}");
    }
    // A header that never ends.
    let mut slow = TcpStream::connect(("::1", gateway.port)).expect("it listens");
    slow.write_all(b"PROXY TC").expect("it is open");
    assert_eq!(slow.read(&mut [0]).unwrap_or(0), 0);
    let refused = gateway.metric(REFUSED, &[("reason", "proxy_header")]);
    assert_eq!(refused, wrong.len() as f64 + 1.0);
    witnesses.get(&workspace, 100);
}

fn is_let_in(answer: &str) -> bool {
    answer.starts_with("HTTP/1.1 101")
}

#[test]
fn where_too_much_is_held_for_all_the_worst_go_and_readers_stay() {
    const BUDGET: f64 = 16_777_216.0;
    let workspace = Workspace::start(&[]);
    let gateway = workspace.gateway(BINARY, &[("DDP_EDGE_BUFFER_BYTES", "16777216")]);
    let mut witnesses = Witnesses::open(&workspace, &gateway);
    let reader = workspace.user(&["user"]);
    let rid = workspace.room("p", &[&reader]);
    let silent: Vec<_> = (0..8)
        .map(|_| {
            let mut client = Client::open(gateway.port);
            client.login(&reader.token);
            client.stream("room-messages", &rid).expect("a member");
            client
        })
        .collect();
    let overload = [("reason", "overload")];
    let mut bursts = 0;
    // The kernel's buffers come first, and their size is its own affair.
    while gateway.metric(CLOSED, &overload) == 0.0 {
        workspace.ask(&json!({"cmd": "burst", "count": 16, "rid": rid, "size": 64 * 1024}));
        witnesses.get(&workspace, 10);
        assert!(gateway.metric("ddp_edge_buffered_bytes", &[]) <= BUDGET * 1.5);
        bursts += 1;
        assert!(bursts < 500, "nobody is ever closed");
    }
    assert_eq!(gateway.metric("ddp_edge_buffer_budget_bytes", &[]), BUDGET);
    let closed = gateway.metric(CLOSED, &overload);
    assert!(closed < silent.len() as f64, "all {closed} were closed");
    witnesses.get(&workspace, 100);
    // Whoever comes now has room again.
    eventually("relief", || {
        (gateway.metric("ddp_edge_pressure", &[]) < 2.0).then_some(())
    });
    Witnesses::open(&workspace, &gateway).get(&workspace, 10);
}
