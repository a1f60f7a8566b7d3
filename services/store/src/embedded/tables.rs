//! How one document's write touches all tables: its bytes, its index entries and the feed.

use bson::{Bson, DateTime, Document};
use redb::{Database, ReadableDatabase, ReadableTable, Table, WriteTransaction};

use crate::collection::Collection;
use crate::edit::{Edit, Edited};
use crate::embedded::failure::failed;
use crate::embedded::schema::{
    FEED, HISTORY, JOINED, MEMBERS, TOKENS, USERNAMES, WRITTEN, documents,
};
use crate::embedded::{apply, changes};
use crate::{Error, ErrorKind, raw};

/// How many changes the feed keeps: minutes of a busy workspace.
const FEED_CHANGES_MAX: u64 = 16_384;

/// How many bytes of them: a change carries its document, and a message is written with its room, which quotes it.
const FEED_BYTES_MAX: u64 = 16 << 20;

/// All tables of one write transaction.
pub(super) struct Tables<'t> {
    /// In the order of [`Collection::ALL`].
    documents: Vec<Table<'t, &'static str, &'static [u8]>>,
    tokens: Table<'t, &'static str, &'static str>,
    usernames: Table<'t, &'static str, &'static str>,
    members: Table<'t, (&'static str, &'static str), &'static str>,
    joined: Table<'t, (&'static str, &'static str), &'static str>,
    history: Table<'t, (&'static str, i64, &'static str), ()>,
    written: Table<'t, &'static str, u64>,
    feed: Table<'t, u64, &'static [u8]>,
    pub(super) kept: Kept,
}

/// What the feed keeps.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Kept {
    /// Sequence number of the newest change.
    pub(super) newest: u64,
    /// Of all changes.
    bytes: u64,
}

impl Kept {
    pub(super) fn read(database: &Database) -> Result<Self, Error> {
        let read = database.begin_read().map_err(failed)?;
        let mut kept = Self::default();
        for change in read
            .open_table(FEED)
            .map_err(failed)?
            .iter()
            .map_err(failed)?
        {
            let (seq, bytes) = change.map_err(failed)?;
            kept.newest = seq.value();
            kept.bytes += bytes.value().len() as u64;
        }
        Ok(kept)
    }
}

/// Makes every table, so that readers never meet a missing one.
pub(super) fn create(write: &WriteTransaction) -> Result<(), Error> {
    Tables::open(write, Kept::default()).map(drop)
}

impl<'t> Tables<'t> {
    pub(super) fn open(write: &'t WriteTransaction, kept: Kept) -> Result<Self, Error> {
        let documents = Collection::ALL.map(|collection| write.open_table(documents(collection)));
        Ok(Self {
            documents: documents
                .into_iter()
                .collect::<Result<_, _>>()
                .map_err(failed)?,
            tokens: write.open_table(TOKENS).map_err(failed)?,
            usernames: write.open_table(USERNAMES).map_err(failed)?,
            members: write.open_table(MEMBERS).map_err(failed)?,
            joined: write.open_table(JOINED).map_err(failed)?,
            history: write.open_table(HISTORY).map_err(failed)?,
            written: write.open_table(WRITTEN).map_err(failed)?,
            feed: write.open_table(FEED).map_err(failed)?,
            kept,
        })
    }

    pub(super) fn insert(
        &mut self,
        collection: Collection,
        document: &Document,
    ) -> Result<(), Error> {
        let id = document
            .get_str("_id")
            .expect("Collection::complete gave it a text");
        if self.document(collection, id)?.is_some() {
            return Err(conflict(collection, "_id"));
        }
        self.replace(collection, id, None, Some(document))
    }

    pub(super) fn edit(
        &mut self,
        collection: Collection,
        id: &str,
        edit: &Edit,
    ) -> Result<Edited, Error> {
        let before = self.document(collection, id)?;
        let mut after = match &before {
            Some(before) => before.clone(),
            None if edit.makes_the_document() => bson::doc! { "_id": id },
            None => return Ok(Edited::default()),
        };
        if !apply::apply(edit, collection, &mut after, DateTime::now())? {
            return Ok(Edited::default());
        }
        if after.get_str("_id").ok() != Some(id) {
            return Err(Error::new(ErrorKind::Invalid, "an edit of `_id`"));
        }
        if before.as_ref() == Some(&after) {
            return Ok(Edited {
                found: 1,
                changed: 0,
            });
        }
        self.replace(collection, id, before.as_ref(), Some(&after))?;
        Ok(Edited {
            found: 1,
            changed: 1,
        })
    }

    /// Whether these fields have these values; `Null` is missing.
    pub(super) fn is_as_seen(
        &self,
        collection: Collection,
        id: &str,
        seen: &Document,
    ) -> Result<bool, Error> {
        if seen.is_empty() {
            return Ok(true);
        }
        let stored = self.document(collection, id)?.unwrap_or_default();
        Ok(seen
            .iter()
            .all(|(field, value)| stored.get(field).unwrap_or(&Bson::Null) == value))
    }

    pub(super) fn remove(&mut self, collection: Collection, id: &str) -> Result<bool, Error> {
        let Some(before) = self.document(collection, id)? else {
            return Ok(false);
        };
        self.replace(collection, id, Some(&before), None)?;
        Ok(true)
    }

    /// Drops the oldest changes, so that few enough of them are kept.
    pub(super) fn trim_feed(&mut self) -> Result<(), Error> {
        loop {
            let Some((seq, bytes)) = self
                .feed
                .first()
                .map_err(failed)?
                .map(|(seq, bytes)| (seq.value(), bytes.value().len() as u64))
            else {
                return Ok(());
            };
            // However large the newest change is, its reader gets it.
            let is_newest = seq == self.kept.newest;
            let is_few = self.kept.newest - seq < FEED_CHANGES_MAX;
            if is_newest || (is_few && self.kept.bytes <= FEED_BYTES_MAX) {
                return Ok(());
            }
            self.feed.pop_first().map_err(failed)?;
            self.kept.bytes -= bytes;
        }
    }

