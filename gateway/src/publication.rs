//! What goes out to many: encoded at most once per framing, shared by every subscriber.

use std::{
    sync::{Arc, OnceLock},
    time::Instant,
};

use bytes::{Bytes, BytesMut};
use bytestring::ByteString;
use protocol::{
    ddp,
    outbox::{Class, Frame},
    sockjs::{self, Framing},
    ws,
};

use crate::{
    place::Place,
    streams::{request::MY_MESSAGES, table::Stream, topic::Topic},
};

/// What a publication weighs besides what it says.
const OVERHEAD: usize = 256;

/// Something for all subscribers of a topic, or of one event of each of several users.
#[derive(Debug)]
pub(crate) struct Publication {
    pub(crate) to: To,
    pub(crate) body: Body,
    /// The client that caused it (typing), which does not get its own event back.
    pub(crate) exclude: Option<Place>,
    pub(crate) class: Class,
    /// When the event reached the bus thread; for the fan-out latency histogram.
    pub(crate) received: Instant,
    frames: Frames,
}

/// By [`Framing`], each made when first needed: the finished frame, or what is spliced into each user's.
#[derive(Debug, Default)]
struct Frames([OnceLock<Frame>; 2]);

/// To whom.
#[derive(Debug)]
pub(crate) enum To {
    Topic(Topic),
    /// An event of each of these: at most the user id differs, the arguments stay shared.
    Users {
        users: Arc<[Arc<str>]>,
        event: UserEvent,
    },
}

/// An event that is each user's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UserEvent {
    /// `notify-user` `<uid>/<event>`.
    Own(&'static str),
    /// `room-messages` `__my_messages__`, whose readers differ by message.
    MyMessages,
}

impl UserEvent {
    /// Writes the name under which the shards find a user's subscribers; the topic is one of `notify-user`.
    pub(crate) fn key(self, user: &str, into: &mut String) {
        into.clear();
        into.push_str(user);
        into.push('/');
        into.push_str(match self {
            Self::Own(event) => event,
            Self::MyMessages => MY_MESSAGES,
        });
    }

    /// The stream and the event name that clients see.
    fn shown(self, key: &str) -> (Stream, &str) {
        match self {
            Self::Own(_) => (Stream::NotifyUser, key),
            Self::MyMessages => (Stream::RoomMessages, MY_MESSAGES),
        }
    }
}

/// What a publication says.
#[derive(Debug)]
pub(crate) enum Body {
    /// The arguments of a stream event, a raw JSON array.
    Args(ByteString),
    /// A finished DDP message (records of the publications that are no streams).
    Message(ByteString),
    /// A finished message about a user who is watched, and his name (raw JSON) for those who must not see him.
    Status {
        message: ByteString,
        username: ByteString,
    },
}

impl Body {
    pub(crate) fn text(&self) -> &ByteString {
        match self {
            Self::Args(text) | Self::Message(text) | Self::Status { message: text, .. } => text,
        }
    }

    /// Bytes of what every subscriber gets, about.
    pub(crate) fn len(&self) -> usize {
        self.text().len()
    }
}

impl Publication {
    pub(crate) fn new(to: To, body: Body, class: Class, received: Instant) -> Self {
        Self {
            to,
            body,
            exclude: None,
            class,
            received,
            frames: Frames::default(),
        }
    }

    /// What it counts in a mailbox, in bytes.
    pub(crate) fn weight(&self) -> usize {
        OVERHEAD + self.body.len()
    }

    /// The finished websocket frame for the subscribers of a topic; for several users the arguments alone, ready to be
    /// spliced.
    pub(crate) fn frame(&self, framing: Framing) -> Frame {
        self.frames.0[framing as usize]
            .get_or_init(|| {
                Frame::Shared(match (&self.to, &self.body) {
                    (To::Topic(topic), Body::Args(args)) => framing.frame(
                        &ddp::encode::stream_changed(topic.stream.name(), &topic.event, args),
                    ),
                    (To::Topic(_), Body::Message(text) | Body::Status { message: text, .. }) => {
                        framing.frame(text)
                    }
                    (To::Users { .. }, body) => match framing {
                        Framing::Raw => body.text().clone().into_bytes(),
                        Framing::SockJs => {
                            let text = body.text();
                            let mut escaped = BytesMut::with_capacity(text.len() + text.len() / 4);
                            sockjs::escape_into(text, &mut escaped);
                            escaped.freeze()
                        }
                    },
                })
            })
            .clone()
    }

    /// The frame for one of several users, whose topic has this key: only its head is new, the arguments stay shared.
    pub(crate) fn user_frame(&self, framing: Framing, event: UserEvent, key: &str) -> Frame {
        let Frame::Shared(body) = self.frame(framing) else {
            return self.frame(framing);
        };
        let mut text = String::from(r#"{"msg":"changed","collection":"stream-"#);
        let (stream, event) = event.shown(key);
        text.push_str(stream.name());
        text.push_str(r#"","id":"id","fields":{"eventName":"#);
        ddp::encode::push_string(&mut text, event);
        text.push_str(r#","args":"#);
        let (open, tail): (BytesMut, &'static [u8]) = match framing {
            Framing::Raw => (text.as_bytes().into(), b"}}"),
            Framing::SockJs => {
                let mut open = BytesMut::from(&b"a[\""[..]);
                sockjs::escape_into(&text, &mut open);
                (open, b"}}\"]")
            }
        };
        let mut head = BytesMut::with_capacity(10 + open.len());
        ws::frame_header(
            ws::Opcode::Text,
            open.len() + body.len() + tail.len(),
            &mut head,
        );
        head.extend_from_slice(&open);
        Frame::Spliced {
            head: head.freeze(),
            body,
            tail: Bytes::from_static(tail),
        }
    }
}
