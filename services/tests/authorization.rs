//! Permissions and room access (services.md 3, 11 and 13), asked over the bus.

mod common;

use std::time::{Duration, Instant};

use backplane::{CallOptions, Context, Incoming, Service};
use common::World;
use serde_json::{Value, json};
use store::{
    Collection, Update,
    bson::{Bson, doc},
};

/// bob is a user, ann an admin, gus a guest; `view-c-room` and the like belong to users, `view-logs` to admins.
async fn world() -> World {
    let world = World::start().await;
    fill(&world).await;
    world
}

async fn fill(world: &World) {
    let permission = |id: &str, roles: &[&str]| {
        let roles: Vec<_> = roles.iter().map(|role| Bson::from(*role)).collect();
        ("permission", doc! { "_id": id, "roles": roles })
    };
    let user = |id: &str, roles: &[&str]| {
        let roles: Vec<_> = roles.iter().map(|role| Bson::from(*role)).collect();
        ("user", doc! { "_id": id, "username": id, "roles": roles })
    };
    world
        .insert(vec![
            permission("view-c-room", &["user", "admin", "guest"]),
            permission("view-p-room", &["user", "admin", "guest"]),
            permission("view-d-room", &["user", "admin", "guest"]),
            permission("view-l-room", &["agent"]),
            permission("preview-c-room", &["admin"]),
            permission("view-logs", &["admin"]),
            permission("create-c", &["user", "admin", "guest"]),
            permission("kick", &["moderator"]),
            user("bob", &["user"]),
            user("ann", &["admin"]),
            user("gus", &["guest", "admin"]),
            user("eve", &[]),
            ("room", doc! { "_id": "open", "t": "c" }),
            ("room", doc! { "_id": "secret", "t": "p" }),
            ("room", doc! { "_id": "ours", "t": "p" }),
            (
                "subscription",
                doc! { "rid": "ours", "u": { "_id": "bob" }, "roles": ["moderator"] },
            ),
        ])
        .await;
}

#[tokio::test]
async fn what_makes_no_sense_is_an_error_and_never_yes() {
    let world = world().await;
    let actions = [
        "hasPermission",
        "hasAllPermission",
        "hasAtLeastOnePermission",
    ];
    let bad_permissions = [
        json!(null),
        json!(""),
        json!({ "$ne": 1 }),
        json!([null]),
        json!([""]),
        json!([1]),
        json!(["create-c", null]),
        json!(["create-c", { "$ne": 1 }]),
        json!(true),
        json!(0),
    ];
    for action in actions {
        for bad in &bad_permissions {
            let answer = world.may(action, json!(["bob", bad])).await;
            assert_eq!(answer, Err("invalid-param".into()), "{action} {bad}");
        }
        let nothing = world.may(action, json!(["bob"])).await;
        assert_eq!(nothing, Err("invalid-param".into()), "{action}");
        for user in [
            json!({ "$ne": 1 }),
            json!({ "_id": { "$ne": 1 } }),
            json!({ "_id": "bob", "roles": "admin" }),
            json!({ "_id": "bob", "roles": [1] }),
            json!(["bob"]),
            json!(7),
        ] {
            let wanted = if action == "hasPermission" {
                json!("create-c")
            } else {
                json!(["create-c"])
            };
            let answer = world.may(action, json!([user, wanted])).await;
            assert_eq!(answer, Err("invalid-param".into()), "{action} {user}");
            let scoped = world
                .may(action, json!(["bob", wanted, { "$ne": 1 }]))
                .await;
            assert_eq!(scoped, Err("invalid-param".into()), "{action}");
        }
    }
    let text = world
        .may("hasAllPermission", json!(["bob", "create-c"]))
        .await;
    assert_eq!(text, Err("invalid-param".into()));
    let no_array = world
        .bus
        .call("authorization.hasPermission", "{}", Default::default())
        .await;
    assert!(no_array.is_err());
    // And the service is still there.
    assert_eq!(
        world.may("hasPermission", json!(["bob", "create-c"])).await,
        Ok(true)
    );
}

