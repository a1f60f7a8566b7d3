//! Settings, permissions, roles and teams.

use std::collections::HashMap;

use bson::{Bson, Document, RawBsonRef, RawDocument, RawDocumentBuf, doc};

use crate::collection::Collection;
use crate::edit::{Edit, Update};
use crate::lookup::Lookup;
use crate::{Error, Store, raw};

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
        let Some(setting) = self
            .find_one(Lookup::Id(Collection::Settings, id), &["value"])
            .await?
        else {
            return Ok(None);
        };
        Ok(raw::document(&setting)?.remove("value"))
    }

    /// The values of those of these settings that exist and have one, by id.
    pub async fn setting_values(&self, ids: &[String]) -> Result<HashMap<String, Bson>, Error> {
        let mut values = HashMap::new();
        for setting in self
            .find(Lookup::Ids(Collection::Settings, ids), &["value"])
            .await?
        {
            let id = raw::text(&setting, "_id");
            let value = raw::document(&setting)?.remove("value");
            values.extend(id.zip(value));
        }
        Ok(values)
    }

    /// All settings as stored, secret ones too.
    pub async fn settings(&self) -> Result<Vec<Document>, Error> {
        let settings = self.find(Lookup::All(Collection::Settings), &[]).await?;
        settings
            .iter()
            .map(|setting| raw::document(setting))
            .collect()
    }

    /// Changes the value of a setting; whether the setting exists.
    pub async fn set_setting(&self, id: &str, value: Bson) -> Result<bool, Error> {
        let update = Update::set(doc! { "value": value });
        let edited = self
            .edit(Lookup::Id(Collection::Settings, id), Edit::Fields(update))
            .await?;
        Ok(edited.found > 0)
    }

    /// All permissions (a few hundred).
    pub async fn permissions(&self) -> Result<Vec<Permission>, Error> {
        let permissions = self
            .find(Lookup::All(Collection::Permissions), &["roles"])
            .await?;
        let permission = |permission: &RawDocumentBuf| Permission {
            id: raw::text(permission, "_id").unwrap_or_default(),
            roles: raw::texts(permission, "roles"),
        };
        Ok(permissions.iter().map(permission).collect())
    }

    /// All roles.
    pub async fn roles(&self) -> Result<Vec<Role>, Error> {
        let roles = self
            .find(Lookup::All(Collection::Roles), ROLE_FIELDS)
            .await?;
        Ok(roles.iter().map(|role| Role::of(role)).collect())
    }

    /// The roles with these ids, in no particular order; missing ones are left out.
    pub async fn roles_by_ids(&self, ids: &[String]) -> Result<Vec<Role>, Error> {
        let roles = self
            .find(Lookup::Ids(Collection::Roles, ids), ROLE_FIELDS)
            .await?;
        Ok(roles.iter().map(|role| Role::of(role)).collect())
    }

    /// The `type` of a team: 0 public, 1 private; `None` if there is no such team.
    pub async fn team_kind(&self, id: &str) -> Result<Option<i32>, Error> {
        let team = self
            .find_one(Lookup::Id(Collection::Teams, id), &["type"])
            .await?;
        // A team without a usable `type` counts as private.
        Ok(team.map(|team| match team.get("type") {
            Ok(Some(RawBsonRef::Int32(kind))) => kind,
            Ok(Some(RawBsonRef::Int64(0))) => 0,
            Ok(Some(RawBsonRef::Double(0.0))) => 0,
            _ => 1,
        }))
    }

    /// Whether a user belongs to a team.
    pub async fn is_team_member(&self, team: &str, user: &str) -> Result<bool, Error> {
        Ok(self
            .find_one(Lookup::TeamMember { team, user }, &["_id"])
            .await?
            .is_some())
    }

    /// The newest server version the monolith has recorded; `None` where none ever ran.
    pub async fn server_version(&self) -> Result<Option<String>, Error> {
        let newest = self
            .find_one(Lookup::NewestStatistics, &["version"])
            .await?;
        Ok(newest.and_then(|statistics| raw::text(&statistics, "version")))
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

impl Role {
    fn of(role: &RawDocument) -> Self {
        Self {
            id: raw::text(role, "_id").unwrap_or_default(),
            scope: raw::text(role, "scope").unwrap_or_default(),
            description: raw::text(role, "description").unwrap_or_default(),
        }
    }
}

const ROLE_FIELDS: &[&str] = &["scope", "description"];
