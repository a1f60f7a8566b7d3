//! What only the embedded store does: its data folder and its change feed.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use redb::{Database, ReadableDatabase, TableDefinition};
use store::bson::{DateTime, Document, doc};
use store::{Change, ChangeKind, Collection, ErrorKind, Feed, LoginToken, Store, Update};

use crate::places;

const FILE: &str = "ddp-edge.redb";

fn refused(folder: &Path, kind: ErrorKind) {
    let error = Store::embedded(Some(folder)).unwrap_err();
    assert_eq!(error.kind(), kind, "{error}");
    assert!(
        error.to_string().contains(folder.to_str().unwrap()),
        "{error}"
    );
}

/// Name, content of every file in a folder.
fn content(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let entries = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = entries
        .map(|path| (path.display().to_string(), fs::read(&path).unwrap()))
        .collect();
    files.sort();
    files
}

async fn user(store: &Store, id: &str) {
    store
        .insert_user(doc! { "_id": id, "username": id })
        .await
        .unwrap();
}

/// The next `count` changes.
async fn take(feed: &mut Feed, count: usize) -> Vec<(u64, Change)> {
    let mut changes = Vec::new();
    while changes.len() < count {
        changes.extend(feed.next().await.unwrap().unwrap());
    }
    assert_eq!(changes.len(), count);
    changes
}

#[tokio::test]
async fn what_was_acknowledged_is_there_after_a_restart() {
    let place = places::on_disk();
    user(&place.store, "u").await;
    drop(place.store);
    let again = Store::embedded(Some(place.folder.path())).unwrap();
    assert!(again.user_by_username("u").await.unwrap().is_some());
}

#[tokio::test]
async fn writers_at_the_same_time_are_all_acknowledged() {
    let place = places::on_disk();
    let mut writers = tokio::task::JoinSet::new();
    for n in 0..500 {
        let store = place.store.clone();
        writers.spawn(async move { user(&store, &format!("u{n}")).await });
    }
    writers.join_all().await;
    assert_eq!(place.store.users().await.unwrap().len(), 500);
}

#[tokio::test]
async fn a_conflict_costs_its_neighbours_in_the_batch_nothing() {
    let store = places::in_memory();
    user(&store, "taken").await;
    let mut writers = tokio::task::JoinSet::new();
    for n in 0..100 {
        let store = store.clone();
        let username = if n % 2 == 0 {
            "taken".to_owned()
        } else {
            format!("u{n}")
        };
        writers.spawn(async move { store.insert_user(doc! { "username": username }).await });
    }
    let outcomes = writers.join_all().await;
    assert_eq!(
        outcomes.iter().filter(|outcome| outcome.is_ok()).count(),
        50
    );
    assert!(
        outcomes
            .iter()
            .flat_map(|outcome| outcome.as_ref().err())
            .all(|error| error.kind() == ErrorKind::Conflict)
    );
    assert_eq!(store.users().await.unwrap().len(), 51);
}

#[test]
fn a_folder_is_made_where_none_is() {
    let folder = tempfile::tempdir().unwrap();
    let deep = folder.path().join("a/b");
    drop(Store::embedded(Some(&deep)).unwrap());
    assert!(deep.join(FILE).is_file());
}

#[test]
fn nobody_else_may_read_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join(FILE);
    let mode = || fs::metadata(&file).unwrap().permissions().mode() & 0o777;
    drop(Store::embedded(Some(folder.path())).unwrap());
    assert_eq!(mode(), 0o600);
    // As earlier versions made it.
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    drop(Store::embedded(Some(folder.path())).unwrap());
    assert_eq!(mode(), 0o600);
}

#[test]
fn a_folder_with_something_else_in_it_is_refused_untouched() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("thesis.txt"), "years of work").unwrap();
    let before = content(folder.path());
    refused(folder.path(), ErrorKind::Foreign);
    assert_eq!(content(folder.path()), before);
}

#[test]
fn a_file_of_our_name_that_is_no_database_is_refused_untouched() {
    for bytes in [&b""[..], b"x", &[b'x'; 100_000]] {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(FILE), bytes).unwrap();
        let before = content(folder.path());
        refused(folder.path(), ErrorKind::Foreign);
        assert_eq!(content(folder.path()), before, "{} bytes", bytes.len());
    }
}

#[test]
fn a_database_of_another_program_is_refused_and_still_opens_there() {
    const TABLE: TableDefinition<'_, &str, u64> = TableDefinition::new("theirs");
    let folder = tempfile::tempdir().unwrap();
    let database = Database::create(folder.path().join(FILE)).unwrap();
    let write = database.begin_write().unwrap();
    write
        .open_table(TABLE)
        .unwrap()
        .insert("answer", 42)
        .unwrap();
    write.commit().unwrap();
    drop(database);
    refused(folder.path(), ErrorKind::Foreign);
    let database = Database::open(folder.path().join(FILE)).unwrap();
    let read = database.begin_read().unwrap();
    assert_eq!(
        read.open_table(TABLE)
            .unwrap()
            .get("answer")
            .unwrap()
            .unwrap()
            .value(),
        42
    );
}

