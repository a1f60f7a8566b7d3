//! Permissions and room access (services.md 3). Unknown means no; a store that does not answer is an error, never a no.

mod permissions;
mod roles;
mod rooms;

use std::{sync::Arc, time::Duration};

use backplane::{Bus, Context, Incoming, Service, ServiceError};
use bytes::Bytes;
use serde_json::json;
use store::Store;
use tokio_util::sync::CancellationToken;

use self::{permissions::Permissions, roles::Roles};
use crate::{
    errors::{plain, unavailable},
    params::Params,
    serve::{Call, Handler, Outcome, serve},
};

/// Requests judged at the same time; more wait on the bus.
const CONCURRENT: usize = 256;
/// How often the permissions are read again, in case an event was missed.
const REREAD_EVERY: Duration = Duration::from_secs(60);
/// How long until the next try of what could not be read at the start.
const RETRY_AFTER: Duration = Duration::from_secs(2);

struct Authorization {
    bus: Bus,
    store: Store,
    permissions: Permissions,
    roles: Roles,
}

/// Serves `authorization` until the shutdown.
pub async fn run(bus: Bus, store: Store, shutdown: CancellationToken) {
    let inbox = bus.announce(Service {
        name: "authorization",
        actions: vec![
            "authorization.hasPermission",
            "authorization.hasAllPermission",
            "authorization.hasAtLeastOnePermission",
            "authorization.canAccessRoom",
            "authorization.canReadRoom",
            "authorization.canAccessRoomId",
            "authorization.canAccessRoomIds",
            "authorization.addRoleRestrictions",
            "authorization.getUsersFromPublicRoles",
            "authorization.hasAnyRole",
        ],
        events: vec![
            "watch.roles",
            "permission.changed",
            "authorization.guestPermissions",
        ],
    });
    let service = Arc::new(Authorization {
        bus,
        store,
        permissions: Permissions::default(),
        roles: Roles::default(),
    });
    tokio::select! {
        () = serve(service.clone(), inbox, "authorization", CONCURRENT, &shutdown) => {}
        () = service.keep_fresh() => {}
    }
}

impl Handler for Authorization {
    async fn handle_call(self: Arc<Self>, call: Call) -> Outcome {
        self.dispatch(call.action, &call.params, &call.context)
            .await
    }

    async fn handle_news(self: Arc<Self>, news: Incoming) {
        match news {
            Incoming::Event(event) => self.handle_event(event.name, &event.args).await,
            // Whatever changed meanwhile was not heard.
            Incoming::Up | Incoming::Gap(_) => {
                self.roles.forget();
                self.permissions.read(&self.store).await;
            }
            _ => {}
        }
    }
}

impl Authorization {
    /// Reads the permissions again and again, and until they are known what the start could not read.
    async fn keep_fresh(&self) {
        let mut reread = tokio::time::interval(REREAD_EVERY);
        let mut retry = tokio::time::interval(RETRY_AFTER);
        loop {
            tokio::select! {
                _ = reread.tick() => self.permissions.read(&self.store).await,
                _ = retry.tick(), if self.is_incomplete() => self.complete().await,
            }
        }
    }

    fn is_incomplete(&self) -> bool {
        !self.permissions.is_known() || !self.permissions.guests_known()
    }

    /// Reads what is still unknown: permissions from the store, the guests' limits from the licence service.
    async fn complete(&self) {
        if !self.permissions.is_known() {
            self.permissions.read(&self.store).await;
        }
        if !self.permissions.guests_known() && self.bus.has_service("license") {
            self.permissions.read_guests(&self.bus).await;
        }
    }

    async fn handle_event(&self, name: &str, args: &[u8]) {
        match name {
            "permission.changed" => {
                self.roles.forget();
                if !self.permissions.handle_changed(args) {
                    self.permissions.read(&self.store).await;
                }
            }
            "watch.roles" => self.roles.forget(),
            _ => self.permissions.handle_guests(args),
        }
    }

