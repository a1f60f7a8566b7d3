//! The sets of users whom clients watch.

use protocol::ddp::encode::presence_changed;

use super::*;
use crate::streams::{request, watch};

/// Bytes that the socket takes.
const ROOM: usize = 1 << 20;

fn status(user: &str) -> Publication {
    let topic = Topic::new(Stream::UserPresence, user);
    let body = Body::Status {
        message: presence_changed(user, r#"["bob",1,null]"#).into(),
        username: r#""bob""#.into(),
    };
    Publication::new(
        To::Topic(topic),
        body,
        Class::Sheddable,
        super::super::now(),
    )
}

fn told(user: &str) -> Seen {
    Seen::Text(presence_changed(user, r#"["bob",1,null]"#))
}

fn sub(id: &str, added: &[String], removed: &[String]) -> String {
    format!(
        r#"{{"msg":"sub","id":"{id}","name":"stream-user-presence","params":["",{{"added":{added:?},"removed":{removed:?}}}]}}"#
    )
}

fn ids(users: &[&str]) -> Vec<String> {
    users.iter().map(|user| (*user).to_owned()).collect()
}

impl Bench {
    /// The first of a client's subscriptions, as the bus thread answers it.
    async fn watch(&self, client: &mut Client, id: &str, users: &[String]) -> Seen {
        client.send(&sub(id, users, &[]));
        let ToBus::Subscribe {
            ticket,
            params,
            name,
            ..
        } = self.next_to_bus().await
        else {
            panic!("not asked")
        };
        let request = request::Request::parse(&name, &params, &self.shard.limits).unwrap();
        let outcome = Ok(request.subscribed());
        self.post(ToShard::Answer(ticket, Answer::Subscription { outcome }));
        client.next().await
    }

    /// Nobody but these is told of, of these users.
    async fn assert_watches(&self, client: &mut Client, users: &[&str], of: &[&str]) {
        self.post(ToShard::Publish(
            of.iter().map(|user| status(user)).collect(),
        ));
        for user in users {
            assert_eq!(client.next().await, told(user));
        }
        client.send(r#"{"msg":"ping","id":"fence"}"#);
        assert_eq!(
            client.next().await,
            Seen::Text(r#"{"msg":"pong","id":"fence"}"#.into())
        );
    }
}

async fn bob(bench: &Bench) -> Client {
    let mut client = bench.connected(ROOM).await;
    bench.log_in(&mut client, "bob").await;
    client
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_client_watches_what_its_first_and_its_further_subscriptions_say() {
    let bench = bench(|_| {});
    let mut client = bob(&bench).await;
    let ready = bench.watch(&mut client, "w", &ids(&["u7", "u8"])).await;
    assert_eq!(ready, Seen::Text(r#"{"msg":"ready","subs":["w"]}"#.into()));
    let all = ["u7", "u8", "u9"];
    bench.assert_watches(&mut client, &["u7", "u8"], &all).await;
    client.send(&sub("x", &ids(&["u9"]), &ids(&["u7"])));
    assert_eq!(
        client.next().await,
        Seen::Text(r#"{"msg":"nosub","id":"x"}"#.into())
    );
    bench.assert_watches(&mut client, &["u8", "u9"], &all).await;
    client.send(r#"{"msg":"unsub","id":"w"}"#);
    assert_eq!(
        client.next().await,
        Seen::Text(r#"{"msg":"nosub","id":"w"}"#.into())
    );
    bench.assert_watches(&mut client, &[], &all).await;
    assert_eq!(bench.shard.topics.borrow().len(), 0);
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn who_would_watch_too_many_is_refused_and_watches_whom_he_watched() {
    let bench = bench(|config| {
        let limits = Arc::make_mut(&mut config.limits);
        limits.presence_watch = 2;
    });
    let mut client = bob(&bench).await;
    let Seen::Text(refused) = bench.watch(&mut client, "w", &ids(&["a", "b", "c"])).await else {
        panic!("no answer")
    };
    assert!(
        refused.contains("error-too-many-subscriptions"),
        "{refused}"
    );
    assert_eq!(bench.shard.topics.borrow().len(), 0);
    // What the bus thread has entered for it goes.
    assert!(matches!(bench.next_to_bus().await, ToBus::Unsubscribed(_)));
    bench.watch(&mut client, "w", &ids(&["a", "b"])).await;
    client.send(&sub("x", &ids(&["c"]), &[]));
    let Seen::Text(refused) = client.next().await else {
        panic!("no answer")
    };
    assert!(
        refused.contains("error-too-many-subscriptions"),
        "{refused}"
    );
    bench
        .assert_watches(&mut client, &["a", "b"], &["a", "b", "c"])
        .await;
    client.send(&sub("y", &ids(&["c"]), &ids(&["a"])));
    assert_eq!(
        client.next().await,
        Seen::Text(r#"{"msg":"nosub","id":"y"}"#.into())
    );
    bench
        .assert_watches(&mut client, &["b", "c"], &["a", "b", "c"])
        .await;
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn the_set_goes_with_its_client_and_nobody_watches_without_a_login() {
    let bench = bench(|_| {});
    let mut stranger = bench.connected(ROOM).await;
    stranger.send(&sub("w", &ids(&["u7"]), &[]));
    let Seen::Text(refused) = stranger.next().await else {
        panic!("no answer")
    };
    assert!(refused.contains("not-allowed"), "{refused}");
    let mut client = bob(&bench).await;
    let many: Vec<_> = (0..5_000).map(|number| format!("u{number}")).collect();
    bench.watch(&mut client, "w", &many).await;
    assert_eq!(bench.shard.topics.borrow().len(), 5_000);
    client.send(r#"{"msg":"disconnect"}"#);
    assert!(matches!(client.next().await, Seen::Close(1000, _)));
    assert_eq!(bench.shard.topics.borrow().len(), 0);
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_hidden_user_is_told_as_offline_once_and_in_full_when_he_is_shown() {
    let bench = bench(|_| {});
    let mut client = bob(&bench).await;
    bench.watch(&mut client, "w", &ids(&["u7", "u8"])).await;
    let hide = |raw: &str| {
        let hidden = crate::streams::scope::Scope::read(raw).unwrap();
        let entries = bench.shard.entries.borrow();
        let places = entries.iter().map(|(_, entry)| entry.connection.place);
        let places = places.collect();
        bench.post(ToShard::Scope { places, hidden });
    };
    let all = ["u7", "u8"];
    bench.assert_watches(&mut client, &all, &all).await;
    hide(r#"["u7"]"#);
    bench.post(ToShard::Publish([status("u7"), status("u8")].into()));
    let offline = Seen::Text(watch::correction("u7", r#""bob""#));
    assert_eq!(client.next().await, offline);
    assert_eq!(client.next().await, told("u8"));
    bench.assert_watches(&mut client, &["u8"], &all).await;
    hide("[]");
    bench.assert_watches(&mut client, &all, &all).await;
    hide(r#"{"hideAll":true}"#);
    bench.post(ToShard::Publish([status("u7"), status("u8")].into()));
    assert_eq!(client.next().await, offline);
    let offline = Seen::Text(watch::correction("u8", r#""bob""#));
    assert_eq!(client.next().await, offline);
    bench.assert_watches(&mut client, &[], &all).await;
}
