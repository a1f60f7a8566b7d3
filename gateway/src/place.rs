//! Where a client is.

use protocol::session::SubKey;

/// One client, for as long as it lives: slots are reused, so a slot alone is not enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Place {
    pub(crate) shard: u16,
    pub(crate) slot: u32,
    /// Counts all clients of the shard.
    pub(crate) generation: u32,
}

/// One subscription of one client.
pub(crate) type Sub = (Place, SubKey);