#[tokio::test]
async fn permissions_are_what_the_roles_of_a_user_have() {
    let world = world().await;
    for (action, params, expected) in [
        ("hasPermission", json!(["bob", "create-c"]), true),
        ("hasPermission", json!(["bob", "view-logs"]), false),
        ("hasPermission", json!(["bob", "no-such"]), false),
        ("hasPermission", json!(["nobody", "create-c"]), false),
        ("hasPermission", json!([null, "create-c"]), false),
        ("hasPermission", json!(["", "create-c"]), false),
        ("hasAllPermission", json!(["bob", []]), true),
        ("hasAllPermission", json!([null, []]), false),
        ("hasAtLeastOnePermission", json!(["bob", []]), false),
        (
            "hasAllPermission",
            json!(["bob", ["create-c", "view-c-room"]]),
            true,
        ),
        (
            "hasAllPermission",
            json!(["bob", ["create-c", "view-logs"]]),
            false,
        ),
        (
            "hasAtLeastOnePermission",
            json!(["bob", ["view-logs", "create-c"]]),
            true,
        ),
        (
            "hasAtLeastOnePermission",
            json!(["bob", ["view-logs", "kick"]]),
            false,
        ),
        // A room's roles count there alone.
        ("hasPermission", json!(["bob", "kick"]), false),
        ("hasPermission", json!(["bob", "kick", "ours"]), true),
        ("hasPermission", json!(["bob", "kick", "secret"]), false),
        ("hasPermission", json!(["bob", "kick", ""]), false),
        // Roles that the caller gives win over the stored ones.
        (
            "hasPermission",
            json!([{ "_id": "bob", "roles": ["admin"] }, "view-logs"]),
            true,
        ),
        (
            "hasPermission",
            json!([{ "_id": "ann", "roles": [] }, "view-logs"]),
            false,
        ),
        (
            "hasPermission",
            json!([{ "_id": "ann", "roles": null }, "view-logs"]),
            true,
        ),
        (
            "hasPermission",
            json!([{ "_id": "ann" }, "view-logs"]),
            true,
        ),
        (
            "hasPermission",
            json!([{ "_id": "bob", "roles": [] }, "kick", "ours"]),
            true,
        ),
    ] {
        assert_eq!(
            world.may(action, params.clone()).await,
            Ok(expected),
            "{action} {params}"
        );
    }
}

#[tokio::test]
async fn nothing_that_somebody_has_lost_is_remembered() {
    let world = world().await;
    let may = async || {
        world
            .may("hasPermission", json!(["ann", "view-logs"]))
            .await
    };
    assert_eq!(may().await, Ok(true));
    let roles = Update::set(doc! { "roles": ["user"] });
    world.store.update_user("ann", roles).await.unwrap();
    assert_eq!(may().await, Ok(false), "no event was needed");

    let ours = async || world.may("canAccessRoomId", json!(["ours", "bob"])).await;
    let kick = async || {
        world
            .may("hasPermission", json!(["bob", "kick", "ours"]))
            .await
    };
    assert_eq!((ours().await, kick().await), (Ok(true), Ok(true)));
    let ban = Update::set(doc! { "status": "BANNED" });
    world
        .store
        .update_subscription("ours", "bob", ban)
        .await
        .unwrap();
    assert_eq!((ours().await, kick().await), (Ok(false), Ok(false)));
}

#[tokio::test]
async fn roles_of_an_odd_type_harm_nobody_else() {
    let world = world().await;
    for (id, roles) in [
        ("n", Bson::Null),
        ("t", "admin".into()),
        ("d", doc! { "0": "admin" }.into()),
    ] {
        world
            .insert(vec![(
                "user",
                doc! { "_id": id, "username": id, "roles": roles },
            )])
            .await;
        assert_eq!(
            world.may("hasPermission", json!([id, "view-logs"])).await,
            Ok(false),
            "{id}"
        );
    }
    world
        .insert(vec![
            ("permission", doc! { "_id": "odd", "roles": "admin" }),
            (
                "permission",
                doc! { "_id": "mixed", "roles": [7, "admin", Bson::Null] },
            ),
            (
                "role",
                doc! { "_id": "odd", "name": 7, "scope": 7, "description": 7 },
            ),
        ])
        .await;
    for (permission, expected) in [("odd", false), ("mixed", true), ("view-logs", true)] {
        let may = world.may("hasPermission", json!(["ann", permission])).await;
        assert_eq!(may, Ok(expected), "{permission}");
    }
    assert_eq!(
        world.may("hasAnyRole", json!(["ann", ["odd"]])).await,
        Ok(false)
    );
}

#[tokio::test]
async fn an_event_changes_a_permission_at_once() {
    let world = world().await;
    let may = async || world.may("hasPermission", json!(["bob", "create-c"])).await;
    assert_eq!(may().await, Ok(true));
    for (event, args, expected) in [
        (
            "permission.changed",
            json!([{ "clientAction": "updated", "data": { "_id": "create-c", "roles": ["admin"] } }]),
            false,
        ),
        // It is read again, and the database still says yes.
        (
            "watch.roles",
            json!([{ "clientAction": "changed", "role": { "_id": "user" } }]),
            true,
        ),
        (
            "permission.changed",
            json!([{ "clientAction": "removed", "data": { "_id": "create-c", "roles": ["user"] } }]),
            false,
        ),
        (
            "permission.changed",
            json!([{ "clientAction": "updated", "data": { "_id": "create-c" } }]),
            true,
        ),
    ] {
        world.announce(event, args.clone()).await;
        assert_eq!(may().await, Ok(expected), "{event} {args}");
    }
}

