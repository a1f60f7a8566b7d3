//! Logins (services.md 2, 11 and 13), asked over the bus.

mod common;

use backplane::{Incoming, Service};
use common::World;
use serde_json::{Value, json};
use services::{accounts, authorization};
use store::{
    Update,
    bson::{Bson, DateTime, Document, doc},
};

/// services.md 11: the hash of `abc`, a password and bcrypt of its digest.
const HASH: &str = "ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=";
const PASSWORD: &str = "correct horse";
const DIGEST: &str = "4104d36f8da2c254349f85836793ebe029e0c957063a34c91c2e9203187b5631";
const BCRYPT: &str = "$2b$10$N9qo8uLOickgx2ZMRZoMye9ziAGq7vck5tvJgDvwdigaC3VYxmYaC";

async fn with_passwords() -> World {
    let logins = accounts::Config {
        password_login: true,
        ..accounts::Config::default()
    };
    World::start_with(logins, authorization::Config::default()).await
}

fn holder(id: &str, token: Document) -> (&'static str, Document) {
    let services = doc! { "resume": { "loginTokens": [token] } };
    (
        "user",
        doc! { "_id": id, "username": id, "services": services },
    )
}

fn with_password(id: &str) -> Document {
    doc! { "_id": id, "username": id, "services": { "password": { "bcrypt": BCRYPT } } }
}

fn now() -> i64 {
    DateTime::now().timestamp_millis()
}

async fn resume(world: &World, token: Value) -> Result<Value, String> {
    world
        .ask("accounts.login", &json!([{ "resume": token }]))
        .await
}

async fn password(world: &World, name: &str, password: &str) -> Result<Value, String> {
    let login = json!([{ "user": { "username": name }, "password": password }]);
    world.ask("accounts.login", &login).await
}

#[tokio::test]
async fn a_token_resumes_until_it_expires() {
    const DAY: i64 = 86_400_000;
    let world = World::start().await;
    let date = |ms: i64| Bson::DateTime(DateTime::from_millis(ms));
    let (fresh, old) = (now() - DAY, now() - 91 * DAY);
    for (id, when, expires) in [
        ("fresh", date(fresh), Ok(Some(fresh + 90 * DAY))),
        ("old", date(old), Err("403".to_owned())),
        (
            "number",
            Bson::Double(fresh as f64),
            Ok(Some(fresh + 90 * DAY)),
        ),
        (
            "mail",
            "Fri, 01 Jan 2100 00:00:00 GMT".into(),
            Ok(Some(4_102_444_800_000 + 90 * DAY)),
        ),
        ("nonsense", "soon".into(), Err("403".to_owned())),
        ("null", Bson::Null, Err("403".to_owned())),
        ("object", doc! { "$gt": 1 }.into(), Err("403".to_owned())),
    ] {
        let (token, hashed) = (format!("token-of-{id}"), hash_of(&format!("token-of-{id}")));
        world
            .insert(vec![holder(
                id,
                doc! { "hashedToken": &hashed, "when": when },
            )])
            .await;
        let expected = expires.map(|expires| {
            let mut granted =
                json!({ "uid": id, "token": token, "hashedToken": hashed, "type": "resume" });
            if let Some(expires) = expires {
                granted["tokenExpires"] = json!({ "$date": expires });
            }
            granted
        });
        assert_eq!(resume(&world, json!(token)).await, expected, "{id}");
    }
}

/// As the contract says, which the unit tests check against its vectors.
fn hash_of(token: &str) -> String {
    use base64::{Engine as _, prelude::BASE64_STANDARD};
    use sha2::{Digest as _, Sha256};
    BASE64_STANDARD.encode(Sha256::digest(token.as_bytes()))
}

#[tokio::test]
async fn a_personal_token_has_no_end_and_no_date() {
    let world = World::start().await;
    let token =
        doc! { "hashedToken": HASH, "type": "personalAccessToken", "bypassTwoFactor": true };
    world.insert(vec![holder("bob", token)]).await;
    let granted = json!({ "uid": "bob", "token": "abc", "hashedToken": HASH, "type": "resume" });
    assert_eq!(resume(&world, json!("abc")).await, Ok(granted));
}

