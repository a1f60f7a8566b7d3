//! The embedded store: redb, BSON documents, one writer.
//!
//! Reads run where they are called: they look into redb's page cache, and an embedded store is small enough to stay
//! there. Writes go through one thread (`writer`) that commits whatever waits in one transaction, because an fsync
//! costs the same for one write as for a hundred.

mod apply;
pub(crate) mod changes;
mod diff;
mod failure;
mod folder;
mod read;
mod schema;
mod tables;
mod writer;

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use bson::{Bson, Document, RawDocumentBuf};
use redb::{Database, ReadableDatabase};

use crate::collection::Collection;
use crate::edit::{Edit, Edited, GuardedEdit};
use crate::embedded::changes::Feed;
use crate::embedded::failure::failed;
use crate::embedded::read::Reader;
use crate::embedded::tables::Tables;
use crate::embedded::writer::{Due, Writer};
use crate::lookup::Lookup;
use crate::{Error, raw};

#[derive(Clone, Debug)]
pub(crate) struct Embedded {
    database: Arc<Database>,
    /// The last handle's drop waits for the thread, so that the folder is free again afterwards.
    writer: Arc<Writer>,
}

impl Embedded {
    pub(crate) fn open(path: Option<&Path>) -> Result<Self, Error> {
        let database = Arc::new(match path {
            Some(path) => folder::open(path)?,
            None => folder::in_memory()?,
        });
        let writer = Arc::new(Writer::start(Arc::clone(&database))?);
        Ok(Self { database, writer })
    }

    pub(crate) fn changes(&self, after: Option<u64>) -> Result<Feed, Error> {
        Feed::start(Arc::clone(&self.database), self.writer.committed(), after)
    }

    pub(crate) fn find(
        &self,
        lookup: Lookup<'_>,
        fields: &[&str],
    ) -> Result<Vec<RawDocumentBuf>, Error> {
        Reader::new(self.database.begin_read().map_err(failed)?).find(lookup, fields)
    }

    pub(crate) async fn insert(
        &self,
        collection: Collection,
        document: Document,
    ) -> Result<(), Error> {
        self.writer
            .write(Due::Now, move |tables| tables.insert(collection, &document))
            .await
    }

    pub(crate) async fn edit(&self, lookup: Lookup<'_>, edit: Edit) -> Result<Edited, Error> {
        let (collection, ids) = (lookup.collection(), self.ids(lookup)?);
        let due = due(collection, &edit);
        // What `lookup` says about a document's content is checked again by the edit itself, inside the transaction.
        let apply = move |tables: &mut Tables<'_>| {
            let mut sum = Edited::default();
            for id in &ids {
                let edited = tables.edit(collection, id, &edit)?;
                sum.found += edited.found;
                sum.changed += edited.changed;
            }
            Ok(sum)
        };
        self.writer.write(due, apply).await
    }

    pub(crate) async fn edit_many(
        &self,
        collection: Collection,
        edits: Vec<GuardedEdit>,
    ) -> Result<HashSet<usize>, Error> {
        let is_soon = |edit: &GuardedEdit| due(collection, &edit.edit) == Due::Soon;
        let due = match edits.iter().all(is_soon) {
            true => Due::Soon,
            false => Due::Now,
        };
        let apply = move |tables: &mut Tables<'_>| {
            let mut missed = HashSet::new();
            for (place, GuardedEdit { id, seen, edit }) in edits.iter().enumerate() {
                let is_done = tables.is_as_seen(collection, id, seen)?
                    && tables.edit(collection, id, edit)?.found > 0;
                if !is_done && !seen.is_empty() {
                    missed.insert(place);
                }
            }
            Ok(missed)
        };
        self.writer.write(due, apply).await
    }

    pub(crate) async fn remove(&self, lookup: Lookup<'_>) -> Result<bool, Error> {
        let (collection, ids) = (lookup.collection(), self.ids(lookup)?);
        let Some(id) = ids.into_iter().next() else {
            return Ok(false);
        };
        self.writer
            .write(Due::Now, move |tables| tables.remove(collection, &id))
            .await
    }

    pub(crate) fn by_ids(
        &self,
        collection: Collection,
        ids: &[Bson],
        fields: &[&str],
    ) -> Result<Vec<Document>, Error> {
        let ids: Vec<String> = ids
            .iter()
            .filter_map(|id| id.as_str().map(str::to_owned))
            .collect();
        let found = self.find(Lookup::Ids(collection, &ids), fields)?;
        found.iter().map(|found| raw::document(found)).collect()
    }

    fn ids(&self, lookup: Lookup<'_>) -> Result<Vec<String>, Error> {
        if let Lookup::Id(_, id) = lookup {
            return Ok(vec![id.to_owned()]);
        }
        let found = self.find(lookup, &["_id"])?;
        Ok(found
            .iter()
            .filter_map(|document| raw::text(document, "_id"))
            .collect())
    }
}

/// Who is connected, and what that makes of a status, is found out anew at the next start. What a person has said (a
/// text, a default) is not.
fn due(collection: Collection, edit: &Edit) -> Due {
    let is_presence = match collection {
        Collection::Sessions | Collection::Instances => true,
        Collection::Users => match edit {
            Edit::Fields(update) | Edit::RawFields(update) => {
                let mut set = update.set.keys();
                set.all(|field| matches!(field.as_str(), "status" | "statusConnection"))
                    && update.unset.is_empty()
                    && update.increment.is_empty()
            }
            _ => false,
        },
        _ => false,
    };
    match is_presence {
        true => Due::Soon,
        false => Due::Now,
    }
}
