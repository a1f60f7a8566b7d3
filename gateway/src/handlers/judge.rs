//! Verdicts: who may follow what, as the store and the authorization service say (streams.md 7, 12). Unknown means no.

use std::{rc::Rc, sync::Arc};

use protocol::ddp::{ejson, encode::quoted};
use store::Room;

use super::core::Core;
use crate::{
    metrics,
    state::grants::{Facts, GrantId, Ground, Stamp},
    streams::{
        question::{About, Question},
        table::RoomRule,
    },
    upstream::Unknown,
};

/// A question is asked again when something moved meanwhile; this often at most.
const JUDGEMENTS_MAX: usize = 8;

/// A discussion has a parent, which may have one; more rooms than this in a chain are none that a workspace makes.
const CHAIN_MAX: usize = 4;

/// What came out about a grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Yes,
    No,
    /// It cannot be known now.
    Unknown,
    /// It moved faster than it could be asked; whoever moved it has it judged again.
    Moved,
    /// The grant is gone: revoked, or nobody waits any more.
    Gone,
}

impl Core {
    /// The verdict on a grant as things stand, asked once however many wait for it, and again when something moved
    /// meanwhile.
    pub(crate) async fn verdict(self: &Rc<Self>, id: GrantId) -> Verdict {
        for _ in 0..JUDGEMENTS_MAX {
            let (stamp, question) = {
                let grants = self.state.grants.borrow();
                match (grants.stamp(id), grants.question(id)) {
                    (Some(stamp), Some(question)) => (stamp, question.clone()),
                    _ => return Verdict::Gone,
                }
            };
            let core = self.clone();
            let answer = self
                .flights
                .verdicts
                .ask((id, stamp), || async move {
                    core.judge(id, stamp, &question).await
                })
                .await;
            let mut grants = self.state.grants.borrow_mut();
            match grants.stamp(id) {
                None => return Verdict::Gone,
                Some(after) if after != stamp => continue,
                Some(_) => {}
            }
            return match answer {
                Ok(true) => {
                    grants.allow(id, stamp);
                    Verdict::Yes
                }
                Ok(false) if grants.take_hope(id) => {
                    // All who wait for this answer ask again.
                    grants.touch(id);
                    continue;
                }
                Ok(false) => Verdict::No,
                Err(Unknown) => Verdict::Unknown,
            };
        }
        self.touched([id]);
        Verdict::Moved
    }

    async fn judge(
        self: &Rc<Self>,
        id: GrantId,
        stamp: Stamp,
        question: &Question,
    ) -> Result<bool, Unknown> {
        match &question.about {
            About::Permission { any_of, setting } => {
                if let Some(setting) = setting
                    && !self.setting_is_on(setting).await?
                {
                    return Ok(false);
                }
                let Some(user) = &question.user else {
                    return Ok(false);
                };
                self.has_permission(user, any_of).await
            }
            About::Conference { call } => {
                let user = question.user.as_deref();
                self.judge_conference((id, stamp), call, user).await
            }
            About::Room { room, rule, tokens } => {
                let Some(chain) = self.chain(room).await? else {
                    return Ok(false);
                };
                // What was read before the last event may be older than what a later question has found.
                if self.state.grants.borrow().stamp(id) == Some(stamp) {
                    let mut grants = self.state.grants.borrow_mut();
                    grants.rest_on(id, grounds(&chain));
                    for room in &chain {
                        grants.note_facts(Ground::Room(room.id.as_str().into()), Facts::of(room));
                    }
                }
                self.judge_room(
                    &chain[0],
                    question.user.as_deref(),
                    tokens.as_deref(),
                    *rule,
                )
                .await
            }
        }
    }

    /// Whether a user may take part in a room (typing): as `notify-room` is read, without a grant.
    pub(crate) async fn may_write(
        self: &Rc<Self>,
        room: &Arc<str>,
        user: Option<&str>,
        tokens: Option<&str>,
    ) -> Result<bool, Unknown> {
        match self.room(room).await? {
            Some(room) => {
                self.judge_room(&room, user, tokens, RoomRule::AccessOrToken)
                    .await
            }
            None => Ok(false),
        }
    }

    /// A room and those above it; `None` if the room does not exist.
    pub(super) async fn chain(
        self: &Rc<Self>,
        id: &Arc<str>,
    ) -> Result<Option<Vec<Arc<Room>>>, Unknown> {
        let Some(room) = self.room(id).await? else {
            return Ok(None);
        };
        let mut chain = vec![room];
        while chain.len() < CHAIN_MAX
            && let Some(parent) = chain.last().and_then(|room| room.parent.clone())
        {
            match self.room(&parent.into()).await? {
                Some(parent) if chain.iter().all(|room| room.id != parent.id) => chain.push(parent),
                _ => break,
            }
        }
        Ok(Some(chain))
    }

