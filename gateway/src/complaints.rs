//! Failures that come by the thousand when a service is away: one line a second for each kind, with the number of
//! those that were left out.

use std::{
    cell::RefCell,
    fmt::Display,
    time::{Duration, Instant},
};

use hashbrown::HashMap;

/// Time between two lines of one kind.
const QUIET: Duration = Duration::from_secs(1);

/// What has been said lately.
#[derive(Default)]
pub(crate) struct Complaints {
    kinds: RefCell<HashMap<&'static str, Said>>,
}

struct Said {
    at: Instant,
    left_out: u64,
}

impl Complaints {
    /// Warns, if this has not been said within the last second.
    pub(crate) fn warn(&self, what: &'static str, error: &dyn Display) {
        if let Some(left_out) = self.turn(what, Instant::now()) {
            tracing::warn!(%error, left_out, "{what}");
        }
    }

    /// How many were left out since the last line; `None`: this one is left out too.
    fn turn(&self, what: &'static str, now: Instant) -> Option<u64> {
        let mut kinds = self.kinds.borrow_mut();
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
        Some(std::mem::take(&mut said.left_out))
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
