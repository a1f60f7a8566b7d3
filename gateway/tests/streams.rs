//! Every rule of the stream table with a permission and a refusal, and every row of the event table with its output.

mod common;

use common::workspace::{Workspace, workspace};

const OK: Result<(), &str> = Ok(());
const REFUSED: Result<(), &str> = Err("not-allowed");

/// Who asks: nobody, `u1`, `u2`.
async fn check(workspace: &Workspace, stream: &str, event: &str, expected: [Result<(), &str>; 3]) {
    for (user, expected) in [None, Some("u1"), Some("u2")].into_iter().zip(expected) {
        let mut client = match user {
            Some(user) => workspace.user(user).await,
            None => workspace.client().await,
        };
        let outcome = client.follow(stream, event).await;
        assert_eq!(
            outcome,
            expected.map_err(str::to_owned),
            "{stream} {event} by {user:?}"
        );
    }
}

#[tokio::test]
async fn streams_are_read_by_those_whom_their_rule_names() {
    let workspace = workspace().await;
    let setting = store::bson::doc! { "_id": "Canned_Responses_Enable", "value": true };
    workspace.store.insert_setting(setting).await.unwrap();
    for permission in [
        "edit-privileged-setting",
        "view-canned-responses",
        "manage-own-outgoing-integrations",
        "view-l-room",
        "view-logs",
    ] {
        workspace.permit("u1", permission);
    }
    let w = &workspace;
    check(w, "notify-all", "public-settings-changed", [OK, OK, OK]).await;
    check(w, "notify-logged", "updateAvatar", [REFUSED, OK, OK]).await;
    check(
        w,
        "notify-logged",
        "private-settings-changed",
        [REFUSED, OK, REFUSED],
    )
    .await;
    check(w, "notify-user", "u1/notification", [REFUSED, OK, REFUSED]).await;
    check(w, "notify-user", "u1/rooms-changed", [REFUSED, OK, REFUSED]).await;
    check(w, "notify-room", "p1/user-activity", [REFUSED, OK, REFUSED]).await;
    check(w, "notify-room-users", "p1/video-conference", [REFUSED; 3]).await;
    check(w, "room-messages", "p1", [REFUSED, OK, REFUSED]).await;
    check(w, "room-messages", "no-such-room", [REFUSED; 3]).await;
    check(w, "room-messages", "__my_messages__", [REFUSED, OK, OK]).await;
    check(w, "room-data", "p1", [REFUSED, OK, REFUSED]).await;
    check(w, "roles", "roles", [REFUSED, OK, OK]).await;
    check(w, "importers", "progress", [REFUSED, OK, OK]).await;
    check(w, "apps", "apps", [REFUSED, OK, OK]).await;
    check(
        w,
        "canned-responses",
        "canned-responses",
        [REFUSED, OK, REFUSED],
    )
    .await;
    check(w, "integrationHistory", "i1", [REFUSED, OK, REFUSED]).await;
    check(w, "livechat-room", "l1", [REFUSED; 3]).await;
    check(
        w,
        "livechat-inquiry-queue-observer",
        "public",
        [REFUSED, OK, REFUSED],
    )
    .await;
    check(w, "stdout", "stdout", [REFUSED, OK, REFUSED]).await;
    check(w, "user-presence", "u1", [REFUSED, OK, OK]).await;
    check(w, "video-conference", "v1/updated", [REFUSED; 3]).await;
    check(w, "apps-engine", "app/added", [REFUSED; 3]).await;
    check(w, "local", "x", [REFUSED; 3]).await;
    check(w, "no-such-stream", "x", [Err("404"); 3]).await;
    check(w, "notify-logged", "", [Err("invalid-event-name"); 3]).await;
}

#[tokio::test]
async fn a_public_room_is_read_without_a_login_where_the_workspace_allows_it() {
    let workspace = workspace().await;
    workspace.allow("c1", "");
    let mut reader = workspace.client().await;
    assert_eq!(reader.follow("room-messages", "c1").await, Ok(()));
    assert_eq!(
        reader.follow("room-data", "c1").await,
        Err("not-allowed".into())
    );
}

