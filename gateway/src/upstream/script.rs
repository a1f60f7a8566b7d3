//! A far side for tests: a small world that answers after a while, by what is true at some moment in between, or not at
//! all. Everything comes out of one seed.

use std::{cell::RefCell, rc::Rc, sync::Arc, time::Duration};

use bytes::Bytes;
use harness::Dice;
use hashbrown::{HashMap, HashSet};
use protocol::ddp::ejson;
use store::{Conference, Room, User, bson::Bson};

use super::Unknown;

/// What is true. Authorization is as simple as can be: a user may access rooms that he is a member of, public ones, and
/// discussions of rooms that he may access.
#[derive(Debug, Default)]
pub(crate) struct World {
    pub(crate) rooms: HashMap<String, Room>,
    /// (room, user).
    pub(crate) members: HashSet<(String, String)>,
    pub(crate) users: HashMap<String, User>,
    /// (user, permission).
    pub(crate) permissions: HashSet<(String, String)>,
    /// Resume tokens and whose they are; the hash is the token itself.
    pub(crate) tokens: HashMap<String, String>,
    pub(crate) settings: HashMap<String, bool>,
    /// How many of them were read.
    pub(crate) settings_read: std::cell::Cell<u32>,
    pub(crate) version: Option<String>,
    /// How many documents each read of them was for.
    pub(crate) documents_read: RefCell<Vec<usize>>,
    /// How many members of rooms were read.
    pub(crate) members_read: std::cell::Cell<usize>,
    pub(crate) conferences: HashMap<String, Conference>,
    /// Whom each viewer must not see.
    pub(crate) hidden: HashMap<String, Vec<String>>,
}

/// The far side.
pub(crate) struct Script {
    pub(crate) world: RefCell<World>,
    dice: RefCell<Dice>,
    /// Of a thousand questions so many fail.
    pub(crate) failing: std::cell::Cell<usize>,
    /// Longest time to an answer, in ms.
    pub(crate) slowness: std::cell::Cell<usize>,
    /// What was broadcast: event and args.
    pub(crate) said: RefCell<Vec<(String, String)>>,
    /// Actions that nobody offers.
    pub(crate) missing: RefCell<HashSet<&'static str>>,
    /// Nodes that are monoliths.
    pub(crate) monoliths: RefCell<Vec<Arc<str>>>,
    /// Questions that are being answered, and the most that ever were.
    reading: std::cell::Cell<usize>,
    pub(crate) reading_most: std::cell::Cell<usize>,
    /// Reads of the store.
    pub(crate) reads: std::cell::Cell<usize>,
    /// Calls, by action, in order.
    pub(crate) called: RefCell<Vec<(String, String)>>,
}

/// A room of this type, by its id.
pub(crate) fn some_room(id: &str, kind: &str) -> (String, Room) {
    let room = Room {
        id: id.into(),
        kind: kind.into(),
        ..Room::default()
    };
    (id.to_owned(), room)
}

/// A user who is called as his id, by his id.
pub(crate) fn some_user(id: &str) -> (String, User) {
    let user = User {
        id: id.into(),
        username: Some(id.into()),
        active: true,
        ..User::default()
    };
    (id.to_owned(), user)
}

impl World {
    pub(crate) fn room(&self, id: &str) -> Option<Room> {
        self.rooms.get(id).cloned()
    }

    /// Makes a room that is there one of another type: `c`, `p`, `d`, `l`.
    pub(crate) fn set_kind(&mut self, room: &str, kind: &str) {
        self.rooms.get_mut(room).expect("it is there").kind = kind.into();
    }

