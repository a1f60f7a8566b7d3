//! Messages and a room's history.

use bson::{DateTime, Document};

use crate::collection::Collection;
use crate::edit::{Edit, Update};
use crate::lookup::Lookup;
use crate::{Error, Store, raw};

impl Store {
    /// Adds a message (`rid`, `ts`, `u`, `msg`, ...) and returns the `_id`, made up if the document has none.
    pub async fn insert_message(&self, document: Document) -> Result<String, Error> {
        self.insert(Collection::Messages, document).await
    }

    /// The message with this id.
    pub async fn message(&self, id: &str) -> Result<Option<Document>, Error> {
        let message = self
            .find_one(Lookup::Id(Collection::Messages, id), &[])
            .await?;
        message.map(|message| raw::document(&message)).transpose()
    }

    /// Changes a message; whether it exists.
    pub async fn update_message(&self, id: &str, update: Update) -> Result<bool, Error> {
        let edited = self
            .edit(Lookup::Id(Collection::Messages, id), Edit::Fields(update))
            .await?;
        Ok(edited.found > 0)
    }

    /// Deletes a message; whether it existed.
    pub async fn delete_message(&self, id: &str) -> Result<bool, Error> {
        self.remove(Lookup::Id(Collection::Messages, id)).await
    }

    /// The newest `limit` messages of a room before a time (ms since 1970; `None`: the newest of all), newest first;
    /// hidden ones are left out. Embedded, those of one millisecond come in the order of writing; MongoDB does not say.
    pub async fn history(
        &self,
        room: &str,
        before: Option<i64>,
        limit: u32,
    ) -> Result<Vec<Document>, Error> {
        let before = before.map(DateTime::from_millis);
        self.messages(
            Lookup::MessagesBefore {
                room,
                before,
                limit,
            },
            limit,
        )
        .await
    }

    /// The first `limit` messages of a room after a time (ms since 1970), oldest first; hidden ones are left out.
    pub async fn messages_after(
        &self,
        room: &str,
        after: i64,
        limit: u32,
    ) -> Result<Vec<Document>, Error> {
        let after = DateTime::from_millis(after);
        self.messages(Lookup::MessagesAfter { room, after, limit }, limit)
            .await
    }

    async fn messages(&self, lookup: Lookup<'_>, limit: u32) -> Result<Vec<Document>, Error> {
        // To MongoDB a limit of 0 means none.
        if limit == 0 {
            return Ok(Vec::new());
        }
        self.find(lookup, &[])
            .await?
            .iter()
            .map(|message| raw::document(message))
            .collect()
    }
}