#[tokio::test]
async fn whoever_is_nobody_or_deactivated_does_not_resume() {
    let world = World::start().await;
    let (mut gone, mut odd) = (
        holder("gone", doc! { "hashedToken": HASH }),
        holder("", doc! { "hashedToken": hash_of("odd") }),
    );
    gone.1.insert("active", false);
    odd.1.insert("active", true);
    world.insert(vec![gone, odd]).await;
    assert_eq!(resume(&world, json!("abc")).await, Err("403".into()));
    assert_eq!(
        resume(&world, json!("odd")).await,
        Ok(json!(false)),
        "never an empty uid"
    );
    for nothing in [
        json!([{ "resume": "abcd" }]),
        json!([{ "resume": "" }]),
        json!([{ "resume": null }]),
        json!([{ "resume": 7 }]),
        json!([{ "resume": true }]),
        json!([{ "resume": ["abc"] }]),
        json!([{ "resume": { "$ne": null } }]),
        json!([{}]),
        json!([null]),
        json!(["abc"]),
        json!([]),
        json!([{ "resume": { "$ne": 1 }, "user": { "username": "gone" }, "password": PASSWORD }]),
    ] {
        assert_eq!(
            world.ask("accounts.login", &nothing).await,
            Ok(json!(false)),
            "{nothing}"
        );
    }
}

#[tokio::test]
async fn the_expiry_setting_applies_from_its_event_on() {
    let world = World::start().await;
    let when = DateTime::from_millis(now() - 2 * 86_400_000);
    world
        .insert(vec![holder(
            "bob",
            doc! { "hashedToken": HASH, "when": when },
        )])
        .await;
    let announce = async |action: &str, setting: Value| {
        world
            .announce(
                "watch.settings",
                json!([{ "clientAction": action, "setting": setting }]),
            )
            .await;
        resume(&world, json!("abc")).await.is_ok()
    };
    assert!(resume(&world, json!("abc")).await.is_ok());
    assert!(
        !announce(
            "updated",
            json!({ "_id": "Accounts_LoginExpiration", "value": 1 })
        )
        .await
    );
    assert!(!announce("updated", json!({ "_id": "Site_Name", "value": 90 })).await);
    assert!(announce("removed", json!({ "_id": "Accounts_LoginExpiration" })).await);
}

