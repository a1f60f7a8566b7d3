//! All permissions in memory (services.md 3.3, 3.6): a few hundred small documents, swapped whole, never pinned for ever.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, PoisonError, RwLock},
};

use backplane::{Bus, CallOptions, ServiceError};
use serde_json::Value;
use store::Store;

use crate::errors::plain;

/// Permission → roles that have it, and role → the only permissions a list with that role may have.
#[derive(Default)]
pub(super) struct Permissions {
    /// `None` until read once: nothing is judged before.
    roles: RwLock<Option<Arc<Sets>>>,
    /// `None` until the licence service has answered; nothing is restricted before, as in the original.
    whitelist: RwLock<Option<Sets>>,
}

/// Of either kind.
#[derive(Clone, Debug, Default)]
struct Sets(HashMap<String, HashSet<String>>);

impl Permissions {
    pub(super) fn is_known(&self) -> bool {
        self.snapshot().is_some()
    }

    pub(super) fn guests_known(&self) -> bool {
        self.whitelist
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .is_some()
    }

    /// Reads everything again; an unreachable store leaves what was known.
    pub(super) async fn read(&self, store: &Store) {
        match store.permissions().await {
            Ok(list) => {
                let map = list
                    .into_iter()
                    .map(|permission| (permission.id, permission.roles.into_iter().collect()))
                    .collect();
                *self.roles.write().unwrap_or_else(PoisonError::into_inner) =
                    Some(Arc::new(Sets(map)));
            }
            Err(error) => tracing::warn!(%error, "cannot read the permissions"),
        }
    }

    /// Asks the licence service what guests may do at most; without an answer it stays unknown and is asked again.
    pub(super) async fn read_guests(&self, bus: &Bus) {
        let Ok(Some(valid)) = bus
            .call("license.hasValidLicense", "[]", CallOptions::default())
            .await
        else {
            return;
        };
        let list = if valid == "true" {
            match bus
                .call("license.getGuestPermissions", "[]", CallOptions::default())
                .await
            {
                Ok(list) => list
                    .and_then(|list| serde_json::from_slice::<Vec<String>>(&list).ok())
                    .unwrap_or_default(),
                Err(_) => return,
            }
        } else {
            Vec::new()
        };
        self.restrict(
            "guest",
            &list.iter().map(String::as_str).collect::<Vec<_>>(),
        );
    }

    /// `authorization.guestPermissions` `[[permission, ..]]`.
    pub(super) fn handle_guests(&self, args: &[u8]) {
        if let Ok((list,)) = serde_json::from_slice::<(Vec<String>,)>(args) {
            self.restrict(
                "guest",
                &list.iter().map(String::as_str).collect::<Vec<_>>(),
            );
        }
    }

    /// Adds to what a list of roles that holds this one may have at most; an empty set does not restrict.
    pub(super) fn restrict(&self, role: &str, permissions: &[&str]) {
        let mut whitelist = self
            .whitelist
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        let set = whitelist
            .get_or_insert_default()
            .0
            .entry(role.to_owned())
            .or_default();
        set.extend(
            permissions
                .iter()
                .map(|permission| (*permission).to_owned()),
        );
    }

    /// Applies `permission.changed`; false if the event does not carry the roles and all must be read again.
    pub(super) fn handle_changed(&self, args: &[u8]) -> bool {
        let Ok(args) = serde_json::from_slice::<Value>(args) else {
            return false;
        };
        let data = &args[0]["data"];
        let (Some(id), Some(roles)) = (data["_id"].as_str(), data["roles"].as_array()) else {
            return false;
        };
        let roles: HashSet<String> = roles
            .iter()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect();
        let mut current = self.roles.write().unwrap_or_else(PoisonError::into_inner);
        let Some(map) = current.as_mut() else {
            return false;
        };
        Arc::make_mut(map).0.insert(id.to_owned(), roles);
        true
    }

    /// Whether this list of roles has the permission.
    ///
    /// # Errors
    /// The permissions have not been read yet.
    pub(super) fn allow(&self, roles: &[String], permission: &str) -> Result<bool, ServiceError> {
        let Some(map) = self.snapshot() else {
            return Err(plain("the permissions are not known yet"));
        };
        if let Some(whitelist) = &*self
            .whitelist
            .read()
            .unwrap_or_else(PoisonError::into_inner)
        {
            let restricted = roles
                .iter()
                .filter_map(|role| whitelist.0.get(role))
                .filter(|set| !set.is_empty());
            if restricted.into_iter().any(|set| !set.contains(permission)) {
                return Ok(false);
            }
        }
        Ok(map
            .0
            .get(permission)
            .is_some_and(|allowed| roles.iter().any(|role| allowed.contains(role))))
    }

    fn snapshot(&self) -> Option<Arc<Sets>> {
        self.roles
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known() -> Permissions {
        let permissions = Permissions::default();
        *permissions.roles.write().unwrap() = Some(Arc::default());
        assert!(permissions.handle_changed(
            br#"[{"clientAction":"inserted","data":{"_id":"create-c","roles":["admin"]}}]"#
        ));
        assert!(permissions.handle_changed(
            br#"[{"clientAction":"inserted","data":{"_id":"view-d-room","roles":["guest"]}}]"#
        ));
        permissions
    }

    fn roles(list: &[&str]) -> Vec<String> {
        list.iter().map(|role| (*role).to_owned()).collect()
    }

    #[test]
    fn nothing_is_judged_before_the_permissions_are_known() {
        assert!(
            Permissions::default()
                .allow(&roles(&["admin"]), "create-c")
                .is_err()
        );
    }

    #[test]
    fn a_guest_who_is_also_admin_stays_within_the_guests_list() {
        let permissions = known();
        assert_eq!(
            permissions.allow(&roles(&["admin", "guest"]), "create-c"),
            Ok(true)
        );
        permissions.handle_guests(br#"[["view-d-room","view-joined-room"]]"#);
        assert_eq!(
            permissions.allow(&roles(&["admin", "guest"]), "create-c"),
            Ok(false)
        );
        assert_eq!(
            permissions.allow(&roles(&["admin", "guest"]), "view-d-room"),
            Ok(true)
        );
        assert_eq!(permissions.allow(&roles(&["admin"]), "create-c"), Ok(true));
    }

    #[test]
    fn unknown_permissions_and_removed_roles_are_denied() {
        let permissions = known();
        assert_eq!(permissions.allow(&roles(&["admin"]), "no-such"), Ok(false));
        permissions.handle_changed(
            br#"[{"clientAction":"removed","data":{"_id":"create-c","roles":[]}}]"#,
        );
        assert_eq!(permissions.allow(&roles(&["admin"]), "create-c"), Ok(false));
        assert!(!permissions.handle_changed(br#"[{"clientAction":"updated"}]"#));
    }
}
