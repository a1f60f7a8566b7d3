//! The hot path in small pieces, each a function that does its work once: criterion times them (`benches/`), the
//! `instructions` binary counts their instructions (`scripts/instructions`), so that both speak of the same work.

mod readers;

use std::{hint::black_box, io::IoSlice, sync::Arc, time::Instant};

use bytes::BytesMut;
use bytestring::ByteString;
use protocol::{
    ddp,
    limits::Limits,
    moleculer,
    outbox::{Class, Outbox},
    session::{Event, Session},
    sockjs::Framing,
    ws,
};

pub use readers::READERS;

/// A room message as the monolith announces it: about 700 bytes of packet.
#[must_use]
pub fn event_packet() -> Vec<u8> {
    format!(
        r#"{{"id":"e6559424-afb6-47ae-80ea-1feaedd69332","event":"watch.messages","data":[{{"message":{}}}],"broadcast":true,"meta":{{}},"level":1,"tracing":null,"parentID":null,"requestID":"40dfb330-a32e-418e-b7d9-7805b258d7d2","caller":null,"needAck":null,"ver":"4","sender":"rc-monolith-101"}}"#,
        message()
    )
    .into_bytes()
}

/// The document inside.
#[must_use]
pub fn message() -> String {
    r#"{"_id":"Zp3sWq9LtB0cVx7Ye","rid":"GENERAL","msg":"A message of ordinary length, with an emoji 🙂 and \"quotes\".","ts":{"$date":1700000000123},"u":{"_id":"u7RkQm2dXa9","username":"vera","name":"Vera Lind"},"mentions":[],"channels":[],"urls":[],"md":[{"type":"PARAGRAPH","value":[{"type":"PLAIN_TEXT","value":"A message of ordinary length"}]}],"_updatedAt":{"$date":1700000000123}}"#
        .to_owned()
}

const METHOD: &str = r#"{"msg":"method","id":"12","method":"sendMessage","params":[{"_id":"Zp3sWq9LtB0cVx7Ye","rid":"GENERAL","msg":"A message of ordinary length, as people write them."}]}"#;

/// One piece of the hot path.
pub struct Case {
    pub name: &'static str,
    /// Prepares the piece and returns it; each call does the work once.
    pub prepare: fn() -> Box<dyn FnMut()>,
}

/// Every piece.
pub const CASES: &[Case] = &[
    Case {
        name: "bus event decoded",
        prepare: event_decoded,
    },
    Case {
        name: "bus event to publication",
        prepare: || event_handled(true),
    },
    Case {
        name: "bus event that reaches nobody",
        prepare: || event_handled(false),
    },
    Case {
        name: "event, from NATS bytes to 1 socket",
        prepare: || event_through(1),
    },
    Case {
        name: "event, from NATS bytes to 100 sockets",
        prepare: || event_through(100),
    },
    Case {
        name: "method, from socket to socket",
        prepare: method_through,
    },
    Case {
        name: "client method decoded",
        prepare: method_decoded,
    },
    Case {
        name: "websocket frame decoded",
        prepare: frame_decoded,
    },
    Case {
        name: "stream message encoded, raw frame",
        prepare: || encoded(Framing::Raw),
    },
    Case {
        name: "stream message encoded, SockJS frame",
        prepare: || encoded(Framing::SockJs),
    },
    Case {
        name: "fan-out to 1 outbox",
        prepare: || fan_out(1),
    },
    Case {
        name: "fan-out to 100 outboxes",
        prepare: || fan_out(100),
    },
    Case {
        name: "fan-out to 10000 outboxes",
        prepare: || fan_out(10_000),
    },
    Case {
        name: "session: ping",
        prepare: session_ping,
    },
    Case {
        name: "session: method and result",
        prepare: session_method,
    },
];

fn event_decoded() -> Box<dyn FnMut()> {
    let packet = event_packet();
    Box::new(move || {
        let text = std::str::from_utf8(black_box(&packet)).expect("a text");
        black_box(moleculer::Event::decode(text).is_ok());
    })
}

/// What the bus thread does with a room message behind its envelope.
fn event_handled(followed: bool) -> Box<dyn FnMut()> {
    let mut thread = gateway::bench::BusThread::new();
    if followed {
        thread.follow("GENERAL");
    }
    let args = ByteString::from(format!("[{{\"message\":{}}}]", message()));
    Box::new(move || {
        let posted = thread.event("watch.messages", args.clone());
        assert_eq!(posted, usize::from(followed));
    })
}

/// The whole way of a room message.
fn event_through(clients: usize) -> Box<dyn FnMut()> {
    let mut door = gateway::bench::Door::new(clients, "GENERAL");
    let packet = bytes::Bytes::from(event_packet());
    Box::new(move || {
        let text = ByteString::try_from(black_box(&packet).clone()).expect("a text");
        let event = moleculer::Event::decode(&text).expect("a whole packet");
        let args = text.slice_ref(event.data);
        assert_eq!(door.event("watch.messages", args), clients);
    })
}

