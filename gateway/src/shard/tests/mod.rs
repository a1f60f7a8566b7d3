//! Sessions over an in-memory socket, with time that only passes when nothing else is left to do.

use std::{future::poll_fn, rc::Rc, sync::Arc, time::Duration};

use bytes::Bytes;
use protocol::{close::CloseReason, outbox::Class, sockjs::Framing, ws};
use tokio::time::Instant;

use super::Shard;
use crate::{
    config::Config,
    io::memory,
    link::{Answer, Effect, Ticket, ToBus, ToShard, User},
    place::{Place, Sub},
    publication::{Body, Publication, To, UserEvent},
    shared::Shared,
    streams::{
        request::{Subject, Subscribed},
        table::Stream,
        topic::Topic,
    },
    tests::client,
};

mod endings;
mod fairness;
mod limits;
mod overload;
mod slices;
mod watching;

/// A shard that runs, and the test in the place of the bus thread.
struct Bench {
    shard: Rc<Shard>,
    shared: Arc<Shared>,
}

/// The far end of a client's socket.
struct Client {
    end: memory::End,
    input: Vec<u8>,
}

/// What a client sees.
#[derive(Debug, PartialEq, Eq)]
enum Seen {
    Text(String),
    Close(u16, String),
    Pong(Vec<u8>),
    End,
}

fn bench(change: impl FnOnce(&mut Config)) -> Bench {
    let bench = stopped(change);
    tokio::task::spawn_local(bench.shard.clone().run());
    bench
}

/// The same, but the shard does only what the test makes it do.
fn stopped(change: impl FnOnce(&mut Config)) -> Bench {
    let mut config = Config {
        shards: 1,
        ..Config::default()
    };
    change(&mut config);
    let bus = backplane::Bus::in_process("node".into());
    let shared = Arc::new(Shared::new(
        config,
        bus,
        ([127, 0, 0, 1], 3000).into(),
        None,
    ));
    let shard = Shard::new(0, shared.clone());
    Bench { shard, shared }
}

impl Bench {
    fn connect(&self, framing: Framing, room: usize) -> Client {
        Client {
            end: client::open(&self.shard, &self.shared, framing, room),
            input: Vec::new(),
        }
    }

