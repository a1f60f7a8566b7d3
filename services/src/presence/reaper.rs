//! Which entries are dead although their node lives (services.md 4.10). Pure.
//!
//! Only a node that refreshes its entries can be judged by what it does not refresh: servers before 8.0 never do. And one
//! look never tells: the clock that stamps an entry is the database's, so that an entry must also stand still from one look
//! to the next, by our own.

use std::collections::{HashMap, HashSet};

use store::UserConnections;

/// What the last look has found.
#[derive(Default)]
pub(super) struct Reaper {
    /// Last touch of entries that looked dead, by user and session.
    stale: HashMap<(String, String), i64>,
}

impl Reaper {
    /// Those of the entries that were last touched at `since` or before and not since the last look.
    pub(super) fn look(
        &mut self,
        found: &[UserConnections],
        since: i64,
        refreshing: &HashSet<String>,
    ) -> HashSet<(String, String)> {
        let mut stale = HashMap::new();
        for found in found {
            for entry in &found.connections {
                if entry.touched <= since && refreshing.contains(&entry.node) {
                    stale.insert((found.user.clone(), entry.id.clone()), entry.touched);
                }
            }
        }
        let before = std::mem::replace(&mut self.stale, stale);
        let stale = self.stale.iter();
        stale
            .filter(|(key, touched)| before.get(key) == Some(touched))
            .map(|(key, _)| key.clone())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use store::Connection;

    use super::*;

    fn entry(session: &str, node: &str, touched: i64) -> Connection {
        Connection {
            id: session.into(),
            node: node.into(),
            status: None,
            created: 0,
            touched,
        }
    }

    #[test]
    fn an_entry_is_dead_if_its_node_refreshes_others_and_it_stood_still_twice() {
        let mut reaper = Reaper::default();
        let refreshing = HashSet::from(["new".to_owned()]);
        let look = |reaper: &mut Reaper, touched: i64| {
            let connections = vec![
                entry("still", "new", 10),
                entry("moves", "new", touched),
                entry("old server's", "old", 10),
                entry("fresh", "new", 999),
            ];
            let user = "u".to_owned();
            let found = [UserConnections {
                user,
                connections,
                is_odd: false,
            }];
            reaper.look(&found, 100, &refreshing)
        };
        assert_eq!(look(&mut reaper, 10), HashSet::new());
        let dead = HashSet::from([("u".to_owned(), "still".to_owned())]);
        assert_eq!(look(&mut reaper, 11), dead);
        assert_eq!(look(&mut reaper, 12), dead);
    }
}
