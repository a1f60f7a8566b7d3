//! Who holds a role (services.md 3.11, 3.12).

use backplane::ServiceError;
use bytes::Bytes;
use serde_json::{Map, Value};

use super::{Authorization, question::Asker};
use crate::errors::unavailable;

impl Authorization {
    /// Whether somebody holds one of these roles: one query for the roles, one for each place where they count.
    pub(super) async fn has_any_role(
        &self,
        user: Asker,
        wanted: &[String],
        scope: Option<&str>,
    ) -> Result<bool, ServiceError> {
        let roles = self.store.roles_by_ids(wanted).await.map_err(unavailable)?;
        // Unknown roles are held by nobody; where a role counts decides whose list is read.
        let (scoped, own): (Vec<_>, Vec<_>) = roles
            .into_iter()
            .partition(|role| role.scope == "Subscriptions");
        let id = user.id.clone();
        let (held, held_here) = tokio::join!(
            async {
                if own.is_empty() {
                    return Ok(Vec::new());
                }
                self.roles_of(user, None).await
            },
            async {
                match scope.filter(|_| !scoped.is_empty()) {
                    Some(room) => self.store.subscription(room, &id).await,
                    None => Ok(None),
                }
            }
        );
        let held = held?;
        if own.iter().any(|role| held.contains(&role.id)) {
            return Ok(true);
        }
        let held = held_here
            .map_err(unavailable)?
            .map(|of| of.roles)
            .unwrap_or_default();
        Ok(scoped.iter().any(|role| held.contains(&role.id)))
    }

    /// `[{_id, username, roles}]` of everybody with a role that is shown to users, cut to these roles.
    pub(super) async fn users_from_public_roles(&self) -> Result<Bytes, ServiceError> {
        let roles = self.store.roles().await.map_err(unavailable)?;
        let public: Vec<String> = roles
            .into_iter()
            .filter(|role| role.scope == "Users" && !role.description.is_empty())
            .map(|role| role.id)
            .collect();
        if public.is_empty() {
            return Ok(Bytes::from_static(b"[]"));
        }
        let users = self
            .store
            .users_with_roles(&public)
            .await
            .map_err(unavailable)?;
        let list = users.into_iter().map(|user| {
            let mut roles = user.roles;
            roles.retain(|role| public.contains(role));
            let mut shown = Map::new();
            shown.insert("_id".to_owned(), user.id.into());
            shown.extend(
                user.username
                    .map(|name| ("username".to_owned(), name.into())),
            );
            shown.insert("roles".to_owned(), roles.into());
            Value::Object(shown)
        });
        Ok(Value::from_iter(list).to_string().into())
    }
}
