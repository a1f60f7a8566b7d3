//! Documents of any collection by their ids, for the stream-hub, which treats sixteen collections alike.

use bson::{Bson, Document};

use crate::edit::{Edit, Update};
use crate::lookup::Lookup;
use crate::mongo::hub::{Checkpoint, Lease, Token};
use crate::mongo::stream::{ChangeStream, Detail};
use crate::{Backend, Collection, Error, ErrorKind, Store, raw};

impl Store {
    /// Every document of a collection, in no particular order; for those known to be small.
    pub async fn documents(&self, collection: Collection) -> Result<Vec<Document>, Error> {
        let found = self.find(Lookup::All(collection), &[]).await?;
        found.iter().map(|found| raw::document(found)).collect()
    }

    /// Those of these documents that exist, cut to `fields` (whole if there are none; `_id` always comes).
    pub async fn documents_by_id(
        &self,
        collection: Collection,
        ids: &[Bson],
        fields: &[&str],
    ) -> Result<Vec<Document>, Error> {
        match &self.backend {
            Backend::Embedded(embedded) => embedded.by_ids(collection, ids, fields),
            Backend::Mongo(mongo) => mongo.by_ids(collection, ids, fields).await,
        }
    }

    /// What the monolith's model layer (and ours) has kept of these deleted documents. Embedded nothing is kept: the
    /// feed itself has what was removed.
    pub async fn trash(
        &self,
        collection: Collection,
        ids: &[Bson],
    ) -> Result<Vec<Document>, Error> {
        match &self.backend {
            Backend::Embedded(_) => Ok(Vec::new()),
            Backend::Mongo(mongo) => mongo.trash(collection, ids).await,
        }
    }

    /// Adds a document to any collection and returns its `_id`, made up if it has none.
    pub async fn insert_document(
        &self,
        collection: Collection,
        document: Document,
    ) -> Result<String, Error> {
        self.insert(collection, document).await
    }

    /// Changes a document of any collection; whether it exists.
    pub async fn update_document(
        &self,
        collection: Collection,
        id: &str,
        update: Update,
    ) -> Result<bool, Error> {
        let edited = self
            .edit(Lookup::Id(collection, id), Edit::Fields(update))
            .await?;
        Ok(edited.found > 0)
    }

    /// Removes a document of any collection; whether it was there.
    pub async fn remove_document(&self, collection: Collection, id: &str) -> Result<bool, Error> {
        self.remove(Lookup::Id(collection, id)).await
    }

    /// Follows MongoDB's changes of these collections behind `after`, or from now on.
    ///
    /// Fails with [`ErrorKind::HistoryLost`] if what follows `after` is no longer kept, with [`ErrorKind::TooLarge`] (its
    /// steps too) if the next change can only be had with [`Detail::Least`], and with [`ErrorKind::Unsupported`] on a
    /// server that is no replica set and on an embedded store.
    pub async fn watch(
        &self,
        collections: &[Collection],
        detail: Detail,
        after: Option<Token>,
    ) -> Result<ChangeStream, Error> {
        let mongo = self.shared()?.clone();
        ChangeStream::open(mongo, collections, detail, after).await
    }

    /// Takes the hub's lease for `lasts` if it is free or held by `holder`, by the server's clock; tells who holds it
    /// then. A term of `holder` is greater than `above`, the greatest that it has heard of: whoever damages or drops the
    /// lease does not make terms begin again.
    pub async fn acquire_lease(
        &self,
        holder: &str,
        lasts: std::time::Duration,
        above: i64,
    ) -> Result<Lease, Error> {
        self.shared()?.acquire_lease(holder, lasts, above).await
    }

    /// Gives the lease back, if `holder` has it: the next one need not wait until it runs out.
    pub async fn release_lease(&self, holder: &str) -> Result<(), Error> {
        self.shared()?.release_lease(holder).await
    }

    /// Where the hub of an earlier term stopped. From then on checkpoints of earlier terms are refused.
    pub async fn take_checkpoint(&self, term: i64) -> Result<Checkpoint, Error> {
        self.shared()?.take_checkpoint(term).await
    }

    /// Keeps how far the hub of this term has come; `false` if a later term has taken over.
    pub async fn save_checkpoint(&self, term: i64, token: &Token) -> Result<bool, Error> {
        self.shared()?.save_checkpoint(term, token).await
    }

    fn shared(&self) -> Result<&crate::mongo::Mongo, Error> {
        match &self.backend {
            Backend::Embedded(_) => Err(Error::new(
                ErrorKind::Unsupported,
                "an embedded store belongs to one process",
            )),
            Backend::Mongo(mongo) => Ok(mongo),
        }
    }
}
