//! Edits carried out on a document in memory, with MongoDB's meaning.

use bson::{Bson, DateTime, Document, doc};

use crate::collection::Collection;
use crate::edit::{ConnectionEdit, Edit, Update};
use crate::fields::LOGIN_TOKENS;
use crate::{Error, ErrorKind};

/// Carries out `edit`; `false` if the document does not hold what the edit is about (a token, a lost connection).
pub(super) fn apply(
    edit: &Edit,
    collection: Collection,
    document: &mut Document,
    now: DateTime,
) -> Result<bool, Error> {
    let found = match edit {
        Edit::Fields(update) | Edit::RawFields(update) => {
            update_fields(update, document)?;
            true
        }
        Edit::PushLoginToken(token) => {
            let tokens = login_tokens_mut(document)?;
            tokens.push(Bson::Document(token.clone()));
            // Nobody tidies up here: the oldest login goes, or a bot that logs in by password for days fills the store.
            if tokens.len() > LOGIN_TOKENS_MAX {
                tokens.remove(0);
            }
            true
        }
        Edit::PullLoginToken(hashed) => {
            let holds = |token: &Bson, key| {
                token
                    .as_document()
                    .and_then(|token| token.get_str(key).ok())
                    == Some(hashed)
            };
            remove_where(login_tokens_mut(document)?, |token| {
                holds(token, "hashedToken") || holds(token, "token")
            })
        }
        Edit::Connections(edits) => {
            let connections = connections(document);
            for edit in edits {
                edit_connection(connections, edit, now);
            }
            true
        }
        Edit::RemoveNodesExcept(live) => remove_where(connections(document), |connection| {
            is_lost(connection, live)
        }),
        Edit::RegisterInstance(fields) => {
            document.extend(fields.clone());
            document.insert("_createdAt", now);
            document.insert("_updatedAt", now);
            true
        }
        Edit::PingInstance => {
            document.insert("_updatedAt", now);
            true
        }
    };
    if found && collection.is_stamped() && !matches!(edit, Edit::RawFields(_)) {
        document.insert("_updatedAt", now);
    }
    Ok(found)
}

/// Logins of one user that an embedded workspace remembers.
const LOGIN_TOKENS_MAX: usize = 500;

pub(super) fn login_tokens(user: &Document) -> Option<&Vec<Bson>> {
    user.get_document("services")
        .ok()?
        .get_document("resume")
        .ok()?
        .get_array("loginTokens")
        .ok()
}

/// Whether a connection belongs to none of the live nodes.
pub(super) fn is_lost(connection: &Bson, live: &[String]) -> bool {
    let Some(connection) = connection.as_document() else {
        return false;
    };
    let node = connection.get_str("instanceId");
    !node.is_ok_and(|node| live.iter().any(|live| live == node))
}

fn update_fields(update: &Update, document: &mut Document) -> Result<(), Error> {
    for (path, value) in &update.set {
        let (parent, key) = parent_of(document, path)?;
        parent.insert(key, value.clone());
    }
    for (path, by) in &update.increment {
        let (parent, key) = parent_of(document, path)?;
        let sum = match parent.get(key) {
            None => Bson::Int32(*by),
            Some(Bson::Int32(value)) => match value.checked_add(*by) {
                Some(sum) => Bson::Int32(sum),
                None => Bson::Int64(i64::from(*value) + i64::from(*by)),
            },
            Some(Bson::Int64(value)) => Bson::Int64(value.saturating_add(i64::from(*by))),
            Some(Bson::Double(value)) => Bson::Double(value + f64::from(*by)),
            Some(_) => return Err(impassable(path)),
        };
        parent.insert(key, sum);
    }
    for path in &update.unset {
        remove_path(document, path);
    }
    Ok(())
}

/// The document that holds the last step of a path, made where it is missing, and that step.
fn parent_of<'d, 'p>(
    document: &'d mut Document,
    path: &'p str,
) -> Result<(&'d mut Document, &'p str), Error> {
    let mut parent = document;
    let mut rest = path;
    while let Some((step, below)) = rest.split_once('.') {
        let child = parent
            .entry(step.to_owned())
            .or_insert_with(|| Bson::Document(Document::new()));
        parent = child.as_document_mut().ok_or_else(|| impassable(path))?;
        rest = below;
    }
    Ok((parent, rest))
}

