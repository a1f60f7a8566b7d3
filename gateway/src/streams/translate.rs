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
    link::{Body, Publication, Scope, Topic},
    metrics,
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
    let translator = core.translator.borrow();
    let mut key = core.key.borrow_mut();
    for plan in translator.plans.get(name).into_iter().flatten() {
        let applies = match &plan.when {
            Condition::Always => true,
            Condition::Is(path, value) => path.find(args) == Some(value),
            Condition::Not(path, value) => path.find(args) != Some(value),
        };
        if applies && plan.key.key(args, &mut key) {
            emit(
                core,
                plan.stream,
                &key,
                || plan.args.args(args),
                None,
                received,
            );
        }
    }
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
            stream: stream.name.into(),
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
