//! Rooms that attributes decide about (services.md 3.8, 3.13): the service `abac`, as much of it as access needs, and how
//! authorization asks it.

use std::sync::Arc;

use backplane::{Bus, CallOptions, Context, ServiceError};
use bytes::Bytes;
use serde_json::json;
use store::{
    Collection, Room, Store, User,
    bson::{Bson, DateTime, Document, doc},
};

use super::reads::Reads;
use crate::{
    answers::{is_yes, passed_on},
    errors::{COMPLAINTS, plain, unavailable},
    now_ms,
    params::optional_text,
    serve::{Call, Handler, Outcome},
    settings::number,
};

/// Every action of the original; the administration of attributes is not offered here, and says so.
pub(super) const ACTIONS: [&str; 16] = [
    "abac.canAccessObject",
    "abac.addAbacAttribute",
    "abac.listAbacAttributes",
    "abac.listAbacRooms",
    "abac.updateAbacAttributeById",
    "abac.deleteAbacAttributeById",
    "abac.getAbacAttributeById",
    "abac.isAbacAttributeInUseByKey",
    "abac.setRoomAbacAttributes",
    "abac.removeRoomAbacAttribute",
    "abac.addRoomAbacAttributeByKey",
    "abac.replaceRoomAbacAttributeByKey",
    "abac.checkUsernamesMatchAttributes",
    "abac.addSubjectAttributes",
    "abac.evaluateRoomMembership",
    "abac.getPDPHealth",
];

/// Who judges by attributes.
pub(super) struct Abac {
    pub(super) bus: Bus,
    pub(super) store: Store,
    pub(super) reads: Arc<Reads>,
    /// This process offers the service.
    pub(super) is_hosted: bool,
}

impl Handler for Abac {
    async fn handle_call(self: Arc<Self>, call: Call) -> Outcome {
        if call.action != ACTIONS[0] {
            return Err(plain(&format!(
                "{} is not offered by ddp-edge: set USE_EXTERNAL_ABAC_SERVICE=true for it and run a service abac elsewhere",
                call.action
            )));
        }
        let object = |index| call.params.object(index);
        let id = |index| optional_text(object(index)?.and_then(|of| of.get("_id")));
        let (room, user) = (id(0)?, id(1)?);
        if call.params.text(3) != Some("room") {
            return Err(plain("error-abac-unsupported-object-type"));
        }
        if call.params.text(2) != Some("read") {
            return Err(plain("error-abac-unsupported-operation"));
        }
        let (Some(room), Some(user)) = (room, user) else {
            return Ok(Some(Bytes::from_static(b"false")));
        };
        let verdict = self.allow(room, user, &call.context).await?;
        Ok(Some(Bytes::from(verdict.to_string())))
    }
}

