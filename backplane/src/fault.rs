//! Moleculer's own errors, as a callee answers them (backplane.md 5.6).

use serde_json::value::{RawValue, to_raw_value};

/// Why a request gets no answer of a handler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nobody here offers the action.
    NotFound,
    /// This node leaves.
    Leaving,
    /// The deadline has passed.
    TimedOut,
    /// Too many requests are under way here.
    Full,
}

impl Fault {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::NotFound => "ServiceNotFoundError",
            Self::Leaving => "ServiceNotAvailableError",
            Self::TimedOut => "RequestTimeoutError",
            Self::Full => "QueueIsFullError",
        }
    }

    pub(crate) fn code(self) -> f64 {
        match self {
            Self::NotFound | Self::Leaving => 404.0,
            Self::TimedOut => 504.0,
            Self::Full => 429.0,
        }
    }

    /// The member `type`.
    pub(crate) fn kind(self) -> &'static str {
        match self {
            Self::NotFound => "SERVICE_NOT_FOUND",
            Self::Leaving => "SERVICE_NOT_AVAILABLE",
            Self::TimedOut => "REQUEST_TIMEOUT",
            Self::Full => "QUEUE_FULL",
        }
    }

    /// As peers say it, because logs are searched for it.
    pub(crate) fn message(self, action: &str, node: &str) -> String {
        match self {
            Self::NotFound => format!("Service '{action}' is not found on '{node}' node."),
            Self::Leaving => format!("Service '{action}' is not available on '{node}' node."),
            Self::TimedOut => {
                format!("Request is timed out when call '{action}' action on '{node}' node.")
            }
            Self::Full => {
                format!("Queue is full. Request '{action}' action on '{node}' node is rejected.")
            }
        }
    }

    /// The member `data`.
    pub(crate) fn data(self, action: &str, node: &str) -> Box<RawValue> {
        #[derive(serde::Serialize)]
        struct Data<'a> {
            action: &'a str,
            #[serde(rename = "nodeID")]
            node: &'a str,
        }
        to_raw_value(&Data { action, node }).expect("two texts are JSON")
    }
}
