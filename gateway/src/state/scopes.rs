//! What those who watch users must not see of them, by viewer; and the users of whom nothing is told until that is known
//! again.

use std::{hash::BuildHasher as _, sync::Arc};

use hashbrown::{HashMap, HashSet};

use crate::{
    place::Place,
    streams::{
        scope::{Hidden, Scope},
        watch::Status,
    },
};

/// Everybody who watches somebody here.
#[derive(Default)]
pub(crate) struct Scopes {
    viewers: HashMap<Arc<str>, Viewer>,
    /// Users whose visibility has changed, each with the last status that was heard meanwhile.
    settling: HashMap<Arc<str>, Option<Status>>,
    /// Users who were told while somebody's scope could not be had: they are told again.
    owed: HashSet<Arc<str>>,
    /// Somebody has offered to judge.
    pub(crate) exist: bool,
    stamps: u64,
}

/// One question about a viewer; an event makes its answer worthless.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Stamp(u64);

struct Viewer {
    places: Vec<Place>,
    hidden: Hidden,
    stamp: Stamp,
    known: bool,
}

/// What is known about a viewer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Known {
    Yes(Hidden),
    /// Must be asked, under this stamp.
    No(Stamp),
    /// He watches nobody any more.
    Gone,
}

/// What the clients of a viewer must not see from now on.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct News {
    pub(crate) places: Vec<Place>,
    pub(crate) hidden: Hidden,
}

impl Scopes {
    /// A client of this viewer begins to watch.
    pub(crate) fn enter(&mut self, viewer: &Arc<str>, place: Place) {
        let stamp = self.next_stamp();
        let entry = self.viewers.entry(viewer.clone());
        let viewer = entry.or_insert_with(|| Viewer {
            places: Vec::with_capacity(1),
            hidden: None,
            stamp,
            known: false,
        });
        viewer.places.push(place);
    }

    /// It watches no more.
    pub(crate) fn leave(&mut self, viewer: &str, place: Place) {
        let Some(known) = self.viewers.get_mut(viewer) else {
            return;
        };
        if let Some(at) = known.places.iter().position(|other| *other == place) {
            known.places.swap_remove(at);
        }
        if known.places.is_empty() {
            self.viewers.remove(viewer);
        }
        if self.viewers.is_empty() {
            self.viewers.shrink_to_fit();
            self.owed = HashSet::new();
        }
    }

    pub(crate) fn get(&self, viewer: &str) -> Known {
        match self.viewers.get(viewer) {
            None => Known::Gone,
            Some(viewer) if viewer.known => Known::Yes(viewer.hidden.clone()),
            Some(viewer) => Known::No(viewer.stamp),
        }
    }

    /// The answer about a viewer: what is new for his clients. Nothing if something has happened since it was asked.
    pub(crate) fn learn(&mut self, viewer: &str, stamp: Stamp, hidden: Hidden) -> Option<News> {
        let viewer = self.viewers.get_mut(viewer)?;
        if viewer.known || viewer.stamp != stamp {
            return None;
        }
        viewer.known = true;
        viewer.become_one_who_sees(hidden)
    }

    /// Something has happened to what one viewer may see.
    pub(crate) fn touch(&mut self, viewer: &str) {
        let stamp = self.next_stamp();
        if let Some(viewer) = self.viewers.get_mut(viewer) {
            (viewer.known, viewer.stamp) = (false, stamp);
        }
    }

    /// A client watches as this viewer from now on, and was told to show nobody: what is learned next is news for it, whatever
    /// it is.
    pub(crate) fn enter_blind(&mut self, viewer: &Arc<str>, place: Place) {
        self.enter(viewer, place);
        self.touch(viewer);
        if let Some(viewer) = self.viewers.get_mut(viewer) {
            viewer.hidden = Some(Arc::new(Scope::Everybody));
        }
    }

    /// Something may have happened to what anybody may see.
    pub(crate) fn touch_all(&mut self) {
        let stamp = self.next_stamp();
        for viewer in self.viewers.values_mut() {
            (viewer.known, viewer.stamp) = (false, stamp);
        }
    }

    /// The same for one of so many parts of the viewers, who stay in it.
    pub(crate) fn touch_part(&mut self, part: u32, of: u32) {
        let stamp = self.next_stamp();
        let hasher = self.viewers.hasher();
        let meant: Vec<_> = self
            .viewers
            .keys()
            .filter(|viewer| hasher.hash_one(viewer) % u64::from(of) == u64::from(part))
            .cloned()
            .collect();
        for viewer in meant {
            if let Some(viewer) = self.viewers.get_mut(&viewer) {
                (viewer.known, viewer.stamp) = (false, stamp);
            }
        }
    }

    /// The viewers who must be asked about.
    pub(crate) fn unknown(&self) -> Vec<Arc<str>> {
        let unknown = self.viewers.iter().filter(|(_, viewer)| !viewer.known);
        unknown.map(|(viewer, _)| viewer.clone()).collect()
    }

    /// Of this user nothing is told until all scopes are known.
    pub(crate) fn settle(&mut self, user: &str) {
        self.settling.entry(user.into()).or_default();
    }

    /// Gives a status back unless it waits.
    pub(crate) fn hold(&mut self, status: Status) -> Option<Status> {
        match self.settling.get_mut(&status.user) {
            Some(waits) => {
                *waits = Some(status);
                None
            }
            None => Some(status),
        }
    }

