//! What a client may send, hold or wait for, and the close that follows.

use protocol::limits::Limits;

use super::*;

fn limited(limits: Limits) -> Bench {
    bench(|config| config.limits = Arc::new(limits))
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_message_may_be_larger_after_the_login() {
    let bench = limited(Limits {
        message_bytes_before_login: 300,
        message_bytes: 1_000,
        ..Limits::default()
    });
    let big = |length: usize| format!(r#"{{"msg":"ping","id":"{}"}}"#, "x".repeat(length));
    let mut client = bench.connected(1 << 20).await;
    bench.log_in(&mut client, "u1").await;
    client.send(&big(500));
    assert!(matches!(client.next().await, Seen::Text(_)));
    client.send(&big(1_000));
    assert_eq!(client.next().await, Seen::Close(1009, String::new()));
    bench.next_closed().await;

    let mut anonymous = bench.connected(1 << 20).await;
    anonymous.send(&big(500));
    assert_eq!(anonymous.next().await, Seen::Close(1009, String::new()));
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn endless_fragments_are_too_big() {
    let bench = limited(Limits {
        fragments: 3,
        ..Limits::default()
    });
    let mut client = bench.connected(1 << 20).await;
    client.send_frame(0x01, b"");
    for _ in 0..3 {
        client.send_frame(0x00, b"");
    }
    assert_eq!(client.next().await, Seen::Close(1009, String::new()));
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn deep_json_is_not_read() {
    let bench = limited(Limits::default());
    let mut client = bench.connected(1 << 20).await;
    let params = format!("{}{}", "[".repeat(40), "]".repeat(40));
    client.send(&format!(
        r#"{{"msg":"method","id":"1","method":"m","params":{params}}}"#
    ));
    assert_eq!(client.next().await, Seen::Close(1007, "TOO_DEEP".into()));
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn what_waits_behind_a_running_call_is_bounded() {
    let bench = limited(Limits {
        pending_messages: 3,
        ..Limits::default()
    });
    let mut client = bench.connected(1 << 20).await;
    for id in 0..5 {
        client.send(&format!(
            r#"{{"msg":"method","id":"{id}","method":"slow","params":[]}}"#
        ));
    }
    assert_eq!(
        client.next().await,
        Seen::Close(1008, "TOO_MANY_PENDING".into())
    );
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn subscriptions_beyond_the_limit_are_refused_one_by_one() {
    let bench = limited(Limits {
        subscriptions: 1,
        ..Limits::default()
    });
    let mut client = bench.connected(1 << 20).await;
    bench.log_in(&mut client, "u1").await;
    bench.subscribe(&mut client, "a", &room()).await;
    client.send(r#"{"msg":"sub","id":"b","name":"stream-room-messages","params":["b"]}"#);
    let Seen::Text(nosub) = client.next().await else {
        panic!("no text")
    };
    assert!(nosub.contains("error-too-many-subscriptions"), "{nosub}");
    client.send(r#"{"msg":"ping"}"#);
    assert_eq!(client.next().await, Seen::Text(r#"{"msg":"pong"}"#.into()));
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_client_that_never_connects_is_closed() {
    let bench = limited(Limits::default());
    let mut client = bench.connect(Framing::Raw, 1 << 20);
    let opened = Instant::now();
    client.next().await;
    assert_eq!(
        client.next().await,
        Seen::Close(1002, "CONNECT_DEADLINE".into())
    );
    assert_eq!(opened.elapsed().as_secs(), 10);
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_client_that_neither_logs_in_nor_subscribes_is_closed() {
    let bench = limited(Limits::default());
    let mut client = bench.connected(1 << 20).await;
    let mut closed = client.next().await;
    while closed == Seen::Text(r#"{"msg":"ping"}"#.into()) {
        client.send(r#"{"msg":"pong"}"#);
        closed = client.next().await;
    }
    assert_eq!(closed, Seen::Close(1008, "LOGIN_DEADLINE".into()));
}

/// A client whose socket holds 200 bytes sends a thousand times and never reads: it is slow before anything is old.
async fn asks_without_reading(outbox_bytes: usize, send: impl Fn(&Client)) {
    let bench = limited(Limits {
        outbox_bytes,
        ..Limits::default()
    });
    let mut client = bench.connected(200).await;
    let opened = Instant::now();
    for _ in 0..1_000 {
        if client.end.room() >= 100 {
            send(&client);
        }
        tokio::task::yield_now().await;
    }
    bench.next_closed().await;
    assert!(opened.elapsed().is_zero(), "not by their age");
    assert_eq!(
        client.closed().await,
        Seen::Close(1013, "SLOW_CONSUMER".into())
    );
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_client_that_asks_without_reading_is_slow() {
    let ping = format!(r#"{{"msg":"ping","id":"{}"}}"#, "x".repeat(60));
    asks_without_reading(1_000, |client| client.send(&ping)).await;
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn websocket_pings_without_reading_end_in_the_same_way() {
    asks_without_reading(1_000, |client| client.send_frame(0x89, &[b'x'; 60])).await;
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn the_smallest_answers_weigh_what_they_cost() {
    // Their pongs have two bytes each, far from the bound all together.
    asks_without_reading(10_000, |client| client.send_frame(0x89, b"")).await;
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_login_beyond_the_rate_is_no_refusal() {
    let bench = limited(Limits::default());
    let mut client = bench.connected(1 << 20).await;
    // As many logins as one connection has in ten seconds.
    for _ in 0..10 {
        bench.log_in(&mut client, "u1").await;
    }
    client.send(r#"{"msg":"method","id":"1","method":"login","params":[{"resume":"t"}]}"#);
    assert_eq!(client.next().await, Seen::Close(1013, "TRY_AGAIN".into()));
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn without_a_login_subscriptions_are_fewer_and_their_names_shorter() {
    let bench = limited(Limits {
        subscriptions_before_login: 2,
        name_bytes_before_login: 10,
        ..Limits::default()
    });
    let mut client = bench.connected(1 << 20).await;
    let ask = async |client: &mut Client, id: &str, event: &str| {
        client.send(&format!(
            r#"{{"msg":"sub","id":"{id}","name":"stream-notify-all","params":["{event}"]}}"#
        ));
        let Seen::Text(answer) = client.next().await else {
            panic!("no text")
        };
        answer
    };
    let long = "x".repeat(11);
    for (id, event) in [("a", long.as_str()), (&long, "e")] {
        let refused = ask(&mut client, id, event).await;
        assert!(refused.contains("invalid-event-name"), "{refused}");
    }
    for id in ["a", "b"] {
        assert!(ask(&mut client, id, id).await.contains("ready"));
    }
    let refused = ask(&mut client, "c", "c").await;
    assert!(
        refused.contains("error-too-many-subscriptions"),
        "{refused}"
    );
    bench.log_in(&mut client, "u1").await;
    for id in ["c", &long] {
        assert!(ask(&mut client, id, &long).await.contains("ready"));
    }
}
