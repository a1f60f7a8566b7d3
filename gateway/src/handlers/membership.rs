//! `watch.subscriptions`: somebody joined or left a room, or is no member any more although an entry is left.
//!
//! A member is an entry **without** `status`: who is only invited, or banned, is none, whatever comes next.

use std::{rc::Rc, sync::Arc, time::Instant};

use protocol::ddp::ejson;

use super::core::Core;
use crate::{
    metrics,
    publication::UserEvent,
    state::{gaps::Scope, grants::GroundRef},
    streams::request::ROOMS_CHANGED,
};

/// An entry of a user in a room, as an event tells of it.
struct Membership {
    user: Arc<str>,
    room: Arc<str>,
    change: Change,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Change {
    Joined,
    Left,
    /// Most events: unread counters and the like. Whoever is no member yet has become one.
    Updated,
}

impl Membership {
    fn parse(args: &str) -> Result<Self, Change> {
        let text = |path: &[&str]| ejson::at(args, 0, path).and_then(ejson::string);
        let status = ejson::at(args, 0, &["subscription", "status"]);
        let is_member = status.is_none_or(|status| status == "null");
        let change = match ejson::at(args, 0, &["clientAction"]) {
            Some("\"removed\"") => Change::Left,
            _ if !is_member => Change::Left,
            Some("\"inserted\"") => Change::Joined,
            _ => Change::Updated,
        };
        match (
            text(&["subscription", "u", "_id"]),
            text(&["subscription", "rid"]),
        ) {
            (Some(user), Some(room)) => Ok(Self {
                user: Arc::from(&*user),
                room: Arc::from(&*room),
                change,
            }),
            _ => Err(change),
        }
    }
}

impl Core {
    /// What it changes about access.
    pub(crate) fn membership_changed(&self, args: &str) {
        let membership = match Membership::parse(args) {
            Ok(membership) => membership,
            // Old senders do not say whose and where: everybody is judged again.
            Err(Change::Left) => return self.everybody_changed(),
            Err(_) => return,
        };
        let Membership { user, room, change } = membership;
        let ground = GroundRef::User(&user);
        let dependents = match change {
            // It follows every message: nothing that others might have to hear yet.
            Change::Updated => self.state.grants.borrow().dependents(ground),
            Change::Joined | Change::Left => self.heard_of(ground),
        };
        let mut grants = self.state.grants.borrow_mut();
        let (mut lost, mut touched) = (Vec::new(), Vec::new());
        for id in dependents {
            let Some(question) = grants.question(id) else {
                continue;
            };
            let is_here = question.room() == Some(&room);
            match change {
                Change::Left if is_here => lost.extend(grants.revoke(id)),
                // Access to a discussion may rest on its parent, and access to a room of a team on the team.
                Change::Left | Change::Joined if is_here || grants.is_inherited(id) => {
                    touched.push(id)
                }
                // A question under way may have been answered by what was before.
                Change::Updated if is_here || grants.is_inherited(id) => grants.hope(id),
                _ => {}
            }
        }
        drop(grants);
        self.touched(touched);
        if !lost.is_empty() {
            metrics::revoked("membership");
            let mut people = self.state.people.borrow_mut();
            for sub in &lost {
                people.end(*sub);
            }
            drop(people);
            self.state.post.borrow_mut().revoke(&lost, true);
        }
    }

    /// What it changes for those who follow the user's rooms: the index, and the room's document for who has joined.
    pub(crate) fn rooms_changed(self: &Rc<Self>, args: &str, received: Instant) {
        let Ok(Membership { user, room, change }) = Membership::parse(args) else {
            return;
        };
        {
            let index = &mut self.state.my_messages.borrow_mut().rooms;
            match change {
                Change::Left => index.left(&user, &room),
                Change::Joined | Change::Updated => index.joined(&user, &room),
            }
        }
        let mut rooms = self.state.rooms.borrow_mut();
        if !rooms.is_followed_by(&user) {
            return;
        }
        match change {
            Change::Left => return rooms.left(&user, &room),
            Change::Updated if rooms.is_in(&user, &room) => return,
            // What is being read may be older, but who hears of every room at its end needs no other word.
            Change::Updated if rooms.is_loading(&user) => return rooms.joined(&user, &room),
            Change::Joined | Change::Updated => rooms.joined(&user, &room),
        }
        drop(rooms);
        self.state.holds.borrow_mut().begin(&room);
        let core = self.clone();
        tokio::task::spawn_local(async move { core.show_room(user, room, received).await });
    }

    /// Reads the room that a user has joined, then lets go what waits behind it.
    async fn show_room(self: &Rc<Self>, user: Arc<str>, room: Arc<str>, received: Instant) {
        match self.upstream.room_document(&room).await {
            // Who has left meanwhile does not hear of it.
            Ok(Some(document)) if self.state.rooms.borrow().is_in(&user, &room) => {
                let args = format!("[\"inserted\",{document}]").into();
                self.emit_to_users(
                    Arc::from([user]),
                    UserEvent::Own(ROOMS_CHANGED),
                    args,
                    received,
                );
            }
            Ok(_) => {}
            Err(_) => self.gap("lookup", Scope::User(user), received),
        }
        let waited = self.state.holds.borrow_mut().end(&room);
        for event in waited {
            self.event(event);
        }
        self.flush();
    }
}
