//! Who may see a room (services.md 3.7–3.10): validators in the original's order, the first yes wins.

use backplane::{CallOptions, Context, ServiceError};
use bytes::Bytes;
use serde_json::{Value, json};
use store::Room;

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
    /// `abacAttributes` is a list that is not empty.
    has_attributes: bool,
}

impl From<Room> for Facts {
    fn from(room: Room) -> Self {
        Self {
            id: room.id,
            kind: room.kind,
            team: room.team,
            parent: room.parent,
            has_attributes: room.has_abac,
        }
    }
}

/// One question.
struct Asked<'a> {
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
    fn parse(params: &'a Params, context: &'a Context) -> Self {
        let owned = |index| params.get(index).cloned().unwrap_or(Value::Null);
        let member = |name| params.member(0, name).map(str::to_owned);
        let room = member("_id").zip(member("t")).map(|(id, kind)| Facts {
            id,
            kind,
            team: member("teamId"),
            parent: member("prid"),
            has_attributes: params
                .get(0)
                .and_then(|room| room["abacAttributes"].as_array())
                .is_some_and(|attributes| !attributes.is_empty()),
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
    pub(super) async fn can_access(
        &self,
        params: &Params,
        context: &Context,
    ) -> Result<bool, ServiceError> {
        self.may_access(Asked::parse(params, context)).await
    }

    async fn may_access(&self, asked: Asked<'_>) -> Result<bool, ServiceError> {
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
    pub(super) async fn can_read(
        &self,
        params: &Params,
        context: &Context,
    ) -> Result<bool, ServiceError> {
        let asked = Asked::parse(params, context);
        let (room, user) = (asked.room.clone(), asked.user);
        if !self.may_access(asked).await? {
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
        let bare_user = user.is_some();
        self.may_access(Asked {
            room: Some(room.into()),
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
            room = parent.into();
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
        let permissions = ["view-joined-room", &by_kind];
        Ok(self.has(Some(user), &permissions, None, Need::One).await?
            && !self.is_closed_by_attributes(room).await?)
    }

    /// Where attributes decide who may stay in a room, membership opens nothing: the service `abac` that would judge it
    /// is not here, and unknown means no.
    async fn is_closed_by_attributes(&self, room: &Facts) -> Result<bool, ServiceError> {
        if !room.has_attributes {
            return Ok(false);
        }
        let setting = self.store.setting("ABAC_Enabled").await;
        if setting
            .map_err(unavailable)?
            .and_then(|value| value.as_bool())
            != Some(true)
        {
            return Ok(false);
        }
        let licensed = self
            .bus
            .call("license.hasModule", r#"["abac"]"#, CallOptions::default())
            .await;
        let licensed = licensed.map_err(|error| plain(&error.to_string()))?;
        Ok(licensed == Some(Bytes::from_static(b"true")))
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

#[cfg(test)]
mod tests {
    use backplane::{Bus, Incoming, Service};
    use store::{Store, bson::doc};
    use tokio_util::sync::CancellationToken;

    use super::*;

    /// Bob is in two private rooms; `r2` has attributes.
    async fn workspace() -> (Bus, Store) {
        let store = Store::embedded(None).unwrap();
        let user = doc! { "_id": "u1", "username": "bob", "active": true, "roles": ["user"] };
        store.insert_user(user).await.unwrap();
        let permission = doc! { "_id": "view-p-room", "roles": ["user"] };
        store.insert_permission(permission).await.unwrap();
        let attributes = vec![doc! { "key": "k", "values": ["v"] }];
        for room in [
            doc! { "_id": "r1", "t": "p" },
            doc! { "_id": "r2", "t": "p", "abacAttributes": attributes },
        ] {
            let rid = store.insert_room(room).await.unwrap();
            let subscription = doc! { "rid": rid, "u": { "_id": "u1" } };
            store.insert_subscription(subscription).await.unwrap();
        }
        let bus = Bus::in_process("node".into());
        tokio::spawn(crate::authorization::run(
            bus.clone(),
            store.clone(),
            CancellationToken::new(),
        ));
        // It answers when it has read the permissions.
        while opens(&bus, "r1").await.is_err() {
            tokio::task::yield_now().await;
        }
        (bus, store)
    }

    async fn opens(bus: &Bus, room: &str) -> Result<bool, String> {
        let params = json!([room, "u1"]).to_string();
        let action = "authorization.canAccessRoomId";
        match bus.call(action, &params, CallOptions::default()).await {
            Ok(answer) => Ok(answer.unwrap() == "true"),
            Err(error) => Err(error.to_string()),
        }
    }

    #[tokio::test]
    async fn membership_opens_no_room_where_attributes_decide() {
        let (bus, store) = workspace().await;
        assert_eq!(opens(&bus, "r1").await, Ok(true));
        assert_eq!(opens(&bus, "r2").await, Ok(true), "not switched on");

        let setting = doc! { "_id": "ABAC_Enabled", "value": true };
        store.insert_setting(setting).await.unwrap();
        assert_eq!(opens(&bus, "r1").await, Ok(true));
        assert!(opens(&bus, "r2").await.is_err(), "the licence is not known");

        let mut licence = bus.announce(Service {
            name: "license",
            actions: vec!["license.hasModule"],
            events: vec![],
        });
        tokio::spawn(async move {
            loop {
                if let Incoming::Request(request) = licence.recv().await {
                    request.respond(Ok(Some(Bytes::from_static(b"true"))));
                }
            }
        });
        assert_eq!(opens(&bus, "r2").await, Ok(false));
        assert_eq!(opens(&bus, "r1").await, Ok(true));
    }
}
