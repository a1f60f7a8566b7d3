//! What each action asks of MongoDB: a proxy between the services and the server writes down every command. How each
//! look-up is answered (which index) is tested beside the look-ups, in the store.

mod gathered;
mod hub;
mod place;

use backplane::CallOptions;
use place::{HASHED, Place};
use serde_json::json;
use services::presence;
use store::bson::doc;

#[tokio::test]
async fn logins_and_questions_cost_what_the_budget_allows() {
    let place = Place::start().await;
    place.fill().await;
    place.serve().await;
    let may = json!(["bob", "view-p-room"]);
    let (users, room, subscription) = (
        "find users",
        "find rocketchat_room",
        "find rocketchat_subscription",
    );
    let (roles, bob) = ("find rocketchat_roles", json!({ "_id": "bob" }));
    for (action, params, expected) in [
        ("accounts.login", json!([{ "resume": "abc" }]), &[users][..]),
        (
            "accounts.login",
            json!([{ "resume": "nobody's" }]),
            &[users],
        ),
        ("authorization.hasPermission", may, &[users]),
        (
            "authorization.hasPermission",
            json!([null, "view-p-room"]),
            &[],
        ),
        (
            "authorization.hasPermission",
            json!([{ "_id": "bob", "roles": ["user"] }, "view-p-room"]),
            &[],
        ),
        (
            "authorization.hasPermission",
            json!(["bob", "view-p-room", "p1"]),
            &[subscription, users],
        ),
        (
            "authorization.hasAllPermission",
            json!(["bob", ["view-p-room", "view-c-room"]]),
            &[users],
        ),
        (
            "authorization.hasAtLeastOnePermission",
            json!(["bob", ["x", "view-c-room"]]),
            &[users],
        ),
        (
            "authorization.canAccessRoomId",
            json!(["p1", "bob"]),
            &[room, subscription, users],
        ),
        (
            "authorization.canAccessRoomId",
            json!(["no-room", "bob"]),
            &[room, subscription, users],
        ),
        // The discussion, then its parent.
        (
            "authorization.canAccessRoomId",
            json!(["d1", "bob"]),
            &[room, room, subscription, subscription, users],
        ),
        (
            "authorization.canAccessRoomIds",
            json!([["p1", "p2", "c1"], "bob"]),
            &[room, subscription, users],
        ),
        (
            "authorization.canAccessRoom",
            json!([{ "_id": "p1", "t": "p" }, bob]),
            &[subscription, users],
        ),
        (
            "authorization.canAccessRoom",
            json!([{ "_id": "c1", "t": "c" }, bob]),
            &[users],
        ),
        (
            "authorization.canReadRoom",
            json!([{ "_id": "c1", "t": "c" }, bob]),
            &[users],
        ),
        (
            "authorization.canAccessConference",
            json!([{ "rid": "p1", "users": [bob] }, "bob"]),
            &[],
        ),
        (
            "authorization.canAccessConference",
            json!([{ "rid": "p1", "users": [] }, "bob"]),
            &[room, subscription, users],
        ),
        (
            "authorization.hasAnyRole",
            json!(["bob", ["owner", "user"], "p1"]),
            &[roles, subscription, users],
        ),
        (
            "authorization.getUsersFromPublicRoles",
            json!([]),
            &[roles, users],
        ),
        (
            "accounts.logout",
            json!([{ "userId": "bob", "token": HASHED }]),
            &[users, "update users"],
        ),
    ] {
        place.costs(action, params, expected).await;
    }
    place.stop.cancel();
}

#[tokio::test]
async fn a_connection_costs_two_reads_and_what_has_changed() {
    let place = Place::start().await;
    place.fill().await;
    let (bus, store, stop) = (place.bus.clone(), place.store.clone(), place.stop.clone());
    tokio::spawn(presence::run(bus, store, presence::Config::default(), stop));
    while !place.bus.has_service("presence") {
        tokio::task::yield_now().await;
    }
    // What presence does by itself when it starts is over when nothing more comes; it begins again after a minute.
    let mut quiet = 0;
    while quiet < 50 {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        quiet = if place.log.take().is_empty() {
            quiet + 1
        } else {
            0
        };
    }
    let (reads, entry, status) = (
        ["find users", "find usersSessions"],
        "update usersSessions",
        "update users",
    );
    for (action, params, writes) in [
        (
            "presence.newConnection",
            json!(["bob", "s1", "node"]),
            &[status, entry][..],
        ),
        (
            "presence.newConnection",
            json!(["bob", "s2", "node"]),
            &[entry],
        ),
        ("presence.updateConnection", json!(["bob", "s1"]), &[entry]),
        (
            "presence.setConnectionStatus",
            json!(["bob", "away", "s1"]),
            &[entry],
        ),
        ("presence.setStatus", json!(["bob", "busy"]), &[status]),
        (
            "presence.removeConnection",
            json!(["bob", "s1", "node"]),
            &[entry],
        ),
        (
            "presence.removeConnection",
            json!(["bob", "s2", "node"]),
            &[status, entry],
        ),
        ("presence.getConnectionCount", json!([]), &[]),
    ] {
        let mut expected: Vec<&str> = writes.to_vec();
        if action != "presence.getConnectionCount" {
            expected.extend(reads);
        }
        expected.sort_unstable();
        place.costs(action, params, &expected).await;
    }
    // Three hundred at once: a few rounds, not four commands each.
    let name = |number: u32| format!("user{number}");
    for number in 0..300 {
        let user = doc! { "_id": name(number), "username": name(number) };
        place.store.insert_user(user).await.unwrap();
    }
    place.log.take();
    let mut asked = tokio::task::JoinSet::new();
    for number in 0..300 {
        let (bus, params) = (place.bus.clone(), json!([name(number), "s", "node"]));
        asked.spawn(async move {
            let (action, options) = ("presence.newConnection", CallOptions::default());
            bus.call(action, &params.to_string(), options)
                .await
                .unwrap();
        });
    }
    while asked.join_next().await.is_some() {}
    let commands = place.log.take().len();
    assert!(commands < 40, "{commands} commands for 300 connections");
    place.stop.cancel();
}
