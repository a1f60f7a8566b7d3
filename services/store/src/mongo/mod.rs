//! MongoDB through the official driver.
//!
//! Reads come back as raw BSON and are never made into trees here. Every operation runs as a task of its own
//! (`deadline`), because the driver's futures must not be dropped half-way.

mod bulk;
mod deadline;
mod examine;
mod failure;
pub(crate) mod hub;
mod options;
mod query;
pub(crate) mod stream;
mod write;

use std::fmt;
use std::time::Duration;

use bson::{DateTime, Document, RawDocumentBuf, doc};
use mongodb::options::{ClientOptions, FindOptions, IndexOptions, UpdateOptions};
use mongodb::{Client, Database, IndexModel};

use crate::Error;
use crate::collection::Collection;
use crate::edit::{Edit, Edited};
use crate::lookup::Lookup;
use crate::mongo::deadline::Deadline;

pub use examine::Examination;
pub use options::{database_name, masked, unsupported_options, url_mistake};

/// The database of a `MONGO_URL` that names none.
pub const DATABASE_DEFAULT: &str = "rocketchat";

/// How to reach MongoDB.
#[derive(Clone)]
pub struct MongoConfig {
    /// `MONGO_URL`; the database is its path, `rocketchat` if it has none. The pool takes 100 connections unless the
    /// URL says otherwise.
    pub url: String,
    /// The longest an operation may take, the wait for a server included.
    pub deadline: Duration,
}

impl Default for MongoConfig {
    fn default() -> Self {
        Self {
            url: "mongodb://localhost:27017/rocketchat".into(),
            deadline: Duration::from_secs(10),
        }
    }
}

/// Shows everything but the URL, which may hold a password.
impl fmt::Debug for MongoConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MongoConfig")
            .field("deadline", &self.deadline)
            .finish_non_exhaustive()
    }
}

#[derive(Clone)]
pub(crate) struct Mongo {
    database: Database,
    deadline: Deadline,
}

impl fmt::Debug for Mongo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mongo")
            .field("database", &self.database.name())
            .finish_non_exhaustive()
    }
}

/// Where the monolith's model layer leaves what it has deleted (services.md 1.4).
const TRASH: &str = "rocketchat__trash";

/// The pool of the Node driver; the Rust driver's own default is 10.
const POOL_MAX: u32 = 100;

/// Another index on the same keys is there already, under another name or with other options.
const INDEX_EXISTS: [i32; 2] = [85, 86];

impl Mongo {
    /// Reads the URL (resolving `mongodb+srv`) and starts the driver, which connects in the background.
    pub(crate) async fn connect(config: MongoConfig) -> Result<Self, Error> {
        let deadline = Deadline::new(config.deadline);
        let url = options::supported(&config.url);
        let mut options = deadline
            .run(async move { ClientOptions::parse(url).await })
            .await?;
        options.max_pool_size.get_or_insert(POOL_MAX);
        options
            .server_selection_timeout
            .get_or_insert(config.deadline);
        options.connect_timeout.get_or_insert(config.deadline);
        options.app_name.get_or_insert_with(|| "ddp-edge".into());
        let name = options
            .default_database
            .clone()
            .unwrap_or_else(|| DATABASE_DEFAULT.into());
        let client = Client::with_options(options).map_err(|error| failure::error(&error))?;
        Ok(Self {
            database: client.database(&name),
            deadline,
        })
    }

    pub(crate) async fn ping(&self) -> Result<(), Error> {
        let database = self.database.clone();
        self.deadline
            .run(async move { database.run_command(doc! { "ping": 1 }).await })
            .await?;
        Ok(())
    }

    pub(crate) async fn find(
        &self,
        lookup: Lookup<'_>,
        fields: &[&str],
    ) -> Result<Vec<RawDocumentBuf>, Error> {
        let query = query::query(lookup);
        let options = FindOptions::builder()
            .projection(query::projection(lookup, fields))
            .sort(query.sort)
            .limit(query.limit)
            .max_time(self.deadline.limit())
            .build();
        let collection = self
            .database
            .collection::<RawDocumentBuf>(lookup.collection().name());
        let find = async move {
            let mut cursor = collection.find(query.filter).with_options(options).await?;
            let mut found = Vec::new();
            while cursor.advance().await? {
                found.push(cursor.current().to_owned());
            }
            Ok(found)
        };
        self.deadline.run(find).await
    }

    pub(crate) async fn insert(
        &self,
        collection: Collection,
        document: Document,
    ) -> Result<(), Error> {
        let collection = self.database.collection::<Document>(collection.name());
        self.deadline
            .run(async move { collection.insert_one(document).await })
            .await?;
        Ok(())
    }

    pub(crate) async fn edit(&self, lookup: Lookup<'_>, edit: Edit) -> Result<Edited, Error> {
        let upsert = edit.makes_the_document();
        let update = write::write(edit, lookup.collection(), DateTime::now());
        let options = UpdateOptions::builder().upsert(upsert).build();
        let collection = self
            .database
            .collection::<Document>(lookup.collection().name());
        let filter = query::query(lookup).filter;
        let many = lookup.is_about_many();
        let update = async move {
            if many {
                collection
                    .update_many(filter, update)
                    .with_options(options)
                    .await
            } else {
                collection
                    .update_one(filter, update)
                    .with_options(options)
                    .await
            }
        };
        let result = self.deadline.run(update).await?;
        let made = u64::from(result.upserted_id.is_some());
        Ok(Edited {
            found: result.matched_count + made,
            changed: result.modified_count + made,
        })
    }

    /// Deletes like the monolith's model layer, with a copy in the trash where it keeps one: whoever watches the
    /// database finds there what was deleted. Not atomic, as in the original.
    pub(crate) async fn remove(&self, lookup: Lookup<'_>) -> Result<bool, Error> {
        let source = lookup.collection();
        let collection = self.database.collection::<Document>(source.name());
        let trash = self.database.collection::<Document>(TRASH);
        let filter = query::query(lookup).filter;
        let remove = async move {
            if source.is_stamped() {
                let Some(mut document) = collection.find_one(filter.clone()).await? else {
                    return Ok(false);
                };
                document.insert("_deletedAt", DateTime::now());
                document.insert(
                    "__collection__",
                    source.name().trim_start_matches("rocketchat_"),
                );
                let id = doc! { "_id": document.get("_id") };
                trash.replace_one(id, document).upsert(true).await?;
            }
            Ok(collection.delete_one(filter).await?.deleted_count > 0)
        };
        self.deadline.run(remove).await
    }

    /// Creates the indexes behind presence and `instances` where they are missing; never touches one that is there.
    pub(crate) async fn create_indexes(&self, instances_expire: Duration) -> Result<(), Error> {
        let connections = [
            "connections.id",
            "connections.instanceId",
            "connections._updatedAt",
        ];
        let connections = connections.map(|path| (Collection::Sessions, path, None));
        let expiry = (Collection::Instances, "_updatedAt", Some(instances_expire));
        for (collection, path, expire_after) in connections.into_iter().chain([expiry]) {
            let options = IndexOptions::builder().expire_after(expire_after).build();
            let index = IndexModel::builder()
                .keys(doc! { path: 1 })
                .options(options)
                .build();
            let collection = self.database.collection::<Document>(collection.name());
            let create = async move {
                match collection.create_index(index).await {
                    Err(error)
                        if failure::code(&error)
                            .is_some_and(|code| INDEX_EXISTS.contains(&code)) =>
                    {
                        Ok(())
                    }
                    outcome => outcome.map(drop),
                }
            };
            self.deadline.run(create).await?;
        }
        Ok(())
    }
}
