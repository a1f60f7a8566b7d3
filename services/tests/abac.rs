//! Rooms that attributes decide about (services.md 3.8, 3.13), asked over the bus.

mod common;

use common::{StandIn, World};
use serde_json::{Value, json};
use services::{accounts, authorization};
use store::{
    Collection, Update,
    bson::{Bson, doc},
};

/// bob and ann are in a room that asks for two values of `level`, which bob has; eve has them and is not in the room.
async fn fill(world: &World) {
    let attributes = |values: &[&str]| {
        let values: Vec<_> = values.iter().map(|value| Bson::from(*value)).collect();
        vec![doc! { "key": "level", "values": values }]
    };
    let user = |id: &str, values: &[&str]| {
        (
            "user",
            doc! { "_id": id, "username": id, "roles": ["user"], "abacAttributes": attributes(values) },
        )
    };
    world
        .insert(vec![
            (
                "permission",
                doc! { "_id": "view-p-room", "roles": ["user"] },
            ),
            user("bob", &["a", "b", "c"]),
            user("ann", &["a"]),
            user("eve", &["a", "b"]),
            ("room", doc! { "_id": "plain", "t": "p" }),
            (
                "room",
                doc! { "_id": "strict", "t": "p", "abacAttributes": attributes(&["a", "b"]) },
            ),
            (
                "subscription",
                doc! { "rid": "plain", "u": { "_id": "ann" } },
            ),
            (
                "subscription",
                doc! { "rid": "strict", "u": { "_id": "bob" } },
            ),
            (
                "subscription",
                doc! { "rid": "strict", "u": { "_id": "ann" } },
            ),
        ])
        .await;
}

async fn world() -> (World, StandIn, StandIn) {
    let world = World::start().await;
    fill(&world).await;
    let license = world.offer("license", &["license.hasModule"]);
    license.answers("license.hasModule", Ok(json!(true)));
    let rooms = world.offer("room", &["room.removeUserFromRoom"]);
    world
        .insert(vec![(
            "setting",
            doc! { "_id": "ABAC_Enabled", "value": true },
        )])
        .await;
    (world, license, rooms)
}

async fn opens(world: &World, room: &str, user: &str) -> Result<bool, String> {
    world.may("canAccessRoomId", json!([room, user])).await
}

#[tokio::test]
async fn attributes_decide_where_setting_and_licence_say_so() {
    let world = World::start().await;
    fill(&world).await;
    assert_eq!(
        opens(&world, "strict", "ann").await,
        Ok(true),
        "not switched on"
    );
    world
        .insert(vec![(
            "setting",
            doc! { "_id": "ABAC_Enabled", "value": true },
        )])
        .await;
    assert!(
        opens(&world, "strict", "ann").await.is_err(),
        "the licence is not known"
    );
    let license = world.offer("license", &["license.hasModule"]);
    license.answers("license.hasModule", Ok(json!(false)));
    assert_eq!(
        opens(&world, "strict", "ann").await,
        Ok(true),
        "not licensed"
    );
    assert_eq!(
        license.asked(),
        [("license.hasModule".to_owned(), json!(["abac"]))]
    );
    license.answers("license.hasModule", Ok(json!(true)));
    assert_eq!(opens(&world, "strict", "ann").await, Ok(false));
    assert_eq!(opens(&world, "strict", "bob").await, Ok(true));
    assert_eq!(opens(&world, "plain", "ann").await, Ok(true));
    license.asked();
    assert_eq!(opens(&world, "plain", "ann").await, Ok(true));
    assert_eq!(
        license.asked(),
        [],
        "it is asked about rooms with attributes only"
    );
}

#[tokio::test]
async fn whoever_lacks_an_attribute_is_removed_by_the_monolith() {
    let (world, _license, rooms) = world().await;
    assert_eq!(opens(&world, "strict", "bob").await, Ok(true));
    assert_eq!(
        opens(&world, "strict", "eve").await,
        Ok(false),
        "not a member, nothing to remove"
    );
    assert_eq!(rooms.asked(), []);
    assert_eq!(opens(&world, "strict", "ann").await, Ok(false));
    let removal = json!(["strict", { "_id": "ann", "username": "ann" }]);
    assert_eq!(
        rooms.asked(),
        [("room.removeUserFromRoom".to_owned(), removal)]
    );
    let audited = world
        .store
        .documents(Collection::ServerEvents)
        .await
        .unwrap();
    assert_eq!(audited.len(), 1, "{audited:?}");
    assert_eq!(audited[0].get("t"), Some(&"abac.action.performed".into()));
    assert!(audited[0].get_datetime("ts").is_ok());
    let actor = doc! { "type": "system" };
    assert_eq!(audited[0].get("actor"), Some(&actor.into()));
    let data = [
        doc! { "key": "action", "value": "revoked-object-access" },
        doc! { "key": "reason", "value": "realtime-policy-eval" },
        doc! { "key": "subject", "value": { "_id": "ann", "username": "ann" } },
        doc! { "key": "object", "value": { "_id": "strict" } },
    ];
    let data = Bson::Array(data.map(Bson::from).into());
    assert_eq!(audited[0].get("data"), Some(&data));

    // A room whose attributes nobody understands is closed, and nobody is removed for that.
    let odd = Update::set(doc! { "abacAttributes": [{ "key": "level", "values": ["a"] }, 7] });
    world.store.update_room("strict", odd).await.unwrap();
    assert_eq!(opens(&world, "strict", "bob").await, Ok(false));
    assert_eq!(rooms.asked(), []);
    // A permission is needed beside the attributes.
    let attributes = Update::set(doc! { "abacAttributes": [{ "key": "level", "values": ["a"] }] });
    world.store.update_room("strict", attributes).await.unwrap();
    world
        .store
        .update_user("bob", Update::set(doc! { "roles": [] }))
        .await
        .unwrap();
    assert_eq!(opens(&world, "strict", "bob").await, Ok(false));
}

