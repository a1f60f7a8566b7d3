//! Which roles have which permission: all of it in memory (services.md 3.3), a few hundred small documents.

use std::collections::{HashMap, HashSet};

use backplane::ServiceError;
use serde_json::Value;
use store::{Error, Store};

use crate::known::Known;

#[derive(Default)]
pub(super) struct Permissions {
    known: Known<Sets>,
}

/// Permission → roles that have it.
type Sets = HashMap<String, HashSet<String>>;

impl Permissions {
    /// Whether one of these roles has the permission.
    ///
    /// # Errors
    /// The permissions cannot be read: nobody has any before, and nobody lacks any.
    pub(super) async fn allow(
        &self,
        store: &Store,
        roles: &[String],
        permission: &str,
    ) -> Result<bool, ServiceError> {
        let sets = self.known.get_or_read(|| read(store)).await?;
        let allowed = sets.get(permission);
        Ok(allowed.is_some_and(|allowed| roles.iter().any(|role| allowed.contains(role))))
    }

    /// Reads everything again, in case an event was missed.
    pub(super) async fn refresh(&self, store: &Store) {
        self.known.refresh(read(store)).await;
    }

    /// Something is different and nobody says what.
    pub(super) fn forget(&self) {
        self.known.forget();
    }

    /// `permission.changed` `[{clientAction, data: {_id, roles}}]`; what does not say which roles are left makes
    /// everything doubtful.
    pub(super) fn handle_changed(&self, args: &[u8]) {
        let Some((id, roles)) = changed(args) else {
            return self.known.forget();
        };
        self.known.change(|sets| {
            sets.insert(id, roles);
        });
    }
}

async fn read(store: &Store) -> Result<Sets, Error> {
    let list = store.permissions().await?.into_iter();
    Ok(list
        .map(|permission| (permission.id, permission.roles.into_iter().collect()))
        .collect())
}

/// The permission of an event, and who has it now.
fn changed(args: &[u8]) -> Option<(String, HashSet<String>)> {
    let args: Value = crate::json::read(args).ok()?;
    let (action, data) = (args[0]["clientAction"].as_str()?, &args[0]["data"]);
    let id = data["_id"].as_str()?.to_owned();
    if action == "removed" {
        // Whatever roles it still names.
        return Some((id, HashSet::new()));
    }
    let roles = data["roles"].as_array()?.iter();
    Some((
        id,
        roles.filter_map(Value::as_str).map(str::to_owned).collect(),
    ))
}

#[cfg(test)]
mod tests {
    use store::bson::doc;

    use super::*;

    async fn store() -> Store {
        let store = Store::embedded(None).unwrap();
        for (id, roles) in [
            ("create-c", vec!["admin", "guest"]),
            ("view-d-room", vec!["guest"]),
        ] {
            let permission = doc! { "_id": id, "roles": roles };
            store.insert_permission(permission).await.unwrap();
        }
        store
    }

    async fn admin_may(permissions: &Permissions, store: &Store) -> bool {
        let roles = ["admin".to_owned()];
        permissions.allow(store, &roles, "create-c").await.unwrap()
    }

    #[tokio::test]
    async fn a_permission_belongs_to_the_roles_it_names() {
        let (permissions, store) = (Permissions::default(), store().await);
        for (roles, permission, expected) in [
            (vec!["admin"], "create-c", true),
            (vec!["user", "admin"], "create-c", true),
            (vec!["user"], "create-c", false),
            (vec![], "create-c", false),
            (vec!["admin"], "no-such", false),
        ] {
            let roles: Vec<String> = roles.into_iter().map(str::to_owned).collect();
            let answer = permissions.allow(&store, &roles, permission).await;
            assert_eq!(answer, Ok(expected), "{roles:?} {permission}");
        }
    }

    #[tokio::test]
    async fn an_event_that_says_who_is_left_is_applied_at_once() {
        let (permissions, store) = (Permissions::default(), store().await);
        assert!(admin_may(&permissions, &store).await);
        for (event, expected) in [
            (
                r#"[{"clientAction":"updated","data":{"_id":"create-c","roles":["user"]}}]"#,
                false,
            ),
            (
                r#"[{"clientAction":"inserted","data":{"_id":"create-c","roles":["admin",7]}}]"#,
                true,
            ),
            // It goes, even if the event still names its roles.
            (
                r#"[{"clientAction":"removed","data":{"_id":"create-c","roles":["admin"]}}]"#,
                false,
            ),
            (
                r#"[{"clientAction":"changed","data":{"_id":"create-c","roles":["admin"]}}]"#,
                true,
            ),
        ] {
            permissions.handle_changed(event.as_bytes());
            assert_eq!(admin_may(&permissions, &store).await, expected, "{event}");
        }
    }

    #[tokio::test]
    async fn an_event_that_says_less_makes_everything_be_read_again() {
        let (permissions, store) = (Permissions::default(), store().await);
        for event in [
            r#"[{"clientAction":"updated","data":{"_id":"create-c"}}]"#,
            r#"[{"clientAction":"updated"}]"#,
            r#"[{"data":{"_id":"create-c","roles":["user"]}}]"#,
            "[]",
            "[",
        ] {
            // The memory is made to differ from the database, which an unreadable event must set right.
            let wrong =
                br#"[{"clientAction":"updated","data":{"_id":"create-c","roles":["user"]}}]"#;
            admin_may(&permissions, &store).await;
            permissions.handle_changed(wrong);
            assert!(!admin_may(&permissions, &store).await);
            permissions.handle_changed(event.as_bytes());
            assert!(admin_may(&permissions, &store).await, "{event}");
        }
    }
}
