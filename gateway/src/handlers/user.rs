//! What is heard of users: deactivation, roles, tokens that vanished, forced logouts. And of roles themselves.

use std::{borrow::Cow, rc::Rc, sync::Arc, time::Duration};

use protocol::{close::CloseReason, ddp::ejson};

use super::core::{Core, now};
use crate::{
    metrics,
    place::Place,
    state::{
        grants::{Ground, GroundRef},
        looks::Look,
    },
    upstream::Unknown,
};

/// Tries to read what a user has left, and the pause before the second one.
const LOOKS_MAX: u32 = 3;
const LOOK_AGAIN: Duration = Duration::from_millis(500);

impl Core {
    /// `watch.users`.
    pub(crate) fn user_changed(self: &Rc<Self>, args: &str) {
        let Some(id) = text(args, &["id"]) else {
            return;
        };
        self.hear_of(&id);
        let members = |name| ejson::at(args, 0, &[name]).filter(|list| list.starts_with('{'));
        let (diff, unset) = (members("diff"), members("unset"));
        // Without a diff everything may have changed: one read tells.
        let mut look = Look {
            user: diff.is_none(),
            tokens: diff.is_none(),
        };
        let mut roles = diff.is_none();
        for (name, value) in diff.into_iter().chain(unset).flat_map(ejson::fields) {
            match &*name {
                "services" => look.tokens = true,
                // What is plainly said of it needs no look, but anything else may have ended it.
                "active" if value != "true" => look.user = true,
                name if name.starts_with("services.resume") => look.tokens = true,
                name if name == "roles" || name.starts_with("roles.") => roles = true,
                _ => {}
            }
        }
        if roles {
            self.roles_changed(&id);
        }
        if look.user || look.tokens {
            self.look_soon(&id, look);
        }
    }

    /// `watch.users` of somebody who was removed or deactivated.
    pub(crate) fn user_gone(&self, args: &str) {
        let removed = ejson::at(args, 0, &["clientAction"]) == Some("\"removed\"");
        let inactive = ejson::at(args, 0, &["diff", "active"]) == Some("false");
        if (removed || inactive)
            && let Some(id) = text(args, &["id"])
        {
            self.close_logins(&id, None);
        }
    }

    /// `user.roleUpdate`: somebody has a role more or less. Where it does not say who, it may be anybody.
    pub(crate) fn role_granted(self: &Rc<Self>, args: &str) {
        let Some(id) = text(args, &["u", "_id"]) else {
            return self.everybody_changed();
        };
        self.state.known.users.borrow_mut().forget(&id);
        self.roles_changed(&id);
    }

    /// `watch.livechatDepartmentAgents`.
    pub(crate) fn agent_changed(&self, args: &str) {
        let Some(id) = text(args, &["data", "agentId"]) else {
            let touched = self.heard_of(GroundRef::Omnichannel);
            return self.touched(touched);
        };
        let mut touched = self.heard_of(GroundRef::User(&id));
        let grants = self.state.grants.borrow();
        touched.retain(|grant| grants.rests_on(*grant, &Ground::Omnichannel));
        drop(grants);
        self.touched(touched);
    }

    /// `watch.roles`, `permission.changed`, the licence: every verdict may be another one now.
    pub(crate) fn everybody_changed(self: &Rc<Self>) {
        self.state.recent.borrow_mut().hear_all(now());
        let judge = |core: &Self, (), _| core.judge_everybody();
        self.tell_soon(|state| &state.everybody, (), (), now(), judge);
    }

    /// At most once in a window: a monolith that starts says a hundred such things in a row, and each would make all who
    /// wait for a verdict ask once more, until they have asked too often.
    fn judge_everybody(&self) {
        let mut grants = self.state.grants.borrow_mut();
        grants.touch_all();
        self.state.rejudge.borrow_mut().touched_all(&grants, now());
        self.wake.rejudge.notify_one();
    }

    /// `accounts.logout` of this gateway or another one: newer monoliths do not tell that the token is gone, on which other
    /// clients may stand.
    pub(crate) fn logout_heard(self: &Rc<Self>, args: &str) {
        if let Some(id) = text(args, &["userId"]) {
            self.state.logins.borrow_mut().hear_of(&id);
            let look = Look {
                user: false,
                tokens: true,
            };
            self.look_soon(&id, look);
        }
    }

    /// Something was heard of a user while his login was under way.
    pub(crate) fn look_again(self: &Rc<Self>, id: &str) {
        let look = Look {
            user: true,
            tokens: true,
        };
        self.look_soon(id, look);
    }

    /// `user.forceLogout(uid, sessionId?)`, after its publication: one client, or all of the user's.
    pub(crate) fn force_logout(&self, args: &str) {
        let Some(user) = text(args, &[]) else {
            return;
        };
        self.state.logins.borrow_mut().hear_of(&user);
        metrics::revoked("forced");
        let session = ejson::at(args, 1, &[]).and_then(ejson::string);
        let people = self.state.people.borrow();
        let mut places = people.of_user(&user).to_vec();
        if let Some(session) = session {
            places.retain(|place| people.is_connection(*place, &session));
        }
        drop(people);
        self.with_post(|post| post.close(&places, CloseReason::ForcedLogout));
    }

    /// Closes the clients of a user (those with one token), after what is queued: the next `login` gets its refusal.
    pub(crate) fn close_logins(&self, user: &str, hashed_token: Option<&str>) {
        let places: Vec<Place> = self.state.people.borrow().with_token(user, hashed_token);
        if !places.is_empty() {
            metrics::revoked("login");
            self.with_post(|post| post.close(&places, CloseReason::Revoked));
        }
    }

    fn hear_of(&self, id: &str) {
        self.state.known.users.borrow_mut().forget(id);
        self.state.logins.borrow_mut().hear_of(id);
    }

    fn roles_changed(&self, id: &str) {
        let touched = self.heard_of(GroundRef::User(id));
        self.touched(touched);
    }

    fn look_soon(self: &Rc<Self>, id: &str, look: Look) {
        if !self.state.people.borrow().has_user(id) {
            return;
        }
        let id = Arc::from(id);
        if self.state.looks.borrow_mut().begin(&id, look) {
            let core = self.clone();
            tokio::task::spawn_local(async move {
                let mut next = Some(look);
                while let Some(look) = next {
                    core.look_often(&id, look).await;
                    next = core.state.looks.borrow_mut().next(&id);
                }
            });
        }
    }

    /// Looks until it sees something; what the store cannot tell now the sweep will find.
    async fn look_often(self: &Rc<Self>, id: &Arc<str>, look: Look) {
        for attempt in 1..=LOOKS_MAX {
            if self.look(id, look).await.is_ok() {
                return;
            }
            tokio::time::sleep(LOOK_AGAIN * attempt).await;
        }
    }

    async fn look(self: &Rc<Self>, id: &Arc<str>, look: Look) -> Result<(), Unknown> {
        if look.user && self.user(id).await?.is_none_or(|user| !user.active) {
            self.close_logins(id, None);
            return Ok(());
        }
        if look.tokens {
            self.check_user(id).await?;
        }
        Ok(())
    }
}

fn text<'a>(args: &'a str, path: &[&str]) -> Option<Cow<'a, str>> {
    ejson::at(args, 0, path).and_then(ejson::string)
}
