//! What the hub keeps and follows in MongoDB: change streams, the lease, the checkpoint.

use std::time::Duration;

use store::bson::{Bson, DateTime, Document, doc};
use store::{
    Batch, Change, ChangeKind, ChangeStream, Checkpoint, Collection, Detail, ErrorKind, Token,
    Update,
};

use crate::places;

const LONG: Duration = Duration::from_secs(60);
const NOTHING: Duration = Duration::ZERO;

/// Lease and checkpoint.
const STATE: &str = "rocketchat_rs_stream_hub";

/// Reads until so many changes have come, and the token behind all of them.
async fn take(stream: &mut ChangeStream, count: usize) -> (Vec<(Token, Change)>, Token) {
    let mut changes = Vec::new();
    loop {
        let Batch {
            changes: more,
            token,
            happened,
        } = stream.next(Duration::from_millis(200)).await.unwrap();
        assert_eq!(happened.is_some(), !more.is_empty());
        changes.extend(more);
        if changes.len() >= count {
            return (changes, token.unwrap());
        }
    }
}

fn kinds(changes: &[(Token, Change)]) -> Vec<(Collection, Bson, ChangeKind)> {
    changes
        .iter()
        .map(|(_, change)| (change.collection, change.id.clone(), change.kind.clone()))
        .collect()
}

#[tokio::test]
async fn a_change_stream_tells_of_inserts_updates_replacements_and_removals_in_order() {
    let place = places::mongodb().await;
    let users = place.database.collection::<Document>("users");
    let mut stream = place
        .store
        .watch(&[Collection::Users], Detail::Changes, None)
        .await
        .unwrap();
    place
        .store
        .insert_setting(doc! { "_id": "unwatched" })
        .await
        .unwrap();
    users
        .insert_one(doc! { "_id": "u", "n": { "a": 1, "b": 2 } })
        .await
        .unwrap();
    let update = doc! { "$set": { "n.a": 3 }, "$unset": { "n.b": 1 } };
    users.update_one(doc! { "_id": "u" }, update).await.unwrap();
    users
        .replace_one(doc! { "_id": "u" }, doc! { "x": 1 })
        .await
        .unwrap();
    users.delete_one(doc! { "_id": "u" }).await.unwrap();
    let (changes, _) = take(&mut stream, 4).await;
    let updated = ChangeKind::Updated {
        diff: doc! { "n.a": 3 },
        unset: vec!["n.b".into()],
        truncated: vec![],
    };
    let expected = [
        ChangeKind::Inserted,
        updated,
        ChangeKind::Replaced,
        ChangeKind::Removed,
    ];
    let expected: Vec<_> = expected
        .into_iter()
        .map(|kind| (Collection::Users, Bson::from("u"), kind))
        .collect();
    assert_eq!(kinds(&changes), expected);
    let documents: Vec<_> = changes
        .iter()
        .map(|(_, change)| change.document.clone())
        .collect();
    assert_eq!(
        documents,
        [
            Some(doc! { "_id": "u", "n": { "a": 1, "b": 2 } }),
            None,
            Some(doc! { "_id": "u", "x": 1 }),
            None,
        ]
    );
    stream.close().await;
}

#[tokio::test]
async fn a_change_stream_goes_on_behind_any_token() {
    let place = places::mongodb().await;
    let store = &place.store;
    let watched = [Collection::Messages];
    let mut stream = store.watch(&watched, Detail::Changes, None).await.unwrap();
    for number in 0..5 {
        store
            .insert_message(doc! { "_id": format!("m{number}") })
            .await
            .unwrap();
    }
    let (changes, end) = take(&mut stream, 5).await;
    let mut from_second = store
        .watch(&watched, Detail::Changes, Some(changes[1].0.clone()))
        .await
        .unwrap();
    let (rest, _) = take(&mut from_second, 3).await;
    assert_eq!(kinds(&rest), kinds(&changes[2..]));
    let texts: Vec<_> = rest.iter().map(|(token, _)| token.text()).collect();
    let expected: Vec<_> = changes[2..].iter().map(|(token, _)| token.text()).collect();
    assert_eq!(texts, expected, "the same change has the same token");
    let mut from_end = store
        .watch(&watched, Detail::Changes, Some(end))
        .await
        .unwrap();
    store.insert_message(doc! { "_id": "last" }).await.unwrap();
    let (last, _) = take(&mut from_end, 1).await;
    assert_eq!(last[0].1.id, "last".into());
}

