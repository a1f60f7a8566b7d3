//! MongoDB.

use std::time::Duration;

use bson::{Document, RawDocumentBuf};

use crate::collection::Collection;
use crate::edit::Edit;
use crate::lookup::Lookup;
use crate::{Edited, Error};

/// How to reach MongoDB.
#[derive(Clone, Debug)]
pub struct MongoConfig {
    /// `MONGO_URL`; the database is its path, `rocketchat` if it has none.
    pub url: String,
    /// The longest an operation may take, the choice of a server included.
    pub deadline: Duration,
    /// Whether to create the indexes on `usersSessions` and `instances` that the operations here use.
    pub create_indexes: bool,
}

impl Default for MongoConfig {
    fn default() -> Self {
        Self {
            url: "mongodb://localhost:27017/rocketchat".into(),
            deadline: Duration::from_secs(10),
            create_indexes: false,
        }
    }
}

/// The options of a connection string that the driver does not know, by name, for a warning each: they are left out
/// when connecting. Empty for a string without such options.
pub fn unsupported_options(url: &str) -> Vec<String> {
    let _ = url;
    todo!()
}

#[derive(Clone, Debug)]
pub(crate) struct Mongo;

impl Mongo {
    pub(crate) async fn connect(_config: MongoConfig) -> Result<Self, Error> {
        todo!()
    }
    pub(crate) async fn ping(&self) -> Result<(), Error> {
        todo!()
    }
    pub(crate) async fn find(
        &self,
        _l: Lookup<'_>,
        _f: &'static [&'static str],
    ) -> Result<Vec<RawDocumentBuf>, Error> {
        todo!()
    }
    pub(crate) async fn insert(&self, _c: Collection, _d: Document) -> Result<(), Error> {
        todo!()
    }
    pub(crate) async fn edit(&self, _l: Lookup<'_>, _e: Edit) -> Result<Edited, Error> {
        todo!()
    }
    pub(crate) async fn remove(&self, _l: Lookup<'_>) -> Result<bool, Error> {
        todo!()
    }
}
