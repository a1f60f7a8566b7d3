//! What questions need of the database, found by id: gathered, so that many questions at once cost few reads.

use backplane::ServiceError;
use store::{Room, Store, bson::Bson};

use crate::gather::Gather;

/// Read for every question, and remembered for none. Subscriptions are not among these: MongoDB would find many pairs of
/// room and user only by a condition for each, and every question has its own.
pub(super) struct Reads {
    roles: Gather<String, Vec<String>>,
    rooms: Gather<String, Room>,
    settings: Gather<String, Bson>,
}

impl Reads {
    pub(super) fn new(store: &Store) -> Self {
        let (users, rooms, settings) = (store.clone(), store.clone(), store.clone());
        Self {
            roles: Gather::new(move |ids: Vec<String>| {
                let users = users.clone();
                async move { users.roles_of_users(&ids).await }
            }),
            rooms: Gather::new(move |ids: Vec<String>| {
                let rooms = rooms.clone();
                async move {
                    let rooms = rooms.rooms_by_ids(&ids).await?.into_iter();
                    Ok(rooms.map(|room| (room.id.clone(), room)).collect())
                }
            }),
            settings: Gather::new(move |ids: Vec<String>| {
                let settings = settings.clone();
                async move { settings.setting_values(&ids).await }
            }),
        }
    }

    /// The workspace roles of a user; `None` if there is no such user.
    pub(super) async fn roles(&self, user: &str) -> Result<Option<Vec<String>>, ServiceError> {
        self.roles.find(user.to_owned()).await
    }

    pub(super) async fn room(&self, id: &str) -> Result<Option<Room>, ServiceError> {
        self.rooms.find(id.to_owned()).await
    }

    pub(super) async fn setting(&self, id: &str) -> Result<Option<Bson>, ServiceError> {
        self.settings.find(id.to_owned()).await
    }

    /// Whether a setting is `true`.
    pub(super) async fn is_on(&self, setting: &str) -> Result<bool, ServiceError> {
        Ok(self.setting(setting).await? == Some(Bson::Boolean(true)))
    }
}
