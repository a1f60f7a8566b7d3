//! What the embedded store costs: bytes written to disk. Alone in its process, because the kernel counts per process.

use std::fs;

use store::bson::doc;
use store::{ConnectionEdit, Store, Update};

const CHANGES: usize = 500;

/// Bytes that this process has handed to the kernel to write.
fn written() -> u64 {
    let io = fs::read_to_string("/proc/self/io").unwrap();
    let line = io.lines().find_map(|line| line.strip_prefix("wchar: "));
    line.unwrap().parse().unwrap()
}

async fn come_and_go(store: &Store, number: usize) {
    let session = format!("s{number}");
    store
        .add_connection("u", &session, "node", "online")
        .await
        .unwrap();
    let status =
        Update::set(doc! { "status": if number.is_multiple_of(2) { "online" } else { "away" } });
    store.set_user_status("u", status).await.unwrap();
    let gone = vec![ConnectionEdit::Remove(session)];
    store
        .edit_connections(vec![("u".to_owned(), gone)])
        .await
        .unwrap();
}

#[tokio::test]
async fn presence_reaches_the_disk_once_a_second_and_a_bounded_feed_keeps_the_file_small() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::embedded(Some(folder.path())).unwrap();
    store
        .insert_user(doc! { "_id": "u", "username": "u" })
        .await
        .unwrap();

    let before = written();
    for number in 0..CHANGES {
        store
            .insert_message(doc! { "_id": format!("m{number}"), "rid": "r", "msg": "hello" })
            .await
            .unwrap();
    }
    let by_messages = written() - before;
    let before = written();
    for number in 0..CHANGES {
        come_and_go(&store, number).await;
    }
    let by_presence = written() - before;
    // Three writes per turn against one: an fsync each would be three times as much.
    assert!(
        by_presence * 4 < by_messages,
        "{CHANGES} messages wrote {by_messages} bytes, as many sockets that came and went {by_presence}"
    );

    // What was said last is there after an orderly end, and before it for whoever asks.
    store
        .add_connection("u", "last", "node", "online")
        .await
        .unwrap();
    drop(store);
    let store = Store::embedded(Some(folder.path())).unwrap();
    assert_eq!(store.connections("u").await.unwrap().len(), 1);

    // 200 MB pass through the feed; 16 MB of them stay.
    let long = "x".repeat(100_000);
    for number in 0..1_000 {
        let text = format!("{number}{long}");
        store
            .update_message("m0", Update::set(doc! { "msg": text }))
            .await
            .unwrap();
    }
    let file = fs::metadata(folder.path().join("ddp-edge.redb")).unwrap();
    assert!(file.len() < 100 << 20, "the file has {} bytes", file.len());
}
