//! Methods: the local ones, what is forwarded, and the errors that clients see.

mod common;

use common::workspace::{workspace, workspace_with};

#[tokio::test]
async fn a_login_answers_and_then_tells_the_workspace() {
    let workspace = workspace().await;
    let mut client = workspace.client().await;
    assert_eq!(
        client.call("login", r#"[{"resume":"tok-u1"}]"#).await,
        r#"{"msg":"result","id":"m","result":{"id":"u1","token":"tok-u1","tokenExpires":{"$date":5},"type":"resume"}}"#
    );
    let document = client
        .until(|text| text.contains(r#""collection":"users""#))
        .await;
    assert!(
        document.starts_with(r#"{"msg":"added","collection":"users","id":"u1","fields":{"#),
        "{document}"
    );
    assert!(
        document.contains(r#""username":"bob""#) && !document.contains("hash-u1"),
        "{document}"
    );
    let connected = workspace.called("presence.newConnection", 1).await;
    assert!(
        connected[0].starts_with(r#"["u1",""#) && connected[0].ends_with(r#","test-node"]"#),
        "{connected:?}"
    );
    let login = workspace.heard("accounts.login", 1).await;
    assert!(
        login[0].contains(r#""userId":"u1""#) && login[0].contains(r#""loginToken":"hash-u1""#),
        "{login:?}"
    );
    drop(client);
    workspace.called("presence.removeConnection", 1).await;
    workspace.heard("socket.disconnected", 1).await;
}

#[tokio::test]
async fn a_refused_login_is_a_403_and_one_that_cannot_be_judged_is_none() {
    let workspace = workspace().await;
    let mut client = workspace.client().await;
    for params in [
        r#"[{"resume":"bad"}]"#,
        "[]",
        r#"[{"user":{"username":"bob"},"password":"x"}]"#,
    ] {
        let refused = client.call("login", params).await;
        assert!(refused.contains(r#""error":403"#), "{refused}");
    }
    workspace.break_action("accounts.login");
    client
        .send(r#"{"msg":"method","id":"m","method":"login","params":[{"resume":"tok-u1"}]}"#)
        .await;
    assert_eq!(client.closed().await, (1013, "TRY_AGAIN".into()));
}

#[tokio::test]
async fn logins_with_one_token_are_one_question() {
    let workspace = workspace().await;
    let gate = workspace.hold("accounts.login");
    let mut clients = Vec::new();
    for _ in 0..5 {
        let mut client = workspace.client().await;
        client
            .send(r#"{"msg":"method","id":"m","method":"login","params":[{"resume":"tok-u1"}]}"#)
            .await;
        // Its turn has come when a later message of the same client is answered.
        client.send(r#"{"msg":"ping","id":"p"}"#).await;
        client.until(|text| text.contains("pong")).await;
        clients.push(client);
    }
    workspace.called("accounts.login", 1).await;
    gate.add_permits(5);
    for client in &mut clients {
        client
            .until(|text| text.contains(r#""type":"resume""#))
            .await;
    }
    assert!(workspace.calls("accounts.login") < 5);
}

#[tokio::test]
async fn a_logout_takes_the_token_along_and_closes() {
    let workspace = workspace().await;
    let mut client = workspace.user("u1").await;
    assert_eq!(
        client.call("logout", "[]").await,
        r#"{"msg":"result","id":"m"}"#
    );
    assert_eq!(client.closed().await.0, 1002);
    assert_eq!(
        workspace.called("accounts.logout", 1).await,
        [r#"[{"userId":"u1","token":"hash-u1"}]"#]
    );
    workspace.heard("accounts.logout", 1).await;
    workspace.called("presence.removeConnection", 1).await;
}

#[tokio::test]
async fn a_logout_here_or_elsewhere_closes_the_other_sockets_of_its_token() {
    let workspace = workspace().await;
    let (mut here, mut there) = (workspace.user("u1").await, workspace.user("u1").await);
    let mut other = workspace.user("u2").await;
    workspace
        .store
        .pull_login_token("u1", "hash-u1")
        .await
        .unwrap();
    here.call("logout", "[]").await;
    assert_eq!(here.closed().await, (1002, String::new()));
    assert_eq!(there.closed().await, (1008, "REVOKED".into()));

    workspace
        .store
        .pull_login_token("u2", "hash-u2")
        .await
        .unwrap();
    workspace.broadcast(
        "accounts.logout",
        r#"[{"userId":"u2","connection":{"id":"elsewhere"}}]"#,
    );
    assert_eq!(other.closed().await, (1008, "REVOKED".into()));
}

#[tokio::test]
async fn presence_methods_go_to_presence_and_do_nothing_without_a_login() {
    let workspace = workspace().await;
    let mut client = workspace.client().await;
    assert_eq!(
        client.call("UserPresence:away", "[]").await,
        r#"{"msg":"result","id":"m"}"#
    );
    let mut client = workspace.user("u1").await;
    assert_eq!(
        client.call("UserPresence:away", "[]").await,
        r#"{"msg":"result","id":"m","result":true}"#
    );
    let called = workspace.called("presence.setConnectionStatus", 1).await;
    assert!(called[0].starts_with(r#"["u1","away",""#), "{called:?}");
    client
        .call("setUserStatus", r#"["busy","lunch","more"]"#)
        .await;
    client
        .call("UserPresence:setDefaultStatus", r#"["online","x"]"#)
        .await;
    let odd = client.call("setUserStatus", r#"["busy",{"$gt":""}]"#).await;
    assert!(odd.contains(r#""error":400"#), "{odd}");
    assert_eq!(
        workspace.called("presence.setStatus", 2).await,
        [r#"["u1","busy","lunch"]"#, r#"["u1","online"]"#]
    );
}

#[tokio::test]
async fn everything_else_is_forwarded_byte_for_byte() {
    let workspace = workspace().await;
    let mut client = workspace.user("u1").await;
    let params = r#"[{"$date":1700000000123}, 1.50,"\u00e9"]"#;
    client.call("echo", params).await;
    let called = workspace.called("meteor.callMethodWithToken", 1).await;
    assert_eq!(called[0], format!(r#"["u1","hash-u1","echo",{params}]"#));
    assert_eq!(
        client.call("nothing", "[]").await,
        r#"{"msg":"result","id":"m"}"#
    );
    assert_eq!(
        client.call("false", "[]").await,
        r#"{"msg":"result","id":"m","result":false}"#
    );
}

#[tokio::test]
async fn errors_have_the_code_that_was_thrown() {
    let workspace = workspace().await;
    let mut client = workspace.client().await;
    assert_eq!(
        client.call("totp", "[]").await,
        r#"{"msg":"result","id":"m","error":{"isClientSafe":true,"errorType":"Meteor.Error","error":"totp-required","reason":"TOTP Required","details":{"method":"totp"},"message":"TOTP Required [totp-required]"}}"#
    );
    assert!(
        client
            .call("forbidden", "[]")
            .await
            .contains(r#""error":403,"message":"[403]""#)
    );
    assert!(
        client
            .call("unheard-of", "[]")
            .await
            .contains(r#""error":500"#)
    );
}

#[tokio::test]
async fn typing_reaches_the_room_but_not_its_writer() {
    let workspace = workspace().await;
    workspace.allow("p1", "u2");
    let (mut bob, mut eve) = (workspace.user("u1").await, workspace.user("u2").await);
    for client in [&mut bob, &mut eve] {
        assert_eq!(
            client.follow("notify-room", "p1/user-activity").await,
            Ok(())
        );
        assert_eq!(
            client.follow("notify-all", "updateCustomSound").await,
            Ok(())
        );
    }
    let write = r#"["p1/user-activity","bob",["user-typing"],{}]"#;
    assert_eq!(
        bob.call("stream-notify-room", write).await,
        r#"{"msg":"result","id":"m"}"#
    );
    assert_eq!(
        eve.before_fence(&workspace).await,
        [
            r#"{"msg":"changed","collection":"stream-notify-room","id":"id","fields":{"eventName":"p1/user-activity","args":["bob",["user-typing"],{}]}}"#
        ]
    );
    assert!(
        bob.before_fence(&workspace).await.is_empty(),
        "our own relay is ignored too"
    );
    assert_eq!(
        workspace.heard("stream", 1).await,
        [r#"[["notify-room","p1/user-activity",["bob",["user-typing"],{}]]]"#]
    );
    workspace.heard("room.user-activity", 1).await;
}

#[tokio::test]
async fn writes_that_no_rule_allows_look_the_same_and_go_nowhere() {
    let workspace = workspace().await;
    let (mut bob, mut eve) = (workspace.user("u1").await, workspace.user("u2").await);
    for (stream, event) in [
        ("notify-room", "p1/user-activity"),
        ("notify-room", "p1/deleteMessage"),
        ("notify-all", "updateCustomSound"),
    ] {
        assert_eq!(bob.follow(stream, event).await, Ok(()));
    }
    for (method, params) in [
        // Not in the room; in another's name; another event; a stream that takes no writes.
        (
            "stream-notify-room",
            r#"["p1/user-activity","eve",["user-typing"]]"#,
        ),
        (
            "stream-notify-room",
            r#"["p1/user-activity","bob",["user-typing"]]"#,
        ),
        ("stream-notify-room", r#"["p1/deleteMessage",{"_id":"m"}]"#),
        ("stream-room-messages", r#"["p1",{"msg":"fake"}]"#),
        (
            "stream-notify-user",
            r#"["u1/notification",{"title":"fake"}]"#,
        ),
    ] {
        assert_eq!(
            eve.call(method, params).await,
            r#"{"msg":"result","id":"m"}"#,
            "{params}"
        );
    }
    assert!(bob.before_fence(&workspace).await.is_empty());
}

#[tokio::test]
async fn guests_type_with_the_token_of_their_room() {
    let workspace = workspace().await;
    let mut guest = workspace.client().await;
    let mut other = workspace.client().await;
    let params = r#"["l1/user-activity",{"args":[{"token":"guest"}]}]"#;
    assert_eq!(
        guest.subscribe("s", "stream-notify-room", params).await,
        Ok(())
    );
    let typing =
        |token| format!(r#"["l1/user-activity","Guest",["user-typing"],{{"token":"{token}"}}]"#);
    other.call("stream-notify-room", &typing("wrong")).await;
    other.call("stream-notify-room", &typing("guest")).await;
    let heard = guest.text().await;
    assert!(
        heard.contains(r#"["Guest",["user-typing"],{"token":"guest"}]"#),
        "{heard}"
    );
}

#[tokio::test]
async fn a_guest_connection_that_goes_is_reported() {
    let workspace = workspace().await;
    let mut guest = workspace.client().await;
    guest
        .call("livechat:setUpConnection", r#"[{"token":"guest"}]"#)
        .await;
    let odd = guest
        .call("livechat:setUpConnection", r#"[{"token":5}]"#)
        .await;
    assert_eq!(odd, r#"{"msg":"result","id":"m","result":{}}"#);
    drop(guest);
    assert_eq!(
        workspace.called("meteor.notifyGuestStatusChanged", 1).await,
        [r#"["guest","offline"]"#]
    );
}

#[tokio::test]
async fn a_rate_limit_of_the_workspace_answers_when_to_come_back() {
    let workspace =
        workspace_with(|config| config.rate_limits = gateway::config::RateLimits::On).await;
    let mut client = workspace.client().await;
    let mut answers = Vec::new();
    for _ in 0..11 {
        answers.push(client.call("echo", "[]").await);
    }
    assert!(answers[9].contains(r#""result":[]"#), "{}", answers[9]);
    assert!(
        answers[10].contains(r#""error":"too-many-requests""#),
        "{}",
        answers[10]
    );
    assert!(answers[10].contains(r#""timeToReset":"#), "{}", answers[10]);
}
