//! A set that nearly always has one member.

use std::hash::Hash;

use hashbrown::HashSet;

/// Slots of a shard, grants of a user, subscriptions of a grant: one costs no allocation.
#[derive(Clone, Debug)]
pub(crate) enum OneOrMany<T> {
    One(T),
    Many(Box<HashSet<T>>),
}

impl<T: Copy + Eq + Hash> OneOrMany<T> {
    /// How many there are; never 0 in a table.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::One(_) => 1,
            Self::Many(all) => all.len(),
        }
    }

    /// Every member once, in no particular order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = T> + '_ {
        let (one, many) = match self {
            Self::One(one) => (Some(*one), None),
            Self::Many(all) => (None, Some(all.iter().copied())),
        };
        one.into_iter().chain(many.into_iter().flatten())
    }

    pub(crate) fn contains(&self, member: T) -> bool {
        match self {
            Self::One(only) => *only == member,
            Self::Many(all) => all.contains(&member),
        }
    }

    /// Whether it was not there before.
    pub(crate) fn insert(&mut self, member: T) -> bool {
        match self {
            Self::One(only) if *only == member => false,
            Self::One(only) => {
                *self = Self::Many(Box::new(HashSet::from_iter([*only, member])));
                true
            }
            Self::Many(all) => all.insert(member),
        }
    }

    /// Whether somebody is left.
    pub(crate) fn remove(&mut self, member: T) -> bool {
        match self {
            Self::One(only) => *only != member,
            Self::Many(all) => {
                all.remove(&member);
                !all.is_empty()
            }
        }
    }
}
