//! Whatever stands in the parameters of any action of any service: an error or the right answer, never a yes, never a
//! crash, never an operator that reaches the database.

mod common;

use std::collections::BTreeSet;

use common::World;
use harness::Dice;
use serde_json::{Value, json};
use services::{accounts, authorization, sandbox};
use store::{
    MongoConfig, Store,
    bson::{Bson, doc},
};

const ACTIONS: [&str; 46] = [
    "accounts.login",
    "accounts.logout",
    "authorization.hasPermission",
    "authorization.hasAllPermission",
    "authorization.hasAtLeastOnePermission",
    "authorization.canAccessRoom",
    "authorization.canReadRoom",
    "authorization.canAccessRoomId",
    "authorization.canAccessRoomIds",
    "authorization.canAccessConference",
    "authorization.addRoleRestrictions",
    "authorization.getUsersFromPublicRoles",
    "authorization.hasAnyRole",
    "abac.canAccessObject",
    "abac.addAbacAttribute",
    "abac.listAbacAttributes",
    "abac.listAbacRooms",
    "abac.updateAbacAttributeById",
    "abac.deleteAbacAttributeById",
    "abac.getAbacAttributeById",
    "abac.isAbacAttributeInUseByKey",
    "abac.setRoomAbacAttributes",
    "abac.removeRoomAbacAttribute",
    "abac.addRoomAbacAttributeByKey",
    "abac.replaceRoomAbacAttributeByKey",
    "abac.checkUsernamesMatchAttributes",
    "abac.addSubjectAttributes",
    "abac.evaluateRoomMembership",
    "abac.getPDPHealth",
    "presence.newConnection",
    "presence.removeConnection",
    "presence.updateConnection",
    "presence.removeLostConnections",
    "presence.setStatus",
    "presence.setConnectionStatus",
    "presence.updateUserPresence",
    "presence.setActiveState",
    "presence.endActiveState",
    "presence.clearActiveState",
    "presence.toggleBroadcast",
    "presence.getConnectionCount",
    "presence.getPeakConnections",
    "presence.resetPeakConnections",
    "meteor.callMethodWithToken",
    "meteor.getAutoUpdateClientVersions",
    "meteor.getLoginServiceConfiguration",
];

/// bob may do everything and is everywhere; eve exists and may nothing.
async fn fill(world: &World) {
    let user = |id: &str, roles: &[&str]| {
        let roles: Vec<_> = roles.iter().map(|role| Bson::from(*role)).collect();
        let services = doc! {
            "resume": { "loginTokens": [{ "hashedToken": format!("hash-of-{id}") }] },
            "password": { "bcrypt": "$2b$04$N9qo8uLOickgx2ZMRZoMye9ziAGq7vck5tvJgDvwdigaC3VYxmYaC" },
        };
        (
            "user",
            doc! { "_id": id, "username": id, "roles": roles, "services": services, "status": "online", "statusDefault": "online" },
        )
    };
    world
        .insert(vec![
            user("bob", &["admin"]),
            user("eve", &[]),
            ("role", doc! { "_id": "admin", "scope": "Users" }),
            (
                "permission",
                doc! { "_id": "view-c-room", "roles": ["admin"] },
            ),
            (
                "permission",
                doc! { "_id": "view-p-room", "roles": ["admin"] },
            ),
            ("room", doc! { "_id": "r", "t": "p" }),
            ("room", doc! { "_id": "c", "t": "c" }),
            (
                "subscription",
                doc! { "rid": "r", "u": { "_id": "bob" }, "roles": ["admin"] },
            ),
        ])
        .await;
}

/// Nothing in here is a good reason for a yes, alone or together.
fn values() -> Vec<Value> {
    let deep = (0..100).fold(json!(1), |inner, _| json!([inner]));
    vec![
        json!(null),
        json!(true),
        json!(0),
        json!(-1.5e308),
        json!(9_007_199_254_740_993_i64),
        json!(""),
        json!("eve"),
        json!("$where"),
        json!("\u{0}"),
        json!("a.b.$[]"),
        json!("r"),
        json!("view-p-room"),
        json!("x".repeat(100_000)),
        json!([null]),
        json!([[]]),
        json!(["eve", { "$ne": 1 }]),
        json!(["view-p-room"]),
        json!({}),
        json!({ "$ne": null }),
        json!({ "$gt": "" }),
        json!({ "$in": ["bob"] }),
        json!({ "$where": "1" }),
        json!({ "$regex": ".*" }),
        json!({ "$date": 1 }),
        json!({ "_id": { "$ne": 1 } }),
        json!({ "_id": ["bob"] }),
        json!({ "_id": "eve" }),
        json!({ "_id": "eve", "roles": { "$ne": 1 } }),
        json!({ "_id": "r", "t": { "$ne": 1 } }),
        json!({ "_id": "r", "t": "p", "teamId": { "$ne": 1 } }),
        json!({ "_id": "r", "prid": { "$ne": 1 }, "abacAttributes": { "$ne": 1 } }),
        json!({ "rid": { "$ne": 1 }, "users": [{ "_id": { "$ne": 1 } }] }),
        json!({ "rid": "r", "includeInvitations": true, "token": { "$ne": 1 } }),
        json!({ "statusDefault": "busy", "statusSource": "internal", "statusId": { "$ne": 1 } }),
        json!({ "statusDefault": { "$ne": 1 }, "statusSource": { "$ne": 1 } }),
        json!({ "resume": { "$ne": 1 } }),
        json!({ "resume": ["hash-of-bob"] }),
        json!({ "user": { "username": { "$ne": 1 } }, "password": { "$ne": 1 } }),
        json!({ "user": { "username": "bob" }, "password": { "digest": { "$ne": 1 }, "algorithm": "sha-256" } }),
        json!({ "userId": "bob", "token": { "$ne": 1 } }),
        json!({ "userId": { "$ne": 1 }, "token": "hash-of-bob" }),
        deep,
    ]
}