    async fn dispatch(&self, action: &str, params: &Params, context: &Context) -> Outcome {
        let scope = params.text(2);
        let verdict = match action {
            "authorization.hasPermission" => {
                self.has(
                    params.user(0),
                    &params.text(1).map_or(vec![], |p| vec![p]),
                    scope,
                    Need::One,
                )
                .await?
            }
            "authorization.hasAllPermission" => {
                self.has(
                    params.user(0),
                    &params.texts(1).unwrap_or_default(),
                    scope,
                    Need::All,
                )
                .await?
            }
            "authorization.hasAtLeastOnePermission" => {
                self.has(
                    params.user(0),
                    &params.texts(1).unwrap_or_default(),
                    scope,
                    Need::One,
                )
                .await?
            }
            "authorization.canAccessRoom" => self.can_access(params, context).await?,
            "authorization.canReadRoom" => self.can_read(params, context).await?,
            "authorization.canAccessRoomId" => {
                self.can_access_id(params.text(0), params.text(1), context)
                    .await?
            }
            "authorization.canAccessRoomIds" => {
                self.can_access_ids(
                    &params.texts(0).unwrap_or_default(),
                    params.user(1),
                    context,
                )
                .await?
            }
            "authorization.hasAnyRole" => {
                self.has_any_role(params.text(0), &params.texts(1).unwrap_or_default(), scope)
                    .await?
            }
            "authorization.addRoleRestrictions" => {
                let (Some(role), Some(list)) = (params.text(0), params.texts(1)) else {
                    return Err(plain("invalid-param"));
                };
                self.permissions.restrict(role, &list);
                return Ok(None);
            }
            "authorization.getUsersFromPublicRoles" => {
                return self.users_from_public_roles().await.map(Some);
            }
            _ => return Err(plain("unknown action")),
        };
        Ok(Some(Bytes::from_static(if verdict {
            b"true"
        } else {
            b"false"
        })))
    }

    /// Whether the user has all, or at least one, of the permissions; nobody has none.
    async fn has(
        &self,
        user: Option<&str>,
        permissions: &[&str],
        scope: Option<&str>,
        need: Need,
    ) -> Result<bool, ServiceError> {
        let Some(user) = user else { return Ok(false) };
        let roles = self
            .roles
            .of(&self.store, user, scope)
            .await
            .map_err(unavailable)?;
        let mut answers = permissions
            .iter()
            .map(|permission| self.permissions.allow(&roles, permission));
        match need {
            Need::All => answers.try_fold(true, |all, answer| Ok(all && answer?)),
            Need::One => answers.try_fold(false, |any, answer| Ok(any || answer?)),
        }
    }

    async fn has_any_role(
        &self,
        user: Option<&str>,
        wanted: &[&str],
        scope: Option<&str>,
    ) -> Result<bool, ServiceError> {
        let Some(user) = user else { return Ok(false) };
        let roles = self.store.roles().await.map_err(unavailable)?;
        // Unknown roles are held by nobody; where a role counts decides whose list is read.
        let (scoped, own): (Vec<_>, Vec<_>) = roles
            .into_iter()
            .filter(|role| wanted.contains(&role.id.as_str()))
            .partition(|role| role.scope == "Subscriptions");
        if !own.is_empty() {
            let held = self
                .store
                .user(user)
                .await
                .map_err(unavailable)?
                .map(|user| user.roles)
                .unwrap_or_default();
            if own.iter().any(|role| held.contains(&role.id)) {
                return Ok(true);
            }
        }
        let Some(room) = scope.filter(|_| !scoped.is_empty()) else {
            return Ok(false);
        };
        let held = self
            .store
            .subscription(room, user)
            .await
            .map_err(unavailable)?
            .map(|s| s.roles)
            .unwrap_or_default();
        Ok(scoped.iter().any(|role| held.contains(&role.id)))
    }

    async fn users_from_public_roles(&self) -> Result<Bytes, ServiceError> {
        let roles = self.store.roles().await.map_err(unavailable)?;
        let public: Vec<String> = roles
            .into_iter()
            .filter(|role| role.scope == "Users" && !role.description.is_empty())
            .map(|role| role.id)
            .collect();
        let users = self
            .store
            .users_with_roles(&public)
            .await
            .map_err(unavailable)?;
        let list: Vec<_> = users
            .into_iter()
            .map(|user| {
                let roles: Vec<_> = user
                    .roles
                    .into_iter()
                    .filter(|role| public.contains(role))
                    .collect();
                json!({ "_id": user.id, "username": user.username, "roles": roles })
            })
            .collect();
        Ok(serde_json::Value::from(list).to_string().into())
    }
}

/// How many of the permissions are needed.
#[derive(Clone, Copy)]
enum Need {
    All,
    One,
}
