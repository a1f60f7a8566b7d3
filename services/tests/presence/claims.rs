//! Claims from 8.6 on, and the rules before, on real documents.

use serde_json::{Value, json};
use services::presence::Mode;
use store::bson::{DateTime, doc};

use crate::place::{It, add_user, call, config, offer};

fn internal(id: &str) -> Value {
    json!({ "statusDefault": "busy", "statusSource": "internal", "statusText": "on a call", "statusId": id })
}

#[tokio::test]
async fn a_call_covers_a_manual_status_and_gives_it_back() {
    for mut it in It::both(config(Mode::Engine), &["u"]).await {
        it.call("newConnection", json!(["u", "s", "n1"])).await;
        assert_eq!(it.told().await["user"]["status"], "online");
        let set = it.call("setStatus", json!(["u", "away", " lunch "])).await;
        assert_eq!(set, json!(true));
        assert_eq!(it.told().await["user"]["statusText"], "lunch");
        let set = it
            .call("setActiveState", json!(["u", internal("c1")]))
            .await;
        assert_eq!(set, json!(true));
        let told = it.told().await;
        assert_eq!(
            told,
            json!({
                "user": {
                    "_id": "u", "username": "u", "name": "Name of u", "status": "busy",
                    "statusText": "on a call", "statusSource": "internal", "roles": ["user"],
                },
                "previousStatus": "away",
            })
        );
        for wrong in ["c2", "c3"] {
            let ended = it.call("endActiveState", json!(["u", wrong])).await;
            assert_eq!(ended, json!(false));
        }
        assert_eq!(
            it.call("endActiveState", json!(["u", "c1"])).await,
            json!(true)
        );
        let status = it.user("u").await.status;
        assert_eq!(status.shown.as_deref(), Some("away"));
        assert_eq!(status.claim.source.as_deref(), Some("manual"));
        assert_eq!(status.claim.text.as_deref(), Some("lunch"));
        assert_eq!((status.claim.id, status.previous), (None, None));
        assert_eq!(it.told().await["user"]["statusSource"], "manual");
        assert_eq!(it.call("clearActiveState", json!(["u"])).await, json!(true));
        assert_eq!(it.told().await["user"]["status"], "online");
        assert_eq!(
            it.call("setActiveState", json!(["nobody", internal("c")]))
                .await,
            json!(false)
        );
    }
}

#[tokio::test]
async fn a_claim_ends_when_its_time_is_up() {
    for mut it in It::both(config(Mode::Engine), &["u"]).await {
        it.call("newConnection", json!(["u", "s", "n1"])).await;
        it.told().await;
        let soon = DateTime::now().timestamp_millis() + 300;
        let params = json!(["u", "busy", "brb", { "$date": soon }]);
        assert_eq!(it.call("setStatus", params).await, json!(true));
        let told = it.told().await["user"].clone();
        assert_eq!(told["statusExpiresAt"], json!({ "$date": soon }));
        let told = it.told().await["user"].clone();
        assert_eq!(
            (&told["status"], &told["statusText"]),
            (&json!("online"), &json!(""))
        );
        assert!(DateTime::now().timestamp_millis() > soon);
        assert_eq!(it.user("u").await.status.claim.expires, None);
    }
}

#[tokio::test]
async fn a_claim_that_expired_while_nobody_ran_ends_at_the_start() {
    let store = store::Store::embedded(None).unwrap();
    let past = DateTime::from_millis(1_000);
    let claimed = doc! { "statusDefault": "busy", "statusSource": "external", "statusExpiresAt": past, "status": "offline" };
    add_user(&store, "u", claimed).await;
    let it = It::start(store, config(Mode::Engine), &[]).await;
    while it.user("u").await.status.claim.source.is_some() {
        tokio::task::yield_now().await;
    }
    assert_eq!(
        it.user("u").await.status.claim.default.as_deref(),
        Some("online")
    );
}

#[tokio::test]
async fn the_rules_before_8_6_end_a_claim_and_leave_none_behind() {
    for it in It::both(config(Mode::Legacy), &[]).await {
        let stash = doc! { "statusDefault": "away", "statusText": "", "statusSource": "manual" };
        let claimed = doc! {
            "status": "busy", "statusConnection": "online", "statusDefault": "busy", "statusSource": "internal",
            "statusId": "c1", "previousState": stash,
        };
        add_user(&it.store, "u", claimed).await;
        it.call("newConnection", json!(["u", "s", "n1"])).await;
        let status = it.user("u").await.status;
        assert_eq!(
            status.claim.id.as_deref(),
            Some("c1"),
            "a connection touches no claim"
        );
        assert!(status.previous.is_some());
        for refused in ["setActiveState", "endActiveState", "clearActiveState"] {
            assert_eq!(
                it.call(refused, json!(["u", internal("c2")])).await,
                json!(false)
            );
        }
        assert_eq!(
            it.call("setStatus", json!(["u", "online"])).await,
            json!(true)
        );
        let status = it.user("u").await.status;
        assert_eq!(status.shown.as_deref(), Some("online"));
        assert_eq!(status.claim.default.as_deref(), Some("online"));
        assert_eq!((status.claim.source, status.claim.id), (None, None));
        assert_eq!(status.previous, None);
    }
}

