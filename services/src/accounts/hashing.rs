//! bcrypt, which costs tens of milliseconds of CPU: as much of it at once as there are cores, and the same for a name
//! that nobody has.

use std::sync::Arc;

use backplane::ServiceError;
use bcrypt::HashParts;
use tokio::sync::Semaphore;

use crate::errors::plain;

pub(super) struct Hashing {
    running: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
}

impl Default for Hashing {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            running: Arc::new(Semaphore::new(cores)),
            waiting: Arc::new(Semaphore::new(cores * WAITING_PER_CORE)),
        }
    }
}

impl Hashing {
    /// Whether `secret` is what was hashed. Without a usable hash it takes as long as with one, and is not.
    ///
    /// # Errors
    /// Too many wait.
    pub(super) async fn verify(
        &self,
        secret: String,
        hash: Option<&str>,
    ) -> Result<bool, ServiceError> {
        let Ok(place) = self.waiting.clone().try_acquire_owned() else {
            tracing::debug!("too many password logins at once");
            return Err(plain("too many password logins at once"));
        };
        let usable = hash.filter(|hash| is_usable(hash)).map(str::to_owned);
        let running = self.running.clone().acquire_owned().await;
        let verified = tokio::task::spawn_blocking(move || {
            let _until_done = (place, running);
            let is_known = usable.is_some();
            let verified = bcrypt::verify(secret, usable.as_deref().unwrap_or(NOBODYS));
            is_known && verified.unwrap_or(false)
        });
        Ok(verified.await.unwrap_or(false))
    }
}

/// A hash that takes minutes is one that somebody wants us to choke on.
fn is_usable(hash: &str) -> bool {
    let parts = hash.parse::<HashParts>();
    parts.is_ok_and(|parts| parts.get_cost() <= COST_MAX)
}

/// Hashes that may wait for each one that is made: about a second's worth.
const WAITING_PER_CORE: usize = 16;
/// 2^14 rounds take most of a second; Meteor's are 2^10.
const COST_MAX: u32 = 14;
/// At Meteor's cost; what was hashed is unknown.
const NOBODYS: &str = "$2b$10$.....................................................";

#[cfg(test)]
mod tests {
    use super::*;

    /// services.md 11.
    const DIGEST: &str = "4104d36f8da2c254349f85836793ebe029e0c957063a34c91c2e9203187b5631";
    const RIGHT: &str = "$2b$10$N9qo8uLOickgx2ZMRZoMye9ziAGq7vck5tvJgDvwdigaC3VYxmYaC";
    const WRONG: &str = "$2b$10$N9qo8uLOickgx2ZMRZoMyeJO/0Iv0xkdctmXziw7z5HqVYx6andwW";

    #[tokio::test]
    async fn a_secret_matches_its_own_hash_alone() {
        let hashing = Hashing::default();
        for (hash, expected) in [
            (Some(RIGHT), true),
            (Some(WRONG), false),
            (Some("plain text"), false),
            (Some(""), false),
            (None, false),
        ] {
            let answer = hashing.verify(DIGEST.to_owned(), hash).await;
            assert_eq!(answer, Ok(expected), "{hash:?}");
        }
    }

    #[test]
    fn nobodys_hash_is_worked_on_like_any_other() {
        assert!(is_usable(NOBODYS) && is_usable(RIGHT));
        assert_eq!(bcrypt::verify(DIGEST, NOBODYS).ok(), Some(false));
        let parts = |hash: &str| hash.parse::<HashParts>().unwrap().get_cost();
        assert_eq!(parts(NOBODYS), parts(RIGHT));
    }

    #[test]
    fn a_hash_that_would_take_minutes_is_not_worked_on() {
        assert!(!is_usable(&RIGHT.replace("$10$", "$31$")));
        assert!(is_usable(&RIGHT.replace("$10$", "$14$")));
    }

    #[tokio::test]
    async fn more_than_may_wait_are_turned_away() {
        let hashing = Hashing {
            running: Arc::new(Semaphore::new(1)),
            waiting: Arc::new(Semaphore::new(1)),
        };
        let verify = || hashing.verify(DIGEST.to_owned(), Some(RIGHT));
        let (first, second) = tokio::join!(verify(), verify());
        assert_eq!(first, Ok(true));
        assert!(second.is_err());
        assert_eq!(verify().await, Ok(true));
    }
}
