//! Reading raw JSON without a tree: what rules need to see of `params` and `args`.
//!
//! Everything here takes text that has been checked to be JSON; on anything else the answers are of no use, but
//! nothing panics. Every function is linear in the length of its text.

use std::{borrow::Cow, iter};

use serde::de::IgnoredAny;

pub use super::walk::at;
use super::{
    decodable,
    message::Refused,
    scan::{self, Scanner},
};

/// Whether a text is one JSON value from end to end.
pub fn is_json(text: &str) -> bool {
    serde_json::from_str::<IgnoredAny>(text).is_ok()
}

/// The elements of a raw JSON array as raw JSON; none where `raw` is no array.
pub fn elements(raw: &str) -> impl Iterator<Item = &str> {
    let mut scanner = Scanner::new(raw);
    let mut more = scanner.eat(b'[');
    iter::from_fn(move || {
        let element = if more { scanner.value() } else { None };
        more = element.is_some() && scanner.eat(b',');
        element
    })
}

/// The members of a raw JSON object as key and raw JSON; none where `raw` is no object.
pub fn fields(raw: &str) -> impl Iterator<Item = (Cow<'_, str>, &str)> {
    let mut scanner = Scanner::new(raw);
    let mut more = scanner.eat(b'{');
    iter::from_fn(move || {
        let member = if more {
            scanner.key().zip(scanner.value())
        } else {
            None
        };
        more = member.is_some() && scanner.eat(b',');
        member
    })
}

/// The value of one key as raw JSON; the last one where the key occurs twice, as in JavaScript.
pub fn field<'a>(raw: &'a str, key: &str) -> Option<&'a str> {
    fields(raw)
        .filter(|(name, _)| name == key)
        .last()
        .map(|(_, value)| value)
}

/// The text of a raw JSON string; `None` where `raw` is something else, or holds half of a surrogate pair.
pub fn string(raw: &str) -> Option<Cow<'_, str>> {
    scan::string(raw)
}

/// The same, with U+FFFD for every half of a surrogate pair; `None` only where `raw` is no string.
pub fn lossy_string(raw: &str) -> Option<Cow<'_, str>> {
    string(raw).or_else(|| scan::lossy_string(raw).map(Cow::Owned))
}

/// Whether `params` can go to any peer: an array in which a Node peer can decode everything.
pub(super) fn check_params(raw: &str) -> Result<&str, Refused> {
    if !raw.starts_with('[') {
        return Err(Refused::ParamsNotAnArray);
    }
    if decodable::is_decodable(raw) {
        Ok(raw)
    } else {
        Err(Refused::Undecodable)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_an_array_into_raw_elements() {
        let check = |raw, expected: &[&str]| {
            assert_eq!(elements(raw).collect::<Vec<_>>(), expected, "{raw}")
        };
        check("[]", &[]);
        check(
            " [ 1 , \"a,]\" ,{\"b\":[2, 3]},null ] ",
            &["1", "\"a,]\"", "{\"b\":[2, 3]}", "null"],
        );
        check(r#"["\\","\"",[]]"#, &[r#""\\""#, r#""\"""#, "[]"]);
        check("{\"a\":1}", &[]);
        check("5", &[]);
    }

    #[test]
    fn the_last_of_two_equal_keys_wins() {
        assert_eq!(
            field(r#"{"a":1,"b":2,"a":{"c":3}}"#, "a"),
            Some(r#"{"c":3}"#)
        );
        assert_eq!(field(r#"{"\u0061" : true }"#, "a"), Some("true"));
        assert_eq!(field(r#"{"a":1}"#, "b"), None);
        assert_eq!(field("[1]", "a"), None);
    }

    #[test]
    fn reads_strings_and_nothing_else() {
        assert_eq!(string(r#""a\n\u00e9""#).as_deref(), Some("a\né"));
        assert!(matches!(string(r#""plain""#), Some(Cow::Borrowed("plain"))));
        for other in ["5", "null", "\"", r#""\ud800""#, r#""a"b""#, ""] {
            assert_eq!(string(other), None, "{other}");
        }
    }

    #[test]
    fn broken_text_neither_panics_nor_hangs() {
        let text = r#"[{"a":["é\u0061",1,{"$type":"x","$value":[2]}]},"b\""]"#;
        for (end, _) in text.char_indices() {
            for (start, _) in text.char_indices().take_while(|&(start, _)| start <= end) {
                let part = &text[start..end];
                let _ = (
                    elements(part).count(),
                    fields(part).count(),
                    check_params(part),
                    string(part),
                );
            }
        }
    }

    #[test]
    fn params_are_an_array() {
        assert_eq!(check_params("[]"), Ok("[]"));
        for other in ["{}", "null", "\"[]\""] {
            assert_eq!(check_params(other), Err(Refused::ParamsNotAnArray));
        }
    }
}
