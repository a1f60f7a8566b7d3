//! What a user's presence looks like in `users`, and the one way in which it is written (services.md 4.5, 4.6).

use bson::{Bson, DateTime, Document, RawDocument, RawDocumentBuf, doc};

use crate::collection::Collection;
use crate::edit::{Edit, GuardedEdit, Update};
use crate::lookup::Lookup;
use crate::{Error, Store, raw};

/// The presence fields of a user. A field of another type than expected counts as missing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Status {
    /// `status`: what others see.
    pub shown: Option<String>,
    /// `statusConnection`: what the connections alone say.
    pub connection: Option<String>,
    /// The claim that is in force; without a source it is what an older server wrote.
    pub claim: Claim,
    /// `previousState`: the claim that comes back when the one in force ends.
    pub previous: Option<Claim>,
}

/// What somebody wants a user's status to be.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Claim {
    /// `statusDefault`.
    pub default: Option<String>,
    /// `statusText`.
    pub text: Option<String>,
    /// `statusSource`: `internal`, `manual`, `external`.
    pub source: Option<String>,
    /// `statusExpiresAt`, in ms since 1970.
    pub expires: Option<i64>,
    /// `statusId`.
    pub id: Option<String>,
}

/// A user as presence reads it.
#[derive(Clone, Debug)]
pub struct StatusOwner {
    /// `_id`.
    pub id: String,
    /// Login name.
    pub username: Option<String>,
    /// Display name.
    pub name: Option<String>,
    /// `type`: `user`, `bot`, `app`, ...
    pub kind: Option<String>,
    /// Workspace roles; an empty list and no list differ in what is announced.
    pub roles: Option<Vec<String>>,
    /// The presence fields.
    pub status: Status,
    /// The same fields as stored: the next write happens only if they still are what they were.
    seen: Document,
}

/// One write of presence fields.
#[derive(Clone, Debug)]
pub struct StatusWrite {
    /// As it was read.
    pub owner: StatusOwner,
    /// What it becomes.
    pub after: Status,
    /// Whether `_updatedAt` moves: servers from 8.6 on move it, older ones do not.
    pub stamped: bool,
}

impl Store {
    /// These users; who does not exist is left out.
    pub async fn status_owners(&self, ids: &[String]) -> Result<Vec<StatusOwner>, Error> {
        let found = self
            .find(Lookup::Ids(Collection::Users, ids), OWNER_FIELDS)
            .await?;
        found.iter().map(owner).collect()
    }

    /// Writes the fields that differ, each user's only if no presence field of it has changed since it was read.
    /// Returns whether it was written, of each in their order. Not atomic over several users.
    pub async fn write_statuses(&self, writes: &[StatusWrite]) -> Result<Vec<bool>, Error> {
        let edits = writes.iter().map(|write| {
            let update = difference(&write.owner.status, &write.after);
            GuardedEdit {
                id: write.owner.id.clone(),
                seen: write.owner.seen.clone(),
                edit: if write.stamped {
                    Edit::Fields(update)
                } else {
                    Edit::RawFields(update)
                },
            }
        });
        let missed = self.edit_many(Collection::Users, edits.collect()).await?;
        let places = 0..writes.len();
        Ok(places.map(|place| !missed.contains(&place)).collect())
    }

    /// Users behind `after` whose `statusConnection` says that they are connected, in the order of their ids, at most
    /// `limit`.
    pub async fn users_thought_connected(
        &self,
        after: &str,
        limit: u32,
    ) -> Result<Vec<String>, Error> {
        let lookup = Lookup::UsersThoughtConnected { after, limit };
        let found = self.find(lookup, &["_id"]).await?;
        Ok(found
            .iter()
            .filter_map(|user| raw::text(user, "_id"))
            .collect())
    }

    /// The users whose status expires, with the time in ms since 1970: the earliest first, at most `limit`.
    pub async fn expiring_statuses(&self, limit: u32) -> Result<Vec<(String, i64)>, Error> {
        let found = self
            .find(Lookup::ExpiringStatuses { limit }, &["statusExpiresAt"])
            .await?;
        Ok(found
            .iter()
            .filter_map(|user| Some((raw::text(user, "_id")?, time(user, "statusExpiresAt")?)))
            .collect())
    }
}