#[tokio::test]
async fn a_collection_or_a_database_that_is_dropped_ends_no_reading_for_good() {
    let place = places::mongodb().await;
    let store = &place.store;
    let watched = [Collection::Messages];
    let mut stream = store.watch(&watched, Detail::Changes, None).await.unwrap();
    let message = |id: &str| store.insert_message(doc! { "_id": id });
    message("before").await.unwrap();
    let collection = place.database.collection::<Document>("rocketchat_message");
    collection.drop().await.unwrap();
    message("between").await.unwrap();
    place.database.drop().await.unwrap();
    message("after").await.unwrap();
    let (mut heard, mut end) = (Vec::new(), None);
    while heard.last() != Some(&Bson::from("after")) {
        match stream.next(Duration::from_millis(200)).await {
            Ok(batch) => {
                let inserted = batch
                    .changes
                    .into_iter()
                    .filter(|(_, change)| change.kind == ChangeKind::Inserted);
                heard.extend(inserted.map(|(_, change)| change.id));
                end = batch.token.or(end);
            }
            // As the hub does it: from where it stands.
            Err(_) => {
                stream = store
                    .watch(&watched, Detail::Changes, end.clone())
                    .await
                    .unwrap()
            }
        }
    }
    assert_eq!(heard, ["before", "between", "after"].map(Bson::from));
}

#[tokio::test]
async fn an_update_comes_with_its_document_where_that_is_asked_for() {
    let place = places::mongodb().await;
    let store = &place.store;
    store
        .insert_room(doc! { "_id": "r", "t": "c", "name": "old" })
        .await
        .unwrap();
    let mut stream = store
        .watch(&[Collection::Rooms], Detail::FullDocuments, None)
        .await
        .unwrap();
    store
        .update_room("r", Update::set(doc! { "name": "new" }))
        .await
        .unwrap();
    let (changes, _) = take(&mut stream, 1).await;
    let room = changes[0].1.document.as_ref().unwrap();
    assert_eq!(room.get_str("name").ok(), Some("new"));
}

#[tokio::test]
async fn an_idle_change_stream_says_how_far_it_has_looked() {
    let place = places::mongodb().await;
    let mut stream = place
        .store
        .watch(&[Collection::Users], Detail::Changes, None)
        .await
        .unwrap();
    let first = stream.next(NOTHING).await.unwrap();
    assert!(
        first.changes.is_empty() && first.token.is_some(),
        "{first:?}"
    );
    let second = stream.next(Duration::from_millis(50)).await.unwrap();
    assert!(
        second.changes.is_empty() && second.token.is_some(),
        "{second:?}"
    );
}

#[tokio::test]
async fn the_lease_has_one_holder_and_a_term_that_grows_when_it_changes_hands() {
    let place = places::mongodb().await;
    let store = &place.store;
    let first = store.acquire_lease("a", LONG, 0).await.unwrap();
    assert_eq!((first.holder.as_str(), first.term), ("a", 1));
    assert_eq!(
        store.acquire_lease("b", LONG, 0).await.unwrap(),
        first,
        "it is taken"
    );
    assert_eq!(
        store.acquire_lease("a", LONG, 0).await.unwrap(),
        first,
        "renewed"
    );
    store.release_lease("b").await.unwrap();
    assert_eq!(
        store.acquire_lease("b", LONG, 0).await.unwrap(),
        first,
        "not b's to give"
    );
    store.release_lease("a").await.unwrap();
    let second = store.acquire_lease("$b", LONG, 0).await.unwrap();
    assert_eq!((second.holder.as_str(), second.term), ("$b", 2));
    assert_eq!(store.acquire_lease("a", LONG, 0).await.unwrap(), second);
}

#[tokio::test]
async fn a_lease_that_ran_out_is_free() {
    let place = places::mongodb().await;
    let store = &place.store;
    store.acquire_lease("a", NOTHING, 0).await.unwrap();
    let taken = until(|| async {
        let lease = store.acquire_lease("b", LONG, 0).await.unwrap();
        (lease.holder == "b").then_some(lease.term)
    });
    assert_eq!(taken.await, 2);
}

