//! Rooms: lists, creation, direct messages.

use backplane::ServiceError;
use serde_json::json;
use store::{
    Room, User,
    bson::{Bson, DateTime, Document, doc},
};

use super::{
    args::{Args, match_failed},
    workspace::{Call, Outcome, Workspace},
};
use crate::errors::unavailable;

const NAME_CHARS_MAX: usize = 100;
/// Members named when a room is made.
const MEMBERS_MAX: usize = 100;

impl Workspace {
    /// `[updatedSince?]`: a list, or `{update, remove}` where a date is given. Everything counts as updated.
    pub(super) async fn rooms(&self, call: &Call<'_>) -> Outcome {
        let rooms = self
            .store
            .room_documents_of(&call.user.id)
            .await
            .map_err(unavailable)?;
        updates(&rooms, call)
    }

    pub(super) async fn subscriptions(&self, call: &Call<'_>) -> Outcome {
        let subscriptions = self
            .store
            .subscription_documents_of(&call.user.id)
            .await
            .map_err(unavailable)?;
        updates(&subscriptions, call)
    }

    pub(super) async fn room_by_id(&self, call: &Call<'_>) -> Outcome {
        let id = call.args.text(0)?;
        if !self.can_access(id, &call.user.id).await {
            return Err(call.error("error-not-allowed", "Not allowed"));
        }
        self.store.room_document(id).await.map_err(unavailable)
    }

    /// `[name or id]` → id, of a room that this user may see.
    pub(super) async fn room_id_by_name_or_id(&self, call: &Call<'_>) -> Outcome {
        let room = self.seen_room(call, call.args.text(0)?).await?;
        Ok(Some(json!(room.id).to_string()))
    }

    /// `[id]` → name; direct rooms have none.
    pub(super) async fn room_name_by_id(&self, call: &Call<'_>) -> Outcome {
        let room = self.seen_room(call, call.args.text(0)?).await?;
        Ok(room.name.map(|name| json!(name).to_string()))
    }

    /// A room by its id or its name, `#` in front or not.
    pub(super) async fn seen_room(
        &self,
        call: &Call<'_>,
        name_or_id: &str,
    ) -> Result<Room, ServiceError> {
        let room = self.store.room(name_or_id).await.map_err(unavailable)?;
        let room = match room {
            Some(room) => Some(room),
            None => {
                let name = name_or_id.strip_prefix('#').unwrap_or(name_or_id);
                self.store.room_by_name(name).await.map_err(unavailable)?
            }
        };
        let room = room.ok_or_else(|| call.error("error-invalid-room", "Invalid room"))?;
        match self.can_access(&room.id, &call.user.id).await {
            true => Ok(room),
            false => Err(call.error("error-not-allowed", "Not allowed")),
        }
    }

    /// `[name, members?, readOnly?]` → `{rid, name}`.
    pub(super) async fn create_room(&self, call: &Call<'_>, kind: &str) -> Outcome {
        let name = call.args.text(0)?;
        let members = Args::texts(call.args.get(1))?;
        if members.len() > MEMBERS_MAX {
            return Err(match_failed());
        }
        if !self
            .has_permission(&call.user.id, &format!("create-{kind}"), None)
            .await
        {
            return Err(call.error("error-not-allowed", "Not allowed"));
        }
        if name.trim().is_empty() {
            return Err(call.error("error-invalid-name", "Invalid name"));
        }
        if name.chars().count() > NAME_CHARS_MAX
            || !name
                .chars()
                .all(|c| c.is_alphanumeric() || "-_.".contains(c))
        {
            return Err(call.error("error-invalid-room-name", "Invalid room name"));
        }
        if self
            .store
            .room_by_name(name)
            .await
            .map_err(unavailable)?
            .is_some()
        {
            return Err(call.error(
                "error-duplicate-channel-name",
                "A channel with that name exists",
            ));
        }
        let mut users = Vec::new();
        for member in members {
            users.extend(
                self.store
                    .user_by_username(member)
                    .await
                    .map_err(unavailable)?
                    .filter(|user| user.id != call.user.id),
            );
        }
        let document = room(kind, Some(name), Some(&call.user), users.len() + 1);
        let rid = self
            .store
            .insert_room(document)
            .await
            .map_err(unavailable)?;
        self.subscribe(&rid, kind, Some(name), &call.user, &["owner"])
            .await?;
        for user in &users {
            self.subscribe(&rid, kind, Some(name), user, &[]).await?;
        }
        Ok(Some(json!({ "rid": rid, "name": name }).to_string()))
    }

