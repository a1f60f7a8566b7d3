//! Who may follow what: questions to store and authorization service, grants, and taking them back (design.md 3.9).
//!
//! Unknown means no: a question that fails refuses.

pub(crate) mod changes;
pub(crate) mod flights;
pub(crate) mod grants;
pub(crate) mod rejudge;
pub(crate) mod sweep;

use std::{cell::RefCell, rc::Rc, sync::Arc, time::Duration};

use backplane::CallOptions;
use protocol::ddp::{self, ejson};
use store::Room;

pub(crate) use self::grants::{Asker, Subject};
use self::{
    flights::Flights,
    grants::{Facts, Grants},
    rejudge::Rejudge,
};
use crate::{
    bus::{Core, connections::Key},
    link::Caller,
    streams::table::{Read, RoomRule},
};

/// How long an answer may be used again, unless an event drops it first.
const KEEP_VERDICTS: Duration = Duration::from_secs(5);
const KEEP_ROOMS: Duration = Duration::from_secs(10);
const KEEP_USERS: Duration = Duration::from_secs(60);
const CACHED_MAX: usize = 100_000;

/// Longest wait for the authorization service; a client would not wait longer for its subscription.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// A subscription is judged again when something moved meanwhile; this often at most.
const JUDGEMENTS_MAX: usize = 4;

/// Something cannot be found out now: store or service away, or an answer that makes no sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unknown;

/// A question about a user that the authorization service answers.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Question {
    Room {
        read: bool,
        room: Arc<str>,
        /// `None`: a connection without a login.
        user: Option<Arc<str>>,
    },
    Permission {
        user: Arc<str>,
        any_of: &'static [&'static str],
    },
}

/// Grants and what is known for the moment.
pub(crate) struct Access {
    pub(crate) grants: RefCell<Grants>,
    pub(crate) rejudge: Rejudge,
    verdicts: Flights<Question, bool>,
    rooms: Flights<Arc<str>, Option<Arc<Room>>>,
    users: Flights<Arc<str>, Option<Arc<store::User>>>,
    settings: Flights<Arc<str>, Option<bool>>,
}

impl Access {
    /// Forgets every answer: events that would have dropped them may have been missed.
    pub(crate) fn forget_all(&self) {
        self.verdicts.forget_if(|_| true);
        self.rooms.forget_if(|_| true);
        self.users.forget_if(|_| true);
        self.settings.forget_if(|_| true);
    }

    pub(crate) fn new() -> Self {
        Self {
            grants: RefCell::default(),
            rejudge: Rejudge::default(),
            verdicts: Flights::new("verdict", KEEP_VERDICTS, CACHED_MAX),
            rooms: Flights::new("room", KEEP_ROOMS, CACHED_MAX),
            users: Flights::new("user", KEEP_USERS, CACHED_MAX),
            settings: Flights::new("setting", KEEP_USERS, 1_000),
        }
    }
}

/// Decides about one subscription and leaves a grant if it is allowed.
///
/// # Errors
/// What the `nosub` says: `not-allowed`, or 500 where it cannot be known.
pub(crate) async fn admit(
    core: &Rc<Core>,
    caller: &Caller,
    subject: Subject,
    rule: Read,
    extra: Option<&str>,
) -> Result<(), ddp::Error> {
    let key = Key::from(caller);
    let asker = Asker {
        user: caller.user.as_ref().map(|user| user.id.clone()),
        extra: extra.map(Arc::from),
    };
    if !core.connections.borrow().is_open(key) {
        // Gone before its turn: nothing would take the grant back.
        return Err(ddp::Error::not_allowed());
    }
    core.access
        .grants
        .borrow_mut()
        .enter(key, subject.clone(), asker.clone(), rule);
    let mut outcome = Err(ddp::Error::not_allowed());
    for _ in 0..JUDGEMENTS_MAX {
        let before = core.access.grants.borrow().stamp(&subject, &asker);
        let verdict = judge(core, &subject, &asker, rule).await;
        outcome = match verdict {
            Ok(true) => Ok(()),
            Ok(false) => Err(ddp::Error::not_allowed()),
            Err(Unknown) => Err(ddp::Error::internal()),
        };
        let after = core.access.grants.borrow().stamp(&subject, &asker);
        match after {
            // The socket is gone, or the grant was revoked while the answer was under way.
            None => {
                outcome = Err(ddp::Error::not_allowed());
                break;
            }
            Some(_) if before == after => break,
            Some(_) => outcome = Err(ddp::Error::not_allowed()),
        }
    }
    if outcome.is_err() {
        let mut grants = core.access.grants.borrow_mut();
        grants.refuse(key, &subject, &asker, rule);
    }
    outcome
}

