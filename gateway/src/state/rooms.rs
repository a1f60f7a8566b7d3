//! Which users follow which rooms (streams.md 5.2, 5.3).
//!
//! The index is shared: one entry per (user, room) however many sockets a user has, and one list per room that all of
//! its publications share.

use std::sync::Arc;

use hashbrown::{HashMap, HashSet};

/// Users with a subscription that follows their rooms, and these.
#[derive(Default)]
pub(crate) struct Rooms {
    users: HashMap<Arc<str>, Following>,
    rooms: HashMap<Arc<str>, Followers>,
    /// Counts the readings.
    loads: u64,
}

#[derive(Default)]
struct Following {
    /// Subscriptions that stand on this entry.
    subscriptions: u32,
    rooms: HashSet<Arc<str>>,
    /// Loads under way, and the rooms that were left meanwhile: the load may still name them.
    loads: Vec<Load>,
    left: HashSet<Arc<str>>,
}

/// One reading of a user's rooms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Load(u64);

#[derive(Default)]
struct Followers {
    users: HashSet<Arc<str>>,
    /// The same as a list, made when first needed.
    list: Option<Arc<[Arc<str>]>>,
}

impl Rooms {
    /// The users that follow a room; `None` if nobody does.
    pub(crate) fn followers(&mut self, room: &str) -> Option<Arc<[Arc<str>]>> {
        let followers = self.rooms.get_mut(room)?;
        let users = &followers.users;
        Some(
            followers
                .list
                .get_or_insert_with(|| users.iter().cloned().collect())
                .clone(),
        )
    }

    /// Whether this user has a subscription.
    pub(crate) fn is_followed_by(&self, user: &str) -> bool {
        self.users.contains_key(user)
    }

    /// Whether nobody has one.
    pub(crate) fn is_unused(&self) -> bool {
        self.users.is_empty()
    }

    /// Everybody who has one.
    pub(crate) fn users(&self) -> Vec<Arc<str>> {
        self.users.keys().cloned().collect()
    }

    /// Whether his rooms are being read.
    pub(crate) fn is_loading(&self, user: &str) -> bool {
        self.users
            .get(user)
            .is_some_and(|following| !following.loads.is_empty())
    }

    /// Whether this user follows this room.
    pub(crate) fn is_in(&self, user: &str, room: &str) -> bool {
        let following = self.users.get(user);
        following.is_some_and(|following| following.rooms.contains(room))
    }

    /// A user joined a room.
    pub(crate) fn joined(&mut self, user: &str, room: &str) {
        let Some((id, _)) = self.users.get_key_value(user) else {
            return;
        };
        let user = id.clone();
        let room: Arc<str> = match self.rooms.get_key_value(room) {
            Some((id, _)) => id.clone(),
            None => room.into(),
        };
        if let Some(following) = self.users.get_mut(&user) {
            following.left.remove(&room);
            following.rooms.insert(room.clone());
        }
        let followers = self.rooms.entry(room).or_default();
        if followers.users.insert(user) {
            followers.list = None;
        }
    }

    /// A user left a room.
    pub(crate) fn left(&mut self, user: &str, room: &str) {
        if let Some(following) = self.users.get_mut(user) {
            if !following.loads.is_empty() {
                following.left.insert(room.into());
            }
            if following.rooms.remove(room) {
                self.unlink(user, room);
            }
        }
    }

    /// A subscription is over.
    pub(crate) fn unsubscribed(&mut self, user: &Arc<str>) {
        let Some(following) = self.users.get_mut(user) else {
            return;
        };
        following.subscriptions -= 1;
        if following.subscriptions == 0
            && let Some(following) = self.users.remove(user)
        {
            for room in following.rooms {
                self.unlink(user, &room);
            }
        }
    }

    /// A subscription begins: its user's rooms are read, and what happens meanwhile is not lost.
    pub(crate) fn begin(&mut self, user: &Arc<str>) -> Load {
        self.loads += 1;
        let load = Load(self.loads);
        let following = self.users.entry(user.clone()).or_default();
        following.subscriptions += 1;
        following.loads.push(load);
        load
    }

    /// The rooms that were read; none if that failed. Nothing if the user's last subscription went meanwhile.
    pub(crate) fn loaded(&mut self, user: &Arc<str>, load: Load, rooms: Vec<String>) {
        let Some(following) = self.users.get_mut(user) else {
            return;
        };
        let Some(at) = following.loads.iter().position(|other| *other == load) else {
            return;
        };
        following.loads.swap_remove(at);
        let left = if following.loads.is_empty() {
            std::mem::take(&mut following.left)
        } else {
            following.left.clone()
        };
        for room in rooms.iter().filter(|room| !left.contains(room.as_str())) {
            self.joined(user, room);
        }
    }

    fn unlink(&mut self, user: &str, room: &str) {
        if let Some(followers) = self.rooms.get_mut(room) {
            followers.users.remove(user);
            followers.list = None;
            if followers.users.is_empty() {
                self.rooms.remove(room);
            }
        }
    }
}

#[cfg(test)]
impl Rooms {
    pub(crate) fn is_empty(&self) -> bool {
        self.users.is_empty() && self.rooms.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> Arc<str> {
        text.into()
    }

    #[test]
    fn the_index_follows_joins_and_leaves_during_the_load() {
        let mut index = Rooms::default();
        let load = index.begin(&id("u1"));
        index.joined(&id("u1"), &id("new"));
        index.left(&id("u1"), &id("gone"));
        index.loaded(&id("u1"), load, vec!["old".into(), "gone".into()]);
        assert!(index.followers("old").is_some());
        assert!(index.followers("new").is_some());
        assert!(index.followers("gone").is_none());
    }

    #[test]
    fn a_reading_that_outlives_its_subscription_says_nothing_to_the_next_one() {
        let mut index = Rooms::default();
        let old = index.begin(&id("u1"));
        index.unsubscribed(&id("u1"));
        let load = index.begin(&id("u1"));
        index.loaded(&id("u1"), old, vec!["stale".into()]);
        index.left(&id("u1"), &id("gone"));
        index.loaded(&id("u1"), load, vec!["r1".into(), "gone".into()]);
        assert!(index.followers("r1").is_some());
        assert!(index.followers("gone").is_none() && index.followers("stale").is_none());
    }

    #[test]
    fn the_last_subscription_takes_the_entries_along() {
        let mut index = Rooms::default();
        for _ in 0..2 {
            let load = index.begin(&id("u1"));
            index.loaded(&id("u1"), load, vec!["r1".into()]);
        }
        index.unsubscribed(&id("u1"));
        assert!(index.followers("r1").is_some());
        index.unsubscribed(&id("u1"));
        assert!(index.is_empty());
    }

    #[test]
    fn a_room_keeps_one_list_until_somebody_joins_or_leaves() {
        let mut index = Rooms::default();
        for user in ["u1", "u2"] {
            let load = index.begin(&id(user));
            index.loaded(&id(user), load, vec!["r1".into()]);
        }
        let list = index.followers("r1").unwrap();
        assert!(Arc::ptr_eq(&list, &index.followers("r1").unwrap()));
        index.left(&id("u2"), &id("r1"));
        assert_eq!(index.followers("r1").unwrap().len(), 1);
    }
}
