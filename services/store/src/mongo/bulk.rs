//! Many updates in one command. The driver's own `bulk_write` needs MongoDB 8; this is the command of every version.

use bson::{Bson, DateTime, Document, doc};
use mongodb::options::UpdateModifications;

use crate::collection::Collection;
use crate::edit::GuardedEdit;
use crate::mongo::{Mongo, failure, write};
use crate::{Edited, Error, ErrorKind};

/// Two writers that make the same document at the same time: the slower one finds it there the next time.
const ATTEMPTS: usize = 4;
const DUPLICATE: i32 = 11_000;

impl Mongo {
    /// Every edit on its own, in no particular order. An update that the server refuses is counted in the log and
    /// does not keep the others.
    pub(crate) async fn edit_many(
        &self,
        collection: Collection,
        edits: Vec<GuardedEdit>,
    ) -> Result<Edited, Error> {
        let now = DateTime::now();
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
        for _ in 1..ATTEMPTS {
            let (edited, refused) = self.update(command.clone()).await?;
            if !refused.contains(&DUPLICATE) {
                if let Some(code) = refused.first() {
                    tracing::warn!(code, count = refused.len(), "MongoDB refused updates");
                }
                return Ok(edited);
            }
        }
        self.update(command).await.map(|(edited, _)| edited)
    }

    /// Sends the command; what it did, and the codes of the updates that were refused.
    async fn update(&self, command: Document) -> Result<(Edited, Vec<i32>), Error> {
        let database = self.database.clone();
        let reply = self
            .deadline
            .run(async move { database.run_command(command).await })
            .await?;
        let codes = |name: &str| {
            let errors = reply.get_array(name).into_iter().flatten();
            errors
                .filter_map(|error| error.as_document()?.get_i32("code").ok())
                .collect::<Vec<i32>>()
        };
        if let Ok(concern) = reply.get_document("writeConcernError") {
            let code = concern.get_i32("code").unwrap_or_default();
            return Err(failure::of_code(code));
        }
        let count = |name: &str| match reply.get(name) {
            Some(Bson::Int32(count)) => u64::try_from(*count).unwrap_or(0),
            Some(Bson::Int64(count)) => u64::try_from(*count).unwrap_or(0),
            Some(Bson::Double(count)) => *count as u64,
            _ => 0,
        };
        let edited = Edited {
            found: count("n"),
            changed: count("nModified"),
        };
        Ok((edited, codes("writeErrors")))
    }
}

fn statement(edit: GuardedEdit, collection: Collection, now: DateTime) -> Document {
    let mut filter = doc! { "_id": edit.id };
    for (field, value) in edit.seen {
        filter.insert(field, doc! { "$eq": value });
    }
    let upsert = edit.edit.makes_the_document();
    let update = match write::write(edit.edit, collection, now) {
        UpdateModifications::Pipeline(stages) => {
            Bson::Array(stages.into_iter().map(Bson::Document).collect())
        }
        UpdateModifications::Document(update) => Bson::Document(update),
        // The driver may learn more kinds; `write` makes these two.
        _ => Bson::Document(Document::new()),
    };
    doc! { "q": filter, "u": update, "upsert": upsert }
}
