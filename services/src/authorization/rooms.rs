//! Who may see a room (services.md 3.7–3.10): validators in the original's order, the first yes wins.

use backplane::{CallOptions, Context, ServiceError};
use bytes::Bytes;
use serde_json::{Value, json};

use super::{Authorization, Need};
use crate::{
    errors::{plain, unavailable},
    params::Params,
};

/// Discussions of discussions: deeper chains are refused, since a loop in the data must not become one here.
const PARENTS_MAX: usize = 8;

/// What decides about a room.
#[derive(Clone, Debug)]
struct Facts {
    id: String,
    kind: String,
    team: Option<String>,
    parent: Option<String>,
}

/// One question.
pub(super) struct Asked<'a> {
    room: Option<Facts>,
    user: Option<&'a str>,
    /// The user came as an object with `_id` alone: unknown users are an error then, not a no.
    bare_user: bool,
    raw_room: Value,
    raw_user: Value,
    extra: Value,
    context: &'a Context,
}

impl<'a> Asked<'a> {
    pub(super) fn parse(params: &'a Params, context: &'a Context) -> Self {
        let owned = |index| params.get(index).cloned().unwrap_or(Value::Null);
        let member = |name| params.member(0, name).map(str::to_owned);
        let room = member("_id").zip(member("t")).map(|(id, kind)| Facts {
            id,
            kind,
            team: member("teamId"),
            parent: member("prid"),
        });
        let bare_user = params
            .get(1)
            .and_then(Value::as_object)
            .is_some_and(|user| user.len() == 1 && user.contains_key("_id"));
        Self {
            room,
            user: params.user(1),
            bare_user,
            raw_room: owned(0),
            raw_user: owned(1),
            extra: owned(2),
            context,
        }
    }
}

impl Authorization {
    pub(super) async fn can_access(&self, asked: Asked<'_>) -> Result<bool, ServiceError> {
        if let (true, Some(user)) = (asked.bare_user, asked.user)
            && self.store.user(user).await.map_err(unavailable)?.is_none()
        {
            return Err(plain("User not found"));
        }
        if let Some(room) = &asked.room
            && self.opens(room.clone(), asked.user).await?
        {
            return Ok(true);
        }
        self.ask_livechat(&asked).await
    }

    /// Like access, but a logged-in non-member of a public room also needs the right to look in.
    pub(super) async fn can_read(&self, asked: Asked<'_>) -> Result<bool, ServiceError> {
        let (room, user) = (asked.room.clone(), asked.user);
        if !self.can_access(asked).await? {
            return Ok(false);
        }
        match (room, user) {
            (Some(room), Some(user)) if room.kind == "c" => Ok(self
                .has(Some(user), &["preview-c-room"], None, Need::One)
                .await?
                || self
                    .store
                    .subscription(&room.id, user)
                    .await
                    .map_err(unavailable)?
                    .is_some()),
            _ => Ok(true),
        }
    }

    pub(super) async fn can_access_id(
        &self,
        room: Option<&str>,
        user: Option<&str>,
        context: &Context,
    ) -> Result<bool, ServiceError> {
        let Some(room) = room else { return Ok(false) };
        let Some(room) = self.store.room(room).await.map_err(unavailable)? else {
            return Ok(false);
        };
        let raw_user = user.map_or(Value::Null, |id| json!({ "_id": id }));
        let raw_room =
            json!({ "_id": room.id, "t": room.kind, "teamId": room.team, "prid": room.parent });
        let facts = Facts {
            id: room.id,
            kind: room.kind,
            team: room.team,
            parent: room.parent,
        };
        let bare_user = user.is_some();
        self.can_access(Asked {
            room: Some(facts),
            user,
            bare_user,
            raw_room,
            raw_user,
            extra: Value::Null,
            context,
        })
        .await
    }

    pub(super) async fn can_access_ids(
        &self,
        rooms: &[&str],
        user: Option<&str>,
        context: &Context,
    ) -> Result<bool, ServiceError> {
        if rooms.is_empty() || user.is_none() {
            return Ok(false);
        }
        for room in rooms {
            if !self.can_access_id(Some(room), user, context).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The validators that need no other service, up the chain of discussions.
    async fn opens(&self, mut room: Facts, user: Option<&str>) -> Result<bool, ServiceError> {
        for _ in 0..PARENTS_MAX {
            if self.is_public_for(&room, user).await? || self.is_joined_by(&room, user).await? {
                return Ok(true);
            }
            let Some(parent) = &room.parent else {
                return Ok(false);
            };
            let Some(parent) = self.store.room(parent).await.map_err(unavailable)? else {
                return Ok(false);
            };
            room = Facts {
                id: parent.id,
                kind: parent.kind,
                team: parent.team,
                parent: parent.parent,
            };
        }
        Ok(false)
    }

    async fn is_public_for(&self, room: &Facts, user: Option<&str>) -> Result<bool, ServiceError> {
        if room.kind != "c" {
            return Ok(false);
        }
        if let Some(team) = &room.team
            && self.store.team_kind(team).await.map_err(unavailable)? != Some(0)
        {
            let Some(user) = user else { return Ok(false) };
            return self
                .store
                .is_team_member(team, user)
                .await
                .map_err(unavailable);
        }
        match user {
            Some(user) => {
                self.has(Some(user), &["view-c-room"], None, Need::One)
                    .await
            }
            None => {
                let setting = self
                    .store
                    .setting("Accounts_AllowAnonymousRead")
                    .await
                    .map_err(unavailable)?;
                Ok(setting.is_some_and(|value| value.as_bool() == Some(true)))
            }
        }
    }

    async fn is_joined_by(&self, room: &Facts, user: Option<&str>) -> Result<bool, ServiceError> {
        let Some(user) = user else { return Ok(false) };
        if self
            .store
            .subscription(&room.id, user)
            .await
            .map_err(unavailable)?
            .is_none()
        {
            return Ok(false);
        }
        let by_kind = format!("view-{}-room", room.kind);
        self.has(Some(user), &["view-joined-room", &by_kind], None, Need::One)
            .await
    }

    /// Livechat and voip rooms belong to the monolith's own judge (services.md 3.9).
    async fn ask_livechat(&self, asked: &Asked<'_>) -> Result<bool, ServiceError> {
        let kind = asked.room.as_ref().map(|room| room.kind.as_str());
        let id = match (&asked.room, asked.extra.get("rid").and_then(Value::as_str)) {
            (Some(room), _) => room.id.as_str(),
            (None, Some(id)) if asked.raw_room.is_null() => id,
            _ => return Ok(false),
        };
        if !matches!(kind, None | Some("l" | "v"))
            || !self.bus.has_service("authorization-livechat")
        {
            return Ok(false);
        }
        let Some(room) = self.store.room_document(id).await.map_err(unavailable)? else {
            return Ok(false);
        };
        let params = format!("[{room},{},{}]", asked.raw_user, asked.extra);
        let options = CallOptions {
            context: Some(asked.context.clone()),
            ..CallOptions::default()
        };
        match self
            .bus
            .call("authorization-livechat.canAccessRoom", &params, options)
            .await
        {
            Ok(answer) => Ok(answer == Some(Bytes::from_static(b"true"))),
            Err(error) => Err(plain(&error.to_string())),
        }
    }
}
