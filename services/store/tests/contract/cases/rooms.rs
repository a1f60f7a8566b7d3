use store::bson::{Bson, DateTime, Document, doc};
use store::{Attributes, ErrorKind, Room, Store, Subscription, Update};

use super::{parsed, sorted};

fn subscription(room: &str, user: &str) -> Document {
    doc! {
        "_id": format!("{room}-{user}"), "rid": room, "u": { "_id": user, "username": user }, "t": "p",
        "open": true, "alert": false, "unread": 0, "roles": ["moderator"],
    }
}

/// Rooms r1 and r2; a is in both, b in r1.
async fn two_rooms(store: &Store) {
    for room in ["r1", "r2"] {
        store
            .insert_room(doc! { "_id": room, "t": "p", "name": room, "secret": "x" })
            .await
            .unwrap();
    }
    for (room, user) in [("r1", "a"), ("r1", "b"), ("r2", "a")] {
        store
            .insert_subscription(subscription(room, user))
            .await
            .unwrap();
    }
}

pub(crate) async fn a_room_tells_what_access_rules_need(store: &Store) {
    let plain = doc! { "_id": "r9Gen", "t": "p", "name": "ops", "abacAttributes": [] };
    let full = doc! {
        "_id": "full", "t": "l", "teamId": "tm1", "prid": "parent", "v": { "_id": "v1", "token": "secret" },
        "abacAttributes": [{ "key": "k", "values": ["v"] }],
    };
    store.insert_room(plain).await.unwrap();
    store.insert_room(full).await.unwrap();
    let plain = Room {
        id: "r9Gen".into(),
        kind: "p".into(),
        name: Some("ops".into()),
        ..Room::default()
    };
    assert_eq!(store.room("r9Gen").await.unwrap(), Some(plain.clone()));
    assert_eq!(store.room_by_name("ops").await.unwrap(), Some(plain));
    let full = Room {
        id: "full".into(),
        kind: "l".into(),
        team: Some("tm1".into()),
        parent: Some("parent".into()),
        visitor_token: Some("secret".into()),
        name: None,
        has_abac: true,
    };
    assert_eq!(store.room("full").await.unwrap(), Some(full));
    assert_eq!(store.room("ops").await.unwrap(), None);
    assert_eq!(store.room_by_name("Ops").await.unwrap(), None);
}

