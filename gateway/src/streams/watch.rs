//! `user-presence` (streams.md 3, 5.4): a subscription of it is a set of users.

use std::sync::Arc;

use protocol::ddp::{ejson, encode::presence_changed};

use super::presence_status::PresenceStatus;

/// Longest id of a user that is watched; real ones have 17 characters.
const USER_BYTES_MAX: usize = 128;

/// How a subscription changes the set of its connection.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Lists {
    pub(crate) added: Vec<String>,
    pub(crate) removed: Vec<String>,
}

impl Lists {
    /// Reads `{"added":[..],"removed":[..]}`; what is no user's id changes nothing. And whether one was too long to be one.
    pub(crate) fn read(raw: &str) -> (Self, bool) {
        let mut is_cut = false;
        let mut list = |name| {
            let ids = ejson::elements(ejson::field(raw, name).unwrap_or(""));
            let ids = ids.filter_map(ejson::string);
            ids.filter(|id| {
                is_cut |= id.len() > USER_BYTES_MAX;
                (1..=USER_BYTES_MAX).contains(&id.len())
            })
            .map(|id| id.into_owned())
            .collect()
        };
        let lists = Self {
            added: list("added"),
            removed: list("removed"),
        };
        (lists, is_cut)
    }
}

/// A user's status as those who watch him get it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Status {
    pub(crate) user: Arc<str>,
    /// Raw JSON text.
    pub(crate) username: String,
    /// Raw JSON array.
    pub(crate) tuple: String,
}

impl Status {
    pub(crate) fn of(status: &PresenceStatus<'_>) -> Self {
        Self {
            user: Arc::from(&*status.id),
            username: status.username().to_owned(),
            tuple: status.watched(),
        }
    }
}

/// What those are told once who must not see this user; `username`: raw JSON.
pub(crate) fn correction(user: &str, username: &str) -> String {
    presence_changed(user, &format!("[{username},0]"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_users_id_changes_nothing() {
        let long = "x".repeat(USER_BYTES_MAX + 1);
        let raw = format!(r#"{{"added":["u7",5,"",null,"{long}"],"removed":{{}}}}"#);
        let lists = Lists {
            added: vec!["u7".into()],
            removed: Vec::new(),
        };
        assert_eq!(Lists::read(&raw), (lists, true));
        for raw in ["null", "[]", "5", "{}"] {
            assert_eq!(Lists::read(raw), (Lists::default(), false), "{raw}");
        }
    }
}
