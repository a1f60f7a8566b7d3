//! Whose rules apply, where that is forced, and at the very start.

use std::time::Duration;

use serde_json::json;
use services::presence::Mode;
use store::bson::{DateTime, Document, doc};

use crate::{
    nodes::Node,
    place::{self, It, add_user, config, on_mongo, own_nats},
};

fn covered() -> Document {
    let stash = doc! { "statusDefault": "away", "statusText": "lunch", "statusSource": "manual", "statusExpiresAt": null };
    doc! {
        "status": "offline", "statusConnection": "offline", "statusDefault": "busy", "statusText": "on a call",
        "statusSource": "internal", "statusId": "c1", "previousState": stash,
    }
}

#[tokio::test]
async fn nobody_chooses_by_older_rules_while_a_new_service_has_not_looked() {
    let place = on_mongo().await;
    let database = place.database.as_ref().unwrap();
    let statistics = database.collection::<Document>("rocketchat_statistics");
    let newest = doc! { "createdAt": DateTime::now(), "version": "8.6.0" };
    statistics.insert_one(newest).await.unwrap();
    for user in ["u", "v"] {
        add_user(&place.store, user, covered()).await;
    }
    let it = It::on(place, config(Mode::Auto), &[]).await;
    let (set, ended) = tokio::join!(
        it.call("setStatus", json!(["u", "busy", "mine"])),
        it.call("endActiveState", json!(["v", "c1"])),
    );
    assert_eq!((set, ended), (json!(true), json!(true)));
    let (u, v) = (it.user("u").await.status, it.user("v").await.status);
    // A manual claim waits behind the call.
    assert_eq!(u.claim.source.as_deref(), Some("internal"));
    assert_eq!(u.previous.unwrap().text.as_deref(), Some("mine"));
    assert_eq!(v.claim.source.as_deref(), Some("manual"));
    assert_eq!(v.claim.text.as_deref(), Some("lunch"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forced_rules_stay_beside_a_service_of_the_others_in_either_order_of_start() {
    let patience = Duration::from_secs(60);
    for order in [[Mode::Legacy, Mode::Engine], [Mode::Engine, Mode::Legacy]] {
        let nats = own_nats().await;
        let asker = Node::join_within(&nats, "asker", patience).await;
        let place = on_mongo().await;
        for user in ["kept", "ended", "fresh", "claimed"] {
            let fields = match user {
                "fresh" | "claimed" => doc! {},
                _ => covered(),
            };
            add_user(&place.store, user, fields).await;
        }
        let mut nodes = Vec::new();
        for (number, mode) in order.into_iter().enumerate() {
            let node = Node::join_within(&nats, &format!("{mode:?}-{number}"), patience).await;
            node.serve_by(&place.store, mode).await;
            nodes.push((mode, node));
            asker.knows(number + 1).await;
        }
        for (_, node) in &nodes {
            node.knows(2).await;
        }
        let by = |wanted: Mode| &nodes.iter().find(|(mode, _)| *mode == wanted).unwrap().1;
        let (old, new) = (by(Mode::Legacy), by(Mode::Engine));
        let claim = |user: &str| json!([user, { "statusDefault": "away", "statusSource": "external", "statusId": "e" }]);
        let of = |user: &'static str| {
            let store = &place.store;
            async move { place::user(store, user).await.status }
        };
        // The older rules, beside a claim that the newer ones have made, and behind one.
        for (action, params, answer) in [
            ("setActiveState", claim("claimed"), "false"),
            ("endActiveState", json!(["kept", "c1"]), "false"),
            ("clearActiveState", json!(["kept"]), "false"),
            ("setStatus", json!(["fresh", "busy", "mine"]), "true"),
            ("setStatus", json!(["ended", "away"]), "true"),
        ] {
            let said = old.answers(&asker.bus, action, &params).await;
            assert_eq!(said, answer, "{action} {params}");
        }
        let before = of("kept").await;
        let session = json!(["kept", "s", "asker"]);
        old.answers(&asker.bus, "newConnection", &session).await;
        let away = json!(["kept", "away", "s"]);
        old.answers(&asker.bus, "setConnectionStatus", &away).await;
        let during = of("kept").await;
        assert_eq!(during.shown.as_deref(), Some("busy"));
        assert_eq!(
            (&during.claim, &during.previous),
            (&before.claim, &before.previous)
        );
        old.answers(&asker.bus, "removeConnection", &session).await;
        assert_eq!(of("kept").await, before);
        let fresh = of("fresh").await.claim;
        assert_eq!(
            (fresh.default.as_deref(), fresh.source),
            (Some("busy"), None)
        );
        let ended = of("ended").await;
        assert_eq!(ended.claim.default.as_deref(), Some("away"));
        assert_eq!(
            (ended.claim.source, ended.claim.id, ended.previous),
            (None, None, None)
        );
        // The newer ones, on what the older have left, and still.
        for (action, params) in [
            ("setActiveState", claim("claimed")),
            ("endActiveState", json!(["kept", "c1"])),
            ("setStatus", json!(["fresh", "away", "again"])),
        ] {
            let said = new.answers(&asker.bus, action, &params).await;
            assert_eq!(said, "true", "{action} {params}");
        }
        assert_eq!(
            of("claimed").await.claim.source.as_deref(),
            Some("external")
        );
        assert_eq!(of("kept").await.claim.text.as_deref(), Some("lunch"));
        assert_eq!(of("fresh").await.claim.source.as_deref(), Some("manual"));
        let said = old
            .answers(&asker.bus, "setActiveState", &claim("fresh"))
            .await;
        assert_eq!(said, "false");
    }
}
