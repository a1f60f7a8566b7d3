//! `presence.status` for those who watch its user: one message in a while for each user, who flaps or not.

use std::{rc::Rc, time::Instant};

use protocol::{ddp::encode::presence_changed, outbox::Class};

use super::core::{Core, now};
use crate::{
    publication::{Body, Publication, To},
    streams::{
        presence_status::PresenceStatus,
        table::Stream,
        topic::{Topic, TopicRef},
        watch::Status,
    },
};

/// Where everybody hears of everybody's status.
const EVERYBODY: TopicRef<'static> = TopicRef {
    stream: Stream::NotifyLogged,
    event: "user-status",
};

impl Core {
    /// Tells everybody of a status, at the end of the window if one is open for its user.
    pub(crate) fn tell_everybody_soon(
        self: &Rc<Self>,
        status: &PresenceStatus<'_>,
        received: Instant,
    ) {
        if self.interest.shards(EVERYBODY) == 0 {
            return;
        }
        let Some(args) = status.tuple() else { return };
        let user = status.id.as_ref().into();
        let tell = |core: &Self, args: String, at| core.emit(EVERYBODY, || args.into(), at);
        self.tell_soon(|state| &state.statuses, user, args, received, tell);
    }

    /// Tells of a status, or lets it wait: behind the one before, or until it is known who may see its user.
    pub(crate) fn publish_watched(self: &Rc<Self>, status: &PresenceStatus<'_>) {
        let topic = TopicRef {
            stream: Stream::UserPresence,
            event: &status.id,
        };
        if self.interest.shards(topic) == 0 {
            return;
        }
        let status = Status::of(status);
        let free = self.state.scopes.borrow_mut().hold(status);
        if let Some(status) = free {
            self.tell_watched_soon(status);
        }
    }

    /// Tells of a status that nothing else holds back, at the end of the window if one is open.
    pub(crate) fn tell_watched_soon(self: &Rc<Self>, status: Status) {
        let user = status.user.clone();
        self.tell_soon(
            |state| &state.flaps,
            user,
            status,
            now(),
            Self::tell_watched,
        );
    }

    fn tell_watched(&self, status: Status, at: Instant) {
        let topic = Topic {
            stream: Stream::UserPresence,
            event: status.user.clone(),
        };
        let shards = self.interest.shards(topic.borrow());
        if shards != 0 {
            let body = Body::Status {
                message: presence_changed(&status.user, &status.tuple).into(),
                username: status.username.as_str().into(),
            };
            let told = Publication::new(To::Topic(topic), body, Class::Sheddable, at);
            self.with_post(|post| post.publish(shards, told));
        }
    }
}
