//! What was allowed to whom, what that rests on, and which subscriptions stand on it (design.md 3.9).
//!
//! A grant is one question and everybody who asked it. It is entered **before** the question is asked. Whatever may
//! change the answer moves the grant's stamp; an answer counts only if the stamp has not moved while it was under way.
//! There is no other memory of verdicts: when the last subscription is gone, so is the verdict.

use std::{
    hash::{BuildHasher as _, Hash, Hasher},
    sync::Arc,
};

use hashbrown::{DefaultHashBuilder, Equivalent, HashMap, HashTable, hash_map};
use slab::Slab;

use crate::{
    one_or_many::OneOrMany,
    place::{Place, Sub},
    streams::question::{About, Question},
};

/// One grant for as long as it lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct GrantId {
    index: u32,
    /// Counts all grants: places are reused.
    birth: u32,
}

/// Something a verdict rests on, and that events speak of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ground {
    /// Roles, activity and memberships of a user.
    User(Arc<str>),
    /// What access rules read of a room: the one in question, or one above it.
    Room(Arc<str>),
    Team(Arc<str>),
    Setting(Arc<str>),
    /// Who takes part in a conference, and where.
    Conference(Arc<str>),
    /// Whatever the rules of livechat rooms read.
    Omnichannel,
}

/// The same, borrowed: most events speak of what nothing rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum GroundRef<'a> {
    User(&'a str),
    Room(&'a str),
    Team(&'a str),
    Setting(&'a str),
    Conference(&'a str),
    Omnichannel,
}

impl Ground {
    pub(crate) fn borrow(&self) -> GroundRef<'_> {
        match self {
            Self::User(id) => GroundRef::User(id),
            Self::Room(id) => GroundRef::Room(id),
            Self::Team(id) => GroundRef::Team(id),
            Self::Setting(id) => GroundRef::Setting(id),
            Self::Conference(id) => GroundRef::Conference(id),
            Self::Omnichannel => GroundRef::Omnichannel,
        }
    }
}

impl Hash for Ground {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.borrow().hash(state);
    }
}

impl Equivalent<Ground> for GroundRef<'_> {
    fn equivalent(&self, ground: &Ground) -> bool {
        *self == ground.borrow()
    }
}

/// The state of a grant at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Stamp {
    version: u32,
    epoch: u32,
}

/// What decides about a room; a `watch.rooms` that changes none of it needs no judgement (it follows every message).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Facts {
    pub(crate) kind: String,
    pub(crate) team: Option<String>,
    pub(crate) parent: Option<String>,
    pub(crate) visitor_token: Option<String>,
    pub(crate) has_abac: bool,
    /// Hash of what only events carry (attributes, agent, department); `None` as long as none has come.
    pub(crate) rest: Option<u64>,
}

/// All grants, and by what they can be found.
#[derive(Default)]
pub(crate) struct Grants {
    grants: Slab<Grant>,
    hasher: DefaultHashBuilder,
    by_question: HashTable<u32>,
    by_ground: HashMap<Ground, OneOrMany<u32>>,
    /// What was last heard of rooms and teams that are grounds.
    facts: HashMap<Ground, Facts>,
    births: u32,
    epoch: u32,
}

struct Grant {
    question: Question,
    birth: u32,
    version: u32,
    allowed: Option<Stamp>,
    /// Its user may have become a member since the question was asked: a no is asked about again.
    hopeful: bool,
    /// A public room may have as many as the process has clients.
    subs: OneOrMany<Sub>,
    /// Beyond what the question itself names.
    further: Vec<Ground>,
}

impl Grants {
    /// Enters one subscription's question.
    pub(crate) fn enter(&mut self, sub: Sub, question: Question) -> GrantId {
        let hash = self.hasher.hash_one(&question);
        let grants = &self.grants;
        let known = self
            .by_question
            .find(hash, |&index| grants[index as usize].question == question);
        if let Some(&index) = known {
            let grant = &mut self.grants[index as usize];
            grant.subs.insert(sub);
            return GrantId {
                index,
                birth: grant.birth,
            };
        }
        self.births = self.births.wrapping_add(1);
        let birth = self.births;
        let grounds = question.grounds();
        let index = self.grants.insert(Grant {
            question,
            birth,
            version: 0,
            allowed: None,
            hopeful: false,
            subs: OneOrMany::One(sub),
            further: Vec::new(),
        });
        let index = u32::try_from(index).expect("there are fewer than 2^32 grants");
        let (grants, hasher) = (&self.grants, &self.hasher);
        self.by_question.insert_unique(hash, index, |&index| {
            hasher.hash_one(&grants[index as usize].question)
        });
        for ground in grounds {
            self.index(ground, index);
        }
        GrantId { index, birth }
    }

