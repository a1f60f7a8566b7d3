//! Events of the bus: what the table says happens before their publications, the publications, and what happens after.

use std::{
    rc::Rc,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use backplane::Event;
use bytestring::ByteString;
use protocol::ddp::ejson;

use super::core::Core;
use crate::streams::{
    ephemeral, events::Reaction, inquiry::Inquiry, plan::Plan, presence_status::PresenceStatus,
    table::Stream, topic::TopicRef,
};

impl Core {
    /// Takes one event.
    pub(crate) fn event(self: &Rc<Self>, event: Event) {
        let Some(plan) = self.plans.get(event.name) else {
            return;
        };
        if !self.is_news(&event) || plan.looks_into && !event.is_sound() {
            return;
        }
        if plan.first.contains(&Reaction::Room) && self.must_wait(&event.args) {
            return self.let_wait(event);
        }
        self.apply(plan, &event);
    }

    /// Takes an event that has waited for its turn.
    pub(crate) fn event_in_turn(self: &Rc<Self>, event: &Event) {
        if let Some(plan) = self.plans.get(event.name) {
            self.apply(plan, event);
        }
    }

    fn apply(self: &Rc<Self>, plan: &Plan, event: &Event) {
        let args = &*event.args;
        for reaction in plan.first {
            self.react(*reaction, args, event);
        }
        let mut key = self.key.borrow_mut();
        plan.say(args, &mut key, |topic, template| {
            self.emit_of(event, topic, || template.args(args).into());
        });
        drop(key);
        for reaction in plan.last {
            self.react(*reaction, args, event);
        }
    }

    fn react(self: &Rc<Self>, reaction: Reaction, args: &str, event: &Event) {
        let received = event.received;
        match reaction {
            Reaction::Membership => self.membership_changed(args, received),
            Reaction::Room => self.room_changed(args, received),
            Reaction::User => self.user_changed(args),
            Reaction::UserGone => self.user_gone(args),
            Reaction::RoleGranted => self.role_granted(args),
            Reaction::Agent => self.agent_changed(args),
            Reaction::Everybody => self.everybody_changed(),
            Reaction::Setting => self.setting_changed(args),
            Reaction::Conference => self.conference_changed(args),
            Reaction::Logout => self.logout_heard(args),
            Reaction::ForceLogout => self.force_logout(args),
            Reaction::Relay => self.relayed(args, event),
            Reaction::PublishSetting => self.publish_setting(args, received),
            Reaction::PresenceStatus => self.publish_status(args, received),
            Reaction::Visibility => self.visibility_changed(args),
            Reaction::EphemeralMessage => self.publish_ephemeral(args, received),
            Reaction::ImportedMessages => self.publish_imported(args, received),
            Reaction::MyMessages => self.my_messages(event),
            Reaction::Inquiry => self.publish_inquiry(args, received),
            Reaction::LoginService => self.login_service_changed(args, received),
            Reaction::ClientVersion => self.client_version_changed(args, received),
        }
    }

    /// `stream`: what another process emits on a stream.
    fn relayed(&self, args: &str, event: &Event) {
        let mut relays = self.state.relays.borrow_mut();
        if let Some(relayed) = relays.read(&event.sender, args)
            && let Some(stream) = Stream::named(&relayed.stream)
            // Who may see whom is judged where `presence.status` is told, and nobody relays it.
            && stream != Stream::UserPresence
        {
            let topic = TopicRef {
                stream,
                event: &relayed.event,
            };
            self.emit_of(event, topic, || (*relayed.args).into());
        }
    }

    /// Publishes under an event name that is put together from its parts in scratch.
    fn emit_under(
        &self,
        stream: Stream,
        event: &[&str],
        args: impl FnOnce() -> ByteString,
        received: Instant,
    ) {
        let mut key = self.key.borrow_mut();
        key.clear();
        event.iter().for_each(|part| key.push_str(part));
        let topic = TopicRef {
            stream,
            event: &key,
        };
        self.emit(topic, args, received);
    }

    fn publish_status(self: &Rc<Self>, args: &str, received: Instant) {
        let Some(status) = PresenceStatus::parse(args) else {
            return;
        };
        let data = || status.data().into();
        self.emit_under(
            Stream::NotifyUser,
            &[&status.id, "/userData"],
            data,
            received,
        );
        self.tell_everybody_soon(&status, received);
        self.publish_watched(&status);
    }

    fn publish_ephemeral(&self, args: &str, received: Instant) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.map_or(0, |since| since.as_millis());
        if let Some(user) = ephemeral::user(args)
            && let Some(message) = ephemeral::Message::parse(args)
        {
            let message = || message.args(now).into();
            self.emit_under(Stream::NotifyUser, &[&user, "/message"], message, received);
        }
    }

    fn publish_inquiry(&self, args: &str, received: Instant) {
        if let Some(inquiry) = Inquiry::parse(args) {
            inquiry.say(self.state.line.get(), |event, args| {
                self.emit_under(
                    Stream::LivechatInquiryQueue,
                    event,
                    || args().into(),
                    received,
                );
            });
        }
    }

    /// `notify.importedMessages({roomIds})`: one event per room.
    fn publish_imported(&self, args: &str, received: Instant) {
        let rooms = ejson::at(args, 0, &["roomIds"]).unwrap_or("");
        for room in ejson::elements(rooms).filter_map(ejson::string) {
            let event = [&*room, "/messagesImported"];
            self.emit_under(Stream::NotifyRoom, &event, || "[null]".into(), received);
        }
    }
}