fn remove_path(document: &mut Document, path: &str) {
    match path.split_once('.') {
        None => {
            document.remove(path);
        }
        Some((step, below)) => {
            if let Some(Bson::Document(inner)) = document.get_mut(step) {
                remove_path(inner, below);
            }
        }
    }
}

fn login_tokens_mut(user: &mut Document) -> Result<&mut Vec<Bson>, Error> {
    array_at(user, LOGIN_TOKENS)
}

/// The list of connections; anything else in its place is no list of connections and gives way.
fn connections(sessions: &mut Document) -> &mut Vec<Bson> {
    if !matches!(sessions.get("connections"), Some(Bson::Array(_))) {
        sessions.insert("connections", Bson::Array(Vec::new()));
    }
    sessions
        .get_array_mut("connections")
        .expect("an array stands there now")
}

fn array_at<'d>(document: &'d mut Document, path: &str) -> Result<&'d mut Vec<Bson>, Error> {
    let (parent, key) = parent_of(document, path)?;
    let array = parent
        .entry(key.to_owned())
        .or_insert_with(|| Bson::Array(Vec::new()));
    array.as_array_mut().ok_or_else(|| impassable(path))
}

fn edit_connection(connections: &mut Vec<Bson>, edit: &ConnectionEdit, now: DateTime) {
    match edit {
        ConnectionEdit::Put {
            session,
            node,
            status,
        } => put_connection(connections, session, node, status, now),
        ConnectionEdit::Touch(session) => touch(connections, session, None, now),
        ConnectionEdit::SetStatus { session, status } => {
            touch(connections, session, Some(status), now);
        }
        ConnectionEdit::Remove(session) => {
            connections.retain(|connection| !is_text(connection, "id", session));
        }
        ConnectionEdit::RemoveUntouched { session, since } => {
            let since = DateTime::from_millis(*since);
            let was_touched = |connection: &Bson| {
                let touched = connection
                    .as_document()
                    .and_then(|connection| connection.get_datetime("_updatedAt").ok());
                touched.is_some_and(|touched| *touched > since)
            };
            let has_id = |connection: &Bson| {
                let id = connection
                    .as_document()
                    .and_then(|connection| connection.get_str("id").ok());
                id.unwrap_or_default() == session
            };
            connections.retain(|connection| !has_id(connection) || was_touched(connection));
        }
    }
}

fn put_connection(
    connections: &mut Vec<Bson>,
    session: &str,
    node: &str,
    status: &str,
    now: DateTime,
) {
    let known = connections
        .iter()
        .find(|connection| is_text(connection, "id", session));
    let created = known.and_then(|known| {
        known
            .as_document()?
            .get_datetime("_createdAt")
            .ok()
            .copied()
    });
    connections.retain(|connection| !is_text(connection, "id", session));
    connections.push(Bson::Document(doc! {
        "id": session,
        "instanceId": node,
        "status": status,
        "_createdAt": created.unwrap_or(now),
        "_updatedAt": now,
    }));
}

fn touch(connections: &mut [Bson], session: &str, status: Option<&str>, now: DateTime) {
    for connection in connections
        .iter_mut()
        .filter(|connection| is_text(connection, "id", session))
    {
        let connection = connection.as_document_mut().expect("it has an id");
        if let Some(status) = status {
            connection.insert("status", status);
        }
        connection.insert("_updatedAt", now);
    }
}

fn remove_where(array: &mut Vec<Bson>, unwanted: impl Fn(&Bson) -> bool) -> bool {
    let before = array.len();
    array.retain(|element| !unwanted(element));
    array.len() < before
}

fn is_text(value: &Bson, key: &str, text: &str) -> bool {
    value
        .as_document()
        .is_some_and(|document| document.get_str(key).is_ok_and(|found| found == text))
}

fn impassable(path: &str) -> Error {
    Error::new(
        ErrorKind::Invalid,
        format!("`{path}` leads through, or adds to, a value of another type"),
    )
}
