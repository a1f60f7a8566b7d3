//! The backplane's packets, subjects and error shapes, version 4 (backplane.md 5), as pure encode and decode.
//!
//! What is only forwarded (`params`, `data`, `meta`, `details`) stays a slice of the packet. Members that a real peer
//! sends as `null` may be absent, and the other way round. Keys are written in the order in which real peers write them.

mod error;
mod event;
mod info;
mod packet;
mod subject;

pub use error::{ErrorObject, RemoteCode};
pub use event::{Emission, Event, event_name};
pub use info::{Announcement, Info, Offer, ServiceEntry};
pub use packet::{Disconnect, Discover, Heartbeat, Ping, Pong, Request, Response};
pub use subject::{Kind, Subjects, is_node_id};

use std::borrow::Cow;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::value::RawValue;

use crate::ddp::ejson;

/// Why a packet is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// `ver` is anything but the string `"4"`.
    #[error("another protocol version")]
    WrongVersion,
    /// No JSON, or without what its kind needs.
    #[error("malformed packet")]
    Malformed,
}

/// Decodes a packet of the kind that its subject names.
///
/// # Errors
/// [`DecodeError`] for everything that a peer of ours could not act on; a sender that cannot be addressed is malformed.
pub fn decode<'a, P: Packet<'a>>(payload: &'a [u8]) -> Result<P, DecodeError> {
    match serde_json::from_slice::<P>(payload) {
        Ok(packet) if is_node_id(packet.sender()) => Ok(packet),
        Ok(_) => Err(DecodeError::Malformed),
        Err(_) => Err(fault(payload)),
    }
}

/// Encodes a packet; the keys come in the order in which real peers write them.
pub fn encode<P: Serialize>(packet: &P) -> Vec<u8> {
    let mut payload = Vec::with_capacity(512);
    serde_json::to_writer(&mut payload, packet)
        .expect("packets have string keys only, and a Vec takes every write");
    payload
}

/// A packet that [`decode`] can read.
pub trait Packet<'a>: Deserialize<'a> {
    /// Node id of the peer that sent it.
    fn sender(&self) -> &str;
}

/// Tells a foreign version from garbage; only for packets that did not decode.
fn fault(payload: &[u8]) -> DecodeError {
    #[derive(Deserialize)]
    struct Header<'a> {
        #[serde(borrow)]
        ver: Option<&'a RawValue>,
    }
    match serde_json::from_slice::<Option<Header<'_>>>(payload) {
        Ok(Some(Header { ver: Some(ver) })) if ver.get() == r#""4""# => DecodeError::Malformed,
        Ok(_) => DecodeError::WrongVersion,
        Err(_) => DecodeError::Malformed,
    }
}

/// The member `ver`: the JSON string `"4"` and nothing else.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Version;

impl<'de> Deserialize<'de> for Version {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match <&RawValue>::deserialize(deserializer)?.get() {
            r#""4""# => Ok(Self),
            _ => Err(de::Error::custom("another protocol version")),
        }
    }
}

impl Serialize for Version {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str("4")
    }
}

/// Keeps `null` apart from an absent member: JavaScript's `null` and `undefined`.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

/// A member that a packet can do without: of another type than ours it counts as absent, as peers in JavaScript pass over it.
fn lenient<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    let raw = <&RawValue>::deserialize(deserializer)?;
    Ok(serde_json::from_str(raw.get()).ok())
}

/// A text for people, who get to read it although a program has cut it. Anything but a text counts as absent.
fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Cow<'de, str>>, D::Error> {
    Ok(ejson::lossy_string(
        <&RawValue>::deserialize(deserializer)?.get(),
    ))
}

/// A text that a packet ought to have, and that is empty where it has none.
fn name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Cow<'de, str>, D::Error> {
    Ok(text(deserializer)?.unwrap_or_default())
}

/// Whether it is `true`.
fn flag<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    Ok(lenient(deserializer)?.unwrap_or_default())
}

/// Writes a number as JavaScript does: `60000`, not `60000.0`.
fn number<S: Serializer>(value: &Option<f64>, serializer: S) -> Result<S::Ok, S::Error> {
    match value {
        None => serializer.serialize_none(),
        Some(value) if value.fract() == 0.0 && value.abs() < 9_007_199_254_740_992.0 => {
            serializer.serialize_i64(*value as i64)
        }
        Some(value) => serializer.serialize_f64(*value),
    }
}
