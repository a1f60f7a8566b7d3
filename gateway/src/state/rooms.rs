//! Which users follow which rooms (streams.md 5.2, 5.3).
//!
//! The index is shared: one entry per (user, room) however many sockets a user has, and one list per room that all of
//! its publications share.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use hashbrown::{HashMap, HashSet};

/// So long after a user's last subscription his entry is kept: who comes and goes all the time costs no reading.
pub(crate) const LINGER: Duration = Duration::from_secs(30);

/// Entries that are kept so.
const IDLE_MAX: usize = 1_024;

/// Users with a subscription that follows their rooms, or who had one a moment ago, and these rooms.
#[derive(Default)]
pub(crate) struct Rooms {
    users: HashMap<Arc<str>, Following>,
    /// How many of them have a subscription.
    followed: usize,
    /// Those who have none, and since when; whoever has come back since is no more meant.
    idle: VecDeque<(Instant, Arc<str>)>,
    rooms: HashMap<Arc<str>, Followers>,
    /// Counts the readings.
    loads: u64,
}

#[derive(Default)]
struct Following {
    /// Subscriptions that stand on this entry.
    subscriptions: u32,
    /// Without one since then.
    idle_since: Option<Instant>,
    /// The rooms are known: read once, and true to every event since.
    is_loaded: bool,
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
        let following = self.users.get(user);
        following.is_some_and(|following| following.subscriptions > 0)
    }

    /// Whether nobody has one.
    pub(crate) fn is_unused(&self) -> bool {
        self.followed == 0
    }

    /// Everybody who has one.
    pub(crate) fn users(&self) -> Vec<Arc<str>> {
        let followed = self.users.iter().filter(|(_, of)| of.subscriptions > 0);
        followed.map(|(user, _)| user.clone()).collect()
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

    /// A subscription is over. The entry of the last one stays for a while if it is known whole.
    pub(crate) fn unsubscribed(&mut self, user: &Arc<str>, now: Instant) {
        let Some(following) = self.users.get_mut(user) else {
            return;
        };
        following.subscriptions -= 1;
        if following.subscriptions > 0 {
            return;
        }
        self.followed -= 1;
        if !following.is_loaded {
            return self.remove(user);
        }
        following.idle_since = Some(now);
        if self.idle.len() >= IDLE_MAX {
            self.forget_first();
        }
        self.idle.push_back((now, user.clone()));
    }

    /// Forgets those whose last subscription was over by then.
    pub(crate) fn forget_idle(&mut self, until: Instant) {
        while self.idle.front().is_some_and(|(since, _)| *since <= until) {
            self.forget_first();
        }
    }

    /// Events may have been missed: nothing is known that will be asked for again.
    pub(crate) fn doubt(&mut self) {
        while !self.idle.is_empty() {
            self.forget_first();
        }
        for following in self.users.values_mut() {
            following.is_loaded = false;
        }
    }

    fn forget_first(&mut self) {
        if let Some((since, user)) = self.idle.pop_front() {
            let following = self.users.get(&user);
            if following.is_some_and(|following| following.idle_since == Some(since)) {
                self.remove(&user);
            }
        }
        if self.idle.is_empty() {
            self.idle = VecDeque::new();
        }
    }

    fn remove(&mut self, user: &Arc<str>) {
        if let Some(following) = self.users.remove(user) {
            for room in following.rooms {
                self.unlink(user, &room);
            }
        }
    }

    /// A subscription begins. Unless they are known its user's rooms are to be read, and what happens meanwhile is not lost.
    pub(crate) fn begin(&mut self, user: &Arc<str>) -> Option<Load> {
        self.loads += 1;
        let load = Load(self.loads);
        let following = self.users.entry(user.clone()).or_default();
        self.followed += usize::from(following.subscriptions == 0);
        following.subscriptions += 1;
        following.idle_since = None;
        if following.is_loaded {
            return None;
        }
        following.loads.push(load);
        Some(load)
    }

    /// The rooms that were read; `None` if that failed. Nothing if the user's last subscription went meanwhile.
    pub(crate) fn loaded(&mut self, user: &Arc<str>, load: Load, rooms: Option<Vec<String>>) {
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
        let Some(rooms) = rooms else { return };
        following.is_loaded = true;
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

impl Rooms {
    /// Users and rooms that are known.
    pub(crate) fn len(&self) -> usize {
        self.users.len() + self.rooms.len()
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
        let load = index.begin(&id("u1")).unwrap();
        index.joined(&id("u1"), &id("new"));
        index.left(&id("u1"), &id("gone"));
        index.loaded(&id("u1"), load, Some(vec!["old".into(), "gone".into()]));
        assert!(index.followers("old").is_some());
        assert!(index.followers("new").is_some());
        assert!(index.followers("gone").is_none());
    }

    #[test]
    fn a_reading_that_outlives_its_subscription_says_nothing_to_the_next_one() {
        let mut index = Rooms::default();
        let old = index.begin(&id("u1")).unwrap();
        index.unsubscribed(&id("u1"), Instant::now());
        let load = index.begin(&id("u1")).unwrap();
        index.loaded(&id("u1"), old, Some(vec!["stale".into()]));
        index.left(&id("u1"), &id("gone"));
        index.loaded(&id("u1"), load, Some(vec!["r1".into(), "gone".into()]));
        assert!(index.followers("r1").is_some());
        assert!(index.followers("gone").is_none() && index.followers("stale").is_none());
    }

    #[test]
    fn who_comes_back_finds_his_rooms_as_they_are_now() {
        let (mut index, now) = (Rooms::default(), Instant::now());
        let u1 = id("u1");
        let load = index.begin(&u1).unwrap();
        index.loaded(&u1, load, Some(vec!["r1".into(), "r2".into()]));
        assert_eq!(index.begin(&u1), None, "known");
        for _ in 0..2 {
            index.unsubscribed(&u1, now);
        }
        assert!(index.is_unused() && index.users().is_empty() && !index.is_followed_by("u1"));
        index.left(&u1, &id("r1"));
        index.joined(&u1, &id("r3"));
        assert_eq!(index.begin(&u1), None, "still known");
        let rooms = ["r1", "r2", "r3"].map(|room| index.is_in("u1", room));
        assert_eq!(rooms, [false, true, true]);
        // The first time without a subscription is no reason to forget him.
        index.forget_idle(now);
        assert!(index.is_in("u1", "r2"));
        index.unsubscribed(&u1, now);
        index.forget_idle(now - LINGER);
        assert!(index.is_in("u1", "r2"));
        index.forget_idle(now);
        assert!(index.is_empty());
    }

    #[test]
    fn who_may_have_missed_something_is_read_again() {
        let (mut index, now) = (Rooms::default(), Instant::now());
        for user in ["u1", "u2"] {
            let load = index.begin(&id(user)).unwrap();
            index.loaded(&id(user), load, Some(vec!["r1".into()]));
        }
        index.unsubscribed(&id("u1"), now);
        index.doubt();
        assert!(index.begin(&id("u1")).is_some() && index.begin(&id("u2")).is_some());
        let failed = index.begin(&id("u2")).unwrap();
        index.loaded(&id("u2"), failed, None);
        assert!(index.begin(&id("u2")).is_some());
    }

    #[test]
    fn so_many_are_kept_and_no_more() {
        let (mut index, now) = (Rooms::default(), Instant::now());
        for number in 0..2 * IDLE_MAX {
            let user = id(&number.to_string());
            let load = index.begin(&user).unwrap();
            index.loaded(&user, load, Some(vec!["r1".into()]));
            index.unsubscribed(&user, now);
        }
        assert_eq!(index.users.len(), IDLE_MAX);
        index.doubt();
        assert!(index.is_empty());
    }

    #[test]
    fn a_room_keeps_one_list_until_somebody_joins_or_leaves() {
        let mut index = Rooms::default();
        for user in ["u1", "u2"] {
            let load = index.begin(&id(user)).unwrap();
            index.loaded(&id(user), load, Some(vec!["r1".into()]));
        }
        let list = index.followers("r1").unwrap();
        assert!(Arc::ptr_eq(&list, &index.followers("r1").unwrap()));
        index.left(&id("u2"), &id("r1"));
        assert_eq!(index.followers("r1").unwrap().len(), 1);
    }
}
