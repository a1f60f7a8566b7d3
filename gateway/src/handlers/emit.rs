//! From something to say to publications for the shards that have somebody who listens.

use std::{sync::Arc, time::Instant};

use backplane::Event;
use bytestring::ByteString;
use protocol::outbox::Class;

use super::core::Core;
use crate::{
    place::Place,
    publication::{Body, Publication, To, UserEvent},
    streams::{
        table::Stream,
        topic::{Topic, TopicRef},
    },
};

/// Users whose shards are looked up one by one; more, and every shard gets the publication.
const USERS_LOOKED_UP_MAX: usize = 64;

impl Core {
    /// Publishes on a topic, unless nobody listens: then nothing is made.
    pub(crate) fn emit(
        &self,
        topic: TopicRef<'_>,
        args: impl FnOnce() -> ByteString,
        received: Instant,
    ) {
        self.emit_but(topic, || Some(args()), None, received);
    }

    /// As [`Self::emit`], what is cut from an event: nothing where that is no JSON, which is looked at only if somebody
    /// listens.
    pub(crate) fn emit_of(
        &self,
        event: &Event,
        topic: TopicRef<'_>,
        args: impl FnOnce() -> ByteString,
    ) {
        let args = || event.is_sound().then(args);
        self.emit_but(topic, args, None, event.received);
    }

    /// As [`Self::emit`], to everybody but one client; `None` is not published.
    pub(crate) fn emit_but(
        &self,
        topic: TopicRef<'_>,
        args: impl FnOnce() -> Option<ByteString>,
        exclude: Option<Place>,
        received: Instant,
    ) {
        let shards = self.interest.shards(topic);
        if shards == 0 {
            return;
        }
        let Some(args) = args() else {
            return;
        };
        let class = topic.stream.class(topic.event);
        let to = To::Topic(topic.to_owned());
        let mut publication = Publication::new(to, Body::Args(args), class, received);
        publication.exclude = exclude;
        self.with_post(|post| post.publish(shards, publication));
    }

    /// Publishes a record's message to everybody who has subscribed its publication.
    pub(crate) fn emit_record(&self, stream: Stream, message: String, received: Instant) {
        let topic = Topic::new(stream, "");
        let body = Body::Message(message.into());
        let publication = Publication::new(To::Topic(topic), body, Class::Data, received);
        // Whoever has just been answered is no interest yet, and no other word would mend what he misses.
        self.with_post(|post| post.publish(post.all(), publication));
    }

    /// Publishes an event to each of these, with the same arguments.
    pub(crate) fn emit_to_users(
        &self,
        users: Arc<[Arc<str>]>,
        event: UserEvent,
        args: ByteString,
        received: Instant,
    ) {
        let shards = if users.len() > USERS_LOOKED_UP_MAX {
            self.state.post.borrow().all()
        } else {
            // The interest of a user is one for all his events.
            users.iter().fold(0, |shards, user| {
                let topic = TopicRef {
                    stream: Stream::NotifyUser,
                    event: user,
                };
                shards | self.interest.shards(topic)
            })
        };
        if shards != 0 {
            let to = To::Users { users, event };
            let publication = Publication::new(to, Body::Args(args), Class::Data, received);
            self.with_post(|post| post.publish(shards, publication));
        }
    }
}
