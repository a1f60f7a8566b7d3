//! What the server says about itself, and whether the indexes are there on which our look-ups rest.

use std::time::{Duration, Instant, SystemTime};

use bson::{Bson, Document, doc};

use crate::Error;
use crate::collection::Collection;
use crate::mongo::Mongo;

/// A MongoDB as an operator wants to know it.
#[derive(Clone, Debug)]
pub struct Examination {
    /// Of the server.
    pub version: String,
    /// Name of the replica set; `None`: it stands alone, and nobody can follow its changes.
    pub replica_set: Option<String>,
    /// Whether what answered takes writes.
    pub is_primary: bool,
    /// How far its clock is ahead of ours, in milliseconds, and how exactly we know: half of the round trip.
    pub clock_ahead: i64,
    pub clock_error: Duration,
    /// Indexes that are not there, as `collection: field, field`.
    pub missing_indexes: Vec<String>,
}

/// Collection and fields, in order, of an index that our look-ups need: the monolith's, and below those of presence.
const NEEDED: [(Collection, &[&str]); 8] = [
    (
        Collection::Users,
        &["services.resume.loginTokens.hashedToken"],
    ),
    (Collection::Users, &["username"]),
    (Collection::Subscriptions, &["rid", "u._id"]),
    (Collection::Subscriptions, &["u._id"]),
    (Collection::Sessions, &["connections.id"]),
    (Collection::Sessions, &["connections.instanceId"]),
    (Collection::Sessions, &["connections._updatedAt"]),
    (Collection::Instances, &["_updatedAt"]),
];

impl Mongo {
    pub(crate) async fn examine(&self) -> Result<Examination, Error> {
        let started = Instant::now();
        let hello = self.command(doc! { "hello": 1 }).await?;
        let round_trip = started.elapsed();
        let version = self.command(doc! { "buildInfo": 1 }).await?;
        let theirs = match hello.get("localTime") {
            Some(Bson::DateTime(time)) => Some(time.timestamp_millis()),
            _ => None,
        };
        let ours = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .map_or(0, |now| i64::try_from(now.as_millis()).unwrap_or(i64::MAX));
        let since = i64::try_from((started.elapsed() - round_trip / 2).as_millis()).unwrap_or(0);
        let mut indexes = Vec::new();
        for (collection, _) in NEEDED {
            if indexes.iter().all(|(known, _)| *known != collection) {
                indexes.push((collection, self.indexes(collection).await?));
            }
        }
        let is_there = |(collection, fields): &(Collection, &[&str])| {
            let known = indexes.iter().filter(|(known, _)| known == collection);
            known.flat_map(|(_, all)| all).any(|index| {
                index
                    .iter()
                    .zip(fields.iter())
                    .filter(|(a, b)| a == b)
                    .count()
                    == fields.len()
            })
        };
        Ok(Examination {
            version: text(&version, "version").unwrap_or_default(),
            replica_set: text(&hello, "setName"),
            is_primary: hello.get_bool("isWritablePrimary").unwrap_or(false),
            clock_ahead: theirs.map_or(0, |theirs| theirs + since - ours),
            clock_error: round_trip / 2,
            missing_indexes: NEEDED
                .iter()
                .filter(|needed| !is_there(needed))
                .map(|(collection, fields)| format!("{}: {}", collection.name(), fields.join(", ")))
                .collect(),
        })
    }

    async fn command(&self, command: Document) -> Result<Document, Error> {
        let database = self.database.clone();
        self.deadline
            .run(async move { database.run_command(command).await })
            .await
    }

    /// The fields of each index of a collection; a collection that is not there has none.
    async fn indexes(&self, collection: Collection) -> Result<Vec<Vec<String>>, Error> {
        /// NamespaceNotFound.
        const ABSENT: i32 = 26;
        let collection = self.database.collection::<Document>(collection.name());
        let list = async move {
            let mut cursor = match collection.list_indexes().await {
                Ok(cursor) => cursor,
                Err(error) if super::failure::code(&error) == Some(ABSENT) => {
                    return Ok(Vec::new());
                }
                Err(error) => return Err(error),
            };
            let mut indexes = Vec::new();
            while cursor.advance().await? {
                let index = cursor.deserialize_current()?;
                indexes.push(index.keys.keys().cloned().collect());
            }
            Ok(indexes)
        };
        self.deadline.run(list).await
    }
}

fn text(document: &Document, name: &str) -> Option<String> {
    document.get_str(name).ok().map(str::to_owned)
}
