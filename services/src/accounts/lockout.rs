//! How often a password may be tried: the workspace's own limits (`Block_Multiple_Failed_Logins_*`), counted per name in
//! this process, whether or not somebody has the name.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use store::{Error, Store, bson::Bson};

use crate::settings::number;

/// The workspace's limits.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Limits {
    /// Tries that may fail in a row.
    pub(super) tries: u32,
    /// How long after the last of them the next is let in.
    pub(super) pause: Duration,
}

impl Limits {
    /// Reads them; `None` if the workspace has switched them off. Where it says nothing usable, Rocket.Chat's defaults
    /// hold: 10 tries, 5 minutes.
    pub(super) async fn read(store: &Store) -> Result<Option<Self>, Error> {
        let ids = [ENABLED, BY_USER, TRIES, MINUTES].map(str::to_owned);
        let mut values = store.setting_values(&ids).await?;
        let (tries, minutes) = (values.remove(TRIES), values.remove(MINUTES));
        let is_off = |setting| values.get(setting) == Some(&Bson::Boolean(false));
        let tries = whole(tries).unwrap_or(10);
        if is_off(ENABLED) || is_off(BY_USER) || tries == 0 {
            return Ok(None);
        }
        let minutes = whole(minutes).filter(|minutes| *minutes > 0).unwrap_or(5);
        Ok(Some(Self {
            tries,
            pause: Duration::from_secs(u64::from(minutes) * 60),
        }))
    }
}

const ENABLED: &str = "Block_Multiple_Failed_Logins_Enabled";
const BY_USER: &str = "Block_Multiple_Failed_Logins_By_User";
const TRIES: &str = "Block_Multiple_Failed_Logins_Attempts_Until_Block_by_User";
const MINUTES: &str = "Block_Multiple_Failed_Logins_Time_To_Unblock_By_User_In_Minutes";

/// Names that were tried, each with its failures.
#[derive(Default)]
pub(super) struct Lockout(Mutex<HashMap<String, Failures>>);

struct Failures {
    count: u32,
    last: Instant,
}

impl Lockout {
    /// Counts a try as failed before it is made, so that a thousand at once are no way around the limit; whether it may
    /// be made. A refused one does not make the pause longer.
    pub(super) fn begin(&self, name: &str, limits: Limits, now: Instant) -> bool {
        let mut names = self.names();
        if names.len() >= NAMES_MAX && !names.contains_key(name) {
            make_room(&mut names, limits.pause, now);
        }
        let failures = names.entry(name.to_owned()).or_insert(Failures {
            count: 0,
            last: now,
        });
        if now.duration_since(failures.last) >= limits.pause {
            failures.count = 0;
        }
        if failures.count >= limits.tries {
            return false;
        }
        failures.count += 1;
        failures.last = now;
        true
    }

    /// The try has succeeded: what failed before is forgotten.
    pub(super) fn succeeded(&self, name: &str) {
        self.names().remove(name);
    }

    /// The try could not be judged.
    pub(super) fn withdraw(&self, name: &str) {
        if let Some(failures) = self.names().get_mut(name) {
            failures.count = failures.count.saturating_sub(1);
        }
    }

    fn names(&self) -> MutexGuard<'_, HashMap<String, Failures>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Forgets the names whose pause is over, or else the one that was tried longest ago: to push a name out that way takes
/// more tries than the CPU can hash within a pause.
fn make_room(names: &mut HashMap<String, Failures>, pause: Duration, now: Instant) {
    names.retain(|_, failures| now.duration_since(failures.last) < pause);
    if names.len() < NAMES_MAX {
        return;
    }
    let oldest = names.iter().min_by_key(|(_, failures)| failures.last);
    if let Some(oldest) = oldest.map(|(name, _)| name.clone()) {
        names.remove(&oldest);
    }
}

/// A whole number, from 0 on.
fn whole(value: Option<Bson>) -> Option<u32> {
    let number = number(&value?).filter(|number| *number >= 0.0)?;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "saturates, as wanted"
    )]
    Some(number as u32)
}

const NAMES_MAX: usize = 100_000;

#[cfg(test)]
mod tests {
    use store::bson::doc;

    use super::*;

    const LIMITS: Limits = Limits {
        tries: 3,
        pause: Duration::from_secs(60),
    };

    #[test]
    fn after_too_many_failures_nobody_is_let_in_until_the_pause_is_over() {
        let (lockout, start) = (Lockout::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        for second in 0..3 {
            assert!(lockout.begin("bob", LIMITS, at(second)));
        }
        for second in [3, 30, 61] {
            assert!(!lockout.begin("bob", LIMITS, at(second)), "{second}");
        }
        assert!(lockout.begin("alice", LIMITS, at(3)), "others are");
        assert!(lockout.begin("bob", LIMITS, at(62)));
        assert!(lockout.begin("bob", LIMITS, at(63)));
    }

    #[test]
    fn success_forgets_failures_and_what_was_not_judged_is_none() {
        let (lockout, now) = (Lockout::default(), Instant::now());
        for _ in 0..10 {
            assert!(lockout.begin("bob", LIMITS, now));
            lockout.withdraw("bob");
        }
        for _ in 0..10 {
            assert!(lockout.begin("bob", LIMITS, now) && lockout.begin("bob", LIMITS, now));
            lockout.succeeded("bob");
        }
    }

    #[test]
    fn the_number_of_names_has_an_end() {
        let (lockout, start) = (Lockout::default(), Instant::now());
        for number in 0..NAMES_MAX + 10 {
            let now = start + Duration::from_micros(number as u64);
            assert!(lockout.begin(&number.to_string(), LIMITS, now));
        }
        assert_eq!(lockout.names().len(), NAMES_MAX);
        assert!(!lockout.names().contains_key("0"), "the oldest goes first");
    }

    #[tokio::test]
    async fn the_limits_are_the_workspaces_own() {
        let limits = |tries, minutes: u64| Limits {
            tries,
            pause: Duration::from_secs(minutes * 60),
        };
        let (tries, minutes) = (
            "Block_Multiple_Failed_Logins_Attempts_Until_Block_by_User",
            "Block_Multiple_Failed_Logins_Time_To_Unblock_By_User_In_Minutes",
        );
        let off = Bson::Boolean(false);
        for (settings, expected) in [
            (vec![], Some(limits(10, 5))),
            (
                vec![(tries, Bson::Int32(3)), (minutes, Bson::Double(1.0))],
                Some(limits(3, 1)),
            ),
            (
                vec![(tries, "3".into()), (minutes, Bson::Int64(0))],
                Some(limits(10, 5)),
            ),
            (
                vec![("Block_Multiple_Failed_Logins_Enabled", off.clone())],
                None,
            ),
            (vec![("Block_Multiple_Failed_Logins_By_User", off)], None),
            (vec![(tries, Bson::Int32(0))], None),
        ] {
            let store = Store::embedded(None).unwrap();
            for (id, value) in &settings {
                let setting = doc! { "_id": *id, "value": value.clone() };
                store.insert_setting(setting).await.unwrap();
            }
            assert_eq!(
                Limits::read(&store).await.unwrap(),
                expected,
                "{settings:?}"
            );
        }
    }
}