    /// A subscription is over, or was refused; the grant goes with its last one.
    pub(crate) fn leave(&mut self, id: GrantId, sub: Sub) {
        let Some(grant) = self.get_mut(id) else {
            return;
        };
        if !grant.subs.remove(sub) {
            self.remove(id);
        }
    }

    /// Ends a grant: the subscriptions that stood on it.
    pub(crate) fn revoke(&mut self, id: GrantId) -> Vec<Sub> {
        let subs = self.remove(id);
        subs.map_or_else(Vec::new, |subs| subs.iter().collect())
    }

    fn remove(&mut self, id: GrantId) -> Option<OneOrMany<Sub>> {
        self.get(id)?;
        let grant = self.grants.remove(id.index as usize);
        let hash = self.hasher.hash_one(&grant.question);
        if let Ok(found) = self
            .by_question
            .find_entry(hash, |&index| index == id.index)
        {
            found.remove();
        }
        for ground in grant.question.grounds().chain(grant.further) {
            self.unindex(ground, id.index);
        }
        if self.grants.is_empty() {
            // After a storm the tables give their memory back.
            self.grants.shrink_to_fit();
            self.by_question.shrink_to(0, |_| 0);
            self.by_ground.shrink_to_fit();
        }
        Some(grant.subs)
    }

    /// A grant rests on these too; what it rested on before beyond its question does not count any more.
    pub(crate) fn rest_on(&mut self, id: GrantId, grounds: Vec<Ground>) {
        let Some(grant) = self.get_mut(id) else {
            return;
        };
        if grant.further == grounds {
            return;
        }
        let own: Vec<_> = grant.question.grounds().collect();
        let before = std::mem::replace(&mut grant.further, grounds.clone());
        for ground in grounds.iter().filter(|ground| !own.contains(ground)) {
            self.index(ground.clone(), id.index);
        }
        for ground in before {
            if !own.contains(&ground) && !grounds.contains(&ground) {
                self.unindex(ground, id.index);
            }
        }
    }

    fn index(&mut self, ground: Ground, index: u32) {
        match self.by_ground.entry(ground) {
            hash_map::Entry::Occupied(mut dependents) => {
                dependents.get_mut().insert(index);
            }
            hash_map::Entry::Vacant(place) => {
                place.insert(OneOrMany::One(index));
            }
        }
    }

    fn unindex(&mut self, ground: Ground, index: u32) {
        if let hash_map::Entry::Occupied(mut dependents) = self.by_ground.entry(ground)
            && !dependents.get_mut().remove(index)
        {
            let (ground, _) = dependents.remove_entry();
            self.facts.remove(&ground);
        }
    }

    /// What is asked.
    pub(crate) fn question(&self, id: GrantId) -> Option<&Question> {
        self.get(id).map(|grant| &grant.question)
    }

    /// Where a grant stands; `None` if it is gone.
    pub(crate) fn stamp(&self, id: GrantId) -> Option<Stamp> {
        let grant = self.get(id)?;
        Some(Stamp {
            version: grant.version,
            epoch: self.epoch,
        })
    }

    /// Whether this subscription still waits for, or stands on, this grant.
    pub(crate) fn holds(&self, id: GrantId, sub: Sub) -> bool {
        self.get(id).is_some_and(|grant| grant.subs.contains(sub))
    }

    /// The answer was yes when the grant stood there.
    pub(crate) fn allow(&mut self, id: GrantId, stamp: Stamp) {
        if let Some(grant) = self.get_mut(id) {
            grant.allowed = Some(stamp);
            grant.hopeful = false;
        }
    }

    /// Whether the answer was yes and nothing has happened since.
    pub(crate) fn is_allowed(&self, id: GrantId) -> bool {
        let stamp = self.stamp(id);
        stamp.is_some() && self.get(id).is_some_and(|grant| grant.allowed == stamp)
    }

    /// Something has happened to this grant: whatever has been asked must be asked again.
    pub(crate) fn touch(&mut self, id: GrantId) {
        if let Some(grant) = self.get_mut(id) {
            grant.version = grant.version.wrapping_add(1);
        }
    }

    /// Something has happened that can only turn a no into a yes. It happens with every message: the stamp stays.
    pub(crate) fn hope(&mut self, id: GrantId) {
        if let Some(grant) = self.get_mut(id) {
            grant.hopeful = true;
        }
    }

    /// Whether there was hope since the last question.
    pub(crate) fn take_hope(&mut self, id: GrantId) -> bool {
        self.get_mut(id)
            .is_some_and(|grant| std::mem::take(&mut grant.hopeful))
    }

    /// Something has happened to all grants.
    pub(crate) fn touch_all(&mut self) {
        self.epoch = self.epoch.wrapping_add(1);
    }