    /// A raw client that has been greeted and has agreed on a version.
    async fn connected(&self, room: usize) -> Client {
        let mut client = self.connect(Framing::Raw, room);
        assert!(matches!(self.next_to_bus().await, ToBus::Opened(_)));
        assert_eq!(
            client.next().await,
            Seen::Text(r#"{"server_id":"0"}"#.into())
        );
        client.send(r#"{"msg":"connect","version":"1","support":["1"]}"#);
        let Seen::Text(answer) = client.next().await else {
            panic!("no answer")
        };
        assert!(
            answer.starts_with(r#"{"msg":"connected","session":""#),
            "{answer}"
        );
        client
    }

    /// Subscribes a client to a topic, as the bus thread would after judging.
    async fn subscribe(&self, client: &mut Client, id: &str, topic: &Topic) -> Sub {
        client.send(&format!(
            r#"{{"msg":"sub","id":"{id}","name":"stream-room-messages","params":["{id}"]}}"#
        ));
        let ToBus::Subscribe { ticket, sub, .. } = self.next_to_bus().await else {
            panic!("not asked")
        };
        let subscribed = Subscribed {
            to: Subject::Topic(topic.clone()),
            documents: vec![],
        };
        self.post(ToShard::Answer(
            ticket,
            Answer::Subscription {
                outcome: Ok(subscribed),
            },
        ));
        assert_eq!(
            client.next().await,
            Seen::Text(format!(r#"{{"msg":"ready","subs":["{id}"]}}"#))
        );
        (ticket.place, sub)
    }

    async fn log_in(&self, client: &mut Client, user: &str) -> Ticket {
        client.send(r#"{"msg":"method","id":"1","method":"login","params":[{"resume":"t"}]}"#);
        let ToBus::Method { ticket, .. } = self.next_to_bus().await else {
            panic!("not asked")
        };
        let then = Effect::LoggedIn(Arc::new(User {
            id: user.into(),
            hashed_token: "hash".into(),
        }));
        self.post(ToShard::Answer(
            ticket,
            Answer::Method {
                outcome: Ok(None),
                then,
            },
        ));
        assert_eq!(
            client.next().await,
            Seen::Text(r#"{"msg":"result","id":"1"}"#.into())
        );
        assert_eq!(
            client.next().await,
            Seen::Text(r#"{"msg":"updated","methods":["1"]}"#.into())
        );
        ticket
    }

    fn post(&self, message: ToShard) {
        assert!(self.shared.mailboxes[0].post(message, 0));
    }

    fn publish(&self, publications: Vec<Publication>) {
        self.post(ToShard::Publish(publications.into()));
    }

    /// The next message to the bus thread, except for presence's.
    async fn next_to_bus(&self) -> ToBus {
        loop {
            let mut batch = Vec::new();
            self.shared.to_bus.take(&mut batch);
            let mut batch = batch
                .into_iter()
                .filter(|message| !matches!(message, ToBus::Activity(_)));
            let Some(first) = batch.next() else {
                self.shared.to_bus.wait().await;
                continue;
            };
            for message in batch {
                self.shared.to_bus.post(message, 0);
            }
            return first;
        }
    }

    /// Waits until a session has ended.
    async fn next_closed(&self) {
        while !matches!(self.next_to_bus().await, ToBus::Closed(_)) {}
    }
}

impl Client {
    fn send(&self, text: &str) {
        self.send_frame(0x81, text.as_bytes());
    }

    fn send_frame(&self, first: u8, payload: &[u8]) {
        let frame = harness::frame(first, payload);
        let written = self
            .end
            .try_write(&[std::io::IoSlice::new(&frame)])
            .unwrap();
        assert_eq!(written, frame.len(), "the test's pipe is too small");
    }

    async fn next(&mut self) -> Seen {
        loop {
            if let Some(seen) = self.parse() {
                return seen;
            }
            poll_fn(|cx| self.end.poll_readable(cx)).await.unwrap();
            let mut buffer = [0; 4096];
            match self.end.try_read(&mut buffer) {
                Ok(0) => return Seen::End,
                Ok(read) => self.input.extend(&buffer[..read]),
                Err(_) => {}
            }
        }
    }

    /// The close frame, or the end without one, behind whatever came before.
    async fn closed(&mut self) -> Seen {
        loop {
            if let seen @ (Seen::Close(..) | Seen::End) = self.next().await {
                return seen;
            }
        }
    }

    fn parse(&mut self) -> Option<Seen> {
        let &[first, length, ..] = self.input.as_slice() else {
            return None;
        };
        let (header, length) = match length {
            126 => (
                4,
                usize::from(u16::from_be_bytes(
                    self.input.get(2..4)?.try_into().unwrap(),
                )),
            ),
            127 => (
                10,
                u64::from_be_bytes(self.input.get(2..10)?.try_into().unwrap()) as usize,
            ),
            short => (2, usize::from(short)),
        };
        let payload = self.input.get(header..header + length)?.to_vec();
        self.input.drain(..header + length);
        Some(match first {
            0x81 => Seen::Text(String::from_utf8(payload).unwrap()),
            0x88 if payload.is_empty() => Seen::Close(1005, String::new()),
            0x88 => Seen::Close(
                u16::from_be_bytes([payload[0], payload[1]]),
                String::from_utf8(payload[2..].to_vec()).unwrap(),
            ),
            0x8A => Seen::Pong(payload),
            other => panic!("unexpected frame {other:#x}"),
        })
    }
}

fn room() -> Topic {
    Topic::new(Stream::RoomMessages, "r1")
}

fn message(topic: &Topic, text: &str) -> Publication {
    let args = Body::Args(format!("[\"{text}\"]").into());
    Publication::new(To::Topic(topic.clone()), args, Class::Data, super::now())
}

fn sheddable(topic: &Topic, text: &str) -> Publication {
    let mut publication = message(topic, text);
    publication.class = Class::Sheddable;
    publication
}

/// The first client.
const FIRST: Place = Place {
    shard: 0,
    slot: 0,
    generation: 1,
};

fn changed(text: &str) -> String {
    let fields = format!(r#"{{"eventName":"r1","args":["{text}"]}}"#);
    format!(
        r#"{{"msg":"changed","collection":"stream-room-messages","id":"id","fields":{fields}}}"#
    )
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_publication_reaches_its_subscribers_in_their_framing() {
    let bench = bench(|_| {});
    let mut raw = bench.connected(1 << 20).await;
    bench.subscribe(&mut raw, "a", &room()).await;
    let mut sockjs = bench.connect(Framing::SockJs, 1 << 20);
    bench.next_to_bus().await;
    assert_eq!(sockjs.next().await, Seen::Text("o".into()));
    assert_eq!(
        sockjs.next().await,
        Seen::Text(r#"a["{\"server_id\":\"0\"}"]"#.into())
    );
    sockjs.send(r#"["{\"msg\":\"connect\",\"version\":\"1\",\"support\":[\"1\"]}"]"#);
    sockjs.next().await;
    sockjs.send(r#"["{\"msg\":\"sub\",\"id\":\"s\",\"name\":\"stream-room-messages\",\"params\":[\"r1\"]}"]"#);
    let ToBus::Subscribe { ticket, .. } = bench.next_to_bus().await else {
        panic!("not asked")
    };
    let subscribed = Subscribed {
        to: Subject::Topic(room()),
        documents: vec![],
    };
    bench.post(ToShard::Answer(
        ticket,
        Answer::Subscription {
            outcome: Ok(subscribed),
        },
    ));
    sockjs.next().await;

    let mut joined = message(&room(), "in one");
    assert!(joined.join(message(&room(), "piece")).is_none());
    let alone = ["hello", "world"].map(|text| message(&room(), text));
    bench.publish(alone.into_iter().chain([joined]).collect());
    for text in ["hello", "world", "in one", "piece"] {
        assert_eq!(raw.next().await, Seen::Text(changed(text)));
        let escaped = changed(text).replace('"', r#"\""#);
        let seen = sockjs.next().await;
        assert_eq!(seen, Seen::Text(format!(r#"a["{escaped}"]"#)));
    }
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn the_writer_does_not_get_its_own_event() {
    let bench = bench(|_| {});
    let mut writer = bench.connected(1 << 20).await;
    let mut reader = bench.connected(1 << 20).await;
    bench.subscribe(&mut writer, "w", &room()).await;
    bench.subscribe(&mut reader, "r", &room()).await;
    let mut typing = message(&room(), "typing");
    typing.exclude = Some(FIRST);
    bench.publish(vec![typing, message(&room(), "all")]);
    assert_eq!(writer.next().await, Seen::Text(changed("all")));
    assert_eq!(reader.next().await, Seen::Text(changed("typing")));
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn rooms_changed_names_each_user_around_one_shared_document() {
    let bench = bench(|_| {});
    let mut client = bench.connected(1 << 20).await;
    bench
        .subscribe(
            &mut client,
            "a",
            &Topic::new(Stream::NotifyUser, "u1/rooms-changed"),
        )
        .await;
    let users: Arc<[Arc<str>]> = vec!["u0".into(), "u1".into()].into();
    let event = UserEvent::Own("rooms-changed");
    let body = Body::Args(r#"["updated",{"_id":"r1"}]"#.into());
    let now = std::time::Instant::now();
    let to = To::Users { users, event };
    bench.publish(vec![Publication::new(to, body, Class::Data, now)]);
    let fields = r#"{"eventName":"u1/rooms-changed","args":["updated",{"_id":"r1"}]}"#;
    let expected = format!(
        r#"{{"msg":"changed","collection":"stream-notify-user","id":"id","fields":{fields}}}"#
    );
    assert_eq!(client.next().await, Seen::Text(expected));
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn after_unsub_nothing_more_arrives_and_the_interest_is_gone() {
    let bench = bench(|_| {});
    let mut client = bench.connected(1 << 20).await;
    let sub = bench.subscribe(&mut client, "a", &room()).await;
    assert_eq!(bench.shared.interest.shards(room().borrow()), 1);
    client.send(r#"{"msg":"unsub","id":"a"}"#);
    assert_eq!(
        client.next().await,
        Seen::Text(r#"{"msg":"nosub","id":"a"}"#.into())
    );
    assert!(matches!(bench.next_to_bus().await, ToBus::Unsubscribed(ended) if ended == sub));
    assert_eq!(bench.shared.interest.shards(room().borrow()), 0);
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn the_peers_close_is_answered_and_frees_the_slot() {
    let bench = bench(|_| {});
    let mut client = bench.connected(1 << 20).await;
    bench.subscribe(&mut client, "a", &room()).await;
    client.send_frame(0x88, &1000u16.to_be_bytes());
    assert_eq!(client.next().await, Seen::Close(1000, String::new()));
    assert_eq!(client.next().await, Seen::End);
    bench.next_closed().await;
    drop(client);
    bench.shared.admission.emptied().await;
    assert!(bench.shard.entries.borrow().is_empty());
    assert_eq!(bench.shard.topics.borrow().len(), 0);
    assert!(bench.shard.timers.borrow().is_empty());
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_peer_that_does_not_answer_our_close_is_cut_after_the_linger() {
    let bench = bench(|_| {});
    let mut client = bench.connected(1 << 20).await;
    client.send("no json");
    let sent = Instant::now();
    assert_eq!(
        client.next().await,
        Seen::Close(1007, "UNSUPPORTED_DATA".into())
    );
    client.send(r#"{"msg":"ping"}"#);
    assert_eq!(client.next().await, Seen::End);
    assert_eq!(sent.elapsed(), Duration::from_secs(5));
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn after_a_protocol_violation_nothing_is_awaited() {
    let bench = bench(|_| {});
    let mut client = bench.connected(1 << 20).await;
    let sent = Instant::now();
    client.send_frame(0xF1, b"reserved bits");
    assert_eq!(client.next().await, Seen::Close(1002, String::new()));
    assert_eq!(client.next().await, Seen::End);
    assert!(sent.elapsed() < Duration::from_secs(1));
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn websocket_pings_are_answered_with_their_body() {
    let bench = bench(|_| {});
    let mut client = bench.connected(1 << 20).await;
    client.send_frame(0x89, b"body");
    assert_eq!(client.next().await, Seen::Pong(b"body".to_vec()));
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn silence_leads_to_a_ping_and_then_to_the_idle_close() {
    let bench = bench(|_| {});
    let mut client = bench.connected(1 << 20).await;
    bench.subscribe(&mut client, "a", &room()).await;
    let last = Instant::now();
    assert_eq!(client.next().await, Seen::Text(r#"{"msg":"ping"}"#.into()));
    assert_eq!(last.elapsed().as_secs(), 30);
    assert_eq!(client.next().await, Seen::Close(1001, "TIMEOUT".into()));
    assert_eq!(last.elapsed().as_secs(), 60);
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_full_outbox_ends_the_slow_client_and_nobody_else() {
    let bench = bench(|config| {
        config.limits = Arc::new(protocol::limits::Limits {
            outbox_bytes: 4_096,
            ..Default::default()
        });
    });
    let mut slow = bench.connected(256).await;
    let mut quick = bench.connected(1 << 20).await;
    bench.subscribe(&mut slow, "s", &room()).await;
    bench.subscribe(&mut quick, "q", &room()).await;
    let text = "x".repeat(500);
    for _ in 0..10 {
        bench.publish(vec![message(&room(), &text)]);
    }
    for _ in 0..10 {
        assert_eq!(quick.next().await, Seen::Text(changed(&text)));
    }
    bench.next_closed().await;
    // The frame that was half written is whole, then the close frame follows at once.
    assert_eq!(slow.next().await, Seen::Text(changed(&text)));
    assert_eq!(slow.next().await, Seen::Close(1013, "SLOW_CONSUMER".into()));
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn frames_that_wait_too_long_end_the_client() {
    let bench = bench(|_| {});
    let mut client = bench.connected(256).await;
    bench.subscribe(&mut client, "a", &room()).await;
    let published = Instant::now();
    bench.publish(vec![message(&room(), &"x".repeat(500))]);
    bench.next_closed().await;
    assert_eq!(published.elapsed().as_secs(), 30);
    assert_eq!(
        client.closed().await,
        Seen::Close(1013, "SLOW_CONSUMER".into())
    );
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn typing_is_shed_before_a_message_is_lost() {
    let bench = bench(|config| {
        config.limits = Arc::new(protocol::limits::Limits {
            outbox_bytes: 4_096,
            ..Default::default()
        });
    });
    let mut client = bench.connected(256).await;
    bench.subscribe(&mut client, "a", &room()).await;
    let text = "x".repeat(2_500);
    bench.publish(vec![
        message(&room(), &text),
        sheddable(&room(), "typing"),
        message(&room(), "important"),
    ]);
    assert_eq!(client.next().await, Seen::Text(changed(&text)));
    assert_eq!(client.next().await, Seen::Text(changed("important")));
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn only_the_clients_that_are_named_are_closed() {
    let bench = bench(|_| {});
    let mut client = bench.connected(1 << 20).await;
    bench.log_in(&mut client, "u1").await;
    let close = |place| ToShard::Close {
        places: vec![place],
        reason: CloseReason::Revoked,
    };
    // An earlier owner of the slot.
    bench.post(close(Place {
        generation: 0,
        ..FIRST
    }));
    client.send(r#"{"msg":"ping"}"#);
    assert_eq!(client.next().await, Seen::Text(r#"{"msg":"pong"}"#.into()));
    bench.post(close(FIRST));
    assert_eq!(client.next().await, Seen::Close(1008, "REVOKED".into()));
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn exactly_the_subscriptions_that_are_named_end() {
    let bench = bench(|_| {});
    let mut client = bench.connected(1 << 20).await;
    bench.log_in(&mut client, "u1").await;
    let ended = bench.subscribe(&mut client, "a", &room()).await;
    let other = Topic::new(Stream::RoomMessages, "r2");
    bench.subscribe(&mut client, "b", &other).await;
    bench.post(ToShard::Revoke {
        subs: vec![ended],
        silently: false,
    });
    let Seen::Text(nosub) = client.next().await else {
        panic!("no text")
    };
    assert!(
        nosub.starts_with(r#"{"msg":"nosub","id":"a","error":"#) && nosub.contains("not-allowed"),
        "{nosub}"
    );
    bench.publish(vec![message(&room(), "gone"), message(&other, "here")]);
    let here = changed("here").replace("r1", "r2");
    assert_eq!(client.next().await, Seen::Text(here));
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_gap_closes_exactly_the_sockets_in_scope() {
    let bench = bench(|_| {});
    let mut inside = bench.connected(1 << 20).await;
    let mut outside = bench.connected(1 << 20).await;
    let (place, _) = bench.subscribe(&mut inside, "a", &room()).await;
    bench.post(ToShard::Resync {
        places: Some(vec![place]),
        over: Duration::from_secs(10),
    });
    let told = Instant::now();
    assert_eq!(inside.next().await, Seen::Close(1012, "RESYNC".into()));
    assert!(told.elapsed() <= Duration::from_secs(10));
    outside.send(r#"{"msg":"ping"}"#);
    assert_eq!(outside.next().await, Seen::Text(r#"{"msg":"pong"}"#.into()));
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_late_answer_does_not_reach_the_next_owner_of_a_slot() {
    let bench = bench(|_| {});
    let first = bench.connected(1 << 20).await;
    first.send(r#"{"msg":"method","id":"1","method":"slow","params":[]}"#);
    let ToBus::Method { ticket, .. } = bench.next_to_bus().await else {
        panic!("not asked")
    };
    drop(first);
    bench.next_closed().await;
    let mut second = bench.connected(1 << 20).await;
    second.send(r#"{"msg":"method","id":"1","method":"other","params":[]}"#);
    let ToBus::Method { ticket: own, .. } = bench.next_to_bus().await else {
        panic!("not asked")
    };
    assert_eq!(own.place.slot, ticket.place.slot);
    let answer = |text: &'static str| Answer::Method {
        outcome: Ok(Some(Bytes::from_static(text.as_bytes()))),
        then: Effect::Nothing,
    };
    bench.post(ToShard::Answer(ticket, answer("\"late\"")));
    bench.post(ToShard::Answer(own, answer("\"own\"")));
    assert_eq!(
        second.next().await,
        Seen::Text(r#"{"msg":"result","id":"1","result":"own"}"#.into())
    );
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_login_that_cannot_be_judged_closes_without_an_answer() {
    let bench = bench(|_| {});
    let mut client = bench.connected(1 << 20).await;
    client.send(r#"{"msg":"method","id":"1","method":"login","params":[{"resume":"t"}]}"#);
    let ToBus::Method { ticket, .. } = bench.next_to_bus().await else {
        panic!("not asked")
    };
    let outcome = Err(protocol::ddp::Error::internal());
    bench.post(ToShard::Answer(
        ticket,
        Answer::Method {
            outcome,
            then: Effect::Close(CloseReason::TryAgain),
        },
    ));
    assert_eq!(client.next().await, Seen::Close(1013, "TRY_AGAIN".into()));
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_publication_is_encoded_once_per_framing() {
    let publication = message(&room(), "once");
    let (protocol::outbox::Frame::Shared(first), protocol::outbox::Frame::Shared(second)) = (
        publication.frame(Framing::Raw),
        publication.frame(Framing::Raw),
    ) else {
        panic!("not shared")
    };
    assert_eq!(first.as_ptr(), second.as_ptr());
    assert_eq!(&first[..], &ws::text_frame(changed("once").as_bytes())[..]);
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn session_ids_are_secrets_of_their_own() {
    let bench = bench(|_| {});
    let (one, other) = (bench.shard.secret(), bench.shard.secret());
    assert_ne!(one, other);
    let (tag, random) = one.split_once('-').unwrap();
    assert_eq!(tag, bench.shared.tags[0]);
    assert!(random.len() >= 22, "{random}");
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_panic_in_a_step_ends_one_connection() {
    let bench = bench(|_| {});
    let mut broken = bench.connected(1 << 20).await;
    let mut other = bench.connected(1 << 20).await;
    let entry = bench.shard.entry(FIRST).unwrap();
    bench.shard.step(&entry, |_| panic!("part of the test"));
    assert_eq!(
        broken.next().await,
        Seen::Close(1011, "INTERNAL_ERROR".into())
    );
    bench.next_closed().await;
    other.send(r#"{"msg":"ping"}"#);
    assert_eq!(other.next().await, Seen::Text(r#"{"msg":"pong"}"#.into()));
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_read_task_stays_within_the_memory_table() {
    let bench = bench(|_| {});
    let _client = bench.connected(1 << 20).await;
    let entry = bench.shard.entry(FIRST).unwrap();
    let io = entry.transport.borrow().as_ref().unwrap().io.clone();
    let task = bench.shard.clone().read(entry, io, Bytes::new());
    // With the 104 bytes that tokio adds a size of the allocator; cells of tasks come in steps of 128.
    assert!(size_of_val(&task) <= 256 - 104, "{}", size_of_val(&task));
}

#[test]
fn an_idle_connection_stays_within_its_table() {
    assert!(
        size_of::<super::entry::Entry>() <= 1_024,
        "{}",
        size_of::<super::entry::Entry>()
    );
    assert!(
        size_of::<crate::link::Connection>() <= 256,
        "{}",
        size_of::<crate::link::Connection>()
    );
    let place = size_of::<(usize, Rc<super::entry::Entry>)>() + 64;
    assert!(place <= 128, "{place}");
}
