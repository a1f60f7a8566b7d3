//! The packets that are read and written with the same shape.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{ErrorObject, Packet, Version, flag, lenient, name, number, present};

/// Asks who is there.
#[derive(Debug, Serialize, Deserialize)]
pub struct Discover<'a> {
    pub ver: Version,
    #[serde(borrow)]
    pub sender: Cow<'a, str>,
}

/// Says that the sender leaves now.
#[derive(Debug, Serialize, Deserialize)]
pub struct Disconnect<'a> {
    pub ver: Version,
    #[serde(borrow)]
    pub sender: Cow<'a, str>,
}

/// Says that the sender lives.
#[derive(Debug, Serialize, Deserialize)]
pub struct Heartbeat<'a> {
    /// Percent.
    #[serde(
        default,
        deserialize_with = "lenient",
        serialize_with = "number",
        skip_serializing_if = "Option::is_none"
    )]
    pub cpu: Option<f64>,
    pub ver: Version,
    #[serde(borrow)]
    pub sender: Cow<'a, str>,
}

/// Asks for a [`Pong`].
#[derive(Debug, Serialize, Deserialize)]
pub struct Ping<'a> {
    /// Milliseconds since 1970 at the sender, as it writes them.
    #[serde(
        borrow,
        default,
        deserialize_with = "present",
        skip_serializing_if = "Option::is_none"
    )]
    pub time: Option<&'a RawValue>,
    #[serde(
        borrow,
        default,
        deserialize_with = "present",
        skip_serializing_if = "Option::is_none"
    )]
    pub id: Option<&'a RawValue>,
    pub ver: Version,
    #[serde(borrow)]
    pub sender: Cow<'a, str>,
}

/// Answers a [`Ping`].
#[derive(Debug, Serialize, Deserialize)]
pub struct Pong<'a> {
    /// Copied from the ping.
    #[serde(
        borrow,
        default,
        deserialize_with = "present",
        skip_serializing_if = "Option::is_none"
    )]
    pub time: Option<&'a RawValue>,
    /// Copied from the ping.
    #[serde(
        borrow,
        default,
        deserialize_with = "present",
        skip_serializing_if = "Option::is_none"
    )]
    pub id: Option<&'a RawValue>,
    /// Milliseconds since 1970 at the answering node.
    #[serde(default, deserialize_with = "lenient", serialize_with = "number")]
    pub arrived: Option<f64>,
    pub ver: Version,
    #[serde(borrow)]
    pub sender: Cow<'a, str>,
}

/// Calls an action (`REQ`).
#[derive(Debug, Serialize, Deserialize)]
pub struct Request<'a> {
    #[serde(borrow)]
    pub id: Cow<'a, str>,
    /// Empty where there is none, which nobody offers.
    #[serde(borrow, default, deserialize_with = "name")]
    pub action: Cow<'a, str>,
    /// A raw JSON array where the call makes sense; `None` when absent.
    #[serde(borrow, default, deserialize_with = "present")]
    pub params: Option<&'a RawValue>,
    #[serde(borrow)]
    pub meta: Option<&'a RawValue>,
    /// Milliseconds; absent means the callee's own default, 0 none.
    #[serde(default, deserialize_with = "lenient", serialize_with = "number")]
    pub timeout: Option<f64>,
    #[serde(default, deserialize_with = "lenient", serialize_with = "number")]
    pub level: Option<f64>,
    #[serde(default, deserialize_with = "lenient")]
    pub tracing: Option<bool>,
    #[serde(rename = "parentID", default, deserialize_with = "lenient")]
    pub parent_id: Option<String>,
    #[serde(rename = "requestID", default, deserialize_with = "lenient")]
    pub request_id: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    pub caller: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    pub stream: Option<bool>,
    /// Place of a frame in a streamed request, from 0; in no other.
    #[serde(
        default,
        deserialize_with = "lenient",
        serialize_with = "number",
        skip_serializing_if = "Option::is_none"
    )]
    pub seq: Option<f64>,
    pub ver: Version,
    #[serde(borrow)]
    pub sender: Cow<'a, str>,
}

/// Answers a [`Request`] (`RES`).
#[derive(Debug, Serialize, Deserialize)]
pub struct Response<'a> {
    #[serde(borrow)]
    pub id: Cow<'a, str>,
    #[serde(borrow)]
    pub meta: Option<&'a RawValue>,
    #[serde(default, deserialize_with = "flag")]
    pub success: bool,
    /// `None` is JavaScript's `undefined`; `null` is a value.
    #[serde(
        borrow,
        default,
        deserialize_with = "present",
        skip_serializing_if = "Option::is_none"
    )]
    pub data: Option<&'a RawValue>,
    #[serde(
        borrow,
        default,
        deserialize_with = "lenient",
        skip_serializing_if = "Option::is_none"
    )]
    pub error: Option<ErrorObject<'a>>,
    /// True in the frames of a streamed answer.
    #[serde(
        default,
        deserialize_with = "lenient",
        skip_serializing_if = "Option::is_none"
    )]
    pub stream: Option<bool>,
    pub ver: Version,
    #[serde(borrow)]
    pub sender: Cow<'a, str>,
}

macro_rules! packets {
    ($($name:ident),*) => {$(
        impl<'a> Packet<'a> for $name<'a> {
            fn sender(&self) -> &str {
                &self.sender
            }
        }
    )*};
}

packets!(
    Discover, Disconnect, Heartbeat, Ping, Pong, Request, Response
);
