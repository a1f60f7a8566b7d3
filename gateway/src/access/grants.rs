//! What was allowed to whom, so that it can be taken back (design.md 3.9).
//!
//! A grant is entered **before** its question is asked. Everything that may change the answer moves the grant's
//! version; an answer counts only if the version has not moved while it was under way.

use std::sync::Arc;

use hashbrown::{HashMap, HashSet, hash_map::Entry};

use crate::{bus::connections::Key, streams::table::Read, topic::Topic};

/// What a grant is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Subject {
    Room(Arc<str>),
    /// A topic that only some users may follow.
    Topic(Topic),
}

/// On whose behalf a rule was asked.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Asker {
    /// `None`: a connection without a login.
    pub(crate) user: Option<Arc<str>>,
    /// The extra data that the rule was given (livechat guests), raw JSON.
    pub(crate) extra: Option<Arc<str>>,
}

/// What decided about a room; a `watch.rooms` that changes none of it needs no judgement (it follows every message).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Facts {
    pub(crate) kind: String,
    pub(crate) team: Option<String>,
    pub(crate) parent: Option<String>,
    pub(crate) visitor_token: Option<String>,
    pub(crate) has_abac: bool,
    /// Hash of the attributes as an event carried them; the store's reads do not tell.
    pub(crate) abac: Option<u64>,
}

/// All grants.
#[derive(Default)]
pub(crate) struct Grants {
    subjects: HashMap<Subject, Granted>,
    held: HashMap<Key, Vec<Held>>,
    versions: u64,
    epoch: u64,
}

#[derive(Default)]
struct Granted {
    facts: Option<Facts>,
    askers: HashMap<Asker, Grant>,
}

#[derive(Default)]
struct Grant {
    version: u64,
    /// Two at most.
    rules: Vec<Standing>,
}

/// A rule of a grant and how many subscriptions stand on it.
struct Standing {
    rule: Read,
    subscriptions: u32,
    /// What was revoked and then granted anew is another one.
    id: u64,
}

/// One subscription's share of a grant; outlives a revocation until the shard has taken note of it.
struct Held {
    subject: Subject,
    asker: Asker,
    rule: Read,
    standing: u64,
}

/// The state of a grant at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    version: u64,
    epoch: u64,
}

impl Grants {
    /// Enters a grant for one subscription of this socket.
    pub(crate) fn enter(&mut self, key: Key, subject: Subject, asker: Asker, rule: Read) {
        self.versions += 1;
        let fresh = self.versions;
        let granted = self.subjects.entry(subject.clone()).or_default();
        let grant = granted
            .askers
            .entry(asker.clone())
            .or_insert_with(|| Grant {
                version: fresh,
                // Nearly always one rule is all there will be.
                rules: Vec::with_capacity(1),
            });
        let known = grant.rules.iter_mut().find(|known| known.rule == rule);
        let standing = match known {
            Some(known) => {
                known.subscriptions += 1;
                known.id
            }
            None => {
                grant.rules.push(Standing {
                    rule,
                    subscriptions: 1,
                    id: fresh,
                });
                fresh
            }
        };
        let held = self
            .held
            .entry(key)
            .or_insert_with(|| Vec::with_capacity(1));
        held.push(Held {
            subject,
            asker,
            rule,
            standing,
        });
    }

    /// A question that was entered is answered with no.
    pub(crate) fn refuse(&mut self, key: Key, subject: &Subject, asker: &Asker, rule: Read) {
        self.give_back(key, |held| {
            held.subject == *subject && held.asker == *asker && held.rule == rule
        });
    }

    /// A subscription is over; nothing if none was granted.
    pub(crate) fn leave(&mut self, key: Key, subject: &Subject, rule: Read) {
        self.give_back(key, |held| held.subject == *subject && held.rule == rule);
    }

    /// Gives one share back; of several the one of which nothing stands any more, because what is over by a
    /// revocation may be told after it was granted anew.
    fn give_back(&mut self, key: Key, meant: impl Fn(&Held) -> bool) {
        let Some(held) = self.held.get(&key) else {
            return;
        };
        let revoked = held
            .iter()
            .position(|held| meant(held) && !self.stands(held));
        let Some(at) = revoked.or_else(|| held.iter().position(meant)) else {
            return;
        };
        if let Entry::Occupied(mut shares) = self.held.entry(key) {
            let held = shares.get_mut().swap_remove(at);
            if shares.get().is_empty() {
                shares.remove();
            }
            self.release(&held);
        }
    }

