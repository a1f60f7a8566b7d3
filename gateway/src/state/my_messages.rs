//! `room-messages` `__my_messages__` (streams.md 5.2): users who follow the messages of every room that they can access.

use std::{sync::Arc, time::Instant};

use hashbrown::HashMap;
use protocol::session::SubKey;

use super::{
    grants::{GrantId, Stamp},
    holds::Holds,
    rooms::Rooms,
};
use crate::place::{Place, Sub};

/// Verdicts remembered for one user; more, and all of his are asked for again.
const VERDICTS_MAX: usize = 10_000;

/// In whose name verdicts are kept: no client's, so that a revocation ends nothing but the verdict.
pub(crate) const NOBODY: Sub = (
    Place {
        shard: u16::MAX,
        slot: u32::MAX,
        generation: 0,
    },
    SubKey(0),
);

/// The followers, their rooms, and what was said about them and others.
#[derive(Default)]
pub(crate) struct MyMessages {
    /// In which rooms each of them is.
    pub(crate) rooms: Rooms,
    /// By user, then by room.
    verdicts: HashMap<Arc<str>, HashMap<Arc<str>, Remembered>>,
    /// Messages that wait behind a question about their room.
    pub(crate) holds: Holds,
}

/// One verdict: good as long as the stamp of its grant has not moved.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Remembered {
    pub(crate) grant: GrantId,
    pub(crate) stamp: Stamp,
    pub(crate) allowed: bool,
}

impl MyMessages {
    pub(crate) fn verdict(&self, user: &str, room: &str) -> Option<Remembered> {
        self.verdicts.get(user)?.get(room).copied()
    }

    /// Remembers a verdict on somebody who still follows; the grants that nobody needs any more.
    pub(crate) fn remember(
        &mut self,
        user: &Arc<str>,
        room: &Arc<str>,
        verdict: Remembered,
    ) -> Vec<GrantId> {
        if !self.rooms.is_followed_by(user) {
            return vec![verdict.grant];
        }
        let verdicts = self.verdicts.entry(user.clone()).or_default();
        let mut over = Vec::new();
        if verdicts.len() >= VERDICTS_MAX {
            over.extend(verdicts.drain().map(|(_, verdict)| verdict.grant));
        }
        let before = verdicts.insert(room.clone(), verdict);
        // The same grant is kept in the name of nobody once.
        over.extend(
            before
                .map(|before| before.grant)
                .filter(|grant| *grant != verdict.grant),
        );
        over
    }

    /// A subscription is over; the grants that nobody needs any more.
    pub(crate) fn unsubscribed(&mut self, user: &Arc<str>, now: Instant) -> Vec<GrantId> {
        self.rooms.unsubscribed(user, now);
        if self.rooms.is_followed_by(user) {
            return Vec::new();
        }
        let verdicts = self.verdicts.remove(user).unwrap_or_default();
        verdicts
            .into_values()
            .map(|verdict| verdict.grant)
            .collect()
    }
}

impl MyMessages {
    /// Verdicts, by room and user.
    pub(crate) fn len(&self) -> usize {
        self.verdicts.values().map(HashMap::len).sum()
    }
}

#[cfg(test)]
impl MyMessages {
    pub(crate) fn is_empty(&self) -> bool {
        self.rooms.is_empty() && self.verdicts.is_empty() && self.holds.is_empty()
    }
}
