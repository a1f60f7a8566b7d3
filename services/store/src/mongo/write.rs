//! Edits as MongoDB's update documents and pipelines.

use bson::{Bson, DateTime, Document, doc};
use mongodb::options::UpdateModifications;

use crate::collection::Collection;
use crate::edit::{ConnectionEdit, Edit, Update};
use crate::fields::LOGIN_TOKENS;
use crate::mongo::query::lost_connection;

/// The match over all edits is the table of the updates.
pub(super) fn write(edit: Edit, collection: Collection, now: DateTime) -> UpdateModifications {
    let stamped = collection.is_stamped() && !matches!(edit, Edit::RawFields(_));
    let mut update = match edit {
        Edit::Connections(edits) => return connections(&edits).into(),
        Edit::PullLoginToken(hashed) => {
            return pull_login_token(&hashed, now).into();
        }
        Edit::Fields(update) | Edit::RawFields(update) => fields(update),
        Edit::PushLoginToken(token) => doc! { "$push": { LOGIN_TOKENS: token } },
        Edit::RemoveNodesExcept(live) => {
            doc! { "$pull": { "connections": lost_connection(&live) } }
        }
        Edit::RegisterInstance(fields) => {
            doc! { "$set": fields, "$currentDate": { "_createdAt": true, "_updatedAt": true } }
        }
        Edit::PingInstance => doc! { "$currentDate": { "_updatedAt": true } },
    };
    if stamped {
        let set = update
            .entry("$set")
            .or_insert_with(|| Bson::Document(Document::new()));
        set.as_document_mut()
            .expect("`$set` is always a document here")
            .insert("_updatedAt", now);
    }
    update.into()
}

fn fields(update: Update) -> Document {
    let mut operators = Document::new();
    if !update.set.is_empty() {
        operators.insert("$set", update.set);
    }
    if !update.unset.is_empty() {
        let unset: Document = update
            .unset
            .into_iter()
            .map(|path| (path, "".into()))
            .collect();
        operators.insert("$unset", unset);
    }
    if !update.increment.is_empty() {
        let increment: Document = update
            .increment
            .into_iter()
            .map(|(path, by)| (path, by.into()))
            .collect();
        operators.insert("$inc", increment);
    }
    operators
}

/// A stage for each edit: whatever happened to a user's connections is one atomic step. What is no list of connections
/// counts as an empty one.
fn connections(edits: &[ConnectionEdit]) -> Vec<Document> {
    let list = doc! { "$cond": [{ "$isArray": ["$connections"] }, "$connections", []] };
    let edits = edits.iter().map(connection);
    std::iter::once(list)
        .chain(edits)
        .map(|connections| doc! { "$set": { "connections": connections } })
        .collect()
}

/// `$literal` because ids may begin with `$`.
fn connection(edit: &ConnectionEdit) -> Document {
    match edit {
        ConnectionEdit::Put {
            session,
            node,
            status,
        } => {
            let known = doc! { "$arrayElemAt": [
                { "$map": { "input": filter(is(session)), "in": "$$this._createdAt" } },
                0,
            ] };
            let connection = doc! {
                "id": { "$literal": session },
                "instanceId": { "$literal": node },
                "status": { "$literal": status },
                "_createdAt": { "$ifNull": [known, "$$NOW"] },
                "_updatedAt": "$$NOW",
            };
            doc! { "$concatArrays": [filter(is_not(session)), [connection]] }
        }
        ConnectionEdit::Touch(session) => change(session, doc! { "_updatedAt": "$$NOW" }),
        ConnectionEdit::SetStatus { session, status } => {
            let status = doc! { "$literal": status };
            change(session, doc! { "status": status, "_updatedAt": "$$NOW" })
        }
        ConnectionEdit::Remove(session) => filter(is_not(session)),
        ConnectionEdit::RemoveUntouched { session, since } => {
            // What is no text, or no date, is an empty one and none; by themselves neither would ever match.
            let is_text = doc! { "$eq": [{ "$type": "$$this.id" }, "string"] };
            let id = doc! { "$cond": [is_text, "$$this.id", ""] };
            let is_another = doc! { "$ne": [id, { "$literal": session }] };
            let is_touched = doc! { "$and": [
                { "$eq": [{ "$type": "$$this._updatedAt" }, "date"] },
                { "$gt": ["$$this._updatedAt", DateTime::from_millis(*since)] },
            ] };
            filter(doc! { "$or": [is_another, is_touched] })
        }
    }
}

fn filter(condition: Document) -> Document {
    doc! { "$filter": { "input": "$connections", "cond": condition } }
}

fn change(session: &str, fields: Document) -> Document {
    let changed = doc! { "$mergeObjects": ["$$this", fields] };
    let each = doc! { "$cond": [is(session), changed, "$$this"] };
    doc! { "$map": { "input": "$connections", "in": each } }
}

fn is(session: &str) -> Document {
    doc! { "$eq": ["$$this.id", { "$literal": session }] }
}

fn is_not(session: &str) -> Document {
    doc! { "$ne": ["$$this.id", { "$literal": session }] }
}

/// Keeps the tokens that have this hash neither as `hashedToken` nor, from before hashing, as `token`. A pipeline,
/// because not every server that speaks MongoDB's protocol takes `$or` inside `$pull`.
fn pull_login_token(hashed: &str, now: DateTime) -> Vec<Document> {
    let differs = |field: &str| doc! { "$ne": [format!("$$this.{field}"), { "$literal": hashed }] };
    let others = doc! { "$filter": {
        "input": format!("${LOGIN_TOKENS}"),
        "cond": { "$and": [differs("hashedToken"), differs("token")] },
    } };
    vec![doc! { "$set": { LOGIN_TOKENS: others, "_updatedAt": now } }]
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: DateTime = DateTime::from_millis(1_768_032_000_000);

    /// What an edit makes of `_updatedAt`, whichever stage or operator says so.
    fn time(edit: Edit, collection: Collection) -> Option<Bson> {
        let set = |update: &Document| {
            let set = update.get_document("$set").ok()?;
            set.get("_updatedAt").cloned()
        };
        match write(edit, collection, NOW) {
            UpdateModifications::Document(update) => set(&update),
            UpdateModifications::Pipeline(stages) => stages.iter().find_map(set),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_change_has_the_writers_time_where_the_collection_keeps_one() {
        let fields = || Update::set(doc! { "name": "x" });
        let remove = || {
            Edit::Fields(Update {
                unset: vec!["name".into()],
                ..Update::default()
            })
        };
        let untouched = || Edit::Connections(vec![ConnectionEdit::Touch("s".into())]);
        for (edit, collection, stamped) in [
            (Edit::Fields(fields()), Collection::Users, true),
            (remove(), Collection::Rooms, true),
            (Edit::Fields(fields()), Collection::Settings, true),
            (Edit::PushLoginToken(doc! {}), Collection::Users, true),
            (Edit::PullLoginToken("h".into()), Collection::Users, true),
            (Edit::RawFields(fields()), Collection::Users, false),
            (Edit::Fields(fields()), Collection::Sessions, false),
            (untouched(), Collection::Sessions, false),
            (Edit::Fields(fields()), Collection::Instances, false),
        ] {
            let shown = format!("{edit:?} {collection:?}");
            let expected = stamped.then_some(Bson::DateTime(NOW));
            assert_eq!(time(edit, collection), expected, "{shown}");
        }
    }
}
