//! One request from its begin to its end, as metrics see it.

use std::{sync::Arc, time::Instant};

use crate::{
    error::{ErrorKind, RemoteError},
    meters::Meters,
};

/// Counts a request; its end is where it is dropped, or an error before.
pub(crate) struct Measured {
    meters: Arc<Meters>,
    action: String,
    caller: String,
    side: &'static str,
    begun: Instant,
}

impl Measured {
    /// A request that is handled on this node.
    pub(crate) fn here(meters: &Arc<Meters>, action: &str, caller: Option<&str>) -> Self {
        Self::begin(meters, action, caller, "local")
    }

    /// A request that another node handles.
    pub(crate) fn elsewhere(meters: &Arc<Meters>, action: &str, caller: Option<&str>) -> Self {
        Self::begin(meters, action, caller, "remote")
    }

    fn begin(meters: &Arc<Meters>, action: &str, caller: Option<&str>, side: &'static str) -> Self {
        let measured = Self {
            meters: meters.clone(),
            action: action.to_owned(),
            caller: caller.unwrap_or_default().to_owned(),
            side,
            begun: Instant::now(),
        };
        let labels = measured.labels();
        meters.add("moleculer_request_total", &labels, 1.0);
        meters.add("moleculer_request_active", &labels, 1.0);
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
        let [service, action, side, caller] = self.labels();
        let labels = [
            service,
            action,
            side,
            caller,
            ("errorName", name),
            ("errorCode", code.unwrap_or_default()),
            ("errorType", kind.unwrap_or_default()),
        ];
        self.meters
            .add("moleculer_request_error_total", &labels, 1.0);
    }

    fn labels(&self) -> [(&'static str, &str); 4] {
        let service = self.action.split('.').next().unwrap_or_default();
        [
            ("service", service),
            ("action", &self.action),
            ("type", self.side),
            ("caller", &self.caller),
        ]
    }
}

impl Drop for Measured {
    fn drop(&mut self) {
        let labels = self.labels();
        let now = Instant::now();
        let millis = now.duration_since(self.begun).as_secs_f64() * 1e3;
        self.meters.add("moleculer_request_active", &labels, -1.0);
        self.meters
            .observe("moleculer_request_time", &labels, millis, now);
    }
}
