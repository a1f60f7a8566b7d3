//! Change streams, as the two commands that they are made of.
//!
//! Not the driver's own stream: that one goes on silently over empty batches and reconnects by itself, while the hub
//! wants to know when the server has last answered, how far an empty batch has come, and that a hanging `getMore` ends
//! at our deadline. Whatever fails is opened again from a token by its user.

use std::fmt;
use std::time::Duration;

use bson::{Bson, Document, doc};
use mongodb::ClientSession;

use crate::collection::Collection;
use crate::mongo::hub::Token;
use crate::mongo::{Mongo, failure};
use crate::{Change, ChangeKind, Error, ErrorKind};

/// The changes of some collections, in the order of the server's log.
///
/// After an error it is of no more use: open another one behind the last token.
pub struct ChangeStream {
    mongo: Mongo,
    /// Taken while a command is under way, which a late command then keeps; the server gives cursors up by itself.
    cursor: Option<Cursor>,
    /// What came with the opening, not yet handed out.
    first: Option<Batch>,
}

/// What a change stream tells of each change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// New documents, and what differs.
    Changes,
    /// The same, and updates with the document as it is when they are read.
    FullDocuments,
    /// That something happened to a document and no more, for a change that is too large to be told: an update shows as
    /// a replacement, and nothing has its document.
    Least,
}

/// What one step of a change stream has found.
#[derive(Debug, Default)]
pub struct Batch {
    /// Each with the token behind it.
    pub changes: Vec<(Token, Change)>,
    /// Behind everything that the server has looked at so far, changes of other collections too.
    pub token: Option<Token>,
    /// When the last of the changes happened, by the server's clock: seconds since 1970.
    pub happened: Option<u32>,
}

struct Cursor {
    /// 0 once the server has closed it.
    id: i64,
    /// A cursor belongs to the session that opened it.
    session: ClientSession,
}

impl ChangeStream {
    pub(crate) async fn open(
        mongo: Mongo,
        collections: &[Collection],
        detail: Detail,
        after: Option<Token>,
    ) -> Result<Self, Error> {
        let is_resumed = after.is_some();
        let mut stage = Document::new();
        if let Some(token) = after {
            // Unlike `resumeAfter` it also goes on behind an invalidation.
            stage.insert("startAfter", token.into_document());
        }
        if detail == Detail::FullDocuments {
            stage.insert("fullDocument", "updateLookup");
        }
        let names: Vec<&str> = collections.iter().map(|one| one.name()).collect();
        let wanted = doc! {
            "operationType": { "$in": ["insert", "update", "replace", "delete"] },
            "ns.coll": { "$in": names },
        };
        let mut pipeline = vec![doc! { "$changeStream": stage }, doc! { "$match": wanted }];
        if detail == Detail::Least {
            let least = doc! { "operationType": 1, "ns": 1, "documentKey": 1, "clusterTime": 1 };
            pipeline.push(doc! { "$project": least });
        }
        let command = doc! {
            "aggregate": 1,
            "pipeline": pipeline,
            "cursor": { "batchSize": BATCH_MAX },
            "comment": "ddp-edge stream-hub",
        };
        let database = mongo.database.clone();
        let open = async move {
            let mut session = database.client().start_session().await?;
            match database.run_command(command).session(&mut session).await {
                Ok(reply) => Ok(Ok((session, reply))),
                Err(error) if is_resumed && failure::code(&error).is_some_and(is_unreadable) => Ok(
                    Err(Error::new(ErrorKind::HistoryLost, "an unreadable token")),
                ),
                outcome => Ok(told(outcome)?.map(|reply| (session, reply))),
            }
        };
        let (session, mut reply) = mongo.deadline.run(open).await??;
        let (id, first) = read(&mut reply, "firstBatch")?;
        Ok(Self {
            mongo,
            cursor: Some(Cursor { id, session }),
            first: Some(first),
        })
    }

    /// Waits up to `wait` for changes and returns them, a bounded number at a time; without any, how far the server
    /// has looked.
    pub async fn next(&mut self, wait: Duration) -> Result<Batch, Error> {
        if let Some(first) = self.first.take() {
            return Ok(first);
        }
        let closed = || Error::new(ErrorKind::Unavailable, "the change stream has ended");
        let Cursor { id, mut session } = self
            .cursor
            .take()
            .filter(|cursor| cursor.id != 0)
            .ok_or_else(closed)?;
        let command = doc! {
            "getMore": id,
            "collection": "$cmd.aggregate",
            "batchSize": BATCH_MAX,
            "maxTimeMS": i64::try_from(wait.as_millis()).unwrap_or(i64::MAX).max(1),
        };
        let database = self.mongo.database.clone();
        let more = async move {
            let reply = database.run_command(command).session(&mut session).await;
            Ok(told(reply)?.map(|reply| (session, reply)))
        };
        let (session, mut reply) = self.mongo.deadline.run(more).await??;
        let (id, batch) = read(&mut reply, "nextBatch")?;
        self.cursor = Some(Cursor { id, session });
        Ok(batch)
    }

    /// Tells the server that nobody will read on.
    pub async fn close(mut self) {
        let Some(Cursor { id, mut session }) = self.cursor.take().filter(|cursor| cursor.id != 0)
        else {
            return;
        };
        let database = self.mongo.database.clone();
        let kill = async move {
            let command = doc! { "killCursors": "$cmd.aggregate", "cursors": [id] };
            database.run_command(command).session(&mut session).await
        };
        // If it cannot be told, it finds out after ten minutes.
        let _ = self.mongo.deadline.run(kill).await;
    }
}

