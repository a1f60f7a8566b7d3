//! The `error` member of a response (backplane.md 5.6).

use std::{borrow::Cow, fmt};

use serde::{Deserialize, Serialize, Serializer};
use serde_json::value::RawValue;

use super::{lenient, number, text};

/// An error as it crosses; every member may be absent.
///
/// The last four are there for Meteor errors, whose code is not a member: it only survives inside `message`.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ErrorObject<'a> {
    #[serde(deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub name: Option<Cow<'a, str>>,
    #[serde(deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub message: Option<Cow<'a, str>>,
    #[serde(
        rename = "nodeID",
        deserialize_with = "text",
        skip_serializing_if = "Option::is_none"
    )]
    pub node_id: Option<Cow<'a, str>>,
    #[serde(deserialize_with = "lenient", skip_serializing_if = "Option::is_none")]
    pub code: Option<RemoteCode>,
    #[serde(
        rename = "type",
        deserialize_with = "text",
        skip_serializing_if = "Option::is_none"
    )]
    pub kind: Option<Cow<'a, str>>,
    #[serde(deserialize_with = "lenient", skip_serializing_if = "Option::is_none")]
    pub retryable: Option<bool>,
    #[serde(deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub stack: Option<Cow<'a, str>>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    pub data: Option<&'a RawValue>,
    #[serde(
        rename = "isClientSafe",
        deserialize_with = "lenient",
        skip_serializing_if = "Option::is_none"
    )]
    pub is_client_safe: Option<bool>,
    #[serde(
        rename = "errorType",
        deserialize_with = "text",
        skip_serializing_if = "Option::is_none"
    )]
    pub error_type: Option<Cow<'a, str>>,
    #[serde(deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub reason: Option<Cow<'a, str>>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    pub details: Option<&'a RawValue>,
}

/// Moleculer's `code`, which is usually a number.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(untagged)]
pub enum RemoteCode {
    Number(f64),
    Text(String),
}

impl Serialize for RemoteCode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Number(value) => number(&Some(*value), serializer),
            Self::Text(text) => serializer.serialize_str(text),
        }
    }
}

impl fmt::Display for RemoteCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(value) => write!(f, "{value}"),
            Self::Text(text) => f.write_str(text),
        }
    }
}