/// Applies a rule as things stand.
///
/// # Errors
/// Where it cannot be known.
pub(crate) async fn judge(
    core: &Rc<Core>,
    subject: &Subject,
    asker: &Asker,
    rule: Read,
) -> Result<bool, Unknown> {
    match (rule, subject) {
        (Read::All, _) => Ok(true),
        (Read::Logged, _) => Ok(asker.user.is_some()),
        // Decided by the caller's id alone, before anybody is asked.
        (Read::Never | Read::Owner, _) => Ok(false),
        (Read::Permission(any_of), _) => permission(core, asker, any_of).await,
        (Read::Setting(setting, any_of), _) => {
            Ok(setting_is_on(core, setting).await? && permission(core, asker, any_of).await?)
        }
        (Read::Room(rule), Subject::Room(room)) => judge_room(core, room, asker, rule).await,
        (Read::Room(_), Subject::Topic(_)) => Ok(false),
    }
}

async fn judge_room(
    core: &Rc<Core>,
    id: &Arc<str>,
    asker: &Asker,
    rule: RoomRule,
) -> Result<bool, Unknown> {
    let Some(room) = room(core, id).await? else {
        return Ok(false);
    };
    core.access
        .grants
        .borrow_mut()
        .note_facts(id, Facts::of(&room));
    let extra = asker.extra.as_deref();
    let is_visitor = |name| {
        let given = extra
            .and_then(|extra| ejson::field(extra, name))
            .and_then(ejson::string);
        let token = room
            .visitor_token
            .as_deref()
            .filter(|token| !token.is_empty());
        given
            .filter(|given| !given.is_empty())
            .map(|given| room.kind == "l" && token == Some(&*given))
    };
    match rule {
        RoomRule::VisitorToken => Ok(is_visitor("visitorToken").unwrap_or(false)),
        RoomRule::AccessOrToken => match is_visitor("token") {
            Some(verdict) => Ok(verdict),
            None => access(core, &room, asker, Wanted::Access).await,
        },
        RoomRule::Access => access(core, &room, asker, Wanted::Access).await,
        RoomRule::Read => access(core, &room, asker, Wanted::Read).await,
    }
}

/// Which of the two questions about a room.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wanted {
    Access,
    Read,
}

async fn access(
    core: &Rc<Core>,
    room: &Arc<Room>,
    asker: &Asker,
    wanted: Wanted,
) -> Result<bool, Unknown> {
    if asker.user.is_none() && wanted == Wanted::Access {
        return Ok(false);
    }
    let question = Question::Room {
        read: wanted == Wanted::Read,
        room: room.id.as_str().into(),
        user: asker.user.clone(),
    };
    // Extra data means something to the rules of livechat rooms only.
    let is_omnichannel = matches!(&*room.kind, "l" | "v");
    let extra = asker.extra.clone().filter(|_| is_omnichannel);
    let is_plain = extra.is_none();
    let (bus, room, user) = (core.clone(), room.clone(), asker.user.clone());
    let ask = move || async move {
        if let Some(user) = user.as_deref().filter(|_| room.has_abac) {
            // The attributes are not ours to pass on: this action reads the room itself. Rooms with attributes are
            // private, where reading and access are the same.
            let params = format!("[{},{}]", quoted(&room.id), quoted(user));
            return bus.ask_bool("authorization.canAccessRoomId", &params).await;
        }
        let user = user.map_or_else(
            || "null".to_owned(),
            |user| format!("{{\"_id\":{}}}", quoted(&user)),
        );
        let extra = extra.map_or_else(String::new, |extra| format!(",{extra}"));
        let params = format!("[{},{user}{extra}]", room_param(&room));
        let action = match wanted {
            Wanted::Access => "authorization.canAccessRoom",
            Wanted::Read => "authorization.canReadRoom",
        };
        bus.ask_bool(action, &params).await
    };
    if is_plain {
        core.access.verdicts.ask(question, ask).await
    } else {
        // Whoever the extra data is about: no event would find this verdict to drop it.
        ask().await
    }
}