impl fmt::Debug for ChangeStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChangeStream").finish_non_exhaustive()
    }
}

/// Changes at most in one batch: what a hub announces between two checkpoints.
const BATCH_MAX: i32 = 500;

/// What servers say to a token that they cannot read, besides InvalidResumeToken: BadValue, FailedToParse, TypeMismatch,
/// and what their decoder of keys asserts.
fn is_unreadable(code: i32) -> bool {
    matches!(code, 2 | 9 | 14 | 50_800..=50_899)
}

/// A reply, or that the server holds a change that does not fit into one (BSONObjectTooLarge); any other error stays.
fn told(
    outcome: mongodb::error::Result<Document>,
) -> mongodb::error::Result<Result<Document, Error>> {
    match outcome {
        Err(error) if failure::code(&error) == Some(10334) => {
            Ok(Err(Error::new(ErrorKind::TooLarge, "a change")))
        }
        outcome => outcome.map(Ok),
    }
}

/// A reply to either command.
fn read(reply: &mut Document, batch: &str) -> Result<(i64, Batch), Error> {
    let odd = || Error::new(ErrorKind::Corrupt, "a reply of a change stream");
    let cursor = reply.get_document_mut("cursor").map_err(|_| odd())?;
    let id = cursor.get_i64("id").map_err(|_| odd())?;
    let token = match cursor.remove("postBatchResumeToken") {
        Some(Bson::Document(token)) => Some(Token::new(token)),
        _ => None,
    };
    let Some(Bson::Array(events)) = cursor.remove(batch) else {
        return Err(odd());
    };
    let mut changes = Vec::with_capacity(events.len());
    let (mut last, mut happened) = (None, None);
    for event in events {
        let Bson::Document(mut event) = event else {
            return Err(odd());
        };
        let Some(Bson::Document(token)) = event.remove("_id") else {
            return Err(odd());
        };
        let token = Token::new(token);
        last = Some(token.clone());
        if let Ok(at) = event.get_timestamp("clusterTime") {
            happened = Some(at.time);
        }
        changes.extend(change(event).map(|change| (token, change)));
    }
    let token = token.or(last);
    let batch = Batch {
        changes,
        token,
        happened,
    };
    Ok((id, batch))
}

/// A change event; `None` for what is about no document of ours.
fn change(mut event: Document) -> Option<Change> {
    let collection = Collection::named(event.get_document("ns").ok()?.get_str("coll").ok()?)?;
    let id = event.get_document("documentKey").ok()?.get("_id")?.clone();
    let document = match event.remove("fullDocument") {
        Some(Bson::Document(document)) => Some(document),
        _ => None,
    };
    let kind = match event.get_str("operationType").ok()? {
        "insert" => ChangeKind::Inserted,
        "replace" => ChangeKind::Replaced,
        "delete" => ChangeKind::Removed,
        "update" => {
            let Some(Bson::Document(mut description)) = event.remove("updateDescription") else {
                return Some(Change {
                    collection,
                    id,
                    kind: ChangeKind::Replaced,
                    document,
                });
            };
            let paths = |found: Option<Bson>, path: fn(&Bson) -> Option<&str>| match found {
                Some(Bson::Array(found)) => found
                    .iter()
                    .filter_map(|one| path(one).map(str::to_owned))
                    .collect(),
                _ => Vec::new(),
            };
            ChangeKind::Updated {
                unset: paths(description.remove("removedFields"), Bson::as_str),
                truncated: paths(description.remove("truncatedArrays"), |one| {
                    one.as_document()?.get_str("field").ok()
                }),
                diff: match description.remove("updatedFields") {
                    Some(Bson::Document(diff)) => diff,
                    _ => Document::new(),
                },
            }
        }
        _ => return None,
    };
    Some(Change {
        collection,
        id,
        kind,
        document,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_update_keeps_its_paths_as_the_server_gave_them() {
        let event = doc! {
            "operationType": "update", "ns": { "db": "d", "coll": "users" }, "documentKey": { "_id": "u" },
            "updateDescription": {
                "updatedFields": { "a.b": 1, "list.0": 2 },
                "removedFields": ["gone"],
                "truncatedArrays": [{ "field": "list", "newSize": 1 }],
            },
        };
        let kind = ChangeKind::Updated {
            diff: doc! { "a.b": 1, "list.0": 2 },
            unset: vec!["gone".into()],
            truncated: vec!["list".into()],
        };
        let expected = Change {
            collection: Collection::Users,
            id: "u".into(),
            kind,
            document: None,
        };
        assert_eq!(change(event), Some(expected));
    }

    #[test]
    fn what_is_about_no_document_is_passed_over_and_its_token_counts() {
        let event = doc! {
            "_id": { "_data": "82" }, "operationType": "invalidate", "ns": { "db": "d" },
        };
        let mut reply = doc! { "cursor": { "id": 0_i64, "firstBatch": [event] } };
        let (id, batch) = read(&mut reply, "firstBatch").unwrap();
        assert_eq!((id, batch.changes.len()), (0, 0));
        assert_eq!(batch.token, Some(Token::new(doc! { "_data": "82" })));
    }
}
