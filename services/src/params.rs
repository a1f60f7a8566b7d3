//! Positional parameters of an action, read into strict types, so that no query operator of a client ever reaches a
//! filter. `null` and absent count as not given, and so does an empty text (services.md 1.1).

use backplane::ServiceError;
use serde_json::{Map, Value};

use crate::errors::{invalid_param, plain};
use crate::json;

/// The arguments of one call.
pub(crate) struct Params(Vec<Value>);

impl Params {
    /// # Errors
    /// The parameters are not a JSON array.
    pub(crate) fn parse(raw: &[u8]) -> Result<Self, ServiceError> {
        json::read(raw)
            .map(Self)
            .map_err(|_| plain("parameters must be an array"))
    }

    pub(crate) fn get(&self, index: usize) -> Option<&Value> {
        self.0.get(index).filter(|value| !value.is_null())
    }

    /// A text; anything else counts as not given.
    pub(crate) fn text(&self, index: usize) -> Option<&str> {
        self.get(index).and_then(a_name)
    }

    /// # Errors
    /// Something is given that is no text.
    pub(crate) fn optional_text(&self, index: usize) -> Result<Option<&str>, ServiceError> {
        optional_text(self.get(index))
    }

    /// # Errors
    /// Something is given that is no object.
    pub(crate) fn object(&self, index: usize) -> Result<Option<&Map<String, Value>>, ServiceError> {
        self.get(index)
            .map(|value| value.as_object().ok_or_else(invalid_param))
            .transpose()
    }

    /// A list of texts, none of them empty.
    ///
    /// # Errors
    /// It is not given, or something else is in it.
    pub(crate) fn names(&self, index: usize) -> Result<Vec<&str>, ServiceError> {
        self.get(index)
            .and_then(Value::as_array)
            .and_then(|list| list.iter().map(a_name).collect())
            .ok_or_else(invalid_param)
    }
}

/// A text, or nothing: absent, `null` or empty.
///
/// # Errors
/// Anything else.
pub(crate) fn optional_text(value: Option<&Value>) -> Result<Option<&str>, ServiceError> {
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.as_str()).filter(|text| !text.is_empty())),
        Some(_) => Err(invalid_param()),
    }
}

fn a_name(value: &Value) -> Option<&str> {
    value.as_str().filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_never_pass_for_strings() {
        let params = Params::parse(br#"[{"$gt":""},null,"",["a",{"$ne":1}],["a",""],"x",["a"]]"#)
            .expect("an array");
        assert_eq!(params.text(0), None);
        assert_eq!(params.text(1), None);
        assert_eq!(params.text(2), None);
        assert!(params.optional_text(0).is_err());
        for nothing in [1, 2, 9] {
            assert_eq!(params.optional_text(nothing), Ok(None));
        }
        assert_eq!(params.optional_text(5), Ok(Some("x")));
        for bad in [0, 1, 3, 4, 5, 9] {
            assert!(params.names(bad).is_err(), "{bad}");
        }
        assert_eq!(params.names(6), Ok(vec!["a"]));
        assert!(params.object(5).is_err() && params.object(1) == Ok(None));
        assert!(Params::parse(b"{}").is_err());
        let odd = Params::parse(br#"["u1","\ud83d"]"#).expect("an array");
        assert_eq!(odd.text(1), Some("\u{fffd}"));
    }
}
