//! Conferences, as far as access to them goes.

use bson::RawDocument;

use crate::collection::Collection;
use crate::lookup::Lookup;
use crate::{Error, Store, raw};

/// Who may follow a conference.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Conference {
    /// `_id`.
    pub id: String,
    /// `rid`: the room it was called in.
    pub room: Option<String>,
    /// `discussionRid`: the room of its discussion.
    pub discussion: Option<String>,
    /// `users._id`: who has joined it.
    pub users: Vec<String>,
}

impl Store {
    /// The conference with this id.
    pub async fn conference(&self, id: &str) -> Result<Option<Conference>, Error> {
        let fields = &["rid", "discussionRid", "users._id"];
        let found = self
            .find_one(Lookup::Id(Collection::Conferences, id), fields)
            .await?;
        Ok(found.map(|found| Conference::of(id, &found)))
    }
}

impl Conference {
    fn of(id: &str, document: &RawDocument) -> Self {
        let users = document.get_array("users").ok().into_iter().flatten();
        Self {
            id: id.to_owned(),
            room: raw::name(document, "rid"),
            discussion: raw::name(document, "discussionRid"),
            users: users
                .filter_map(|user| raw::text(user.ok()?.as_document()?, "_id"))
                .collect(),
        }
    }
}
