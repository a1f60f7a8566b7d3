//! Rooms, and who is in them.

use bson::Document;

use crate::collection::Collection;
use crate::edit::Update;
use crate::{Error, Store};

/// What access rules need to know of a room.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Room {
    /// `_id`.
    pub id: String,
    /// `t`: `c` public, `p` private, `d` direct, `l` livechat, `v` voip.
    pub kind: String,
    /// `teamId`.
    pub team: Option<String>,
    /// `prid`: the room this discussion belongs to.
    pub parent: Option<String>,
    /// `v.token`: the secret of a livechat visitor.
    pub visitor_token: Option<String>,
    /// Name; direct rooms have none.
    pub name: Option<String>,
    /// Whether `abacAttributes` is a list that is not empty.
    pub has_abac: bool,
}

/// A user's place in a room.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Subscription {
    /// `_id`.
    pub id: String,
    /// `rid`.
    pub room: String,
    /// `u._id`.
    pub user: String,
    /// Roles in this room.
    pub roles: Vec<String>,
}

impl Store {
    /// The room with this id, as far as access rules need it.
    pub async fn room(&self, id: &str) -> Result<Option<Room>, Error> {
        let _ = id;
        todo!()
    }

    /// A room with exactly this name.
    pub async fn room_by_name(&self, name: &str) -> Result<Option<Room>, Error> {
        let _ = name;
        todo!()
    }

    /// The room as clients may see it ([`ROOM_FIELDS`](crate::ROOM_FIELDS)), as EJSON object text.
    pub async fn room_document(&self, id: &str) -> Result<Option<String>, Error> {
        let _ = id;
        todo!()
    }

    /// The ids of the rooms a user is in; pending invitations do not count.
    pub async fn rooms_of_user(&self, user: &str) -> Result<Vec<String>, Error> {
        let _ = user;
        todo!()
    }

    /// The rooms of [`rooms_of_user`](Self::rooms_of_user) as clients may see them, as EJSON object texts.
    pub async fn room_documents_of(&self, user: &str) -> Result<Vec<String>, Error> {
        let _ = user;
        todo!()
    }

    /// The subscription of a user in a room; a pending invitation is none (services.md 3.8).
    pub async fn subscription(
        &self,
        room: &str,
        user: &str,
    ) -> Result<Option<Subscription>, Error> {
        let _ = (room, user);
        todo!()
    }

    /// A user's subscription in a room as its user may see it ([`SUBSCRIPTION_FIELDS`](crate::SUBSCRIPTION_FIELDS)),
    /// as EJSON object text.
    pub async fn subscription_document(
        &self,
        room: &str,
        user: &str,
    ) -> Result<Option<String>, Error> {
        let _ = (room, user);
        todo!()
    }

    /// All subscriptions of a user as they may see them, as EJSON object texts.
    pub async fn subscription_documents_of(&self, user: &str) -> Result<Vec<String>, Error> {
        let _ = user;
        todo!()
    }

    /// The ids of the users in a room; pending invitations do not count.
    pub async fn members(&self, room: &str) -> Result<Vec<String>, Error> {
        let _ = room;
        todo!()
    }

    /// Adds a room and returns the `_id`, made up if the document has none.
    pub async fn insert_room(&self, document: Document) -> Result<String, Error> {
        self.insert(Collection::Rooms, document).await
    }

    /// Changes a room; whether it exists.
    pub async fn update_room(&self, id: &str, update: Update) -> Result<bool, Error> {
        let _ = (id, update);
        todo!()
    }

    /// Adds a subscription (`rid`, `u._id`, ...) and returns the `_id`; a second one of the same user in the same room
    /// is a conflict.
    pub async fn insert_subscription(&self, document: Document) -> Result<String, Error> {
        self.insert(Collection::Subscriptions, document).await
    }

    /// Changes the subscription of a user in a room; whether it exists.
    pub async fn update_subscription(
        &self,
        room: &str,
        user: &str,
        update: Update,
    ) -> Result<bool, Error> {
        let _ = (room, user, update);
        todo!()
    }

    /// Changes the subscriptions of all users in a room but one (the writer of a message); how many.
    pub async fn update_other_subscriptions(
        &self,
        room: &str,
        except: &str,
        update: Update,
    ) -> Result<u64, Error> {
        let _ = (room, except, update);
        todo!()
    }

    /// Ends the subscription of a user in a room; whether there was one.
    pub async fn remove_subscription(&self, room: &str, user: &str) -> Result<bool, Error> {
        let _ = (room, user);
        todo!()
    }
}