/// The fields that say what a user's presence is, in the order of [`Status`].
const STATUS_FIELDS: [&str; 8] = [
    "status",
    "statusConnection",
    "statusDefault",
    "statusText",
    "statusSource",
    "statusExpiresAt",
    "statusId",
    "previousState",
];

const OWNER_FIELDS: &[&str] = &[
    "username",
    "name",
    "type",
    "roles",
    "status",
    "statusConnection",
    "statusDefault",
    "statusText",
    "statusSource",
    "statusExpiresAt",
    "statusId",
    "previousState",
];

fn owner(user: &RawDocumentBuf) -> Result<StatusOwner, Error> {
    let stored = raw::document(user)?;
    let seen = STATUS_FIELDS.map(|field| {
        let value = stored.get(field).cloned();
        (field.to_owned(), value.unwrap_or(Bson::Null))
    });
    Ok(StatusOwner {
        id: raw::text(user, "_id").unwrap_or_default(),
        username: raw::text(user, "username"),
        name: raw::text(user, "name"),
        kind: raw::text(user, "type"),
        roles: user
            .get_array("roles")
            .is_ok()
            .then(|| raw::texts(user, "roles")),
        status: Status {
            shown: raw::text(user, "status"),
            connection: raw::text(user, "statusConnection"),
            claim: claim(user),
            previous: user.get_document("previousState").ok().map(claim),
        },
        seen: seen.into_iter().collect(),
    })
}

fn claim(holder: &RawDocument) -> Claim {
    Claim {
        default: raw::text(holder, "statusDefault"),
        text: raw::text(holder, "statusText"),
        source: raw::text(holder, "statusSource"),
        expires: time(holder, "statusExpiresAt"),
        id: raw::text(holder, "statusId"),
    }
}

fn time(document: &RawDocument, key: &str) -> Option<i64> {
    document
        .get_datetime(key)
        .ok()
        .map(DateTime::timestamp_millis)
}

/// The update that turns one into the other.
fn difference(before: &Status, after: &Status) -> Update {
    let mut update = Update::default();
    // A connection without a status says `null`, as in the original (services.md 13).
    for (field, before, after) in [
        ("status", &before.shown, &after.shown),
        ("statusConnection", &before.connection, &after.connection),
    ] {
        if before != after {
            update.set.insert(field, after.clone());
        }
    }
    let (old, new) = (&before.claim, &after.claim);
    for (field, before, after) in [
        ("statusDefault", &old.default, &new.default),
        ("statusText", &old.text, &new.text),
        ("statusSource", &old.source, &new.source),
        ("statusId", &old.id, &new.id),
    ] {
        if before != after {
            put(&mut update, field, after.clone().map(Bson::String));
        }
    }
    if old.expires != new.expires {
        put(&mut update, "statusExpiresAt", new.expires.map(date));
    }
    if before.previous != after.previous {
        let previous = after.previous.as_ref();
        put(
            &mut update,
            "previousState",
            previous.map(|claim| Bson::Document(stash(claim))),
        );
    }
    update
}

fn put(update: &mut Update, field: &str, value: Option<Bson>) {
    match value {
        Some(value) => {
            update.set.insert(field, value);
        }
        None => update.unset.push(field.to_owned()),
    }
}

fn stash(claim: &Claim) -> Document {
    let mut stash = doc! {
        "statusDefault": claim.default.clone(),
        "statusText": claim.text.clone().unwrap_or_default(),
        "statusSource": claim.source.clone(),
    };
    if let Some(expires) = claim.expires {
        stash.insert("statusExpiresAt", date(expires));
    }
    if let Some(id) = &claim.id {
        stash.insert("statusId", id);
    }
    stash
}

fn date(ms: i64) -> Bson {
    Bson::DateTime(DateTime::from_millis(ms))
}
