//! Users whose status was told a moment ago: what follows waits, and only the last of it is told.

use std::sync::Arc;

use hashbrown::HashMap;

use crate::streams::watch::Status;

/// Users in the window that is open, and what waits for its end.
#[derive(Default)]
pub(crate) struct Flaps(HashMap<Arc<str>, Option<Status>>);

/// What becomes of a status.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    Now(Status),
    /// At the end of the window.
    Later,
}

impl Flaps {
    /// A user has another status. The first of a user is told at once.
    pub(crate) fn enter(&mut self, status: Status) -> Turn {
        match self.0.get_mut(&status.user) {
            Some(waits) => {
                *waits = Some(status);
                Turn::Later
            }
            None => {
                self.0.insert(status.user.clone(), None);
                Turn::Now(status)
            }
        }
    }

    /// The window ends: what is to be told now. Whose status is among it stays for another window.
    pub(crate) fn turn(&mut self) -> Vec<Status> {
        let mut told = Vec::new();
        self.0.retain(|_, waits| {
            let status = waits.take();
            let stays = status.is_some();
            told.extend(status);
            stays
        });
        if self.0.is_empty() {
            self.0.shrink_to_fit();
        }
        told
    }

    /// Whether nobody's status was told in this window.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_who_flaps_is_told_once_in_a_window_and_the_last_status_wins() {
        let status = |tuple: &str| Status {
            user: "u7".into(),
            username: "\"bob\"".into(),
            tuple: tuple.into(),
        };
        let mut flaps = Flaps::default();
        assert_eq!(flaps.enter(status("1")), Turn::Now(status("1")));
        for tuple in ["2", "3", "4"] {
            assert_eq!(flaps.enter(status(tuple)), Turn::Later);
        }
        assert_eq!(flaps.turn(), [status("4")]);
        assert_eq!(flaps.enter(status("5")), Turn::Later);
        assert_eq!(flaps.turn(), [status("5")]);
        assert_eq!(flaps.turn(), []);
        assert!(flaps.is_empty());
        assert_eq!(flaps.enter(status("6")), Turn::Now(status("6")));
    }
}
