//! Permissions and room access (services.md 3). Unknown means no; a store that does not answer is an error, never a no.
//!
//! What is remembered is what events keep true: the permissions (`permissions`) and the guests' limits (`restrictions`).
//! Roles, memberships, teams, rooms and settings are read for every question (`person`), those of many questions together
//! (`reads`), so no answer rests on what somebody has lost.

mod abac;
mod omnichannel;
mod permissions;
mod person;
mod question;
mod reads;
mod restrictions;
mod roles;
mod rooms;

use std::{sync::Arc, time::Duration};

use backplane::{Bus, Context, Incoming, Service, ServiceError};
use bytes::Bytes;
use store::Store;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use self::{
    abac::Abac,
    permissions::Permissions,
    question::{Asker, Need, Question},
    reads::Reads,
    restrictions::Restrictions,
};
use crate::{
    errors::unavailable,
    serve::{Call, Handler, Outcome, serve},
};

/// Settings of the authorization service.
#[derive(Clone, Debug)]
pub struct Config {
    /// Offers the service `abac` too, as the original does; without it the one of another node is asked.
    pub hosts_abac: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self { hosts_abac: true }
    }
}

struct Authorization {
    bus: Bus,
    store: Store,
    reads: Arc<Reads>,
    abac: Arc<Abac>,
    permissions: Permissions,
    restrictions: Restrictions,
    /// The licence may have changed.
    license_changed: Notify,
}

/// Serves `authorization` until the shutdown, and `abac` if the configuration says so.
pub async fn run(bus: Bus, store: Store, config: Config, shutdown: CancellationToken) {
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
            "authorization.canAccessConference",
            "authorization.addRoleRestrictions",
            "authorization.getUsersFromPublicRoles",
            "authorization.hasAnyRole",
        ],
        events: vec![
            "watch.roles",
            "permission.changed",
            "authorization.guestPermissions",
            "license.module",
        ],
    });
    let abac_inbox = config.hosts_abac.then(|| {
        bus.announce(Service {
            name: "abac",
            actions: abac::ACTIONS.to_vec(),
            events: vec![],
        })
    });
    let reads = Arc::new(Reads::new(&store));
    let abac = Arc::new(Abac {
        bus: bus.clone(),
        store: store.clone(),
        reads: reads.clone(),
        is_hosted: config.hosts_abac,
    });
    let authorization = Arc::new(Authorization {
        bus,
        store,
        reads,
        abac: abac.clone(),
        permissions: Permissions::default(),
        restrictions: Restrictions::default(),
        license_changed: Notify::new(),
    });
    let serving = async {
        let abac = async {
            if let Some(inbox) = abac_inbox {
                serve(abac, inbox, "abac", CONCURRENT, &shutdown).await;
            }
        };
        let us = authorization.clone();
        tokio::join!(
            serve(us, inbox, "authorization", CONCURRENT, &shutdown),
            abac
        );
    };
    tokio::select! {
        () = serving => {}
        () = authorization.keep_permissions_fresh() => {}
        () = authorization.keep_restrictions_fresh() => {}
    }
}

impl Handler for Authorization {
    async fn handle_call(self: Arc<Self>, call: Call) -> Outcome {
        let question = Question::parse(call.action, &call.params)?;
        self.answer(question, &call.context).await
    }

    fn handle_news(self: Arc<Self>, news: Incoming) -> impl Future<Output = ()> + Send + 'static {
        match news {
            Incoming::Event(event) => match event.name {
                "permission.changed" => self.permissions.handle_changed(event.args.as_bytes()),
                "watch.roles" => self.permissions.forget(),
                "authorization.guestPermissions" => {
                    self.restrictions.handle_guests(event.args.as_bytes())
                }
                _ => self.license_changed.notify_one(),
            },
            // Whatever changed meanwhile was not heard.
            Incoming::Up | Incoming::Gap(_) => {
                self.permissions.forget();
                self.license_changed.notify_one();
            }
            // It may bring the licence service.
            Incoming::NodeUp(_) => self.license_changed.notify_one(),
            _ => {}
        }
        std::future::ready(())
    }
}

