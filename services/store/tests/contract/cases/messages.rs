use store::bson::oid::ObjectId;
use store::bson::spec::BinarySubtype;
use store::bson::{Binary, Bson, DateTime, Document, doc};
use store::{ErrorKind, Store, Update};

fn message(id: &str, room: &str, ts: i64) -> Document {
    doc! {
        "_id": id, "rid": room, "msg": id, "ts": DateTime::from_millis(ts),
        "u": { "_id": "u1", "username": "root" },
    }
}

/// m1 to m5 in room r at 10, 20, .. 50 ms.
async fn five(store: &Store) {
    for n in [3, 1, 5, 2, 4] {
        let id = store
            .insert_message(message(&format!("m{n}"), "r", n * 10))
            .await
            .unwrap();
        assert_eq!(id, format!("m{n}"));
    }
}

fn ids(messages: &[Document]) -> Vec<&str> {
    messages
        .iter()
        .map(|message| message.get_str("_id").unwrap())
        .collect()
}

pub(crate) async fn history_goes_back_from_the_newest(store: &Store) {
    five(store).await;
    assert_eq!(
        ids(&store.history("r", None, 3).await.unwrap()),
        ["m5", "m4", "m3"]
    );
    assert_eq!(
        ids(&store.history("r", None, 50).await.unwrap()),
        ["m5", "m4", "m3", "m2", "m1"]
    );
    assert_eq!(
        store.history("empty", None, 50).await.unwrap(),
        Vec::<Document>::new()
    );
}

pub(crate) async fn history_before_a_time_leaves_that_time_out(store: &Store) {
    five(store).await;
    assert_eq!(
        ids(&store.history("r", Some(30), 50).await.unwrap()),
        ["m2", "m1"]
    );
    assert_eq!(
        ids(&store.history("r", Some(31), 2).await.unwrap()),
        ["m3", "m2"]
    );
    assert_eq!(
        store.history("r", Some(10), 50).await.unwrap(),
        Vec::<Document>::new()
    );
    assert_eq!(
        store.history("r", None, 0).await.unwrap(),
        Vec::<Document>::new()
    );
}

pub(crate) async fn missed_messages_come_oldest_first(store: &Store) {
    five(store).await;
    assert_eq!(
        ids(&store.messages_after("r", 30, 50).await.unwrap()),
        ["m4", "m5"]
    );
    assert_eq!(
        ids(&store.messages_after("r", 0, 2).await.unwrap()),
        ["m1", "m2"]
    );
    assert_eq!(
        store.messages_after("r", 50, 50).await.unwrap(),
        Vec::<Document>::new()
    );
    assert_eq!(
        store.messages_after("r", 0, 0).await.unwrap(),
        Vec::<Document>::new()
    );
}

pub(crate) async fn hidden_messages_are_not_shown(store: &Store) {
    five(store).await;
    assert!(
        store
            .update_message("m4", Update::set(doc! { "_hidden": true }))
            .await
            .unwrap()
    );
    assert_eq!(
        ids(&store.history("r", None, 3).await.unwrap()),
        ["m5", "m3", "m2"]
    );
    assert_eq!(
        ids(&store.messages_after("r", 30, 50).await.unwrap()),
        ["m5"]
    );
}

pub(crate) async fn a_message_of_another_room_is_not_shown(store: &Store) {
    five(store).await;
    for (id, room) in [("before", "q"), ("prefix", "r1"), ("after", "s")] {
        store.insert_message(message(id, room, 35)).await.unwrap();
    }
    assert_eq!(
        ids(&store.history("r", None, 50).await.unwrap()),
        ["m5", "m4", "m3", "m2", "m1"]
    );
    assert_eq!(
        ids(&store.messages_after("r", 0, 50).await.unwrap()),
        ["m1", "m2", "m3", "m4", "m5"]
    );
    assert_eq!(
        ids(&store.history("r1", None, 50).await.unwrap()),
        ["prefix"]
    );
}

pub(crate) async fn an_edited_message_keeps_its_place(store: &Store) {
    five(store).await;
    let edit = Update::set(doc! { "msg": "edited", "editedAt": DateTime::from_millis(99) });
    assert!(store.update_message("m2", edit.clone()).await.unwrap());
    assert!(!store.update_message("m9", edit).await.unwrap());
    let edited = store.message("m2").await.unwrap().unwrap();
    assert_eq!(edited.get_str("msg").ok(), Some("edited"));
    assert_eq!(ids(&store.history("r", Some(30), 1).await.unwrap()), ["m2"]);

    // Moving a message in time moves it in the history too.
    assert!(
        store
            .update_message("m2", Update::set(doc! { "ts": DateTime::from_millis(60) }))
            .await
            .unwrap()
    );
    assert_eq!(
        ids(&store.history("r", None, 50).await.unwrap()),
        ["m2", "m5", "m4", "m3", "m1"]
    );
}

pub(crate) async fn a_deleted_message_is_gone(store: &Store) {
    five(store).await;
    let double = store.insert_message(message("m3", "other", 1)).await;
    assert_eq!(double.unwrap_err().kind(), ErrorKind::Conflict);
    assert!(store.delete_message("m3").await.unwrap());
    assert!(!store.delete_message("m3").await.unwrap());
    assert_eq!(store.message("m3").await.unwrap(), None);
    assert_eq!(
        ids(&store.history("r", None, 50).await.unwrap()),
        ["m5", "m4", "m2", "m1"]
    );
}

pub(crate) async fn every_kind_of_value_comes_back_as_it_went(store: &Store) {
    let mut odd = message("odd", "r", 1);
    odd.extend(doc! {
        "_updatedAt": DateTime::from_millis(2),
        "text": "quote \" back\\slash \u{2028} 🚀 $date",
        "$date": 1,
        "empty": {}, "list": [1, "two", { "three": [Bson::Null] }], "truth": true,
        "fraction": 0.1, "huge": 1e300,
        "long": 9_007_199_254_740_993_i64,
        "bytes": Binary { subtype: BinarySubtype::Generic, bytes: vec![0, 255, 1] },
        "oid": ObjectId::from_bytes([7; 12]),
    });
    store.insert_message(odd.clone()).await.unwrap();
    assert_eq!(store.message("odd").await.unwrap(), Some(odd));
}
