//! A session under any order of inputs, answers and time, driven by its contract. One operation per line: its first
//! character says which, `>` a client's payload.

#![no_main]

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use protocol::{
    ddp::Error,
    limits::Limits,
    outbox::Outbox,
    session::{Event, Session, SubKey},
    sockjs::Framing,
};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Ok(text) = str::from_utf8(data) else {
        return;
    };
    let framing = if text.starts_with('s') {
        Framing::SockJs
    } else {
        Framing::Raw
    };
    let limits = Arc::new(Limits {
        subscriptions: 3,
        pending_messages: 5,
        ..Limits::default()
    });
    let mut now = Instant::now();
    let mut session = Session::new("id".to_owned(), framing, limits, now);
    let mut outbox = Outbox::new(1 << 20);
    let mut asked = None;
    let mut known = vec![SubKey(0)];

    for line in text.lines().skip(1) {
        let mut chars = line.chars();
        let operation = chars.next().unwrap_or(' ');
        let rest = chars.as_str();
        let outcome = match (operation, &asked) {
            ('>', _) => session.handle_frame(rest, now),
            ('+', _) => {
                now += Duration::from_millis(rest.len() as u64 * 1_000);
                session.handle_timeout(now)
            }
            ('t', _) => {
                now = now.max(session.poll_timeout());
                session.handle_timeout(now)
            }
            (answer, Some(Event::Method { .. })) => {
                asked = None;
                session.method_result(match answer {
                    'r' => Ok(None),
                    'e' => Err(Error::internal()),
                    _ => Ok(Some(Bytes::from_static(b"[1]"))),
                });
                Ok(())
            }
            (answer, Some(Event::Subscribe { .. })) => {
                asked = None;
                match answer {
                    'r' => session.subscription_ready(),
                    'e' => session.subscription_failed(Some(&Error::not_allowed())),
                    _ => session.subscription_failed(None),
                }
                Ok(())
            }
            ('i', _) => {
                session.logged_in(now);
                Ok(())
            }
            ('o', _) => {
                session.logged_out(now);
                Ok(())
            }
            ('x', _) => {
                session.subscription_ended(known[rest.len() % known.len()], Some(None));
                Ok(())
            }
            _ => Ok(()),
        };

        while let Some(event) = session.poll_event() {
            match event {
                Event::Method { .. } | Event::Subscribe { .. } => {
                    assert!(asked.is_none(), "one call runs at a time");
                    if let Event::Subscribe { sub, .. } = event {
                        known.push(sub);
                    }
                    asked = Some(event);
                }
                Event::Unsubscribe { sub } => assert!(known.contains(&sub)),
                Event::Connected { .. } | Event::Refused { .. } | Event::Activity => {}
            }
        }
        while session.poll_frame(&mut outbox, now) {}
        outbox.advance(outbox.bytes());
        assert!(session.subscriptions() <= 3);
        if outcome.is_err() {
            return;
        }
    }
});
