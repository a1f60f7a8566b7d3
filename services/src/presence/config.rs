//! How presence behaves.

use std::time::Duration;

/// How presence behaves; the defaults are the original's.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// The bus counts a silent node as lost after so long; a node that exists nowhere is swept after as long again.
    pub heartbeat_timeout: Duration,
    /// A document in `instances` that has not moved for so long is a dead process; also its expiry in MongoDB where no
    /// index says otherwise.
    pub instances_expire: Duration,
    /// Whose rules apply.
    pub mode: Mode,
    /// Make missing indexes at start.
    pub create_indexes: bool,
    /// Sockets above which nobody is told anything, where the licence has no module that lifts the limit.
    pub connections_max: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            heartbeat_timeout: Duration::from_secs(30),
            instances_expire: Duration::from_secs(60),
            mode: Mode::Auto,
            create_indexes: true,
            // Of the original (services.md 4.8).
            connections_max: 200,
        }
    }
}

/// Whose rules apply (services.md 4.12).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Those of 8.6 once the workspace shows that it knows them: by its version, by another presence service that offers
    /// claims, or by the first claim.
    Auto,
    /// Those before 8.6.
    Legacy,
    /// Those from 8.6 on.
    Engine,
}
