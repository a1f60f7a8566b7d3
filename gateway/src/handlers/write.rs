//! `stream-<name>` methods: what a client may say on a stream (streams.md 7.3). A rule's refusal looks like success: the
//! result is empty either way. Only a write beyond a limit is answered with an error, so that a sound client slows down.

use std::{rc::Rc, sync::Arc, time::Instant};

use protocol::ddp::{self, ejson, encode::quoted};

use super::core::{Core, now};
use crate::{
    link::Caller,
    metrics,
    place::Place,
    publication::UserEvent,
    state::{Typing, relays::Relayed, spending::Payer},
    streams::{
        request::tokens,
        table::{Stream, Write},
        topic::TopicRef,
    },
};

/// A name and a few words, passed on to everybody in a room.
const ROOM_WRITE_BYTES_MAX: usize = 4_096;

/// A session description of a call with many candidates, to one user.
const SIGNAL_BYTES_MAX: usize = 65_536;

/// Arguments of a word to a peer before an off-the-record talk: mostly a public key.
const OTR_BYTES_MAX: usize = 16 * 1_024;

/// What such a word begins with.
const OTR_STEPS: [&str; 4] = ["handshake", "acknowledge", "deny", "end"];

/// Members that one `notify-room-users` write reaches at most.
const MEMBERS_MAX: usize = 1_000;

/// What a relay is charged at least: its envelope travels too, and a thousand of them are not nothing because they say little.
const RELAY_BYTES: usize = 256;

/// What a look for the members of a room is charged, whether or not something is passed on then.
const LOOK_BYTES: usize = 4_096;

/// Relays that are written before everything else on this thread has its turn.
const RELAYS_AT_ONCE: usize = 32;

impl Core {
    /// Judges one write and passes it on.
    ///
    /// # Errors
    /// It is larger than its stream takes, or its writer has had too much passed on lately.
    pub(crate) async fn write(
        self: &Rc<Self>,
        caller: &Caller,
        stream: Stream,
        params: &str,
    ) -> Result<(), ddp::Error> {
        let bytes_max = match stream.row().write {
            Write::Never => usize::MAX,
            Write::Activity | Write::Members => ROOM_WRITE_BYTES_MAX,
            Write::Signals => SIGNAL_BYTES_MAX,
        };
        if params.len() > bytes_max {
            metrics::write_refused("size");
            let reason = format!("A write to this stream has at most {bytes_max} bytes");
            return Err(ddp::Error::new("error-too-large", Some(reason.into())));
        }
        let mut elements = ejson::elements(params);
        let event = elements.next().and_then(ejson::string);
        let longest = self.config.limits.name_bytes;
        let Some(event) = event.filter(|event| (1..=longest).contains(&event.len())) else {
            return Ok(());
        };
        let args: Vec<&str> = elements.collect();
        let (id, Some(what)) = stream.split(&event) else {
            return Ok(());
        };
        if stream.row().write != Write::Never {
            self.charge(caller, params.len())?;
        }
        let accepted = match stream.row().write {
            Write::Never => false,
            Write::Activity => what == "user-activity" && self.activity_of(caller, id, &args).await,
            Write::Signals if what == "otr" && params.len() > OTR_BYTES_MAX => false,
            Write::Signals => self.signal(caller, what, &args).await,
            Write::Members => {
                self.tell_members(caller, id, what, &args, params.len())
                    .await?;
                false
            }
        };
        metrics::write(stream.name(), accepted);
        if !accepted {
            return Ok(());
        }
        if stream.row().write == Write::Activity {
            self.types(caller, event.into_owned(), &args);
        } else {
            self.deliver(stream, &event, &args.join(","), caller.place());
        }
        Ok(())
    }

    /// Tells what somebody does in a room, or lets it wait behind what he did a moment ago: only the last of it matters.
    fn types(self: &Rc<Self>, caller: &Caller, event: String, args: &[&str]) {
        let typing = Typing {
            event: event.clone(),
            args: args.iter().map(|arg| (*arg).to_owned()).collect(),
            writer: caller.place(),
            user: caller.user_id().cloned(),
        };
        let key = (payer(caller), event);
        self.tell_soon(|state| &state.typing, key, typing, now(), Self::tell_typing);
    }

