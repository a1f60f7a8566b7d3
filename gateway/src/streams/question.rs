//! What is asked before somebody may follow something.

use std::sync::Arc;

use super::table::RoomRule;

/// A question whose answer may be no, and may change.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Question {
    /// On whose behalf; `None`: a connection without a login.
    pub(crate) user: Option<Arc<str>>,
    pub(crate) about: About,
}

/// What a question is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum About {
    Room {
        room: Arc<str>,
        rule: RoomRule,
        /// Of a livechat visitor, as raw JSON.
        tokens: Option<Arc<str>>,
    },
    /// A conference: who has joined it, or may access its room or its discussion.
    Conference { call: Arc<str> },
    /// At least one of these permissions, while a setting is on.
    Permission {
        any_of: &'static [&'static str],
        setting: Option<&'static str>,
    },
}

impl Question {
    /// The room it is about.
    pub(crate) fn room(&self) -> Option<&Arc<str>> {
        match &self.about {
            About::Room { room, .. } => Some(room),
            About::Conference { .. } | About::Permission { .. } => None,
        }
    }
}
