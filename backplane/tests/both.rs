//! What a bus does whichever way it works: every case runs in one process and between two nodes on a real NATS server.

mod support;

use std::time::{Duration, Instant};

use backplane::{
    Bus, CallOptions, Code, Context, ErrorKind, GapCause, GapScope, Incoming, MeteorError, Service,
    ServiceError,
};
use bytes::Bytes;
use harness::NatsServer;
use support::{NatsBus, config, echo, find, listener, next_event, next_request, text, until};

/// Runs one case over both drivers; `here` calls, `there` serves.
macro_rules! both {
    ($($(#[$doc:meta])* async fn $name:ident($here:ident, $there:ident) $body:block)*) => {
        $(async fn $name($here: &Bus, $there: &Bus) $body)*

        mod in_process {
            use super::*;
            $(#[tokio::test] async fn $name() {
                let bus = Bus::in_process("one".to_owned());
                super::$name(&bus, &bus.clone()).await;
            })*
        }

        mod over_nats {
            use super::*;
            $(#[tokio::test] async fn $name() {
                let nats = NatsServer::start();
                let here = NatsBus::start(config(&nats.url(), "here"));
                let there = NatsBus::start(config(&nats.url(), "there"));
                until("both nodes", || here.nodes().len() == 2 && there.nodes().len() == 2).await;
                super::$name(&here, &there).await;
            })*
        }
    };
}

/// Waits until a service of one node is known on the other.
async fn known(bus: &Bus, name: &str) {
    until(name, || bus.has_service(name)).await;
}

fn meteor(error: Code, reason: Option<&str>, details: Option<&'static str>) -> MeteorError {
    MeteorError {
        error,
        reason: reason.map(str::to_owned),
        details: details.map(|details| Bytes::from_static(details.as_bytes())),
    }
}

fn refusal(outcome: Result<Option<Bytes>, backplane::Error>) -> backplane::RemoteError {
    match outcome.unwrap_err().kind {
        ErrorKind::Refused(remote) => *remote,
        kind => panic!("{kind:?}"),
    }
}

