//! Rooms, and who is in them.

use bson::{DateTime, Document, RawBsonRef, RawDocument, doc};

use crate::attributes::{ATTRIBUTES, Attributes};
use crate::collection::Collection;
use crate::edit::{Edit, Update};
use crate::fields::{ROOM_FIELDS, SUBSCRIPTION_FIELDS};
use crate::lookup::Lookup;
use crate::{Error, Store, ejson, raw};

/// What access rules need to know of a room.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Room {
    /// `_id`.
    pub id: String,
    /// `t`: `c` public, `p` private, `d` direct, `l` livechat, `v` voip.
    pub kind: String,
    /// `teamId`. One that is no text becomes a team that does not exist: such a room is its members', not everybody's.
    pub team: Option<String>,
    /// `prid`: the room this discussion belongs to.
    pub parent: Option<String>,
    /// `v.token`: the secret of a livechat visitor.
    pub visitor_token: Option<String>,
    /// Name; direct rooms have none.
    pub name: Option<String>,
    /// Whether attributes decide who may enter: `abacAttributes` is there, and no empty list.
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
        Ok(self
            .find_one(Lookup::Id(Collection::Rooms, id), RULE_FIELDS)
            .await?
            .map(|room| Room::of(&room)))
    }

    /// The rooms with these ids, as far as access rules need them, in no particular order; missing ones are left out.
    pub async fn rooms_by_ids(&self, ids: &[String]) -> Result<Vec<Room>, Error> {
        let rooms = self
            .find(Lookup::Ids(Collection::Rooms, ids), RULE_FIELDS)
            .await?;
        Ok(rooms.iter().map(|room| Room::of(room)).collect())
    }

    /// All rooms.
    pub async fn rooms(&self) -> Result<Vec<Room>, Error> {
        let rooms = self
            .find(Lookup::All(Collection::Rooms), RULE_FIELDS)
            .await?;
        Ok(rooms.iter().map(|room| Room::of(room)).collect())
    }

    /// A room with exactly this name.
    pub async fn room_by_name(&self, name: &str) -> Result<Option<Room>, Error> {
        Ok(self
            .find_one(Lookup::RoomByName(name), RULE_FIELDS)
            .await?
            .map(|room| Room::of(&room)))
    }

    /// The room as clients may see it ([`ROOM_FIELDS`]), as EJSON object text.
    pub async fn room_document(&self, id: &str) -> Result<Option<String>, Error> {
        let room = self
            .find_one(Lookup::Id(Collection::Rooms, id), ROOM_FIELDS)
            .await?;
        room.map(|room| ejson::raw_to_text(&room)).transpose()
    }

    /// The room whole, as EJSON object text, with its type (`t`); for other services of the workspace, never for clients.
    pub async fn stored_room(&self, id: &str) -> Result<Option<(String, String)>, Error> {
        let Some(room) = self
            .find_one(Lookup::Id(Collection::Rooms, id), &[])
            .await?
        else {
            return Ok(None);
        };
        let kind = raw::text(&room, "t").unwrap_or_default();
        Ok(Some((kind, ejson::raw_to_text(&room)?)))
    }

    /// The ids of the rooms a user is in: those of subscriptions without a `status` (services.md 3.8).
    pub async fn rooms_of_user(&self, user: &str) -> Result<Vec<String>, Error> {
        let subscriptions = self
            .find(
                Lookup::SubscriptionsOfUser(user),
                &["rid", "invited", "status"],
            )
            .await?;
        let joined = subscriptions
            .iter()
            .filter(|subscription| is_member(subscription));
        Ok(joined
            .filter_map(|subscription| raw::text(subscription, "rid"))
            .collect())
    }

    /// The rooms of [`rooms_of_user`](Self::rooms_of_user) as clients may see them, as EJSON object texts.
    pub async fn room_documents_of(&self, user: &str) -> Result<Vec<String>, Error> {
        let ids = self.rooms_of_user(user).await?;
        let rooms = self
            .find(Lookup::Ids(Collection::Rooms, &ids), ROOM_FIELDS)
            .await?;
        rooms.iter().map(|room| ejson::raw_to_text(room)).collect()
    }

    /// Which of these rooms a user is in.
    pub async fn rooms_of_user_among(
        &self,
        user: &str,
        rooms: &[String],
    ) -> Result<Vec<String>, Error> {
        let lookup = Lookup::SubscriptionsOfUserIn { user, rooms };
        let found = self.find(lookup, &["rid", "invited", "status"]).await?;
        let joined = found.iter().filter(|subscription| is_member(subscription));
        Ok(joined
            .filter_map(|subscription| raw::text(subscription, "rid"))
            .collect())
    }

    /// Whether a user has been invited to a room and has not answered.
    pub async fn is_invited(&self, room: &str, user: &str) -> Result<bool, Error> {
        let found = self
            .find_one(
                Lookup::SubscriptionOf { room, user },
                &["invited", "status"],
            )
            .await?;
        Ok(
            found.is_some_and(|subscription| match subscription.get("status") {
                Ok(None) => !is_member(&subscription),
                status => matches!(status, Ok(Some(RawBsonRef::String("INVITED")))),
            }),
        )
    }

    /// When attributes were last found to let this member into a room (`abacLastTimeChecked`), in ms since 1970: `None`
    /// for who is no member, `Some(None)` if that never happened.
    pub async fn attributes_checked(
        &self,
        room: &str,
        user: &str,
    ) -> Result<Option<Option<i64>>, Error> {
        let fields = &["invited", "status", CHECKED];
        let found = self
            .find_one(Lookup::SubscriptionOf { room, user }, fields)
            .await?
            .filter(|subscription| is_member(subscription));
        Ok(found.map(|subscription| {
            let checked = subscription.get_datetime(CHECKED);
            checked.ok().map(DateTime::timestamp_millis)
        }))
    }

    /// Notes that attributes let this member into a room at `ms` since 1970.
    pub async fn set_attributes_checked(
        &self,
        room: &str,
        user: &str,
        ms: i64,
    ) -> Result<(), Error> {
        let update = Update::set(doc! { CHECKED: DateTime::from_millis(ms) });
        self.update_subscription(room, user, update).await.map(drop)
    }

    /// The attributes that a user needs for a room; `None` if there is no such room.
    pub async fn room_attributes(&self, id: &str) -> Result<Option<Attributes>, Error> {
        let room = self
            .find_one(Lookup::Id(Collection::Rooms, id), &[ATTRIBUTES])
            .await?;
        Ok(room.map(|room| Attributes::of(&room)))
    }

    /// The subscription of a user in a room; one with a `status` is none (services.md 3.8): an invitation, a ban, and
    /// whatever comes next.
    pub async fn subscription(
        &self,
        room: &str,
        user: &str,
    ) -> Result<Option<Subscription>, Error> {
        let fields = &["roles", "invited", "status"];
        let found = self
            .find_one(Lookup::SubscriptionOf { room, user }, fields)
            .await?;
        Ok(found
            .filter(|subscription| is_member(subscription))
            .map(|subscription| Subscription {
                id: raw::text(&subscription, "_id").unwrap_or_default(),
                room: room.into(),
                user: user.into(),
                roles: raw::texts(&subscription, "roles"),
            }))
    }

    /// A user's subscription in a room as its user may see it ([`SUBSCRIPTION_FIELDS`]), as EJSON object text; one
    /// with a `status` too.
    pub async fn subscription_document(
        &self,
        room: &str,
        user: &str,
    ) -> Result<Option<String>, Error> {
        let subscription = self
            .find_one(Lookup::SubscriptionOf { room, user }, SUBSCRIPTION_FIELDS)
            .await?;
        subscription
            .map(|subscription| ejson::raw_to_text(&subscription))
            .transpose()
    }

    /// All subscriptions of a user, those with a `status` too, as they may see them, as EJSON object texts.
    pub async fn subscription_documents_of(&self, user: &str) -> Result<Vec<String>, Error> {
        let subscriptions = self
            .find(Lookup::SubscriptionsOfUser(user), SUBSCRIPTION_FIELDS)
            .await?;
        subscriptions
            .iter()
            .map(|subscription| ejson::raw_to_text(subscription))
            .collect()
    }

    /// The ids of the users in a room: those whose subscription has no `status`.
    pub async fn members(&self, room: &str) -> Result<Vec<String>, Error> {
        self.members_among(room, None).await
    }

    /// The members among so many of a room's subscriptions, whichever: no more of them are read.
    pub async fn some_members(&self, room: &str, limit: u32) -> Result<Vec<String>, Error> {
        self.members_among(room, Some(limit)).await
    }

    async fn members_among(&self, room: &str, limit: Option<u32>) -> Result<Vec<String>, Error> {
        let lookup = Lookup::SubscriptionsOfRoom { room, limit };
        let subscriptions = self.find(lookup, &["u._id", "invited", "status"]).await?;
        let joined = subscriptions
            .iter()
            .filter(|subscription| is_member(subscription));
        Ok(joined
            .filter_map(|joined| raw::text(joined.get_document("u").ok()?, "_id"))
            .collect())
    }

    /// Adds a room and returns the `_id`, made up if the document has none.
    pub async fn insert_room(&self, document: Document) -> Result<String, Error> {
        self.insert(Collection::Rooms, document).await
    }

    /// Changes a room; whether it exists.
    pub async fn update_room(&self, id: &str, update: Update) -> Result<bool, Error> {
        let edited = self
            .edit(Lookup::Id(Collection::Rooms, id), Edit::Fields(update))
            .await?;
        Ok(edited.found > 0)
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
        let edited = self
            .edit(Lookup::SubscriptionOf { room, user }, Edit::Fields(update))
            .await?;
        Ok(edited.found > 0)
    }

    /// Changes the subscriptions of all users in a room but one (the writer of a message); how many. Several
    /// documents, not atomic.
    pub async fn update_other_subscriptions(
        &self,
        room: &str,
        except: &str,
        update: Update,
    ) -> Result<u64, Error> {
        let lookup = Lookup::SubscriptionsOfRoomExcept { room, user: except };
        Ok(self.edit(lookup, Edit::Fields(update)).await?.found)
    }

    /// Ends the subscription of a user in a room; whether there was one.
    pub async fn remove_subscription(&self, room: &str, user: &str) -> Result<bool, Error> {
        self.remove(Lookup::SubscriptionOf { room, user }).await
    }
}