    async fn judge_room(
        self: &Rc<Self>,
        room: &Arc<Room>,
        user: Option<&str>,
        tokens: Option<&str>,
        rule: RoomRule,
    ) -> Result<bool, Unknown> {
        let is_visitor = |name| {
            let given = ejson::string(ejson::field(tokens?, name)?)?;
            let token = room
                .visitor_token
                .as_deref()
                .filter(|token| !token.is_empty());
            Some(room.kind == "l" && token == Some(&*given))
        };
        match rule {
            RoomRule::VisitorToken => Ok(is_visitor("visitorToken").unwrap_or(false)),
            RoomRule::AccessOrToken => match (is_visitor("token"), user) {
                (Some(verdict), _) => Ok(verdict),
                (None, None) => Ok(false),
                (None, Some(_)) => self.can_access(room, user, None).await,
            },
            RoomRule::Access if user.is_none() => Ok(false),
            RoomRule::Access => self.can_access(room, user, None).await,
            RoomRule::Read => self.can_read(room, user, tokens).await,
        }
    }

    async fn can_access(
        &self,
        room: &Room,
        user: Option<&str>,
        tokens: Option<&str>,
    ) -> Result<bool, Unknown> {
        if let Some(user) = user.filter(|user| room.has_abac && !user.is_empty()) {
            // The attributes are not ours to pass on: this action reads the room itself.
            let params = format!("[{},{}]", quoted(&room.id), quoted(user));
            return self.ask("authorization.canAccessRoomId", &params).await;
        }
        self.ask(
            "authorization.canAccessRoom",
            &room_params(room, user, tokens),
        )
        .await
    }

    /// Lines up to 7.0 have no `canReadRoom`: access, or a user's look at a public room (streams.md 12).
    async fn can_read(
        &self,
        room: &Room,
        user: Option<&str>,
        tokens: Option<&str>,
    ) -> Result<bool, Unknown> {
        // Rooms with attributes are private, where reading and access are the same.
        if room.has_abac && user.is_some() {
            return self.can_access(room, user, tokens).await;
        }
        let newer = "authorization.canReadRoom";
        if self.upstream.offers(newer) {
            return self.ask(newer, &room_params(room, user, tokens)).await;
        }
        // Who is not logged in has an empty id there.
        if self
            .can_access(room, Some(user.unwrap_or("")), tokens)
            .await?
        {
            return Ok(true);
        }
        match user {
            Some(user) if room.kind == "c" => self.has_permission(user, &["preview-c-room"]).await,
            _ => Ok(false),
        }
    }

    async fn has_permission(&self, user: &str, any_of: &[&str]) -> Result<bool, Unknown> {
        if let [one] = any_of {
            let params = format!("[{},{}]", quoted(user), quoted(one));
            return self.ask("authorization.hasPermission", &params).await;
        }
        let list: Vec<String> = any_of.iter().map(|one| quoted(one)).collect();
        let params = format!("[{},[{}]]", quoted(user), list.join(","));
        self.ask("authorization.hasAtLeastOnePermission", &params)
            .await
    }

    async fn ask(&self, action: &str, params: &str) -> Result<bool, Unknown> {
        metrics::verdict_asked();
        self.upstream.ask_bool(action, params).await
    }
}

/// The parts of a room that access rules read (streams.md 7.3), on whose behalf, and a visitor's tokens.
fn room_params(room: &Room, user: Option<&str>, tokens: Option<&str>) -> String {
    let mut text = format!(
        "[{{\"_id\":{},\"t\":{}",
        quoted(&room.id),
        quoted(&room.kind)
    );
    for (name, value) in [("teamId", &room.team), ("prid", &room.parent)] {
        if let Some(value) = value {
            text.push_str(&format!(",\"{name}\":{}", quoted(value)));
        }
    }
    text.push_str("},");
    match user {
        Some(user) => text.push_str(&format!("{{\"_id\":{}}}", quoted(user))),
        None => text.push_str("null"),
    }
    // They mean something to the rules of livechat rooms only.
    if let Some(tokens) = tokens.filter(|_| is_omnichannel(room)) {
        text.push(',');
        text.push_str(tokens);
    }
    text.push(']');
    text
}

fn is_omnichannel(room: &Room) -> bool {
    matches!(&*room.kind, "l" | "v")
}

/// What a verdict on the first room of a chain rests on beyond it.
pub(super) fn grounds(chain: &[Arc<Room>]) -> Vec<Ground> {
    let mut grounds = Vec::new();
    for (at, room) in chain.iter().enumerate() {
        if at > 0 {
            grounds.push(Ground::Room(room.id.as_str().into()));
        } else if let Some(parent) = room.parent.as_deref().filter(|_| chain.len() == 1) {
            // A parent that does not exist (yet).
            grounds.push(Ground::Room(parent.into()));
        }
        if let Some(team) = &room.team {
            grounds.push(Ground::Team(team.as_str().into()));
        }
        if room.has_abac {
            grounds.push(Ground::Setting("ABAC_Enabled".into()));
        }
        if is_omnichannel(room) {
            grounds.push(Ground::Omnichannel);
        }
    }
    grounds
}

impl Facts {
    fn of(room: &Room) -> Self {
        Self {
            kind: room.kind.clone(),
            team: room.team.clone(),
            parent: room.parent.clone(),
            visitor_token: room.visitor_token.clone(),
            has_abac: room.has_abac,
            rest: None,
        }
    }
}