#[tokio::test]
async fn a_decision_holds_for_as_long_as_the_workspace_says() {
    let (world, _license, rooms) = world().await;
    let hold = doc! { "_id": "Abac_Cache_Decision_Time_Seconds", "value": 3_600 };
    assert_eq!(opens(&world, "strict", "bob").await, Ok(true));
    let lose = Update::set(doc! { "abacAttributes": [] });
    world.store.update_user("bob", lose).await.unwrap();
    world.insert(vec![("setting", hold)]).await;
    assert_eq!(
        opens(&world, "strict", "bob").await,
        Ok(true),
        "decided a moment ago"
    );
    world
        .store
        .set_attributes_checked("strict", "bob", 1_000)
        .await
        .unwrap();
    assert_eq!(opens(&world, "strict", "bob").await, Ok(false));
    assert_eq!(rooms.asked().len(), 1);
    world
        .store
        .set_attributes_checked("strict", "bob", i64::from(i32::MAX) * 4_000)
        .await
        .unwrap();
    assert_eq!(
        opens(&world, "strict", "bob").await,
        Ok(false),
        "a decision of the future is none"
    );
}

#[tokio::test]
async fn the_service_answers_what_access_needs_and_points_the_way_for_the_rest() {
    let (world, _license, _rooms) = world().await;
    let ask = async |params: Value| world.ask("abac.canAccessObject", &params).await;
    let (room, bob) = (json!({ "_id": "strict" }), json!({ "_id": "bob" }));
    for (params, expected) in [
        (json!([room, bob, "read", "room"]), Ok(json!(true))),
        (
            json!([room, { "_id": "eve" }, "read", "room"]),
            Ok(json!(false)),
        ),
        (json!([room, null, "read", "room"]), Ok(json!(false))),
        (json!([null, bob, "read", "room"]), Ok(json!(false))),
        (
            json!([{ "_id": "plain" }, { "_id": "ann" }, "read", "room"]),
            Ok(json!(false)),
        ),
        (
            json!([room, bob, "read", "message"]),
            Err("error-abac-unsupported-object-type"),
        ),
        (
            json!([room, bob, "write", "room"]),
            Err("error-abac-unsupported-operation"),
        ),
        (
            json!([room, bob]),
            Err("error-abac-unsupported-object-type"),
        ),
        (
            json!([{ "_id": { "$ne": 1 } }, bob, "read", "room"]),
            Err("invalid-param"),
        ),
        (json!([room, "bob", "read", "room"]), Err("invalid-param")),
    ] {
        let expected = expected.map_err(str::to_owned);
        assert_eq!(ask(params.clone()).await, expected, "{params}");
    }
    let error = world
        .ask("abac.setRoomAbacAttributes", &json!([]))
        .await
        .unwrap_err();
    assert!(error.contains("USE_EXTERNAL_ABAC_SERVICE"), "{error}");
}

#[tokio::test]
async fn where_the_service_is_elsewhere_it_is_asked_and_not_offered_twice() {
    let rules = authorization::Config { hosts_abac: false };
    let world = World::start_with(accounts::Config::default(), rules).await;
    fill(&world).await;
    let license = world.offer("license", &["license.hasModule"]);
    license.answers("license.hasModule", Ok(json!(true)));
    world
        .insert(vec![(
            "setting",
            doc! { "_id": "ABAC_Enabled", "value": true },
        )])
        .await;
    assert!(!world.bus.has_service("abac"));
    assert!(
        opens(&world, "strict", "bob").await.is_err(),
        "nobody judges, so nobody knows"
    );
    let abac = world.offer("abac", &["abac.canAccessObject"]);
    for verdict in [true, false] {
        abac.answers("abac.canAccessObject", Ok(json!(verdict)));
        assert_eq!(opens(&world, "strict", "bob").await, Ok(verdict));
    }
    let (_, asked) = abac.asked().pop().unwrap();
    let tail = [json!({ "_id": "bob" }), json!("read"), json!("room")];
    assert_eq!(asked[0]["_id"], "strict");
    assert_eq!(asked.as_array().unwrap()[1..], tail);
    assert!(
        asked[0]["abacAttributes"].is_array(),
        "the room as it is stored"
    );
}