    /// `[username]` → `{rid, t: "d"}`; the same two people always share the same room, and one has it alone.
    pub(super) async fn create_direct_message(&self, call: &Call<'_>) -> Outcome {
        let username = call.args.text(0)?;
        if call.args.get(1).is_some() {
            return Err(call.error(
                "error-direct-message-max-user-exceeded",
                "You cannot add more than 2 users to a direct message",
            ));
        }
        let other = self
            .store
            .user_by_username(username)
            .await
            .map_err(unavailable)?;
        let other = other.ok_or_else(|| call.error("error-invalid-user", "Invalid user"))?;
        if !self.has_permission(&call.user.id, "create-d", None).await {
            return Err(call.error("error-not-allowed", "Not allowed"));
        }
        let rid = direct_room_id(&call.user.id, &other.id);
        let mut pairs = vec![(&call.user, &other), (&other, &call.user)];
        if other.id == call.user.id {
            pairs.pop();
        }
        let of_all = |field: fn(&User) -> &str| -> Vec<Bson> {
            pairs.iter().map(|(user, _)| field(user).into()).collect()
        };
        let usernames = of_all(|user| user.username.as_deref().unwrap_or_default());
        if self.store.room(&rid).await.map_err(unavailable)?.is_none() {
            let mut document = room("d", None, None, pairs.len());
            document.insert("_id", &rid);
            document.insert("uids", of_all(|user| &user.id));
            document.insert("usernames", usernames);
            self.store
                .insert_room(document)
                .await
                .map_err(unavailable)?;
        }
        for (user, peer) in &pairs {
            if self
                .store
                .subscription(&rid, &user.id)
                .await
                .map_err(unavailable)?
                .is_none()
            {
                self.subscribe(&rid, "d", peer.username.as_deref(), user, &[])
                    .await?;
            }
        }
        let names: Vec<_> = pairs.iter().map(|(user, _)| &user.username).collect();
        Ok(Some(
            json!({ "rid": rid, "t": "d", "usernames": names }).to_string(),
        ))
    }

    /// Makes a user a member; `name` is what the room is called in that user's list.
    pub(super) async fn subscribe(
        &self,
        room: &str,
        kind: &str,
        name: Option<&str>,
        user: &User,
        roles: &[&str],
    ) -> Result<(), ServiceError> {
        self.store
            .insert_subscription(subscription(room, kind, name, user, roles))
            .await
            .map_err(unavailable)?;
        Ok(())
    }
}

/// Ids of both, in order, as the real server does it.
pub(super) fn direct_room_id(a: &str, b: &str) -> String {
    if a <= b {
        format!("{a}{b}")
    } else {
        format!("{b}{a}")
    }
}

pub(super) fn room(
    kind: &str,
    name: Option<&str>,
    owner: Option<&User>,
    members: usize,
) -> Document {
    let mut document = doc! {
        "t": kind,
        "msgs": 0,
        "usersCount": i32::try_from(members).unwrap_or(i32::MAX),
        "ts": DateTime::now(),
        "ro": false,
        "sysMes": true,
    };
    if let Some(name) = name {
        document.insert("name", name);
        document.insert("fname", name);
    }
    if let Some(owner) = owner {
        document.insert(
            "u",
            doc! { "_id": &owner.id, "username": owner.username.as_deref() },
        );
    }
    document
}

pub(super) fn subscription(
    room: &str,
    kind: &str,
    name: Option<&str>,
    user: &User,
    roles: &[&str],
) -> Document {
    doc! {
        "rid": room,
        "t": kind,
        "name": name,
        "fname": name,
        "u": { "_id": &user.id, "username": user.username.as_deref(), "name": user.name.as_deref() },
        "open": true,
        "alert": false,
        "unread": 0,
        "userMentions": 0,
        "groupMentions": 0,
        "roles": roles.iter().copied().map(Bson::from).collect::<Vec<_>>(),
        "ts": DateTime::now(),
    }
}

fn updates(documents: &[String], call: &Call<'_>) -> Outcome {
    let list = documents.join(",");
    Ok(Some(match call.args.date(0)? {
        None => format!("[{list}]"),
        Some(_) => format!(r#"{{"update":[{list}],"remove":[]}}"#),
    }))
}
