//! A session against a naive model of it: random operations in virtual time.

mod transcript;

use std::collections::{BTreeMap, VecDeque};

use proptest::{collection::vec, prelude::*};
use transcript::Peer;

const SETTINGS: &str =
    "= raw subscriptions=3 pending_messages=4 pending_bytes_before_login=200 pending_bytes=400";

proptest! {
    // The seed of a failure is printed; nothing is written beside the tests.
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_session_does_what_its_model_does(lines in vec(line(), 1..60)) {
        let (mut peer, _) = Peer::new(SETTINGS);
        let mut model = Model::default();
        for line in [CONNECT.to_owned()].iter().chain(&lines) {
            let mut expected = Vec::new();
            model.apply(line, &mut expected);
            prop_assert_eq!(peer.apply(line), expected, "after {} in {:#?}", line, lines);
        }
    }
}

const CONNECT: &str = r#"> {"msg":"connect","version":"1","support":["1"]}"#;

/// An operation, as a line of a transcript.
fn line() -> impl Strategy<Value = String> {
    let id = prop::sample::select(&[r#""1""#, r#""2""#, r#""3""#, r#""4""#, "5", "[6]"][..]);
    let message = move |msg: &'static str| {
        id.clone().prop_map(move |id| {
            format!(r#"> {{"msg":"{msg}","id":{id},"method":"m","name":"s","params":[]}}"#)
        })
    };
    prop_oneof![
        6 => message("method"),
        12 => message("sub"),
        6 => message("unsub"),
        2 => message("ping"),
        1 => message("pong"),
        10 => Just("! ready".to_owned()),
        6 => Just("! result 0".to_owned()),
        2 => Just("! error 500".to_owned()),
        3 => Just("! nosub".to_owned()),
        3 => (0..12u32).prop_map(|key| format!("! end {key} silently")),
        1 => (0..12u32).prop_map(|key| format!("! end {key} nosub")),
        3 => Just("! login".to_owned()),
        1 => Just("! logout".to_owned()),
        8 => (1..40u64).prop_map(|seconds| format!("+{seconds}s")),
        1 => Just(CONNECT.to_owned()),
        1 => Just(r#"> {"msg":"disconnect"}"#.to_owned()),
    ]
}

/// Everything in plain lists, time in whole seconds, one second after the other.
#[derive(Default)]
struct Model {
    is_connected: bool,
    is_over: bool,
    is_logged_in: bool,
    now: u64,
    heard: u64,
    pinged: Option<u64>,
    lingering_since: u64,
    active: Option<u64>,
    /// Kind, id, bytes of what waits; the first one runs if `is_running`.
    calls: VecDeque<(String, String, usize)>,
    is_running: bool,
    keys: u32,
    /// Id to key.
    live: BTreeMap<String, u32>,
}

impl Model {
    fn apply(&mut self, line: &str, said: &mut Vec<String>) {
        if let Some(seconds) = line.strip_prefix('+') {
            for _ in 0..seconds.trim_end_matches('s').parse().unwrap() {
                self.now += 1;
                self.tick(said);
            }
        } else if self.is_over {
        } else if let Some(message) = line.strip_prefix("> ") {
            self.message(message, said);
        } else if let Some(command) = line.strip_prefix("! ") {
            self.command(command, said);
        }
        // The driver drains events before frames.
        said.sort_by_key(|line| match line.as_bytes()[0] {
            b'?' => 0,
            b'<' => 1,
            _ => 2,
        });
    }

    fn message(&mut self, text: &str, said: &mut Vec<String>) {
        self.heard = self.now;
        self.pinged = None;
        if self.is_logged_in && self.active.is_none_or(|active| self.now - active >= 30) {
            self.active = Some(self.now);
            said.push("? activity".to_owned());
        }
        let message: BTreeMap<String, serde_json::Value> = serde_json::from_str(text).unwrap();
        let id = message
            .get("id")
            .map(ToString::to_string)
            .unwrap_or_default();
        match message["msg"].as_str().unwrap() {
            "connect" if !self.is_connected => {
                self.is_connected = true;
                said.push("? connected".to_owned());
                said.push(r#"< {"msg":"connected","session":"SESSION"}"#.to_owned());
            }
            "ping" => said.push(format!(r#"< {{"msg":"pong","id":{id}}}"#)),
            "disconnect" => self.end("x disconnect 1000", said),
            kind @ ("method" | "sub" | "unsub") => {
                self.calls.push_back((kind.to_owned(), id, text.len()));
                self.run(said);
                let waiting = self.calls.iter().skip(usize::from(self.is_running));
                let bytes: usize = waiting.clone().map(|call| call.2).sum();
                if waiting.count() > 4 || bytes > if self.is_logged_in { 400 } else { 200 } {
                    self.end("x too_many_pending 1008 TOO_MANY_PENDING", said);
                }
            }
            _ => {}
        }
    }

    fn command(&mut self, command: &str, said: &mut Vec<String>) {
        let running = if self.is_running {
            self.calls[0].clone()
        } else {
            Default::default()
        };
        let (kind, id, _) = running;
        let words: Vec<_> = command.split(' ').collect();
        match (words[0], kind.as_str()) {
            ("result", "method") => {
                said.push(format!(r#"< {{"msg":"result","id":{id},"result":0}}"#));
                self.updated(&id, said);
            }
            ("error", "method") => {
                let error = r#"{"isClientSafe":true,"errorType":"Meteor.Error","error":500,"message":"[500]"}"#;
                said.push(format!(r#"< {{"msg":"result","id":{id},"error":{error}}}"#));
                self.updated(&id, said);
            }
            ("ready", "sub") => {
                said.push(format!(r#"< {{"msg":"ready","subs":[{id}]}}"#));
                self.live.insert(id, self.keys - 1);
                self.next(said);
            }
            ("nosub", "sub") => {
                said.push(format!(r#"< {{"msg":"nosub","id":{id}}}"#));
                self.next(said);
            }
            ("end", _) => {
                let key: u32 = words[1].parse().unwrap();
                let Some(id) = self
                    .live
                    .iter()
                    .find(|live| *live.1 == key)
                    .map(|live| live.0.clone())
                else {
                    return;
                };
                self.forget(&id);
                if words[2] == "nosub" {
                    said.push(format!(r#"< {{"msg":"nosub","id":{id}}}"#));
                }
            }
            ("login", _) => self.is_logged_in = true,
            ("logout", _) => {
                self.is_logged_in = false;
                self.lingering_since = self.now;
            }
            _ => {}
        }
    }

    fn updated(&mut self, id: &str, said: &mut Vec<String>) {
        said.push(format!(r#"< {{"msg":"updated","methods":[{id}]}}"#));
        self.next(said);
    }

    fn next(&mut self, said: &mut Vec<String>) {
        self.is_running = false;
        self.calls.pop_front();
        self.run(said);
    }

    fn run(&mut self, said: &mut Vec<String>) {
        while !self.is_running && !self.calls.is_empty() {
            let (kind, id, _) = self.calls[0].clone();
            if kind == "method" {
                said.push("? method m []".to_owned());
                self.is_running = true;
            } else if kind == "unsub" {
                if let Some(key) = self.forget(&id) {
                    said.push(format!("? unsub {key}"));
                }
                said.push(format!(r#"< {{"msg":"nosub","id":{id}}}"#));
                self.calls.pop_front();
            } else if self.live.contains_key(&id) {
                said.push(format!(r#"< {{"msg":"ready","subs":[{id}]}}"#));
                self.calls.pop_front();
            } else if self.live.len() == 3 {
                let error = concat!(
                    r#"{"isClientSafe":true,"errorType":"Meteor.Error","error":"error-too-many-subscriptions","#,
                    r#""reason":"Too many subscriptions","message":"Too many subscriptions [error-too-many-subscriptions]"}"#
                );
                said.push(format!(r#"< {{"msg":"nosub","id":{id},"error":{error}}}"#));
                said.push("? refused count".to_owned());
                self.calls.pop_front();
            } else {
                said.push(format!("? sub {} s []", self.keys));
                self.keys += 1;
                self.is_running = true;
            }
        }
    }

    fn forget(&mut self, id: &str) -> Option<u32> {
        let key = self.live.remove(id)?;
        if self.live.is_empty() {
            self.lingering_since = self.now;
        }
        Some(key)
    }

    fn tick(&mut self, said: &mut Vec<String>) {
        if self.is_over {
            return;
        }
        if self.pinged.is_some_and(|pinged| self.now == pinged + 30) {
            self.end("x idle_timeout 1001 TIMEOUT", said);
        } else if self.pinged.is_none() && self.now == self.heard + 30 {
            self.pinged = Some(self.now);
            said.push(r#"< {"msg":"ping"}"#.to_owned());
        }
        let lingers = !self.is_logged_in && self.live.is_empty() && !self.is_over;
        if lingers && self.now >= self.lingering_since + 60 {
            self.end("x login_deadline 1008 LOGIN_DEADLINE", said);
        }
    }

    fn end(&mut self, how: &str, said: &mut Vec<String>) {
        self.is_over = true;
        self.is_running = false;
        said.push(how.to_owned());
    }
}
