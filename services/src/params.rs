//! Positional parameters of an action, read into strict types: an object where a string belongs is "not given", so no
//! query operator of a client ever reaches a filter.

use backplane::ServiceError;
use serde_json::Value;

use crate::errors::plain;

/// The arguments of one call. `null`, absent and (for text) empty all count as not given (services.md 1.1).
pub(crate) struct Params(Vec<Value>);

impl Params {
    /// # Errors
    /// The parameters are not a JSON array.
    pub(crate) fn parse(raw: &[u8]) -> Result<Self, ServiceError> {
        serde_json::from_slice(raw)
            .map(Self)
            .map_err(|_| plain("parameters must be an array"))
    }

    pub(crate) fn get(&self, index: usize) -> Option<&Value> {
        self.0.get(index).filter(|value| !value.is_null())
    }

    pub(crate) fn text(&self, index: usize) -> Option<&str> {
        self.get(index)
            .and_then(Value::as_str)
            .filter(|text| !text.is_empty())
    }

    /// A list of strings; anything else inside makes the whole list not given.
    pub(crate) fn texts(&self, index: usize) -> Option<Vec<&str>> {
        self.get(index)?
            .as_array()?
            .iter()
            .map(Value::as_str)
            .collect()
    }

    /// A member of an object argument, as text.
    pub(crate) fn member(&self, index: usize, name: &str) -> Option<&str> {
        self.get(index)
            .and_then(|value| value.get(name))
            .and_then(Value::as_str)
            .filter(|text| !text.is_empty())
    }

    /// A user given as an id or as an object with `_id` (newer callers).
    pub(crate) fn user(&self, index: usize) -> Option<&str> {
        self.text(index).or_else(|| self.member(index, "_id"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_never_pass_for_strings() {
        let params = Params::parse(br#"[{"$gt":""},null,"",["a",{"$ne":1}],{"_id":{"$ne":1}}]"#)
            .expect("an array");
        assert_eq!(params.text(0), None);
        assert_eq!(params.text(1), None);
        assert_eq!(params.text(2), None);
        assert_eq!(params.texts(3), None);
        assert_eq!(params.user(4), None);
        assert!(Params::parse(b"{}").is_err());
    }
}