impl Authorization {
    async fn answer(&self, question: Question, context: &Context) -> Outcome {
        let verdict = match question {
            Question::Permission {
                user,
                permissions,
                scope,
                need,
            } => {
                let Some(user) = user else { return no() };
                let roles = self.roles_of(user, scope.as_deref()).await?;
                let permissions: Vec<&str> = permissions.iter().map(String::as_str).collect();
                self.has(&roles, &permissions, need).await?
            }
            Question::Room(asked) => self.can_access(asked, context).await?,
            Question::ReadRoom(asked) => self.can_read(asked, context).await?,
            Question::RoomId { room, user } => {
                let Some(room) = room else { return no() };
                self.can_access_id(&room, user.as_deref(), context).await?
            }
            Question::RoomIds { rooms, user } => {
                self.can_access_ids(rooms, user.as_deref(), context).await?
            }
            Question::Conference {
                rooms,
                members,
                user,
            } => {
                self.can_access_conference(&rooms, &members, user.as_deref(), context)
                    .await?
            }
            Question::AnyRole { user, roles, scope } => {
                let Some(user) = user else { return no() };
                self.has_any_role(user, &roles, scope.as_deref()).await?
            }
            Question::Restrict { role, permissions } => {
                return self.restrictions.add(&role, permissions).map(|()| None);
            }
            Question::PublicRoles => return self.users_from_public_roles().await.map(Some),
        };
        Ok(Some(Bytes::from_static(if verdict {
            b"true"
        } else {
            b"false"
        })))
    }

    /// Whether a list of roles has all, or at least one, of the permissions.
    async fn has(
        &self,
        roles: &[String],
        permissions: &[&str],
        need: Need,
    ) -> Result<bool, ServiceError> {
        let decisive = matches!(need, Need::One);
        for permission in permissions {
            let has = !self.restrictions.forbid(roles, permission)
                && self
                    .permissions
                    .allow(&self.store, roles, permission)
                    .await?;
            if has == decisive {
                return Ok(decisive);
            }
        }
        Ok(!decisive)
    }

    /// A user's roles, and those of the subscription where a room is given.
    async fn roles_of(
        &self,
        user: Asker,
        scope: Option<&str>,
    ) -> Result<Vec<String>, ServiceError> {
        let (own, scoped) = tokio::join!(
            async {
                match user.roles {
                    Some(roles) => Ok(Some(roles)),
                    None => self.reads.roles(&user.id).await,
                }
            },
            async {
                match scope {
                    Some(room) => self.store.subscription(room, &user.id).await,
                    None => Ok(None),
                }
            }
        );
        let mut roles = own?.unwrap_or_default();
        roles.extend(
            scoped
                .map_err(unavailable)?
                .into_iter()
                .flat_map(|of| of.roles),
        );
        Ok(roles)
    }

    /// Reads the permissions now and then, in case an event was missed.
    async fn keep_permissions_fresh(&self) {
        loop {
            self.permissions.refresh(&self.store).await;
            tokio::time::sleep(AGAIN_AFTER).await;
        }
    }

    /// Asks for the guests' limits until they are known, and again whenever the licence may have become valid.
    async fn keep_restrictions_fresh(&self) {
        loop {
            let changed = self.license_changed.notified();
            let answered =
                self.bus.has_service("license") && self.restrictions.ask(&self.bus).await;
            let pause = if answered { AGAIN_AFTER } else { RETRY_AFTER };
            let _ = tokio::time::timeout(pause, changed).await;
        }
    }
}

fn no() -> Outcome {
    Ok(Some(Bytes::from_static(b"false")))
}

/// Questions of one service under way at the same time; more wait.
const CONCURRENT: usize = 256;
/// How often what events keep true is read again.
const AGAIN_AFTER: Duration = Duration::from_secs(60);
/// How long until the next try of what did not work.
const RETRY_AFTER: Duration = Duration::from_secs(2);