    fn stands(&self, held: &Held) -> bool {
        let granted = self.subjects.get(&held.subject);
        let grant = granted.and_then(|granted| granted.askers.get(&held.asker));
        grant.is_some_and(|grant| grant.rules.iter().any(|known| known.id == held.standing))
    }

    /// Takes back every grant of a socket.
    pub(crate) fn close(&mut self, key: Key) {
        for held in self.held.remove(&key).unwrap_or_default() {
            self.release(&held);
        }
    }

    /// Another user is logged in on a socket: its grants are his now. What must be judged for him.
    pub(crate) fn change_user(&mut self, key: Key, user: &Arc<str>) -> Vec<(Subject, Asker)> {
        let mut moved = Vec::new();
        for held in self.held.remove(&key).unwrap_or_default() {
            if !self.stands(&held) {
                continue;
            }
            self.release(&held);
            let asker = Asker {
                user: Some(user.clone()),
                extra: held.asker.extra,
            };
            self.enter(key, held.subject.clone(), asker.clone(), held.rule);
            moved.push((held.subject, asker));
        }
        moved
    }

    /// Forgets a grant altogether: its subscriptions have been ended.
    pub(crate) fn revoke(
        &mut self,
        subject: &Subject,
        asker: &Asker,
        meant: impl Fn(Read) -> bool,
    ) {
        self.versions += 1;
        if let Some(granted) = self.subjects.get_mut(subject) {
            if let Some(grant) = granted.askers.get_mut(asker) {
                grant.version = self.versions;
                grant.rules.retain(|known| !meant(known.rule));
                if grant.rules.is_empty() {
                    granted.askers.remove(asker);
                }
            }
            if granted.askers.is_empty() {
                self.subjects.remove(subject);
            }
        }
    }

    /// Whatever has been asked about this grant must be asked again.
    pub(crate) fn touch(&mut self, subject: &Subject, asker: &Asker) {
        self.versions += 1;
        let granted = self.subjects.get_mut(subject);
        if let Some(grant) = granted.and_then(|granted| granted.askers.get_mut(asker)) {
            grant.version = self.versions;
        }
    }

    /// The same for all grants.
    pub(crate) fn touch_all(&mut self) {
        self.epoch += 1;
    }

    /// Where a grant stands; `None` if it is gone.
    pub(crate) fn stamp(&self, subject: &Subject, asker: &Asker) -> Option<Stamp> {
        let version = self.subjects.get(subject)?.askers.get(asker)?.version;
        Some(Stamp {
            version,
            epoch: self.epoch,
        })
    }

    /// The rules on which subscriptions stand.
    pub(crate) fn rules(&self, subject: &Subject, asker: &Asker) -> Vec<Read> {
        let granted = self.subjects.get(subject);
        let grant = granted.and_then(|granted| granted.askers.get(asker));
        grant
            .map(|grant| grant.rules.iter().map(|known| known.rule).collect())
            .unwrap_or_default()
    }

    /// Whether anybody has a grant on this subject.
    pub(crate) fn has(&self, subject: &Subject) -> bool {
        self.subjects.contains_key(subject)
    }

    /// Everybody with a grant on this subject.
    pub(crate) fn askers(&self, subject: &Subject) -> Vec<Asker> {
        self.subjects
            .get(subject)
            .map(|granted| granted.askers.keys().cloned().collect())
            .unwrap_or_default()
    }

    /// Every grant on these sockets, each once.
    pub(crate) fn held_by(&self, keys: &[Key]) -> HashSet<(Subject, Asker)> {
        keys.iter()
            .filter_map(|key| self.held.get(key))
            .flatten()
            .map(|held| (held.subject.clone(), held.asker.clone()))
            .collect()
    }

