use std::borrow::Cow;

use memchr::memchr2;

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
        while let Some(&byte) = self.text.as_bytes().get(self.at) {
            if !matches!(byte, b' ' | b'\t' | b'\n' | b'\r') {
                return Some(byte);
            }
            self.at += 1;
        }
        None
    }

    /// Takes the next value, whatever it is; `None` at the end of a container or of the text.
    pub(super) fn value(&mut self) -> Option<&'a str> {
        let first = self.peek()?;
        let start = self.at;
        match first {
            b'"' => self.skip_string(),
            b'{' | b'[' => self.skip_container(),
            b'}' | b']' | b',' | b':' => return None,
            _ => self.skip_scalar(),
        }
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

    fn skip_string(&mut self) {
        self.at += 1;
        while let Some(rest) = self.text.as_bytes().get(self.at..) {
            match memchr2(b'"', b'\\', rest) {
                Some(offset) if rest.get(offset) == Some(&b'"') => {
                    self.at += offset + 1;
                    return;
                }
                // The byte behind a backslash is part of the escape; the hex digits of a \u need no care.
                Some(offset) => self.at += offset + 2,
                None => break,
            }
        }
        self.at = self.text.len();
    }

    fn skip_container(&mut self) {
        let mut depth = 0usize;
        while let Some(&byte) = self.text.as_bytes().get(self.at) {
            match byte {
                b'"' => {
                    self.skip_string();
                    continue;
                }
                b'{' | b'[' => depth += 1,
                b'}' | b']' => depth -= 1,
                _ => {}
            }
            self.at += 1;
            if depth == 0 {
                return;
            }
        }
    }

    fn skip_scalar(&mut self) {
        while let Some(&byte) = self.text.as_bytes().get(self.at) {
            if matches!(
                byte,
                b',' | b']' | b'}' | b':' | b'"' | b' ' | b'\t' | b'\n' | b'\r'
            ) {
                return;
            }
            self.at += 1;
        }
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

/// Whether arrays and objects nest at most `depth_max` deep; linear, whatever the text is.
pub(super) fn is_within_depth(text: &str, depth_max: usize) -> bool {
    let mut scanner = Scanner::new(text);
    let mut depth = 0usize;
    while let Some(&byte) = text.as_bytes().get(scanner.at) {
        match byte {
            b'"' => {
                scanner.skip_string();
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
        scanner.at += 1;
    }
    true
}
