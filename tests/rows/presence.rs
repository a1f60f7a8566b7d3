//! The stream whose subscriptions are watch sets (streams.md 3, 5.4), with its own frames.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use harness::Client;
use serde_json::{Value, json};

use crate::cast::{Caller, Cast, Stage};

const STREAM: &str = "stream-user-presence";

/// A user whom no test has spoken of before: what is told of one again within a moment waits, so that who flaps is told once.
fn somebody() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("watched-{}", COUNT.fetch_add(1, Relaxed))
}

/// Subscribes with lists of users; the answer to a further subscription is a `nosub` without error.
fn watch(client: &mut Client, id: &str, lists: &Value) -> Value {
    client.send(&json!({"msg": "sub", "id": id, "name": STREAM, "params": ["", lists]}));
    client.wait_for("an answer", |message| {
        message["subs"][0] == id || (message["msg"] == "nosub" && message["id"] == id)
    })
}

fn status_of(user: &str, username: &str, more: &Value) -> Value {
    let mut user =
        json!({"_id": user, "username": username, "status": "busy", "statusText": "lunch"});
    for (name, value) in more.as_object().expect("an object") {
        user[name] = value.clone();
    }
    json!({"cmd": "broadcast", "event": "presence.status", "args": [{"user": user}]})
}

/// What arrives of one user's status, as texts.
fn told(cast: &Cast, client: &mut Client, emit: &Value) -> Vec<String> {
    client.take_texts();
    cast.product.ask(emit);
    cast.product.settle(client);
    let texts = client.take_texts().into_iter();
    texts.filter(|text| text.contains(STREAM)).collect()
}

/// The one word that arrives of a status, however long it is held back until it is known who may see the user.
fn word(cast: &Cast, client: &mut Client, emit: &Value) -> Value {
    client.take_texts();
    cast.product.ask(emit);
    let word = client.wait_for("a word of him", |message| message["collection"] == STREAM);
    cast.product.settle(client);
    let texts = client.take_texts().into_iter();
    assert_eq!(texts.filter(|text| text.contains(STREAM)).count(), 1);
    word
}

fn frame(user: &str, tuple: &str) -> String {
    format!(
        r#"{{"msg":"changed","collection":"{STREAM}","id":"{user}","fields":{{"uid":"{user}","args":[{tuple}],"eventName":"{user}"}}}}"#
    )
}

#[test]
fn presence_needs_a_login() {
    Stage::newest(|cast| {
        for caller in Caller::ALL {
            for mut client in cast.sockets(caller) {
                let u7 = somebody();
                let answer = watch(&mut client, "w", &json!({"added": [u7]}));
                let may = cast.user(caller).is_some();
                assert_eq!(answer["msg"] == "ready", may, "{caller:?}: {answer}");
                if !may {
                    assert_eq!(answer["error"]["error"], "not-allowed", "{answer}");
                }
                let arrives =
                    !told(cast, &mut client, &status_of(&u7, "bob", &json!({}))).is_empty();
                assert_eq!(arrives, may, "{caller:?}");
            }
        }
    });
}