#[tokio::test]
async fn a_choice_without_a_status_shows_online_and_stores_none() {
    for mut it in It::both(config(Mode::Legacy), &["u"]).await {
        it.call("newConnection", json!(["u", "s", "n1"])).await;
        it.told().await;
        for nothing in [json!(null), json!(""), json!(false), json!(0)] {
            // What is told of the text is what is stored: trimmed, cut, and gone where it is empty.
            for (choice, shown, text) in [
                (
                    json!(["u", "busy", format!(" {}", "x".repeat(200))]),
                    "busy",
                    "x".repeat(120),
                ),
                (json!(["u", nothing, " here "]), "online", "here".to_owned()),
                (json!(["u", nothing, ""]), "online", String::new()),
            ] {
                assert_eq!(it.call("setStatus", choice).await, json!(true));
                let told = it.told().await["user"].take();
                assert_eq!(
                    (&told["status"], &told["statusText"]),
                    (&json!(shown), &json!(text))
                );
                let status = it.user("u").await.status;
                assert_eq!(status.claim.default.as_deref(), Some("busy"));
                assert_eq!(status.claim.text, Some(text));
            }
        }
        // Without a word on it the text stays.
        it.call("setStatus", json!(["u", "away", "out"])).await;
        it.call("setStatus", json!(["u", "busy"])).await;
        assert_eq!(it.user("u").await.status.claim.text.as_deref(), Some("out"));
    }
}

#[tokio::test]
async fn the_first_claim_switches_to_the_rules_of_8_6() {
    let it = It::start(
        store::Store::embedded(None).unwrap(),
        config(Mode::Auto),
        &["u", "v"],
    )
    .await;
    it.call("setStatus", json!(["u", "busy"])).await;
    assert_eq!(it.user("u").await.status.claim.source, None);
    assert_eq!(
        it.call("setActiveState", json!(["v", internal("c")])).await,
        json!(true)
    );
    it.call("setStatus", json!(["u", "away"])).await;
    assert_eq!(
        it.user("u").await.status.claim.source.as_deref(),
        Some("manual")
    );
}

#[tokio::test]
async fn what_expired_before_the_rules_of_8_6_were_known_ends_with_the_first_claim() {
    let store = store::Store::embedded(None).unwrap();
    let past = DateTime::from_millis(1_000);
    let claimed = doc! { "statusDefault": "busy", "statusSource": "external", "statusExpiresAt": past, "status": "offline" };
    add_user(&store, "u", claimed).await;
    let it = It::start(store, config(Mode::Auto), &["v"]).await;
    it.call("setActiveState", json!(["v", internal("c")])).await;
    while it.user("u").await.status.claim.source.is_some() {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn the_server_s_version_switches_too() {
    let it = It::on_mongo(config(Mode::Auto), &["u"]).await;
    let database = it.database.as_ref().unwrap();
    let statistics = database.collection::<store::bson::Document>("rocketchat_statistics");
    let newest = doc! { "createdAt": DateTime::now(), "version": "8.6.1" };
    statistics.insert_one(newest).await.unwrap();
    // Whether it looked before or after: it looks again.
    while it.user("u").await.status.claim.source.is_none() {
        it.call("setStatus", json!(["u", "busy"])).await;
    }
}

#[tokio::test]
async fn only_known_statuses_are_taken_and_hiding_only_where_it_is_allowed() {
    for mode in [Mode::Legacy, Mode::Engine] {
        let it = It::start(store::Store::embedded(None).unwrap(), config(mode), &["u1"]).await;
        let set = |status: &'static str| it.call("setStatus", json!(["u1", status]));
        assert_eq!(set("offline").await, json!(true));
        assert_eq!(set("busy").await, json!(true));
        assert_eq!(
            it.refused("setStatus", json!(["u1", "gone"])).await,
            "error-invalid-status"
        );
        let setting = doc! { "_id": "Accounts_AllowInvisibleStatusOption", "value": false };
        it.store.insert_setting(setting).await.unwrap();
        let refused = it.refused("setStatus", json!(["u1", "offline"])).await;
        assert_eq!(refused, "error-status-not-allowed");
        assert_eq!(set("away").await, json!(true));
    }
}

#[tokio::test]
async fn who_has_no_presence_chooses_no_status() {
    for (answer, may) in [("true", false), ("false", true)] {
        let it = It::start(
            store::Store::embedded(None).unwrap(),
            config(Mode::Engine),
            &["u"],
        )
        .await;
        let mut asked = offer(
            &it.bus,
            "status-visibility",
            "status-visibility.isPresenceDisabledFor",
            answer,
        );
        let set = async || call(&it.bus, "setStatus", json!(["u", "busy"])).await;
        assert_eq!(set().await, Ok(json!(true)), "not without a licence for it");
        assert!(asked.try_recv().is_err());
        let licence = json!([{ "module": "unlimited-presence", "valid": true }]);
        it.bus.broadcast("license.module", &licence.to_string());
        // The licence takes its own way.
        while asked.try_recv().is_err() {
            let _ = set().await;
        }
        let expected = match may {
            true => Ok(json!(true)),
            false => Err("error-presence-disabled".to_owned()),
        };
        assert_eq!(set().await, expected);
        assert_eq!(asked.recv().await, Some(json!(["u"])));
        // Claims of the workspace itself are not asked about.
        let claim = it.call("setActiveState", json!(["u", internal("c1")]));
        assert_eq!(claim.await, json!(true));
        assert!(asked.try_recv().is_err());
    }
}