#[tokio::test]
async fn no_parameters_are_a_reason_for_a_yes() {
    attack(1, Store::embedded(None).unwrap(), 9_000).await;
}

#[tokio::test]
async fn no_operator_reaches_mongodb() {
    let server = tokio::task::spawn_blocking(harness::MongoServer::start)
        .await
        .unwrap();
    let url = server.url(&format!("hostile_{}", std::process::id()));
    let config = MongoConfig {
        url,
        ..MongoConfig::default()
    };
    attack(2, Store::mongo(config).await.unwrap(), 2_500).await;
}

async fn attack(seed: u64, store: Store, rounds: usize) {
    let logins = accounts::Config {
        password_login: true,
        ..accounts::Config::default()
    };
    let world = World::start_on(store, logins, authorization::Config::default()).await;
    fill(&world).await;
    tokio::spawn(sandbox::run(
        world.bus.clone(),
        world.store.clone(),
        Default::default(),
    ));
    let before = bob(&world).await;
    let (mut dice, values) = (Dice::new(seed), values());
    for _ in 0..rounds {
        let action = *dice.pick(&ACTIONS);
        let count = dice.roll(5);
        let params: Vec<Value> = (0..count).map(|_| dice.pick(&values).clone()).collect();
        let params = json!(params);
        let answer = world.ask(action, &params).await;
        let shown: String = params.to_string().chars().take(500).collect();
        match &answer {
            Err(error) => assert!(
                !error.contains("without an answer"),
                "{action} {shown} crashed"
            ),
            // Presence says whether something of eve's, which exists, has changed.
            Ok(Value::Bool(true)) => assert!(action.starts_with("presence."), "{action} {shown}"),
            Ok(granted) => assert!(
                granted["uid"].is_null() || action.starts_with("presence."),
                "{action} {shown}"
            ),
        }
    }
    assert_eq!(bob(&world).await, before, "bob was never named");
    // All of them are still at work.
    assert_eq!(
        world.may("canAccessRoomId", json!(["r", "bob"])).await,
        Ok(true)
    );
    assert_eq!(
        world
            .ask(
                "accounts.logout",
                &json!([{ "userId": "bob", "token": "hash-of-bob" }])
            )
            .await,
        Ok(json!(null))
    );
    assert_eq!(
        world
            .ask("presence.setStatus", &json!(["bob", "busy"]))
            .await,
        Ok(json!(true))
    );
    assert_eq!(
        world
            .ask("meteor.getLoginServiceConfiguration", &json!([]))
            .await,
        Ok(json!([]))
    );
}

/// Everything about bob that an action could change.
async fn bob(world: &World) -> impl PartialEq + std::fmt::Debug {
    let store = &world.store;
    (
        store.user("bob").await.unwrap(),
        store.login_tokens("bob").await.unwrap(),
        store.connections("bob").await.unwrap(),
        store.members("r").await.unwrap(),
        store.room_documents_of("bob").await.unwrap(),
    )
}

/// All services, the sandbox's among them.
async fn world() -> World {
    let world = World::start().await;
    tokio::spawn(sandbox::run(
        world.bus.clone(),
        world.store.clone(),
        Default::default(),
    ));
    while !world.bus.has_service("meteor") {
        tokio::task::yield_now().await;
    }
    world
}

/// The original offers every method of its classes, private ones too.
#[tokio::test]
async fn the_documented_actions_are_offered_and_no_others() {
    let world = world().await;
    let offered = world.bus.offered().actions;
    let offered: BTreeSet<&str> = offered.keys().map(String::as_str).collect();
    assert_eq!(offered, BTreeSet::from(ACTIONS));
    for inner in [
        "authorization.getRoles",
        "authorization.rolesHasPermission",
        "authorization.all",
        "presence.setEnabled",
        "accounts.loginViaResume",
    ] {
        assert!(world.ask(inner, &json!(["bob"])).await.is_err(), "{inner}");
    }
}

#[tokio::test]
async fn what_is_no_array_or_no_json_is_an_error_everywhere() {
    let world = world().await;
    for action in ACTIONS {
        for params in [json!({}), json!("text"), json!(null), json!(true)] {
            assert!(
                world.ask(action, &params).await.is_err(),
                "{action} {params}"
            );
        }
    }
}
