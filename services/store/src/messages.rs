//! Messages and a room's history.

use bson::Document;

use crate::collection::Collection;
use crate::edit::Update;
use crate::{Error, Store};

impl Store {
    /// Adds a message (`rid`, `ts`, `u`, `msg`, ...) and returns the `_id`, made up if the document has none.
    pub async fn insert_message(&self, document: Document) -> Result<String, Error> {
        self.insert(Collection::Messages, document).await
    }

    /// The message with this id.
    pub async fn message(&self, id: &str) -> Result<Option<Document>, Error> {
        let _ = id;
        todo!()
    }

    /// Changes a message; whether it exists.
    pub async fn update_message(&self, id: &str, update: Update) -> Result<bool, Error> {
        let _ = (id, update);
        todo!()
    }

    /// Deletes a message; whether it existed.
    pub async fn delete_message(&self, id: &str) -> Result<bool, Error> {
        let _ = id;
        todo!()
    }

    /// The newest `limit` messages of a room before a time (ms since 1970; `None`: the newest of all), newest first;
    /// hidden ones are left out.
    pub async fn history(
        &self,
        room: &str,
        before: Option<i64>,
        limit: u32,
    ) -> Result<Vec<Document>, Error> {
        let _ = (room, before, limit);
        todo!()
    }

    /// The first `limit` messages of a room after a time (ms since 1970), oldest first; hidden ones are left out.
    pub async fn messages_after(
        &self,
        room: &str,
        after: i64,
        limit: u32,
    ) -> Result<Vec<Document>, Error> {
        let _ = (room, after, limit);
        todo!()
    }
}