#[test]
fn a_folder_of_a_newer_version_is_refused() {
    const MARKER: TableDefinition<'_, &str, u64> = TableDefinition::new("ddp-edge");
    let place = places::on_disk();
    drop(place.store);
    let database = Database::open(place.folder.path().join(FILE)).unwrap();
    let write = database.begin_write().unwrap();
    write
        .open_table(MARKER)
        .unwrap()
        .insert("format", 2)
        .unwrap();
    write.commit().unwrap();
    drop(database);
    refused(place.folder.path(), ErrorKind::NewerFormat);
}

#[test]
fn a_folder_that_is_open_elsewhere_is_refused_until_it_is_closed() {
    let place = places::on_disk();
    refused(place.folder.path(), ErrorKind::Locked);
    drop(place.store);
    Store::embedded(Some(place.folder.path())).unwrap();
}

#[test]
fn a_place_that_cannot_be_written_is_one_clear_error() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "x").unwrap();
    refused(&file, ErrorKind::Io);
    refused(&file.join("below"), ErrorKind::Io);
    assert_eq!(fs::read(&file).unwrap(), b"x");
}

#[test]
fn a_crash_while_the_database_was_made_is_mended() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("ddp-edge.redb.new"), "half a datab").unwrap();
    drop(Store::embedded(Some(folder.path())).unwrap());
    let names: Vec<_> = content(folder.path())
        .into_iter()
        .map(|(name, _)| name)
        .collect();
    assert_eq!(names, [folder.path().join(FILE).display().to_string()]);
}

#[tokio::test]
async fn the_feed_tells_of_everything_in_the_order_of_its_commits() {
    let store = places::in_memory();
    let mut feed = store.changes(None).unwrap();
    let room = doc! { "_id": "r", "t": "c", "name": "one", "u": { "_id": "a", "old": true } };
    store.insert_room(room).await.unwrap();
    let update = Update {
        set: doc! { "name": "two", "u.username": "a" },
        unset: vec!["u.old".into()],
        ..Update::default()
    };
    store.update_room("r", update).await.unwrap();
    store
        .insert_subscription(doc! { "_id": "s", "rid": "r", "u": { "_id": "a" } })
        .await
        .unwrap();
    store.remove_subscription("r", "a").await.unwrap();

    let changes = take(&mut feed, 4).await;
    let seen: Vec<_> = changes
        .iter()
        .map(|(seq, change)| (*seq, change.collection, change.id.as_str().unwrap()))
        .collect();
    assert_eq!(
        seen,
        [
            (1, Collection::Rooms, "r"),
            (2, Collection::Rooms, "r"),
            (3, Collection::Subscriptions, "s"),
            (4, Collection::Subscriptions, "s"),
        ]
    );
    let text = |at: usize, field| document(&changes[at].1).get_str(field).ok();
    assert_eq!(changes[0].1.kind, ChangeKind::Inserted);
    assert_eq!(text(0, "name"), Some("one"));
    let moved = document(&changes[1].1).get("_updatedAt").cloned();
    let diff = doc! { "name": "two", "u.username": "a", "_updatedAt": moved };
    let ChangeKind::Updated {
        diff: found, unset, ..
    } = &changes[1].1.kind
    else {
        panic!("{changes:?}")
    };
    // Written within the same millisecond, `_updatedAt` may not have moved.
    let expected: Document = diff
        .into_iter()
        .filter(|(key, _)| key != "_updatedAt" || found.contains_key(key))
        .collect();
    assert_eq!(sorted(found), sorted(&expected));
    assert_eq!(unset, &["u.old"]);
    assert_eq!(text(1, "name"), Some("two"));
    assert_eq!(changes[2].1.kind, ChangeKind::Inserted);
    assert_eq!(changes[3].1.kind, ChangeKind::Removed);
    assert_eq!(text(3, "rid"), Some("r"));
}

fn document(change: &Change) -> &Document {
    change.document.as_ref().unwrap()
}

fn sorted(document: &Document) -> Vec<(String, String)> {
    let mut fields: Vec<_> = document
        .iter()
        .map(|(key, value)| (key.clone(), value.to_string()))
        .collect();
    fields.sort();
    fields
}

#[tokio::test]
async fn a_pulled_token_shows_as_the_whole_rest_under_its_key() {
    let store = places::in_memory();
    user(&store, "u").await;
    for hashed in ["a", "b"] {
        let token = LoginToken {
            hashed: hashed.into(),
            when: None,
            kind: None,
        };
        store.push_login_token("u", &token).await.unwrap();
    }
    let mut feed = store.changes(None).unwrap();
    store.pull_login_token("u", "a").await.unwrap();
    let (_, change) = take(&mut feed, 1).await.remove(0);
    let ChangeKind::Updated { diff, .. } = change.kind else {
        panic!("{change:?}")
    };
    let rest = diff.get_array("services.resume.loginTokens").unwrap();
    assert_eq!(
        rest,
        doc! { "rest": [{ "hashedToken": "b" }] }
            .get_array("rest")
            .unwrap()
    );
}

