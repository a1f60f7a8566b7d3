//! So many a second.

use std::time::{Duration, Instant};

/// More strangers than this do not start in one second.
pub(super) const ASKED_PER_SECOND_MAX: u32 = 100;

/// As many as can be known start in one second.
pub(super) const TOLD_PER_SECOND_MAX: u32 = 1_000;

/// Counts what happens within one second.
#[derive(Debug, Default)]
pub(super) struct Pace {
    second: Option<Instant>,
    count: u32,
}

impl Pace {
    /// Counts one more; `false` once there are more than so many.
    pub(super) fn is_within(&mut self, most: u32, now: Instant) -> bool {
        let is_new = |second| now.duration_since(second) >= Duration::from_secs(1);
        if self.second.is_none_or(is_new) {
            self.second = Some(now);
            self.count = 0;
        }
        self.count += 1;
        self.count <= most
    }
}