impl Abac {
    /// Whether attributes decide about rooms at all: the workspace has switched them on, and its licence covers them.
    pub(super) async fn decides(&self, context: &Context) -> Result<bool, ServiceError> {
        if !self.reads.is_on("ABAC_Enabled").await? {
            return Ok(false);
        }
        let answer = self
            .bus
            .call("license.hasModule", r#"["abac"]"#, within(context))
            .await;
        Ok(is_yes(answer.map_err(passed_on)?.as_ref()))
    }

    /// Asks the service `abac`: another node's if there is one, which may know more than ours, else this process's.
    pub(super) async fn ask(
        &self,
        room: &Room,
        user: &str,
        context: &Context,
    ) -> Result<bool, ServiceError> {
        let elsewhere = self.bus.nodes().into_iter().find(|node| {
            !node.local && node.available && node.services.iter().any(|name| **name == *"abac")
        });
        if self.is_hosted && elsewhere.is_none() {
            return self.allow(&room.id, user, context).await;
        }
        let room = self
            .store
            .stored_room(&room.id)
            .await
            .map_err(unavailable)?;
        let Some((_, room)) = room else {
            return Ok(false);
        };
        let params = format!(r#"[{room},{},"read","room"]"#, json!({ "_id": user }));
        let options = CallOptions {
            node: elsewhere.map(|node| node.id.to_string()),
            ..within(context)
        };
        let answer = self.bus.call(ACTIONS[0], &params, options).await;
        Ok(is_yes(answer.map_err(passed_on)?.as_ref()))
    }

    /// Whether a member's attributes let them into a room. Who no longer has what the room asks for is removed from it, as
    /// in the original.
    async fn allow(&self, room: &str, user: &str, context: &Context) -> Result<bool, ServiceError> {
        let (wanted, checked, kept_for) = tokio::join!(
            self.store.room_attributes(room),
            self.store.attributes_checked(room, user),
            self.decisions_hold_for(),
        );
        let wanted = wanted.map_err(unavailable)?.unwrap_or_default();
        if wanted.list.is_empty() || wanted.is_odd {
            return Ok(false);
        }
        let Some(checked) = checked.map_err(unavailable)? else {
            return Ok(false);
        };
        let (now, kept_for) = (now_ms(), kept_for?);
        let age = checked.map(|checked| now.saturating_sub(checked));
        if age.is_some_and(|age| (0..kept_for).contains(&age)) {
            return Ok(true);
        }
        let held = self
            .store
            .user_attributes(user)
            .await
            .map_err(unavailable)?;
        if !held.is_some_and(|held| held.cover(&wanted)) {
            self.remove(room, user, context).await;
            return Ok(false);
        }
        let noted = self.store.set_attributes_checked(room, user, now).await;
        if let Err(error) = noted {
            COMPLAINTS.warn("cannot note a decision by attributes", &error);
        }
        Ok(true)
    }

    /// How long a decision for somebody holds, in ms.
    async fn decisions_hold_for(&self) -> Result<i64, ServiceError> {
        let seconds = self
            .reads
            .setting("Abac_Cache_Decision_Time_Seconds")
            .await?;
        let seconds = seconds.as_ref().and_then(number).unwrap_or(0.0);
        #[expect(clippy::cast_possible_truncation, reason = "saturates, as wanted")]
        Ok((seconds * 1_000.0) as i64)
    }

    /// The monolith's own way to remove somebody: with its messages and events. Administrators find it in their audit.
    async fn remove(&self, room: &str, user: &str, context: &Context) {
        tracing::info!(room, user, "removed from a room for want of attributes");
        let removed = async {
            let (user, room) = tokio::try_join!(self.store.user(user), self.store.room(room))
                .map_err(|error| error.to_string())?;
            let user = user.ok_or("there is no such user")?;
            let room = room.ok_or("there is no such room")?;
            let subject = json!({ "_id": user.id, "username": user.username });
            let params = json!([room.id, subject]).to_string();
            let call = self
                .bus
                .call("room.removeUserFromRoom", &params, within(context));
            call.await.map_err(|error| error.to_string())?;
            let noted = self
                .store
                .insert_document(Collection::ServerEvents, revoked(&user, &room));
            noted.await.map_err(|error| error.to_string())
        };
        if let Err(error) = removed.await {
            tracing::warn!(error, room, user, "cannot remove them");
        }
    }
}

/// The entry that the workspace's audit of attributes shows.
fn revoked(user: &User, room: &Room) -> Document {
    let member = |key: &str, value: Bson| doc! { "key": key, "value": value };
    let subject = doc! { "_id": &user.id, "username": user.username.clone() };
    let mut object = doc! { "_id": &room.id };
    object.extend(
        room.name
            .clone()
            .map(|name| ("name".to_owned(), name.into())),
    );
    doc! {
        "t": "abac.action.performed",
        "ts": DateTime::now(),
        "actor": { "type": "system" },
        "data": [
            member("action", "revoked-object-access".into()),
            member("reason", "realtime-policy-eval".into()),
            member("subject", subject.into()),
            member("object", object.into()),
        ],
    }
}

fn within(context: &Context) -> CallOptions {
    CallOptions {
        context: Some(context.clone()),
        ..CallOptions::default()
    }
}
