//! kill -9 at random moments: a child process writes and says what was acknowledged, and what it said must be there.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use store::bson::{DateTime, Document, doc};
use store::{ChangeKind, Collection, Store, Update};

const FOLDER: &str = "STORE_CRASH_FOLDER";
const ROUND: &str = "STORE_CRASH_ROUND";

#[tokio::test]
async fn an_acknowledged_write_survives_a_kill_at_any_moment() {
    let folder = tempfile::tempdir().unwrap();
    let mut acknowledged = BTreeSet::new();
    for round in 0..8 {
        let lines = getrandom::u32().unwrap() as usize % 400;
        println!("round {round}: killed after {lines} acknowledgements");
        acknowledged.extend(write_and_kill(folder.path(), round, lines));
        let store = Store::embedded(Some(folder.path())).unwrap();
        let history = store.history("r", None, u32::MAX).await.unwrap();
        let stored: BTreeMap<String, Document> = history
            .into_iter()
            .map(|message| (message.get_str("_id").unwrap().to_owned(), message))
            .collect();
        for line in &acknowledged {
            let (what, id) = line.split_once(' ').unwrap();
            let message = stored.get(id);
            match what {
                "insert" => assert!(
                    message.is_some() || acknowledged.contains(&format!("try-delete {id}")),
                    "{line}"
                ),
                "update" => {
                    let edited = message.is_some_and(|message| message.get_bool("edited").unwrap());
                    assert!(edited, "{line}");
                }
                "delete" => assert!(message.is_none(), "{line}"),
                _ => {}
            }
        }
        let replayed = replayed(&store).await;
        // Not assert_eq: it would print all of both.
        assert!(
            replayed == stored,
            "the feed tells of {} messages, {} are there",
            replayed.len(),
            stored.len()
        );
    }
    assert!(!acknowledged.is_empty());
}

/// What the feed says the messages must be.
async fn replayed(store: &Store) -> BTreeMap<String, Document> {
    let mut messages = BTreeMap::new();
    let mut feed = store.changes(Some(0)).unwrap();
    // Something to stop at: the feed itself has no end.
    store.insert_setting(doc! {}).await.unwrap();
    let stop = store.settings().await.unwrap().len();
    let mut stops = 0;
    while stops < stop {
        for (_, change) in feed.next().await.unwrap().unwrap() {
            let id = change.id.as_str().unwrap().to_owned();
            let document = change.document.unwrap();
            match change.kind {
                _ if change.collection == Collection::Settings => stops += 1,
                ChangeKind::Removed => assert_eq!(messages.remove(&id), Some(document)),
                ChangeKind::Inserted => assert_eq!(messages.insert(id, document), None),
                ChangeKind::Updated { .. } => assert!(messages.insert(id, document).is_some()),
                ChangeKind::Replaced => panic!("the embedded feed says what differs"),
            }
        }
    }
    messages
}

/// Runs the child below on `folder`, kills it after so many lines, and returns all it had printed by then.
fn write_and_kill(folder: &Path, round: u32, lines: usize) -> Vec<String> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "crash::the_child_writes_until_it_is_killed",
            "--nocapture",
        ])
        .env(FOLDER, folder)
        .env(ROUND, round.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut printed = BufReader::new(child.stdout.take().unwrap())
        .lines()
        .map(Result::unwrap)
        .filter_map(|line| line.strip_prefix("did ").map(str::to_owned));
    let mut acknowledged: Vec<String> = printed.by_ref().take(lines).collect();
    child.kill().unwrap();
    acknowledged.extend(printed);
    child.wait().unwrap();
    acknowledged
}

/// No test of its own: only with the folder in the environment it does something.
#[tokio::test]
async fn the_child_writes_until_it_is_killed() {
    let (Some(folder), Ok(round)) = (std::env::var_os(FOLDER), std::env::var(ROUND)) else {
        return;
    };
    let store = Store::embedded(Some(Path::new(&folder))).unwrap();
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..8 {
        let (store, round) = (store.clone(), round.clone());
        writers.spawn(async move {
            for n in 0..200 {
                let id = format!("{round}.{writer}.{n}");
                let message =
                    doc! { "_id": &id, "rid": "r", "ts": DateTime::now(), "edited": false };
                store.insert_message(message).await.unwrap();
                did("insert", &id);
                if n % 3 == 0 {
                    // Said before it is done: killed in between, the message may be there or not.
                    did("try-delete", &id);
                    store.delete_message(&id).await.unwrap();
                    did("delete", &id);
                } else if n % 3 == 1 {
                    store
                        .update_message(&id, Update::set(doc! { "edited": true }))
                        .await
                        .unwrap();
                    did("update", &id);
                }
            }
        });
    }
    writers.join_all().await;
}

/// Past the test harness, which would hold it back.
fn did(what: &str, id: &str) {
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "did {what} {id}").unwrap();
    stdout.flush().unwrap();
}
