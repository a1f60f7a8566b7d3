//! Calls under way: contexts, deadlines, and who waits for which answer.

use std::time::{Duration, Instant};

use bytes::Bytes;

/// Where a request stands in a chain of calls; nested calls are made with it (backplane.md 5.3).
#[derive(Clone, Debug)]
pub struct Context {
    /// Of the request itself.
    pub id: String,
    /// Of the root call.
    pub request_id: String,
    /// 1 for a root call.
    pub level: u32,
    /// The service that handles the request: `caller` of nested calls.
    pub service: &'static str,
    /// When the caller gives up.
    pub deadline: Option<Instant>,
    /// Raw JSON object, passed on to nested calls: holds the tracing map `optl`.
    pub meta: Bytes,
}

/// How to make one call.
#[derive(Clone, Debug, Default)]
pub struct CallOptions {
    /// Only this node may answer.
    pub node: Option<String>,
    /// Instead of `Config::request_timeout`; never longer than the context's remaining time.
    pub timeout: Option<Duration>,
    /// The request in whose handling this call is made.
    pub context: Option<Context>,
    /// Raw JSON object sent instead of the context's `meta` (of a root call: instead of `{"optl":{}}`).
    pub meta: Option<Bytes>,
}
