//! What the services remember: typed reads, typed writes and a change feed, over MongoDB or an embedded database.
//!
//! ```text
//!   users  rooms  messages  presence  status  workspace      typed operations, written once (one file per noun)
//!          │ Lookup (which documents)  │ Edit (what happens to them)
//!          ▼                           ▼
//!   embedded/  redb, one process            mongo/  the official driver
//! ```
//!
//! Inside, values are BSON; what leaves for the wire is Meteor's EJSON text ([`ejson`]). There is no query language:
//! an operation that is missing is added as a `Lookup` or an `Edit`, in both stores.
//!
//! Guarantees, the same for both stores (`tests/contract/` checks them):
//! - A write is acknowledged after it is durable: embedded after its fsync, MongoDB by the write concern of its URL.
//!   Embedded, who is connected and the status that follows from it are on disk a second later at the latest.
//! - Each operation touches one document atomically; operations on several documents say so.
//! - Every update moves `_updatedAt`, except on `usersSessions`, `instances`, in [`Store::set_user_status`] and where
//!   [`StatusWrite`] says so (services.md 1.4).
//! - An operation fails closed with an [`Error`]; "not there" is `None`, `false` or an empty list, never an error.

mod attributes;
mod collection;
mod conferences;
mod date;
mod documents;
mod edit;
pub mod ejson;
mod embedded;
mod error;
mod feed;
mod fields;
mod lookup;
mod messages;
mod mongo;
mod presence;
mod raw;
mod rooms;
mod status;
mod users;
mod workspace;

use std::collections::HashSet;
use std::path::Path;
use std::time::Duration;

use ::bson::{Document, RawDocumentBuf};

use crate::edit::{Edit, Edited, GuardedEdit};
use crate::embedded::Embedded;
use crate::lookup::Lookup;
use crate::mongo::Mongo;

pub use crate::attributes::Attributes;
pub use crate::collection::Collection;
pub use crate::conferences::Conference;
pub use crate::edit::{ConnectionEdit, Update};
pub use crate::embedded::changes::Feed;
pub use crate::error::{Error, ErrorKind};
pub use crate::feed::{Change, ChangeKind};
pub use crate::fields::{ROOM_FIELDS, SUBSCRIPTION_FIELDS, project};
pub use crate::mongo::hub::{Checkpoint, Lease, Token};
pub use crate::mongo::stream::{Batch, ChangeStream, Detail};
pub use crate::mongo::{
    DATABASE_DEFAULT, Examination, MongoConfig, database_name, masked, unsupported_options,
    url_mistake,
};
pub use crate::presence::{Connection, Instance, InstanceSeen, UserConnections};
pub use crate::rooms::{Room, Subscription};
pub use crate::status::{Claim, Status, StatusOwner, StatusWrite};
pub use crate::users::{LoginToken, PasswordHash, TokenOwner, User};
pub use crate::workspace::{Permission, Role};
pub use ::bson;

/// A cheap handle on the one database of this process; clone it freely.
#[derive(Clone, Debug)]
pub struct Store {
    backend: Backend,
}

#[derive(Clone, Debug)]
enum Backend {
    Embedded(Embedded),
    Mongo(Mongo),
}

impl Store {
    /// Prepares a client for MongoDB and returns without waiting for the server: while it is away, operations fail
    /// with [`ErrorKind::Unavailable`] or [`ErrorKind::Timeout`] and work again when it is back.
    pub async fn mongo(config: MongoConfig) -> Result<Self, Error> {
        Ok(Self {
            backend: Backend::Mongo(Mongo::connect(config).await?),
        })
    }

    /// Opens the embedded store in the folder `path`, made if it does not exist, or in memory for `None`.
    ///
    /// A folder that holds something else, was written by a newer format, cannot be written or is open in another
    /// process is refused and left as it is.
    pub fn embedded(path: Option<&Path>) -> Result<Self, Error> {
        Ok(Self {
            backend: Backend::Embedded(Embedded::open(path)?),
        })
    }