    pub(crate) fn room_document(&self, id: &str) -> Option<String> {
        let room = self.rooms.get(id)?;
        Some(format!(r#"{{"_id":"{id}","t":"{}"}}"#, room.kind))
    }

    pub(crate) fn rooms_of_user(&self, user: &str) -> Vec<String> {
        let mine = self.members.iter().filter(|(_, member)| member == user);
        mine.map(|(room, _)| room.clone()).collect()
    }

    pub(crate) fn members_for(&self, room: &str, user: &str, limit: usize) -> Vec<String> {
        if !self.members.contains(&(room.to_owned(), user.to_owned())) {
            return Vec::new();
        }
        let all = self.members.iter().filter(|(of, _)| of == room);
        let members: Vec<_> = all.map(|(_, member)| member.clone()).take(limit).collect();
        self.members_read
            .set(self.members_read.get() + members.len());
        members
    }

    pub(crate) fn user(&self, id: &str) -> Option<User> {
        self.users.get(id).cloned()
    }

    pub(crate) fn user_documents(&self, ids: &[String]) -> Vec<Option<String>> {
        self.documents_read.borrow_mut().push(ids.len());
        let document = |user: &User| format!(r#"{{"_id":"{}"}}"#, user.id);
        let users = ids.iter().map(|id| self.users.get(id));
        users.map(|user| user.map(document)).collect()
    }

    pub(crate) fn presence_of(&self, users: &[String]) -> Vec<String> {
        let known = users.iter().filter(|user| self.users.contains_key(*user));
        let args =
            |id| format!(r#"[{{"user":{{"_id":"{id}","username":"{id}","status":"online"}}}}]"#);
        known.map(args).collect()
    }

    pub(crate) fn has_login_token(&self, logins: &[Arc<crate::link::User>]) -> Vec<bool> {
        let held = |login: &Arc<crate::link::User>| {
            self.tokens.get(&login.hashed_token).map(String::as_str) == Some(&*login.id)
        };
        logins.iter().map(held).collect()
    }

    pub(crate) fn setting(&self, id: &str) -> Option<Bson> {
        self.settings_read.set(self.settings_read.get() + 1);
        self.settings.get(id).map(|on| Bson::Boolean(*on))
    }

    /// Whether this user (`None`: nobody) may access this room.
    pub(crate) fn can_access(&self, room: &str, user: Option<&str>) -> bool {
        let Some(found) = self.rooms.get(room) else {
            return false;
        };
        let Some(user) = user.filter(|user| !user.is_empty()) else {
            let anonymous = self.settings.get("Accounts_AllowAnonymousRead");
            return found.kind == "c" && anonymous == Some(&true);
        };
        found.kind == "c"
            || self.members.contains(&(room.to_owned(), user.to_owned()))
            || found
                .parent
                .as_deref()
                .is_some_and(|parent| self.can_access(parent, Some(user)))
    }

    fn answer(&self, action: &str, params: &str) -> Option<String> {
        let text = |at: usize| {
            let param = ejson::elements(params).nth(at)?;
            let param = ejson::field(param, "_id").unwrap_or(param);
            Some(ejson::string(param)?.into_owned())
        };
        match action {
            "authorization.canAccessRoom"
            | "authorization.canReadRoom"
            | "authorization.canAccessRoomId" => {
                let verdict = self.can_access(&text(0)?, text(1).as_deref());
                Some(verdict.to_string())
            }
            "authorization.hasPermission" => {
                let held = self.permissions.contains(&(text(0)?, text(1)?));
                Some(held.to_string())
            }
            "authorization.hasAtLeastOnePermission" => {
                let user = text(0)?;
                let list = ejson::elements(params).nth(1)?;
                let held = ejson::elements(list)
                    .filter_map(ejson::string)
                    .any(|one| self.permissions.contains(&(user.clone(), one.into_owned())));
                Some(held.to_string())
            }
            "authorization.canAccessConference" => {
                let (call, user) = (ejson::elements(params).next()?, text(1)?);
                let rooms = ["rid", "discussionRid"].into_iter();
                let mut rooms = rooms.filter_map(|name| ejson::string(ejson::field(call, name)?));
                let users = ejson::elements(ejson::field(call, "users")?);
                let mut users = users.filter_map(|user| ejson::string(ejson::field(user, "_id")?));
                let may = users.any(|joined| *joined == *user)
                    || rooms.any(|room| self.can_access(&room, Some(&user)));
                Some(may.to_string())
            }
            "status-visibility.getHiddenFrom" => {
                let hidden = self.hidden.get(&text(0)?).cloned().unwrap_or_default();
                Some(format!("{hidden:?}"))
            }
            "accounts.login" => {
                let token = ejson::elements(params).next()?;
                let token = ejson::string(ejson::field(token, "resume")?)?;
                let Some(user) = self.tokens.get(&*token) else {
                    return Some("false".into());
                };
                Some(format!(
                    r#"{{"uid":"{user}","token":"{token}","hashedToken":"{token}","type":"resume"}}"#
                ))
            }
            _ => Some("{}".into()),
        }
    }
}

impl Script {
    pub(crate) fn new(seed: u64, world: World) -> Rc<Self> {
        Rc::new(Self {
            world: RefCell::new(world),
            dice: RefCell::new(Dice::new(seed)),
            failing: 0.into(),
            slowness: 0.into(),
            said: RefCell::default(),
            missing: RefCell::default(),
            monoliths: RefCell::default(),
            reading: 0.into(),
            reading_most: 0.into(),
            reads: 0.into(),
            called: RefCell::default(),
        })
    }

    pub(super) fn offers(&self, action: &str) -> bool {
        !self.missing.borrow().contains(action)
    }

    pub(super) fn broadcast(&self, event: &str, args: &str) {
        note(&self.said, event, args);
    }

    pub(super) async fn call(
        &self,
        action: &str,
        params: &str,
    ) -> Result<Option<Bytes>, backplane::Error> {
        note(&self.called, action, params);
        let failed = |kind| backplane::Error::new(kind, action);
        if !self.offers(action) {
            return Err(failed(backplane::ErrorKind::NotFound));
        }
        let answer = self.answer(|world| world.answer(action, params)).await;
        match answer {
            Ok(answer) => Ok(answer.map(Bytes::from)),
            Err(Unknown) => Err(failed(backplane::ErrorKind::Timeout)),
        }
    }

    pub(super) async fn read<T>(&self, look: impl FnOnce(&World) -> T) -> Result<T, Unknown> {
        self.reads.set(self.reads.get() + 1);
        self.answer(look).await
    }

    async fn answer<T>(&self, look: impl FnOnce(&World) -> T) -> Result<T, Unknown> {
        self.reading.set(self.reading.get() + 1);
        let most = self.reading_most.get().max(self.reading.get());
        self.reading_most.set(most);
        self.pause().await;
        let answer = look(&self.world.borrow());
        self.pause().await;
        self.reading.set(self.reading.get() - 1);
        let fails = self.dice.borrow_mut().roll(1_000) < self.failing.get();
        if fails { Err(Unknown) } else { Ok(answer) }
    }

    async fn pause(&self) {
        let slowness = self.slowness.get();
        if slowness > 0 {
            let pause = self.dice.borrow_mut().roll(slowness / 2 + 1);
            tokio::time::sleep(Duration::from_millis(pause as u64)).await;
        }
    }
}

/// What a test remembers is no memory of the gateway's.
fn note(list: &RefCell<Vec<(String, String)>>, what: &str, args: &str) {
    allocation_counter::opt_out(|| {
        serde_json::from_str::<Vec<serde_json::Value>>(args).expect("what is said is a JSON array");
        list.borrow_mut().push((what.to_owned(), args.to_owned()));
    });
}
