//! Database changes to events (services.md 5), for stores whose changes nobody else announces: the embedded one.
//!
//! Order: changes are announced in the order of their commits, one after another.

use backplane::{Bus, Service};
use store::{
    Change, ChangeKind, ErrorKind, ROOM_FIELDS, SUBSCRIPTION_FIELDS, Store,
    bson::{Bson, Document, doc},
    ejson, project,
};
use tokio_util::sync::CancellationToken;

/// Announces the store's changes until the shutdown. Ends at once on MongoDB, whose change streams come later.
pub async fn run(bus: Bus, store: Store, shutdown: CancellationToken) {
    let _inbox = bus.announce(Service {
        name: "hub",
        actions: vec![],
        events: vec![],
    });
    let mut feed = match store.changes(None) {
        Ok(feed) => feed,
        Err(error) => return tracing::error!(%error, "the store has no change feed"),
    };
    loop {
        let changes = tokio::select! {
            () = shutdown.cancelled() => return bus.withdraw("hub"),
            changes = feed.next() => changes,
        };
        match changes {
            Ok(Some(changes)) => {
                for (event, args) in changes.iter().filter_map(announcement) {
                    bus.broadcast(event, &args);
                }
            }
            Ok(None) => return,
            Err(error) => {
                tracing::error!(%error, "the change feed broke; going on from now");
                if error.kind() != ErrorKind::HistoryLost {
                    return;
                }
                match store.changes(None) {
                    Ok(fresh) => feed = fresh,
                    Err(error) => return tracing::error!(%error, "the store has no change feed"),
                }
            }
        }
    }
}

/// The event that says this change, with its arguments as a raw JSON array; `None` for changes that nobody follows.
fn announcement(change: &Change) -> Option<(&'static str, String)> {
    let (action, payload) = match change.collection {
        "rocketchat_message" => return message(change),
        "rocketchat_room" => (
            action(change),
            doc! { "room": projected(change, ROOM_FIELDS, &["_id"])? },
        ),
        "rocketchat_subscription" => (
            action(change),
            doc! { "subscription": projected(change, SUBSCRIPTION_FIELDS, &["_id", "u", "rid", "t"])? },
        ),
        "users" => return Some(("watch.users", args(user(change)))),
        "rocketchat_settings" => (action(change), doc! { "setting": change.document.clone() }),
        "rocketchat_roles" => (
            role_action(change),
            doc! { "role": change.document.clone() },
        ),
        "rocketchat_permissions" => (action(change), doc! { "data": permission(change) }),
        _ => return None,
    };
    if is_useless(change) {
        return None;
    }
    let mut event = doc! { "clientAction": action };
    event.extend(payload);
    Some((event_name(change.collection), args(event)))
}

fn event_name(collection: &str) -> &'static str {
    match collection {
        "rocketchat_room" => "watch.rooms",
        "rocketchat_subscription" => "watch.subscriptions",
        "rocketchat_settings" => "watch.settings",
        "rocketchat_roles" => "watch.roles",
        _ => "permission.changed",
    }
}

fn args(event: Document) -> String {
    format!("[{}]", ejson::to_text(&event))
}

fn action(change: &Change) -> &'static str {
    match change.kind {
        ChangeKind::Inserted => "inserted",
        ChangeKind::Updated { .. } => "updated",
        ChangeKind::Removed => "removed",
    }
}

fn role_action(change: &Change) -> &'static str {
    if change.kind == ChangeKind::Removed {
        "removed"
    } else {
        "changed"
    }
}

/// Nothing but the time stamp moved.
fn is_useless(change: &Change) -> bool {
    matches!(&change.kind, ChangeKind::Updated { diff, unset } if unset.is_empty() && diff.keys().eq(["_updatedAt"]))
}

/// Messages that are gone or hidden are announced by other events.
fn message(change: &Change) -> Option<(&'static str, String)> {
    let hidden = ["_hidden", "imported"].iter().any(
        |field| matches!(change.document.get(field), Some(value) if *value != Bson::Boolean(false)),
    );
    if change.kind == ChangeKind::Removed || hidden {
        return None;
    }
    Some((
        "watch.messages",
        args(doc! { "clientAction": action(change), "message": change.document.clone() }),
    ))
}

/// What clients may see of a document, or what is left of it; `None` if nothing that they may see has changed.
fn projected(change: &Change, fields: &[&str], removed: &[&str]) -> Option<Document> {
    match &change.kind {
        ChangeKind::Removed => Some(project(&change.document, removed)),
        ChangeKind::Inserted => Some(project(&change.document, fields)),
        ChangeKind::Updated { diff, unset } => {
            let top = |path: &str| path.split('.').next().unwrap_or_default().to_owned();
            let mut touched = diff
                .keys()
                .map(|path| top(path))
                .chain(unset.iter().map(|path| top(path)));
            touched
                .any(|field| fields.contains(&field.as_str()))
                .then(|| project(&change.document, fields))
        }
    }
}