    fn tell_typing(&self, typing: Typing, _: Instant) {
        let (stream, args) = (Stream::NotifyRoom, &typing.args);
        self.deliver(stream, &typing.event, &args.join(","), typing.writer);
        if let (Some(user), (id, Some(_))) = (&typing.user, stream.split(&typing.event)) {
            let activities = args.get(1).map_or("[]", String::as_str);
            let (rid, uid) = (quoted(id), quoted(user));
            let text = format!("[{{\"rid\":{rid},\"uid\":{uid},\"activities\":{activities}}}]");
            self.upstream.emit("room.user-activity", &text);
        }
    }

    /// Charges the writer for bytes that are passed on.
    fn charge(&self, caller: &Caller, bytes: usize) -> Result<(), ddp::Error> {
        let mut spending = self.state.spending.borrow_mut();
        let charged = spending.charge(payer(caller), bytes, now());
        charged.map_err(|wait| {
            metrics::write_refused("bytes");
            ddp::Error::too_many_requests(wait)
        })
    }

    /// To our own subscribers but the writer, and to all other processes.
    fn deliver(&self, stream: Stream, event: &str, args: &str, writer: Place) {
        let args = format!("[{args}]");
        let topic = TopicRef { stream, event };
        self.emit_but(topic, || Some(args.as_str().into()), Some(writer), now());
        self.flush();
        self.relay(stream, event, &args);
    }

    /// To all other processes.
    fn relay(&self, stream: Stream, event: &str, args: &str) {
        let relay = self.state.relays.borrow().write(&Relayed {
            stream: stream.name().into(),
            event: event.into(),
            args,
        });
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
        let tokens = args
            .get(2)
            .and_then(|extra| tokens(extra, &self.config.limits).0);
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

    /// `video-conference` and `media-calls` to a user, as the services behind them decide; `otr` on
    /// lines that have it, while its setting is on.
    async fn signal(self: &Rc<Self>, caller: &Caller, what: &str, args: &[&str]) -> bool {
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
            "otr" => {
                let step = ejson::string(first);
                let is_step = step
                    .as_deref()
                    .is_some_and(|step| OTR_STEPS.contains(&step));
                is_step
                    && self.state.line.get().may_have_otr()
                    && self.setting_is_on("OTR_Enable").await == Ok(true)
            }
            "media-calls" if args.len() == 1 && ejson::string(first).is_some() => {
                let params = format!("[{},{first}]", quoted(&user.id));
                let action = "media-call.processSerializedSignal";
                if let Err(error) = self.upstream.call_for_client(action, &params).await {
                    self.upstream.complain("a signal was not processed", &error);
                }
                // Never passed on: the service answers with signals of its own.
                false
            }
            _ => false,
        }
    }

    /// `notify-room-users`: a member's word to every other member. One publication for all of them here; the other processes
    /// know no stream for it and get one relay for each, in portions, because no member's word may hold up everybody's.
    async fn tell_members(
        &self,
        caller: &Caller,
        room: &str,
        what: &str,
        args: &[&str],
        bytes: usize,
    ) -> Result<(), ddp::Error> {
        let Some(user) = &caller.user else {
            return Ok(());
        };
        let Some(what) = ["video-conference", "userData"]
            .into_iter()
            .find(|known| *known == what)
        else {
            return Ok(());
        };
        self.charge(caller, LOOK_BYTES)?;
        // One more than are told, and he himself: so it shows that there are more.
        let limit = MEMBERS_MAX as u32 + 2;
        let Ok(members) = self.upstream.members_for(room, &user.id, limit).await else {
            return Ok(());
        };
        let others = members.iter().filter(|member| **member != *user.id);
        let others: Arc<[Arc<str>]> = others
            .take(MEMBERS_MAX)
            .map(|member| Arc::from(member.as_str()))
            .collect();
        if members.len() == limit as usize {
            metrics::cut("members");
        }
        self.charge(caller, bytes.max(RELAY_BYTES) * others.len())?;
        let args = format!("[{}]", args.join(","));
        self.emit_to_users(
            others.clone(),
            UserEvent::Own(what),
            args.as_str().into(),
            now(),
        );
        self.flush();
        for portion in others.chunks(RELAYS_AT_ONCE) {
            for member in portion {
                self.relay(Stream::NotifyUser, &format!("{member}/{what}"), &args);
            }
            tokio::task::yield_now().await;
        }
        Ok(())
    }
}

/// Who pays for a write.
fn payer(caller: &Caller) -> Payer {
    match caller.user_id() {
        Some(user) => Payer::User(user.clone()),
        None => Payer::Nobody(caller.place()),
    }
}
