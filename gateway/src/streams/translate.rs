//! From a backplane event to publications: what the rows say, and the look-ups that some events need.

use std::{collections::VecDeque, rc::Rc, sync::Arc, time::Instant};

use backplane::Event;
use bytes::Bytes;
use hashbrown::HashMap;
use protocol::{ddp::ejson, outbox::Class};

use super::{
    events::{self, When},
    publications, raw, rooms_changed, special,
    table::{self, Stream},
    template::{Path, Template},
};
use crate::{
    access::changes,
    bus::Core,
    link::Scope,
    metrics,
    publication::{Body, Publication},
    topic::Topic,
};

/// Followers of a room whose shards are looked up one by one; more, and every shard gets the publication.
const FOLLOWERS_LOOKED_UP_MAX: usize = 64;

/// The event table, ready to be applied.
pub(crate) struct Translator {
    plans: HashMap<&'static str, Vec<Plan>>,
    /// Rooms with a look-up under way: their later events wait.
    holds: HashMap<Arc<str>, Hold>,
}

struct Plan {
    when: Condition,
    stream: &'static Stream,
    key: Template,
    args: Template,
}

enum Condition {
    Always,
    Is(Path, &'static str),
    Not(Path, &'static str),
}

#[derive(Default)]
struct Hold {
    lookups: u32,
    events: VecDeque<Event>,
}

impl Translator {
    pub(crate) fn new() -> Self {
        let mut plans: HashMap<_, Vec<Plan>> = HashMap::new();
        for row in events::ROWS {
            let Some(stream) = table::stream(row.stream) else {
                continue;
            };
            plans.entry(row.event).or_default().push(Plan {
                when: match row.when {
                    When::Always => Condition::Always,
                    When::Is(path, value) => Condition::Is(Path::new(path), value),
                    When::Not(path, value) => Condition::Not(Path::new(path), value),
                },
                stream,
                key: Template::new(row.key),
                args: Template::new(row.args),
            });
        }
        Self {
            plans,
            holds: HashMap::new(),
        }
    }

    /// Calls `publish` with stream, event name and argument template of every row that applies.
    fn rows(
        &self,
        name: &str,
        args: &str,
        key: &mut String,
        mut publish: impl FnMut(&'static Stream, &str, &Template),
    ) {
        for plan in self.plans.get(name).into_iter().flatten() {
            let applies = match &plan.when {
                Condition::Always => true,
                Condition::Is(path, value) => path.find(args) == Some(value),
                Condition::Not(path, value) => path.find(args) != Some(value),
            };
            if applies && plan.key.key(args, key) {
                publish(plan.stream, key, &plan.args);
            }
        }
    }
}

/// Takes one event: first what it changes about access, then its publications.
pub(crate) fn handle(core: &Rc<Core>, event: Event) {
    // The bus has checked that this is JSON.
    let Ok(args) = std::str::from_utf8(&event.args) else {
        return;
    };
    match event.name {
        "watch.messages" => {}
        "watch.subscriptions" => changes::subscription(core, args),
        "watch.rooms" => changes::room(core, args),
        "watch.users" => changes::user(core, args),
        "accounts.logout" => changes::logged_out(core, args),
        "watch.roles" | "permission.changed" => changes::everybody(core),
        "watch.settings" => changes::setting(core, args),
        _ => {}
    }
    if event.name == "watch.rooms" {
        room_event(core, event);
    } else {
        publish(core, event.name, args, event.from_us, event.received);
    }
}

/// `watch.rooms` waits behind a look-up of the same room.
fn room_event(core: &Rc<Core>, event: Event) {
    let Ok(args) = std::str::from_utf8(&event.args) else {
        return;
    };
    let room = raw::at(args, 0, &["room", "_id"]).and_then(ejson::string);
    if let Some(room) = &room {
        let mut translator = core.translator.borrow_mut();
        if let Some(hold) = translator.holds.get_mut(&**room) {
            if hold.events.len() < core.config.hold_events {
                hold.events.push_back(event);
            } else {
                drop(translator);
                missed(core, &Arc::from(&**room));
            }
            return;
        }
    }
    if let Some(room) = room {
        let followers = core.rooms_changed.borrow_mut().followers(&room);
        if let Some(users) = followers {
            let action = raw::at(args, 0, &["clientAction"]).unwrap_or("null");
            let document = raw::at(args, 0, &["room"]).unwrap_or("null");
            rooms_changed(
                core,
                users,
                rooms_changed::args(action, document),
                event.received,
            );
        }
    }
    publish(core, event.name, args, event.from_us, event.received);
}

/// Applies the rows of an event, and its code if it has some.
fn publish(core: &Rc<Core>, name: &str, args: &str, from_us: bool, received: Instant) {
    match name {
        "watch.subscriptions" => membership(core, args, received),
        "stream" => {
            let relayed = core.relays.borrow_mut().read(args, from_us);
            if let Some(relayed) = relayed
                && let Some(stream) = table::stream(&relayed.stream)
            {
                let args = Bytes::from(relayed.args);
                emit(core, stream, &relayed.event, || args, None, received);
            }
        }
        "watch.loginServiceConfiguration" => publications::login_service_changed(core, args),
        "meteor.clientVersionUpdated" => publications::client_version_changed(core, args),
        _ => special::publish(core, name, args, received),
    }
    let mut key = core.key.borrow_mut();
    core.translator
        .borrow()
        .rows(name, args, &mut key, |stream, key, template| {
            emit(core, stream, key, || template.args(args), None, received);
        });
    drop(key);
    if name == "user.forceLogout" {
        changes::force_logout(core, args);
    }
}

/// Publishes on a stream, unless nobody listens: then nothing is made.
pub(crate) fn emit(
    core: &Core,
    stream: &'static Stream,
    event: &str,
    args: impl FnOnce() -> Bytes,
    exclude: Option<(u16, u32, u32)>,
    received: Instant,
) {
    let topic = stream.topic(event);
    let shards = core.interest.shards(&topic);
    if shards == 0 {
        return;
    }
    let publication = Publication {
        topic,
        body: Body::Stream {
            stream: stream.name,
            event: event.into(),
            args: args(),
        },
        exclude,
        class: stream.class(event),
        received,
        raw: Default::default(),
        sockjs: Default::default(),
    };
    core.outgoing.borrow_mut().publish(shards, publication);
}

/// `watch.subscriptions`: the room index, and the room's document for who has joined.
fn membership(core: &Rc<Core>, args: &str, received: Instant) {
    let text = |path: &[&str]| raw::at(args, 0, path).and_then(ejson::string);
    let action = raw::at(args, 0, &["clientAction"]).unwrap_or("");
    if !matches!(action, "\"inserted\"" | "\"removed\"") {
        return;
    }
    let (Some(user), Some(room)) = (
        text(&["subscription", "u", "_id"]),
        text(&["subscription", "rid"]),
    ) else {
        return;
    };
    let mut index = core.rooms_changed.borrow_mut();
    if !index.is_followed_by(&user) {
        return;
    }
    let (user, room): (Arc<str>, Arc<str>) = (Arc::from(&*user), Arc::from(&*room));
    if action == "\"removed\"" {
        index.left(&user, &room);
        return;
    }
    index.joined(&user, &room);
    drop(index);
    core.translator
        .borrow_mut()
        .holds
        .entry(room.clone())
        .or_default()
        .lookups += 1;
    let core_ = core.clone();
    core.spawn(async move { joined(&core_, user, room, received).await });
}

/// Reads the room that a user has joined, then lets go what waits behind it.
async fn joined(core: &Rc<Core>, user: Arc<str>, room: Arc<str>, received: Instant) {
    let id = room.clone();
    match core
        .ask_store(|store| async move { store.room_document(&id).await })
        .await
    {
        Ok(Some(document)) => {
            let followers = core.rooms_changed.borrow_mut().followers(&room);
            // Who has left meanwhile does not hear of it.
            if followers.is_some_and(|users| users.contains(&user)) {
                let args = rooms_changed::args("\"inserted\"", &document);
                rooms_changed(core, Arc::from([user]), args, received);
            }
        }
        Ok(None) => {}
        Err(_) => core.gap("lookup", Scope::User(user)),
    }
    let waiting = {
        let mut translator = core.translator.borrow_mut();
        let Some(hold) = translator.holds.get_mut(&room) else {
            return;
        };
        hold.lookups -= 1;
        if hold.lookups > 0 {
            return;
        }
        translator
            .holds
            .remove(&room)
            .map(|hold| hold.events)
            .unwrap_or_default()
    };
    for event in waiting {
        room_event(core, event);
    }
    core.outgoing.borrow_mut().flush();
}

/// One publication for all followers of a room.
fn rooms_changed(core: &Core, users: Arc<[Arc<str>]>, args: Bytes, received: Instant) {
    let shards = if users.len() > FOLLOWERS_LOOKED_UP_MAX {
        core.outgoing.borrow().all()
    } else {
        let topic = |user: &Arc<str>| Topic::User(user.clone(), core.rooms_changed_event.clone());
        users.iter().fold(0, |shards, user| {
            shards | core.interest.shards(&topic(user))
        })
    };
    if shards == 0 {
        return;
    }
    core.outgoing.borrow_mut().publish(
        shards,
        Publication {
            topic: Topic::Global("notify-user".into(), core.rooms_changed_event.clone()),
            body: Body::RoomsChanged { users, args },
            exclude: None,
            class: Class::Data,
            received,
            raw: Default::default(),
            sockjs: Default::default(),
        },
    );
}

/// A hold queue is full: who follows the room has missed an event.
fn missed(core: &Core, room: &Arc<str>) {
    metrics::hold_overflow();
    core.gap("hold", Scope::Room(room.clone()));
    let followers = core
        .rooms_changed
        .borrow_mut()
        .followers(room)
        .unwrap_or_default();
    if followers.len() > FOLLOWERS_LOOKED_UP_MAX {
        core.gap("hold", Scope::All);
    } else {
        for user in followers.iter() {
            core.gap("hold", Scope::User(user.clone()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An event, its arguments, and what it becomes: stream, event name, arguments.
    struct Case(
        &'static str,
        &'static str,
        &'static [(&'static str, &'static str, &'static str)],
    );

    #[rustfmt::skip]
    const CASES: &[Case] = &[
        Case("license.sync", "[]", &[("notify-all", "license", "[]")]),
        Case("license.actions", r#"[{"maxUsers":true}]"#, &[("notify-all", "license", "[]")]),
        Case("abac.config.changed", "[]", &[("notify-logged", "abac-config-changed", "[]")]),
        Case("emoji.deleteCustom", r#"[{"name":"e"}]"#, &[("notify-logged", "deleteEmojiCustom", r#"[{"emojiData":{"name":"e"}}]"#)]),
        Case("emoji.updateCustom", r#"[{"name":"e"}]"#, &[("notify-logged", "updateEmojiCustom", r#"[{"emojiData":{"name":"e"}}]"#)]),
        Case("user.forceLogout", r#"["u1"]"#, &[("notify-user", "u1/force_logout", "[]")]),
        Case("user.forceLogout", r#"["u1","s1"]"#, &[("notify-user", "u1/force_logout", r#"["s1"]"#)]),
        Case("user.forceLogout", r#"["u1",null]"#, &[("notify-user", "u1/force_logout", "[null]")]),
        Case("permission.changed", r#"[{"clientAction":"changed","data":{"_id":"p","roles":["user"]}}]"#, &[("notify-logged", "permissions-changed", r#"["changed",{"_id":"p","roles":["user"]}]"#)]),
        Case("room.avatarUpdate", r#"[{"_id":"r1","avatarETag":"e","x":1}]"#, &[("notify-logged", "updateAvatar", r#"[{"rid":"r1","etag":"e"}]"#)]),
        Case("user.avatarUpdate", r#"[{"username":"bob","avatarETag":"e"}]"#, &[("notify-logged", "updateAvatar", r#"[{"username":"bob","etag":"e"}]"#)]),
        Case("user.deleted", r#"[{"_id":"u1"},{"messageErasureType":"Delete"}]"#, &[("notify-logged", "Users:Deleted", r#"[{"userId":"u1","messageErasureType":"Delete"}]"#)]),
        Case("user.deleteCustomStatus", r#"[{"_id":"s"}]"#, &[("notify-logged", "deleteCustomUserStatus", r#"[{"userStatusData":{"_id":"s"}}]"#)]),
        Case("user.updateCustomStatus", r#"[{"_id":"s"}]"#, &[("notify-logged", "updateCustomUserStatus", r#"[{"userStatusData":{"_id":"s"}}]"#)]),
        Case("user.nameChanged", r#"[{"_id":"u1","name":"B"}]"#, &[("notify-logged", "Users:NameChanged", r#"[{"_id":"u1","name":"B"}]"#)]),
        Case("user.roleUpdate", r#"[{"type":"added","_id":"admin"}]"#, &[("notify-logged", "roles-change", r#"[{"type":"added","_id":"admin"}]"#)]),
        Case("user.video-conference", r#"[{"userId":"u1","action":"call","params":{"rid":"r"}}]"#, &[("notify-user", "u1/video-conference", r#"[{"action":"call","params":{"rid":"r"}}]"#)]),
        Case("user.media-signal", r#"[{"userId":"u1","signal":{"a":1}}]"#, &[("notify-user", "u1/media-signal", r#"[{"a":1}]"#)]),
        Case("room.video-conference", r#"[{"rid":"r1","callId":"c1"}]"#, &[("notify-room", "r1/c1", "[]"), ("notify-room", "r1/videoconf", r#"["c1"]"#)]),
        Case("user.activity", r#"[{"user":"bob","isTyping":true,"roomId":"r1"}]"#, &[("notify-room", "r1/user-activity", r#"["bob",["user-typing"]]"#)]),
        Case("user.activity", r#"[{"user":"bob","isTyping":false,"roomId":"r1"}]"#, &[("notify-room", "r1/user-activity", r#"["bob",[]]"#)]),
        Case("watch.messages", r#"[{"message":{"_id":"m","rid":"r1","ts":{"$date":1}}}]"#, &[("room-messages", "r1", r#"[{"_id":"m","rid":"r1","ts":{"$date":1}}]"#)]),
        Case("watch.messages", r#"[{"message":{"_id":"m"}}]"#, &[]),
        Case("notify.messagesRead", r#"[{"rid":"r1","until":{"$date":1}}]"#, &[("notify-room", "r1/messagesRead", r#"[{"until":{"$date":1}}]"#)]),
        Case("watch.subscriptions", r#"[{"clientAction":"updated","subscription":{"_id":"s","rid":"r1","u":{"_id":"u1"}}}]"#, &[("notify-user", "u1/subscriptions-changed", r#"["updated",{"_id":"s","rid":"r1","u":{"_id":"u1"}}]"#)]),
        Case("watch.subscriptions", r#"[{"clientAction":"removed","subscription":{"_id":"s"}}]"#, &[]),
        Case("watch.roles", r#"[{"clientAction":"changed","role":{"_id":"a","name":"A"}}]"#, &[("roles", "roles", r#"[{"type":"changed","_id":"a","name":"A"}]"#)]),
        Case("watch.rooms", r#"[{"clientAction":"updated","room":{"_id":"r1","t":"c"}}]"#, &[("room-data", "r1", r#"[{"_id":"r1","t":"c"}]"#)]),
        Case("watch.users", r#"[{"clientAction":"updated","id":"u1","diff":{"name":"B"},"unset":{"bio":1},"data":{"secret":1}}]"#, &[("notify-user", "u1/userData", r#"[{"id":"u1","diff":{"name":"B"},"unset":{"bio":1},"type":"updated"}]"#)]),
        Case("watch.users", r#"[{"clientAction":"changed","id":"u1","diff":{}}]"#, &[("notify-user", "u1/userData", r#"[{"id":"u1","diff":{},"type":"changed"}]"#)]),
        Case("watch.users", r#"[{"clientAction":"inserted","id":"u1","data":{"_id":"u1"}}]"#, &[("notify-user", "u1/userData", r#"[{"id":"u1","data":{"_id":"u1"},"type":"inserted"}]"#)]),
        Case("watch.users", r#"[{"clientAction":"removed","id":"u1"}]"#, &[("notify-user", "u1/userData", r#"[{"id":"u1","type":"removed"}]"#)]),
        Case("watch.integrationHistory", r#"[{"clientAction":"updated","id":"h","data":{"integration":{"_id":"i"}},"diff":{"x":1}}]"#, &[("integrationHistory", "i", r#"[{"id":"h","diff":{"x":1},"type":"updated"}]"#)]),
        Case("watch.integrationHistory", r#"[{"clientAction":"inserted","id":"h","data":{"integration":{"_id":"i"}}}]"#, &[("integrationHistory", "i", r#"[{"data":{"integration":{"_id":"i"}},"type":"inserted"}]"#)]),
        Case("watch.livechatDepartmentAgents", r#"[{"clientAction":"inserted","id":"x","data":{"agentId":"u1"}}]"#, &[("notify-user", "u1/departmentAgentData", r#"[{"action":"inserted","agentId":"u1"}]"#)]),
        Case("watch.priorities", r#"[{"clientAction":"updated","id":"p","diff":{"name":"N"}}]"#, &[("notify-logged", "omnichannel.priority-changed", r#"[{"id":"p","clientAction":"updated","name":"N"}]"#)]),
        Case("banner.user", r#"["u1",{"_id":"b"}]"#, &[("notify-user", "u1/banners", r#"[{"_id":"b"}]"#)]),
        Case("banner.new", r#"["b"]"#, &[("notify-logged", "new-banner", r#"[{"bannerId":"b"}]"#), ("notify-logged", "banner-changed", r#"[{"bannerId":"b"}]"#)]),
        Case("banner.enabled", r#"["b"]"#, &[("notify-logged", "banner-changed", r#"[{"bannerId":"b"}]"#)]),
        Case("banner.disabled", r#"["b"]"#, &[("notify-logged", "banner-changed", r#"[{"bannerId":"b"}]"#)]),
        Case("voip.events", r#"["u1",{"a":1}]"#, &[("notify-user", "u1/voip.events", r#"[{"a":1}]"#)]),
        Case("connector.statuschanged", "[true]", &[("notify-logged", "voip.statuschanged", "[true]")]),
        Case("call.callerhangup", r#"["u1",{"roomId":"r"}]"#, &[("notify-user", "u1/call.hangup", r#"[{"roomId":"r"}]"#)]),
        Case("notify.desktop", r#"["u1",{"title":"t"}]"#, &[("notify-user", "u1/notification", r#"[{"title":"t"}]"#)]),
        Case("notify.uiInteraction", r#"["u1",{"a":1}]"#, &[("notify-user", "u1/uiInteraction", r#"[{"a":1}]"#)]),
        Case("notify.updateInvites", r#"["u1",{"invite":1}]"#, &[("notify-user", "u1/updateInvites", r#"[{"invite":1}]"#)]),
        Case("notify.webdav", r#"["u1",{"type":"changed","account":{}}]"#, &[("notify-user", "u1/webdav", r#"[{"type":"changed","account":{}}]"#)]),
        Case("notify.calendar", r#"["u1",{"a":1}]"#, &[("notify-user", "u1/calendar", r#"[{"a":1}]"#)]),
        Case("notify.e2e.keyRequest", r#"["r1","k"]"#, &[("notify-room", "r1/e2e.keyRequest", r#"["k"]"#)]),
        Case("notify.deleteMessage", r#"["r1",{"_id":"m"}]"#, &[("notify-room", "r1/deleteMessage", r#"[{"_id":"m"}]"#)]),
        Case("notify.deleteMessageBulk", r#"["r1",{"rid":"r1","ts":{"$gt":{"$date":1}}}]"#, &[("notify-room", "r1/deleteMessageBulk", r#"[{"rid":"r1","ts":{"$gt":{"$date":1}}}]"#)]),
        Case("notify.deleteCustomSound", r#"[{"a":1}]"#, &[("notify-all", "deleteCustomSound", r#"[{"a":1}]"#), ("notify-all", "public-info", r#"[["deleteCustomSound",[{"a":1}]]]"#)]),
        Case("notify.updateCustomSound", r#"[{"a":1}]"#, &[("notify-all", "updateCustomSound", r#"[{"a":1}]"#), ("notify-all", "public-info", r#"[["updateCustomSound",[{"a":1}]]]"#)]),
        Case("omnichannel.room", r#"["r1",{"type":"queueData"}]"#, &[("livechat-room", "r1", r#"[{"type":"queueData"}]"#)]),
        Case("apps.added", r#"["a"]"#, &[("apps", "app/added", r#"["a"]"#), ("apps", "apps", r#"[["app/added",["a"]]]"#)]),
        Case("apps.removed", r#"["a"]"#, &[("apps", "app/removed", r#"["a"]"#), ("apps", "apps", r#"[["app/removed",["a"]]]"#)]),
        Case("apps.updated", r#"["a","origin"]"#, &[("apps", "app/updated", r#"["a"]"#), ("apps", "apps", r#"[["app/updated",["a"]]]"#)]),
        Case("apps.statusUpdate", r#"["a","on"]"#, &[("apps", "app/statusUpdate", r#"[{"appId":"a","status":"on"}]"#), ("apps", "apps", r#"[["app/statusUpdate",[{"appId":"a","status":"on"}]]]"#)]),
        Case("apps.settingUpdated", r#"["a",{"id":"s"}]"#, &[("apps", "app/settingUpdated", r#"[{"appId":"a","setting":{"id":"s"}}]"#), ("apps", "apps", r#"[["app/settingUpdated",[{"appId":"a","setting":{"id":"s"}}]]]"#)]),
        Case("command.added", r#"["c"]"#, &[("apps", "command/added", r#"["c"]"#), ("apps", "apps", r#"[["command/added",["c"]]]"#)]),
        Case("command.disabled", r#"["c"]"#, &[("apps", "command/disabled", r#"["c"]"#), ("apps", "apps", r#"[["command/disabled",["c"]]]"#)]),
        Case("command.updated", r#"["c"]"#, &[("apps", "command/updated", r#"["c"]"#), ("apps", "apps", r#"[["command/updated",["c"]]]"#)]),
        Case("command.removed", r#"["c"]"#, &[("apps", "command/removed", r#"["c"]"#), ("apps", "apps", r#"[["command/removed",["c"]]]"#)]),
        Case("actions.changed", "[]", &[("apps", "actions/changed", "[]"), ("apps", "apps", r#"[["actions/changed",[]]]"#)]),
    ];

    #[test]
    fn every_row_says_what_the_contract_says() {
        let translator = Translator::new();
        for Case(event, args, expected) in CASES {
            let mut found = Vec::new();
            translator.rows(event, args, &mut String::new(), |stream, key, template| {
                let args = String::from_utf8(template.args(args).to_vec()).unwrap();
                found.push((stream.name, key.to_owned(), args));
            });
            let found: Vec<_> = found
                .iter()
                .map(|(stream, key, args)| (*stream, &**key, &**args))
                .collect();
            assert_eq!(found, *expected, "{event} {args}");
            for (_, _, args) in found {
                serde_json::from_str::<serde_json::Value>(args).unwrap();
            }
        }
    }

    #[test]
    fn every_row_names_a_stream_and_has_a_case() {
        for row in events::ROWS {
            assert!(table::stream(row.stream).is_some(), "{}", row.stream);
            let covered = CASES.iter().any(|Case(event, _, outputs)| {
                *event == row.event && outputs.iter().any(|(stream, _, _)| *stream == row.stream)
            });
            assert!(covered, "{}", row.event);
        }
    }
}