#[tokio::test]
async fn guests_show_the_token_of_their_room() {
    let workspace = workspace().await;
    let mut guest = workspace.client().await;
    let params = |event: &str, extra: &str| {
        format!(r#"["{event}",{{"useCollection":false,"args":[{extra}]}}]"#)
    };
    for (number, (stream, event, extra, expected)) in [
        (
            "stream-livechat-room",
            "l1",
            r#"{"visitorToken":"guest"}"#,
            OK,
        ),
        (
            "stream-livechat-room",
            "l1",
            r#"{"visitorToken":"other"}"#,
            REFUSED,
        ),
        (
            "stream-livechat-room",
            "c1",
            r#"{"visitorToken":"guest"}"#,
            REFUSED,
        ),
        ("stream-livechat-room", "l1", "", REFUSED),
        (
            "stream-notify-room",
            "l1/user-activity",
            r#"{"token":"guest"}"#,
            OK,
        ),
        (
            "stream-notify-room",
            "l1/user-activity",
            r#"{"token":{"$ne":1}}"#,
            REFUSED,
        ),
        (
            "stream-notify-room",
            "c1/user-activity",
            r#"{"token":"guest"}"#,
            REFUSED,
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let outcome = guest
            .subscribe(&format!("s{number}"), stream, &params(event, extra))
            .await;
        assert_eq!(
            outcome,
            expected.map_err(str::to_owned),
            "{stream} {event} {extra}"
        );
    }
}

#[tokio::test]
async fn the_forms_of_subscription_options_are_those_of_the_contract() {
    let workspace = workspace().await;
    let mut client = workspace.client().await;
    for (number, (params, expected)) in [
        (r#"["a"]"#, OK),
        (r#"["b",false]"#, OK),
        (r#"["c",{"useCollection":false}]"#, OK),
        (r#"["d",null]"#, Err("500")),
        (r#"["e",{"args":5}]"#, Err("500")),
        (r#"[]"#, Err("500")),
        (r#"[7]"#, Err("500")),
        (r#"[""]"#, Err("invalid-event-name")),
    ]
    .into_iter()
    .enumerate()
    {
        let outcome = client
            .subscribe(&format!("s{number}"), "stream-notify-all", params)
            .await;
        assert_eq!(outcome, expected.map_err(str::to_owned), "{params}");
    }
    client
        .send(r#"{"msg":"sub","id":"x","name":"stream-notify-all","params":["public-info",true]}"#)
        .await;
    assert_eq!(
        client.text().await,
        r#"{"msg":"added","collection":"stream-notify-all","id":"id","fields":{"eventName":"public-info"}}"#
    );
    assert_eq!(client.text().await, r#"{"msg":"ready","subs":["x"]}"#);
}

#[tokio::test]
async fn a_rule_that_cannot_be_judged_refuses() {
    let workspace = workspace().await;
    workspace.break_action("authorization.canReadRoom");
    let mut client = workspace.user("u1").await;
    assert_eq!(
        client.follow("room-messages", "p1").await,
        Err("500".into())
    );
}

#[tokio::test]
async fn publications_mirror_what_the_monolith_has() {
    let workspace = workspace().await;
    let mut client = workspace.client().await;
    // The fill may still be on its way into the mirror.
    loop {
        client.send(r#"{"msg":"sub","id":"v","name":"meteor_autoupdate_clientVersions","params":[null]}"#).await;
        let first = client.text().await;
        client.send(r#"{"msg":"unsub","id":"v"}"#).await;
        client
            .until(|text| text.starts_with(r#"{"msg":"nosub""#))
            .await;
        if first.starts_with(r#"{"msg":"added""#) {
            assert_eq!(
                first,
                r#"{"msg":"added","collection":"meteor_autoupdate_clientVersions","id":"web.browser","fields":{"version":"v1","assets":[]}}"#
            );
            break;
        }
    }
    client
        .send(r#"{"msg":"sub","id":"l","name":"meteor.loginServiceConfiguration","params":[]}"#)
        .await;
    assert_eq!(
        client.text().await,
        r#"{"msg":"added","collection":"meteor_accounts_loginServiceConfiguration","id":"x1","fields":{"_id":"x1","service":"google","clientId":"c"}}"#
    );
    assert_eq!(client.text().await, r#"{"msg":"ready","subs":["l"]}"#);
    let changed =
        r#"[{"clientAction":"updated","id":"x1","data":{"_id":"x1","service":"github"}}]"#;
    workspace.broadcast("watch.loginServiceConfiguration", changed);
    assert_eq!(
        client.text().await,
        r#"{"msg":"changed","collection":"meteor_accounts_loginServiceConfiguration","id":"x1","fields":{"_id":"x1","service":"github"}}"#
    );
    workspace.broadcast(
        "watch.loginServiceConfiguration",
        r#"[{"clientAction":"removed","id":"x1"}]"#,
    );
    assert_eq!(
        client.text().await,
        r#"{"msg":"removed","collection":"meteor_accounts_loginServiceConfiguration","id":"x1"}"#
    );
}

#[tokio::test]
async fn one_message_reaches_raw_and_sockjs_websockets_byte_for_byte() {
    let workspace = workspace().await;
    workspace.allow("c1", "");
    let mut raw = workspace.client().await;
    assert_eq!(raw.follow("room-messages", "c1").await, Ok(()));
    let request = workspace
        .server
        .request("/sockjs/123/abcdefgh/websocket", &[]);
    let (mut sockjs, _) = workspace.server.upgrade(request).await.unwrap();
    sockjs
        .send(r#"["{\"msg\":\"connect\",\"version\":\"1\",\"support\":[\"1\"]}"]"#)
        .await;
    sockjs.send(r#"["{\"msg\":\"sub\",\"id\":\"s\",\"name\":\"stream-room-messages\",\"params\":[\"c1\"]}"]"#).await;
    sockjs.until(|text| text.contains("ready")).await;

    let message =
        r#"{"_id":"m1","rid":"c1","msg":"h\u00e9 \"ho\"","ts":{"$date": 1700000000123},"n":1.50}"#;
    workspace.broadcast("watch.messages", &format!("[{{\"message\":{message}}}]"));
    let expected = format!(
        r#"{{"msg":"changed","collection":"stream-room-messages","id":"id","fields":{{"eventName":"c1","args":[{message}]}}}}"#
    );
    assert_eq!(raw.text().await, expected);
    let framed = sockjs.text().await;
    let inside: Vec<String> = serde_json::from_str(framed.strip_prefix('a').unwrap()).unwrap();
    assert_eq!(inside, [expected]);
}

#[tokio::test]
async fn relays_of_other_processes_are_taken_in_both_forms() {
    let workspace = workspace().await;
    let mut client = workspace.user("u1").await;
    assert_eq!(client.follow("notify-user", "u1/otr").await, Ok(()));
    for relay in [
        r#"[["notify-user","u1/otr",["handshake",{"a":1}]]]"#,
        r#"[{"stream":"notify-user","eventName":"u1/otr","args":["handshake",{"a":1}],"origin":"other"}]"#,
    ] {
        workspace.broadcast("stream", relay);
        assert_eq!(
            client.text().await,
            r#"{"msg":"changed","collection":"stream-notify-user","id":"id","fields":{"eventName":"u1/otr","args":["handshake",{"a":1}]}}"#
        );
    }
}

#[tokio::test]
async fn rooms_changed_follows_joins_updates_and_leaves() {
    let workspace = workspace().await;
    let mut client = workspace.user("u1").await;
    assert_eq!(
        client.follow("notify-user", "u1/rooms-changed").await,
        Ok(())
    );
    assert_eq!(
        client.follow("notify-all", "updateCustomSound").await,
        Ok(())
    );
    let changed = |args: &str| {
        format!(
            r#"{{"msg":"changed","collection":"stream-notify-user","id":"id","fields":{{"eventName":"u1/rooms-changed","args":{args}}}}}"#
        )
    };
    workspace.broadcast(
        "watch.rooms",
        r#"[{"clientAction":"updated","room":{"_id":"p1","t":"p"}}]"#,
    );
    assert_eq!(
        client.text().await,
        changed(r#"["updated",{"_id":"p1","t":"p"}]"#)
    );
    workspace.broadcast(
        "watch.rooms",
        r#"[{"clientAction":"updated","room":{"_id":"c1","t":"c"}}]"#,
    );
    assert!(
        client.before_fence(&workspace).await.is_empty(),
        "not a room of this user"
    );

    let membership = |action| {
        format!(
            r#"[{{"clientAction":"{action}","subscription":{{"_id":"s9","rid":"c1","u":{{"_id":"u1"}}}}}}]"#
        )
    };
    workspace.broadcast("watch.subscriptions", &membership("inserted"));
    // Waits behind the look-up of the room that was joined.
    workspace.broadcast(
        "watch.rooms",
        r#"[{"clientAction":"updated","room":{"_id":"c1","t":"c","n":2}}]"#,
    );
    let inserted = client.text().await;
    assert!(
        inserted.starts_with(&changed(r#"["inserted",{"_id":"c1""#)[..130]),
        "{inserted}"
    );
    assert!(
        inserted.contains(r#""args":["inserted",{"#) && inserted.contains("general"),
        "{inserted}"
    );
    assert_eq!(
        client.text().await,
        changed(r#"["updated",{"_id":"c1","t":"c","n":2}]"#)
    );

    workspace.broadcast("watch.subscriptions", &membership("removed"));
    workspace.broadcast(
        "watch.rooms",
        r#"[{"clientAction":"updated","room":{"_id":"c1","t":"c"}}]"#,
    );
    assert!(client.before_fence(&workspace).await.is_empty());
}

#[tokio::test]
async fn events_with_code_say_what_the_contract_says() {
    let workspace = workspace().await;
    workspace.permit("u1", "view-privileged-setting");
    let mut client = workspace.user("u1").await;
    for (stream, event) in [
        ("notify-user", "u1/userData"),
        ("notify-user", "u1/message"),
        ("notify-logged", "user-status"),
        ("notify-logged", "private-settings-changed"),
        ("notify-all", "public-settings-changed"),
        ("notify-all", "public-info"),
        ("notify-room", "p1/messagesImported"),
    ] {
        assert_eq!(client.follow(stream, event).await, Ok(()), "{event}");
    }
    let mut expect = async |event: &str, args: &str, expected: &[(&str, &str, &str)]| {
        workspace.broadcast(event, args);
        for (stream, event, args) in expected {
            assert_eq!(
                client.text().await,
                format!(
                    r#"{{"msg":"changed","collection":"stream-{stream}","id":"id","fields":{{"eventName":"{event}","args":{args}}}}}"#
                )
            );
        }
    };
    expect(
        "presence.status",
        r#"[{"user":{"_id":"u1","username":"bob","status":"busy","statusText":"","name":"B","roles":["user"]}}]"#,
        &[
            ("notify-user", "u1/userData", r#"[{"type":"updated","id":"u1","diff":{"status":"busy"},"unset":{"statusText":1}}]"#),
            ("notify-logged", "user-status", r#"[["u1","bob",3,"","B",["user"]]]"#),
        ],
    )
    .await;
    expect(
        "watch.settings",
        r#"[{"clientAction":"updated","setting":{"_id":"S","value":1,"public":true,"type":"int","secret":2}}]"#,
        &[
            ("notify-all", "public-settings-changed", r#"["updated",{"_id":"S","value":1}]"#),
            ("notify-all", "public-info", r#"[["public-settings-changed",["updated",{"_id":"S","value":1}]]]"#),
            ("notify-logged", "private-settings-changed", r#"["updated",{"_id":"S","value":1}]"#),
        ],
    )
    .await;
    expect(
        "watch.settings",
        r#"[{"clientAction":"updated","setting":{"_id":"S","hidden":true,"public":true}}]"#,
        &[],
    )
    .await;
    expect(
        "watch.settings",
        r#"[{"clientAction":"updated","setting":{"_id":"E","value":1,"invalidValue":0,"enterprise":true}}]"#,
        &[("notify-logged", "private-settings-changed", r#"["updated",{"_id":"E","value":0,"enterprise":true}]"#)],
    )
    .await;
    expect(
        "notify.importedMessages",
        r#"[{"roomIds":["x","p1"]}]"#,
        &[("notify-room", "p1/messagesImported", "[null]")],
    )
    .await;
    workspace.broadcast(
        "notify.ephemeralMessage",
        r#"["u1","p1",{"msg":"hi","private":false,"_id":"e1"}]"#,
    );
    let message = client.text().await;
    assert!(
        message.contains(r#""args":[{"groupable":false,"u":{"_id":"rocket.cat","username":"rocket.cat"},"rid":"p1","ts":{"$date":"#),
        "{message}"
    );
    assert!(
        message.ends_with(r#""msg":"hi","private":false,"_id":"e1"}]}}"#),
        "{message}"
    );
}
