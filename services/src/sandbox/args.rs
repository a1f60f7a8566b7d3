//! A method's arguments, checked the way Meteor's `check` does: a wrong type is `Match failed`, never a surprise later.

use backplane::{Code, MeteorError, ServiceError};
use serde_json::Value;

/// Positional arguments of one method call.
pub(super) struct Args(pub(super) Vec<Value>);

/// What Meteor answers to an argument of the wrong type.
pub(super) fn match_failed() -> ServiceError {
    ServiceError::Meteor(MeteorError {
        error: Code::Number(400),
        reason: Some("Match failed".to_owned()),
        details: None,
    })
}

impl Args {
    /// `undefined` and `null` are the same here.
    pub(super) fn get(&self, index: usize) -> Option<&Value> {
        self.0.get(index).filter(|value| !value.is_null())
    }

    /// # Errors
    /// Missing or not a string.
    pub(super) fn text(&self, index: usize) -> Result<&str, ServiceError> {
        self.get(index)
            .and_then(Value::as_str)
            .ok_or_else(match_failed)
    }

    /// # Errors
    /// Given, but not a string.
    pub(super) fn optional_text(&self, index: usize) -> Result<Option<&str>, ServiceError> {
        self.get(index)
            .map(|value| value.as_str().ok_or_else(match_failed))
            .transpose()
    }

    /// A string member of an object argument.
    ///
    /// # Errors
    /// The argument is no object, or the member is missing or not a string.
    pub(super) fn member(&self, index: usize, name: &str) -> Result<&str, ServiceError> {
        self.get(index)
            .and_then(|value| value.get(name))
            .and_then(Value::as_str)
            .ok_or_else(match_failed)
    }

    /// A date (`{"$date": ms}`), in ms since the epoch.
    ///
    /// # Errors
    /// Given, but not a date.
    pub(super) fn date(&self, index: usize) -> Result<Option<i64>, ServiceError> {
        self.get(index)
            .map(|value| {
                value
                    .get("$date")
                    .and_then(Value::as_i64)
                    .ok_or_else(match_failed)
            })
            .transpose()
    }

    /// A list of strings; missing is empty.
    ///
    /// # Errors
    /// Given, but something else.
    pub(super) fn texts(value: Option<&Value>) -> Result<Vec<&str>, ServiceError> {
        let Some(value) = value else {
            return Ok(Vec::new());
        };
        value
            .as_array()
            .and_then(|list| list.iter().map(Value::as_str).collect())
            .ok_or_else(match_failed)
    }
}
