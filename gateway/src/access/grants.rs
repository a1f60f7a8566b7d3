//! What was allowed to whom, so that it can be taken back (design.md 3.9).
//!
//! A grant is entered **before** its question is asked. Everything that may change the answer moves the grant's
//! version; an answer counts only if the version has not moved while it was under way.

use std::sync::Arc;

use hashbrown::HashMap;

use crate::{bus::connections::Key, link::Topic, streams::table::Read};

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
    /// Rule and how many subscriptions stand on it; two at most.
    rules: Vec<(Read, u32)>,
}

struct Held {
    subject: Subject,
    asker: Asker,
    rule: Read,
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
        let granted = self.subjects.entry(subject.clone()).or_default();
        let grant = granted.askers.entry(asker.clone()).or_insert_with(|| {
            self.versions += 1;
            Grant {
                version: self.versions,
                rules: Vec::new(),
            }
        });
        match grant.rules.iter_mut().find(|(held, _)| *held == rule) {
            Some((_, count)) => *count += 1,
            None => grant.rules.push((rule, 1)),
        }
        self.held.entry(key).or_default().push(Held {
            subject,
            asker,
            rule,
        });
    }

    /// Takes the grant of one subscription back; nothing if there is none.
    pub(crate) fn leave(&mut self, key: Key, subject: &Subject, rule: Read) {
        let Some(held) = self.held.get_mut(&key) else {
            return;
        };
        let found = held
            .iter()
            .position(|held| held.subject == *subject && held.rule == rule);
        if let Some(at) = found {
            let held = held.swap_remove(at);
            self.release(&held);
        }
        if self.held.get(&key).is_some_and(Vec::is_empty) {
            self.held.remove(&key);
        }
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
                grant.rules.retain(|(rule, _)| !meant(*rule));
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
            .map(|grant| grant.rules.iter().map(|(rule, _)| *rule).collect())
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
    pub(crate) fn held_by(&self, keys: &[Key]) -> Vec<(Subject, Asker)> {
        let mut found: Vec<(Subject, Asker)> = Vec::new();
        for held in keys.iter().filter_map(|key| self.held.get(key)).flatten() {
            if !found
                .iter()
                .any(|(subject, asker)| *subject == held.subject && *asker == held.asker)
            {
                found.push((held.subject.clone(), held.asker.clone()));
            }
        }
        found
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
            if let Some(at) = grant.rules.iter().position(|(rule, _)| *rule == held.rule) {
                grant.rules[at].1 -= 1;
                if grant.rules[at].1 == 0 {
                    grant.rules.swap_remove(at);
                }
            }
            if grant.rules.is_empty() {
                granted.askers.remove(&held.asker);
            }
        }
        if granted.askers.is_empty() {
            self.subjects.remove(&held.subject);
        }
    }
}