#[test]
fn a_status_is_told_to_who_watches_the_user_and_to_no_one_else() {
    Stage::newest(|cast| {
        for mut client in cast.sockets(Caller::Stranger) {
            let (u7, u8, u9) = (somebody(), somebody(), somebody());
            assert_eq!(
                watch(&mut client, "w", &json!({"added": [u7, u8]}))["msg"],
                "ready"
            );
            let expected = [frame(&u7, r#"["bob",3,"lunch"]"#)];
            assert_eq!(
                told(cast, &mut client, &status_of(&u7, "bob", &json!({}))),
                expected
            );
            assert!(told(cast, &mut client, &status_of(&u9, "eve", &json!({}))).is_empty());
        }
    });
}

#[test]
fn a_status_with_source_and_expiry_has_a_longer_tuple() {
    Stage::newest(|cast| {
        for mut client in cast.sockets(Caller::Stranger) {
            let u7 = somebody();
            watch(&mut client, "w", &json!({"added": [u7]}));
            let more = json!({"statusSource": "manual", "statusExpiresAt": {"$date": 9}});
            let expected = [frame(&u7, r#"["bob",3,"lunch","manual",{"$date":9}]"#)];
            assert_eq!(
                told(cast, &mut client, &status_of(&u7, "bob", &more)),
                expected
            );
        }
    });
}

#[test]
fn further_subscriptions_change_the_watch_set_and_end_at_once() {
    Stage::newest(|cast| {
        for mut client in cast.sockets(Caller::Stranger) {
            let (u7, u8) = (somebody(), somebody());
            watch(&mut client, "w", &json!({"added": [u7]}));
            let further = watch(&mut client, "x", &json!({"added": [u8], "removed": [u7]}));
            assert_eq!(further, json!({"msg": "nosub", "id": "x"}));
            assert!(told(cast, &mut client, &status_of(&u7, "bob", &json!({}))).is_empty());
            assert_eq!(
                told(cast, &mut client, &status_of(&u8, "eve", &json!({}))).len(),
                1
            );
        }
    });
}

#[test]
fn the_end_of_the_first_subscription_clears_the_watch_set() {
    Stage::newest(|cast| {
        for mut client in cast.sockets(Caller::Stranger) {
            let (u7, u8) = (somebody(), somebody());
            watch(&mut client, "w", &json!({"added": [u7]}));
            client.unsubscribe("w");
            assert!(told(cast, &mut client, &status_of(&u7, "bob", &json!({}))).is_empty());
            // The next one is a first one again.
            assert_eq!(
                watch(&mut client, "y", &json!({"added": [u8]}))["msg"],
                "ready"
            );
            assert!(told(cast, &mut client, &status_of(&u7, "bob", &json!({}))).is_empty());
            assert_eq!(
                told(cast, &mut client, &status_of(&u8, "eve", &json!({}))).len(),
                1
            );
        }
    });
}

#[test]
fn a_status_without_a_name_or_a_status_is_told_to_nobody() {
    Stage::newest(|cast| {
        for mut client in cast.sockets(Caller::Stranger) {
            let u7 = somebody();
            assert_eq!(
                watch(&mut client, "w", &json!({"added": [u7]}))["msg"],
                "ready"
            );
            for more in [
                json!({"username": ""}),
                json!({"username": null}),
                json!({"status": null}),
            ] {
                assert!(
                    told(cast, &mut client, &status_of(&u7, "bob", &more)).is_empty(),
                    "{more}"
                );
            }
        }
    });
}

/// Hides a user from the stranger, or shows him again; announced to whoever keeps scopes.
fn hide(cast: &Cast, user: &str, hidden: bool) {
    let viewer = cast.user(Caller::Stranger).map(|user| &user.id);
    let from = if hidden { json!([viewer]) } else { json!([]) };
    cast.product.ask(&json!({
        "cmd": "write", "collection": "users", "filter": {"_id": user},
        "update": {"$set": {"hiddenFrom": from}}
    }));
    let scopes = json!([{"targets": [user], "viewers": [viewer]}]);
    cast.product
        .broadcast("presence.invalidateVisibility", &scopes);
}

#[test]
fn a_hidden_user_is_told_as_offline_once_and_then_not_at_all() {
    each(|cast| {
        for mut client in cast.sockets(Caller::Stranger) {
            let hidden = cast.product.user(&["user"]);
            let status = status_of(&hidden.id, &hidden.username, &json!({}));
            watch(&mut client, "w", &json!({"added": [hidden.id]}));
            word(cast, &mut client, &status);
            hide(cast, &hidden.id, true);
            let offline = client.wait_for("the correction", |message| {
                message["collection"] == STREAM && message["fields"]["args"][0][1] == 0
            });
            assert_eq!(offline["fields"]["args"][0][0], hidden.username.as_str());
            assert!(told(cast, &mut client, &status).is_empty());
            assert!(told(cast, &mut client, &status).is_empty());
        }
    });
}

#[test]
fn a_user_who_is_shown_again_is_told_at_once() {
    each(|cast| {
        for mut client in cast.sockets(Caller::Stranger) {
            let [hidden, visible] = [(); 2].map(|()| cast.product.user(&["user"]));
            hide(cast, &hidden.id, true);
            let status = status_of(&hidden.id, &hidden.username, &json!({}));
            let answer = watch(&mut client, "w", &json!({"added": [hidden.id, visible.id]}));
            assert_eq!(answer["msg"], "ready", "{answer}");
            let offline = word(cast, &mut client, &status);
            assert_eq!(offline["fields"]["args"][0][1], 0, "{offline}");
            assert!(told(cast, &mut client, &status).is_empty());
            // Nothing of that waits any more when somebody else's is told.
            let other = status_of(&visible.id, &visible.username, &json!({}));
            word(cast, &mut client, &other);
            let is_his = |message: &Value| {
                message["collection"] == STREAM && message["id"] == hidden.id.as_str()
            };
            let online = json!({"cmd": "write", "collection": "users", "filter": {"_id": hidden.id}, "update": {"$set": {"status": "away"}}});
            cast.product.ask(&online);
            hide(cast, &hidden.id, false);
            let shown = client.wait_for("his status", |message| {
                is_his(message) && message["fields"]["args"][0][1] != 0
            });
            assert_eq!(shown["fields"]["args"][0][1], 2, "as stored");
            // What is said within a moment is told behind it.
            cast.product.ask(&status);
            client.wait_for("his next status", |message| {
                is_his(message) && message["fields"]["args"][0][1] == 3
            });
        }
    });
}

#[test]
fn users_are_hidden_from_those_only_from_whom_they_hide() {
    each(|cast| {
        let hidden = cast.product.user(&["user"]);
        hide(cast, &hidden.id, true);
        let status = status_of(&hidden.id, &hidden.username, &json!({}));
        let mut clients = [Caller::Stranger, Caller::Member].map(|caller| {
            let [mut client, _] = cast.sockets(caller);
            watch(&mut client, "w", &json!({"added": [hidden.id]}));
            client
        });
        cast.product.ask(&status);
        let codes = clients.each_mut().map(|client| {
            let told = client.wait_for("his status", |message| message["collection"] == STREAM);
            told["fields"]["args"][0][1].clone()
        });
        assert_eq!(codes, [json!(0), json!(3)]);
    });
}

/// On the newest line, beside its own services and beside ours.
fn each(row: impl Fn(&Cast)) {
    for stage in [Stage::Newest, Stage::Own] {
        stage.play(&row);
    }
}
