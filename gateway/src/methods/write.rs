//! `stream-<name>` methods: what a client may say on a stream (streams.md 7.3). A refusal looks like success: the result
//! is empty either way.

use std::{rc::Rc, sync::Arc, time::Instant};

use backplane::CallOptions;
use bytes::Bytes;
use protocol::ddp::ejson;

use crate::{
    access::{self, Asker, quoted},
    bus::Core,
    link::Caller,
    metrics,
    streams::{
        EVENT_BYTES_MAX,
        relay::Relayed,
        table::{self, Stream, Write},
        translate::emit,
    },
};

/// Arguments of typing: a name and a few words, passed on to everybody in the room.
const ACTIVITY_BYTES_MAX: usize = 4_096;

/// Members that one `notify-room-users` write reaches at most.
const MEMBERS_MAX: usize = 1_000;

/// Judges one write and passes it on.
pub(super) async fn write(core: &Rc<Core>, caller: &Caller, stream: &'static Stream, params: &str) {
    let mut elements = ejson::elements(params);
    let event = elements.next().and_then(ejson::string);
    let Some(event) = event.filter(|event| !event.is_empty() && event.len() <= EVENT_BYTES_MAX)
    else {
        return;
    };
    let args: Vec<&str> = elements.collect();
    let (id, Some(what)) = stream.split(&event) else {
        return;
    };
    let accepted = match stream.write {
        Write::Never => false,
        Write::Activity if params.len() > ACTIVITY_BYTES_MAX => false,
        Write::Activity => what == "user-activity" && activity(core, caller, id, &args).await,
        Write::Signals => signal(core, caller, what, &args).await,
        Write::Members => {
            members(core, caller, id, what, &args).await;
            false
        }
    };
    metrics::write(stream.name, accepted);
    if accepted {
        let connection = &caller.connection;
        let writer = (connection.shard, connection.slot, connection.generation);
        deliver(core, stream, &event, &args, Some(writer));
        if let (Some(user), Write::Activity) = (&caller.user, stream.write) {
            let activities = args.get(1).unwrap_or(&"[]");
            let text = format!(
                "[{{\"rid\":{},\"uid\":{},\"activities\":{activities}}}]",
                quoted(id),
                quoted(&user.id)
            );
            core.bus.emit("room.user-activity", &text);
        }
    }
}

/// To our own subscribers and to all other processes.
fn deliver(
    core: &Core,
    stream: &'static Stream,
    event: &str,
    args: &[&str],
    exclude: Option<(u16, u32, u32)>,
) {
    let args = format!("[{}]", args.join(","));
    let relay = core.relays.borrow_mut().write(&Relayed {
        stream: stream.name.to_owned(),
        event: event.to_owned(),
        args: args.clone(),
    });
    emit(
        core,
        stream,
        event,
        || Bytes::from(args),
        exclude,
        Instant::now(),
    );
    core.outgoing.borrow_mut().flush();
    core.bus.broadcast("stream", &relay);
}

/// Typing: `username, activities[], extraData?`, under one's own name, in a room that one can access.
async fn activity(core: &Rc<Core>, caller: &Caller, room: &str, args: &[&str]) -> bool {
    let Some(name) = args.first().copied().and_then(ejson::string) else {
        return false;
    };
    if !args
        .get(1)
        .is_some_and(|activities| activities.starts_with('['))
    {
        return false;
    }
    let extra = args.get(2).filter(|extra| extra.starts_with('{'));
    let is_guest = extra
        .and_then(|extra| ejson::field(extra, "token"))
        .and_then(ejson::string)
        .is_some_and(|token| !token.is_empty());
    let asker = Asker {
        user: caller.user.as_ref().map(|user| user.id.clone()),
        extra: extra.map(|extra| Arc::from(*extra)),
    };
    if !is_guest {
        let Some(user) = &asker.user else {
            return false;
        };
        let Ok(Some(user)) = access::user(core, user).await else {
            return false;
        };
        let by_real_name = access::setting_is_on(core, "UI_Use_Real_Name")
            .await
            .unwrap_or(false);
        let own = if by_real_name {
            user.name.as_ref().or(user.username.as_ref())
        } else {
            user.username.as_ref()
        };
        if own.is_none_or(|own| *own != *name) {
            return false;
        }
    }
    access::may_write(core, &Arc::from(room), &asker)
        .await
        .unwrap_or(false)
}

/// `video-conference` and `media-calls` to a user; the services behind them decide.
async fn signal(core: &Rc<Core>, caller: &Caller, what: &str, args: &[&str]) -> bool {
    let (Some(user), Some(first)) = (&caller.user, args.first()) else {
        return false;
    };
    match what {
        "video-conference" => {
            let (Some(action), Some(params)) =
                (ejson::field(first, "action"), ejson::field(first, "params"))
            else {
                return false;
            };
            let part =
                |name| ejson::field(params, name).filter(|value| ejson::string(value).is_some());
            let (Some(call), Some(uid), Some(rid)) = (part("callId"), part("uid"), part("rid"))
            else {
                return false;
            };
            let text = format!(
                "[{action},{},{{\"callId\":{call},\"uid\":{uid},\"rid\":{rid}}}]",
                quoted(&user.id)
            );
            let answer = core
                .bus
                .call(
                    "video-conference.validateAction",
                    &text,
                    CallOptions::default(),
                )
                .await;
            ejson::string(action).is_some()
                && matches!(answer, Ok(Some(answer)) if *answer == *b"true")
        }
        "media-calls" if args.len() == 1 && ejson::string(first).is_some() => {
            let text = format!("[{},{first}]", quoted(&user.id));
            let _ = core
                .bus
                .call(
                    "media-call.processSerializedSignal",
                    &text,
                    CallOptions::default(),
                )
                .await;
            // Never passed on: the service answers with signals of its own.
            false
        }
        _ => false,
    }
}

/// `notify-room-users`: a member's word to every other member.
async fn members(core: &Rc<Core>, caller: &Caller, room: &str, what: &str, args: &[&str]) {
    let Some(user) = &caller.user else { return };
    let Some(notify_user) = table::stream("notify-user") else {
        return;
    };
    if !matches!(what, "video-conference" | "userData") {
        return;
    }
    let (rid, uid) = (room.to_owned(), user.id.clone());
    let members = core
        .ask_store(|store| async move {
            match store.subscription(&rid, &uid).await? {
                Some(_) => store.members(&rid).await,
                None => Ok(Vec::new()),
            }
        })
        .await;
    for member in members
        .unwrap_or_default()
        .iter()
        .filter(|member| **member != *user.id)
        .take(MEMBERS_MAX)
    {
        deliver(core, notify_user, &format!("{member}/{what}"), args, None);
    }
}
