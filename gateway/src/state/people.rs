//! Which clients are connected, who is logged in on them, and what stands behind their subscriptions.

use std::sync::Arc;

use hashbrown::HashMap;
use protocol::session::SubKey;

use super::grants::GrantId;
use crate::{
    link::{Connection, User},
    place::{Place, Sub},
};

/// All clients of this process, by their places: the shards' slots are dense, so this is no hash table.
#[derive(Default)]
pub(crate) struct People {
    shards: Vec<Vec<Option<Person>>>,
    count: usize,
    users: HashMap<Arc<str>, Vec<Place>>,
}

/// One client.
#[derive(Debug)]
pub(crate) struct Person {
    connection: Arc<Connection>,
    user: Option<Arc<User>>,
    /// `logout` is under way: this connection ends by itself, behind its answer.
    pub(crate) leaving: bool,
    /// Told by `livechat:setUpConnection`; the monolith hears when this guest goes.
    pub(crate) guest_token: Option<Box<str>>,
    behind: Vec<(SubKey, Behind)>,
}

/// What a subscription stands on, where it is not open to everybody who is logged in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Behind {
    /// Somebody's verdict.
    Grant(GrantId),
    /// The rooms of this user, which it follows.
    Rooms(Arc<str>),
    /// The messages of all rooms of this user.
    MyMessages(Arc<str>),
    /// What this user may see of those whom it watches.
    Watch(Arc<str>),
}

/// What is left of a client that is gone.
#[derive(Debug, Default)]
pub(crate) struct Gone {
    pub(crate) user: Option<Arc<User>>,
    pub(crate) guest_token: Option<Box<str>>,
    pub(crate) behind: Vec<(SubKey, Behind)>,
}

impl People {
    /// A client has come.
    pub(crate) fn open(&mut self, connection: &Arc<Connection>) {
        let place = connection.place;
        let shard = usize::from(place.shard);
        if self.shards.len() <= shard {
            self.shards.resize_with(shard + 1, Vec::new);
        }
        let slots = &mut self.shards[shard];
        let slot = place.slot as usize;
        if slots.len() <= slot {
            slots.resize_with(slot + 1, || None);
        }
        self.count += usize::from(slots[slot].is_none());
        slots[slot] = Some(Person {
            connection: connection.clone(),
            user: None,
            leaving: false,
            guest_token: None,
            behind: Vec::new(),
        });
    }

    /// A client has gone; `None` if it was not there.
    pub(crate) fn close(&mut self, place: Place) -> Option<Gone> {
        let user = self.log_out(place);
        let slots = self.shards.get_mut(usize::from(place.shard))?;
        let person = slots
            .get_mut(place.slot as usize)?
            .take_if(|person| person.connection.place == place)?;
        self.count -= 1;
        // After a storm the table gives its memory back.
        while slots.last().is_some_and(Option::is_none) {
            slots.pop();
        }
        if slots.capacity() > 1_024 && slots.len() < slots.capacity() / 4 {
            slots.shrink_to(slots.len() * 2);
        }
        Some(Gone {
            user,
            guest_token: person.guest_token,
            behind: person.behind,
        })
    }

    /// Enters a login; the user who was logged in there before, if the client is still there.
    pub(crate) fn log_in(&mut self, place: Place, user: &Arc<User>) -> Option<Option<Arc<User>>> {
        let before = self.log_out(place);
        self.get_mut(place)?.user = Some(user.clone());
        let places = self.users.entry(user.id.clone());
        places.or_insert_with(|| Vec::with_capacity(1)).push(place);
        Some(before)
    }

    /// Enters a logout; the user who was logged in.
    pub(crate) fn log_out(&mut self, place: Place) -> Option<Arc<User>> {
        let user = self.get_mut(place)?.user.take()?;
        if let Some(places) = self.users.get_mut(&user.id) {
            places.retain(|other| *other != place);
            if places.is_empty() {
                self.users.remove(&user.id);
            }
            let (len, room) = (self.users.len(), self.users.capacity());
            if room > 1_024 && len < room / 4 {
                // After a storm the table gives its memory back.
                self.users.shrink_to(len * 2);
            }
        }
        Some(user)
    }

    pub(crate) fn get(&self, place: Place) -> Option<&Person> {
        let slots = self.shards.get(usize::from(place.shard))?;
        let person = slots.get(place.slot as usize)?.as_ref()?;
        (person.connection.place == place).then_some(person)
    }

    pub(crate) fn get_mut(&mut self, place: Place) -> Option<&mut Person> {
        let slots = self.shards.get_mut(usize::from(place.shard))?;
        let person = slots.get_mut(place.slot as usize)?.as_mut()?;
        (person.connection.place == place).then_some(person)
    }

