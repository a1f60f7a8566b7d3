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

/// The error of a service that we asked, as our own answer.
pub(crate) fn passed_on(error: Error) -> ServiceError {
    let action = error.action.clone();
    let (name, message) = match error.kind {
        ErrorKind::Refused(remote) => match remote.meteor() {
            Some(meteor) => return ServiceError::Meteor(meteor),
            None => (remote.name, remote.message),
        },
        ErrorKind::NotFound => (
            "ServiceNotFoundError".to_owned(),
            format!("no node offers {action}"),
        ),
        _ => ("Error".to_owned(), error.to_string()),
    };
    ServiceError::Plain { name, message }
}

#[cfg(test)]
mod tests {
    use super::*;

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
