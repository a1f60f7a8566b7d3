//! What everything costs at most that a client can say and that an event can be, found out by running it: bytes that go out
//! for the bytes that came in, calls, reads, memory. `costs.txt` has it, one line for each kind; the next cheap attack is a
//! number there. `UPDATE_COSTS=1 cargo test -p gateway --lib costs` writes it anew.

mod events;
mod gateway;
mod messages;

use std::{env, fmt::Write as _, fs};

use allocation_counter::AllocationInfo;
use protocol::sockjs::Framing;
use rustix::time::{ClockId, clock_gettime};
use tokio::runtime::{Builder, LocalOptions};

use crate::streams::{table::Stream, topic::Topic};
use gateway::{Client, Gateway, SETTLED, WARMED, settle};

/// What one kind of message costs.
#[derive(Debug, Default)]
struct Cost {
    kind: String,
    /// Bytes of it.
    bytes: usize,
    /// To who has said it, if it was a client.
    back: usize,
    /// To all others together.
    others: usize,
    /// Bytes of calls and broadcasts, without their envelopes.
    bus: usize,
    calls: usize,
    broadcasts: usize,
    reads: usize,
    /// Allocations, bytes that were held at once, and bytes that are held still.
    memory: AllocationInfo,
    /// Microseconds on the processor, of this build: shown, never compared.
    cpu: i64,
}

impl Cost {
    /// Bytes that go out for one that comes in.
    fn factor(&self) -> f64 {
        let out = self.back + self.others + self.bus;
        (out as f64 / self.bytes.max(1) as f64 * 10.0).round() / 10.0
    }

    /// What is the same in each run.
    fn exact(&self) -> String {
        format!(
            "{:<58} {:>8} {:>8} {:>8} {:>8} {:>7} {:>5} {:>5} {:>5}",
            self.kind,
            self.bytes,
            self.back,
            self.others,
            self.bus,
            self.factor(),
            self.calls,
            self.broadcasts,
            self.reads
        )
    }

    /// What depends a little on the compiler and the libraries.
    fn about(&self) -> [u64; 3] {
        let held = |bytes: i64| u64::try_from(bytes).unwrap_or(0);
        [
            self.memory.count_total,
            self.memory.bytes_max,
            held(self.memory.bytes_current),
        ]
    }
}

const HEAD: &str = "\
# What a client's message and an event cost at most: bytes in, back to who said it, to 2 others who hear everything, to the
# bus; bytes out for one in; calls, broadcasts, reads; allocations, bytes held at once, bytes kept (these three about).
# Written by `UPDATE_COSTS=1 cargo test -p gateway --lib costs`; a room of 1,000 members.
";

/// What something costs on a gateway of its own, after everything that was there before.
fn cost<T>(
    before: impl AsyncFnOnce(&mut Gateway) -> T,
    act: impl AsyncFnOnce(&Gateway, &T),
    back: impl FnOnce(&T) -> usize,
) -> Cost {
    let runtime = Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build_local(LocalOptions::default())
        .unwrap();
    let (gateway, there) = runtime.block_on(async {
        let mut gateway = Gateway::new();
        let there = before(&mut gateway).await;
        settle().await;
        (gateway, there)
    });
    gateway.heard();
    let script = &gateway.script;
    script.called.borrow_mut().clear();
    script.said.borrow_mut().clear();
    script.reads.set(0);
    let begun = clock_gettime(ClockId::ThreadCPUTime);
    let memory = allocation_counter::measure(|| {
        runtime.block_on(async {
            act(&gateway, &there).await;
            tokio::time::sleep(SETTLED).await;
        });
    });
    let ended = clock_gettime(ClockId::ThreadCPUTime);
    let bytes = |said: &[(String, String)]| -> usize {
        said.iter()
            .map(|(what, args)| what.len() + args.len())
            .sum()
    };
    let (called, said) = (script.called.borrow(), script.said.borrow());
    Cost {
        back: back(&there),
        others: gateway.heard(),
        bus: bytes(&called) + bytes(&said),
        calls: called.len(),
        broadcasts: said.len(),
        reads: script.reads.get(),
        memory,
        cpu: (ended.tv_sec - begun.tv_sec) * 1_000_000 + (ended.tv_nsec - begun.tv_nsec) / 1_000,
        ..Cost::default()
    }
}