    /// Whether this client is still there.
    pub(crate) fn is_open(&self, place: Place) -> bool {
        self.get(place).is_some()
    }

    /// Whether the workspace knows this client under this id.
    pub(crate) fn is_connection(&self, place: Place, id: &str) -> bool {
        self.get(place)
            .is_some_and(|person| person.connection.id == id)
    }

    /// Whether this user is logged in on this client now.
    pub(crate) fn is_logged_in(&self, place: Place, user: &str) -> bool {
        self.get(place)
            .and_then(|person| person.user.as_ref())
            .is_some_and(|there| *there.id == *user)
    }

    /// Whether this user is logged in anywhere here.
    pub(crate) fn has_user(&self, user: &str) -> bool {
        self.users.contains_key(user)
    }

    /// The clients of a user.
    pub(crate) fn of_user(&self, user: &str) -> &[Place] {
        self.users.get(user).map_or(&[], Vec::as_slice)
    }

    /// The clients of a user with one of his tokens, except those that take it back themselves.
    pub(crate) fn with_token(&self, user: &str, hashed_token: Option<&str>) -> Vec<Place> {
        let meant = |place: &&Place| {
            self.get(**place).is_some_and(|person| {
                let login = person.user.as_ref();
                let same = hashed_token
                    .is_none_or(|token| login.is_some_and(|login| login.hashed_token == token));
                same && !person.leaving
            })
        };
        self.of_user(user).iter().filter(meant).copied().collect()
    }

    /// Whether this token is going because its owner logs out on one of his clients.
    pub(crate) fn is_leaving(&self, user: &str, hashed_token: &str) -> bool {
        self.of_user(user).iter().any(|place| {
            self.get(*place).is_some_and(|person| {
                let login = person.user.as_ref();
                person.leaving && login.is_some_and(|login| login.hashed_token == hashed_token)
            })
        })
    }

    /// Every login, clients with the same token one behind the other.
    pub(crate) fn logins(&self) -> Vec<Arc<User>> {
        let mut logins: Vec<_> = self
            .users
            .values()
            .flatten()
            .filter_map(|place| self.get(*place)?.user.clone())
            .collect();
        logins.sort_unstable_by(|a, b| (&a.id, &a.hashed_token).cmp(&(&b.id, &b.hashed_token)));
        logins
    }

    /// The logins of one user.
    pub(crate) fn logins_of(&self, user: &str) -> Vec<Arc<User>> {
        let places = self.of_user(user).iter();
        places
            .filter_map(|place| self.get(*place)?.user.clone())
            .collect()
    }

    /// A subscription stands on something; `false` if the client is gone.
    pub(crate) fn stand(&mut self, (place, sub): Sub, on: Behind) -> bool {
        let Some(person) = self.get_mut(place) else {
            return false;
        };
        if person.behind.is_empty() {
            // Often it stays the only one.
            person.behind.reserve_exact(1);
        }
        person.behind.push((sub, on));
        true
    }

    /// A subscription is over: what it stood on.
    pub(crate) fn end(&mut self, (place, sub): Sub) -> Option<Behind> {
        let behind = &mut self.get_mut(place)?.behind;
        let at = behind.iter().position(|(other, _)| *other == sub)?;
        Some(behind.swap_remove(at).1)
    }

    /// A subscription stands on another grant now.
    pub(crate) fn move_to(&mut self, (place, sub): Sub, grant: GrantId) {
        let Some(person) = self.get_mut(place) else {
            return;
        };
        if let Some((_, on)) = person.behind.iter_mut().find(|(other, _)| *other == sub) {
            *on = Behind::Grant(grant);
        }
    }

    /// A client's subscription that watches users watches as this one from now on: which it is, and as whom it watched.
    pub(crate) fn watch_as(
        &mut self,
        place: Place,
        viewer: &Arc<str>,
    ) -> Option<(SubKey, Arc<str>)> {
        let behind = &mut self.get_mut(place)?.behind;
        behind.iter_mut().find_map(|(sub, on)| match on {
            Behind::Watch(before) if before != viewer => {
                Some((*sub, std::mem::replace(before, viewer.clone())))
            }
            _ => None,
        })
    }

    /// The grants on which a client's subscriptions stand.
    pub(crate) fn grants(&self, place: Place) -> Vec<(SubKey, GrantId)> {
        let behind = self.get(place).map_or(&[][..], |person| &person.behind);
        let grant = |(sub, on): &(SubKey, Behind)| match on {
            Behind::Grant(grant) => Some((*sub, *grant)),
            Behind::Rooms(_) | Behind::MyMessages(_) | Behind::Watch(_) => None,
        };
        behind.iter().filter_map(grant).collect()
    }

    /// How many clients there are.
    pub(crate) fn len(&self) -> usize {
        self.count
    }
}
