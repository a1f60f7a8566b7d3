//! What goes out to many: encoded at most once per framing, shared by every subscriber.

use std::{
    sync::{Arc, OnceLock},
    time::Instant,
};

use bytes::{Bytes, BytesMut};
use protocol::{
    ddp,
    outbox::{Class, Frame},
    sockjs::{self, Framing},
    ws,
};

use crate::topic::Topic;

/// Something for all subscribers of a topic. Shared by every shard; encoded at most once per framing.
#[derive(Debug)]
pub(crate) struct Publication {
    pub(crate) topic: Topic,
    pub(crate) body: Body,
    /// The connection that caused it (typing), which does not get its own event back: (shard, slot, generation).
    pub(crate) exclude: Option<(u16, u32, u32)>,
    pub(crate) class: Class,
    /// When the event reached the bus thread; for the fan-out latency histogram.
    pub(crate) received: Instant,
    pub(crate) raw: OnceLock<Frame>,
    pub(crate) sockjs: OnceLock<Frame>,
}

/// What a publication says.
#[derive(Debug)]
pub(crate) enum Body {
    /// A `changed` message of a stream: stream name without `stream-`, event name, raw JSON array.
    Stream {
        stream: &'static str,
        event: Arc<str>,
        args: Bytes,
    },
    /// A finished DDP message (documents of the publications that are not streams).
    Message(Bytes),
    /// `<uid>/rooms-changed` for each user in the list who has a subscriber here: only the user id differs, the
    /// arguments stay shared (`Frame::Spliced`). `topic` is not used.
    RoomsChanged { users: Arc<[Arc<str>]>, args: Bytes },
}

impl Body {
    /// Bytes of what every subscriber gets, about.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Stream { args, .. } | Self::RoomsChanged { args, .. } => args.len(),
            Self::Message(text) => text.len(),
        }
    }
}

impl Publication {
    /// The finished websocket frame of a `Stream` or `Message` body in this framing, built on first use; of a
    /// `RoomsChanged` body the arguments alone, ready to be spliced.
    pub(crate) fn frame(&self, framing: Framing) -> Frame {
        let cell = match framing {
            Framing::Raw => &self.raw,
            Framing::SockJs => &self.sockjs,
        };
        cell.get_or_init(|| {
            Frame::Shared(match &self.body {
                Body::Stream {
                    stream,
                    event,
                    args,
                } => framing.frame(&ddp::encode::stream_changed(stream, event, args)),
                Body::Message(text) => framing.frame(&String::from_utf8_lossy(text)),
                Body::RoomsChanged { args, .. } => match framing {
                    Framing::Raw => args.clone(),
                    Framing::SockJs => {
                        let mut escaped = BytesMut::with_capacity(args.len() + args.len() / 4);
                        sockjs::escape_into(&String::from_utf8_lossy(args), &mut escaped);
                        escaped.freeze()
                    }
                },
            })
        })
        .clone()
    }

    /// The frame of a `RoomsChanged` body for one user: only its head is new, the arguments stay shared.
    pub(crate) fn rooms_changed(&self, framing: Framing, user: &str) -> Frame {
        let Frame::Shared(body) = self.frame(framing) else {
            return self.frame(framing);
        };
        let mut text = String::from(
            r#"{"msg":"changed","collection":"stream-notify-user","id":"id","fields":{"eventName":"#,
        );
        ddp::encode::push_string(&mut text, &format!("{user}/rooms-changed"));
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
