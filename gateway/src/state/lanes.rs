//! What presence is told of each client, one thing after the other: nothing overtakes the `newConnection` of its client.

use std::{collections::VecDeque, sync::Arc};

use hashbrown::HashMap;

use crate::{
    link::{Caller, Ticket, User},
    place::Place,
};

/// Words that may wait for one client; a lane is as long as its client is faster than presence.
const WORDS_MAX: usize = 64;

/// The lanes of clients with something under way.
#[derive(Default)]
pub(crate) struct Lanes(HashMap<Place, VecDeque<Word>>);

/// One call of presence.
#[derive(Debug)]
pub(crate) struct Word {
    pub(crate) action: &'static str,
    /// Raw JSON array.
    pub(crate) params: String,
    pub(crate) then: Then,
}

/// What follows the call.
#[derive(Debug)]
pub(crate) enum Then {
    Nothing,
    /// It is a method's answer.
    Answer(Ticket),
    /// A login goes on.
    Welcome(Caller, Arc<User>),
}

impl Lanes {
    /// Enters a word; `true`: nothing is under way, the lane must be driven now.
    pub(crate) fn push(&mut self, place: Place, word: Word) -> bool {
        let mut begins = false;
        let lane = self.0.entry(place).or_insert_with(|| {
            begins = true;
            VecDeque::with_capacity(1)
        });
        lane.push_back(word);
        begins
    }

    /// Whether this client says more than presence takes.
    pub(crate) fn is_full(&self, place: Place) -> bool {
        self.0
            .get(&place)
            .is_some_and(|lane| lane.len() >= WORDS_MAX)
    }

    /// Whether something is under way for this client.
    pub(crate) fn is_busy(&self, place: Place) -> bool {
        self.0.contains_key(&place)
    }

    /// The next word of a lane that is driven; `None` ends it.
    pub(crate) fn next(&mut self, place: Place) -> Option<Word> {
        let word = self.0.get_mut(&place)?.pop_front();
        if word.is_none() {
            self.0.remove(&place);
        }
        word
    }

    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
