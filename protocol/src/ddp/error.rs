use std::{borrow::Cow, time::Duration};

use bytes::Bytes;

/// A `Meteor.Error` as it stands on the wire (gateway.md 2.6).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// What clients compare.
    pub error: ErrorCode,
    /// Text for people; absent where Meteor leaves it out.
    pub reason: Option<Cow<'static, str>>,
    /// Raw JSON for programs, such as `{"timeToReset":1200}`.
    pub details: Option<Bytes>,
}

/// Meteor's codes are numbers for its own errors and text for an application's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ErrorCode {
    Number(i64),
    Text(Cow<'static, str>),
}

impl Error {
    /// An error with a textual code.
    pub fn new(code: impl Into<Cow<'static, str>>, reason: Option<Cow<'static, str>>) -> Self {
        let _ = (code.into(), reason);
        todo!()
    }

    /// 500 `Internal server error`: anything that is no Meteor error.
    pub fn internal() -> Self {
        todo!()
    }

    /// 400 with this reason.
    pub fn bad_request(reason: impl Into<Cow<'static, str>>) -> Self {
        let _ = reason.into();
        todo!()
    }

    /// 403 as `login` answers a token that is not known (gateway.md 2.6).
    pub fn logged_out() -> Self {
        todo!()
    }

    /// 403 with this reason.
    pub fn forbidden(reason: impl Into<Cow<'static, str>>) -> Self {
        let _ = reason.into();
        todo!()
    }

    /// `not-allowed` without a reason: a stream's read rule said no.
    pub fn not_allowed() -> Self {
        todo!()
    }

    /// `invalid-event-name` without a reason: a stream subscription with an empty event name.
    pub fn invalid_event_name() -> Self {
        todo!()
    }

    /// 404 `Method 'x' not found`.
    pub fn method_not_found(name: &str) -> Self {
        let _ = name;
        todo!()
    }

    /// 404 `Subscription 'x' not found`.
    pub fn subscription_not_found(name: &str) -> Self {
        let _ = name;
        todo!()
    }

    /// `error-too-many-subscriptions` (design.md 6).
    pub fn too_many_subscriptions() -> Self {
        todo!()
    }

    /// `too-many-requests` with `details.timeToReset` in milliseconds.
    pub fn too_many_requests(time_to_reset: Duration) -> Self {
        let _ = time_to_reset;
        todo!()
    }

    /// An error that crossed the backplane: its code as text, which of the two kinds it was, and the rest unchanged
    /// (gateway.md 3.6).
    pub fn recovered(
        code: &str,
        is_number: bool,
        reason: Option<String>,
        details: Option<Bytes>,
    ) -> Self {
        let _ = (code, is_number, reason, details);
        todo!()
    }

    /// `reason [code]`, or `[code]` without a reason.
    pub fn message(&self) -> String {
        todo!()
    }
}
