//! What events change about access: caches dropped, grants judged again or ended, sockets closed.
//!
//! These run before the event's publications: nobody who lost a room gets the event that says so.

use std::{
    hash::{DefaultHasher, Hash as _, Hasher as _},
    rc::Rc,
    sync::Arc,
};

use protocol::{close::CloseReason, ddp::ejson};

use super::{
    Question, Unknown,
    grants::{Asker, Facts, Subject},
    sweep,
};
use crate::{
    bus::Core,
    link::{Ended, Revocation, ToShard},
    metrics,
    streams::raw,
};

/// `watch.subscriptions`: somebody joined or left a room. Updates (unread counters) change nothing.
pub(crate) fn subscription(core: &Core, args: &str) {
    let action = raw::at(args, 0, &["clientAction"]).unwrap_or("");
    if !matches!(action, "\"removed\"" | "\"inserted\"") {
        return;
    }
    let text = |path: &[&str]| {
        raw::at(args, 0, path)
            .and_then(ejson::string)
            .map(|text| Arc::from(&*text))
    };
    let user: Option<Arc<str>> = text(&["subscription", "u", "_id"]);
    let room: Option<Arc<str>> = text(&["subscription", "rid"]);
    let (Some(user), Some(room)) = (user, room) else {
        if action == "\"removed\"" {
            // Old senders do not say whose and where: everybody is judged again.
            everybody(core);
        }
        return;
    };
    forget_room(core, &room, &user);
    let subject = Subject::Room(room.clone());
    if action == "\"inserted\"" {
        let asker = Asker {
            user: Some(user),
            extra: None,
        };
        core.access.grants.borrow_mut().touch(&subject, &asker);
        return;
    }
    {
        // With whatever extra data: every grant of this user on this room ends.
        let mut grants = core.access.grants.borrow_mut();
        for asker in grants
            .askers(&subject)
            .iter()
            .filter(|asker| asker.user.as_ref() == Some(&user))
        {
            grants.touch(&subject, asker);
            grants.revoke(&subject, asker, |_| true);
        }
    }
    inherited(core, &user);
    metrics::revoked("membership");
    let shards = core.connections.borrow().shards(&user);
    core.outgoing.borrow_mut().post_each(shards, || {
        ToShard::Revoke(Revocation {
            user: Some(user.clone()),
            ended: Ended::Room(room.clone()),
            silently: true,
        })
    });
}

/// Access to a discussion may rest on its parent, and access to a room of a team on the team: who leaves one room is
/// judged again for those.
fn inherited(core: &Core, user: &Arc<str>) {
    let sockets = core.connections.borrow().sockets(user);
    let mut grants = core.access.grants.borrow_mut();
    let mut held = grants.held_by(&sockets);
    held.retain(|(subject, _)| grants.is_inherited(subject));
    for (subject, asker) in &held {
        grants.touch(subject, asker);
        if let Subject::Room(room) = subject {
            forget_room(core, room, user);
        }
    }
    drop(grants);
    core.access.rejudge.soon(held);
}

fn forget_room(core: &Core, room: &Arc<str>, user: &Arc<str>) {
    for read in [false, true] {
        core.access.verdicts.forget(&Question::Room {
            read,
            room: room.clone(),
            user: Some(user.clone()),
        });
    }
}

/// `watch.rooms`: judged again only if what decides has changed.
pub(crate) fn room(core: &Core, args: &str) {
    let id = raw::at(args, 0, &["room", "_id"]).and_then(ejson::string);
    let (Some(room), Some(id)) = (raw::at(args, 0, &["room"]), id) else {
        return;
    };
    let id: Arc<str> = Arc::from(&*id);
    let subject = Subject::Room(id.clone());
    // It follows every message: a room without grants costs nothing more.
    if !core.access.grants.borrow().has(&subject) {
        if core.access.rooms.forget(&id) {
            forget_verdicts(core, &id);
        }
        return;
    }
    let removed = raw::at(args, 0, &["clientAction"]) == Some("\"removed\"");
    let mut grants = core.access.grants.borrow_mut();
    if !removed && !grants.facts_changed(&id, facts(room)) {
        return;
    }
    let askers = grants.askers(&subject);
    for asker in &askers {
        grants.touch(&subject, asker);
    }
    drop(grants);
    core.access.rooms.forget(&id);
    forget_verdicts(core, &id);
    core.access
        .rejudge
        .soon(askers.into_iter().map(|asker| (subject.clone(), asker)));
}

/// A verdict about a room is kept for a shorter time than the room itself.
fn forget_verdicts(core: &Core, id: &Arc<str>) {
    core.access
        .verdicts
        .forget_if(|question| matches!(question, Question::Room { room, .. } if room == id));
}

/// `watch.roles` and `permission.changed`: every verdict may be another one now.
pub(crate) fn everybody(core: &Core) {
    core.access.verdicts.forget_if(|_| true);
    let mut grants = core.access.grants.borrow_mut();
    grants.touch_all();
    let all: Vec<_> = grants
        .all()
        .map(|(subject, asker)| (subject.clone(), asker.clone()))
        .collect();
    drop(grants);
    core.access.rejudge.eventually(all);
}

/// `watch.settings`: rules and limits that depend on a setting.
pub(crate) fn setting(core: &Core, args: &str) {
    if let Some(id) = raw::at(args, 0, &["setting", "_id"]).and_then(ejson::string) {
        core.access.settings.forget(&Arc::from(&*id));
        let value = raw::at(args, 0, &["setting", "value"]);
        core.limiter.set(&id, value);
    }
}