both! {
    async fn a_call_brings_params_there_and_the_result_back_byte_for_byte(here, there) {
        let mut inbox = there.announce(echo());
        known(here, "echo").await;
        for (result, expected) in [(Some("{ \"a\":1.0,\"é\":\"\\u00e9\"}"), Some("{ \"a\":1.0,\"é\":\"\\u00e9\"}")), (Some("null"), Some("null")), (None, None)] {
            let params = r#"[ 1.50, {"$date":5}, "ü"]"#;
            let serve = async {
                let request = next_request(&mut inbox).await;
                assert_eq!((request.action, text(&request.params)), ("echo.it", params));
                assert_eq!(&*request.sender, here.node_id());
                assert_eq!((request.context.level, request.context.service), (1, "echo"));
                assert_eq!(request.context.id, request.context.request_id);
                request.respond(Ok(result.map(|text| Bytes::from_static(text.as_bytes()))));
            };
            let (outcome, ()) = tokio::join!(here.call("echo.it", params, CallOptions::default()), serve);
            assert_eq!(outcome.unwrap().as_deref().map(text), expected);
        }
        assert_eq!(here.stats().calls_pending, 0);
    }

    async fn a_meteor_error_arrives_as_it_was_thrown(here, there) {
        let mut inbox = there.announce(echo());
        known(here, "echo").await;
        for error in [
            meteor(Code::Text("error-invalid-user".to_owned()), Some("Invalid user"), Some(r#"{"method":"x"}"#)),
            meteor(Code::Number(403), Some("You have been logged out [again]"), None),
            meteor(Code::Text("totp-required".to_owned()), None, None),
        ] {
            let serve = async { next_request(&mut inbox).await.respond(Err(ServiceError::Meteor(error.clone()))) };
            let (outcome, ()) = tokio::join!(here.call("echo.it", "[]", CallOptions::default()), serve);
            let remote = refusal(outcome);
            assert_eq!(remote.meteor(), Some(error));
            assert_eq!(remote.is_client_safe, Some(true));
        }
    }

    async fn any_other_error_keeps_name_and_message(here, there) {
        let mut inbox = there.announce(echo());
        known(here, "echo").await;
        let error = ServiceError::Plain { name: "TypeError".to_owned(), message: "no".to_owned() };
        let serve = async { next_request(&mut inbox).await.respond(Err(error)) };
        let (outcome, ()) = tokio::join!(here.call("echo.it", "[]", CallOptions::default()), serve);
        let remote = refusal(outcome);
        assert_eq!((&*remote.name, &*remote.message, remote.meteor()), ("TypeError", "no", None));
    }

    async fn a_dropped_request_and_a_dropped_inbox_answer_an_error(here, there) {
        let mut inbox = there.announce(echo());
        known(here, "echo").await;
        let serve = async { drop(next_request(&mut inbox).await) };
        let (outcome, ()) = tokio::join!(here.call("echo.it", "[]", CallOptions::default()), serve);
        assert_eq!(refusal(outcome).name, "Error");
        let serve = async {
            let _first = next_request(&mut inbox).await;
            drop(inbox);
        };
        let (outcome, ()) = tokio::join!(here.call("echo.it", "[]", CallOptions::default()), serve);
        assert_eq!(refusal(outcome).name, "Error");
    }

    async fn an_action_that_nobody_offers_is_not_found(here, there) {
        let _inbox = there.announce(echo());
        known(here, "echo").await;
        for options in [CallOptions::default(), CallOptions { node: Some("nobody".to_owned()), ..CallOptions::default() }] {
            let action = if options.node.is_some() { "echo.it" } else { "echo.missing" };
            assert_eq!(here.call(action, "[]", options).await.unwrap_err().kind, ErrorKind::NotFound);
        }
        there.withdraw("echo");
        until("withdrawn", || !here.has_service("echo")).await;
        assert_eq!(here.call("echo.it", "[]", CallOptions::default()).await.unwrap_err().kind, ErrorKind::NotFound);
    }

    async fn params_that_are_no_array_are_not_sent(here, there) {
        let _inbox = there.announce(echo());
        known(here, "echo").await;
        for params in ["{}", "null", "", "[1", "[] []"] {
            assert_eq!(here.call("echo.it", params, CallOptions::default()).await.unwrap_err().kind, ErrorKind::Malformed);
        }
    }

    async fn a_call_ends_at_its_deadline_and_its_late_answer_is_dropped(here, there) {
        let mut inbox = there.announce(echo());
        known(here, "echo").await;
        let options = CallOptions { timeout: Some(Duration::from_millis(50)), ..CallOptions::default() };
        let call = here.call("echo.it", "[1]", options);
        let (outcome, late) = tokio::join!(call, next_request(&mut inbox));
        assert_eq!(outcome.unwrap_err().kind, ErrorKind::Timeout);
        assert!(late.context.deadline.is_some_and(|deadline| deadline < Instant::now() + Duration::from_secs(1)));
        late.respond(Ok(Some(Bytes::from_static(b"1"))));
        let serve = async { next_request(&mut inbox).await.respond(Ok(Some(Bytes::from_static(b"2")))) };
        let (outcome, ()) = tokio::join!(here.call("echo.it", "[2]", CallOptions::default()), serve);
        assert_eq!(outcome.unwrap().as_deref(), Some(&b"2"[..]));
    }

    async fn a_request_whose_caller_has_given_up_is_not_handed_out(here, there) {
        let mut inbox = there.announce(echo());
        known(here, "echo").await;
        let options = CallOptions { timeout: Some(Duration::from_millis(50)), ..CallOptions::default() };
        assert_eq!(here.call("echo.it", "[1]", options).await.unwrap_err().kind, ErrorKind::Timeout);
        // Over NATS the other node's clock is its own, and begins when the request has come.
        let is_over = || {
            let stats = there.stats();
            stats.requests_open == 0 && (here.node_id() == there.node_id() || stats.requests_late == 1)
        };
        until("its end there", is_over).await;
        let serve = async { next_request(&mut inbox).await.respond(Ok(Some(Bytes::from_static(b"2")))) };
        let (outcome, ()) = tokio::join!(here.call("echo.other", "[2]", CallOptions::default()), serve);
        assert_eq!(outcome.unwrap().as_deref(), Some(&b"2"[..]));
        assert_eq!(there.stats().requests_stale, 1);
    }

    async fn a_call_is_counted_on_both_sides(here, there) {
        let mut inbox = there.announce(echo());
        known(here, "echo").await;
        let error = ServiceError::Plain { name: "TypeError".to_owned(), message: "no".to_owned() };
        let serve = async {
            let request = next_request(&mut inbox).await;
            let text = there.meters().render(&[], Instant::now());
            assert!(text.contains("moleculer_request_active{service=\"echo\",action=\"echo.it\",type=\"local\",caller=\"null\"} 1"), "{text}");
            request.respond(Err(error));
        };
        let (outcome, ()) = tokio::join!(here.call("echo.it", "[]", CallOptions::default()), serve);
        refusal(outcome);
        let sides = if here.node_id() == there.node_id() { vec![(there, "local")] } else { vec![(there, "local"), (here, "remote")] };
        for (bus, side) in sides {
            let text = bus.meters().render(&[], Instant::now());
            let labels = format!("service=\"echo\",action=\"echo.it\",type=\"{side}\",caller=\"null\"");
            for line in [
                format!("moleculer_request_total{{{labels}}} 1"),
                format!("moleculer_request_active{{{labels}}} 0"),
                format!("moleculer_request_time_count{{{labels}}} 1"),
                format!("moleculer_request_error_total{{{labels},errorName=\"TypeError\",errorCode=\"undefined\",errorType=\"undefined\"}} 1"),
            ] {
                assert!(text.lines().any(|found| found == line), "{line} is missing in:\n{text}");
            }
        }
    }

    async fn a_nested_call_inherits_its_context(here, there) {
        let mut inbox = there.announce(echo());
        known(here, "echo").await;
        let outer = Context {
            id: "outer".to_owned(),
            request_id: "root".to_owned(),
            level: 4,
            service: "presence",
            deadline: Some(Instant::now() + Duration::from_secs(5)),
            meta: Bytes::from_static(br#"{"optl":{"traceparent":"00-1"}}"#),
        };
        let options = CallOptions { context: Some(outer.clone()), ..CallOptions::default() };
        let serve = async {
            let request = next_request(&mut inbox).await;
            assert_eq!((request.context.level, &*request.context.request_id), (5, "root"));
            assert_eq!(request.context.meta, outer.meta);
            assert!(request.context.deadline.unwrap() <= outer.deadline.unwrap() + Duration::from_millis(500));
            request.respond(Ok(None));
        };
        let (outcome, ()) = tokio::join!(here.call("echo.it", "[]", options), serve);
        assert_eq!(outcome, Ok(None));
        let options = CallOptions { context: Some(Context { level: 100, ..outer }), ..CallOptions::default() };
        assert_eq!(here.call("echo.it", "[]", options).await.unwrap_err().kind, ErrorKind::TooDeep);
    }

    async fn a_broadcast_reaches_every_listening_service_once_and_in_order(here, there) {
        let mut near = here.announce(listener("near"));
        let mut far = there.announce(listener("far"));
        let mut second = there.announce(listener("second"));
        for name in ["far", "second"] {
            known(here, name).await;
        }
        for number in 0..100 {
            here.broadcast("test.event", &format!(r#"[{number},["x"]]"#));
            here.broadcast("test.unheard", "[]");
        }
        for inbox in [&mut near, &mut far, &mut second] {
            for number in 0..100 {
                let event = next_event(inbox).await;
                assert_eq!((event.name, &*event.args), ("test.event", &*format!(r#"[{number},["x"]]"#)));
                assert_eq!((&*event.sender, text(&event.meta)), (here.node_id(), "{}"));
            }
        }
        here.broadcast_to("test.event", "[\"some\"]", &["second"]);
        here.broadcast("test.event", "[\"all\"]");
        assert_eq!(&*next_event(&mut far).await.args, "[\"all\"]");
        assert_eq!(&*next_event(&mut second).await.args, "[\"some\"]");
    }

    async fn a_relay_reaches_everybody_but_the_role_that_sends_it(here, there) {
        let mut own = here.announce(listener("relay"));
        let mut beside = here.announce(listener("beside"));
        let mut far = there.announce(listener("far"));
        known(here, "far").await;
        here.relay("test.event", "[1]", "relay");
        here.broadcast("test.event", "[2]");
        for inbox in [&mut beside, &mut far] {
            assert_eq!(&*next_event(inbox).await.args, "[1]");
        }
        assert_eq!(&*next_event(&mut own).await.args, "[2]");
    }

    async fn our_own_events_are_marked(here, there) {
        let mut near = here.announce(listener("near"));
        let mut far = there.announce(listener("far"));
        known(here, "far").await;
        here.broadcast("test.event", "[]");
        assert!(next_event(&mut near).await.from_us);
        assert_eq!(next_event(&mut far).await.from_us, here.node_id() == there.node_id());
    }

    async fn an_event_is_being_handled_until_it_is_dropped(here, there) {
        let mut far = there.announce(listener("far"));
        known(here, "far").await;
        let shows = |name: &str, value: &str| {
            let labels = "service=\"far\",group=\"far\",event=\"test.event\",caller=\"null\"";
            let line = format!("moleculer_event_{name}{{{labels}}} {value}");
            there.meters().render(&[], Instant::now()).lines().any(|found| found == line)
        };
        here.emit("test.event", "[1]");
        let event = next_event(&mut far).await;
        let copy = event.clone();
        drop(event);
        assert!(shows("received_total", "1") && shows("received_active", "1"));
        assert!(!shows("received_time_count", "1"));
        drop(copy);
        until("its end", || shows("received_active", "0") && shows("received_time_count", "1")).await;
        let sent = here.meters().render(&[], Instant::now());
        assert!(sent.contains("moleculer_event_emit_total{event=\"test.event\"} 1\n"), "{sent}");
    }

    async fn an_event_carries_the_meta_of_its_emitter(here, there) {
        let mut near = here.announce(listener("near"));
        let mut far = there.announce(listener("far"));
        known(here, "far").await;
        let meta = serde_json::value::to_raw_value(&serde_json::json!({"hub": {"term": 1}})).unwrap();
        here.broadcast_with_meta("test.event", "[1]", &meta).unwrap();
        assert!(here.flush().await);
        for inbox in [&mut near, &mut far] {
            let event = next_event(inbox).await;
            assert_eq!((&*event.args, text(&event.meta)), ("[1]", meta.get()));
        }
    }

    async fn a_balanced_event_goes_to_one_node_of_every_service(here, there) {
        let mut near = here.announce(listener("same"));
        let mut far = there.announce(listener("other"));
        let _same = there.announce(listener("third"));
        for name in ["other", "third"] {
            known(here, name).await;
        }
        here.emit("test.event", "[1]");
        here.broadcast("test.event", "[2]");
        for inbox in [&mut near, &mut far] {
            assert_eq!(&*next_event(inbox).await.args, "[1]");
            assert_eq!(&*next_event(inbox).await.args, "[2]");
        }
    }

    async fn an_event_whose_args_are_no_array_is_not_sent(here, there) {
        let mut far = there.announce(listener("far"));
        known(here, "far").await;
        for args in ["{}", "[", "1", "[]]"] {
            here.broadcast("test.event", args);
        }
        here.broadcast("test.event", "[\"good\"]");
        assert_eq!(&*next_event(&mut far).await.args, "[\"good\"]");
    }

    async fn a_slow_reader_loses_events_and_is_told_so(here, there) {
        let mut far = there.announce(listener("far"));
        known(here, "far").await;
        let mut near = here.announce(listener("near"));
        let filler = format!("[\"{}\"]", "x".repeat(900_000));
        let before = there.stats().inbox_refused;
        // More than an inbox holds (64 MiB); the fast reader paces the sender.
        for _ in 0..80 {
            here.broadcast("test.flood", &filler);
            next_event(&mut near).await;
            here.flush().await;
        }
        until("refused events", || there.stats().inbox_refused > before).await;
        let mut batch = Vec::new();
        far.recv_batch(&mut batch).await;
        let events = batch.iter().filter(|incoming| matches!(incoming, Incoming::Event(_))).count();
        assert!((60..80).contains(&events), "{events}");
        let Some(Incoming::Gap(gap)) = batch.last() else { panic!("the gap comes behind what was kept") };
        assert_eq!((&gap.scope, gap.cause), (&GapScope::Inbox, GapCause::InboxFull));
        here.broadcast("test.event", "[\"after\"]");
        find(&mut far, "what comes after", |incoming| match incoming {
            Incoming::Event(event) if event.name == "test.event" => Some(()),
            _ => None,
        })
        .await;
    }

    async fn an_action_is_known_as_long_as_a_node_announces_it(here, there) {
        assert!(!here.has_action("echo.it"));
        let inbox = there.announce(echo());
        until("the action", || here.has_action("echo.it")).await;
        assert!(!here.has_action("echo.missing"), "the service offers other actions only");
        drop(inbox);
        until("its end", || !here.has_action("echo.it")).await;
    }

    async fn an_inbox_that_is_made_while_connected_starts_with_up(here, there) {
        until("connected", || there.status().connected).await;
        let mut inbox = there.announce(Service { name: "quiet", actions: vec![], events: vec![] });
        assert!(matches!(inbox.recv().await, Incoming::Up));
        assert!(here.status().announced && here.status().services_seen && here.status().ever_connected);
    }
}