/// What clients say, by a user to whom nothing is the first of its kind.
fn of_clients() -> Vec<Cost> {
    let heard = [
        (Stream::NotifyRoom, "r1/user-activity"),
        (Stream::NotifyUser, "u1/otr"),
        (Stream::NotifyUser, "u1/video-conference"),
        (Stream::NotifyUser, "u1/userData"),
    ];
    let heard = heard.map(|(stream, event)| Topic::new(stream, event));
    let cases = messages::cases("warm").into_iter();
    let pairs = cases.zip(messages::cases("evil"));
    pairs
        .map(|(warm, case)| {
            let come = async |gateway: &Gateway, case: &messages::Case| {
                let client = gateway.open(Framing::Raw);
                for said in &case.before {
                    client.say(said).await;
                    settle().await;
                }
                client.heard();
                client
            };
            let before = async |gateway: &mut Gateway| -> (Client, Client) {
                gateway.listen(&heard).await;
                let first = come(gateway, &warm).await;
                first.say(&warm.said).await;
                tokio::time::sleep(WARMED).await;
                (come(gateway, &case).await, first)
            };
            let act =
                async |_: &Gateway, (client, _): &(Client, Client)| client.say(&case.said).await;
            let cost = cost(before, act, |(client, _)| client.heard());
            Cost {
                bytes: case.said.len(),
                kind: case.kind,
                ..cost
            }
        })
        .collect()
}

/// What comes from the bus, wanted by everybody and by nobody.
fn of_events() -> Vec<Cost> {
    let mut all = Vec::new();
    for case in events::cases() {
        for wanted in [true, false] {
            let before = async |gateway: &mut Gateway| {
                if wanted {
                    gateway.listen(&case.topics).await;
                }
                gateway.hear((case.happens)(true));
                tokio::time::sleep(WARMED).await;
            };
            let act = async |gateway: &Gateway, (): &()| gateway.hear((case.happens)(false));
            let cost = cost(before, act, |()| 0);
            let kind = match wanted {
                true => case.kind.clone(),
                false => format!("{}, unwanted", case.kind),
            };
            let bytes = case.bytes;
            all.push(Cost {
                kind,
                bytes,
                ..cost
            });
        }
    }
    all
}

#[test]
fn what_is_said_costs_what_the_table_says() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/costs.txt");
    let line = |cost: &Cost| {
        let [allocations, most, kept] = cost.about();
        format!("{} {allocations:>7} {most:>8} {kept:>7}", cost.exact())
    };
    let costs: Vec<_> = of_clients().into_iter().chain(of_events()).collect();
    for cost in &costs {
        println!("{} {:>7} us", line(cost), cost.cpu);
    }
    if env::var_os("UPDATE_COSTS").is_some() {
        let mut table = HEAD.to_owned();
        for cost in &costs {
            writeln!(table, "{}", line(cost)).unwrap();
        }
        fs::write(path, table).unwrap();
        return;
    }
    let table = fs::read_to_string(path).unwrap();
    let mut told = table.lines().filter(|line| !line.starts_with('#'));
    let mut wrong = Vec::new();
    for cost in &costs {
        let Some(told) = told.next() else {
            wrong.push(format!("{}\n    is not told of", line(cost)));
            continue;
        };
        if !is_true(told, cost) {
            wrong.push(format!("{}\n    is told as\n{told}", line(cost)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(told.next(), None, "there is nothing of the kind");
}

/// Whether a line of the table tells of this, and nearly the same memory.
fn is_true(told: &str, cost: &Cost) -> bool {
    let Some(about) = told.strip_prefix(&cost.exact()) else {
        return false;
    };
    let about = about
        .split_whitespace()
        .map(|number| number.parse::<u64>().unwrap());
    // Bytes held at once are mostly futures, whose size every change of an `async fn` moves.
    let slack = [(8, 8), (2, 512), (8, 128)];
    about
        .zip(cost.about())
        .zip(slack)
        .all(|((told, is), (part, more))| told.abs_diff(is) <= told.max(is) / part + more)
}
