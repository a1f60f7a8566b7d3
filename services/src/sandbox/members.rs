//! Coming into rooms and going out of them.

use store::{Room, Update, User, bson::Bson};

use super::{
    args::Args,
    messages::new_message,
    workspace::{Call, Outcome, Workspace},
};
use crate::errors::unavailable;

impl Workspace {
    /// `[rid]`: into a public room; into others only if already in.
    pub(super) async fn join_room(&self, call: &Call<'_>) -> Outcome {
        let room = self.room_of(call, call.args.text(0)?).await?;
        if self
            .store
            .subscription(&room.id, &call.user.id)
            .await
            .map_err(unavailable)?
            .is_some()
        {
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
        self.exit(call, &room, &call.user, "ul").await
    }

    /// `[{rid, users: [username]}]`.
    pub(super) async fn add_users_to_room(&self, call: &Call<'_>) -> Outcome {
        let room = self.room_of(call, call.args.member(0, "rid")?).await?;
        let names = Args::texts(call.args.get(0).and_then(|value| value.get("users")))?;
        let member = self
            .store
            .subscription(&room.id, &call.user.id)
            .await
            .map_err(unavailable)?
            .is_some();
        let allowed = member
            && self
                .has_permission(&call.user.id, "add-user-to-joined-room", Some(&room.id))
                .await;
        if room.kind == "d" || !allowed {
            return Err(call.error("error-not-allowed", "Not allowed"));
        }
        for name in names {
            let user = self
                .store
                .user_by_username(name)
                .await
                .map_err(unavailable)?;
            let user =
                user.ok_or_else(|| call.error("error-invalid-username", "Invalid username"))?;
            if self
                .store
                .subscription(&room.id, &user.id)
                .await
                .map_err(unavailable)?
                .is_none()
            {
                self.enter(&room, &user, "au", &call.user).await?;
            }
        }
        Ok(Some("true".to_owned()))
    }

    /// `[{rid, username}]`: by an owner or moderator of the room.
    pub(super) async fn remove_user_from_room(&self, call: &Call<'_>) -> Outcome {
        let room = self.room_of(call, call.args.member(0, "rid")?).await?;
        let name = call.args.member(0, "username")?;
        if room.kind == "d"
            || !self
                .has_permission(&call.user.id, "remove-user", Some(&room.id))
                .await
        {
            return Err(call.error("error-not-allowed", "Not allowed"));
        }
        let user = self
            .store
            .user_by_username(name)
            .await
            .map_err(unavailable)?;
        let user =
            user.ok_or_else(|| call.error("error-user-not-in-room", "User is not in this room"))?;
        self.exit(call, &room, &user, "ru").await
    }

    async fn room_of(&self, call: &Call<'_>, id: &str) -> Result<Room, backplane::ServiceError> {
        self.store
            .room(id)
            .await
            .map_err(unavailable)?
            .ok_or_else(|| call.error("error-invalid-room", "Invalid room"))
    }

    async fn enter(
        &self,
        room: &Room,
        user: &User,
        system_message: &str,
        by: &User,
    ) -> Result<(), backplane::ServiceError> {
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
    ) -> Outcome {
        if !self
            .store
            .remove_subscription(&room.id, &user.id)
            .await
            .map_err(unavailable)?
        {
            return Err(call.error("error-user-not-in-room", "User is not in this room"));
        }
        self.count_members(room, -1).await?;
        self.tell(room, user, system_message, &call.user).await?;
        Ok(Some("true".to_owned()))
    }

    async fn count_members(&self, room: &Room, by: i32) -> Result<(), backplane::ServiceError> {
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
    ) -> Result<(), backplane::ServiceError> {
        let mut message = new_message(&room.id, by, user.username.as_deref().unwrap_or_default());
        message.insert("t", Bson::from(kind));
        message.insert("groupable", false);
        self.post(message).await.map(|_| ())
    }
}
