//! A fan-out to very many: who gets what when clients come and go between its slices.

use harness::Dice;

use super::*;
use crate::shard::backlog::WIDE;

/// The members of a room that is served in slices, who all read what they are sent.
async fn members(bench: &Bench) -> Vec<Client> {
    let mut members = Vec::new();
    for _ in 0..=WIDE {
        let mut member = bench.connected(1 << 16).await;
        bench.subscribe(&mut member, "m", &room()).await;
        members.push(member);
    }
    members
}

fn served(members: &[Client]) -> usize {
    let with_input = members.iter().filter(|member| member.end.available() > 0);
    with_input.count()
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_ping_and_a_methods_answer_wait_for_one_slice() {
    let bench = bench(|_| {});
    let members = members(&bench).await;
    let mut other = bench.connected(1 << 16).await;
    other.send(r#"{"msg":"method","id":"1","method":"any","params":[]}"#);
    let ToBus::Method { ticket, .. } = bench.next_to_bus().await else {
        panic!("not asked")
    };
    bench.publish(vec![message(&room(), "hello")]);
    while served(&members) == 0 {
        tokio::task::yield_now().await;
    }
    other.send(r#"{"msg":"ping"}"#);
    assert_eq!(other.next().await, Seen::Text(r#"{"msg":"pong"}"#.into()));
    let outcome = Ok(None);
    let then = Effect::Nothing;
    bench.post(ToShard::Answer(ticket, Answer::Method { outcome, then }));
    let result = other.next().await;
    assert_eq!(result, Seen::Text(r#"{"msg":"result","id":"1"}"#.into()));
    let served = served(&members);
    assert!(served < WIDE / 2, "{served}");
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn users_named_by_the_thousand_are_served_in_slices_too() {
    let bench = bench(|_| {});
    let mut last = bench.connected(1 << 16).await;
    let topic = Topic::new(Stream::NotifyUser, "last/rooms-changed");
    bench.subscribe(&mut last, "m", &topic).await;
    let mut other = bench.connected(1 << 16).await;
    let mut users: Vec<Arc<str>> = (0..=WIDE).map(|user| user.to_string().into()).collect();
    users.push("last".into());
    let to = To::Users {
        users: users.into(),
        event: UserEvent::Own("rooms-changed"),
    };
    let now = std::time::Instant::now();
    let publication = Publication::new(to, Body::Args("[1]".into()), Class::Data, now);
    bench.publish(vec![publication]);
    other.send(r#"{"msg":"ping"}"#);
    assert_eq!(other.next().await, Seen::Text(r#"{"msg":"pong"}"#.into()));
    assert_eq!(last.end.available(), 0);
    let Seen::Text(text) = last.next().await else {
        panic!("no text")
    };
    assert!(
        text.contains(r#""eventName":"last/rooms-changed","args":[1]"#),
        "{text}"
    );
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn what_waits_behind_a_fan_out_counts_against_the_mailbox() {
    let bench = stopped(|config| config.mailbox_bytes = 1_024);
    let loud = || -> Arc<[Publication]> { vec![message(&room(), "1")].into() };
    let weight = loud()[0].weight();
    for slot in 0..=WIDE {
        let slot = u32::try_from(slot).unwrap();
        bench
            .shard
            .topics
            .borrow_mut()
            .subscribe(room().borrow(), slot);
    }
    for _ in 0..3 {
        bench.shard.take(ToShard::Publish(loud()));
    }
    let held = bench.shard.backlog.borrow().bytes();
    assert_eq!(held, 3 * weight);
    let mailbox = &bench.shared.mailboxes[0];
    mailbox.take_beside(&mut Vec::new(), held);
    assert!(!mailbox.post(ToShard::Publish(loud()), 1_024 - held + 1));
    assert!(mailbox.post(ToShard::Publish(loud()), 1_024 - held));
}

/// A client that comes and goes, and what it must and must not see.
struct Mover {
    client: Client,
    state: State,
    subs: u32,
    /// The last number that came.
    last: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Out,
    /// Its `sub` is judged; the answer was said when this number had been published.
    Joining(usize),
    In,
    Leaving,
}

impl Mover {
    /// Reads what has come.
    fn read(&mut self) {
        let mut buffer = [0; 4_096];
        while let Ok(read @ 1..) = self.client.end.try_read(&mut buffer) {
            self.client.input.extend(&buffer[..read]);
        }
        while let Some(Seen::Text(text)) = self.client.parse() {
            if text.starts_with(r#"{"msg":"ready""#) {
                let State::Joining(published) = self.state else {
                    panic!("ready unasked")
                };
                self.state = State::In;
                self.last = self.last.max(published);
            } else if text.starts_with(r#"{"msg":"nosub""#) {
                self.state = State::Out;
            } else {
                let number = number(&text);
                assert!(number > self.last, "{number} behind {}", self.last);
                let is_in = matches!(self.state, State::In | State::Leaving);
                assert!(is_in, "{number} for somebody who is out");
                self.last = number;
            }
        }
    }
}

fn number(text: &str) -> usize {
    let (_, args) = text.split_once(r#""args":[""#).expect("a message");
    args.split('"').next().unwrap().parse().unwrap()
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn nobody_gets_an_event_twice_misses_one_or_gets_one_after_he_left() {
    let bench = bench(|_| {});
    let mut stayers = members(&bench).await;
    let mut movers = Vec::new();
    for _ in 0..20 {
        movers.push(Mover {
            client: bench.connected(1 << 18).await,
            state: State::Out,
            subs: 0,
            last: 0,
        });
    }
    let mut dice = Dice::new(7);
    let (mut published, mut changes) = (0, 0);
    while published < 60 {
        match dice.roll(4) {
            0 => {
                // Some alone, some back to back: those are one fan-out.
                let some = 1 + dice.roll(3);
                let numbers = published + 1..=published + some;
                bench.publish(
                    numbers
                        .map(|number| message(&room(), &number.to_string()))
                        .collect(),
                );
                published += some;
            }
            _ => {
                let mover = &mut movers[dice.roll(20)];
                mover.read();
                changes += 1;
                match mover.state {
                    State::Out => {
                        mover.subs += 1;
                        let id = mover.subs;
                        mover.client.send(&format!(
                            r#"{{"msg":"sub","id":"{id}","name":"stream-room-messages","params":["r1"]}}"#
                        ));
                        let ticket = loop {
                            if let ToBus::Subscribe { ticket, .. } = bench.next_to_bus().await {
                                break ticket;
                            }
                        };
                        let subscribed = Subscribed {
                            to: Subject::Topic(room()),
                            documents: vec![],
                        };
                        let outcome = Ok(subscribed);
                        bench.post(ToShard::Answer(ticket, Answer::Subscription { outcome }));
                        mover.state = State::Joining(published);
                    }
                    State::In => {
                        let id = mover.subs;
                        mover
                            .client
                            .send(&format!(r#"{{"msg":"unsub","id":"{id}"}}"#));
                        mover.state = State::Leaving;
                    }
                    State::Joining(_) | State::Leaving => {}
                }
            }
        }
        for _ in 0..dice.roll(4) {
            tokio::task::yield_now().await;
        }
    }
    for stayer in &mut stayers {
        for expected in 1..=published {
            let Seen::Text(text) = stayer.next().await else {
                panic!("no text")
            };
            assert_eq!(number(&text), expected);
        }
        assert_eq!(stayer.end.available(), 0);
    }
    // Nothing is under way any more.
    tokio::time::sleep(Duration::from_millis(1)).await;
    for mover in &mut movers {
        mover.read();
        if mover.state == State::In {
            assert_eq!(mover.last, published, "the last one is for whoever is in");
        }
    }
    assert!(changes > 50, "{changes}");
    assert!(bench.shard.backlog.borrow().is_empty());
    assert_eq!(bench.shard.backlog.borrow().bytes(), 0);
}
