use std::{borrow::Cow, fmt};

use memchr::memchr2;
use serde::{Deserializer as _, de};

use super::walk;

/// A position in text that has been checked to be JSON.
///
/// On other text it answers something, ends, and does not panic.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scanner<'a> {
    text: &'a str,
    /// A char boundary: it only ever stops before or behind an ASCII byte, or at the end.
    at: usize,
}

impl<'a> Scanner<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    /// Takes `byte` if it is next, white space aside.
    pub(super) fn eat(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        if found {
            self.at += 1;
        }
        found
    }

    /// The next byte that is no white space; `None` at the end.
    pub(super) fn peek(&mut self) -> Option<u8> {
        let bytes = self.text.as_bytes();
        self.at = walk::skip_space(bytes, self.at);
        bytes.get(self.at).copied()
    }

    /// Takes the next value, whatever it is; `None` at the end of a container or of the text.
    pub(super) fn value(&mut self) -> Option<&'a str> {
        if matches!(self.peek()?, b'}' | b']' | b',' | b':') {
            return None;
        }
        let start = self.at;
        self.at = walk::value_end(self.text.as_bytes(), start);
        self.text.get(start..self.at)
    }

    /// Takes the next key with its colon.
    pub(super) fn key(&mut self) -> Option<Cow<'a, str>> {
        if self.peek() != Some(b'"') {
            return None;
        }
        let key = string(self.value()?);
        // A key with half of a surrogate pair is none that we ever look for.
        self.eat(b':').then(|| key.unwrap_or_default())
    }
}

/// The text of a raw JSON string; `None` where `raw` is something else, or holds half of a surrogate pair.
pub(super) fn string(raw: &str) -> Option<Cow<'_, str>> {
    let inside = raw.strip_prefix('"')?.strip_suffix('"')?;
    if memchr2(b'\\', b'"', inside.as_bytes()).is_none() {
        return Some(Cow::Borrowed(inside));
    }
    serde_json::from_str::<String>(raw).ok().map(Cow::Owned)
}

/// The text of a raw JSON string in which halves of surrogate pairs become U+FFFD.
pub(super) fn lossy_string(raw: &str) -> Option<String> {
    /// Takes the text from serde_json, which writes such a half as three bytes that are no UTF-8.
    struct Halves;
    impl de::Visitor<'_> for Halves {
        type Value = String;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a string")
        }

        fn visit_bytes<E>(self, bytes: &[u8]) -> Result<String, E> {
            let mut text = String::with_capacity(bytes.len());
            for chunk in bytes.utf8_chunks() {
                text.push_str(chunk.valid());
                // The first of the three.
                if chunk.invalid() == [0xED] {
                    text.push(char::REPLACEMENT_CHARACTER);
                }
            }
            Ok(text)
        }
    }
    serde_json::Deserializer::from_str(raw)
        .deserialize_bytes(Halves)
        .ok()
}

/// Whether arrays and objects nest at most `depth_max` deep; linear, whatever the text is.
pub(super) fn is_within_depth(text: &str, depth_max: usize) -> bool {
    let bytes = text.as_bytes();
    let (mut depth, mut at) = (0usize, 0);
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'"' => {
                at = walk::string_end(bytes, at);
                continue;
            }
            b'{' | b'[' => {
                depth += 1;
                if depth > depth_max {
                    return false;
                }
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        at += 1;
    }
    true
}
