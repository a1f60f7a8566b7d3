//! What must not happen any more after an end, and ends that meet.

use super::*;

#[tokio::test(flavor = "local", start_paused = true)]
async fn what_waits_behind_a_logout_is_not_done() {
    let bench = bench(|_| {});
    let mut client = bench.connected(1 << 20).await;
    bench.log_in(&mut client, "u1").await;
    client.send(r#"{"msg":"method","id":"2","method":"logout","params":[]}"#);
    client.send(r#"{"msg":"method","id":"3","method":"sendMessage","params":[]}"#);
    let ToBus::Method { ticket, .. } = bench.next_to_bus().await else {
        panic!("not asked")
    };
    bench.post(ToShard::Answer(
        ticket,
        Answer::Method {
            outcome: Ok(None),
            then: Effect::Close(CloseReason::LoggedOut),
        },
    ));
    assert_eq!(
        client.next().await,
        Seen::Text(r#"{"msg":"result","id":"2"}"#.into())
    );
    assert_eq!(
        client.next().await,
        Seen::Text(r#"{"msg":"updated","methods":["2"]}"#.into())
    );
    assert_eq!(client.next().await, Seen::Close(1002, String::new()));
    assert!(matches!(bench.next_to_bus().await, ToBus::Closed(_)));
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_client_may_be_lost_right_after_its_timer_has_fired() {
    let bench = stopped(|_| {});
    let _client = bench.connect(Framing::Raw, 1 << 20);
    let entry = bench.shard.entry(FIRST).unwrap();
    tokio::time::advance(Duration::from_secs(11)).await;
    // Its shard finds the timer and the end of the socket in the same round.
    bench.shard.work_or_time().await;
    bench.shard.lost(&entry);
    assert!(bench.shard.timers.borrow().is_empty());
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn timers_have_their_turn_while_publications_keep_coming() {
    let bench = bench(|_| {});
    let client = bench.connected(1 << 20).await;
    for _ in 0..400 {
        bench.publish(vec![message(&room(), "to nobody")]);
        tokio::time::advance(Duration::from_millis(100)).await;
        if client.end.available() > 0 {
            return;
        }
    }
    panic!("no ping after 40 s");
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn another_users_login_ends_what_was_addressed_to_the_one_before() {
    let bench = bench(|_| {});
    let mut client = bench.connected(1 << 20).await;
    bench.log_in(&mut client, "u1").await;
    client.send(
        r#"{"msg":"sub","id":"own","name":"stream-notify-user","params":["u1/notification"]}"#,
    );
    client.send(r#"{"msg":"sub","id":"all","name":"stream-notify-all","params":["license"]}"#);
    for id in ["own", "all"] {
        let ready = format!(r#"{{"msg":"ready","subs":["{id}"]}}"#);
        assert_eq!(client.next().await, Seen::Text(ready));
    }
    bench.log_in(&mut client, "u2").await;
    let Seen::Text(nosub) = client.next().await else {
        panic!("no text")
    };
    assert!(
        nosub.starts_with(r#"{"msg":"nosub","id":"own","error":"#) && nosub.contains("not-allowed"),
        "{nosub}"
    );
    let own = Topic::new(Stream::NotifyUser, "u1/notification");
    assert_eq!(bench.shared.interest.shards(own.borrow()), 0);
    assert!(matches!(bench.next_to_bus().await, ToBus::Unsubscribed(_)));
    let all = Topic::new(Stream::NotifyAll, "license");
    assert_eq!(bench.shared.interest.shards(all.borrow()), 1);
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn headers_of_connections_that_are_gone_are_not_kept() {
    let bench = bench(|_| {});
    for number in 0..10_000 {
        drop(bench.shard.intern(format!(r#"{{"x":"{number}"}}"#)));
    }
    assert!(bench.shard.headers.borrow().len() < 100);
    let kept = bench.shard.intern("{}".into());
    for number in 0..10_000 {
        drop(bench.shard.intern(format!(r#"{{"x":"{number}"}}"#)));
    }
    assert!(Arc::ptr_eq(&kept, &bench.shard.intern("{}".into())));
}