/// The whole way of a client's message and its answer, but for what the monolith does.
fn method_through() -> Box<dyn FnMut()> {
    let mut door = gateway::bench::Door::new(1, "GENERAL");
    let frame = masked(METHOD);
    Box::new(move || assert!(door.method(&frame)))
}

/// A text as a client sends it.
fn masked(text: &str) -> BytesMut {
    let mask = [1, 2, 3, 4];
    let mut frame = BytesMut::new();
    ws::frame_header(ws::Opcode::Text, text.len(), &mut frame);
    frame[1] |= 0x80;
    frame.extend_from_slice(&mask);
    let bytes = text.bytes().zip(mask.iter().cycle());
    frame.extend(bytes.map(|(byte, mask)| byte ^ mask));
    frame
}

fn method_decoded() -> Box<dyn FnMut()> {
    let limits = Limits::default();
    Box::new(move || {
        black_box(ddp::decode::decode(black_box(METHOD), &limits).is_ok());
    })
}

fn frame_decoded() -> Box<dyn FnMut()> {
    let frame = masked(METHOD);
    let mut decoder = ws::Decoder::default();
    let bounds = ws::Bounds {
        message_bytes: 1 << 20,
        fragments: 65_536,
    };
    let mut scratch = vec![0; frame.len()];
    Box::new(move || {
        // Unmasking happens in place: each turn needs the masked bytes again, as a read would bring them.
        scratch.copy_from_slice(&frame);
        let mut input = scratch.as_mut_slice();
        black_box(matches!(
            decoder.next(&mut input, bounds),
            Ok(Some(ws::Message::Text(_)))
        ));
    })
}

fn encoded(framing: Framing) -> Box<dyn FnMut()> {
    let args = format!("[{}]", message());
    Box::new(move || {
        black_box(framing.frame(&ddp::encode::stream_changed(
            "room-messages",
            "GENERAL",
            black_box(&args),
        )));
    })
}

/// One frame into `n` outboxes and out again as one write each would take it.
fn fan_out(n: usize) -> Box<dyn FnMut()> {
    let args = format!("[{}]", message());
    let mut outboxes: Vec<_> = (0..n).map(|_| Outbox::new(4 << 20)).collect();
    let now = Instant::now();
    Box::new(move || {
        let frame = protocol::outbox::Frame::Shared(Framing::Raw.frame(
            &ddp::encode::stream_changed("room-messages", "GENERAL", &args),
        ));
        for outbox in &mut outboxes {
            let _ = black_box(outbox.push(frame.clone(), Class::Data, true, now));
        }
        for outbox in &mut outboxes {
            let mut slices = [IoSlice::new(&[]); 16];
            let filled = outbox.io_slices(&mut slices);
            let bytes = slices.iter().take(filled).map(|slice| slice.len()).sum();
            outbox.advance(bytes);
        }
    })
}

/// A session past its handshake, and the outbox it writes to.
fn connected() -> (Session, Outbox, Instant) {
    let now = Instant::now();
    let mut session = Session::new(
        "secret".to_owned(),
        Framing::Raw,
        Arc::new(Limits::default()),
        now,
    );
    let mut outbox = Outbox::new(4 << 20);
    let connect = r#"{"msg":"connect","version":"1","support":["1","pre2","pre1"]}"#;
    assert!(session.handle_frame(connect, now).is_ok());
    drain(&mut session, &mut outbox, now);
    (session, outbox, now)
}

fn drain(session: &mut Session, outbox: &mut Outbox, now: Instant) -> bool {
    let mut method = false;
    while let Some(event) = session.poll_event() {
        method |= matches!(event, Event::Method { .. });
    }
    while session.poll_frame(outbox, now) {}
    outbox.advance(outbox.bytes());
    method
}

fn session_ping() -> Box<dyn FnMut()> {
    let (mut session, mut outbox, now) = connected();
    Box::new(move || {
        black_box(
            session
                .handle_frame(r#"{"msg":"ping","id":"7"}"#, now)
                .is_ok(),
        );
        drain(&mut session, &mut outbox, now);
    })
}

fn session_method() -> Box<dyn FnMut()> {
    let (mut session, mut outbox, now) = connected();
    Box::new(move || {
        black_box(session.handle_frame(METHOD, now).is_ok());
        assert!(
            drain(&mut session, &mut outbox, now),
            "the method is running"
        );
        session.method_result(Ok(Some(bytes::Bytes::from_static(b"{}"))));
        drain(&mut session, &mut outbox, now);
    })
}
