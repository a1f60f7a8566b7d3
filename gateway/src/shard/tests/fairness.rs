//! Nobody waits for somebody else's load.

use super::*;

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_flooder_does_not_keep_others_from_their_answers() {
    let bench = bench(|_| {});
    let flooder = bench.connected(1 << 20).await;
    let mut other = bench.connected(1 << 20).await;
    for _ in 0..20_000 {
        flooder.send_frame(0x8A, b"");
    }
    other.send(r#"{"msg":"ping","id":"1"}"#);
    assert_eq!(
        other.next().await,
        Seen::Text(r#"{"msg":"pong","id":"1"}"#.into())
    );
    // Some of the flood is still unread: its turn was over after one buffer.
    assert!(flooder.end.unread() > 0);
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_large_room_does_not_delay_a_ping() {
    let bench = bench(|_| {});
    let mut members = Vec::new();
    for _ in 0..1_500 {
        let mut member = bench.connected(4_096).await;
        bench.subscribe(&mut member, "m", &room()).await;
        members.push(member);
    }
    let mut other = bench.connected(4_096).await;
    bench.publish(vec![message(&room(), "hello")]);
    other.send(r#"{"msg":"ping"}"#);
    assert_eq!(other.next().await, Seen::Text(r#"{"msg":"pong"}"#.into()));
    let waiting = members
        .iter()
        .filter(|member| member.end.available() == 0)
        .count();
    assert!(waiting > 500, "{waiting}");
    for member in &mut members {
        assert_eq!(member.next().await, Seen::Text(changed("hello")));
    }
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn answers_overtake_publications_of_others_but_keep_their_own_order() {
    let bench = bench(|_| {});
    let mut client = bench.connected(1 << 20).await;
    bench.subscribe(&mut client, "a", &room()).await;
    bench.publish(vec![message(&room(), "first")]);
    client.send(r#"{"msg":"ping"}"#);
    assert_eq!(client.next().await, Seen::Text(changed("first")));
    assert_eq!(client.next().await, Seen::Text(r#"{"msg":"pong"}"#.into()));
}