impl Room {
    /// The team in the place of a `teamId` that is no text: nobody's.
    pub const NO_TEAM: &str = "(no text)";

    fn of(document: &RawDocument) -> Self {
        Self {
            id: raw::text(document, "_id").unwrap_or_default(),
            kind: raw::text(document, "t").unwrap_or_default(),
            team: match document.get("teamId") {
                Ok(None | Some(RawBsonRef::Null | RawBsonRef::String(""))) => None,
                Ok(Some(RawBsonRef::String(team))) => Some(team.to_owned()),
                _ => Some(Self::NO_TEAM.to_owned()),
            },
            parent: raw::text(document, "prid"),
            visitor_token: document
                .get_document("v")
                .ok()
                .and_then(|visitor| raw::text(visitor, "token")),
            name: raw::text(document, "name"),
            has_abac: match document.get(ATTRIBUTES) {
                Ok(None | Some(RawBsonRef::Null)) => false,
                Ok(Some(RawBsonRef::Array(attributes))) => !attributes.is_empty(),
                _ => true,
            },
        }
    }
}

const RULE_FIELDS: &[&str] = &["t", "teamId", "prid", "v.token", "name", ATTRIBUTES];

/// A member is who has a subscription without a `status` (services.md 3.8). Before there was that field, an invitation
/// was marked by `invited`.
fn is_member(subscription: &RawDocument) -> bool {
    ["status", "invited"]
        .into_iter()
        .all(|field| matches!(subscription.get(field), Ok(None)))
}

/// A subscription's time of the last decision by attributes.
const CHECKED: &str = "abacLastTimeChecked";
