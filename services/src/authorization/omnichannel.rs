//! Omnichannel and voip rooms belong to the monolith's own judge (services.md 3.9): it is asked about rooms of these two
//! types alone, by the type that is stored.

use backplane::{CallOptions, ServiceError};
use serde_json::{Value, json};
use store::Room;

use super::{Authorization, question::Extra, rooms::Viewer};
use crate::{
    answers::{is_yes, passed_on},
    errors::unavailable,
};

impl Authorization {
    /// Asks about `room`, or about the one that `extra` names if that is not given or has no id.
    pub(super) async fn ask_judge(
        &self,
        room: Option<&Room>,
        extra: &Extra,
        viewer: &Viewer<'_>,
    ) -> Result<bool, ServiceError> {
        if room.is_some_and(|room| !is_omnichannel(&room.kind)) {
            return Ok(false);
        }
        let given = room
            .map(|room| room.id.as_str())
            .filter(|id| !id.is_empty());
        let Some(id) = given.or(extra.room.as_deref()) else {
            return Ok(false);
        };
        let stored = self.store.stored_room(id).await.map_err(unavailable)?;
        let Some((kind, room)) = stored.filter(|(kind, _)| is_omnichannel(kind)) else {
            return Ok(false);
        };
        // Lines up to 7 have a judge of its own for calls by telephone.
        let action = if kind == "v" && self.bus.has_service("authorization-voip") {
            "authorization-voip.canAccessRoom"
        } else {
            "authorization-livechat.canAccessRoom"
        };
        let user = viewer.person.as_ref();
        let user = user.map_or(Value::Null, |user| json!({ "_id": user.id }));
        let params = format!("[{room},{user},{}]", extra.value);
        let options = CallOptions {
            context: Some(viewer.context.clone()),
            ..CallOptions::default()
        };
        let answer = self.bus.call(action, &params, options).await;
        Ok(is_yes(answer.map_err(passed_on)?.as_ref()))
    }
}

fn is_omnichannel(kind: &str) -> bool {
    matches!(kind, "l" | "v")
}
