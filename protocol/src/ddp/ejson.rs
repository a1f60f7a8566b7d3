//! Reading raw JSON without a tree: what rules need to see of `params` and `args`.
//!
//! Everything here takes text that has been checked to be JSON; on anything else the answers are of no use, but
//! nothing panics.

use std::borrow::Cow;

/// The elements of a raw JSON array as raw JSON; none where `raw` is no array.
pub fn elements(raw: &str) -> impl Iterator<Item = &str> {
    let _ = raw;
    std::iter::empty()
}

/// The members of a raw JSON object as key and raw JSON; none where `raw` is no object.
pub fn fields(raw: &str) -> impl Iterator<Item = (Cow<'_, str>, &str)> {
    let _ = raw;
    std::iter::empty()
}

/// The value of one key as raw JSON; the last one where the key occurs twice, as in JavaScript.
pub fn field<'a>(raw: &'a str, key: &str) -> Option<&'a str> {
    let _ = (raw, key);
    todo!()
}

/// The text of a raw JSON string; `None` where `raw` is something else, or holds half of a surrogate pair.
pub fn string(raw: &str) -> Option<Cow<'_, str>> {
    let _ = raw;
    todo!()
}

/// Appends `text` as a JSON string, quotes included.
pub fn push_string(out: &mut String, text: &str) {
    let _ = (out, text);
    todo!()
}