    /// Who must be told of: whose visibility has changed, and who is owed if nothing stands in the way any more.
    pub(crate) fn targets(&self) -> Vec<Arc<str>> {
        let are_known = self.are_known();
        let owed = self.owed.iter().filter(|_| are_known);
        let fresh = owed.filter(|user| !self.settling.contains_key(*user));
        self.settling.keys().chain(fresh).cloned().collect()
    }

    /// Ends the wait of these: the last status of each that was heard meanwhile. From viewers about whom nothing could be
    /// had they are hidden, and are owed to them.
    pub(crate) fn end(&mut self, targets: &[Arc<str>]) -> (Vec<Option<Status>>, Vec<News>) {
        let mut news = Vec::new();
        for viewer in self.viewers.values_mut().filter(|viewer| !viewer.known) {
            let wider = Scope::wider(&viewer.hidden, targets.iter());
            news.extend(viewer.become_one_who_sees(wider));
        }
        let are_known = self.are_known();
        let heard = targets.iter().map(|user| {
            if are_known {
                self.owed.remove(user);
            } else {
                self.owed.insert(user.clone());
            }
            self.settling.remove(user).flatten()
        });
        let heard = heard.collect();
        self.settling.shrink_to(0);
        (heard, news)
    }

    /// A user could not be told of.
    pub(crate) fn owe(&mut self, user: &Arc<str>) {
        self.owed.insert(user.clone());
    }

    /// Whether it is known of everybody whom he may see.
    pub(crate) fn are_known(&self) -> bool {
        self.viewers.values().all(|viewer| viewer.known)
    }

    /// Viewers, and users of whom something is owed.
    pub(crate) fn len(&self) -> usize {
        self.viewers.len() + self.settling.len() + self.owed.len()
    }

    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.viewers.is_empty() && self.settling.is_empty() && self.owed.is_empty()
    }

    fn next_stamp(&mut self) -> Stamp {
        self.stamps += 1;
        Stamp(self.stamps)
    }
}

impl Viewer {
    fn become_one_who_sees(&mut self, hidden: Hidden) -> Option<News> {
        if self.hidden == hidden {
            return None;
        }
        self.hidden = hidden;
        Some(News {
            places: self.places.clone(),
            hidden: self.hidden.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: Place = Place {
        shard: 0,
        slot: 0,
        generation: 1,
    };

    fn scopes() -> (Scopes, Stamp) {
        let mut scopes = Scopes::default();
        scopes.enter(&"bob".into(), PLACE);
        let Known::No(stamp) = scopes.get("bob") else {
            panic!("known")
        };
        (scopes, stamp)
    }

    fn hidden(user: &str) -> Hidden {
        Scope::wider(&None, [&Arc::from(user)].into_iter())
    }

    #[test]
    fn an_answer_that_an_event_has_overtaken_counts_for_nothing() {
        let (mut scopes, stamp) = scopes();
        scopes.touch("bob");
        assert_eq!(scopes.learn("bob", stamp, None), None);
        assert_eq!(scopes.unknown(), [Arc::from("bob")]);
        let Known::No(stamp) = scopes.get("bob") else {
            panic!("known")
        };
        let news = scopes.learn("bob", stamp, hidden("u7")).unwrap();
        assert_eq!((news.places, news.hidden), (vec![PLACE], hidden("u7")));
        assert_eq!(scopes.get("bob"), Known::Yes(hidden("u7")));
        scopes.leave("bob", PLACE);
        assert_eq!(scopes.get("bob"), Known::Gone);
        assert!(scopes.is_empty());
    }

    #[test]
    fn what_is_said_of_a_user_meanwhile_waits_and_the_last_of_it_is_told() {
        let (mut scopes, stamp) = scopes();
        let status = |tuple: &str| Status {
            user: "u7".into(),
            username: "\"eve\"".into(),
            tuple: tuple.into(),
        };
        assert_eq!(scopes.hold(status("1")), Some(status("1")));
        scopes.settle("u7");
        assert_eq!(scopes.hold(status("2")), None);
        assert_eq!(scopes.hold(status("3")), None);
        scopes.learn("bob", stamp, None);
        assert_eq!(scopes.targets(), [Arc::from("u7")]);
        let targets = scopes.targets();
        let (heard, news) = scopes.end(&targets);
        assert_eq!(heard, [Some(status("3"))]);
        assert!(news.is_empty());
        assert_eq!(scopes.hold(status("4")), Some(status("4")));
    }

    #[test]
    fn while_nothing_can_be_had_who_has_changed_is_hidden_and_told_again_later() {
        let (mut scopes, _) = scopes();
        scopes.settle("u7");
        let targets = scopes.targets();
        let (_, news) = scopes.end(&targets);
        assert_eq!(news[0].hidden, hidden("u7"));
        assert_eq!(scopes.targets(), []);
        let Known::No(stamp) = scopes.get("bob") else {
            panic!("known")
        };
        let news = scopes.learn("bob", stamp, None).unwrap();
        assert_eq!(news.hidden, None);
        assert_eq!(scopes.targets(), [Arc::from("u7")]);
        scopes.end(&targets);
        assert_eq!(scopes.targets(), []);
    }
}
