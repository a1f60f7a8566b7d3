//! What is held for all clients together: bytes that wait to be written, messages that have come in part, calls that wait
//! their turn. One budget for the process, with a step before it, one at it and one behind it.
//!
//! Healthy clients hold nothing between two turns of their shard, so the counters below move only for slow ones. Bytes that
//! many outboxes share count for each of them: the sum is what could be asked for, not what is resident.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use crate::metrics;

/// The budget, and what it was charged.
pub(crate) struct Buffers {
    budget: usize,
    held: AtomicUsize,
    /// By shard: what its worst client holds, or held lately.
    worst: Box<[AtomicUsize]>,
}

/// How much of the budget is charged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Pressure {
    Easy,
    /// What can be missed is not held for anybody.
    Tight,
    /// Nobody new comes in.
    High,
    /// The worst have to go.
    Over,
}

impl Buffers {
    pub(crate) fn new(budget: usize, shards: usize) -> Self {
        Self {
            budget,
            held: AtomicUsize::new(0),
            worst: (0..shards).map(|_| AtomicUsize::new(0)).collect(),
        }
    }

    /// A client of this shard holds so much now, and held so much when it was last charged.
    pub(crate) fn charge(&self, shard: u16, before: usize, now: usize) {
        if now > before {
            self.held.fetch_add(now - before, Relaxed);
            self.worst[usize::from(shard)].fetch_max(now, Relaxed);
        } else {
            self.held.fetch_sub(before - now, Relaxed);
        }
    }

    pub(crate) fn pressure(&self) -> Pressure {
        let held = self.held.load(Relaxed);
        if held > self.budget {
            Pressure::Over
        } else if held > self.budget / 10 * 9 {
            Pressure::High
        } else if held > self.budget / 4 * 3 {
            Pressure::Tight
        } else {
            Pressure::Easy
        }
    }

    /// Puts right what the worst client of this shard holds, and says on which shard the worst of all is, if anybody holds
    /// anything.
    pub(crate) fn worst(&self, shard: u16, holds: usize) -> Option<usize> {
        self.worst[usize::from(shard)].store(holds, Relaxed);
        let all = self.worst.iter().map(|worst| worst.load(Relaxed));
        let (worst, most) = all.enumerate().max_by_key(|(_, holds)| *holds)?;
        (most > 0).then_some(if most == holds { shard.into() } else { worst })
    }

    /// Says how things stand.
    pub(crate) fn measure(&self) {
        let held = self.held.load(Relaxed);
        metrics::buffered(held, self.budget, self.pressure() as u8);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pressure_rises_and_falls_in_steps() {
        let buffers = Buffers::new(1_000, 1);
        let mut before = 0;
        for (holds, pressure) in [
            (750, Pressure::Easy),
            (751, Pressure::Tight),
            (901, Pressure::High),
            (1_001, Pressure::Over),
            (900, Pressure::Tight),
            (0, Pressure::Easy),
        ] {
            buffers.charge(0, before, holds);
            assert_eq!(buffers.pressure(), pressure, "{holds}");
            before = holds;
        }
    }

    #[test]
    fn the_worst_is_found_whatever_was_true_before() {
        let buffers = Buffers::new(1_000, 2);
        buffers.charge(0, 0, 300);
        buffers.charge(1, 0, 800);
        buffers.charge(1, 800, 100);
        // Not known yet that it has become better.
        assert_eq!(buffers.worst(0, 300), Some(1));
        assert_eq!(buffers.worst(1, 100), Some(0));
        assert_eq!(buffers.worst(0, 300), Some(0));
        buffers.worst(0, 0);
        assert_eq!(buffers.worst(1, 0), None);
    }
}