pub(crate) async fn a_room_document_holds_only_what_clients_may_see(store: &Store) {
    let seen = doc! {
        "_id": "r9Gen", "t": "p", "name": "ops", "msgs": 120, "u": { "_id": "u1", "username": "root" },
        "lm": DateTime::from_millis(5), "customFields": { "$date": "not a date" },
        "_updatedAt": DateTime::from_millis(1_768_036_200_000),
    };
    let mut stored = seen.clone();
    stored.extend(doc! { "joinCode": "secret", "abacAttributes": [1] });
    store.insert_room(stored).await.unwrap();
    let text = store.room_document("r9Gen").await.unwrap().unwrap();
    assert_eq!(parsed(&text), seen);
    assert!(text.contains(r#""lm":{"$date":5}"#), "{text}");
    assert!(
        text.contains(r#""customFields":{"$escape":{"$date":"not a date"}}"#),
        "{text}"
    );
    assert_eq!(store.room_document("other").await.unwrap(), None);
}

pub(crate) async fn a_member_is_listed_on_both_sides(store: &Store) {
    two_rooms(store).await;
    assert_eq!(sorted(store.members("r1").await.unwrap()), ["a", "b"]);
    assert_eq!(
        sorted(store.some_members("r1", 2).await.unwrap()),
        ["a", "b"]
    );
    assert_eq!(store.some_members("r1", 1).await.unwrap().len(), 1);
    assert_eq!(
        sorted(store.rooms_of_user("a").await.unwrap()),
        ["r1", "r2"]
    );
    assert_eq!(store.rooms_of_user("b").await.unwrap(), ["r1"]);
    assert_eq!(store.members("r").await.unwrap(), Vec::<String>::new());
    let found = Subscription {
        id: "r1-b".into(),
        room: "r1".into(),
        user: "b".into(),
        roles: vec!["moderator".into()],
    };
    assert_eq!(store.subscription("r1", "b").await.unwrap(), Some(found));
    assert_eq!(store.subscription("r2", "b").await.unwrap(), None);

    let rooms = store.room_documents_of("a").await.unwrap();
    let ids = rooms
        .iter()
        .map(|room| parsed(room).get_str("_id").unwrap().to_owned())
        .collect();
    assert_eq!(sorted(ids), ["r1", "r2"]);
    assert!(rooms.iter().all(|room| !room.contains("secret")));
    assert_eq!(store.subscription_documents_of("a").await.unwrap().len(), 2);
    assert_eq!(
        store.room_documents_of("nobody").await.unwrap(),
        Vec::<String>::new()
    );
}

pub(crate) async fn whoever_has_a_status_is_no_member(store: &Store) {
    store
        .insert_room(doc! { "_id": "r", "t": "p" })
        .await
        .unwrap();
    for (user, field, is_invited) in [
        ("a", doc! { "invited": true }, true),
        ("b", doc! { "status": "INVITED" }, true),
        ("c", doc! { "status": "BANNED" }, false),
        ("d", doc! { "status": "what comes next" }, false),
        ("e", doc! { "status": 7 }, false),
        ("f", doc! { "status": Bson::Null }, false),
        ("g", doc! { "status": "BANNED", "invited": true }, false),
    ] {
        let mut pending = subscription("r", user);
        pending.extend(field);
        store.insert_subscription(pending).await.unwrap();
        assert_eq!(store.subscription("r", user).await.unwrap(), None, "{user}");
        assert_eq!(
            store.is_invited("r", user).await.unwrap(),
            is_invited,
            "{user}"
        );
        let nothing = Vec::<String>::new();
        assert_eq!(store.rooms_of_user(user).await.unwrap(), nothing, "{user}");
        assert_eq!(
            store
                .rooms_of_user_among(user, &["r".into()])
                .await
                .unwrap(),
            nothing,
            "{user}"
        );
        assert_eq!(
            store.room_documents_of(user).await.unwrap(),
            nothing,
            "{user}"
        );
        assert_eq!(
            store.attributes_checked("r", user).await.unwrap(),
            None,
            "{user}"
        );
        // Its user sees the subscription itself.
        assert!(
            store
                .subscription_document("r", user)
                .await
                .unwrap()
                .is_some(),
            "{user}"
        );
    }
    assert_eq!(store.members("r").await.unwrap(), Vec::<String>::new());
    for (user, field) in [("a", "invited"), ("b", "status")] {
        let accept = Update {
            unset: vec![field.into()],
            ..Update::default()
        };
        assert!(store.update_subscription("r", user, accept).await.unwrap());
        assert!(!store.is_invited("r", user).await.unwrap(), "{user}");
    }
    assert_eq!(sorted(store.members("r").await.unwrap()), ["a", "b"]);
    let ban = Update::set(doc! { "status": "BANNED" });
    assert!(store.update_subscription("r", "a", ban).await.unwrap());
    assert_eq!(store.members("r").await.unwrap(), ["b"]);
    assert!(!store.is_invited("r", "nobody").await.unwrap());
}

pub(crate) async fn rooms_are_found_in_one_go(store: &Store) {
    two_rooms(store).await;
    let ids = ["r2", "none", "r1"].map(str::to_owned);
    let rooms = store.rooms_by_ids(&ids).await.unwrap();
    assert_eq!(
        sorted(rooms.into_iter().map(|room| room.id).collect()),
        ["r1", "r2"]
    );
    let among = async |user| sorted(store.rooms_of_user_among(user, &ids).await.unwrap());
    assert_eq!(among("a").await, ["r1", "r2"]);
    assert_eq!(among("b").await, ["r1"]);
    assert_eq!(among("nobody").await, Vec::<String>::new());
    let none = store.rooms_of_user_among("a", &[]).await.unwrap();
    assert_eq!(none, Vec::<String>::new());
    assert_eq!(store.rooms_by_ids(&[]).await.unwrap(), []);
}

pub(crate) async fn a_stored_room_comes_whole_with_its_type(store: &Store) {
    let room = doc! { "_id": "r", "t": "l", "contactId": "c1", "own": { "field": 1 }, "v": { "token": "s" } };
    store.insert_room(room.clone()).await.unwrap();
    let (kind, text) = store.stored_room("r").await.unwrap().unwrap();
    let mut whole = parsed(&text);
    whole.remove("_updatedAt");
    assert_eq!((kind.as_str(), whole), ("l", room));
    let odd = doc! { "_id": "odd", "t": 7 };
    store.insert_room(odd).await.unwrap();
    assert_eq!(store.stored_room("odd").await.unwrap().unwrap().0, "");
    assert_eq!(store.stored_room("none").await.unwrap(), None);
}

pub(crate) async fn a_team_that_is_no_text_is_a_team_of_nobody(store: &Store) {
    for (id, team, expected) in [
        ("none", None, None),
        ("null", Some(Bson::Null), None),
        ("empty", Some("".into()), None),
        ("text", Some("tm1".into()), Some("tm1")),
        ("number", Some(5.into()), Some("(no text)")),
        ("false", Some(false.into()), Some("(no text)")),
        ("object", Some(doc! { "$ne": 1 }.into()), Some("(no text)")),
    ] {
        let mut room = doc! { "_id": id, "t": "c" };
        room.extend(team.map(|team| ("teamId".to_owned(), team)));
        store.insert_room(room).await.unwrap();
        let found = store.room(id).await.unwrap().unwrap();
        assert_eq!(found.team.as_deref(), expected, "{id}");
    }
}

pub(crate) async fn attributes_are_read_as_far_as_they_can_be(store: &Store) {
    let list = |key: &str, values: &[&str]| Attributes {
        list: vec![(
            key.into(),
            values.iter().map(|value| (*value).to_owned()).collect(),
        )],
        is_odd: false,
    };
    let odd = Attributes {
        is_odd: true,
        ..Attributes::default()
    };
    for (id, stored, decides, expected) in [
        ("none", None, false, Attributes::default()),
        ("null", Some(Bson::Null), false, Attributes::default()),
        (
            "empty",
            Some(Bson::Array(vec![])),
            false,
            Attributes::default(),
        ),
        (
            "one",
            Some(Bson::Array(vec![
                doc! { "key": "k", "values": ["a", "b"] }.into(),
            ])),
            true,
            list("k", &["a", "b"]),
        ),
        ("text", Some("secret".into()), true, odd.clone()),
        (
            "mixed",
            Some(Bson::Array(vec![
                doc! { "key": "k", "values": ["a"] }.into(),
                doc! { "key": "l", "values": [1] }.into(),
            ])),
            true,
            Attributes {
                is_odd: true,
                ..list("k", &["a"])
            },
        ),
    ] {
        let mut document = doc! { "_id": id, "t": "p", "username": id };
        document.extend(stored.map(|of| ("abacAttributes".to_owned(), of)));
        store.insert_room(document.clone()).await.unwrap();
        store.insert_user(document).await.unwrap();
        let room = store.room(id).await.unwrap().unwrap();
        assert_eq!(room.has_abac, decides, "{id}");
        let of_room = store.room_attributes(id).await.unwrap();
        assert_eq!(of_room.as_ref(), Some(&expected), "{id}");
        assert_eq!(
            store.user_attributes(id).await.unwrap(),
            Some(expected),
            "{id}"
        );
    }
    assert_eq!(store.room_attributes("nothing").await.unwrap(), None);
    assert_eq!(store.user_attributes("nobody").await.unwrap(), None);

    let asks = list("k", &["a", "b"]);
    assert!(list("k", &["b", "x", "a"]).cover(&asks));
    assert!(!list("k", &["a"]).cover(&asks));
    assert!(!list("l", &["a", "b"]).cover(&asks));
    assert!(list("k", &[]).cover(&Attributes::default()));
    assert!(!list("k", &["a"]).cover(&odd), "nobody knows what it asks");
}

pub(crate) async fn a_member_keeps_the_time_of_the_last_decision(store: &Store) {
    two_rooms(store).await;
    let checked = async || store.attributes_checked("r1", "a").await.unwrap();
    assert_eq!(checked().await, Some(None));
    store.set_attributes_checked("r1", "a", 5).await.unwrap();
    assert_eq!(checked().await, Some(Some(5)));
    assert_eq!(store.attributes_checked("r2", "b").await.unwrap(), None);
}

pub(crate) async fn a_second_subscription_of_the_same_user_is_a_conflict(store: &Store) {
    two_rooms(store).await;
    let mut double = subscription("r1", "b");
    double.insert("_id", "another");
    assert_eq!(
        store.insert_subscription(double).await.unwrap_err().kind(),
        ErrorKind::Conflict
    );
    assert_eq!(
        store.subscription("r1", "b").await.unwrap().unwrap().id,
        "r1-b"
    );
}

pub(crate) async fn a_message_marks_the_subscriptions_of_everybody_but_its_writer(store: &Store) {
    two_rooms(store).await;
    store
        .insert_subscription(subscription("r1", "c"))
        .await
        .unwrap();
    let unread = Update {
        set: doc! { "alert": true },
        increment: vec![("unread".into(), 1)],
        ..Update::default()
    };
    assert_eq!(
        store
            .update_other_subscriptions("r1", "a", unread.clone())
            .await
            .unwrap(),
        2
    );
    assert_eq!(
        store
            .update_other_subscriptions("r1", "a", unread)
            .await
            .unwrap(),
        2
    );
    for (room, user, expected) in [
        ("r1", "a", 0),
        ("r1", "b", 2),
        ("r1", "c", 2),
        ("r2", "a", 0),
    ] {
        let document = parsed(
            &store
                .subscription_document(room, user)
                .await
                .unwrap()
                .unwrap(),
        );
        assert_eq!(
            document.get_i32("unread").ok(),
            Some(expected),
            "{room} {user}"
        );
        assert_eq!(
            document.get_bool("alert").ok(),
            Some(expected > 0),
            "{room} {user}"
        );
    }
}

pub(crate) async fn a_removed_subscription_is_gone_from_both_sides(store: &Store) {
    two_rooms(store).await;
    assert!(store.remove_subscription("r1", "a").await.unwrap());
    assert!(!store.remove_subscription("r1", "a").await.unwrap());
    assert_eq!(store.members("r1").await.unwrap(), ["b"]);
    assert_eq!(store.rooms_of_user("a").await.unwrap(), ["r2"]);
    store
        .insert_subscription(subscription("r1", "a"))
        .await
        .unwrap();
    assert_eq!(sorted(store.members("r1").await.unwrap()), ["a", "b"]);
}

pub(crate) async fn a_new_room_gets_an_id_of_its_own(store: &Store) {
    let first = store
        .insert_room(doc! { "t": "c", "name": "one" })
        .await
        .unwrap();
    let second = store
        .insert_room(doc! { "t": "c", "name": "two" })
        .await
        .unwrap();
    assert_eq!((first.len(), second.len()), (17, 17));
    assert_ne!(first, second);
    assert_eq!(
        store.room(&first).await.unwrap().unwrap().name.as_deref(),
        Some("one")
    );
    assert!(
        store
            .update_room(&second, Update::set(doc! { "topic": "x" }))
            .await
            .unwrap()
    );
    assert!(
        !store
            .update_room("none", Update::set(doc! { "topic": "x" }))
            .await
            .unwrap()
    );
    let document = parsed(&store.room_document(&second).await.unwrap().unwrap());
    assert_eq!(document.get_str("topic").ok(), Some("x"));
}
