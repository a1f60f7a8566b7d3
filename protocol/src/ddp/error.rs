use std::{borrow::Cow, fmt, time::Duration};

use bytes::Bytes;

use super::text::{push_raw, push_string};

/// A `Meteor.Error` as it stands on the wire (gateway.md 2.6).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// What clients compare.
    pub error: ErrorCode,
    /// Text for people; absent where Meteor leaves it out.
    pub reason: Option<Cow<'static, str>>,
    /// Raw JSON for programs, such as `{"timeToReset":1200}`.
    pub details: Option<Bytes>,
    /// Whether its thrower meant it for clients: of our own errors every one.
    pub is_client_safe: bool,
}

/// Meteor's codes are numbers for its own errors and text for an application's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ErrorCode {
    Number(i64),
    Text(Cow<'static, str>),
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(code) => code.fmt(f),
            Self::Text(code) => code.fmt(f),
        }
    }
}

impl Error {
    /// An error with a textual code.
    pub fn new(code: impl Into<Cow<'static, str>>, reason: Option<Cow<'static, str>>) -> Self {
        Self {
            error: ErrorCode::Text(code.into()),
            reason,
            details: None,
            is_client_safe: true,
        }
    }

    /// 500 `Internal server error`: anything that is no Meteor error.
    pub fn internal() -> Self {
        Self::numbered(500, "Internal server error".into())
    }

    /// 400 with this reason.
    pub fn bad_request(reason: impl Into<Cow<'static, str>>) -> Self {
        Self::numbered(400, reason.into())
    }

    /// 403 as `login` answers a token that is not known (gateway.md 2.6).
    pub fn logged_out() -> Self {
        Self::forbidden("You've been logged out by the server. Please log in again")
    }

    /// 403 with this reason.
    pub fn forbidden(reason: impl Into<Cow<'static, str>>) -> Self {
        Self::numbered(403, reason.into())
    }

    /// `not-allowed` without a reason: a stream's read rule said no.
    pub fn not_allowed() -> Self {
        Self::new("not-allowed", None)
    }

    /// `invalid-event-name` without a reason: a stream subscription with an empty event name.
    pub fn invalid_event_name() -> Self {
        Self::new("invalid-event-name", None)
    }

    /// 404 `Method 'x' not found`.
    pub fn method_not_found(name: &str) -> Self {
        Self::numbered(404, format!("Method '{name}' not found").into())
    }

    /// 404 `Subscription 'x' not found`.
    pub fn subscription_not_found(name: &str) -> Self {
        Self::numbered(404, format!("Subscription '{name}' not found").into())
    }

    /// `error-too-many-subscriptions`, for live subscriptions and for watched users (design.md 6).
    pub fn too_many_subscriptions() -> Self {
        Self::new(
            "error-too-many-subscriptions",
            Some("Too many subscriptions".into()),
        )
    }

    /// `too-many-requests` with `details.timeToReset` in milliseconds, worded as Meteor's limiter words it.
    pub fn too_many_requests(time_to_reset: Duration) -> Self {
        // Rounded up: who waits as long as told must not be refused again.
        let milliseconds = time_to_reset.as_micros().div_ceil(1_000);
        let seconds = milliseconds.div_ceil(1_000);
        let reason = format!(
            "Error, too many requests. Please slow down. You must wait {seconds} seconds before trying again."
        );
        let details = format!(r#"{{"timeToReset":{milliseconds}}}"#);
        Self {
            details: Some(details.into()),
            ..Self::new("too-many-requests", Some(reason.into()))
        }
    }

    /// An error that crossed the backplane: its code as text, which of the two kinds it was, and the rest unchanged
    /// (gateway.md 3.6). `details` is raw JSON.
    pub fn recovered(
        code: &str,
        is_number: bool,
        reason: Option<String>,
        details: Option<Bytes>,
    ) -> Self {
        let number = if is_number { code.parse().ok() } else { None };
        let error = match number {
            Some(number) => ErrorCode::Number(number),
            None => ErrorCode::Text(code.to_owned().into()),
        };
        Self {
            error,
            reason: reason.map(Cow::Owned),
            details,
            is_client_safe: true,
        }
    }

    /// `reason [code]`, or `[code]` without a reason.
    pub fn message(&self) -> String {
        let code = &self.error;
        match self.reason.as_deref() {
            Some(reason) if !reason.is_empty() => format!("{reason} [{code}]"),
            _ => format!("[{code}]"),
        }
    }

    /// Appends the object of gateway.md 2.6, in Meteor's key order.
    pub(super) fn push_json(&self, out: &mut String) {
        out.push_str(r#"{"isClientSafe":"#);
        out.push_str(if self.is_client_safe { "true" } else { "false" });
        out.push_str(r#","errorType":"Meteor.Error","error":"#);
        match &self.error {
            ErrorCode::Number(number) => out.push_str(&number.to_string()),
            ErrorCode::Text(text) => push_string(out, text),
        }
        if let Some(reason) = &self.reason {
            out.push_str(r#","reason":"#);
            push_string(out, reason);
        }
        if let Some(details) = &self.details {
            out.push_str(r#","details":"#);
            push_raw(out, details);
        }
        out.push_str(r#","message":"#);
        push_string(out, &self.message());
        out.push('}');
    }

    fn numbered(code: i64, reason: Cow<'static, str>) -> Self {
        Self {
            error: ErrorCode::Number(code),
            reason: Some(reason),
            details: None,
            is_client_safe: true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(error: &Error, expected: &str) {
        let mut out = String::new();
        error.push_json(&mut out);
        assert_eq!(out, expected);
    }

    #[test]
    fn an_error_reads_as_meteor_writes_it() {
        check(
            &Error::logged_out(),
            r#"{"isClientSafe":true,"errorType":"Meteor.Error","error":403,"reason":"You've been logged out by the server. Please log in again","message":"You've been logged out by the server. Please log in again [403]"}"#,
        );
        check(
            &Error::invalid_event_name(),
            r#"{"isClientSafe":true,"errorType":"Meteor.Error","error":"invalid-event-name","message":"[invalid-event-name]"}"#,
        );
        let kept = Error {
            is_client_safe: false,
            ..Error::invalid_event_name()
        };
        check(
            &kept,
            r#"{"isClientSafe":false,"errorType":"Meteor.Error","error":"invalid-event-name","message":"[invalid-event-name]"}"#,
        );
    }

    #[test]
    fn a_wait_is_told_in_whole_milliseconds_rounded_up() {
        let error = Error::too_many_requests(Duration::from_micros(1_000_001));
        assert_eq!(
            error.details.as_deref(),
            Some(br#"{"timeToReset":1001}"#.as_slice())
        );
        assert_eq!(
            error.reason.as_deref(),
            Some(
                "Error, too many requests. Please slow down. You must wait 2 seconds before trying again."
            )
        );
    }

    #[test]
    fn a_recovered_code_keeps_its_kind() {
        let number = Error::recovered("403", true, Some("No".into()), None);
        assert_eq!(
            (number.error.clone(), number.message()),
            (ErrorCode::Number(403), "No [403]".into())
        );
        let text = Error::recovered("403", false, None, None);
        assert_eq!(
            (text.error.clone(), text.message()),
            (ErrorCode::Text("403".into()), "[403]".into())
        );
        let odd = Error::recovered("4x", true, None, None);
        assert_eq!(odd.error, ErrorCode::Text("4x".into()));
    }
}
