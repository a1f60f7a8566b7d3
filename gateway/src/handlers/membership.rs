//! `watch.subscriptions`: somebody joined or left a room, or is no member any more although an entry is left.
//!
//! A member is an entry **without** `status`: who is only invited, or banned, is none, whatever comes next.

use std::{borrow::Cow, rc::Rc, sync::Arc, time::Instant};

use protocol::ddp::ejson;

use super::core::Core;
use crate::{
    metrics,
    publication::UserEvent,
    state::{gaps::Scope, grants::GroundRef, joins::Joined},
    streams::request::ROOMS_CHANGED,
    upstream::Unknown,
};

/// Users who have missed a room's document each by himself; where more have, everybody who follows the room reads again.
const SCOPES_ALONE_MAX: usize = 64;

/// An entry of a user in a room, as an event tells of it.
struct Membership<'a> {
    user: Cow<'a, str>,
    room: Cow<'a, str>,
    change: Change,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Change {
    Joined,
    Left,
    /// Most events: unread counters and the like. Whoever is no member yet has become one.
    Updated,
}

impl<'a> Membership<'a> {
    fn parse(args: &'a str) -> Result<Self, Change> {
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
            (Some(user), Some(room)) => Ok(Self { user, room, change }),
            _ => Err(change),
        }
    }
}

impl Core {
    /// `watch.subscriptions`.
    pub(crate) fn membership_changed(self: &Rc<Self>, args: &str, received: Instant) {
        match Membership::parse(args) {
            Ok(membership) => {
                self.judge_member(&membership);
                self.follow_member(&membership, received);
            }
            // Old senders do not say whose and where: everybody is judged again.
            Err(Change::Left) => self.everybody_changed(),
            Err(_) => {}
        }
    }

    /// What it changes about access.
    fn judge_member(&self, membership: &Membership<'_>) {
        let (room, change) = (&*membership.room, membership.change);
        let ground = GroundRef::User(&membership.user);
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
            let is_here = question.room().is_some_and(|asked| **asked == *room);
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
            self.with_post(|post| post.revoke(&lost, true));
        }
    }

    /// What it changes for those who follow the user's rooms: the index, and the room's document for who has joined.
    fn follow_member(self: &Rc<Self>, membership: &Membership<'_>, received: Instant) {
        let (user, room, change) = (&*membership.user, &*membership.room, membership.change);
        {
            let index = &mut self.state.my_messages.borrow_mut().rooms;
            match change {
                Change::Left => index.left(user, room),
                Change::Joined | Change::Updated => index.joined(user, room),
            }
        }
        let mut rooms = self.state.rooms.borrow_mut();
        if !rooms.is_followed_by(user) {
            // Whoever comes back finds his rooms as they are then.
            return match change {
                Change::Left => rooms.left(user, room),
                Change::Joined | Change::Updated => rooms.joined(user, room),
            };
        }
        match change {
            Change::Left => return rooms.left(user, room),
            Change::Updated if rooms.is_in(user, room) => return,
            // What is being read may be older, but who hears of every room at its end needs no other word.
            Change::Updated if rooms.is_loading(user) => return rooms.joined(user, room),
            Change::Joined | Change::Updated => rooms.joined(user, room),
        }
        drop(rooms);
        let (user, room) = (Arc::from(user), Arc::from(room));
        let begins = self.state.joins.borrow_mut().join(&room, user, received);
        if begins {
            let core = self.clone();
            tokio::task::spawn_local(async move { core.show_room(room).await });
        }
    }

    /// Reads a room for those who have joined it, then lets go what waits behind the reading; once more for those who have
    /// joined meanwhile.
    async fn show_room(self: &Rc<Self>, room: Arc<str>) {
        loop {
            // Who joins while the room waits for its turn is read for with the others.
            let turn = self.room_readings.acquire().await;
            let Some(joined) = self.state.joins.borrow_mut().begin(&room) else {
                return;
            };
            let document = self.upstream.room_document(&room).await;
            drop(turn);
            match document {
                Ok(Some(document)) => {
                    let rooms = self.state.rooms.borrow();
                    // Who has left meanwhile does not hear of it.
                    let users = joined.users.iter().filter(|user| rooms.is_in(user, &room));
                    let users: Arc<[Arc<str>]> = users.cloned().collect();
                    drop(rooms);
                    let args = format!("[\"inserted\",{document}]").into();
                    self.emit_to_users(users, UserEvent::Own(ROOMS_CHANGED), args, joined.received);
                }
                Ok(None) => {}
                Err(Unknown) => self.missed_room(&room, joined),
            }
            let done = self.state.joins.borrow_mut().end(&room);
            for event in done.events {
                self.event_in_turn(&event);
            }
            self.flush();
            if done.is_last {
                return;
            }
        }
    }

    /// A room could not be read for those who have joined it.
    fn missed_room(&self, room: &Arc<str>, joined: Joined) {
        if joined.users.len() > SCOPES_ALONE_MAX {
            return self.gap("lookup", Scope::Followers(room.clone()), joined.received);
        }
        for user in joined.users {
            self.gap("lookup", Scope::User(user), joined.received);
        }
    }
}