#[tokio::test]
async fn what_changes_nothing_is_no_change() {
    let store = places::in_memory();
    user(&store, "u").await;
    let mut feed = store.changes(None).unwrap();
    let status = Update::set(doc! { "status": "away" });
    assert!(store.set_user_status("u", status.clone()).await.unwrap());
    assert!(!store.set_user_status("u", status).await.unwrap());
    assert!(!store.pull_login_token("u", "none").await.unwrap());
    user(&store, "last").await;
    let changes = take(&mut feed, 2).await;
    assert_eq!(
        (changes[0].1.id.as_str(), changes[1].1.id.as_str()),
        (Some("u"), Some("last"))
    );
}

#[tokio::test]
async fn kept_and_live_changes_join_without_a_seam() {
    let store = places::in_memory();
    let writer = tokio::spawn({
        let store = store.clone();
        async move {
            for n in 0..600 {
                user(&store, &format!("u{n}")).await;
            }
        }
    });
    // One reader from the beginning, one that joins in the middle and goes on where another stopped.
    let mut first = store.changes(Some(0)).unwrap();
    let some = first.next().await.unwrap().unwrap();
    let mut second = store.changes(Some(some.len() as u64)).unwrap();
    let first = take(&mut first, 600 - some.len()).await;
    let second = take(&mut second, 600 - some.len()).await;
    assert_eq!(first, second);
    let all: Vec<u64> = some.iter().chain(&first).map(|(seq, _)| *seq).collect();
    assert_eq!(all, (1..=600).collect::<Vec<_>>());
    writer.await.unwrap();
}

#[tokio::test]
async fn a_reader_that_starts_now_sees_only_what_follows() {
    let store = places::in_memory();
    user(&store, "before").await;
    let mut feed = store.changes(None).unwrap();
    user(&store, "after").await;
    assert_eq!(take(&mut feed, 1).await[0].1.id, "after".into());
}

#[tokio::test]
async fn the_feed_goes_on_after_a_restart() {
    let place = places::on_disk();
    user(&place.store, "a").await;
    user(&place.store, "b").await;
    drop(place.store);
    let store = Store::embedded(Some(place.folder.path())).unwrap();
    user(&store, "c").await;
    let mut feed = store.changes(Some(1)).unwrap();
    let changes = take(&mut feed, 2).await;
    let seen: Vec<_> = changes
        .iter()
        .map(|(seq, change)| (*seq, change.id.as_str().unwrap()))
        .collect();
    assert_eq!(seen, [(2, "b"), (3, "c")]);
}

#[tokio::test]
async fn a_reader_behind_what_is_kept_is_told() {
    let store = places::in_memory();
    let mut slow = store.changes(None).unwrap();
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..128 {
        let store = store.clone();
        writers.spawn(async move {
            for n in 0..130 {
                store
                    .insert_setting(doc! { "_id": format!("{writer}.{n}") })
                    .await
                    .unwrap();
            }
        });
    }
    writers.join_all().await;
    // 16,640 changes were made, 16,384 are kept.
    assert_eq!(
        slow.next().await.unwrap_err().kind(),
        ErrorKind::HistoryLost
    );
    assert_eq!(
        store.changes(Some(255)).unwrap_err().kind(),
        ErrorKind::HistoryLost
    );
    assert_eq!(
        store.changes(Some(16_641)).unwrap_err().kind(),
        ErrorKind::HistoryLost
    );
    let mut oldest = store.changes(Some(256)).unwrap();
    assert_eq!(oldest.next().await.unwrap().unwrap()[0].0, 257);
    store.changes(Some(16_640)).unwrap();
}

#[tokio::test]
async fn the_feed_ends_with_the_store() {
    let store = places::in_memory();
    let mut feed = store.changes(None).unwrap();
    user(&store, "u").await;
    drop(store);
    assert_eq!(take(&mut feed, 1).await[0].1.id, "u".into());
    assert_eq!(feed.next().await.unwrap(), None);
}

#[tokio::test]
async fn messages_of_one_millisecond_come_in_the_order_of_writing() {
    let place = places::on_disk();
    let ids: Vec<_> = (0..50)
        .map(|n| format!("{}", (n * 37) % 50 + 100))
        .collect();
    let now = DateTime::from_millis(1_000);
    for id in &ids {
        let message = doc! { "_id": id, "rid": "r", "msg": "", "ts": now };
        place.store.insert_message(message).await.unwrap();
    }
    let edit = Update::set(doc! { "msg": "edited" });
    place.store.update_message(&ids[7], edit).await.unwrap();
    drop(place.store);
    let store = Store::embedded(Some(place.folder.path())).unwrap();
    let of = |messages: Vec<Document>| -> Vec<String> {
        let ids = messages.iter().map(|m| m.get_str("_id").unwrap());
        ids.map(str::to_owned).collect()
    };
    assert_eq!(of(store.messages_after("r", 0, 50).await.unwrap()), ids);
    let newest: Vec<_> = ids.iter().rev().take(20).cloned().collect();
    assert_eq!(of(store.history("r", None, 20).await.unwrap()), newest);
}
