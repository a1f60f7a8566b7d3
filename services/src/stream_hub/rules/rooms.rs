//! Messages, rooms and subscriptions.

use std::collections::BTreeSet;

use store::{
    ChangeKind, ROOM_FIELDS, SUBSCRIPTION_FIELDS,
    bson::{Bson, Document, doc},
    project,
};

use super::case::{Announcement, Ask, Case, event, is_truthy};

/// Messages that are gone or hidden are told by other events.
pub(super) fn message(case: &Case<'_>) -> Result<Vec<Announcement>, Ask> {
    if case.is_removed() {
        return Ok(Vec::new());
    }
    let Some(mut message) = case.document(&[])? else {
        return Ok(Vec::new());
    };
    let is_set = |field| message.get(field).is_some_and(is_truthy);
    let is_hidden = message.get_str("t").is_ok_and(|kind| {
        case.facts
            .hidden_messages
            .iter()
            .any(|hidden| hidden == kind)
    });
    if is_hidden || is_set("_hidden") || is_set("imported") {
        return Ok(Vec::new());
    }
    if case.facts.use_real_names {
        put_real_names(case, &mut message)?;
    }
    let payload = doc! { "clientAction": case.action() };
    Ok(event(
        "watch.messages",
        payload,
        [("message", Some(message))],
    ))
}

pub(super) fn room(case: &Case<'_>) -> Result<Vec<Announcement>, Ask> {
    let room = match case.is_removed() {
        true => Some(case.only_id()),
        false if !case.touches(ROOM_FIELDS) => None,
        // Of new rooms too: their join code is nobody's business.
        false => case.document(ROOM_FIELDS)?,
    };
    let payload = doc! { "clientAction": case.action() };
    Ok(match room {
        Some(room) => event("watch.rooms", payload, [("room", Some(room))]),
        None => Vec::new(),
    })
}

pub(super) fn subscription(case: &Case<'_>) -> Result<Vec<Announcement>, Ask> {
    let subscription = match case.is_removed() {
        true => Some(match case.trash()? {
            Some(trash) => project(&trash, &["u", "rid"]),
            None => case.only_id(),
        }),
        false if !case.touches(SUBSCRIPTION_FIELDS) => None,
        false => match (&case.change.kind, &case.change.document) {
            (ChangeKind::Inserted | ChangeKind::Replaced, Some(whole)) => Some(whole.clone()),
            _ => case.document(SUBSCRIPTION_FIELDS)?,
        },
    };
    let payload = doc! { "clientAction": case.action() };
    Ok(match subscription {
        Some(subscription) => event(
            "watch.subscriptions",
            payload,
            [("subscription", Some(subscription))],
        ),
        None => Vec::new(),
    })
}

/// Puts the names of writer and mentioned users as their own documents have them.
fn put_real_names(case: &Case<'_>, message: &mut Document) -> Result<(), Ask> {
    let id = |user: &Document| user.get_str("_id").ok().map(str::to_owned);
    let mentions = |message: &mut Document| match message.get_mut("mentions") {
        Some(Bson::Array(mentions)) => std::mem::take(mentions),
        _ => Vec::new(),
    };
    let mut mentioned = mentions(message);
    let Some(names) = &case.known.names else {
        let users = mentioned.iter().filter_map(Bson::as_document);
        let users: BTreeSet<String> = users
            .chain(message.get_document("u").ok())
            .filter_map(id)
            .collect();
        if users.is_empty() {
            return put_back(message, mentioned);
        }
        return Err(Ask::Names(users));
    };
    let put = |user: &mut Document| {
        if let Some(name) = id(user).and_then(|id| names.get(&id)) {
            user.insert("name", name);
        }
    };
    mentioned
        .iter_mut()
        .filter_map(Bson::as_document_mut)
        .for_each(put);
    if let Ok(writer) = message.get_document_mut("u") {
        put(writer);
    }
    put_back(message, mentioned)
}

fn put_back(message: &mut Document, mentioned: Vec<Bson>) -> Result<(), Ask> {
    if let Some(Bson::Array(mentions)) = message.get_mut("mentions") {
        *mentions = mentioned;
    }
    Ok(())
}
