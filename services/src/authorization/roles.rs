//! Roles of users (services.md 3.2), remembered for a second: a login storm asks for the same few users again and again.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use store::{Error, Store};

/// As long as the original; a changed role shows within this time.
const REMEMBERED_FOR: Duration = Duration::from_secs(1);
/// Entries held at most; beyond it everything is forgotten, which costs one read each.
const ENTRIES_MAX: usize = 10_000;

#[derive(Default)]
pub(super) struct Roles {
    /// By user and room.
    cache: Mutex<HashMap<(String, Option<String>), Remembered>>,
}

struct Remembered {
    read: Instant,
    roles: Arc<Vec<String>>,
}

impl Roles {
    /// The user's own roles, and those of the subscription when a room is given. Unknown users have none.
    ///
    /// # Errors
    /// The store does not answer; errors are never remembered.
    pub(super) async fn of(
        &self,
        store: &Store,
        user: &str,
        room: Option<&str>,
    ) -> Result<Arc<Vec<String>>, Error> {
        let key = (user.to_owned(), room.map(str::to_owned));
        let now = Instant::now();
        if let Some(known) = self.cache().get(&key)
            && now.duration_since(known.read) < REMEMBERED_FOR
        {
            return Ok(known.roles.clone());
        }
        let mut roles = store
            .user(user)
            .await?
            .map(|user| user.roles)
            .unwrap_or_default();
        if let Some(room) = room {
            roles.extend(
                store
                    .subscription(room, user)
                    .await?
                    .map(|s| s.roles)
                    .unwrap_or_default(),
            );
        }
        let roles = Arc::new(roles);
        let mut cache = self.cache();
        if cache.len() >= ENTRIES_MAX {
            cache.clear();
        }
        cache.insert(
            key,
            Remembered {
                read: now,
                roles: roles.clone(),
            },
        );
        Ok(roles)
    }

    pub(super) fn forget(&self) {
        self.cache().clear();
    }

    fn cache(&self) -> MutexGuard<'_, HashMap<(String, Option<String>), Remembered>> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