    /// Whether the database answers now; for readiness.
    pub async fn ping(&self) -> Result<(), Error> {
        match &self.backend {
            Backend::Embedded(_) => Ok(()),
            Backend::Mongo(mongo) => mongo.ping().await,
        }
    }

    /// What the server says about itself, for whoever looks for a fault; `None` embedded, where there is none to ask.
    pub async fn examine(&self) -> Result<Option<Examination>, Error> {
        match &self.backend {
            Backend::Embedded(_) => Ok(None),
            Backend::Mongo(mongo) => mongo.examine().await.map(Some),
        }
    }

    /// Creates what indexes on `usersSessions` and `instances` are missing in MongoDB, the expiry of `instances`
    /// (services.md 6.1) among them; one that is there is never touched. Embedded, nothing is to be done.
    pub async fn create_indexes(&self, instances_expire: Duration) -> Result<(), Error> {
        match &self.backend {
            Backend::Embedded(_) => Ok(()),
            Backend::Mongo(mongo) => mongo.create_indexes(instances_expire).await,
        }
    }

    /// The embedded store's changes behind sequence number `after`, or from now on for `None`, in the order of their
    /// commits; those of `usersSessions` are left out. Fails with [`ErrorKind::HistoryLost`] if changes behind `after` are no longer kept, and with
    /// [`ErrorKind::Unsupported`] on MongoDB.
    pub fn changes(&self, after: Option<u64>) -> Result<Feed, Error> {
        match &self.backend {
            Backend::Embedded(embedded) => embedded.changes(after),
            Backend::Mongo(_) => Err(Error::new(
                ErrorKind::Unsupported,
                "the change feed of MongoDB",
            )),
        }
    }

    /// The documents that `lookup` names, in its order, cut to `fields` (all of them if empty; `_id` always comes).
    async fn find(
        &self,
        lookup: Lookup<'_>,
        fields: &'static [&'static str],
    ) -> Result<Vec<RawDocumentBuf>, Error> {
        match &self.backend {
            Backend::Embedded(embedded) => embedded.find(lookup, fields),
            Backend::Mongo(mongo) => mongo.find(lookup, fields).await,
        }
    }

    async fn find_one(
        &self,
        lookup: Lookup<'_>,
        fields: &'static [&'static str],
    ) -> Result<Option<RawDocumentBuf>, Error> {
        Ok(self.find(lookup, fields).await?.into_iter().next())
    }

    /// Adds a document and returns its `_id`; gives it a random `_id` and an `_updatedAt` where they are missing.
    async fn insert(
        &self,
        collection: Collection,
        mut document: Document,
    ) -> Result<String, Error> {
        let id = collection.complete(&mut document)?;
        match &self.backend {
            Backend::Embedded(embedded) => embedded.insert(collection, document).await?,
            Backend::Mongo(mongo) => mongo.insert(collection, document).await?,
        }
        Ok(id)
    }

    async fn edit(&self, lookup: Lookup<'_>, edit: Edit) -> Result<Edited, Error> {
        match &self.backend {
            Backend::Embedded(embedded) => embedded.edit(lookup, edit).await,
            Backend::Mongo(mongo) => mongo.edit(lookup, edit).await,
        }
    }

    /// Carries out edits of different documents in one step to the database. Returns the places of the guarded ones that
    /// were not carried out: their document is no longer as it was seen.
    async fn edit_many(
        &self,
        collection: Collection,
        edits: Vec<GuardedEdit>,
    ) -> Result<HashSet<usize>, Error> {
        if edits.is_empty() {
            return Ok(HashSet::new());
        }
        match &self.backend {
            Backend::Embedded(embedded) => embedded.edit_many(collection, edits).await,
            Backend::Mongo(mongo) => mongo.edit_many(collection, edits).await,
        }
    }

    /// Removes the one document that `lookup` names; whether it was there.
    async fn remove(&self, lookup: Lookup<'_>) -> Result<bool, Error> {
        match &self.backend {
            Backend::Embedded(embedded) => embedded.remove(lookup).await,
            Backend::Mongo(mongo) => mongo.remove(lookup).await,
        }
    }
}
