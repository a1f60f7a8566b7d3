//! Which sockets are open and who is logged in on them, as far as the bus thread needs it.

use std::sync::Arc;

use hashbrown::{HashMap, HashSet};

use crate::link::{Caller, Connection, User};

/// A socket: shard, slot, generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key(u16, u32, u32);

impl From<&Connection> for Key {
    fn from(connection: &Connection) -> Self {
        Self(connection.shard, connection.slot, connection.generation)
    }
}

impl From<&Caller> for Key {
    fn from(caller: &Caller) -> Self {
        Self::from(&*caller.connection)
    }
}

/// All open sockets of this process.
#[derive(Default)]
pub(crate) struct Connections {
    open: HashMap<Key, Open>,
    users: HashMap<Arc<str>, Online>,
}

/// A user who is logged in somewhere here.
#[derive(Debug, Default)]
struct Online {
    sockets: HashSet<Key>,
    /// His roles when they were last read.
    roles: Option<Vec<String>>,
}

/// One open socket.
#[derive(Debug)]
pub(crate) struct Open {
    pub(crate) user: Option<Arc<User>>,
    /// Calls of `presence.newConnection` under way: whoever ends the connection leaves the removal to the last of them.
    pub(crate) announcing: u32,
    /// `logout` is under way: this connection ends by itself, behind its answer.
    pub(crate) leaving: bool,
    /// Told by `livechat:setUpConnection`; the monolith hears when this guest goes.
    pub(crate) guest_token: Option<String>,
    /// Whose `rooms-changed` is subscribed here, once per subscription.
    pub(crate) follows: Vec<Arc<str>>,
}

impl Connections {
    pub(crate) fn open(&mut self, key: Key) {
        self.open.insert(
            key,
            Open {
                user: None,
                announcing: 0,
                leaving: false,
                guest_token: None,
                follows: Vec::new(),
            },
        );
    }

    /// Forgets a socket and returns what was known of it.
    pub(crate) fn close(&mut self, key: Key) -> Option<Open> {
        let user = self.log_out(key);
        self.open.remove(&key).map(|open| Open { user, ..open })
    }

    /// Enters a login; the user who was logged in there before, if the socket is still open.
    pub(crate) fn log_in(&mut self, key: Key, user: &Arc<User>) -> Option<Option<Arc<User>>> {
        let before = self.log_out(key);
        let open = self.open.get_mut(&key)?;
        open.user = Some(user.clone());
        self.users
            .entry(user.id.clone())
            .or_default()
            .sockets
            .insert(key);
        Some(before)
    }

    /// Enters a logout; the user who was logged in.
    pub(crate) fn log_out(&mut self, key: Key) -> Option<Arc<User>> {
        let user = self.open.get_mut(&key)?.user.take()?;
        if let Some(online) = self.users.get_mut(&user.id) {
            online.sockets.remove(&key);
            if online.sockets.is_empty() {
                self.users.remove(&user.id);
            }
        }
        Some(user)
    }

    pub(crate) fn get_mut(&mut self, key: Key) -> Option<&mut Open> {
        self.open.get_mut(&key)
    }

    /// Enters a `rooms-changed` subscription; `false` if the socket is gone.
    pub(crate) fn follow(&mut self, key: Key, user: &Arc<str>) -> bool {
        self.open.get_mut(&key).is_some_and(|open| {
            open.follows.push(user.clone());
            true
        })
    }

    /// Takes a `rooms-changed` subscription out; whether there was one.
    pub(crate) fn unfollow(&mut self, key: Key, user: &str) -> bool {
        let Some(open) = self.open.get_mut(&key) else {
            return false;
        };
        let at = open.follows.iter().position(|followed| **followed == *user);
        at.is_some_and(|at| {
            open.follows.swap_remove(at);
            true
        })
    }

    /// Whether this user is logged in on this socket now.
    pub(crate) fn is_logged_in(&self, key: Key, user: &str) -> bool {
        let open = self.open.get(&key);
        open.and_then(|open| open.user.as_ref())
            .is_some_and(|there| *there.id == *user)
    }

    /// The shards with a socket on which this user is logged in, ahead of what the shards themselves know: an answer
    /// that is on its way there counts already.
    pub(crate) fn shards(&self, user: &str) -> u64 {
        let online = self.users.get(user);
        let sockets = online.into_iter().flat_map(|online| &online.sockets);
        sockets.fold(0, |shards, key| shards | 1 << key.0)
    }

    pub(crate) fn is_open(&self, key: Key) -> bool {
        self.open.contains_key(&key)
    }

    pub(crate) fn has_user(&self, user: &str) -> bool {
        self.users.contains_key(user)
    }

    /// Whether this token is going because its owner logs out on one of these sockets.
    pub(crate) fn is_leaving(&self, user: &str, hashed_token: &str) -> bool {
        let sockets = self.sockets(user).into_iter();
        let mut open = sockets.filter_map(|key| self.open.get(&key));
        open.any(|open| {
            let login = open.user.as_ref();
            open.leaving && login.is_some_and(|login| login.hashed_token == hashed_token)
        })
    }

    /// The sockets of a user.
    pub(crate) fn sockets(&self, user: &str) -> Vec<Key> {
        self.users
            .get(user)
            .map(|online| online.sockets.iter().copied().collect())
            .unwrap_or_default()
    }

    /// The distinct token hashes with which this user is logged in.
    pub(crate) fn tokens(&self, user: &str) -> HashSet<String> {
        let keys = self
            .users
            .get(user)
            .into_iter()
            .flat_map(|online| &online.sockets);
        let users = keys.filter_map(|key| self.open.get(key)?.user.as_ref());
        users.map(|user| user.hashed_token.clone()).collect()
    }

    /// Remembers the roles of a user who is logged in; whether they differ from what was known.
    pub(crate) fn note_roles(&mut self, user: &str, roles: &[String]) -> bool {
        let Some(online) = self.users.get_mut(user) else {
            return false;
        };
        let changed = online.roles.as_deref() != Some(roles);
        online.roles = Some(roles.to_vec());
        changed
    }

    /// Every distinct (user, token hash).
    pub(crate) fn logins(&self) -> HashSet<(Arc<str>, String)> {
        let users = self.open.values().filter_map(|open| open.user.as_ref());
        users
            .map(|user| (user.id.clone(), user.hashed_token.clone()))
            .collect()
    }

    /// Open sockets, logged in or not.
    pub(crate) fn len(&self) -> usize {
        self.open.len()
    }
}
