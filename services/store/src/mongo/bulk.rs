//! Many updates in one command. The driver's own `bulk_write` needs MongoDB 8; this is the command of every version.

use std::collections::HashSet;

use bson::{Bson, DateTime, Document, doc};
use mongodb::options::UpdateModifications;

use crate::collection::Collection;
use crate::edit::GuardedEdit;
use crate::mongo::{Mongo, failure, write};
use crate::{Error, ErrorKind};

/// Two writers that make the same document at the same time: the slower one finds it there the next time.
const ATTEMPTS: usize = 4;
const DUPLICATE: i32 = 11_000;

/// An update that the server did not carry out.
struct Refused {
    place: usize,
    code: i32,
}

impl Mongo {
    /// Every edit on its own, in no particular order; the places of the guarded ones that were not carried out. Any other
    /// update that the server refuses is counted in the log and does not keep the others.
    pub(crate) async fn edit_many(
        &self,
        collection: Collection,
        edits: Vec<GuardedEdit>,
    ) -> Result<HashSet<usize>, Error> {
        let now = DateTime::now();
        let places = edits.iter().enumerate();
        let guarded: HashSet<usize> = places
            .filter(|(_, edit)| !edit.seen.is_empty())
            .map(|(place, _)| place)
            .collect();
        let mut command = doc! {
            "update": collection.name(),
            "updates": edits.into_iter().map(|edit| statement(edit, collection, now)).collect::<Vec<_>>(),
            "ordered": false,
        };
        // `run_command` knows nothing of the URL's write concern.
        if let Some(concern) = self.database.write_concern() {
            let concern = bson::serialize_to_bson(concern).map_err(|source| {
                Error::because(ErrorKind::Invalid, "the write concern", source)
            })?;
            command.insert("writeConcern", concern);
        }
        let is_duplicate = |it: &Refused| it.code == DUPLICATE && !guarded.contains(&it.place);
        let mut refused = self.update(command.clone()).await?;
        for _ in 1..ATTEMPTS {
            if !refused.iter().any(is_duplicate) {
                break;
            }
            refused = self.update(command.clone()).await?;
        }
        let places = refused.iter().map(|refused| refused.place);
        let missed = places.filter(|place| guarded.contains(place)).collect();
        refused.retain(|refused| !guarded.contains(&refused.place));
        if let Some(Refused { code, .. }) = refused.first() {
            tracing::warn!(code, count = refused.len(), "MongoDB refused updates");
        }
        Ok(missed)
    }

    /// Sends the command; what was refused.
    async fn update(&self, command: Document) -> Result<Vec<Refused>, Error> {
        let database = self.database.clone();
        let reply = self
            .deadline
            .run(async move { database.run_command(command).await })
            .await?;
        if let Ok(concern) = reply.get_document("writeConcernError") {
            let code = concern.get_i32("code").unwrap_or_default();
            return Err(failure::of_code(code));
        }
        let errors = reply.get_array("writeErrors").into_iter().flatten();
        let refused = errors.filter_map(|error| {
            let error = error.as_document()?;
            Some(Refused {
                place: usize::try_from(error.get_i32("index").ok()?).ok()?,
                code: error.get_i32("code").unwrap_or_default(),
            })
        });
        Ok(refused.collect())
    }
}

/// A reply counts the updates that found their document and names none of them, but it names those that failed. So a
/// guarded update whose document is no longer as it was seen is made to fail: it would make one, under an id that is not
/// the one asked for, which no server allows. (An aggregation that throws would do, where servers that speak MongoDB's
/// protocol did not refuse the whole command for it.)
fn statement(edit: GuardedEdit, collection: Collection, now: DateTime) -> Document {
    let is_guarded = !edit.seen.is_empty();
    let mut filter = doc! { "_id": edit.id };
    for (field, value) in edit.seen {
        filter.insert(field, doc! { "$eq": value });
    }
    let upsert = is_guarded || edit.edit.makes_the_document();
    let update = match write::write(edit.edit, collection, now) {
        UpdateModifications::Pipeline(stages) => {
            Bson::Array(stages.into_iter().map(Bson::Document).collect())
        }
        UpdateModifications::Document(mut update) => {
            if is_guarded {
                update.insert("$setOnInsert", doc! { "_id": false });
            }
            Bson::Document(update)
        }
        // The driver may learn more kinds; `write` makes these two.
        _ => Bson::Document(Document::new()),
    };
    doc! { "q": filter, "u": update, "upsert": upsert }
}
