//! `presence.status` for those who watch its user: one message in a while for each user, who flaps or not.

use std::{
    rc::Rc,
    time::{Duration, Instant},
};

use protocol::outbox::Class;

use super::core::{Core, now};
use crate::{
    publication::{Body, Publication, To},
    streams::{
        presence_status::PresenceStatus,
        table::Stream,
        topic::{Topic, TopicRef},
        watch::{self, Status},
    },
};

/// Only the last status of a user within this time is told.
const WINDOW: Duration = Duration::from_millis(200);

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
        let mut statuses = self.state.statuses.borrow_mut();
        let opens = statuses.is_empty();
        let told = statuses.enter(status.id.as_ref().into(), args);
        drop(statuses);
        if opens {
            let core = self.clone();
            tokio::task::spawn_local(async move { core.end_windows_of_all().await });
        }
        if let Some(args) = told {
            self.emit(EVERYBODY, || args.into(), received);
        }
    }

    async fn end_windows_of_all(&self) {
        while !self.state.statuses.borrow().is_empty() {
            tokio::time::sleep(WINDOW).await;
            let told = self.state.statuses.borrow_mut().turn();
            for args in told {
                self.emit(EVERYBODY, || args.into(), now());
            }
            self.flush();
        }
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
        let mut flaps = self.state.flaps.borrow_mut();
        let opens = flaps.is_empty();
        let told = flaps.enter(status.user.clone(), status);
        drop(flaps);
        if opens {
            let core = self.clone();
            tokio::task::spawn_local(async move { core.end_windows().await });
        }
        if let Some(status) = told {
            self.tell_watched(&status);
        }
    }

    /// Ends one window after the other until nobody's status is in one.
    async fn end_windows(&self) {
        while !self.state.flaps.borrow().is_empty() {
            tokio::time::sleep(WINDOW).await;
            let told = self.state.flaps.borrow_mut().turn();
            told.iter().for_each(|status| self.tell_watched(status));
            self.flush();
        }
    }

    fn tell_watched(&self, status: &Status) {
        let topic = Topic {
            stream: Stream::UserPresence,
            event: status.user.clone(),
        };
        let shards = self.interest.shards(topic.borrow());
        if shards != 0 {
            let body = Body::Status {
                message: watch::message(&status.user, &status.tuple).into(),
                username: status.username.as_str().into(),
            };
            let told = Publication::new(To::Topic(topic), body, Class::Sheddable, now());
            self.with_post(|post| post.publish(shards, told));
        }
    }
}
