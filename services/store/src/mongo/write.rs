//! Edits as MongoDB's update documents and pipelines.

use bson::{Bson, DateTime, Document, doc};
use mongodb::options::UpdateModifications;

use crate::collection::Collection;
use crate::edit::{Edit, Update};
use crate::mongo::query::lost_connection;
use crate::users::LOGIN_TOKENS;

pub(super) struct Write {
    pub(super) update: UpdateModifications,
    pub(super) array_filter: Option<Document>,
}

/// The match over all edits is the table of the updates.
pub(super) fn write(edit: Edit, collection: Collection, now: DateTime) -> Write {
    let stamped = collection.is_stamped() && !matches!(edit, Edit::RawFields(_));
    let mut array_filter = None;
    let mut update = match edit {
        Edit::PutConnection {
            session,
            node,
            status,
        } => {
            return Write {
                update: put_connection(&session, &node, &status).into(),
                array_filter,
            };
        }
        Edit::PullLoginToken(hashed) => {
            return Write {
                update: pull_login_token(&hashed, now).into(),
                array_filter,
            };
        }
        Edit::Fields(update) | Edit::RawFields(update) => fields(update),
        Edit::PushLoginToken(token) => doc! { "$push": { LOGIN_TOKENS: token } },
        Edit::RemoveConnection(session) => doc! { "$pull": { "connections": { "id": session } } },
        Edit::RemoveNode(node) => doc! { "$pull": { "connections": { "instanceId": node } } },
        Edit::RemoveNodesExcept { live, before } => {
            doc! { "$pull": { "connections": lost_connection(&live, before) } }
        }
        Edit::SetConnectionStatus { session, status } => {
            array_filter = Some(doc! { "connection.id": session });
            doc! { "$set": {
                "connections.$[connection].status": status,
                "connections.$[connection]._updatedAt": now,
            } }
        }
        Edit::TouchConnection(session) => {
            array_filter = Some(doc! { "connection.id": session });
            doc! { "$set": { "connections.$[connection]._updatedAt": now } }
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
    Write {
        update: update.into(),
        array_filter,
    }
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

/// Drops the connection with this id, if any, and appends the new one with its `_createdAt`: one step, so that a second
/// login on a socket leaves one entry (services.md 4.2). `$literal` because ids may begin with `$`.
fn put_connection(session: &str, node: &str, status: &str) -> Vec<Document> {
    let connections = doc! { "$ifNull": ["$connections", []] };
    let where_id = |operator: &str| {
        doc! { "$filter": {
            "input": connections.clone(),
            "cond": { operator: ["$$this.id", { "$literal": session }] },
        } }
    };
    let known = doc! { "$arrayElemAt": [
        { "$map": { "input": where_id("$eq"), "in": "$$this._createdAt" } },
        0,
    ] };
    let connection = doc! {
        "id": { "$literal": session },
        "instanceId": { "$literal": node },
        "status": { "$literal": status },
        "_createdAt": { "$ifNull": [known, "$$NOW"] },
        "_updatedAt": "$$NOW",
    };
    vec![doc! { "$set": { "connections": { "$concatArrays": [where_id("$ne"), [connection]] } } }]
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