#[tokio::test]
async fn a_setting_whose_event_was_missed_is_read_again() {
    let world = World::start().await;
    let when = DateTime::from_millis(now() - 2 * 86_400_000);
    let days = doc! { "_id": "Accounts_LoginExpiration", "value": 90 };
    let token = doc! { "hashedToken": HASH, "when": when };
    world
        .insert(vec![holder("bob", token), ("setting", days)])
        .await;
    let set = async |days: i32| {
        let setting = "Accounts_LoginExpiration";
        world.store.set_setting(setting, days.into()).await.unwrap();
    };
    let resumes = async || resume(&world, json!("abc")).await.is_ok();
    assert!(resumes().await);
    set(1).await;
    assert!(resumes().await, "nobody has said so");
    // Behind a gap, which takes its place among what is heard.
    world.bus.history_lost(std::time::Instant::now());
    assert!(!resumes().await);
    set(90).await;
    assert!(!resumes().await);
    world.after_a_minute().await;
    while !resumes().await {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn passwords_are_refused_in_clear_words_where_they_are_off() {
    let world = World::start().await;
    world.insert(vec![("user", with_password("bob"))]).await;
    assert_eq!(password(&world, "bob", PASSWORD).await, Err("403".into()));
    assert_eq!(
        password(&world, "nobody", PASSWORD).await,
        Err("403".into())
    );
}

#[tokio::test]
async fn a_password_logs_in_with_a_token_that_resumes() {
    let world = with_passwords().await;
    world.insert(vec![("user", with_password("bob"))]).await;
    for password in [
        json!(PASSWORD),
        json!({ "digest": DIGEST, "algorithm": "sha-256" }),
    ] {
        let login = json!([{ "user": { "username": "bob" }, "password": password }]);
        let granted = world.ask("accounts.login", &login).await.unwrap();
        assert_eq!(
            (&granted["uid"], &granted["type"]),
            (&json!("bob"), &json!("password"))
        );
        assert_eq!(
            granted["hashedToken"],
            hash_of(granted["token"].as_str().unwrap())
        );
        let resumed = resume(&world, granted["token"].clone()).await.unwrap();
        assert_eq!(
            (&resumed["uid"], &resumed["tokenExpires"]),
            (&json!("bob"), &granted["tokenExpires"])
        );
    }
    // In the shape that the monolith reads.
    let tokens = world.store.login_tokens("bob").await.unwrap();
    assert!(
        tokens
            .iter()
            .all(|token| token.get_datetime("when").is_ok())
    );
    for login in [
        json!([{ "user": { "username": "Bob" }, "password": PASSWORD }]),
        json!([{ "user": { "username": "nobody" }, "password": PASSWORD }]),
        json!([{ "user": { "username": "bob" }, "password": "wrong" }]),
        json!([{ "user": { "username": { "$ne": 1 } }, "password": PASSWORD }]),
        json!([{ "user": "bob", "password": PASSWORD }]),
        json!([{ "user": { "username": "bob" }, "password": { "$ne": 1 } }]),
        json!([{ "user": { "username": "bob" }, "password": { "digest": DIGEST } }]),
        json!([{ "user": { "username": "bob" }, "password": null }]),
        json!([{ "user": { "email": "bob" }, "password": PASSWORD }]),
    ] {
        assert_eq!(
            world.ask("accounts.login", &login).await,
            Ok(json!(false)),
            "{login}"
        );
    }
}

#[tokio::test]
async fn a_right_password_is_not_enough_for_everybody() {
    let world = with_passwords().await;
    for id in ["gone", "totp", "mail", "none"] {
        world.insert(vec![("user", with_password(id))]).await;
    }
    for (id, field, value) in [
        ("gone", "active", false),
        ("totp", "services.totp.enabled", true),
        ("mail", "services.email2fa.enabled", true),
    ] {
        world
            .store
            .update_user(id, Update::set(doc! { field: value }))
            .await
            .unwrap();
        assert_eq!(
            password(&world, id, PASSWORD).await,
            Ok(json!(false)),
            "{id}"
        );
    }
    let unset = Update {
        unset: vec!["services.password".into()],
        ..Update::default()
    };
    world.store.update_user("none", unset).await.unwrap();
    assert_eq!(password(&world, "none", PASSWORD).await, Ok(json!(false)));
}

#[tokio::test]
async fn after_too_many_wrong_passwords_the_right_one_does_not_help() {
    let world = with_passwords().await;
    let tries =
        doc! { "_id": "Block_Multiple_Failed_Logins_Attempts_Until_Block_by_User", "value": 3 };
    world
        .insert(vec![
            ("user", with_password("bob")),
            ("user", with_password("ann")),
            ("setting", tries),
        ])
        .await;
    let blocked = Err("error-login-blocked-for-user".to_owned());
    // At once or one after the other, and whether or not somebody has the name.
    for name in ["bob", "nobody"] {
        let (a, b, c, d) = tokio::join!(
            password(&world, name, "1"),
            password(&world, name, "2"),
            password(&world, name, "3"),
            password(&world, name, "4"),
        );
        let refused = [a, b, c, d]
            .into_iter()
            .filter(|answer| *answer == Ok(json!(false)))
            .count();
        assert_eq!(refused, 3, "{name}");
        assert_eq!(password(&world, name, PASSWORD).await, blocked, "{name}");
    }
    assert!(password(&world, "ann", PASSWORD).await.unwrap().is_object());
    world
        .insert(vec![(
            "setting",
            doc! { "_id": "Block_Multiple_Failed_Logins_Enabled", "value": false },
        )])
        .await;
    assert!(password(&world, "bob", PASSWORD).await.unwrap().is_object());
}

#[tokio::test]
async fn a_logout_ends_one_token_and_tells_everybody() {
    let world = World::start().await;
    let tokens = vec![
        doc! { "hashedToken": HASH, "when": DateTime::from_millis(1_000) },
        doc! { "hashedToken": "other", "type": "personalAccessToken" },
    ];
    let user = doc! { "_id": "bob", "username": "bob", "services": { "resume": { "loginTokens": tokens } } };
    world.insert(vec![("user", user)]).await;
    let mut inbox = world.bus.announce(Service {
        name: "listener",
        actions: vec![],
        events: vec!["watch.users"],
    });
    for nothing in [
        json!([{ "userId": "bob" }]),
        json!([{ "userId": "bob", "token": null }]),
        json!([{ "userId": "bob", "token": "" }]),
        json!([{ "token": HASH }]),
        json!([{ "userId": "bob", "token": "unknown" }]),
        json!([{ "userId": "nobody", "token": HASH }]),
        json!([null]),
        json!([]),
    ] {
        assert_eq!(
            world.ask("accounts.logout", &nothing).await,
            Ok(Value::Null),
            "{nothing}"
        );
    }
    for bad in [
        json!([{ "userId": { "$ne": 1 }, "token": HASH }]),
        json!([{ "userId": "bob", "token": { "$ne": 1 } }]),
        json!(["bob"]),
    ] {
        assert_eq!(
            world.ask("accounts.logout", &bad).await,
            Err("invalid-param".into()),
            "{bad}"
        );
    }
    assert_eq!(world.store.login_tokens("bob").await.unwrap().len(), 2);
    let logout = json!([{ "userId": "bob", "token": HASH }]);
    assert_eq!(world.ask("accounts.logout", &logout).await, Ok(Value::Null));
    let event = loop {
        if let Incoming::Event(event) = inbox.recv().await {
            break serde_json::from_str::<Value>(&event.args).unwrap();
        }
    };
    let left = json!([{ "hashedToken": "other", "type": "personalAccessToken" }]);
    assert_eq!(
        event,
        json!([{ "clientAction": "updated", "id": "bob", "diff": { "services.resume.loginTokens": left }, "unset": {} }])
    );
}