    /// What rests on this.
    pub(crate) fn dependents(&self, ground: GroundRef<'_>) -> Vec<GrantId> {
        let dependents = self.by_ground.get(&ground);
        let indexes = dependents.into_iter().flat_map(OneOrMany::iter);
        indexes.map(|index| self.id(index)).collect()
    }

    /// Whether anything rests on this.
    pub(crate) fn has_dependents(&self, ground: GroundRef<'_>) -> bool {
        self.by_ground.contains_key(&ground)
    }

    /// Everything a grant rests on.
    pub(crate) fn grounds(&self, id: GrantId) -> Vec<Ground> {
        let grant = self.get(id).into_iter();
        grant
            .flat_map(|grant| {
                grant
                    .question
                    .grounds()
                    .chain(grant.further.iter().cloned())
            })
            .collect()
    }

    /// Whether a grant rests on this beyond what its question names.
    pub(crate) fn rests_on(&self, id: GrantId, ground: &Ground) -> bool {
        self.get(id)
            .is_some_and(|grant| grant.further.contains(ground))
    }

    /// Whether a grant's verdict may rest on membership in another room than its own.
    pub(crate) fn is_inherited(&self, id: GrantId) -> bool {
        self.get(id).is_some_and(|grant| {
            let elsewhere = |ground: &Ground| matches!(ground, Ground::Room(_) | Ground::Team(_));
            grant.further.iter().any(elsewhere)
        })
    }

    /// The clients that follow something of this room.
    pub(crate) fn followers(&self, room: &Arc<str>) -> Vec<Place> {
        let ids = self.dependents(GroundRef::Room(room)).into_iter();
        let own = ids.filter_map(|id| self.get(id));
        let own = own.filter(|grant| grant.question.room() == Some(room));
        own.flat_map(|grant| grant.subs.iter().map(|(place, _)| place))
            .collect()
    }

    /// Remembers what decided about a room or team, if something rests on it and nothing is remembered yet.
    pub(crate) fn note_facts(&mut self, ground: Ground, facts: Facts) {
        if self.has_dependents(ground.borrow()) {
            self.facts.entry(ground).or_insert(facts);
        }
    }

    /// Compares the facts of a room or team with what is remembered, and remembers them; whether they changed. `false` too
    /// where nothing rests on it.
    pub(crate) fn facts_changed(&mut self, ground: GroundRef<'_>, facts: Facts) -> bool {
        let Some((owned, _)) = self.by_ground.get_key_value(&ground) else {
            return false;
        };
        // What the store told lacks the rest: the first event that has some is judged.
        let changed = self.facts.get(&ground) != Some(&facts);
        if changed {
            self.facts.insert(owned.clone(), facts);
        }
        changed
    }

    /// Places of a walk, taken or not.
    pub(crate) fn places(&self) -> usize {
        self.grants.capacity()
    }

    /// The first grant at or behind this position of a walk over all of them, and where the walk goes on; `None` behind
    /// the last one.
    pub(crate) fn walk(&self, from: usize) -> Option<(GrantId, usize)> {
        (from..self.places())
            .find(|at| self.grants.contains(*at))
            .map(|at| (self.id(at as u32), at + 1))
    }

    /// How many distinct grants there are.
    pub(crate) fn len(&self) -> usize {
        self.grants.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.grants.is_empty()
    }

    /// Nothing is left, in any table.
    #[cfg(test)]
    pub(crate) fn is_clean(&self) -> bool {
        let tables = self.by_question.len() + self.by_ground.len() + self.facts.len();
        self.grants.is_empty() && tables == 0
    }

    fn id(&self, index: u32) -> GrantId {
        GrantId {
            index,
            birth: self.grants[index as usize].birth,
        }
    }

    fn get(&self, id: GrantId) -> Option<&Grant> {
        self.grants
            .get(id.index as usize)
            .filter(|grant| grant.birth == id.birth)
    }

    fn get_mut(&mut self, id: GrantId) -> Option<&mut Grant> {
        self.grants
            .get_mut(id.index as usize)
            .filter(|grant| grant.birth == id.birth)
    }
}

impl Question {
    /// What the question itself says that it rests on.
    fn grounds(&self) -> impl Iterator<Item = Ground> + use<> {
        let user = self.user.clone().map(Ground::User);
        let (subject, setting) = match &self.about {
            About::Room { room, .. } => {
                // Who is not logged in reads what this setting lets him.
                let setting = self.user.is_none().then_some("Accounts_AllowAnonymousRead");
                (Some(Ground::Room(room.clone())), setting)
            }
            About::Conference { call } => (Some(Ground::Conference(call.clone())), None),
            About::Permission { setting, .. } => (None, *setting),
        };
        user.into_iter()
            .chain(subject)
            .chain(setting.map(|setting| Ground::Setting(setting.into())))
    }
}
