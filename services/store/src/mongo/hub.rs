//! What the hubs of one database share in it: the lease, the checkpoint, and what they look up.
//!
//! Two documents of ours in `rocketchat_rs_stream_hub`, which nobody watches: `lease` and `cursor:<database>`.

use std::time::Duration;

use bson::{Bson, DateTime, Document, doc};
use mongodb::Collection as MongoCollection;
use mongodb::options::{CollectionOptions, FindOptions, ReturnDocument, WriteConcern};

use crate::collection::Collection;
use crate::mongo::{Mongo, TRASH};
use crate::{Error, ErrorKind};

/// Who works, by the server's clock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// A node id.
    pub holder: String,
    /// Grows by one with every change of holder, for ever.
    pub term: i64,
}

/// A place in the server's log; opaque.
#[derive(Clone, Debug, PartialEq)]
pub struct Token(Document);

impl Token {
    pub(crate) fn new(document: Document) -> Self {
        Self(document)
    }

    pub(crate) fn into_document(self) -> Document {
        self.0
    }

    /// The same for the same place, different for every other; for events that name where they come from.
    pub fn text(&self) -> String {
        match self.0.get_str("_data") {
            Ok(data) => data.to_owned(),
            Err(_) => crate::ejson::to_text(&self.0),
        }
    }
}

impl Mongo {
    pub(crate) async fn acquire_lease(
        &self,
        holder: &str,
        lasts: Duration,
    ) -> Result<Lease, Error> {
        let ms = i64::try_from(lasts.as_millis()).unwrap_or(i64::MAX);
        let us = doc! { "$literal": holder };
        // As numbers: not every server compares its clock with a stored date.
        let over = doc! { "$lt": [
            { "$toLong": { "$ifNull": ["$expiresAt", DateTime::from_millis(0)] } },
            { "$toLong": "$$NOW" },
        ] };
        let ours = doc! { "$eq": ["$holder", us.clone()] };
        let taken = |then: Bson, otherwise: &str| {
            doc! { "$cond": [{ "$or": [over.clone(), ours.clone()] }, then, otherwise] }
        };
        let changes_hands = doc! { "$and": [over.clone(), { "$not": [ours.clone()] }] };
        let next_term = doc! { "$add": [{ "$ifNull": ["$term", 0_i64] }, 1_i64] };
        let update = vec![doc! { "$set": {
            "holder": taken(us.into(), "$holder"),
            "term": { "$cond": [changes_hands, next_term, "$term"] },
            "expiresAt": taken(doc! { "$add": ["$$NOW", ms] }.into(), "$expiresAt"),
            "version": { "$max": ["$version", VERSION] },
        } }];
        let state = self.hub_state();
        let acquire = async move {
            state
                .find_one_and_update(doc! { "_id": LEASE }, update)
                .upsert(true)
                .return_document(ReturnDocument::After)
                .await
        };
        let lease = self.deadline.run(acquire).await?;
        let lease = lease.as_ref().and_then(|lease| {
            Some(Lease {
                holder: lease.get_str("holder").ok()?.to_owned(),
                term: whole(lease.get("term"))?,
            })
        });
        lease.ok_or_else(|| Error::new(ErrorKind::Corrupt, "the lease of the hub"))
    }

    pub(crate) async fn release_lease(&self, holder: &str) -> Result<(), Error> {
        let state = self.hub_state();
        let filter = doc! { "_id": LEASE, "holder": holder };
        let update = doc! { "$set": { "expiresAt": DateTime::from_millis(0) } };
        let release = async move { state.update_one(filter, update).await };
        self.deadline.run(release).await?;
        Ok(())
    }

    pub(crate) async fn take_checkpoint(&self, term: i64) -> Result<Option<Option<Token>>, Error> {
        let state = self.hub_state();
        let filter = self.cursor_up_to(term);
        let update = doc! { "$set": { "term": term }, "$max": { "version": VERSION } };
        let take = async move {
            state
                .find_one_and_update(filter, update)
                .upsert(true)
                .return_document(ReturnDocument::After)
                .await
        };
        Ok(unless_later(self.deadline.run(take).await)?.map(|cursor| {
            match cursor.and_then(|mut cursor| cursor.remove("token")) {
                Some(Bson::Document(token)) => Some(Token::new(token)),
                _ => None,
            }
        }))
    }

    pub(crate) async fn save_checkpoint(&self, term: i64, token: &Token) -> Result<bool, Error> {
        let state = self.hub_state();
        let filter = self.cursor_up_to(term);
        let update = doc! {
            "$set": { "token": token.clone().into_document(), "term": term },
            "$max": { "version": VERSION },
            "$currentDate": { "at": true },
        };
        let save = async move { state.update_one(filter, update).upsert(true).await };
        Ok(unless_later(self.deadline.run(save).await)?.is_some())
    }

    pub(crate) async fn by_ids(
        &self,
        collection: Collection,
        ids: &[Bson],
        fields: &[&str],
    ) -> Result<Vec<Document>, Error> {
        let fields = fields.iter().map(|field| ((*field).to_owned(), 1.into()));
        let filter = doc! { "_id": { "$in": ids } };
        self.read(collection.name(), filter, fields.collect()).await
    }

    pub(crate) async fn trash(
        &self,
        collection: Collection,
        ids: &[Bson],
    ) -> Result<Vec<Document>, Error> {
        let name = collection.name().trim_start_matches("rocketchat_");
        let filter = doc! { "_id": { "$in": ids }, "__collection__": name };
        self.read(TRASH, filter, Document::new()).await
    }

    async fn read(
        &self,
        name: &str,
        filter: Document,
        projection: Document,
    ) -> Result<Vec<Document>, Error> {
        let collection = self.database.collection::<Document>(name);
        let options = FindOptions::builder()
            .projection(projection)
            .max_time(self.deadline.limit())
            .build();
        let find = async move {
            let mut cursor = collection.find(filter).with_options(options).await?;
            let mut found = Vec::new();
            while cursor.advance().await? {
                found.push(cursor.deserialize_current()?);
            }
            Ok(found)
        };
        self.deadline.run(find).await
    }

    /// Majority, or a failover could forget who holds the lease.
    fn hub_state(&self) -> MongoCollection<Document> {
        let options = CollectionOptions::builder()
            .write_concern(WriteConcern::majority())
            .build();
        self.database.collection_with_options(STATE, options)
    }

    /// Matches the checkpoint unless a later term has written it; an upsert is a conflict then.
    fn cursor_up_to(&self, term: i64) -> Document {
        doc! { "_id": format!("cursor:{}", self.database.name()), "term": { "$lte": term } }
    }
}

const STATE: &str = "rocketchat_rs_stream_hub";
const LEASE: &str = "lease";
/// Of the shape of both documents, for hubs of other versions beside or after this one; the newest that wrote them.
const VERSION: i32 = 1;

fn unless_later<T>(outcome: Result<T, Error>) -> Result<Option<T>, Error> {
    match outcome {
        Err(error) if error.kind() == ErrorKind::Conflict => Ok(None),
        outcome => outcome.map(Some),
    }
}

fn whole(value: Option<&Bson>) -> Option<i64> {
    match value? {
        Bson::Int32(value) => Some((*value).into()),
        Bson::Int64(value) => Some(*value),
        Bson::Double(value) => Some(*value as i64),
        _ => None,
    }
}