/// `watch.users`: deactivation, roles, and tokens that vanished.
pub(crate) fn user(core: &Rc<Core>, args: &str) {
    let Some(id) = raw::at(args, 0, &["id"]).and_then(ejson::string) else {
        return;
    };
    let id: Arc<str> = Arc::from(&*id);
    core.access.users.forget(&id);
    core.logins.hear_of(&id);
    if !core.connections.borrow().has_user(&id) {
        return;
    }
    if raw::at(args, 0, &["clientAction"]) == Some("\"removed\"") {
        sweep::close_logins(core, &id, None);
        return;
    }
    let (diff, unset) = (raw::at(args, 0, &["diff"]), raw::at(args, 0, &["unset"]));
    // Without a diff everything may have changed: one read tells.
    let mut what = Changed {
        unknown: diff.is_none(),
        roles: false,
        tokens: diff.is_none(),
    };
    for (name, value) in diff.into_iter().chain(unset).flat_map(ejson::fields) {
        match &*name {
            "active" if value == "false" => {
                sweep::close_logins(core, &id, None);
                return;
            }
            "roles" => what.roles = true,
            name if name == "services" || name.starts_with("services.resume") => what.tokens = true,
            name if name.starts_with("roles.") => what.roles = true,
            _ => {}
        }
    }
    if what.roles {
        roles_changed(core, &id);
    }
    if what.unknown || what.tokens {
        look_soon(core, id, what);
    }
}

/// `accounts.logout` of this gateway or another one: newer monoliths do not tell that the token is gone, on which other
/// sockets may stand.
pub(crate) fn logged_out(core: &Rc<Core>, args: &str) {
    let Some(id) = raw::at(args, 0, &["userId"]).and_then(ejson::string) else {
        return;
    };
    let id: Arc<str> = Arc::from(&*id);
    core.logins.hear_of(&id);
    if core.connections.borrow().has_user(&id) {
        let what = Changed {
            unknown: false,
            roles: false,
            tokens: true,
        };
        look_soon(core, id, what);
    }
}

/// Something was heard of a user while his login was under way.
pub(crate) fn look_again(core: &Rc<Core>, id: Arc<str>) {
    let what = Changed {
        unknown: true,
        roles: false,
        tokens: true,
    };
    look_soon(core, id, what);
}

fn look_soon(core: &Rc<Core>, id: Arc<str>, what: Changed) {
    let core_ = core.clone();
    core.spawn(async move {
        // What the store could not tell the sweep will find.
        let _ = look(&core_, &id, what).await;
    });
}

struct Changed {
    unknown: bool,
    roles: bool,
    tokens: bool,
}

async fn look(core: &Rc<Core>, id: &Arc<str>, what: Changed) -> Result<(), Unknown> {
    if what.unknown {
        let Some(user) = super::user(core, id).await?.filter(|user| user.active) else {
            sweep::close_logins(core, id, None);
            return Ok(());
        };
        if core.connections.borrow_mut().note_roles(id, &user.roles) {
            roles_changed(core, id);
        }
    }
    if what.tokens {
        sweep::check_user(core, id).await?;
    }
    Ok(())
}

fn roles_changed(core: &Core, id: &Arc<str>) {
    core.access.verdicts.forget_if(|question| match question {
        Question::Room { user, .. } => user.as_ref() == Some(id),
        Question::Permission { user, .. } => user == id,
    });
    let sockets = core.connections.borrow().sockets(id);
    let mut grants = core.access.grants.borrow_mut();
    let held = grants.held_by(&sockets);
    for (subject, asker) in &held {
        grants.touch(subject, asker);
    }
    drop(grants);
    core.access.rejudge.soon(held);
}

/// `user.forceLogout(uid, sessionId?)`, after its publication: one socket, or all of the user's.
pub(crate) fn force_logout(core: &Core, args: &str) {
    let Some(user) = raw::at(args, 0, &[]).and_then(ejson::string) else {
        return;
    };
    let user: Arc<str> = Arc::from(&*user);
    core.logins.hear_of(&user);
    let connection = raw::at(args, 1, &[])
        .and_then(ejson::string)
        .map(|id| id.into_owned());
    metrics::revoked("forced");
    let shards = core.connections.borrow().shards(&user);
    core.outgoing
        .borrow_mut()
        .post_each(shards, || ToShard::CloseUser {
            user: user.clone(),
            connection: connection.clone(),
            hashed_token: None,
            reason: CloseReason::ForcedLogout,
        });
}

/// The deciding parts of a room as an event carries it.
fn facts(room: &str) -> Facts {
    let text = |name| {
        ejson::field(room, name)
            .and_then(ejson::string)
            .map(|text| text.into_owned())
    };
    let visitor = ejson::field(room, "v").and_then(|visitor| ejson::field(visitor, "token"));
    let abac =
        ejson::field(room, "abacAttributes").filter(|list| list.starts_with('[') && *list != "[]");
    Facts {
        kind: text("t").unwrap_or_default(),
        team: text("teamId"),
        parent: text("prid"),
        visitor_token: visitor
            .and_then(ejson::string)
            .map(|text| text.into_owned()),
        has_abac: abac.is_some(),
        abac: abac.map(|list| {
            let mut hasher = DefaultHasher::new();
            list.hash(&mut hasher);
            hasher.finish()
        }),
    }
}
