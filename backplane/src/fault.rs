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
    /// The handler's own call was lost with the node that it went to.
    Rejected,
    /// No time was left for the handler's own call.
    Skipped,
    /// The handler's own call would have been nested too deep.
    TooDeep,
}

impl Fault {
    /// The fault that peers know by this name. They rebuild it from `data`, and without that they throw instead of ending the
    /// call.
    pub(crate) fn named(name: &str) -> Option<Self> {
        ALL.into_iter().find(|fault| fault.name() == name)
    }

    pub(crate) fn is_retryable(self) -> bool {
        !matches!(self, Self::Skipped | Self::TooDeep)
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::NotFound => "ServiceNotFoundError",
            Self::Leaving => "ServiceNotAvailableError",
            Self::TimedOut => "RequestTimeoutError",
            Self::Full => "QueueIsFullError",
            Self::Rejected => "RequestRejectedError",
            Self::Skipped => "RequestSkippedError",
            Self::TooDeep => "MaxCallLevelError",
        }
    }

    pub(crate) fn code(self) -> f64 {
        match self {
            Self::NotFound | Self::Leaving => 404.0,
            Self::TimedOut => 504.0,
            Self::Full => 429.0,
            Self::Rejected => 503.0,
            Self::Skipped => 514.0,
            Self::TooDeep => 500.0,
        }
    }

    /// The member `type`.
    pub(crate) fn kind(self) -> &'static str {
        match self {
            Self::NotFound => "SERVICE_NOT_FOUND",
            Self::Leaving => "SERVICE_NOT_AVAILABLE",
            Self::TimedOut => "REQUEST_TIMEOUT",
            Self::Full => "QUEUE_FULL",
            Self::Rejected => "REQUEST_REJECTED",
            Self::Skipped => "REQUEST_SKIPPED",
            Self::TooDeep => "MAX_CALL_LEVEL",
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
            Self::Rejected => {
                format!("Request is rejected when call '{action}' action on '{node}' node.")
            }
            Self::Skipped => {
                format!("Calling '{action}' is skipped because timeout reached on '{node}' node.")
            }
            Self::TooDeep => format!("Request level has reached the limit on '{node}' node."),
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

const ALL: [Fault; 7] = [
    Fault::NotFound,
    Fault::Leaving,
    Fault::TimedOut,
    Fault::Full,
    Fault::Rejected,
    Fault::Skipped,
    Fault::TooDeep,
];
