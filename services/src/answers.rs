//! What other services answer us.

use backplane::{Error, ErrorKind, ServiceError};
use bytes::Bytes;
use serde_json::Value;

/// Whether JavaScript would take an answer for a yes; no answer (`undefined`) and no JSON are none.
pub(crate) fn is_yes(answer: Option<&Bytes>) -> bool {
    let value = answer.and_then(|answer| crate::json::read(answer).ok());
    match value {
        None | Some(Value::Null) => false,
        Some(Value::Bool(yes)) => yes,
        Some(Value::Number(number)) => number.as_f64() != Some(0.0),
        Some(Value::String(text)) => !text.is_empty(),
        Some(Value::Array(_) | Value::Object(_)) => true,
    }
}

/// The error of a service that we asked, as our own answer: under the name that a peer would give it.
pub(crate) fn passed_on(error: Error) -> ServiceError {
    let message = error.to_string();
    let (name, message) = match error.kind {
        ErrorKind::Refused(remote) => match remote.meteor() {
            Some(meteor) => return ServiceError::Meteor(meteor),
            None => (remote.name, remote.message),
        },
        kind => {
            let name = match kind {
                ErrorKind::NotFound => "ServiceNotFoundError",
                ErrorKind::Timeout => "RequestTimeoutError",
                ErrorKind::Skipped => "RequestSkippedError",
                ErrorKind::Unavailable | ErrorKind::Disconnected => "RequestRejectedError",
                ErrorKind::TooDeep => "MaxCallLevelError",
                ErrorKind::Refused(_) | ErrorKind::Malformed | ErrorKind::TooLarge => "Error",
            };
            (name.to_owned(), message)
        }
    };
    ServiceError::Plain { name, message }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_call_is_passed_on_under_the_name_that_a_peer_gives_it() {
        for (kind, expected) in [
            (ErrorKind::NotFound, "ServiceNotFoundError"),
            (ErrorKind::Timeout, "RequestTimeoutError"),
            (ErrorKind::Skipped, "RequestSkippedError"),
            (ErrorKind::Unavailable, "RequestRejectedError"),
            (ErrorKind::Disconnected, "RequestRejectedError"),
            (ErrorKind::TooDeep, "MaxCallLevelError"),
            (ErrorKind::Malformed, "Error"),
        ] {
            match passed_on(Error::new(kind, "a.b")) {
                ServiceError::Plain { name, .. } => assert_eq!(name, expected),
                error @ ServiceError::Meteor(_) => panic!("{error:?}"),
            }
        }
    }

    #[test]
    fn an_answer_counts_by_truthiness() {
        for (text, yes) in [
            ("true", true),
            ("1", true),
            (r#""no""#, true),
            ("{}", true),
            ("[]", true),
            ("false", false),
            ("0", false),
            ("-0.0", false),
            (r#""""#, false),
            ("null", false),
            ("tru", false),
        ] {
            let answer = Bytes::from_static(text.as_bytes());
            assert_eq!(is_yes(Some(&answer)), yes, "{text}");
        }
        assert!(!is_yes(None));
    }
}
