//! JSON as the Node peers read it: what `JSON.parse` takes is no mistake of the caller's, whatever serde thinks of it.
//!
//! Half of a surrogate pair becomes U+FFFD, a number beyond all doubles `null` (which is what Node writes for infinity), and
//! so does what lies deeper than anything that is looked into here. Of two members with one name the last counts.

use serde::de::DeserializeOwned;

/// Levels that are read; serde's own end is at 128.
const DEPTH_MAX: usize = 100;

/// Reads a value.
///
/// # Errors
/// It is not JSON, or not of this shape.
pub(crate) fn read<T: DeserializeOwned>(raw: &[u8]) -> Result<T, serde_json::Error> {
    serde_json::from_slice(raw).or_else(|error| match std::str::from_utf8(raw) {
        Ok(text) => serde_json::from_str(&readable(text)),
        Err(_) => Err(error),
    })
}

/// The same text without what serde does not read; what is not JSON stays so.
fn readable(text: &str) -> String {
    let mut read = String::with_capacity(text.len());
    let mut rest = text;
    let mut depth = 0;
    while let Some(first) = rest.chars().next() {
        let (token, after) = rest.split_at(token_len(rest, first));
        rest = after;
        if matches!(first, '[' | '{') {
            depth += 1;
            if depth == DEPTH_MAX + 1 {
                read.push_str("null");
            }
        }
        if depth <= DEPTH_MAX {
            match first {
                '"' => push_string(&mut read, token),
                '-' | '0'..='9' if token.parse().is_ok_and(f64::is_infinite) => {
                    read.push_str("null");
                }
                _ => read.push_str(token),
            }
        }
        if matches!(first, ']' | '}') {
            depth = depth.saturating_sub(1);
        }
    }
    read
}

/// Bytes of what begins here: a string, a number, or one character.
fn token_len(text: &str, first: char) -> usize {
    match first {
        '"' => {
            let mut escaped = false;
            let end = text[1..].find(|c| {
                let ends = c == '"' && !escaped;
                escaped = c == '\\' && !escaped;
                ends
            });
            end.map_or(text.len(), |end| end + 2)
        }
        '-' | '0'..='9' => {
            let is_part = |c: char| matches!(c, '0'..='9' | '+' | '-' | '.' | 'e' | 'E');
            text.find(|c| !is_part(c)).unwrap_or(text.len())
        }
        other => other.len_utf8(),
    }
}

/// Writes a string token with whole surrogate pairs only.
fn push_string(into: &mut String, mut token: &str) {
    let unit = |text: &str| {
        let digits = text.strip_prefix("\\u")?.get(..4)?;
        u16::from_str_radix(digits, 16).ok()
    };
    while let Some(at) = token.find('\\') {
        into.push_str(&token[..at]);
        token = &token[at..];
        let next = token.get(6..).and_then(unit);
        let (taken, written) = match (unit(token), next) {
            (Some(0xD800..=0xDBFF), Some(0xDC00..=0xDFFF)) => (12, &token[..12]),
            (Some(0xD800..=0xDFFF), _) => (6, "\\uFFFD"),
            (Some(_), _) => (6, &token[..6]),
            // Any other escape has two characters.
            (None, _) => {
                let second = token[1..].chars().next().map_or(0, char::len_utf8);
                (1 + second, &token[..1 + second])
            }
        };
        into.push_str(written);
        token = &token[taken..];
    }
    into.push_str(token);
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn half_a_surrogate_pair_is_one_odd_character() {
        for (raw, expected) in [
            (r#"["\ud83d"]"#, "\u{fffd}"),
            (r#"["\ude00x"]"#, "\u{fffd}x"),
            (r#"["\ud83d\ud83d\ude00"]"#, "\u{fffd}\u{1f600}"),
            (r#"["\ud83dA\\\"\n\ud800\\"]"#, "\u{fffd}A\\\"\n\u{fffd}\\"),
            (r#"["\\ud83d \ud83d"]"#, "\\ud83d \u{fffd}"),
        ] {
            let value: Value = read(raw.as_bytes()).unwrap();
            assert_eq!(value, json!([expected]), "{raw}");
        }
    }

    #[test]
    fn a_number_beyond_all_doubles_is_nothing() {
        let value: Value = read(br#"[1e999,-1e999,1e-999,1.5,"1e999"]"#).unwrap();
        assert_eq!(value, json!([null, null, 0.0, 1.5, "1e999"]));
    }

    #[test]
    fn what_lies_too_deep_is_nothing_and_the_rest_is_read() {
        let deep = format!("[{}1{},2]", "[".repeat(5_000), "]".repeat(5_000));
        let value: Value = read(deep.as_bytes()).unwrap();
        assert_eq!(value[1], 2);
        let deep = format!(
            "{}{}",
            r#"{"a":"#.repeat(5_000),
            "1".to_owned() + &"}".repeat(5_000)
        );
        assert!(read::<Value>(deep.as_bytes()).is_ok());
    }

    #[test]
    fn of_two_members_with_one_name_the_last_counts() {
        let value: Value = read(br#"{"a":1,"a":2}"#).unwrap();
        assert_eq!(value, json!({"a": 2}));
    }

    #[test]
    fn what_is_not_json_is_an_error_still() {
        for raw in [
            "",
            "[",
            r#"["\ud8"#,
            r#"["\"#,
            "]",
            r#"["\ud83d"}"#,
            "[1e999",
            "nul",
        ] {
            assert!(read::<Value>(raw.as_bytes()).is_err(), "{raw}");
        }
        assert!(read::<Value>(b"\"\xff\"").is_err());
    }
}
