//! Whole sessions made up of what clients say, rightly and wrongly, against a running gateway beside healthy clients.
//! `DDP_EDGE_FUZZ_SECONDS=3600` for an hour, `DDP_EDGE_FUZZ_SEED` for other sessions.

use std::{
    env,
    io::Write as _,
    sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

use harness::{Client, Dice, Workspace, http::get};
use serde_json::{Value, json};
use tungstenite::Message;

use super::{BINARY, Witnesses};

/// Attackers at the same time.
const ATTACKERS: u64 = 6;

const STREAMS: [&str; 8] = [
    "stream-room-messages",
    "stream-notify-room",
    "stream-notify-user",
    "stream-notify-logged",
    "stream-notify-all",
    "stream-user-presence",
    "stream-notify-room-users",
    "meteor.loginServiceConfiguration",
];
const METHODS: [&str; 9] = [
    "login",
    "logout",
    "UserPresence:online",
    "UserPresence:away",
    "setUserStatus",
    "stream-notify-room",
    "stream-notify-user",
    "stream-notify-room-users",
    "test:echo",
];
const EVENTS: [&str; 7] = [
    "user-activity",
    "userData",
    "rooms-changed",
    "webrtc",
    "otr",
    "",
    "__proto__/\u{0}",
];

fn number(name: &str, default: u64) -> u64 {
    let given = env::var(name).ok();
    given.map_or(default, |text| text.parse().expect(name))
}

/// What an attacker knows.
struct Known {
    rid: String,
    user: String,
    username: String,
    token: String,
}

impl Known {
    fn value(&self, dice: &mut Dice, depth: usize) -> Value {
        match dice.roll(if depth < 4 { 11 } else { 8 }) {
            0 => json!(self.rid),
            1 => json!(format!("{}/{}", self.rid, *dice.pick(&EVENTS))),
            2 => json!(format!("{}/{}", self.user, *dice.pick(&EVENTS))),
            3 => json!(self.username),
            4 => json!({ "resume": self.token }),
            5 => json!(dice.roll(1 << 30)),
            6 => json!("x".repeat(*dice.pick(&[0, 1, 255, 256, 1_025, 5_000]))),
            7 => json!({ "$date": "x", "$type": *dice.pick(&EVENTS) }),
            8 => Value::Array((0..3).map(|_| self.value(dice, depth + 1)).collect()),
            9 => json!({ "args": [self.value(dice, depth + 1)], "added": [self.user] }),
            _ => json!([["user-typing"], { "token": self.value(dice, depth + 1) }]),
        }
    }

    fn message(&self, dice: &mut Dice) -> Value {
        let id = dice.roll(20).to_string();
        let params: Vec<_> = (0..dice.roll(4)).map(|_| self.value(dice, 0)).collect();
        match dice.roll(12) {
            0..4 => json!({"msg": "sub", "id": id, "name": *dice.pick(&STREAMS), "params": params}),
            4..8 => {
                json!({"msg": "method", "id": id, "method": *dice.pick(&METHODS), "params": params})
            }
            8 => json!({"msg": "unsub", "id": id}),
            9 => json!({"msg": "ping", "id": self.value(dice, 0)}),
            10 => json!({"msg": "connect", "version": "1", "support": ["1"], "session": id}),
            _ => self.value(dice, 0),
        }
    }
}

/// Changes, drops or doubles some of the bytes.
fn mutate(bytes: &mut Vec<u8>, dice: &mut Dice) {
    for _ in 0..=dice.roll(4) {
        if bytes.is_empty() {
            return;
        }
        let at = dice.roll(bytes.len());
        match dice.roll(4) {
            0 => bytes[at] = dice.roll(256) as u8,
            1 => bytes[at] = *dice.pick(b"\"{}[],:\\"),
            2 => bytes.truncate(at),
            _ => bytes.extend_from_within(at..),
        }
    }
}

/// One session, until it ends or has said enough.
fn session(port: u16, known: &Known, dice: &mut Dice) -> u64 {
    let path = *dice.pick(&["/websocket", "/sockjs/1/abcdefgh/websocket"]);
    let Ok(mut client) = Client::upgrade(port, path, &[]) else {
        return 0;
    };
    let is_raw = path == "/websocket";
    let mut said = 0;
    let say = |client: &mut Client, text: String| {
        let text = if is_raw {
            text
        } else {
            json!([text]).to_string()
        };
        client.try_send(Message::text(text)).is_ok()
    };
    let connect = json!({"msg": "connect", "version": "1", "support": ["1"]});
    let mut open = dice.roll(10) == 0 || say(&mut client, connect.to_string());
    if dice.roll(2) == 0 {
        let login = json!([{ "resume": known.token }]);
        let login = json!({"msg": "method", "method": "login", "id": "l", "params": login});
        open = open && say(&mut client, login.to_string());
    }
    for _ in 0..dice.roll(60) {
        if !open {
            break;
        }
        said += 1;
        let text = known.message(dice).to_string();
        open = match dice.roll(20) {
            0 => client.try_send(Message::binary(text)).is_ok(),
            1 => client
                .try_send(Message::Ping(text[..text.len().min(100)].to_owned().into()))
                .is_ok(),
            2 => {
                let mut bytes = text.into_bytes();
                mutate(&mut bytes, dice);
                client.bytes().write_all(&bytes).is_ok()
            }
            3..8 => {
                let mut bytes = text.into_bytes();
                mutate(&mut bytes, dice);
                say(&mut client, String::from_utf8_lossy(&bytes).into_owned())
            }
            _ => say(&mut client, text),
        };
        // Some read, some do not.
        if dice.roll(3) == 0 && client.end().is_some() {
            break;
        }
    }
    said
}

#[test]
fn made_up_sessions_harm_nobody_beside_them() {
    let seconds = number("DDP_EDGE_FUZZ_SECONDS", 30);
    let seed = number("DDP_EDGE_FUZZ_SEED", 1);
    let workspace = Workspace::start(&[]);
    let gateway = workspace.gateway(BINARY, &[]);
    let mut witnesses = Witnesses::open(&workspace, &gateway);
    let attacker = workspace.user(&["user"]);
    let known = Known {
        rid: workspace.room("p", &[&attacker]),
        user: attacker.id.clone(),
        username: attacker.username.clone(),
        token: attacker.token.clone(),
    };
    let gaps = gateway.metric("ddp_edge_gaps_total", &[]);
    let (over, sessions, messages) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    let deadline = Instant::now() + Duration::from_secs(seconds);
    thread::scope(|scope| {
        for number in 0..ATTACKERS {
            let (over, sessions, messages) = (&over, &sessions, &messages);
            let (known, port) = (&known, gateway.port);
            scope.spawn(move || {
                let mut dice = Dice::new(seed * ATTACKERS + number);
                while !over.load(Relaxed) {
                    messages.fetch_add(session(port, known, &mut dice), Relaxed);
                    sessions.fetch_add(1, Relaxed);
                }
            });
        }
        while Instant::now() < deadline {
            witnesses.get(&workspace, 50);
        }
        over.store(true, Relaxed);
    });
    println!(
        "seed {seed}: {} messages in {} sessions, {}",
        messages.load(Relaxed),
        sessions.load(Relaxed),
        witnesses.latencies()
    );
    assert!(sessions.load(Relaxed) > 10);
    assert_eq!(gateway.metric("ddp_edge_session_panics_total", &[]), 0.0);
    assert_eq!(gateway.metric("ddp_edge_gaps_total", &[]), gaps);
    assert_eq!(get(gateway.port, "/health").status, 200);
    witnesses.get(&workspace, 100);
}