fn user(change: &Change) -> Document {
    let mut event = doc! { "clientAction": action(change), "id": &change.id };
    match &change.kind {
        ChangeKind::Inserted => {
            event.insert("data", change.document.clone());
        }
        ChangeKind::Updated { diff, unset } => {
            event.insert("diff", diff.clone());
            event.insert(
                "unset",
                unset
                    .iter()
                    .map(|field| (field.clone(), Bson::Int32(1)))
                    .collect::<Document>(),
            );
        }
        ChangeKind::Removed => {}
    }
    event
}

fn permission(change: &Change) -> Document {
    if change.kind == ChangeKind::Removed {
        doc! { "_id": &change.id, "roles": [] }
    } else {
        change.document.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(collection: &'static str, kind: ChangeKind, document: Document) -> Change {
        Change {
            seq: 1,
            collection,
            id: document.get_str("_id").unwrap_or_default().to_owned(),
            kind,
            document,
        }
    }

    fn updated(diff: Document, unset: &[&str]) -> ChangeKind {
        ChangeKind::Updated {
            diff,
            unset: unset.iter().map(|field| (*field).to_owned()).collect(),
        }
    }

    #[test]
    fn a_new_message_is_announced_whole_and_a_hidden_one_is_not() {
        let (event, args) = announcement(&change(
            "rocketchat_message",
            ChangeKind::Inserted,
            doc! { "_id": "m1", "rid": "r1", "msg": "hi" },
        ))
        .unwrap();
        assert_eq!(event, "watch.messages");
        assert_eq!(
            args,
            r#"[{"clientAction":"inserted","message":{"_id":"m1","rid":"r1","msg":"hi"}}]"#
        );
        assert_eq!(
            announcement(&change(
                "rocketchat_message",
                ChangeKind::Inserted,
                doc! { "_id": "m1", "_hidden": true }
            )),
            None
        );
        assert_eq!(
            announcement(&change(
                "rocketchat_message",
                ChangeKind::Removed,
                doc! { "_id": "m1" }
            )),
            None
        );
    }

    #[test]
    fn a_removed_subscription_says_whose_and_where_and_no_more() {
        let document =
            doc! { "_id": "s1", "rid": "r1", "u": { "_id": "u1" }, "t": "p", "E2EKey": "k" };
        let (event, args) = announcement(&change(
            "rocketchat_subscription",
            ChangeKind::Removed,
            document,
        ))
        .unwrap();
        assert_eq!(event, "watch.subscriptions");
        let value: serde_json::Value = serde_json::from_str(&args).unwrap();
        assert_eq!(
            value,
            serde_json::json!([{ "clientAction": "removed", "subscription": { "_id": "s1", "rid": "r1", "u": { "_id": "u1" }, "t": "p" } }])
        );
    }

    #[test]
    fn changes_of_private_fields_and_of_time_stamps_alone_stay_silent() {
        let room = doc! { "_id": "r1", "t": "c", "secretField": 1 };
        assert_eq!(
            announcement(&change(
                "rocketchat_room",
                updated(doc! { "secretField": 1 }, &[]),
                room.clone()
            )),
            None
        );
        assert_eq!(
            announcement(&change(
                "rocketchat_room",
                updated(doc! { "_updatedAt": 1 }, &[]),
                room.clone()
            )),
            None
        );
        assert!(
            announcement(&change(
                "rocketchat_room",
                updated(doc! { "topic": "x" }, &[]),
                room
            ))
            .is_some()
        );
    }

    #[test]
    fn a_user_update_keeps_the_exact_keys_that_consumers_look_for() {
        let kind = updated(doc! { "services.resume.loginTokens": [] }, &["statusText"]);
        let (event, args) = announcement(&change("users", kind, doc! { "_id": "u1" })).unwrap();
        assert_eq!(event, "watch.users");
        assert_eq!(
            args,
            r#"[{"clientAction":"updated","id":"u1","diff":{"services.resume.loginTokens":[]},"unset":{"statusText":1}}]"#
        );
    }

    #[test]
    fn a_removed_permission_belongs_to_nobody() {
        let (event, args) = announcement(&change(
            "rocketchat_permissions",
            ChangeKind::Removed,
            doc! { "_id": "p", "roles": ["admin"] },
        ))
        .unwrap();
        assert_eq!(event, "permission.changed");
        assert_eq!(
            args,
            r#"[{"clientAction":"removed","data":{"_id":"p","roles":[]}}]"#
        );
    }
}
