//! `watch.rooms`: what access rests on, and who follows the room. It follows every message, so a room that nobody has
//! asked about costs nothing.

use std::{
    borrow::Cow,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    sync::Arc,
    time::Instant,
};

use backplane::Event;
use protocol::ddp::ejson;

use super::core::{Core, now};
use crate::{
    metrics,
    publication::UserEvent,
    state::{
        gaps::Scope,
        grants::{Facts, GroundRef},
    },
    streams::request::ROOMS_CHANGED,
};

impl Core {
    /// Whether an event of a room waits behind a look-up of it.
    pub(crate) fn must_wait(&self, args: &str) -> bool {
        let joins = self.state.joins.borrow();
        if joins.is_empty() {
            return false;
        }
        let room = ejson::at(args, 0, &["room", "_id"]).and_then(ejson::string);
        room.is_some_and(|room| joins.holds(&room))
    }

    /// Lets an event wait; where too many wait, who follows the room has missed one.
    pub(crate) fn let_wait(&self, event: Event) {
        let received = event.received;
        let args = event.args.clone();
        let room = ejson::at(&args, 0, &["room", "_id"]).and_then(ejson::string);
        let Some(room) = room.map(|room| Arc::<str>::from(&*room)) else {
            return;
        };
        // What it changes about access does not wait.
        self.judge_room_again(&args);
        let events_max = self.config.hold_events;
        if self.state.joins.borrow_mut().wait(&room, event, events_max) {
            return;
        }
        metrics::hold_overflow();
        self.gap("hold", Scope::Room(room.clone()), received);
        self.gap("hold", Scope::Followers(room), received);
    }

    /// A room is new, changed or gone.
    pub(crate) fn room_changed(&self, args: &str, received: Instant) {
        self.judge_room_again(args);
        let Some(room) = ejson::at(args, 0, &["room", "_id"]).and_then(ejson::string) else {
            return;
        };
        let followers = self.state.rooms.borrow_mut().followers(&room);
        if let Some(users) = followers {
            let action = ejson::at(args, 0, &["clientAction"]).unwrap_or("null");
            let document = ejson::at(args, 0, &["room"]).unwrap_or("null");
            let args = format!("[{action},{document}]").into();
            self.emit_to_users(users, UserEvent::Own(ROOMS_CHANGED), args, received);
        }
    }

    /// Judges again what rests on the room, if what decides has changed.
    fn judge_room_again(&self, args: &str) {
        let Some(room) = ejson::at(args, 0, &["room"]) else {
            return;
        };
        let Some(id) = ejson::at(args, 0, &["room", "_id"]).and_then(ejson::string) else {
            return;
        };
        let removed = ejson::at(args, 0, &["clientAction"]) == Some("\"removed\"");
        let ground = GroundRef::Room(&id);
        let mut grants = self.state.grants.borrow_mut();
        let mut recent = self.state.recent.borrow_mut();
        let mut touched = Vec::new();
        let is_known = grants.has_dependents(ground);
        if !is_known || grants.facts_changed(ground, facts(room)) || removed {
            recent.hear(ground, now());
            touched = grants.dependents(ground);
        }
        // Whether a team is open to everybody is told by its main room alone.
        if let Some(team) = team_of_main_room(room)
            && grants.has_dependents(GroundRef::Team(&team))
        {
            let team = GroundRef::Team(&team);
            let privacy = Facts {
                kind: ejson::field(room, "t").unwrap_or_default().to_owned(),
                ..Facts::default()
            };
            if grants.facts_changed(team, privacy) || removed {
                recent.hear(team, now());
                touched.extend(grants.dependents(team));
            }
        }
        drop((grants, recent));
        // Without a grant nothing says whether it has changed: somebody may have asked for it before it was there, or is
        // about to write there.
        if !is_known || !touched.is_empty() {
            self.state.known.rooms.borrow_mut().forget(&id);
        }
        self.touched(touched);
    }
}

/// The team whose main room this is.
fn team_of_main_room(room: &str) -> Option<Cow<'_, str>> {
    if ejson::field(room, "teamMain") != Some("true") {
        return None;
    }
    ejson::field(room, "teamId").and_then(ejson::string)
}

/// The deciding parts of a room as an event carries it.
fn facts(room: &str) -> Facts {
    let text = |name| {
        ejson::field(room, name)
            .and_then(ejson::string)
            .map(|text| text.into_owned())
    };
    let visitor = ejson::field(room, "v").and_then(|visitor| ejson::field(visitor, "token"));
    let abac = ejson::field(room, "abacAttributes");
    let abac = abac.filter(|list| list.starts_with('[') && *list != "[]");
    let agent = ejson::field(room, "servedBy").and_then(|agent| ejson::field(agent, "_id"));
    let rest = [abac, agent, ejson::field(room, "departmentId")];
    Facts {
        kind: text("t").unwrap_or_default(),
        team: text("teamId"),
        parent: text("prid"),
        visitor_token: visitor
            .and_then(ejson::string)
            .map(|text| text.into_owned()),
        has_abac: abac.is_some(),
        rest: rest.iter().any(Option::is_some).then(|| {
            let mut hasher = DefaultHasher::new();
            rest.hash(&mut hasher);
            hasher.finish()
        }),
    }
}