/// The parts of a room that access rules read (streams.md 7.3), raw JSON.
fn room_param(room: &Room) -> String {
    let mut text = format!(
        "{{\"_id\":{},\"t\":{}",
        quoted(&room.id),
        quoted(&room.kind)
    );
    for (name, value) in [("teamId", &room.team), ("prid", &room.parent)] {
        if let Some(value) = value {
            text.push_str(&format!(",\"{name}\":{}", quoted(value)));
        }
    }
    text.push('}');
    text
}

async fn permission(
    core: &Rc<Core>,
    asker: &Asker,
    any_of: &'static [&'static str],
) -> Result<bool, Unknown> {
    let Some(user) = asker.user.clone() else {
        return Ok(false);
    };
    let bus = core.clone();
    core.access
        .verdicts
        .ask(
            Question::Permission {
                user: user.clone(),
                any_of,
            },
            move || async move {
                match any_of {
                    [one] => {
                        let params = format!("[{},{}]", quoted(&user), quoted(one));
                        bus.ask_bool("authorization.hasPermission", &params).await
                    }
                    many => {
                        let list: Vec<String> = many.iter().map(|one| quoted(one)).collect();
                        let params = format!("[{},[{}]]", quoted(&user), list.join(","));
                        bus.ask_bool("authorization.hasAtLeastOnePermission", &params)
                            .await
                    }
                }
            },
        )
        .await
}

/// Whether a user may take part in a room (typing): as `notify-room` is read, without a grant.
pub(crate) async fn may_write(
    core: &Rc<Core>,
    room: &Arc<str>,
    asker: &Asker,
) -> Result<bool, Unknown> {
    judge_room(core, room, asker, RoomRule::AccessOrToken).await
}

/// A room as rules need it.
pub(crate) async fn room(core: &Rc<Core>, id: &Arc<str>) -> Result<Option<Arc<Room>>, Unknown> {
    let (core_, id_) = (core.clone(), id.clone());
    let question = move || async move {
        let found = core_
            .ask_store(|store| async move { store.room(&id_).await })
            .await?;
        Ok(found.map(Arc::new))
    };
    core.access.rooms.ask(id.clone(), question).await
}

/// A user as rules need him.
pub(crate) async fn user(
    core: &Rc<Core>,
    id: &Arc<str>,
) -> Result<Option<Arc<store::User>>, Unknown> {
    let (core_, id_) = (core.clone(), id.clone());
    let question = move || async move {
        let found = core_
            .ask_store(|store| async move { store.user(&id_).await })
            .await?;
        Ok(found.map(Arc::new))
    };
    core.access.users.ask(id.clone(), question).await
}

/// Whether a setting is `true`; a setting that does not exist is off.
pub(crate) async fn setting_is_on(core: &Rc<Core>, id: &'static str) -> Result<bool, Unknown> {
    let core_ = core.clone();
    let question = move || async move {
        let found = core_
            .ask_store(move |store| async move { store.setting(id).await })
            .await?;
        Ok(found.and_then(|value| value.as_bool()))
    };
    Ok(core
        .access
        .settings
        .ask(id.into(), question)
        .await?
        .unwrap_or(false))
}

impl Core {
    /// Calls an action that answers yes or no.
    async fn ask_bool(&self, action: &str, params: &str) -> Result<bool, Unknown> {
        let options = CallOptions {
            timeout: Some(ANSWER_WITHIN),
            ..CallOptions::default()
        };
        match self.bus.call(action, params, options).await {
            Ok(Some(answer)) if *answer == *b"true" => Ok(true),
            Ok(Some(answer)) if *answer == *b"false" => Ok(false),
            // JavaScript's undefined and null are falsy, anything else is not an answer to this question.
            Ok(None) => Ok(false),
            Ok(Some(answer)) if *answer == *b"null" => Ok(false),
            Ok(Some(_)) => {
                self.complaints
                    .warn("answered neither true nor false", &action);
                Err(Unknown)
            }
            Err(error) => {
                self.complaints
                    .warn("a permission cannot be judged", &error);
                Err(Unknown)
            }
        }
    }
}

impl Facts {
    fn of(room: &Room) -> Self {
        Self {
            kind: room.kind.clone(),
            team: room.team.clone(),
            parent: room.parent.clone(),
            visitor_token: room.visitor_token.clone(),
            has_abac: room.has_abac,
            abac: None,
        }
    }
}

/// `text` as a JSON string.
pub(crate) fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    ddp::encode::push_string(&mut out, text);
    out
}
