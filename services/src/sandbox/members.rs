//! Coming into rooms and going out of them.

use backplane::ServiceError;
use serde_json::json;
use store::{
    Room, Update, User,
    bson::{Bson, doc},
};

use super::{
    args::Args,
    messages::new_message,
    workspace::{Call, Outcome, Workspace},
};
use crate::errors::unavailable;

/// Users added in one call.
const MEMBERS_MAX: usize = 100;
const NOT_IN_ROOM: &str = "User is not in this room";

impl Workspace {
    /// `[rid]`: into a public room; into others only if already in.
    pub(super) async fn join_room(&self, call: &Call<'_>) -> Outcome {
        let room = self.room_of(call, call.args.text(0)?).await?;
        if self.roles_in(&room, &call.user).await?.is_some() {
            return Ok(Some("true".to_owned()));
        }
        if room.kind != "c" || !self.can_access(&room.id, &call.user.id).await {
            return Err(call.error("error-not-allowed", "Not allowed"));
        }
        self.enter(&room, &call.user, "uj", &call.user).await?;
        Ok(Some("true".to_owned()))
    }

    /// `[rid]`.
    pub(super) async fn leave_room(&self, call: &Call<'_>) -> Outcome {
        let room = self.room_of(call, call.args.text(0)?).await?;
        if room.kind == "d" {
            return Err(call.error("error-not-allowed", "Not allowed"));
        }
        self.exit(call, &room, &call.user, "ul", "You are not in this room")
            .await
    }

    /// `[{rid, users: [username]}]`: all of them, or none where one does not exist.
    pub(super) async fn add_users_to_room(&self, call: &Call<'_>) -> Outcome {
        let invalid = |_| call.error("error-invalid-room", "Invalid room");
        let room = self
            .room_of(call, call.args.member(0, "rid").map_err(invalid)?)
            .await?;
        if room.kind == "d" {
            return Err(call.error(
                "error-cant-invite-for-direct-room",
                "Can't invite user to direct rooms",
            ));
        }
        let allowed = self.roles_in(&room, &call.user).await?.is_some()
            && self
                .has_permission(&call.user.id, "add-user-to-joined-room", Some(&room.id))
                .await;
        if !allowed {
            return Err(call.error("error-not-allowed", "Not allowed"));
        }
        let names = call.args.get(0).and_then(|value| value.get("users"));
        let names = names.filter(|names| names.as_array().is_some_and(|n| n.len() <= MEMBERS_MAX));
        let names = names
            .and_then(|names| Args::texts(Some(names)).ok())
            .ok_or_else(|| call.error("error-invalid-arguments", "Invalid arguments"))?;
        let mut users = Vec::with_capacity(names.len());
        for name in names {
            let user = self.store.user_by_username(name).await;
            let user = user.map_err(unavailable)?;
            users.push(user.ok_or_else(|| call.error("error-user-not-found", "User not found"))?);
        }
        for user in users {
            if self.roles_in(&room, &user).await?.is_none() {
                self.enter(&room, &user, "au", &call.user).await?;
            }
        }
        Ok(Some("true".to_owned()))
    }

    /// `[{rid, username}]`: by an owner or moderator of the room.
    pub(super) async fn remove_user_from_room(&self, call: &Call<'_>) -> Outcome {
        let (id, name) = (
            call.args.member(0, "rid")?,
            call.args.member(0, "username")?,
        );
        let allowed = self
            .has_permission(&call.user.id, "remove-user", Some(id))
            .await;
        let room = self.store.room(id).await.map_err(unavailable)?;
        let room = room
            .filter(|room| allowed && room.kind != "d")
            .ok_or_else(|| call.error("error-not-allowed", "Not allowed"))?;
        if !self.can_access(id, &call.user.id).await {
            return Err(call.error(
                "error-room-not-found",
                "The required \"roomId\" or \"roomName\" param provided does not match any group",
            ));
        }
        let user = self.store.user_by_username(name).await;
        let user = user
            .map_err(unavailable)?
            .ok_or_else(|| call.error("error-user-not-in-room", NOT_IN_ROOM))?;
        self.exit(call, &room, &user, "ru", NOT_IN_ROOM).await
    }

