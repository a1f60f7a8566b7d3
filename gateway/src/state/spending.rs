//! What clients' writes have cost lately: bytes passed on to others, charged to who wrote them. A bucket is one time stamp,
//! when it would be full again if nothing more came.

use std::{
    mem,
    sync::Arc,
    time::{Duration, Instant},
};

use hashbrown::HashMap;

use crate::place::Place;

/// Bytes per second that one writer may have passed on in the long run: typing and rings of a call are far below.
const BYTES_PER_SECOND: u64 = 256 << 10;
/// Bytes that may come at once. 4 MiB: one of the largest writes to a room of the most members that are told.
const BURST_BYTES: u64 = 4 << 20;
/// Writers of one generation that are told apart; two are kept.
const PAYERS_MAX: usize = 8_192;

/// Who pays: the user on whatever connection, or the connection on which nobody is logged in.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Payer {
    User(Arc<str>),
    Nobody(Place),
}

/// The writers of the last time.
#[derive(Debug, Default)]
pub(crate) struct Spending {
    now: HashMap<Payer, Instant>,
    before: HashMap<Payer, Instant>,
}

impl Spending {
    /// Writers who have paid for something lately.
    pub(crate) fn len(&self) -> usize {
        self.now.len() + self.before.len()
    }

    /// Charges so many bytes.
    ///
    /// # Errors
    /// The time after which the writer could pay for them; nothing is charged.
    pub(crate) fn charge(
        &mut self,
        payer: Payer,
        bytes: usize,
        now: Instant,
    ) -> Result<(), Duration> {
        let known = self.now.get(&payer).or_else(|| self.before.get(&payer));
        let full_at = known.map_or(now, |full_at| (*full_at).max(now)) + worth(bytes as u64);
        let over = full_at.saturating_duration_since(now + worth(BURST_BYTES));
        if !over.is_zero() {
            return Err(over);
        }
        if self.now.len() >= PAYERS_MAX && !self.now.contains_key(&payer) {
            self.before = mem::take(&mut self.now);
        }
        self.now.insert(payer, full_at);
        Ok(())
    }
}

/// The time in which so many bytes come back.
fn worth(bytes: u64) -> Duration {
    Duration::from_micros(bytes.saturating_mul(1_000_000) / BYTES_PER_SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(id: &str) -> Payer {
        Payer::User(id.into())
    }

    #[test]
    fn who_has_spent_the_burst_waits_and_the_others_do_not() {
        let (mut spending, now) = (Spending::default(), Instant::now());
        let burst = BURST_BYTES as usize;
        assert_eq!(spending.charge(user("u1"), burst, now), Ok(()));
        let second = BYTES_PER_SECOND as usize;
        assert_eq!(
            spending.charge(user("u1"), second, now),
            Err(Duration::from_secs(1))
        );
        assert_eq!(spending.charge(user("u2"), second, now), Ok(()));
        let later = now + Duration::from_secs(1);
        assert_eq!(spending.charge(user("u1"), second, later), Ok(()));
        assert!(spending.charge(user("u1"), 1, later).is_err());
    }

    #[test]
    fn the_table_is_bounded() {
        let (mut spending, now) = (Spending::default(), Instant::now());
        for number in 0..3 * PAYERS_MAX {
            assert_eq!(spending.charge(user(&number.to_string()), 1, now), Ok(()));
        }
        assert!(spending.now.len() + spending.before.len() <= 2 * PAYERS_MAX);
    }
}
