use std::borrow::Cow;

use super::Error;

/// One message from a client (gateway.md 2.2), borrowed from its text.
///
/// An `id` is raw JSON: whatever truthy value the client sent goes back byte for byte, so that two spellings of one
/// value (`"a"` and `"\u0061"`, `1` and `1.0`) are two ids.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientMessage<'a> {
    /// The proposal of a protocol version; `None` where the field is missing or of the wrong type.
    Connect {
        version: Option<Cow<'a, str>>,
        support: Option<Vec<Cow<'a, str>>>,
        /// The client asks to resume a session; counted, otherwise ignored (resumption.md 6.6 step 0).
        has_session: bool,
        has_count: bool,
    },
    /// A heartbeat question; the id is absent or falsy where `None`.
    Ping { id: Option<&'a str> },
    /// A heartbeat answer.
    Pong,
    /// A call.
    Method {
        id: &'a str,
        name: Cow<'a, str>,
        params: Result<&'a str, Refused>,
    },
    /// A subscription request.
    Sub {
        id: &'a str,
        name: Cow<'a, str>,
        params: Result<&'a str, Refused>,
    },
    /// The end of a subscription.
    Unsub { id: &'a str },
    /// The client is about to close on purpose (resumption.md 1.3).
    Disconnect,
    /// An object without a `msg` that we know; ignored after `connect`.
    Other,
}

/// Why one call or subscription is answered with an error although its message is well-formed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// `params` is present but no array: error 500 (gateway.md 2.7).
    ParamsNotAnArray,
    /// `params` holds EJSON at which a Node peer would drop the whole packet: error 400.
    Undecodable,
}

impl Refused {
    /// What the call or subscription is answered.
    pub fn error(self) -> Error {
        match self {
            Self::ParamsNotAnArray => Error::internal(),
            Self::Undecodable => Error::bad_request("Malformed EJSON"),
        }
    }
}
