//! What the database file holds.
//!
//! ```text
//! <collection>     id                  -> BSON document              one table per collection
//! index.token      token hash          -> user id
//! index.username   username            -> user id
//! index.member     (room, user)        -> subscription id
//! index.joined     (user, room)        -> subscription id
//! index.history    (room, ms, message) -> ()
//! index.written    message             -> a number that grows with every message: the order within a millisecond
//! feed             sequence number     -> BSON change
//! ```

use redb::TableDefinition;

use crate::collection::Collection;

pub(super) const TOKENS: TableDefinition<'_, &str, &str> = TableDefinition::new("index.token");
pub(super) const USERNAMES: TableDefinition<'_, &str, &str> =
    TableDefinition::new("index.username");
pub(super) const MEMBERS: TableDefinition<'_, (&str, &str), &str> =
    TableDefinition::new("index.member");
pub(super) const JOINED: TableDefinition<'_, (&str, &str), &str> =
    TableDefinition::new("index.joined");
pub(super) const HISTORY: TableDefinition<'_, (&str, i64, &str), ()> =
    TableDefinition::new("index.history");
pub(super) const WRITTEN: TableDefinition<'_, &str, u64> = TableDefinition::new("index.written");
pub(super) const FEED: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("feed");

pub(super) fn documents(
    collection: Collection,
) -> TableDefinition<'static, &'static str, &'static [u8]> {
    TableDefinition::new(collection.name())
}