    fn document(&self, collection: Collection, id: &str) -> Result<Option<Document>, Error> {
        let Some(bytes) = self.documents[collection as usize]
            .get(id)
            .map_err(failed)?
        else {
            return Ok(None);
        };
        raw::decode(bytes.value()).map(Some)
    }

    /// The one place where a document changes: its bytes, its index entries and the feed move together. An error of
    /// kind `Conflict` or `Invalid` means that nothing has been touched.
    fn replace(
        &mut self,
        collection: Collection,
        id: &str,
        before: Option<&Document>,
        after: Option<&Document>,
    ) -> Result<(), Error> {
        let bytes = after.map(raw::encode).transpose()?;
        let change = (collection != Collection::Sessions)
            .then(|| changes::encode(collection, id, before, after))
            .transpose()?;
        let old = before
            .map(|document| index_keys(collection, document))
            .unwrap_or_default();
        let new = after
            .map(|document| index_keys(collection, document))
            .unwrap_or_default();
        for key in new.iter().filter(|key| !old.contains(key)) {
            self.check_free(collection, key)?;
        }
        for key in old.iter().filter(|key| !new.contains(key)) {
            self.remove_key(key, id)?;
        }
        for key in new.iter().filter(|key| !old.contains(key)) {
            self.insert_key(key, id)?;
        }
        let documents = &mut self.documents[collection as usize];
        match bytes {
            Some(bytes) => documents.insert(id, bytes.as_bytes()).map(drop),
            None => documents.remove(id).map(drop),
        }
        .map_err(failed)?;
        // Nobody follows who is connected where, and it changes more often than everything else together.
        if let Some(change) = change {
            self.kept.newest += 1;
            self.kept.bytes += change.as_bytes().len() as u64;
            self.feed
                .insert(self.kept.newest, change.as_bytes())
                .map_err(failed)?;
        }
        Ok(())
    }

    fn check_free(&self, collection: Collection, key: &IndexKey<'_>) -> Result<(), Error> {
        let (taken, what) = match *key {
            IndexKey::Token(hashed) => (
                self.tokens.get(hashed).map_err(failed)?.is_some(),
                "login token",
            ),
            IndexKey::Username(name) => (
                self.usernames.get(name).map_err(failed)?.is_some(),
                "username",
            ),
            IndexKey::Member(room, user) => (
                self.members.get((room, user)).map_err(failed)?.is_some(),
                "room and user",
            ),
            IndexKey::History(..) => (false, ""),
        };
        if taken {
            Err(conflict(collection, what))
        } else {
            Ok(())
        }
    }

    fn insert_key(&mut self, key: &IndexKey<'_>, id: &str) -> Result<(), Error> {
        match *key {
            IndexKey::Token(hashed) => self.tokens.insert(hashed, id).map(drop),
            IndexKey::Username(name) => self.usernames.insert(name, id).map(drop),
            IndexKey::Member(room, user) => self
                .members
                .insert((room, user), id)
                .map(drop)
                .and_then(|()| self.joined.insert((user, room), id).map(drop)),
            // Each change of a message has a number of its own in the feed.
            IndexKey::History(room, ms) => self
                .history
                .insert((room, ms, id), ())
                .map(drop)
                .and_then(|()| self.written.insert(id, self.kept.newest).map(drop)),
        }
        .map_err(failed)
    }

    fn remove_key(&mut self, key: &IndexKey<'_>, id: &str) -> Result<(), Error> {
        match *key {
            IndexKey::Token(hashed) => self.tokens.remove(hashed).map(drop),
            IndexKey::Username(name) => self.usernames.remove(name).map(drop),
            IndexKey::Member(room, user) => self
                .members
                .remove((room, user))
                .map(drop)
                .and_then(|()| self.joined.remove((user, room)).map(drop)),
            IndexKey::History(room, ms) => self
                .history
                .remove((room, ms, id))
                .map(drop)
                .and_then(|()| self.written.remove(id).map(drop)),
        }
        .map_err(failed)
    }
}

/// Under what a document can be found besides its id.
#[derive(PartialEq)]
enum IndexKey<'d> {
    Token(&'d str),
    Username(&'d str),
    Member(&'d str, &'d str),
    History(&'d str, i64),
}

fn index_keys(collection: Collection, document: &Document) -> Vec<IndexKey<'_>> {
    match collection {
        Collection::Users => {
            let tokens = apply::login_tokens(document).into_iter().flatten();
            let hashes =
                tokens.filter_map(|token| token.as_document()?.get_str("hashedToken").ok());
            let mut keys: Vec<_> = hashes.map(IndexKey::Token).collect();
            keys.extend(document.get_str("username").ok().map(IndexKey::Username));
            keys
        }
        Collection::Subscriptions => {
            let user = document
                .get_document("u")
                .and_then(|user| user.get_str("_id"));
            match (document.get_str("rid"), user) {
                (Ok(room), Ok(user)) => vec![IndexKey::Member(room, user)],
                _ => Vec::new(),
            }
        }
        Collection::Messages => match (document.get_str("rid"), document.get("ts")) {
            (Ok(room), Some(Bson::DateTime(ts))) => {
                vec![IndexKey::History(room, ts.timestamp_millis())]
            }
            _ => Vec::new(),
        },
        _ => Vec::new(),
    }
}

fn conflict(collection: Collection, what: &str) -> Error {
    Error::new(
        ErrorKind::Conflict,
        format!("{what} in `{}`", collection.name()),
    )
}
