//! The feed table: how a change is kept, and how it is followed.

use std::fmt;
use std::sync::Arc;

use bson::{Bson, Document, RawDocumentBuf, doc};
use redb::{Database, ReadableDatabase};
use tokio::sync::watch;

use crate::collection::Collection;
use crate::embedded::diff::diff;
use crate::embedded::failure::failed;
use crate::embedded::schema::FEED;
use crate::{Change, ChangeKind, Error, ErrorKind, raw};

/// How many changes one step of a reader returns at most.
const STEP_MAX: usize = 256;

/// A change as the feed table keeps it; its key is the sequence number.
pub(super) fn encode(
    collection: Collection,
    id: &str,
    before: Option<&Document>,
    after: Option<&Document>,
) -> Result<RawDocumentBuf, Error> {
    let mut entry = doc! { "collection": collection.name(), "id": id };
    match (before, after) {
        (Some(before), Some(after)) => {
            let (diff, unset) = diff(before, after);
            entry.insert("diff", diff);
            entry.insert("unset", unset);
            entry.insert("after", after.clone());
        }
        (Some(before), None) => {
            entry.insert("before", before.clone());
        }
        (None, after) => {
            entry.insert("after", after.cloned());
        }
    }
    raw::encode(&entry)
}

fn decode(seq: u64, bytes: &[u8]) -> Result<Change, Error> {
    let mut entry = raw::decode(bytes)?;
    let mut take = |key| entry.remove(key);
    let corrupt = || Error::new(ErrorKind::Corrupt, format!("change {seq} of the feed"));
    let collection = match take("collection") {
        Some(Bson::String(name)) => Collection::named(&name),
        _ => None,
    };
    let (id, diff, unset) = (take("id"), take("diff"), take("unset"));
    let (before, after) = (take("before"), take("after"));
    let kind = match (&before, diff) {
        (Some(_), _) => ChangeKind::Removed,
        (None, None) => ChangeKind::Inserted,
        (None, Some(diff)) => ChangeKind::Updated {
            diff: diff.as_document().cloned().ok_or_else(corrupt)?,
            unset: unset
                .as_ref()
                .and_then(|unset| unset.as_array())
                .ok_or_else(corrupt)?
                .iter()
                .filter_map(|path| path.as_str().map(str::to_owned))
                .collect(),
            truncated: Vec::new(),
        },
    };
    let Some(Bson::Document(document)) = before.or(after) else {
        return Err(corrupt());
    };
    Ok(Change {
        collection: collection.ok_or_else(corrupt)?,
        id: id.ok_or_else(corrupt)?,
        kind,
        document: Some(document),
    })
}

/// Changes from a position on: first those already kept, then live ones, without a seam.
// Every step reads the table, live ones too: it is in the page cache then, and there is no second path that could
// disagree with it.
pub struct Feed {
    database: Arc<Database>,
    committed: watch::Receiver<u64>,
    /// The newest change that has been returned.
    position: u64,
}

impl Feed {
    pub(super) fn start(
        database: Arc<Database>,
        committed: watch::Receiver<u64>,
        after: Option<u64>,
    ) -> Result<Self, Error> {
        let newest = *committed.borrow();
        let reader = Self {
            database,
            committed,
            position: after.unwrap_or(newest),
        };
        if reader.position > newest {
            return Err(reader.lost());
        }
        reader.read(1)?;
        Ok(reader)
    }

    /// Waits for the next changes and returns them, a bounded number at a time, in order, each with its sequence number,
    /// which grows by one per change and never restarts; `None` once every handle of the store is dropped. Cancel-safe: a change is passed over only when it has been returned.
    ///
    /// Fails with [`ErrorKind::HistoryLost`] if the reader fell behind what is kept.
    pub async fn next(&mut self) -> Result<Option<Vec<(u64, Change)>>, Error> {
        loop {
            // Marked as seen before the table is read, so that a commit in between wakes the wait below.
            self.committed.borrow_and_update();
            let changes = self.read(STEP_MAX)?;
            if let Some((last, _)) = changes.last() {
                self.position = *last;
                return Ok(Some(changes));
            }
            if self.committed.changed().await.is_err() {
                return Ok(None);
            }
        }
    }

    fn read(&self, limit: usize) -> Result<Vec<(u64, Change)>, Error> {
        let read = self.database.begin_read().map_err(failed)?;
        let feed = read.open_table(FEED).map_err(failed)?;
        let mut changes = Vec::new();
        for entry in feed.range(self.position + 1..).map_err(failed)?.take(limit) {
            let (seq, bytes) = entry.map_err(failed)?;
            if changes.is_empty() && seq.value() != self.position + 1 {
                return Err(self.lost());
            }
            changes.push((seq.value(), decode(seq.value(), bytes.value())?));
        }
        Ok(changes)
    }

    fn lost(&self) -> Error {
        Error::new(
            ErrorKind::HistoryLost,
            format!("those behind {}", self.position),
        )
    }
}

impl fmt::Debug for Feed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Feed")
            .field("position", &self.position)
            .finish_non_exhaustive()
    }
}