/// The server's clock must have moved by a millisecond.
async fn until<T, F: Future<Output = Option<T>>>(mut ask: impl FnMut() -> F) -> T {
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
    }
}

#[tokio::test]
async fn a_checkpoint_of_an_earlier_term_is_refused_once_a_later_one_has_begun() {
    let place = places::mongodb().await;
    let store = &place.store;
    let mut stream = store
        .watch(&[Collection::Users], Detail::Changes, None)
        .await
        .unwrap();
    let token = stream.next(NOTHING).await.unwrap().token.unwrap();
    assert_eq!(store.take_checkpoint(1).await.unwrap(), Checkpoint::Nowhere);
    assert!(store.save_checkpoint(1, &token).await.unwrap());
    assert_eq!(
        store.take_checkpoint(2).await.unwrap(),
        Checkpoint::At(token.clone())
    );
    assert!(!store.save_checkpoint(1, &token).await.unwrap());
    assert_eq!(
        store.take_checkpoint(1).await.unwrap(),
        Checkpoint::Later(2)
    );
    assert!(store.save_checkpoint(2, &token).await.unwrap());
}

#[tokio::test]
async fn a_lease_that_somebody_has_damaged_or_dropped_is_free_and_its_terms_go_on() {
    let place = places::mongodb().await;
    let store = &place.store;
    let state = place.database.collection::<Document>(STATE);
    let mut term = store.acquire_lease("a", LONG, 0).await.unwrap().term;
    let year = DateTime::from_millis(DateTime::now().timestamp_millis() + 31_536_000_000);
    for damage in [
        doc! { "expiresAt": "soon" },
        doc! { "expiresAt": null },
        // By a clock that was a year ahead.
        doc! { "expiresAt": year },
        doc! { "holder": 7 },
        doc! { "term": "x", "expiresAt": 0 },
        doc! { "term": i64::MAX, "expiresAt": 0 },
        doc! { "term": f64::NAN, "expiresAt": 0 },
    ] {
        state
            .update_one(doc! { "_id": "lease" }, doc! { "$set": damage.clone() })
            .await
            .unwrap();
        let lease = store.acquire_lease("b", LONG, term).await.unwrap();
        term += 1;
        assert_eq!((lease.holder.as_str(), lease.term), ("b", term), "{damage}");
        let again = doc! { "$set": { "holder": "a" } };
        state
            .update_one(doc! { "_id": "lease" }, again)
            .await
            .unwrap();
    }
    state.delete_one(doc! { "_id": "lease" }).await.unwrap();
    // Whoever holds it goes on in its term.
    let lease = store.acquire_lease("a", LONG, term - 1).await.unwrap();
    assert_eq!((lease.holder.as_str(), lease.term), ("a", term));
    let lease = store.acquire_lease("a", LONG, term + 5).await.unwrap();
    assert_eq!(lease.term, term + 6, "a later hub has been here");
}

#[tokio::test]
async fn a_damaged_checkpoint_keeps_nobody_from_working() {
    let place = places::mongodb().await;
    let store = &place.store;
    let state = place.database.collection::<Document>(STATE);
    assert_eq!(store.take_checkpoint(1).await.unwrap(), Checkpoint::Nowhere);
    for (damage, expected) in [
        (doc! { "$set": { "term": "x" } }, Checkpoint::Nowhere),
        (doc! { "$unset": { "term": 1 } }, Checkpoint::Nowhere),
        (doc! { "$set": { "term": i64::MAX } }, Checkpoint::Nowhere),
        (doc! { "$set": { "token": "x" } }, Checkpoint::Nowhere),
        (doc! { "$set": { "term": 9_i64 } }, Checkpoint::Later(9)),
    ] {
        state.update_one(doc! {}, damage.clone()).await.unwrap();
        assert_eq!(
            store.take_checkpoint(2).await.unwrap(),
            expected,
            "{damage}"
        );
    }
}

#[tokio::test]
async fn an_embedded_store_has_nothing_to_share() {
    let store = places::in_memory();
    let kind = store.acquire_lease("a", LONG, 0).await.unwrap_err().kind();
    assert_eq!(kind, ErrorKind::Unsupported);
    let kind = store
        .watch(&[], Detail::Changes, None)
        .await
        .unwrap_err()
        .kind();
    assert_eq!(kind, ErrorKind::Unsupported);
}
