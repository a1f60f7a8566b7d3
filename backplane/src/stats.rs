//! Counters for metrics.

/// Totals since the start of the process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Packets taken from the bus, by kind (`EVENT`, `REQ`, ..).
    pub packets_in: Vec<(&'static str, u64)>,
    /// Packets given to the bus, by kind.
    pub packets_out: Vec<(&'static str, u64)>,
    /// Packets that are no JSON, lack what their kind needs, or carry args that are no JSON array.
    pub malformed: u64,
    /// Packets of another protocol version.
    pub wrong_version: u64,
    /// Messages that the client library dropped because we did not take them in time.
    pub messages_lost: u64,
    /// Events and requests that a full inbox refused.
    pub inbox_refused: u64,
    /// Packets that were not sent: disconnected, too large, or too much waiting.
    pub unsent: u64,
    /// Connections to the bus so far.
    pub connects: u64,
    /// Calls under way now.
    pub calls_pending: u64,
}