    /// Every grant.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&Subject, &Asker)> {
        self.subjects
            .iter()
            .flat_map(|(subject, granted)| granted.askers.keys().map(move |asker| (subject, asker)))
    }

    /// Remembers what decided about a room, if nothing is remembered yet.
    pub(crate) fn note_facts(&mut self, room: &Arc<str>, facts: Facts) {
        if let Some(granted) = self.subjects.get_mut(&Subject::Room(room.clone())) {
            granted.facts.get_or_insert(facts);
        }
    }

    /// Compares a room's facts with what is remembered, and remembers them; whether they changed. `false` too where
    /// nobody has a grant.
    pub(crate) fn facts_changed(&mut self, room: &Arc<str>, facts: Facts) -> bool {
        let Some(granted) = self.subjects.get_mut(&Subject::Room(room.clone())) else {
            return false;
        };
        let changed = match &granted.facts {
            // What the store told lacks the hash: attributes seen for the first time are judged once.
            Some(known) => *known != facts,
            None => true,
        };
        granted.facts = Some(facts);
        changed
    }

    /// Whether access to this room may rest on membership elsewhere.
    pub(crate) fn is_inherited(&self, subject: &Subject) -> bool {
        let facts = self
            .subjects
            .get(subject)
            .and_then(|granted| granted.facts.as_ref());
        facts.is_some_and(|facts| facts.parent.is_some() || facts.team.is_some())
    }

    /// How many distinct grants there are.
    pub(crate) fn len(&self) -> usize {
        self.subjects
            .values()
            .map(|granted| granted.askers.len())
            .sum()
    }

    fn release(&mut self, held: &Held) {
        let Some(granted) = self.subjects.get_mut(&held.subject) else {
            return;
        };
        if let Some(grant) = granted.askers.get_mut(&held.asker) {
            grant.rules.retain_mut(|known| {
                known.subscriptions -= u32::from(known.id == held.standing);
                known.subscriptions > 0
            });
            if grant.rules.is_empty() {
                granted.askers.remove(&held.asker);
            }
        }
        if granted.askers.is_empty() {
            self.subjects.remove(&held.subject);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{link::Connection, streams::table::RoomRule};

    const RULE: Read = Read::Room(RoomRule::Read);

    fn socket(slot: u32) -> Key {
        Key::from(&Connection {
            id: String::new(),
            instance: "i".into(),
            address: None,
            headers: "{}".into(),
            shard: 0,
            slot,
            generation: 1,
        })
    }

    fn room() -> Subject {
        Subject::Room("r1".into())
    }

    fn asker(user: Option<&str>, extra: Option<&str>) -> Asker {
        Asker {
            user: user.map(Arc::from),
            extra: extra.map(Arc::from),
        }
    }

    #[test]
    fn what_was_revoked_takes_nothing_along_later() {
        let (mut grants, bob) = (Grants::default(), asker(Some("u1"), None));
        let (one, other) = (socket(1), socket(2));
        grants.enter(one, room(), bob.clone(), RULE);
        grants.enter(other, room(), bob.clone(), RULE);
        grants.revoke(&room(), &bob, |_| true);
        assert_eq!(grants.len(), 0);
        // He is back in the room, on one socket only.
        grants.enter(one, room(), bob.clone(), RULE);
        grants.close(other);
        assert_eq!(grants.rules(&room(), &bob), [RULE]);
        // The shard tells of the end by the revocation only now.
        grants.leave(one, &room(), RULE);
        assert_eq!(grants.rules(&room(), &bob), [RULE]);
        grants.leave(one, &room(), RULE);
        assert_eq!(grants.len(), 0);
        assert!(grants.held.is_empty());
    }

    #[test]
    fn a_refused_question_leaves_the_grant_of_another_one_alone() {
        let mut grants = Grants::default();
        let (right, wrong) = (
            asker(None, Some(r#"{"token":"right"}"#)),
            asker(None, Some(r#"{"token":"wrong"}"#)),
        );
        grants.enter(socket(1), room(), right.clone(), RULE);
        grants.enter(socket(1), room(), wrong.clone(), RULE);
        grants.refuse(socket(1), &room(), &wrong, RULE);
        assert_eq!(grants.askers(&room()), [right]);
    }

    #[test]
    fn another_user_takes_over_what_stands_and_nothing_else() {
        let (mut grants, eve) = (Grants::default(), asker(Some("u2"), None));
        let bob = asker(Some("u1"), None);
        let gone = Subject::Room("r2".into());
        grants.enter(socket(1), room(), bob.clone(), RULE);
        grants.enter(socket(1), gone.clone(), bob.clone(), RULE);
        grants.revoke(&gone, &bob, |_| true);
        let moved = grants.change_user(socket(1), &"u2".into());
        assert_eq!(moved, [(room(), eve)]);
        assert_eq!(grants.len(), 1);
    }
}
