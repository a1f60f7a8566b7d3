use store::bson::{DateTime, Document, doc};
use store::{ErrorKind, Room, Store, Subscription, Update};

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

pub(crate) async fn an_invitation_is_no_membership(store: &Store) {
    store
        .insert_room(doc! { "_id": "r", "t": "p" })
        .await
        .unwrap();
    for (user, field) in [
        ("a", doc! { "invited": true }),
        ("b", doc! { "status": "INVITED" }),
    ] {
        let mut invitation = subscription("r", user);
        invitation.extend(field);
        store.insert_subscription(invitation).await.unwrap();
        assert_eq!(store.subscription("r", user).await.unwrap(), None, "{user}");
        assert_eq!(
            store.rooms_of_user(user).await.unwrap(),
            Vec::<String>::new(),
            "{user}"
        );
        assert_eq!(
            store.room_documents_of(user).await.unwrap(),
            Vec::<String>::new(),
            "{user}"
        );
        // Its user sees the invitation itself.
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
    let accept = Update {
        unset: vec!["invited".into()],
        ..Update::default()
    };
    assert!(store.update_subscription("r", "a", accept).await.unwrap());
    assert_eq!(store.members("r").await.unwrap(), ["a"]);
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
