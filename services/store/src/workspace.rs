//! Settings, permissions, roles and teams.

use bson::{Bson, Document};

use crate::collection::Collection;
use crate::{Error, Store};

/// A permission and the roles that have it.
#[derive(Clone, Debug, PartialEq)]
pub struct Permission {
    /// `_id`, such as `view-c-room`.
    pub id: String,
    /// Ids of roles.
    pub roles: Vec<String>,
}

/// A role.
#[derive(Clone, Debug, PartialEq)]
pub struct Role {
    /// `_id`.
    pub id: String,
    /// `Users` or `Subscriptions`.
    pub scope: String,
    /// Shown to users; empty for most.
    pub description: String,
}

impl Store {
    /// The value of a setting; `None` if the setting or its value does not exist.
    pub async fn setting(&self, id: &str) -> Result<Option<Bson>, Error> {
        let _ = id;
        todo!()
    }

    /// All settings as stored, secret ones too.
    pub async fn settings(&self) -> Result<Vec<Document>, Error> {
        todo!()
    }

    /// Changes the value of a setting; whether the setting exists.
    pub async fn set_setting(&self, id: &str, value: Bson) -> Result<bool, Error> {
        let _ = (id, value);
        todo!()
    }

    /// All permissions (a few hundred).
    pub async fn permissions(&self) -> Result<Vec<Permission>, Error> {
        todo!()
    }

    /// All roles.
    pub async fn roles(&self) -> Result<Vec<Role>, Error> {
        todo!()
    }

    /// The `type` of a team: 0 public, 1 private; `None` if there is no such team.
    pub async fn team_kind(&self, id: &str) -> Result<Option<i32>, Error> {
        let _ = id;
        todo!()
    }

    /// Whether a user belongs to a team.
    pub async fn is_team_member(&self, team: &str, user: &str) -> Result<bool, Error> {
        let _ = (team, user);
        todo!()
    }

    /// The newest server version the monolith has recorded; `None` where none ever ran.
    pub async fn server_version(&self) -> Result<Option<String>, Error> {
        todo!()
    }

    /// Adds a setting (`_id`, `value`, `type`, `public`, ...) and returns its id.
    pub async fn insert_setting(&self, document: Document) -> Result<String, Error> {
        self.insert(Collection::Settings, document).await
    }

    /// Adds a permission (`_id`, `roles`) and returns its id.
    pub async fn insert_permission(&self, document: Document) -> Result<String, Error> {
        self.insert(Collection::Permissions, document).await
    }

    /// Adds a role (`_id`, `name`, `scope`, `description`) and returns its id.
    pub async fn insert_role(&self, document: Document) -> Result<String, Error> {
        self.insert(Collection::Roles, document).await
    }

    /// Adds a team (`_id`, `type`, `roomId`, `name`) and returns its id.
    pub async fn insert_team(&self, document: Document) -> Result<String, Error> {
        self.insert(Collection::Teams, document).await
    }

    /// Adds a team member (`teamId`, `userId`, `roles`) and returns the id.
    pub async fn insert_team_member(&self, document: Document) -> Result<String, Error> {
        self.insert(Collection::TeamMembers, document).await
    }
}