#[tokio::test]
async fn a_permission_whose_event_was_missed_is_read_again() {
    let world = world().await;
    let may = async || world.may("hasPermission", json!(["bob", "create-c"])).await;
    let grant = async |role: &str| {
        let roles = Update::set(doc! { "roles": [role] });
        let (permissions, id) = (Collection::Permissions, "create-c");
        let updated = world.store.update_document(permissions, id, roles);
        updated.await.unwrap();
    };
    assert_eq!(may().await, Ok(true));
    grant("admin").await;
    assert_eq!(may().await, Ok(true), "nobody has said so");
    // Behind a gap, which takes its place among what is heard.
    world.bus.history_lost(Instant::now());
    assert_eq!(may().await, Ok(false));
    grant("user").await;
    assert_eq!(may().await, Ok(false));
    world.after_a_minute().await;
    while may().await != Ok(true) {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_licence_that_becomes_valid_without_a_word_is_found_within_a_minute() {
    let world = world().await;
    let may = async || {
        world
            .may("hasPermission", json!(["gus", "view-logs"]))
            .await
    };
    let (valid, list) = ("license.hasValidLicense", "license.getGuestPermissions");
    let license = world.offer("license", &[valid, list]);
    license.answers(valid, Ok(json!(false)));
    license.answers(list, Ok(json!(["create-c"])));
    world.after_a_minute().await;
    while license.asked().is_empty() {
        tokio::task::yield_now().await;
    }
    assert_eq!(may().await, Ok(true), "there is no licence yet");
    license.answers(valid, Ok(json!(true)));
    world.after_a_minute().await;
    while may().await != Ok(false) {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn guests_keep_to_their_list_whatever_comes_first() {
    let world = world().await;
    let may = async |permission| world.may("hasPermission", json!(["gus", permission])).await;
    assert_eq!(may("view-logs").await, Ok(true), "there is no licence yet");
    // A restriction of another role must not keep the guests' from being asked for.
    let restrict = world
        .ask(
            "authorization.addRoleRestrictions",
            &json!(["bot", ["create-c"]]),
        )
        .await;
    assert_eq!(restrict, Ok(Value::Null));
    // An old line with one question, whose licence becomes valid later.
    let license = world.offer(
        "license",
        &["license.isEnterprise", "license.getGuestPermissions"],
    );
    license.answers("license.isEnterprise", Ok(json!(false)));
    license.answers("license.getGuestPermissions", Ok(json!(["create-c"])));
    let changed = json!([{ "module": "scalability", "valid": true }]);
    world.announce("license.module", changed.clone()).await;
    while license.asked().is_empty() {
        tokio::task::yield_now().await;
    }
    assert_eq!(may("view-logs").await, Ok(true));
    license.answers("license.isEnterprise", Ok(json!(true)));
    world.announce("license.module", changed).await;
    while may("view-logs").await == Ok(true) {
        tokio::task::yield_now().await;
    }
    assert_eq!(may("create-c").await, Ok(true));
    world
        .announce("authorization.guestPermissions", json!([["view-logs"]]))
        .await;
    assert_eq!(may("view-logs").await, Ok(true));
    assert_eq!(may("view-p-room").await, Ok(false));
    assert_eq!(
        world
            .may("hasPermission", json!(["ann", "view-p-room"]))
            .await,
        Ok(true)
    );
    for bad in [
        json!([]),
        json!(["bot"]),
        json!([null, ["a"]]),
        json!(["bot", "a"]),
        json!(["bot", [1]]),
    ] {
        let answer = world.ask("authorization.addRoleRestrictions", &bad).await;
        assert_eq!(answer, Err("invalid-param".into()), "{bad}");
    }
}

#[tokio::test]
async fn a_room_opens_to_whom_the_rules_say() {
    let world = world().await;
    world
        .insert(vec![
            (
                "setting",
                doc! { "_id": "Accounts_AllowAnonymousRead", "value": false },
            ),
            ("team", doc! { "_id": "open-team", "type": 0 }),
            ("team", doc! { "_id": "closed-team", "type": 1 }),
            ("member", doc! { "teamId": "closed-team", "userId": "ann" }),
            (
                "room",
                doc! { "_id": "of-open", "t": "c", "teamId": "open-team" },
            ),
            (
                "room",
                doc! { "_id": "of-closed", "t": "c", "teamId": "closed-team" },
            ),
            ("room", doc! { "_id": "of-odd", "t": "c", "teamId": 7 }),
            ("room", doc! { "_id": "of-none", "t": "c", "teamId": "" }),
            ("room", doc! { "_id": "in-open", "t": "p", "prid": "open" }),
            (
                "room",
                doc! { "_id": "in-secret", "t": "p", "prid": "secret" },
            ),
            ("room", doc! { "_id": "in-ours", "t": "p", "prid": "ours" }),
            (
                "room",
                doc! { "_id": "in-nothing", "t": "p", "prid": "gone" },
            ),
            (
                "room",
                doc! { "_id": "in-itself", "t": "p", "prid": "in-itself" },
            ),
            (
                "room",
                doc! { "_id": "in-odd", "t": "p", "prid": { "$ne": 1 } },
            ),
            ("room", doc! { "_id": "odd", "t": 7 }),
            ("room", doc! { "_id": "old", "t": "x" }),
            ("subscription", doc! { "rid": "old", "u": { "_id": "bob" } }),
        ])
        .await;
    let of = |room: &str, user: &str| json!([room, user]);
    for (params, expected) in [
        (of("open", "bob"), Ok(true)),
        (of("open", "eve"), Ok(false)),
        (json!(["open", null]), Ok(false)),
        (json!(["open"]), Ok(false)),
        (of("secret", "bob"), Ok(false)),
        (of("secret", "ann"), Ok(false)),
        (of("ours", "bob"), Ok(true)),
        (of("ours", "ann"), Ok(false)),
        (of("gone", "bob"), Ok(false)),
        (of("gone", "nobody"), Ok(false)),
        (of("open", "nobody"), Err("User not found".to_owned())),
        (json!([null, "bob"]), Ok(false)),
        (of("of-open", "bob"), Ok(true)),
        (of("of-closed", "bob"), Ok(false)),
        (of("of-closed", "ann"), Ok(true)),
        (of("of-odd", "bob"), Ok(false)),
        (of("of-odd", "ann"), Ok(false)),
        (of("of-none", "bob"), Ok(true)),
        (of("in-open", "bob"), Ok(true)),
        (of("in-secret", "bob"), Ok(false)),
        (of("in-ours", "bob"), Ok(true)),
        (of("in-ours", "ann"), Ok(false)),
        (of("in-nothing", "bob"), Ok(false)),
        (of("in-itself", "bob"), Ok(false)),
        (of("in-odd", "bob"), Ok(false)),
        (of("odd", "bob"), Ok(false)),
        // Membership alone is not enough: nobody may see rooms of this type.
        (of("old", "bob"), Ok(false)),
    ] {
        assert_eq!(
            world.may("canAccessRoomId", params.clone()).await,
            expected,
            "{params}"
        );
    }
    world
        .store
        .set_setting("Accounts_AllowAnonymousRead", true.into())
        .await
        .unwrap();
    assert_eq!(
        world.may("canAccessRoomId", json!(["open"])).await,
        Ok(true)
    );
    assert_eq!(
        world.may("canAccessRoomId", json!(["of-closed"])).await,
        Ok(false)
    );
    assert_eq!(
        world.may("canAccessRoomId", json!(["secret"])).await,
        Ok(false)
    );
    world
        .store
        .set_setting("Accounts_AllowAnonymousRead", "true".into())
        .await
        .unwrap();
    assert_eq!(
        world.may("canAccessRoomId", json!(["open"])).await,
        Ok(false)
    );
}

#[tokio::test]
async fn a_room_that_the_caller_describes_is_judged_by_that_or_as_it_is_stored() {
    let world = world().await;
    let bob = json!({ "_id": "bob" });
    for (params, expected) in [
        (json!([{ "_id": "open", "t": "c" }, bob]), Ok(true)),
        (json!([{ "t": "c" }, bob]), Ok(true)),
        (json!([{ "t": "c", "teamId": "x" }, bob]), Ok(false)),
        (json!([{ "_id": "open" }, bob]), Ok(true)),
        (json!([{ "_id": "ours" }, bob]), Ok(true)),
        (json!([{ "_id": "secret" }, bob]), Ok(false)),
        (json!([{ "_id": "ours", "t": "p" }, bob]), Ok(true)),
        (
            json!([{ "_id": "x", "t": "c", "teamId": 7 }, bob]),
            Ok(false),
        ),
        (
            json!([{ "_id": "x", "t": "p", "prid": "ours" }, bob]),
            Ok(true),
        ),
        (json!([{ "_id": "x", "t": "p", "prid": 7 }, bob]), Ok(false)),
        (json!([{}, bob]), Ok(false)),
        (json!([null, bob]), Ok(false)),
        (json!([]), Ok(false)),
        // A text is nobody, and so is an object without an id.
        (json!([{ "_id": "ours", "t": "p" }, "bob"]), Ok(false)),
        (json!([{ "_id": "ours", "t": "p" }, {}]), Ok(false)),
        (
            json!([{ "_id": "open", "t": "c" }, { "_id": "nobody" }]),
            Err("User not found"),
        ),
        (
            json!([{ "_id": "open", "t": "c" }, { "_id": "nobody", "username": "n" }]),
            Ok(false),
        ),
        (json!(["open", bob]), Err("invalid-param")),
        (json!([["open"], bob]), Err("invalid-param")),
        (
            json!([{ "_id": { "$ne": 1 }, "t": "c" }, bob]),
            Err("invalid-param"),
        ),
        (
            json!([{ "_id": "open", "t": { "$ne": 1 } }, bob]),
            Err("invalid-param"),
        ),
        (
            json!([{ "_id": "ours", "t": "p" }, { "_id": { "$ne": 1 } }]),
            Err("invalid-param"),
        ),
        (
            json!([{ "_id": "ours", "t": "p" }, 7]),
            Err("invalid-param"),
        ),
        (
            json!([null, null, { "rid": { "$ne": 1 } }]),
            Err("invalid-param"),
        ),
        (json!([null, null, "extra"]), Err("invalid-param")),
    ] {
        let expected = expected.map_err(str::to_owned);
        assert_eq!(
            world.may("canAccessRoom", params.clone()).await,
            expected,
            "{params}"
        );
        // Who may not look in either may not read.
        let read = world.may("canReadRoom", params.clone()).await;
        if expected != Ok(true) {
            assert_eq!(read, expected, "{params}");
        }
    }
}

#[tokio::test]
async fn an_invitation_counts_only_where_the_caller_says_so() {
    let world = world().await;
    for (user, status) in [("ann", "INVITED"), ("eve", "BANNED")] {
        let subscription = doc! { "rid": "secret", "u": { "_id": user }, "status": status, "roles": ["moderator"] };
        world.insert(vec![("subscription", subscription)]).await;
    }
    let with = |user: &str, yes| json!([{ "_id": "secret", "t": "p" }, { "_id": user }, { "includeInvitations": yes }]);
    for (params, expected) in [
        (with("ann", json!(true)), true),
        (with("ann", json!(false)), false),
        (with("ann", json!("yes")), false),
        (with("eve", json!(true)), false),
    ] {
        assert_eq!(
            world.may("canAccessRoom", params.clone()).await,
            Ok(expected),
            "{params}"
        );
    }
    assert_eq!(
        world.may("canAccessRoomId", json!(["secret", "ann"])).await,
        Ok(false)
    );
    assert_eq!(
        world
            .may("hasPermission", json!(["ann", "kick", "secret"]))
            .await,
        Ok(false)
    );
    assert_eq!(
        world
            .may("hasAnyRole", json!(["ann", ["moderator"], "secret"]))
            .await,
        Ok(false)
    );
}

#[tokio::test]
async fn reading_a_public_room_from_outside_is_a_right_of_its_own() {
    let world = world().await;
    world
        .insert(vec![(
            "setting",
            doc! { "_id": "Accounts_AllowAnonymousRead", "value": true },
        )])
        .await;
    let read = async |room: Value, user: Value| world.may("canReadRoom", json!([room, user])).await;
    let open = json!({ "_id": "open", "t": "c" });
    assert_eq!(read(open.clone(), json!({ "_id": "bob" })).await, Ok(false));
    assert_eq!(read(open.clone(), json!({ "_id": "ann" })).await, Ok(true));
    assert_eq!(
        read(json!({ "_id": "open" }), json!({ "_id": "bob" })).await,
        Ok(false),
        "as it is stored"
    );
    assert_eq!(
        read(open.clone(), Value::Null).await,
        Ok(true),
        "anonymous readers pass"
    );
    assert_eq!(
        read(json!({ "_id": "ours", "t": "p" }), json!({ "_id": "bob" })).await,
        Ok(true)
    );
    let pending = doc! { "rid": "open", "u": { "_id": "bob" }, "status": "INVITED" };
    world.insert(vec![("subscription", pending)]).await;
    assert_eq!(read(open.clone(), json!({ "_id": "bob" })).await, Ok(false));
    let accept = Update {
        unset: vec!["status".into()],
        ..Update::default()
    };
    world
        .store
        .update_subscription("open", "bob", accept)
        .await
        .unwrap();
    assert_eq!(read(open, json!({ "_id": "bob" })).await, Ok(true));
}

#[tokio::test]
async fn a_chain_of_discussions_ends_eight_rooms_up() {
    let world = world().await;
    for number in 1..=10 {
        let parent = if number == 1 {
            "ours".to_owned()
        } else {
            format!("d{}", number - 1)
        };
        let room = doc! { "_id": format!("d{number}"), "t": "p", "prid": parent };
        world.insert(vec![("room", room)]).await;
    }
    for (room, expected) in [("d1", true), ("d8", true), ("d9", false), ("d10", false)] {
        assert_eq!(
            world.may("canAccessRoomId", json!([room, "bob"])).await,
            Ok(expected),
            "{room}"
        );
    }
}

#[tokio::test]
async fn several_rooms_are_open_only_if_all_are() {
    let world = world().await;
    world
        .insert(vec![
            ("room", doc! { "_id": "also", "t": "p" }),
            (
                "subscription",
                doc! { "rid": "also", "u": { "_id": "bob" } },
            ),
            ("room", doc! { "_id": "inside", "t": "p", "prid": "also" }),
        ])
        .await;
    for (params, expected) in [
        (json!([["open", "ours", "also", "inside"], "bob"]), Ok(true)),
        (json!([["open", "ours", "open"], "bob"]), Ok(true)),
        (
            json!([["open", "ours"], { "_id": "bob", "roles": ["user"] }]),
            Ok(true),
        ),
        (json!([["open", "secret"], "bob"]), Ok(false)),
        (json!([["open", "gone"], "bob"]), Ok(false)),
        (json!([["open"], "eve"]), Ok(false)),
        (json!([[], "bob"]), Ok(false)),
        (json!([["open"], null]), Ok(false)),
        (json!([["open"]]), Ok(false)),
        (json!([["open"], "nobody"]), Err("User not found")),
        (json!([["open", null], "bob"]), Err("invalid-param")),
        (json!([["open", { "$ne": 1 }], "bob"]), Err("invalid-param")),
        (json!(["open", "bob"]), Err("invalid-param")),
        (json!([null, "bob"]), Err("invalid-param")),
    ] {
        let expected = expected.map_err(str::to_owned);
        assert_eq!(
            world.may("canAccessRoomIds", params.clone()).await,
            expected,
            "{params}"
        );
    }
}

#[tokio::test]
async fn a_conference_is_open_to_its_members_and_to_those_of_its_rooms() {
    let world = world().await;
    for (params, expected) in [
        (
            json!([{ "rid": "secret", "users": [{ "_id": "bob" }] }, "bob"]),
            Ok(true),
        ),
        (
            json!([{ "rid": "secret", "users": [{ "_id": "ann" }] }, "bob"]),
            Ok(false),
        ),
        (json!([{ "rid": "ours", "users": [] }, "bob"]), Ok(true)),
        (
            json!([{ "rid": "secret", "discussionRid": "ours" }, "bob"]),
            Ok(true),
        ),
        (
            json!([{ "rid": "secret", "discussionRid": null }, "bob"]),
            Ok(false),
        ),
        (json!([{ "rid": "open" }, null]), Ok(false)),
        (json!([{ "rid": "open" }]), Ok(false)),
        (json!([{}, "bob"]), Ok(false)),
        (json!([null, "bob"]), Err("invalid-param")),
        (
            json!([{ "rid": { "$ne": 1 } }, "bob"]),
            Err("invalid-param"),
        ),
        (
            json!([{ "rid": "open", "users": "bob" }, "bob"]),
            Err("invalid-param"),
        ),
        (
            json!([{ "rid": "open", "users": [null] }, "bob"]),
            Err("invalid-param"),
        ),
    ] {
        let expected = expected.map_err(str::to_owned);
        assert_eq!(
            world.may("canAccessConference", params.clone()).await,
            expected,
            "{params}"
        );
    }
}

#[tokio::test]
async fn a_role_is_held_where_its_scope_says() {
    let world = world().await;
    world
        .insert(vec![
            (
                "role",
                doc! { "_id": "user", "scope": "Users", "description": "" },
            ),
            (
                "role",
                doc! { "_id": "admin", "scope": "Users", "description": "Runs it" },
            ),
            (
                "role",
                doc! { "_id": "moderator", "scope": "Subscriptions", "description": "Of a room" },
            ),
            ("role", doc! { "_id": "guest", "description": "Visits" }),
        ])
        .await;
    for (params, expected) in [
        (json!(["bob", ["user"]]), Ok(true)),
        (json!(["bob", ["admin", "user"]]), Ok(true)),
        (json!(["bob", ["admin"]]), Ok(false)),
        (json!(["bob", ["no-such"]]), Ok(false)),
        (json!(["bob", ["moderator"]]), Ok(false)),
        (json!(["bob", ["moderator"], "ours"]), Ok(true)),
        (json!(["bob", ["moderator"], "secret"]), Ok(false)),
        (json!(["bob", ["user"], "secret"]), Ok(true)),
        (json!(["gus", ["guest"]]), Ok(true)),
        (json!(["bob", []]), Ok(false)),
        (json!([null, ["user"]]), Ok(false)),
        (json!(["nobody", ["user"]]), Ok(false)),
        (json!(["bob", [""]]), Err("invalid-param")),
        (json!(["bob", [null]]), Err("invalid-param")),
        (json!(["bob", "user"]), Err("invalid-param")),
        (json!(["bob", null]), Err("invalid-param")),
        (json!(["bob", ["user"], {}]), Err("invalid-param")),
    ] {
        let expected = expected.map_err(str::to_owned);
        assert_eq!(
            world.may("hasAnyRole", params.clone()).await,
            expected,
            "{params}"
        );
    }
    let odd = doc! { "_id": "odd", "roles": ["admin", "user"] };
    world.insert(vec![("user", odd)]).await;
    let users = world
        .ask("authorization.getUsersFromPublicRoles", &json!([]))
        .await
        .unwrap();
    assert_eq!(
        users,
        json!([
            { "_id": "odd", "roles": ["admin"] },
            { "_id": "ann", "username": "ann", "roles": ["admin"] },
            { "_id": "gus", "username": "gus", "roles": ["admin"] },
        ])
    );
}

#[tokio::test]
async fn only_stored_omnichannel_rooms_reach_their_judge() {
    let world = world().await;
    let visitor = doc! { "_id": "v1", "token": "t1" };
    world
        .insert(vec![
            (
                "room",
                doc! { "_id": "chat", "t": "l", "v": visitor, "contactId": "c1", "own": 7 },
            ),
            ("room", doc! { "_id": "phone", "t": "v" }),
            ("room", doc! { "_id": "in-chat", "t": "p", "prid": "chat" }),
        ])
        .await;
    let access = "authorization-livechat.canAccessRoom";
    let judge = world.offer("authorization-livechat", &[access]);
    judge.answers(access, Ok(json!(true)));
    let bob = json!({ "_id": "bob" });
    for params in [
        json!([null, bob, { "rid": "secret" }]),
        json!([null, null, { "rid": "open", "token": "t1" }]),
        json!([null, bob, { "rid": "gone" }]),
        json!([{ "_id": "secret", "t": "l" }, bob]),
        json!([{ "_id": "secret", "t": "v" }, bob]),
        json!([{ "_id": "gone", "t": "l" }, bob]),
        json!([{ "_id": "", "t": "l" }, bob, { "rid": "secret" }]),
        json!([{ "_id": "chat", "t": "p" }, bob]),
        json!([{}, bob, { "rid": "chat" }]),
        json!([{ "t": "l" }, bob]),
    ] {
        assert_eq!(
            world.may("canAccessRoom", params.clone()).await,
            Ok(false),
            "{params}"
        );
    }
    assert_eq!(judge.asked(), []);

    let token = json!({ "rid": "chat", "token": "t1" });
    for (params, user, extra) in [
        (
            json!([{ "_id": "chat", "t": "l" }, bob, { "token": "t1" }]),
            bob.clone(),
            json!({ "token": "t1" }),
        ),
        (json!([{ "_id": "chat" }, null]), Value::Null, Value::Null),
        (json!([null, null, token]), Value::Null, token.clone()),
        (
            json!([{ "_id": "", "t": "l" }, null, token]),
            Value::Null,
            token.clone(),
        ),
        // Nothing but the id is handed on, and a text is nobody.
        (
            json!([{ "_id": "chat", "t": "l" }, { "_id": "bob", "emails": [] }]),
            bob.clone(),
            Value::Null,
        ),
        (
            json!([{ "_id": "chat", "t": "l" }, "bob"]),
            Value::Null,
            Value::Null,
        ),
    ] {
        assert_eq!(
            world.may("canAccessRoom", params.clone()).await,
            Ok(true),
            "{params}"
        );
        let asked = judge.asked();
        let [(action, asked)] = asked.as_slice() else {
            panic!("{params}: {asked:?}")
        };
        assert_eq!(
            (action.as_str(), &asked[1], &asked[2]),
            (access, &user, &extra),
            "{params}"
        );
        // The room as it is stored, the workspace's own fields included.
        assert_eq!(
            (
                &asked[0]["contactId"],
                &asked[0]["own"],
                &asked[0]["v"]["token"]
            ),
            (&json!("c1"), &json!(7), &json!("t1"))
        );
    }
    assert_eq!(
        world.may("canAccessRoomId", json!(["chat", "bob"])).await,
        Ok(true)
    );
    assert_eq!(judge.asked()[0].1[1], bob);
    assert_eq!(
        world.may("canAccessRoomId", json!(["phone", "bob"])).await,
        Ok(true)
    );
    assert_eq!(judge.asked().len(), 1, "without a judge of telephones");

    // A discussion in a chat: its parent is judged by all rules, without what the caller brings along.
    let discussion =
        json!([{ "_id": "in-chat", "t": "p", "prid": "chat" }, bob, { "token": "t1" }]);
    assert_eq!(
        world.may("canAccessRoom", discussion.clone()).await,
        Ok(true)
    );
    let asked = judge.asked();
    assert_eq!(
        (asked.len(), &asked[0].1[0]["_id"], &asked[0].1[2]),
        (1, &json!("chat"), &Value::Null)
    );

    let chat = json!([{ "_id": "chat", "t": "l" }, bob]);
    for (answer, expected) in [
        (Ok(json!(1)), Ok(true)),
        (Ok(json!(0)), Ok(false)),
        (Ok(json!(null)), Ok(false)),
        (Ok(json!({})), Ok(true)),
        (Err("the judge is ill"), Err("the judge is ill".to_owned())),
    ] {
        judge.answers(access, answer.clone());
        assert_eq!(
            world.may("canAccessRoom", chat.clone()).await,
            expected,
            "{answer:?}"
        );
    }
    assert_eq!(
        world.may("canAccessRoom", discussion).await,
        Err("the judge is ill".to_owned())
    );

    let voip = "authorization-voip.canAccessRoom";
    let operator = world.offer("authorization-voip", &[voip]);
    operator.answers(voip, Ok(json!(true)));
    assert_eq!(
        world.may("canAccessRoomId", json!(["phone", "bob"])).await,
        Ok(true)
    );
    assert_eq!(operator.asked().len(), 1);
}

#[tokio::test]
async fn a_judge_is_asked_within_the_time_and_the_context_of_the_question() {
    let world = world().await;
    let chat = doc! { "_id": "chat", "t": "l" };
    world.insert(vec![("room", chat)]).await;
    let mut judge = world.bus.announce(Service {
        name: "authorization-livechat",
        actions: vec!["authorization-livechat.canAccessRoom"],
        events: vec![],
    });
    let gives_up = Instant::now() + Duration::from_secs(30);
    let context = Context {
        id: "parent".into(),
        request_id: "root".into(),
        level: 3,
        service: "meteor",
        deadline: Some(gives_up),
        meta: r#"{"user":"x"}"#.into(),
    };
    let options = CallOptions {
        context: Some(context.clone()),
        ..CallOptions::default()
    };
    let params = json!(["chat", "bob"]).to_string();
    let action = "authorization.canAccessRoomId";
    let judging = async {
        loop {
            if let Incoming::Request(request) = judge.recv().await {
                let context = request.context.clone();
                request.respond(Ok(Some("true".into())));
                return context;
            }
        }
    };
    let (answer, judged) = tokio::join!(world.bus.call(action, &params, options), judging);
    assert_eq!(answer.unwrap().unwrap(), "true");
    // The question itself is one level below its cause.
    assert_eq!((judged.level, judged.request_id.as_str()), (5, "root"));
    assert_eq!(judged.meta, context.meta);
    // What is left is passed on, not a time: it ends a little later there, far from a minute as of a question of its own.
    assert!(judged.deadline.unwrap() < gives_up + Duration::from_secs(20));
}

#[tokio::test]
async fn an_agent_in_the_chat_needs_no_judge_and_others_learn_that_there_is_none() {
    let world = world().await;
    world
        .insert(vec![
            ("room", doc! { "_id": "chat", "t": "l" }),
            (
                "user",
                doc! { "_id": "agent", "username": "agent", "roles": ["agent"] },
            ),
            (
                "subscription",
                doc! { "rid": "chat", "u": { "_id": "agent" } },
            ),
        ])
        .await;
    assert_eq!(
        world.may("canAccessRoomId", json!(["chat", "agent"])).await,
        Ok(true)
    );
    let error = world
        .may("canAccessRoomId", json!(["chat", "bob"]))
        .await
        .unwrap_err();
    assert!(
        error.contains("authorization-livechat.canAccessRoom"),
        "{error}"
    );
}