    /// `[rid, userId]`: makes a member an owner as well; by an owner.
    pub(super) async fn add_room_owner(&self, call: &Call<'_>) -> Outcome {
        let room = self.room_of(call, call.args.text(0)?).await?;
        let own = self.roles_in(&room, &call.user).await?;
        if !own.is_some_and(|roles| is_owner(&roles)) {
            return Err(call.error("error-not-allowed", "Not allowed"));
        }
        let user = self.store.user(call.args.text(1)?).await;
        let no_member = || call.error("error-user-not-in-room", NOT_IN_ROOM);
        let user = user.map_err(unavailable)?.ok_or_else(no_member)?;
        let mut roles = self.roles_in(&room, &user).await?.ok_or_else(no_member)?;
        if !is_owner(&roles) {
            roles.push("owner".to_owned());
            let update = Update::set(doc! { "roles": roles });
            let updated = self.store.update_subscription(&room.id, &user.id, update);
            updated.await.map_err(unavailable)?;
        }
        Ok(Some("true".to_owned()))
    }

    /// `[rid]` → `{total, records: [{_id, username, name, status}]}`.
    pub(super) async fn users_of_room(&self, call: &Call<'_>) -> Outcome {
        let room = self.seen_room(call, call.args.text(0)?).await?;
        let mut records = Vec::new();
        for id in self.store.members(&room.id).await.map_err(unavailable)? {
            if let Some(user) = self.store.user(&id).await.map_err(unavailable)? {
                records.push(json!({ "_id": user.id, "username": user.username, "name": user.name, "status": user.status }));
            }
        }
        Ok(Some(
            json!({ "total": records.len(), "records": records }).to_string(),
        ))
    }

    pub(super) async fn room_of(&self, call: &Call<'_>, id: &str) -> Result<Room, ServiceError> {
        let room = self.store.room(id).await.map_err(unavailable)?;
        room.ok_or_else(|| call.error("error-invalid-room", "Invalid room"))
    }

    /// A member's roles in a room; `None`: not a member.
    async fn roles_in(
        &self,
        room: &Room,
        user: &User,
    ) -> Result<Option<Vec<String>>, ServiceError> {
        let subscription = self.store.subscription(&room.id, &user.id).await;
        let subscription = subscription.map_err(unavailable)?;
        Ok(subscription.map(|subscription| subscription.roles))
    }

    async fn enter(
        &self,
        room: &Room,
        user: &User,
        system_message: &str,
        by: &User,
    ) -> Result<(), ServiceError> {
        self.subscribe(&room.id, &room.kind, room.name.as_deref(), user, &[])
            .await?;
        self.count_members(room, 1).await?;
        self.tell(room, user, system_message, by).await
    }

    async fn exit(
        &self,
        call: &Call<'_>,
        room: &Room,
        user: &User,
        system_message: &str,
        no_member: &str,
    ) -> Outcome {
        let no_member = || call.error("error-user-not-in-room", no_member);
        let roles = self.roles_in(room, user).await?.ok_or_else(no_member)?;
        let others = self
            .store
            .members(&room.id)
            .await
            .map_err(unavailable)?
            .len()
            > 1;
        // Where nobody else is there is nobody to hand over to.
        if others && is_owner(&roles) && self.owners(room).await? == 1 {
            return Err(call.error(
                "error-you-are-last-owner",
                "You are the last owner. Please set new owner before leaving the room.",
            ));
        }
        let removed = self.store.remove_subscription(&room.id, &user.id).await;
        if !removed.map_err(unavailable)? {
            return Err(no_member());
        }
        self.count_members(room, -1).await?;
        self.tell(room, user, system_message, &call.user).await?;
        Ok(Some("true".to_owned()))
    }

    async fn owners(&self, room: &Room) -> Result<usize, ServiceError> {
        let mut owners = 0;
        for user in self.store.members(&room.id).await.map_err(unavailable)? {
            let subscription = self.store.subscription(&room.id, &user).await;
            owners += usize::from(
                subscription
                    .map_err(unavailable)?
                    .is_some_and(|subscription| is_owner(&subscription.roles)),
            );
        }
        Ok(owners)
    }

    async fn count_members(&self, room: &Room, by: i32) -> Result<(), ServiceError> {
        let update = Update {
            increment: vec![("usersCount".to_owned(), by)],
            ..Update::default()
        };
        self.store
            .update_room(&room.id, update)
            .await
            .map_err(unavailable)?;
        Ok(())
    }

    /// The line in the room that says who came or went.
    async fn tell(
        &self,
        room: &Room,
        user: &User,
        kind: &str,
        by: &User,
    ) -> Result<(), ServiceError> {
        let mut message = new_message(&room.id, by, user.username.as_deref().unwrap_or_default());
        message.insert("t", Bson::from(kind));
        message.insert("groupable", false);
        self.post(message).await.map(|_| ())
    }
}

fn is_owner(roles: &[String]) -> bool {
    roles.iter().any(|role| role == "owner")
}
