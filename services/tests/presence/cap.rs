//! The limit of connections without a licence.

use std::time::Instant;

use serde_json::{Value, json};
use services::presence::Mode;
use store::{Instance, bson::doc};

use crate::place::{It, call, config, offer};

async fn setting(it: &It) -> Option<bool> {
    let value = it.store.setting("Presence_broadcast_disabled").await;
    value.unwrap().and_then(|value| value.as_bool())
}

async fn becomes(it: &It, disabled: bool) {
    while setting(it).await != Some(disabled) {
        tokio::task::yield_now().await;
    }
}

fn counted(it: &It, id: &str, sockets: u32) {
    let event: Value = json!([{ "clientAction": "updated", "id": id, "diff": { "extraInformation.conns": sockets } }]);
    it.bus.broadcast("watch.instanceStatus", &event.to_string());
}

async fn prepared(it: &It) {
    let off = doc! { "_id": "Presence_broadcast_disabled", "value": false };
    it.store.insert_setting(off).await.unwrap();
}

#[tokio::test]
async fn above_the_limit_nobody_is_told_until_a_licence_comes() {
    for mut it in It::both(config(Mode::Legacy), &["u", "v"]).await {
        prepared(&it).await;
        counted(&it, "i1", 150);
        counted(&it, "i2", 50);
        while it.call("getConnectionCount", json!([])).await["current"] != 200 {
            tokio::task::yield_now().await;
        }
        it.call("toggleBroadcast", json!([true])).await;
        counted(&it, "i2", 51);
        becomes(&it, true).await;
        let refused = it.refused("toggleBroadcast", json!([true])).await;
        assert_eq!(
            refused,
            "Cannot enable broadcast when there are more than 200 connections"
        );
        it.call("newConnection", json!(["u", "s", "n1"])).await;
        assert_eq!(
            it.shown("u").await.as_deref(),
            Some("online"),
            "it is true all the same"
        );
        let licence = json!([{ "module": "scalability", "valid": true }]);
        it.bus.broadcast("license.module", &licence.to_string());
        becomes(&it, false).await;
        it.call("newConnection", json!(["v", "s", "n1"])).await;
        assert_eq!(it.told().await["user"]["_id"], "v", "nobody was told of u");
        assert_eq!(it.call("getPeakConnections", json!([])).await, json!(201));
        let reset = it.call("resetPeakConnections", json!([])).await;
        assert_eq!(reset, "nothing");
        assert_eq!(it.call("getPeakConnections", json!([])).await, json!(0));
    }
}

#[tokio::test]
async fn a_start_counts_the_sockets_of_the_instances_and_forgets_an_old_verdict() {
    let store = store::Store::embedded(None).unwrap();
    let old = doc! { "_id": "Presence_broadcast_disabled", "value": true };
    store.insert_setting(old).await.unwrap();
    let instance = Instance {
        id: "i1".into(),
        name: "ddp-streamer".into(),
        pid: 1,
        extra: doc! {},
    };
    store.register_instance(&instance).await.unwrap();
    store.instance_connections("i1", 7).await.unwrap();
    let it = It::start(store, config(Mode::Legacy), &[]).await;
    becomes(&it, false).await;
    let count = it.call("getConnectionCount", json!([])).await;
    assert_eq!(count, json!({ "current": 7, "max": 200 }));
}

#[tokio::test]
async fn a_workspace_can_switch_telling_off_and_on() {
    let mut it = It::start(
        store::Store::embedded(None).unwrap(),
        config(Mode::Legacy),
        &["u", "v"],
    )
    .await;
    prepared(&it).await;
    it.call("toggleBroadcast", json!([false])).await;
    it.call("newConnection", json!(["u", "s", "n1"])).await;
    it.call("toggleBroadcast", json!([true])).await;
    it.call("newConnection", json!(["v", "s", "n1"])).await;
    assert_eq!(it.told().await["user"]["_id"], "v");
}

#[tokio::test]
async fn every_instance_follows_what_the_settings_say() {
    let store = store::Store::embedded(None).unwrap();
    let mut it = It::start(store, config(Mode::Legacy), &["u"]).await;
    prepared(&it).await;
    // Another instance was asked to switch it on again, and has written so.
    it.call("toggleBroadcast", json!([false])).await;
    let muted = "Troubleshoot_Disable_Presence_Broadcast";
    let off = doc! { "_id": muted, "value": false };
    it.store.insert_setting(off).await.unwrap();
    for setting in ["Presence_broadcast_disabled", muted] {
        let event =
            json!([{ "clientAction": "updated", "setting": { "_id": setting, "value": false } }]);
        it.bus.broadcast("watch.settings", &event.to_string());
    }
    let told = it.bus.clone();
    let flaps = async {
        loop {
            for (action, params) in [
                ("newConnection", json!(["u", "s", "n1"])),
                ("removeConnection", json!(["u", "s", "n1"])),
            ] {
                call(&told, action, params).await.unwrap();
            }
        }
    };
    tokio::select! {
        event = it.told() => assert_eq!(event["user"]["_id"], "u"),
        () = flaps => {}
    }
}

#[tokio::test]
async fn where_the_workspace_writes_its_settings_itself_it_is_asked_to() {
    let it = It::start(
        store::Store::embedded(None).unwrap(),
        config(Mode::Engine),
        &[],
    )
    .await;
    prepared(&it).await;
    let mut asked = offer(&it.bus, "settings", "settings.set", "null");
    counted(&it, "i1", 201);
    assert_eq!(
        asked.recv().await,
        Some(json!(["Presence_broadcast_disabled", true]))
    );
    assert_eq!(setting(&it).await, Some(false), "nobody else wrote it");
}

#[tokio::test]
async fn a_licence_that_came_while_nothing_was_heard_is_asked_for_again() {
    let store = store::Store::embedded(None).unwrap();
    let it = It::start(store, config(Mode::Legacy), &[]).await;
    prepared(&it).await;
    let mut asked = offer(&it.bus, "license", "license.hasModule", "false");
    counted(&it, "i1", 201);
    becomes(&it, true).await;
    it.bus.history_lost(Instant::now());
    for module in ["scalability", "unlimited-presence"] {
        while asked.recv().await != Some(json!([module])) {}
    }
    it.bus.withdraw("license");
    let _asked = offer(&it.bus, "license", "license.hasModule", "true");
    it.bus.history_lost(Instant::now());
    becomes(&it, false).await;
}
