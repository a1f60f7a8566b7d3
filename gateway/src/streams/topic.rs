//! The key under which the shards find the subscribers of a publication.

use std::{
    hash::{Hash, Hasher},
    sync::Arc,
};

use super::table::{Addressed, Stream};

/// A stream and one of its event names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Topic {
    pub(crate) stream: Stream,
    pub(crate) event: Arc<str>,
}

/// The same, borrowed: what is looked up needs no text of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct TopicRef<'a> {
    pub(crate) stream: Stream,
    pub(crate) event: &'a str,
}

impl Topic {
    pub(crate) fn new(stream: Stream, event: &str) -> Self {
        Self {
            stream,
            event: event.into(),
        }
    }

    pub(crate) fn borrow(&self) -> TopicRef<'_> {
        TopicRef {
            stream: self.stream,
            event: &self.event,
        }
    }
}

impl Hash for Topic {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.borrow().hash(state);
    }
}

impl<'a> TopicRef<'a> {
    /// Whom the event name addresses.
    pub(crate) fn audience(self) -> Audience<'a> {
        let (id, _) = self.stream.split(self.event);
        match self.stream.row().addressed {
            Addressed::Nothing => Audience::Everybody,
            Addressed::Room | Addressed::InRoom => Audience::Room(id),
            Addressed::User => Audience::User(id),
        }
    }

    pub(crate) fn to_owned(self) -> Topic {
        Topic::new(self.stream, self.event)
    }
}

/// Whom a topic concerns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Audience<'a> {
    Everybody,
    Room(&'a str),
    User(&'a str),
}
