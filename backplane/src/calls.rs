//! Calls under way: contexts, deadlines, and who waits for which answer; time comes in as an argument.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use tokio::sync::oneshot;

use crate::error::ErrorKind;

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

/// What a request says besides action and params.
#[derive(Debug, PartialEq)]
pub(crate) struct Outline {
    pub(crate) id: String,
    pub(crate) request_id: String,
    pub(crate) parent_id: Option<String>,
    pub(crate) level: u32,
    pub(crate) caller: Option<&'static str>,
    pub(crate) timeout: Duration,
    pub(crate) meta: Bytes,
}

impl Outline {
    /// Places a new call (with a fresh `id`) under its context.
    ///
    /// # Errors
    /// `Skipped` when the context has no time left: nothing is sent. `TooDeep` from level 100 on.
    pub(crate) fn new(
        id: String,
        options: CallOptions,
        default_timeout: Duration,
        now: Instant,
    ) -> Result<Self, ErrorKind> {
        let timeout = options.timeout.unwrap_or(default_timeout);
        let Some(context) = options.context else {
            return Ok(Self {
                request_id: id.clone(),
                id,
                parent_id: None,
                level: 1,
                caller: None,
                timeout,
                meta: options
                    .meta
                    .unwrap_or(Bytes::from_static(br#"{"optl":{}}"#)),
            });
        };
        if context.level >= LEVEL_MAX {
            return Err(ErrorKind::TooDeep);
        }
        let left = context
            .deadline
            .map(|deadline| deadline.saturating_duration_since(now));
        if left.is_some_and(|left| left.is_zero()) {
            return Err(ErrorKind::Skipped);
        }
        Ok(Self {
            id,
            request_id: context.request_id,
            parent_id: Some(context.id),
            level: context.level + 1,
            caller: Some(context.service),
            timeout: left.map_or(timeout, |left| left.min(timeout)),
            meta: options.meta.unwrap_or(context.meta),
        })
    }
}

/// What ends a call: raw JSON (`None` is `undefined`), or why there is none.
pub(crate) type Outcome = Result<Option<Bytes>, ErrorKind>;

/// Calls that wait for another node; deadlines are kept by the callers, who forget their call when they give up.
#[derive(Default)]
pub(crate) struct Calls {
    pending: HashMap<String, Pending>,
}

struct Pending {
    node: Arc<str>,
    answer: oneshot::Sender<Outcome>,
}

impl Calls {
    /// Expects the answer to a request that is about to be sent.
    pub(crate) fn begin(&mut self, id: String, node: Arc<str>) -> oneshot::Receiver<Outcome> {
        let (answer, receiver) = oneshot::channel();
        self.pending.insert(id, Pending { node, answer });
        receiver
    }

    /// Ends one call; false if nobody waits for it: late answers and invented ones are dropped.
    pub(crate) fn settle(&mut self, id: &str, outcome: Outcome) -> bool {
        match self.pending.remove(id) {
            Some(pending) => pending.answer.send(outcome).is_ok(),
            None => false,
        }
    }

    /// The caller has given up.
    pub(crate) fn forget(&mut self, id: &str) {
        self.pending.remove(id);
    }

    /// Ends all calls to a node that went away.
    pub(crate) fn fail_node(&mut self, node: &str) {
        for (_, pending) in self.pending.extract_if(|_, pending| &*pending.node == node) {
            let _ = pending.answer.send(Err(ErrorKind::Unavailable));
        }
    }

    /// Ends all calls: the connection is lost.
    pub(crate) fn fail_all(&mut self) {
        for (_, pending) in self.pending.drain() {
            let _ = pending.answer.send(Err(ErrorKind::Disconnected));
        }
    }

    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        self.pending.len()
    }
}

/// As peers (backplane.md 2.1): a request of this level makes no further calls.
const LEVEL_MAX: u32 = 100;

#[cfg(test)]
mod tests {
    use super::*;

    const DEFAULT: Duration = Duration::from_secs(60);

    fn context(level: u32, deadline: Option<Instant>) -> Context {
        Context {
            id: "parent".to_owned(),
            request_id: "root".to_owned(),
            level,
            service: "presence",
            deadline,
            meta: Bytes::from_static(br#"{"optl":{"traceparent":"00-1"}}"#),
        }
    }

    fn nested(context: Context, now: Instant) -> Result<Outline, ErrorKind> {
        let options = CallOptions {
            context: Some(context),
            ..CallOptions::default()
        };
        Outline::new("id".to_owned(), options, DEFAULT, now)
    }

    #[test]
    fn a_root_call_is_its_own_request() {
        let outline = Outline::new(
            "id".to_owned(),
            CallOptions::default(),
            DEFAULT,
            Instant::now(),
        )
        .unwrap();
        assert_eq!(
            (outline.level, &*outline.request_id, outline.parent_id),
            (1, "id", None)
        );
        assert_eq!(
            (outline.caller, outline.timeout, &*outline.meta),
            (None, DEFAULT, &br#"{"optl":{}}"#[..])
        );
    }

    #[test]
    fn a_nested_call_inherits_request_time_and_tracing() {
        let now = Instant::now();
        let outline = nested(context(1, Some(now + Duration::from_millis(1500))), now).unwrap();
        assert_eq!((outline.level, &*outline.request_id), (2, "root"));
        assert_eq!(
            (outline.parent_id.as_deref(), outline.caller),
            (Some("parent"), Some("presence"))
        );
        assert_eq!(outline.timeout, Duration::from_millis(1500));
        assert_eq!(&*outline.meta, br#"{"optl":{"traceparent":"00-1"}}"#);
        assert_eq!(nested(context(1, None), now).unwrap().timeout, DEFAULT);
    }

    #[test]
    fn no_time_left_and_too_many_levels_send_nothing() {
        let now = Instant::now();
        assert_eq!(
            nested(context(1, Some(now)), now + DEFAULT),
            Err(ErrorKind::Skipped)
        );
        assert_eq!(nested(context(99, None), now).unwrap().level, 100);
        assert_eq!(nested(context(100, None), now), Err(ErrorKind::TooDeep));
    }

    #[test]
    fn losing_a_node_ends_its_calls_and_no_others() {
        let mut calls = Calls::default();
        let mut lost = calls.begin("1".to_owned(), "a".into());
        let mut kept = calls.begin("2".to_owned(), "b".into());
        calls.fail_node("a");
        assert_eq!(lost.try_recv().unwrap(), Err(ErrorKind::Unavailable));
        assert!(kept.try_recv().is_err());
        assert!(calls.settle("2", Ok(None)) && !calls.settle("2", Ok(None)));
        assert_eq!((kept.try_recv().unwrap(), calls.len()), (Ok(None), 0));
    }
}
