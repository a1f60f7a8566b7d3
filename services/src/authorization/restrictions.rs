//! The most that somebody with a certain role may do, whatever else they are: guests (services.md 3.6).

use std::{
    collections::{HashMap, HashSet},
    sync::{PoisonError, RwLock},
};

use backplane::{Bus, CallOptions, ServiceError};

use crate::{errors::plain, license};

/// Role → the only permissions that a list with this role may have. Nothing is ever taken out, and a role without
/// permissions does not restrict.
#[derive(Default)]
pub(super) struct Restrictions(RwLock<HashMap<String, HashSet<String>>>);

impl Restrictions {
    /// Whether one of these roles keeps its holders from the permission.
    pub(super) fn forbid(&self, roles: &[String], permission: &str) -> bool {
        let restrictions = self.0.read().unwrap_or_else(PoisonError::into_inner);
        roles
            .iter()
            .filter_map(|role| restrictions.get(role))
            .any(|allowed| !allowed.is_empty() && !allowed.contains(permission))
    }

    /// # Errors
    /// More than could be meant.
    pub(super) fn add(&self, role: &str, permissions: Vec<String>) -> Result<(), ServiceError> {
        let mut restrictions = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let held = restrictions.get(role).map_or(0, HashSet::len);
        if held + permissions.len() > PERMISSIONS_MAX || restrictions.len() >= ROLES_MAX {
            tracing::warn!(role, "too many restrictions");
            return Err(plain("too many restrictions"));
        }
        restrictions
            .entry(role.to_owned())
            .or_default()
            .extend(permissions);
        Ok(())
    }

    /// Asks the licence service what guests may do at most; whether it has answered. Nothing is restricted before, as in
    /// the original, and nothing where there is no licence.
    pub(super) async fn ask(&self, bus: &Bus) -> bool {
        match license::is_valid(bus, None).await {
            Ok(true) => {}
            Ok(false) => return true,
            Err(error) => {
                tracing::debug!(%error, "the licence is not known");
                return false;
            }
        }
        let action = "license.getGuestPermissions";
        let answer = match bus.call(action, "[]", CallOptions::default()).await {
            Ok(answer) => answer.unwrap_or_default(),
            Err(error) => {
                tracing::debug!(%error, "the guests' permissions are not known");
                return false;
            }
        };
        match crate::json::read(&answer) {
            // What is wrong with them has been said.
            Ok(permissions) => drop(self.add(GUEST, permissions)),
            Err(error) => tracing::warn!(%error, "the guests' permissions make no sense"),
        }
        true
    }

    /// `authorization.guestPermissions` `[[permission, ..]]`.
    pub(super) fn handle_guests(&self, args: &[u8]) {
        if let Ok((permissions,)) = crate::json::read::<(Vec<String>,)>(args) {
            let _ = self.add(GUEST, permissions);
        }
    }
}

const GUEST: &str = "guest";
/// Far more than a workspace has.
const ROLES_MAX: usize = 1_000;
const PERMISSIONS_MAX: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn roles(list: &[&str]) -> Vec<String> {
        list.iter().map(|role| (*role).to_owned()).collect()
    }

    #[test]
    fn a_guest_who_is_also_admin_stays_within_the_guests_list() {
        let restrictions = Restrictions::default();
        restrictions.handle_guests(br#"[["view-d-room"]]"#);
        let guest = roles(&["guest", "admin"]);
        assert!(restrictions.forbid(&guest, "create-c"));
        assert!(!restrictions.forbid(&guest, "view-d-room"));
        assert!(!restrictions.forbid(&roles(&["admin"]), "create-c"));

        restrictions.handle_guests(br#"[["create-c"]]"#);
        assert!(!restrictions.forbid(&guest, "create-c"), "lists add up");
    }

    #[test]
    fn there_is_an_end_to_what_is_remembered() {
        let restrictions = Restrictions::default();
        let list = |count| (0..count).map(|number| format!("p{number}")).collect();
        assert_eq!(restrictions.add("guest", list(PERMISSIONS_MAX)), Ok(()));
        assert!(restrictions.add("guest", list(1)).is_err());
        for number in 1..ROLES_MAX {
            assert_eq!(restrictions.add(&number.to_string(), list(1)), Ok(()));
        }
        assert!(restrictions.add("one more", list(1)).is_err());
    }

    #[test]
    fn an_empty_list_does_not_restrict_and_nonsense_changes_nothing() {
        let restrictions = Restrictions::default();
        for event in ["[[]]", "[[1]]", "[{}]", "[", "[null]"] {
            restrictions.handle_guests(event.as_bytes());
            assert!(
                !restrictions.forbid(&roles(&["guest"]), "create-c"),
                "{event}"
            );
        }
    }
}
