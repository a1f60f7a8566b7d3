//! Counters for metrics.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use protocol::moleculer::{DecodeError, Kind};

/// Totals since the start of the process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Packets taken from the bus, by kind (`EVENT`, `REQ`, ..).
    pub packets_in: Vec<(&'static str, u64)>,
    /// Packets given to the bus, by kind.
    pub packets_out: Vec<(&'static str, u64)>,
    /// Payload bytes taken from and given to the bus.
    pub bytes_in: u64,
    pub bytes_out: u64,
    /// Packets that are no JSON, lack what their kind needs, or carry args that are no JSON array.
    pub malformed: u64,
    /// Packets of another protocol version.
    pub wrong_version: u64,
    /// Packets of another process that calls itself as we are called.
    pub conflicts: u64,
    /// Messages that the client library dropped because we did not take them in time.
    pub messages_lost: u64,
    /// Events and requests that a full inbox refused.
    pub inbox_refused: u64,
    /// Packets that were not sent: disconnected, too large, or too much waiting.
    pub unsent: u64,
    /// Times a node offered more than is remembered.
    pub offers_cut: u64,
    /// Connections to the bus so far.
    pub connects: u64,
    /// Calls under way now.
    pub calls_pending: u64,
    /// Requests of other nodes that wait for our answer now.
    pub requests_open: u64,
    /// Requests that were answered by their deadline, because no handler did.
    pub requests_late: u64,
    /// Requests whose caller had given up before a handler took them.
    pub requests_stale: u64,
}

/// The running totals.
#[derive(Default)]
pub(crate) struct Counters {
    packets_in: [AtomicU64; Kind::ALL.len()],
    packets_out: [AtomicU64; Kind::ALL.len()],
    pub(crate) bytes_in: AtomicU64,
    pub(crate) bytes_out: AtomicU64,
    malformed: AtomicU64,
    wrong_version: AtomicU64,
    pub(crate) conflicts: AtomicU64,
    pub(crate) messages_lost: AtomicU64,
    pub(crate) inbox_refused: AtomicU64,
    pub(crate) unsent: AtomicU64,
    pub(crate) connects: AtomicU64,
    pub(crate) requests_late: AtomicU64,
    pub(crate) requests_stale: AtomicU64,
}

impl Counters {
    pub(crate) fn packets_in(&self, kind: Kind, count: usize, bytes: usize) {
        self.bytes_in.fetch_add(bytes as u64, Relaxed);
        self.packets_in[kind as usize].fetch_add(count as u64, Relaxed);
    }

    pub(crate) fn packet_out(&self, kind: Kind, bytes: usize) {
        self.bytes_out.fetch_add(bytes as u64, Relaxed);
        self.packets_out[kind as usize].fetch_add(1, Relaxed);
    }

    /// Counts a packet that is dropped; logs the first, the second, the fourth, .. of its sort.
    pub(crate) fn dropped(&self, kind: Kind, error: DecodeError) {
        let counter = match error {
            DecodeError::Malformed => &self.malformed,
            DecodeError::WrongVersion => &self.wrong_version,
        };
        let count = counter.fetch_add(1, Relaxed) + 1;
        if count.is_power_of_two() {
            tracing::warn!(kind = kind.token(), count, "dropped a packet: {error}");
        }
    }

    /// What counts itself; the rest is for the bus to add.
    pub(crate) fn read(&self) -> Stats {
        let by_kind = |counters: &[AtomicU64]| {
            let counts = counters.iter().map(|counter| counter.load(Relaxed));
            Kind::ALL
                .iter()
                .map(|kind| kind.token())
                .zip(counts)
                .collect()
        };
        Stats {
            packets_in: by_kind(&self.packets_in),
            packets_out: by_kind(&self.packets_out),
            bytes_in: self.bytes_in.load(Relaxed),
            bytes_out: self.bytes_out.load(Relaxed),
            malformed: self.malformed.load(Relaxed),
            wrong_version: self.wrong_version.load(Relaxed),
            conflicts: self.conflicts.load(Relaxed),
            messages_lost: self.messages_lost.load(Relaxed),
            inbox_refused: self.inbox_refused.load(Relaxed),
            unsent: self.unsent.load(Relaxed),
            connects: self.connects.load(Relaxed),
            requests_late: self.requests_late.load(Relaxed),
            requests_stale: self.requests_stale.load(Relaxed),
            ..Stats::default()
        }
    }
}
