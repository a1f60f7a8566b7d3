//! Failures that come by the thousand when a service is away: one line a second for each kind, with the number of
//! those that were left out.

use std::{
    collections::BTreeMap,
    fmt::Display,
    mem,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Time between two lines of one kind.
const QUIET: Duration = Duration::from_secs(1);

/// What has been said lately.
#[derive(Default)]
pub struct Complaints {
    kinds: Mutex<BTreeMap<&'static str, Said>>,
}

struct Said {
    at: Instant,
    left_out: u64,
}

impl Complaints {
    /// Nothing has been said.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            kinds: Mutex::new(BTreeMap::new()),
        }
    }

    /// Warns, if this has not been said within the last second.
    pub fn warn(&self, what: &'static str, error: &dyn Display) {
        if let Some(left_out) = self.turn(what, Instant::now()) {
            tracing::warn!(%error, left_out, "{what}");
        }
    }

    /// How many were left out since the last line; `None`: this one is left out too.
    pub(crate) fn turn(&self, what: &'static str, now: Instant) -> Option<u64> {
        let mut kinds = self.kinds.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(said) = kinds.get_mut(what) else {
            kinds.insert(
                what,
                Said {
                    at: now,
                    left_out: 0,
                },
            );
            return Some(0);
        };
        if now < said.at + QUIET {
            said.left_out += 1;
            return None;
        }
        said.at = now;
        Some(mem::take(&mut said.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_storm_is_one_line_a_second_for_each_kind() {
        let (complaints, now) = (Complaints::default(), Instant::now());
        assert_eq!(complaints.turn("store", now), Some(0));
        for _ in 0..1_000 {
            assert_eq!(complaints.turn("store", now), None);
        }
        assert_eq!(complaints.turn("presence", now), Some(0));
        assert_eq!(complaints.turn("store", now + QUIET), Some(1_000));
        assert_eq!(complaints.turn("store", now + QUIET * 2), Some(0));
    }
}
