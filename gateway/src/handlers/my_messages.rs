//! `watch.messages` for those who follow all messages that they may read (streams.md 5.2): verdicts are asked for once and
//! kept until an event touches them, so that a message costs no look-up for each of its readers.

use std::{rc::Rc, sync::Arc};

use backplane::Event;
use protocol::ddp::{ejson, encode::quoted};
use store::Room;

use super::{
    core::{Core, now},
    judge::Verdict,
};
use crate::{
    metrics,
    publication::UserEvent,
    state::{
        gaps::Scope,
        grants::GrantId,
        known::Fact,
        my_messages::{NOBODY, Remembered},
    },
    streams::{
        question::{About, Question},
        table::RoomRule,
    },
    upstream::Unknown,
};

impl Core {
    /// A message, for whoever follows all.
    pub(crate) fn my_messages(self: &Rc<Self>, event: &Event) {
        let mut mine = self.state.my_messages.borrow_mut();
        if mine.rooms.is_unused() {
            return;
        }
        let Some(id) = room_of(event) else { return };
        if mine.holds.holds(&id) {
            let events_max = self.config.hold_events;
            if !mine.holds.wait(&id, event.clone(), events_max) {
                drop(mine);
                metrics::hold_overflow();
                self.miss(event);
            }
            return;
        }
        drop(mine);
        let fact = self.state.known.rooms.borrow().get(&id, now());
        if let Fact::Known(Some(room)) = &fact
            && let Some(readers) = self.known_readers(room)
        {
            return self.show(event, room, readers);
        }
        self.state.my_messages.borrow_mut().holds.begin(&id);
        let core = self.clone();
        let event = event.clone();
        tokio::task::spawn_local(async move {
            core.find_readers(&id, &event).await;
            let waited = core.state.my_messages.borrow_mut().holds.end(&id);
            for event in waited {
                core.my_messages(&event);
            }
            core.flush();
        });
    }

    /// Asks what is not known about a room's readers, then shows them the message.
    async fn find_readers(self: &Rc<Self>, id: &Arc<str>, event: &Event) {
        let room = match self.room(id).await {
            Ok(Some(room)) => room,
            Ok(None) => return,
            Err(Unknown) => return self.miss(event),
        };
        let mut readers = Vec::new();
        for user in self.candidates(&room) {
            match self.may_read(&user, id).await {
                Ok(true) => readers.push(user),
                Ok(false) => {}
                Err(Unknown) => self.gap("lookup", Scope::User(user), event.received),
            }
        }
        self.show(event, &room, readers);
    }

    /// The readers of a room, if all verdicts are at hand.
    fn known_readers(&self, room: &Room) -> Option<Vec<Arc<str>>> {
        let mut readers = Vec::new();
        for user in self.candidates(room) {
            if self.known_verdict(&user, &room.id)? {
                readers.push(user);
            }
        }
        Some(readers)
    }

    /// Whom any rule may let read the room: where it is private and stands for itself only members, so that a word between
    /// two does not go through all who follow all messages.
    fn candidates(&self, room: &Room) -> Vec<Arc<str>> {
        let rooms = &mut self.state.my_messages.borrow_mut().rooms;
        let is_closed = matches!(&*room.kind, "p" | "d") && room.parent.is_none();
        if !is_closed {
            return rooms.users();
        }
        let members = rooms.followers(&room.id).unwrap_or_default();
        let members = members.iter().filter(|user| rooms.is_followed_by(user));
        members.cloned().collect()
    }

    fn known_verdict(&self, user: &str, room: &str) -> Option<bool> {
        let known = self.state.my_messages.borrow().verdict(user, room)?;
        let stamp = self.state.grants.borrow().stamp(known.grant);
        (stamp == Some(known.stamp)).then_some(known.allowed)
    }

    async fn may_read(self: &Rc<Self>, user: &Arc<str>, room: &Arc<str>) -> Result<bool, Unknown> {
        if let Some(verdict) = self.known_verdict(user, room) {
            return Ok(verdict);
        }
        let question = Question {
            user: Some(user.clone()),
            about: About::Room {
                room: room.clone(),
                rule: RoomRule::Access,
                tokens: None,
            },
        };
        let grant = self.state.grants.borrow_mut().enter(NOBODY, question);
        let asked = now();
        let verdict = self.verdict(grant).await;
        let stamp = self.state.grants.borrow().stamp(grant);
        let allowed = match verdict {
            Verdict::Yes => true,
            Verdict::No => false,
            Verdict::Unknown | Verdict::Moved => {
                self.forget_verdicts(vec![grant]);
                return Err(Unknown);
            }
            Verdict::Gone => return Ok(false),
        };
        if let Some(stamp) = stamp {
            let known = Remembered {
                grant,
                stamp,
                allowed,
            };
            let over = {
                let mut mine = self.state.my_messages.borrow_mut();
                mine.remember(user, room, known)
            };
            self.forget_verdicts(over);
            self.doubt(grant, asked);
        }
        Ok(allowed)
    }

    pub(crate) fn forget_verdicts(&self, grants: Vec<GrantId>) {
        let mut owner = self.state.grants.borrow_mut();
        for grant in grants {
            owner.leave(grant, NOBODY);
        }
    }

    /// One publication for the readers who are in the room, one for the others: the message is shared.
    fn show(&self, event: &Event, room: &Room, readers: Vec<Arc<str>>) {
        if readers.is_empty() || !event.is_sound() {
            return;
        }
        let message = ejson::at(&event.args, 0, &["message"]).unwrap_or("null");
        let (inside, outside): (Vec<_>, Vec<_>) = {
            let mine = self.state.my_messages.borrow();
            readers
                .into_iter()
                .partition(|user| mine.rooms.is_in(user, &room.id))
        };
        for (is_participant, users) in [(true, inside), (false, outside)] {
            if !users.is_empty() {
                let viewer = viewer(room, is_participant);
                let args = format!("[{message},{viewer}]").into();
                self.emit_to_users(users.into(), UserEvent::MyMessages, args, event.received);
            }
        }
    }

    /// Whoever follows all messages has missed one.
    fn miss(&self, event: &Event) {
        let users = self.state.my_messages.borrow().rooms.users();
        for user in users {
            self.gap("lookup", Scope::User(user), event.received);
        }
    }
}

fn room_of(event: &Event) -> Option<Arc<str>> {
    let id = ejson::at(&event.args, 0, &["message", "rid"]).and_then(ejson::string)?;
    Some(Arc::from(&*id))
}

/// The last argument. Direct rooms have no name.
fn viewer(room: &Room, is_participant: bool) -> String {
    let kind = quoted(&room.kind);
    let mut text = format!("{{\"roomParticipant\":{is_participant},\"roomType\":{kind}");
    if let Some(name) = room.name.as_deref().filter(|_| room.kind != "d") {
        text.push_str(&format!(",\"roomName\":{}", quoted(name)));
    }
    text.push('}');
    text
}
