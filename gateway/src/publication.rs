//! What goes out to many: encoded at most once per framing, shared by every subscriber.

use std::{
    iter,
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

/// What a message weighs in a publication besides what it says.
const OVERHEAD: usize = 256;

/// What successive messages weigh that go out in one piece, at most; a client that has taken all but the last of them still
/// holds the whole piece.
const RUN_BYTES: usize = 32 * 1024;

/// Something for all subscribers of a topic, or of one event of each of several users.
#[derive(Debug)]
pub(crate) struct Publication {
    pub(crate) to: To,
    pub(crate) body: Body,
    /// What was said next to the same subscribers: with `body` one piece for each of them.
    more: Vec<Body>,
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

    /// The finished websocket frame for the subscribers of this topic.
    fn frame(&self, topic: &Topic, framing: Framing) -> Bytes {
        match self {
            Self::Args(args) => framing.frame(&ddp::encode::stream_changed(
                topic.stream.name(),
                &topic.event,
                args,
            )),
            Self::Message(text) | Self::Status { message: text, .. } => framing.frame(text),
        }
    }

    /// The text as it stands inside of a frame.
    fn part(&self, framing: Framing) -> Bytes {
        let text = self.text();
        match framing {
            Framing::Raw => text.clone().into_bytes(),
            Framing::SockJs => {
                let mut escaped = BytesMut::with_capacity(text.len() + text.len() / 4);
                sockjs::escape_into(text, &mut escaped);
                escaped.freeze()
            }
        }
    }
}

impl Publication {
    pub(crate) fn new(to: To, body: Body, class: Class, received: Instant) -> Self {
        Self {
            to,
            body,
            more: Vec::new(),
            exclude: None,
            class,
            received,
            frames: Frames::default(),
        }
    }

    /// Takes in what is said next, where every subscriber gets both alike; gives it back where it is for others, or may be
    /// treated otherwise.
    #[must_use = "what is given back has been said too"]
    pub(crate) fn join(&mut self, next: Self) -> Option<Self> {
        let are_alike = self.class == next.class
            && self.is_for_all_alike()
            && next.is_for_all_alike()
            && matches!((&self.to, &next.to), (To::Topic(one), To::Topic(other)) if one == other)
            && self.weight() + next.weight() <= RUN_BYTES;
        if !are_alike {
            return Some(next);
        }
        self.more.push(next.body);
        self.more.extend(next.more);
        None
    }

    fn is_for_all_alike(&self) -> bool {
        self.exclude.is_none() && !matches!(self.body, Body::Status { .. })
    }

    /// Messages that each subscriber gets.
    pub(crate) fn messages(&self) -> usize {
        1 + self.more.len()
    }

    pub(crate) fn bodies(&self) -> impl Iterator<Item = &Body> {
        iter::once(&self.body).chain(&self.more)
    }

    /// Bytes of what each subscriber gets, about.
    pub(crate) fn len(&self) -> usize {
        self.bodies().map(|body| body.text().len()).sum()
    }

    /// What it counts in a mailbox, in bytes.
    pub(crate) fn weight(&self) -> usize {
        OVERHEAD * self.messages() + self.len()
    }

    /// The finished websocket frames for the subscribers of a topic; for several users the arguments alone, ready to be
    /// spliced.
    pub(crate) fn frame(&self, framing: Framing) -> Frame {
        self.frames.0[framing as usize]
            .get_or_init(|| match &self.to {
                To::Topic(topic) if self.more.is_empty() => {
                    Frame::Shared(self.body.frame(topic, framing))
                }
                To::Topic(topic) => {
                    let frames = self.bodies().map(|body| body.frame(topic, framing));
                    Frame::Run {
                        bytes: frames.collect::<Vec<_>>().concat().into(),
                        frames: u32::try_from(self.messages()).unwrap_or(u32::MAX),
                    }
                }
                To::Users { .. } => Frame::Shared(self.body.part(framing)),
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

#[cfg(test)]
mod tests {
    use super::*;

    fn message(room: &str, text: &str) -> Publication {
        let to = To::Topic(Topic::new(Stream::RoomMessages, room));
        let now = Instant::now();
        Publication::new(to, Body::Args(text.into()), Class::Data, now)
    }

    #[test]
    fn only_what_everybody_there_gets_alike_leaves_in_one_piece() {
        let excluding = |mut publication: Publication| {
            publication.exclude = Some(Place {
                shard: 0,
                slot: 0,
                generation: 0,
            });
            publication
        };
        let sheddable = |mut publication: Publication| {
            publication.class = Class::Sheddable;
            publication
        };
        let of_users = |mut publication: Publication| {
            let event = UserEvent::Own("notification");
            publication.to = To::Users {
                users: Arc::new([]),
                event,
            };
            publication
        };
        let status = |mut publication: Publication| {
            let (message, username) = ("{}".into(), "1".into());
            publication.body = Body::Status { message, username };
            publication
        };
        let one = || message("r", "[1]");
        let many = || {
            let mut publication = one();
            while publication.join(one()).is_none() {}
            publication
        };
        let large = || message("r", &format!("[{}1]", " ".repeat(RUN_BYTES / 2)));
        for (what, mut first, next, joins) in [
            ("the same topic", one(), one(), true),
            ("another topic", one(), message("other", "[1]"), false),
            (
                "the first without its author",
                excluding(one()),
                one(),
                false,
            ),
            (
                "the next without its author",
                one(),
                excluding(one()),
                false,
            ),
            (
                "both can be missed",
                sheddable(one()),
                sheddable(one()),
                true,
            ),
            ("one can be missed", one(), sheddable(one()), false),
            (
                "users of their own",
                of_users(one()),
                of_users(one()),
                false,
            ),
            ("some see less", one(), status(one()), false),
            ("one is large", one(), large(), true),
            ("too much", large(), large(), false),
            ("too many", many(), one(), false),
        ] {
            let (weight, messages) = (first.weight() + next.weight(), first.messages());
            let rest = first.join(next);
            assert_eq!(rest.is_none(), joins, "{what}");
            assert_eq!(first.messages(), messages + usize::from(joins), "{what}");
            assert!(first.messages() <= 1 + RUN_BYTES / OVERHEAD, "{what}");
            let left = rest.map_or(0, |next| next.weight());
            assert_eq!(first.weight() + left, weight, "{what}");
        }
    }

    #[test]
    fn a_piece_is_the_frames_of_its_messages() {
        for framing in [Framing::Raw, Framing::SockJs] {
            let texts = ["[1]", "[\"two\"]", "[3]"];
            let alone = texts.map(|text| match message("r", text).frame(framing) {
                Frame::Shared(bytes) => bytes,
                other => panic!("{other:?}"),
            });
            let mut joined = message("r", texts[0]);
            let mut more = message("r", texts[1]);
            assert!(more.join(message("r", texts[2])).is_none());
            assert!(joined.join(more).is_none());
            let Frame::Run { bytes, frames } = joined.frame(framing) else {
                panic!("not in one piece")
            };
            assert_eq!((bytes, frames), (alone.concat().into(), 3));
        }
    }
}
