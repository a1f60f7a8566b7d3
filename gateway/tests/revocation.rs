//! What was allowed ends when its reason does.

mod common;

use std::time::Duration;

use common::{
    Client,
    workspace::{Workspace, workspace, workspace_with},
};

const MESSAGE: &str = r#"[{"message":{"_id":"m1","rid":"p1","msg":"secret"}}]"#;

/// A user who follows everything about `p1`, and the fence.
async fn member(workspace: &Workspace) -> Client {
    let mut client = workspace.user("u1").await;
    for (stream, event) in [
        ("notify-all", "updateCustomSound"),
        ("room-messages", "p1"),
        ("notify-room", "p1/deleteMessage"),
        ("room-data", "p1"),
    ] {
        assert_eq!(client.follow(stream, event).await, Ok(()));
    }
    client
}

#[tokio::test]
async fn removal_from_a_room_ends_every_subscription_of_it_without_a_word() {
    let workspace = workspace().await;
    let mut client = member(&workspace).await;
    workspace.allow("c1", "u1");
    assert_eq!(client.follow("room-messages", "c1").await, Ok(()));
    workspace.broadcast("watch.messages", MESSAGE);
    assert!(client.text().await.contains("secret"));

    workspace.forbid("p1", "u1");
    let removed =
        r#"[{"clientAction":"removed","subscription":{"_id":"s1","rid":"p1","u":{"_id":"u1"}}}]"#;
    workspace.broadcast("watch.subscriptions", removed);
    workspace.broadcast("watch.messages", MESSAGE);
    workspace.broadcast("notify.deleteMessage", r#"["p1",{"_id":"m1"}]"#);
    workspace.broadcast(
        "watch.rooms",
        r#"[{"clientAction":"updated","room":{"_id":"p1","t":"p"}}]"#,
    );
    workspace.broadcast(
        "watch.messages",
        r#"[{"message":{"_id":"m2","rid":"c1","msg":"open"}}]"#,
    );
    let heard = client.before_fence(&workspace).await;
    assert_eq!(heard.len(), 1, "{heard:?}");
    assert!(heard[0].contains("open"), "the other room goes on");
    assert_eq!(
        client.follow("room-messages", "p1").await,
        Err("not-allowed".into())
    );
}

#[tokio::test]
async fn a_removal_while_the_question_is_under_way_is_not_missed() {
    let workspace = workspace().await;
    let mut client = workspace.user("u1").await;
    let mut fence = workspace.client().await;
    assert_eq!(
        fence.follow("notify-all", "updateCustomSound").await,
        Ok(())
    );
    let gate = workspace.hold("authorization.canReadRoom");
    client
        .send(r#"{"msg":"sub","id":"s","name":"stream-room-messages","params":["p1"]}"#)
        .await;
    // The service has said yes, but the answer has not arrived.
    workspace.called("authorization.canReadRoom", 1).await;
    workspace.forbid("p1", "u1");
    let removed =
        r#"[{"clientAction":"removed","subscription":{"_id":"s1","rid":"p1","u":{"_id":"u1"}}}]"#;
    workspace.broadcast("watch.subscriptions", removed);
    fence.before_fence(&workspace).await;
    gate.add_permits(10);
    let answer = client.until(|text| text.contains(r#""s""#)).await;
    assert!(answer.starts_with(r#"{"msg":"nosub","id":"s""#), "{answer}");
}

#[tokio::test]
async fn a_join_while_the_question_is_under_way_asks_it_again() {
    let workspace = workspace().await;
    let mut client = workspace.user("u2").await;
    let mut fence = workspace.client().await;
    assert_eq!(
        fence.follow("notify-all", "updateCustomSound").await,
        Ok(())
    );
    let gate = workspace.hold("authorization.canReadRoom");
    client
        .send(r#"{"msg":"sub","id":"s","name":"stream-room-messages","params":["p1"]}"#)
        .await;
    workspace.called("authorization.canReadRoom", 1).await;
    workspace.allow("p1", "u2");
    let joined =
        r#"[{"clientAction":"inserted","subscription":{"_id":"s2","rid":"p1","u":{"_id":"u2"}}}]"#;
    workspace.broadcast("watch.subscriptions", joined);
    fence.before_fence(&workspace).await;
    gate.add_permits(10);
    assert_eq!(client.text().await, r#"{"msg":"ready","subs":["s"]}"#);
}

#[tokio::test]
async fn a_room_that_changes_its_kind_is_judged_again_and_one_that_does_not_is_not() {
    let workspace = workspace().await;
    let mut client = member(&workspace).await;
    let asked = workspace.calls("authorization.canReadRoom");
    // Follows every message; nothing that decides has changed.
    workspace.broadcast(
        "watch.rooms",
        r#"[{"clientAction":"updated","room":{"_id":"p1","t":"p","msgs":2}}]"#,
    );
    client.before_fence(&workspace).await;
    assert_eq!(workspace.calls("authorization.canReadRoom"), asked);

    workspace.forbid("p1", "u1");
    workspace.broadcast(
        "watch.rooms",
        r#"[{"clientAction":"updated","room":{"_id":"p1","t":"p","teamId":"t1"}}]"#,
    );
    for _ in 0..3 {
        let nosub = client
            .until(|text| text.starts_with(r#"{"msg":"nosub""#))
            .await;
        assert!(nosub.contains(r#""error":"not-allowed""#), "{nosub}");
    }
}

#[tokio::test]
async fn a_lost_permission_ends_the_stream_that_needed_it() {
    let workspace = workspace().await;
    workspace.permit("u1", "view-l-room");
    let mut client = workspace.user("u1").await;
    assert_eq!(
        client
            .follow("livechat-inquiry-queue-observer", "public")
            .await,
        Ok(())
    );
    workspace.revoke("u1", "view-l-room");
    workspace.broadcast(
        "permission.changed",
        r#"[{"clientAction":"changed","data":{"_id":"view-l-room","roles":[]}}]"#,
    );
    let nosub = client
        .until(|text| text.starts_with(r#"{"msg":"nosub""#))
        .await;
    assert!(
        nosub.contains("livechat-inquiry-queue-observer public"),
        "{nosub}"
    );
}

#[tokio::test]
async fn changed_roles_are_judged_again() {
    let workspace = workspace().await;
    let mut client = member(&workspace).await;
    workspace.forbid("p1", "u1");
    workspace.broadcast(
        "watch.users",
        r#"[{"clientAction":"updated","id":"u1","diff":{"roles":["guest"]},"unset":{}}]"#,
    );
    client
        .until(|text| text.starts_with(r#"{"msg":"nosub""#))
        .await;
}

#[tokio::test]
async fn a_deactivated_user_is_closed_with_and_without_a_diff() {
    let workspace = workspace().await;
    let mut client = workspace.user("u1").await;
    workspace.broadcast(
        "watch.users",
        r#"[{"clientAction":"updated","id":"u1","diff":{"active":false},"unset":{}}]"#,
    );
    assert_eq!(client.closed().await.0, 1008);

    let mut client = workspace.user("u2").await;
    workspace
        .store
        .update_user(
            "u2",
            store::Update::set(store::bson::doc! { "active": false }),
        )
        .await
        .unwrap();
    workspace.broadcast("watch.users", r#"[{"clientAction":"updated","id":"u2"}]"#);
    assert_eq!(client.closed().await.0, 1008);
}

#[tokio::test]
async fn a_token_that_vanished_closes_its_sockets_only() {
    let workspace = workspace().await;
    let mut client = workspace.user("u1").await;
    let mut other = workspace.user("u2").await;
    workspace
        .store
        .pull_login_token("u1", "hash-u1")
        .await
        .unwrap();
    workspace.broadcast(
        "watch.users",
        r#"[{"clientAction":"updated","id":"u1","diff":{"services.resume.loginTokens":[]},"unset":{}}]"#,
    );
    assert_eq!(client.closed().await.0, 1008);
    assert!(other.call("echo", "[1]").await.contains(r#""result":[1]"#));
}

#[tokio::test]
async fn the_sweep_finds_a_logout_that_nobody_announced() {
    let workspace = workspace_with(|config| config.sweep_every = Duration::from_millis(50)).await;
    let mut client = workspace.user("u1").await;
    workspace
        .store
        .pull_login_token("u1", "hash-u1")
        .await
        .unwrap();
    assert_eq!(client.closed().await.0, 1008);
}

#[tokio::test]
async fn a_forced_logout_is_told_before_the_socket_closes() {
    let workspace = workspace().await;
    let mut client = workspace.user("u1").await;
    assert_eq!(
        client.follow("notify-user", "u1/force_logout").await,
        Ok(())
    );
    workspace.broadcast("user.forceLogout", r#"["u1"]"#);
    assert_eq!(
        client.text().await,
        r#"{"msg":"changed","collection":"stream-notify-user","id":"id","fields":{"eventName":"u1/force_logout","args":[]}}"#
    );
    assert_eq!(client.closed().await.0, 1008);
}

#[tokio::test]
async fn a_forced_logout_of_one_session_leaves_the_others() {
    let workspace = workspace().await;
    let mut first = workspace.user("u1").await;
    let mut second = workspace.user("u1").await;
    let logins = workspace.heard("accounts.login", 2).await;
    let login: serde_json::Value = serde_json::from_str(&logins[0]).unwrap();
    let session = login[0]["connection"]["id"].as_str().unwrap();
    workspace.broadcast("user.forceLogout", &format!(r#"["u1","{session}"]"#));
    let (gone, stays) = tokio::select! {
        _ = first.closed() => (&mut first, &mut second),
        _ = second.closed() => (&mut second, &mut first),
    };
    let _ = gone;
    assert!(stays.call("echo", "[1]").await.contains(r#""result":[1]"#));
}

#[tokio::test]
async fn a_second_login_by_somebody_else_takes_along_only_what_he_may_follow() {
    let workspace = workspace().await;
    workspace.allow("c1", "u1");
    workspace.allow("c1", "u2");
    let mut client = workspace.user("u1").await;
    for (stream, event) in [
        ("notify-all", "updateCustomSound"),
        ("room-messages", "c1"),
        ("notify-user", "u1/notification"),
        ("room-messages", "p1"),
    ] {
        assert_eq!(client.follow(stream, event).await, Ok(()));
    }
    client.call("login", r#"[{"resume":"tok-u2"}]"#).await;
    let is_nosub = |text: &str| text.starts_with(r#"{"msg":"nosub""#);
    let mut ended = [client.until(is_nosub).await, client.until(is_nosub).await];
    ended.sort();
    assert!(
        ended[0].contains("notify-user u1/notification"),
        "{ended:?}"
    );
    assert!(ended[1].contains("room-messages p1"), "{ended:?}");
    workspace.called("presence.removeConnection", 1).await;
    workspace.broadcast("watch.messages", r#"[{"message":{"_id":"m","rid":"c1"}}]"#);
    workspace.broadcast("notify.desktop", r#"["u1",{"title":"private"}]"#);
    let heard = client.before_fence(&workspace).await;
    assert!(
        heard
            .iter()
            .any(|text| text.contains(r#""eventName":"c1""#)),
        "{heard:?}"
    );
    assert!(
        !heard.iter().any(|text| text.contains("private")),
        "{heard:?}"
    );
}

#[tokio::test]
async fn who_leaves_a_room_is_judged_again_for_its_discussions() {
    let workspace = workspace().await;
    let discussion = store::bson::doc! { "_id": "d1", "t": "p", "prid": "p1" };
    workspace.store.insert_room(discussion).await.unwrap();
    workspace.allow("d1", "u1");
    let mut client = workspace.user("u1").await;
    assert_eq!(client.follow("room-messages", "d1").await, Ok(()));
    workspace.forbid("d1", "u1");
    let removed =
        r#"[{"clientAction":"removed","subscription":{"_id":"s1","rid":"p1","u":{"_id":"u1"}}}]"#;
    workspace.broadcast("watch.subscriptions", removed);
    let nosub = client.until(|text| text.contains("nosub")).await;
    assert!(nosub.contains("not-allowed"), "{nosub}");
}

#[tokio::test]
async fn a_verdict_does_not_outlive_the_room_that_it_was_about() {
    let workspace = workspace().await;
    workspace.allow("c1", "u2");
    let mut client = workspace.user("u2").await;
    assert_eq!(
        client.follow("notify-all", "updateCustomSound").await,
        Ok(())
    );
    assert_eq!(client.follow("room-messages", "c1").await, Ok(()));
    client
        .send(r#"{"msg":"unsub","id":"room-messages c1"}"#)
        .await;
    client.until(|text| text.contains("nosub")).await;
    workspace.forbid("c1", "u2");
    workspace.broadcast(
        "watch.rooms",
        r#"[{"clientAction":"updated","room":{"_id":"c1","t":"p"}}]"#,
    );
    client.before_fence(&workspace).await;
    assert_eq!(
        client.follow("room-messages", "c1").await,
        Err("not-allowed".into())
    );
}

#[tokio::test]
async fn a_login_that_was_overtaken_by_its_revocation_does_not_last() {
    let workspace = workspace().await;
    let mut client = workspace.client().await;
    let mut fence = workspace.client().await;
    assert_eq!(
        fence.follow("notify-all", "updateCustomSound").await,
        Ok(())
    );
    let gate = workspace.hold("accounts.login");
    client
        .send(r#"{"msg":"method","id":"m","method":"login","params":[{"resume":"tok-u1"}]}"#)
        .await;
    // The service has said yes, but the answer has not arrived.
    workspace.called("accounts.login", 1).await;
    workspace
        .store
        .pull_login_token("u1", "hash-u1")
        .await
        .unwrap();
    workspace.broadcast("user.forceLogout", r#"["u1"]"#);
    fence.before_fence(&workspace).await;
    gate.add_permits(1);
    client.until(|text| text.contains("resume")).await;
    assert_eq!(client.closed().await, (1008, "REVOKED".into()));
}
