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

/// Where a hub begins.
#[derive(Clone, Debug, PartialEq)]
pub enum Checkpoint {
    /// Behind what the hub of an earlier term has sent.
    At(Token),
    /// None has said how far it came.
    Nowhere,
    /// The hub of this later term has been here.
    Later(i64),
}

impl Mongo {
    pub(crate) async fn acquire_lease(
        &self,
        holder: &str,
        lasts: Duration,
        above: i64,
    ) -> Result<Lease, Error> {
        let ms = i64::try_from(lasts.as_millis()).unwrap_or(i64::MAX);
        let us = doc! { "$literal": holder };
        // As numbers: not every server compares its clock with a stored date. What is no date or no term counts as none.
        let number = |of: &str| doc! { "$convert": { "input": of, "to": "long", "onError": 0_i64, "onNull": 0_i64 } };
        let (until, now) = (number("$expiresAt"), doc! { "$toLong": "$$NOW" });
        let over = doc! { "$or": [
            { "$lt": [until.clone(), now.clone()] },
            // Nobody holds it for so long: the server's clock has gone back.
            { "$gt": [until, { "$add": [now, ms.saturating_mul(PLAUSIBLE_LEASES)] }] },
            { "$ne": [{ "$type": "$holder" }, "string"] },
        ] };
        let ours = doc! { "$eq": ["$holder", us.clone()] };
        let taken = |then: Bson, otherwise: &str| {
            doc! { "$cond": [{ "$or": [over.clone(), ours.clone()] }, then, otherwise] }
        };
        let known = number("$term");
        let known = doc! { "$cond": [{ "$lte": [known.clone(), TERM_MAX] }, known.clone(), 0_i64] };
        let next = doc! { "$add": [{ "$max": [known.clone(), above] }, 1_i64] };
        let ours_goes_on =
            doc! { "$cond": [{ "$gt": [known.clone(), above] }, known, next.clone()] };
        let of_ours = doc! { "$cond": [ours.clone(), ours_goes_on, next] };
        let update = vec![doc! { "$set": {
            "holder": taken(us.into(), "$holder"),
            "term": taken(of_ours.into(), "$term"),
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
                term: whole(lease.get("term")).unwrap_or_default(),
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

    pub(crate) async fn take_checkpoint(&self, term: i64) -> Result<Checkpoint, Error> {
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
        let Some(cursor) = unless_later(self.deadline.run(take).await)? else {
            let id = doc! { "_id": self.cursor_id() };
            let state = self.hub_state();
            let later = self.deadline.run(async move { state.find_one(id).await });
            let later = later.await?.and_then(|cursor| whole(cursor.get("term")));
            return Ok(Checkpoint::Later(later.unwrap_or(term)));
        };
        Ok(match cursor.and_then(|mut cursor| cursor.remove("token")) {
            Some(Bson::Document(token)) => Checkpoint::At(Token::new(token)),
            _ => Checkpoint::Nowhere,
        })
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

    /// Matches the checkpoint unless a later term has written it; an upsert is a conflict then. What is no term counts as
    /// none, so that a damaged checkpoint keeps nobody from working.
    fn cursor_up_to(&self, term: i64) -> Document {
        doc! { "_id": self.cursor_id(), "$nor": [{ "term": { "$gt": term, "$lte": TERM_MAX } }] }
    }

    fn cursor_id(&self) -> String {
        format!("cursor:{}", self.database.name())
    }
}

const STATE: &str = "rocketchat_rs_stream_hub";
const LEASE: &str = "lease";
/// The largest term, one per change of holder, that is not taken for damage; every kind of number can say it.
const TERM_MAX: i64 = 1 << 53;
/// Leases on end that one which is held may seem to last.
const PLAUSIBLE_LEASES: i64 = 6;
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
