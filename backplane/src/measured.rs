//! One request from its begin to its end, as metrics and traces see it.

use std::{mem, sync::Arc, time::Instant};

use bytes::Bytes;

use crate::{
    error::{ErrorKind, RemoteError},
    handled::{NOBODY, UNKNOWN},
    meters::Meters,
    spans::Span,
};

/// Counts a request; its end is where it is dropped, or an error before.
pub(crate) struct Measured {
    meters: Arc<Meters>,
    action: String,
    caller: String,
    side: Side,
    begun: Instant,
    span: Span,
}

/// Where a request is handled.
#[derive(Clone, Copy)]
pub(crate) enum Side {
    Here,
    Elsewhere,
}

impl Measured {
    /// Begins one; its parent is found in `meta`, which its children get with itself in it.
    pub(crate) fn begin(
        meters: &Arc<Meters>,
        side: Side,
        action: &str,
        caller: Option<&str>,
        level: u32,
        meta: &mut Bytes,
    ) -> Self {
        let caller = caller.unwrap_or(NOBODY);
        let span = match side {
            Side::Here => Span::of_answer(action, caller, level, meta),
            Side::Elsewhere => Span::of_question(action, caller, level, meta),
        };
        *meta = span.carried_by(mem::take(meta));
        let measured = Self {
            meters: meters.clone(),
            action: action.to_owned(),
            caller: caller.to_owned(),
            side,
            begun: Instant::now(),
            span,
        };
        let labels = measured.labels();
        meters.add_each(&["moleculer_request_total", ACTIVE], &labels, 1.0);
        let level = level.min(LEVEL_MAX).to_string();
        meters.add("moleculer_request_levels", &[("level", &level)], 1.0);
        measured
    }

    /// It ends with an error.
    pub(crate) fn failed(&self, error: &ErrorKind) {
        let (name, code, kind) = match error {
            ErrorKind::Refused(remote) => {
                let RemoteError {
                    name, code, kind, ..
                } = &**remote;
                (&**name, code.as_deref(), kind.as_deref())
            }
            ErrorKind::Timeout => ("RequestTimeoutError", Some("504"), Some("REQUEST_TIMEOUT")),
            ErrorKind::Unavailable | ErrorKind::Disconnected => (
                "RequestRejectedError",
                Some("503"),
                Some("REQUEST_REJECTED"),
            ),
            ErrorKind::TooLarge => ("NatsError", Some("MAX_PAYLOAD_EXCEEDED"), None),
            ErrorKind::Skipped
            | ErrorKind::NotFound
            | ErrorKind::Malformed
            | ErrorKind::TooDeep => ("Error", None, None),
        };
        self.span.failed(name);
        let [service, action, side, caller] = self.labels();
        let labels = [
            service,
            action,
            side,
            caller,
            ("errorName", name),
            ("errorCode", code.unwrap_or(UNKNOWN)),
            ("errorType", kind.unwrap_or(UNKNOWN)),
        ];
        self.meters
            .add("moleculer_request_error_total", &labels, 1.0);
        if *error == ErrorKind::Timeout {
            timed_out(&self.meters, &self.action);
        }
    }

    fn labels(&self) -> [(&'static str, &str); 4] {
        let [service, action] = of_action(&self.action);
        let side = match self.side {
            Side::Here => "local",
            Side::Elsewhere => "remote",
        };
        [service, action, ("type", side), ("caller", &self.caller)]
    }
}

impl Drop for Measured {
    fn drop(&mut self) {
        let labels = self.labels();
        let now = Instant::now();
        let millis = now.duration_since(self.begun).as_secs_f64() * 1e3;
        self.meters.add(ACTIVE, &labels, -1.0);
        self.meters
            .observe("moleculer_request_time", &labels, millis, 1, now);
    }
}

/// A request was not answered in time.
pub(crate) fn timed_out(meters: &Meters, action: &str) {
    meters.add("moleculer_request_timeout_total", &of_action(action), 1.0);
}

fn of_action(action: &str) -> [(&'static str, &str); 2] {
    let service = action.split('.').next().unwrap_or_default();
    [("service", service), ("action", action)]
}

/// What peers call through; more is the word of nobody.
const LEVEL_MAX: u32 = 100;
const ACTIVE: &str = "moleculer_request_active";
