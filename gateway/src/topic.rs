//! What a publication is about.

use std::sync::Arc;

/// The key under which the shards find the subscribers of a publication.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Topic {
    /// Everything about one room; the second part names stream and event: `room-messages`, `room-data`,
    /// `notify-room/<event>`, `livechat-room`.
    Room(Arc<str>, Arc<str>),
    /// Everything addressed to one user: `notify-user/<event>`.
    User(Arc<str>, Arc<str>),
    /// Stream (or publication) name and event name.
    Global(Arc<str>, Arc<str>),
}
