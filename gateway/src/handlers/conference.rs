//! Conferences of the newest line: who may follow one (streams.md 7.3).

use std::{rc::Rc, sync::Arc};

use protocol::ddp::{ejson, encode::quoted};
use store::Conference;

use super::{core::Core, judge};
use crate::{
    metrics,
    state::grants::{GrantId, Ground, GroundRef, Stamp},
    upstream::Unknown,
};

const ACTION: &str = "authorization.canAccessConference";

impl Core {
    /// `video-conference.updated`: somebody has joined or left.
    pub(crate) fn conference_changed(&self, args: &str) {
        if let Some(call) = ejson::at(args, 0, &["callId"]).and_then(ejson::string) {
            let touched = self.heard_of(GroundRef::Conference(&call));
            self.touched(touched);
        }
    }

    /// Whether a user may follow a conference. Lines without the action have no such stream.
    pub(crate) async fn judge_conference(
        self: &Rc<Self>,
        (id, stamp): (GrantId, Stamp),
        call: &str,
        user: Option<&str>,
    ) -> Result<bool, Unknown> {
        let Some(user) = user.filter(|_| self.upstream.offers(ACTION)) else {
            return Ok(false);
        };
        let Some(conference) = self.upstream.conference(call).await? else {
            return Ok(false);
        };
        let mut grounds = Vec::new();
        for room in [&conference.room, &conference.discussion] {
            let Some(room) = room.as_deref().map(Arc::from) else {
                continue;
            };
            let chain = self.chain(&room).await?.unwrap_or_default();
            grounds.push(Ground::Room(room));
            grounds.extend(judge::grounds(&chain));
        }
        // What was read before the last event may be older than what a later question has found.
        if self.state.grants.borrow().stamp(id) == Some(stamp) {
            self.state.grants.borrow_mut().rest_on(id, grounds);
        }
        metrics::verdict_asked();
        self.upstream
            .ask_bool(ACTION, &params(&conference, user))
            .await
    }
}

/// `[call, uid]`.
fn params(conference: &Conference, user: &str) -> String {
    let users = conference.users.iter();
    let users: Vec<_> = users
        .map(|id| format!("{{\"_id\":{}}}", quoted(id)))
        .collect();
    let mut call = format!(
        "{{\"_id\":{},\"users\":[{}]",
        quoted(&conference.id),
        users.join(",")
    );
    for (name, room) in [
        ("rid", &conference.room),
        ("discussionRid", &conference.discussion),
    ] {
        if let Some(room) = room {
            call.push_str(&format!(",\"{name}\":{}", quoted(room)));
        }
    }
    format!("[{call}}},{}]", quoted(user))
}
