//! `stream-<name>` methods: what a client may say on a stream (streams.md 7.3). A refusal looks like success: the result
//! is empty either way.

use std::{rc::Rc, sync::Arc};

use protocol::ddp::{ejson, encode::quoted};

use super::core::{Core, now};
use crate::{
    link::Caller,
    metrics,
    place::Place,
    state::relays::Relayed,
    streams::{
        request::{EVENT_BYTES_MAX, tokens},
        table::{Stream, Write},
        topic::TopicRef,
    },
};

/// Arguments of typing: a name and a few words, passed on to everybody in the room.
const ACTIVITY_BYTES_MAX: usize = 4_096;

/// Members that one `notify-room-users` write reaches at most.
const MEMBERS_MAX: usize = 1_000;

impl Core {
    /// Judges one write and passes it on.
    pub(crate) async fn write(self: &Rc<Self>, caller: &Caller, stream: Stream, params: &str) {
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
        let accepted = match stream.row().write {
            Write::Never => false,
            Write::Activity if params.len() > ACTIVITY_BYTES_MAX => false,
            Write::Activity => what == "user-activity" && self.activity_of(caller, id, &args).await,
            Write::Signals => self.signal(caller, what, &args).await,
            Write::Members => {
                self.tell_members(caller, id, what, &args).await;
                false
            }
        };
        metrics::write(stream.name(), accepted);
        if !accepted {
            return;
        }
        self.deliver(stream, &event, &args, Some(caller.place()));
        if let (Some(user), Write::Activity) = (&caller.user, stream.row().write) {
            let activities = args.get(1).unwrap_or(&"[]");
            let (rid, uid) = (quoted(id), quoted(&user.id));
            let text = format!("[{{\"rid\":{rid},\"uid\":{uid},\"activities\":{activities}}}]");
            self.upstream.emit("room.user-activity", &text);
        }
    }

    /// To our own subscribers and to all other processes.
    fn deliver(&self, stream: Stream, event: &str, args: &[&str], exclude: Option<Place>) {
        let relay = self.state.relays.borrow().write(&Relayed {
            stream: stream.name().to_owned(),
            event: event.to_owned(),
            args: format!("[{}]", args.join(",")),
        });
        let topic = TopicRef { stream, event };
        let args = || format!("[{}]", args.join(",")).into();
        self.emit_but(topic, args, exclude, now());
        self.flush();
        self.upstream.relay("stream", &relay);
    }

    /// Typing: `username, activities[], extraData?`, under one's own name, in a room that one can access.
    async fn activity_of(self: &Rc<Self>, caller: &Caller, room: &str, args: &[&str]) -> bool {
        let Some(name) = args.first().copied().and_then(ejson::string) else {
            return false;
        };
        if !args
            .get(1)
            .is_some_and(|activities| activities.starts_with('['))
        {
            return false;
        }
        let tokens = args.get(2).and_then(|extra| tokens(extra));
        let is_guest = tokens
            .as_deref()
            .is_some_and(|tokens| ejson::field(tokens, "token").is_some());
        let user = caller.user_id();
        if !is_guest {
            let Some(user) = user else {
                return false;
            };
            let Ok(Some(user)) = self.user(user).await else {
                return false;
            };
            let by_real_name = self
                .setting_is_on("UI_Use_Real_Name")
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
        let user = user.map(|user| &**user);
        self.may_write(&Arc::from(room), user, tokens.as_deref())
            .await
            .unwrap_or(false)
    }

    /// `video-conference` and `media-calls` to a user; the services behind them decide.
    async fn signal(&self, caller: &Caller, what: &str, args: &[&str]) -> bool {
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
                let part = |name| {
                    ejson::field(params, name).filter(|value| ejson::string(value).is_some())
                };
                let (Some(call), Some(uid), Some(rid)) = (part("callId"), part("uid"), part("rid"))
                else {
                    return false;
                };
                if ejson::string(action).is_none() {
                    return false;
                }
                let params = format!(
                    "[{action},{},{{\"callId\":{call},\"uid\":{uid},\"rid\":{rid}}}]",
                    quoted(&user.id)
                );
                self.upstream
                    .ask_bool("video-conference.validateAction", &params)
                    .await
                    == Ok(true)
            }
            "media-calls" if args.len() == 1 && ejson::string(first).is_some() => {
                let params = format!("[{},{first}]", quoted(&user.id));
                let action = "media-call.processSerializedSignal";
                if let Err(error) = self.upstream.call(action, &params).await {
                    self.upstream.complain("a signal was not processed", &error);
                }
                // Never passed on: the service answers with signals of its own.
                false
            }
            _ => false,
        }
    }

    /// `notify-room-users`: a member's word to every other member.
    async fn tell_members(&self, caller: &Caller, room: &str, what: &str, args: &[&str]) {
        let Some(user) = &caller.user else { return };
        if !matches!(what, "video-conference" | "userData") {
            return;
        }
        let Ok(members) = self.upstream.members_for(room, &user.id).await else {
            return;
        };
        let others = members.iter().filter(|member| **member != *user.id);
        for (number, member) in others.enumerate() {
            if number == MEMBERS_MAX {
                metrics::cut("members");
                break;
            }
            self.deliver(Stream::NotifyUser, &format!("{member}/{what}"), args, None);
        }
    }
}
