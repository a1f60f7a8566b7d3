//! The one walker over raw JSON: where values end, and one value by its path, without building anything.
//!
//! The text has been checked to be JSON where it came in. On anything else the answers are `None` or nonsense slices,
//! never a panic; every function is linear.

use memchr::memchr2;

use super::blocks::Blocks;

/// The value at a path such as `0.message.rid`: an element of the outer array, then member names.
///
/// Reads no further than that value. So of a name that occurs twice the first counts here, where
/// [`field`](super::ejson::field), which reads an object to its end, takes the last, as JavaScript does: events come from
/// processes that write no name twice, and reading every message to its end to find a second `rid` would cost more than
/// the rest of its way.
pub fn at<'a>(array: &'a str, index: usize, names: &[&str]) -> Option<&'a str> {
    let bytes = array.as_bytes();
    let mut at = open(bytes, skip_space(bytes, 0), b'[')?;
    for _ in 0..index {
        at = after(bytes, value_end(bytes, at), b',')?;
    }
    for name in names {
        at = member(bytes, at, name)?;
    }
    array.get(at..value_end(bytes, at))
}

/// Where the value of this member begins; `at` is where the object begins.
fn member(bytes: &[u8], at: usize, name: &str) -> Option<usize> {
    let mut next = open(bytes, at, b'{')?;
    loop {
        let end = value_end(bytes, next);
        let value = after(bytes, end, b':')?;
        if bytes.get(next + 1..end.checked_sub(1)?)? == name.as_bytes() {
            return Some(value);
        }
        next = after(bytes, value_end(bytes, value), b',')?;
    }
}

/// Where the first item of a container begins; `None` if it is empty or something else.
fn open(bytes: &[u8], at: usize, bracket: u8) -> Option<usize> {
    if bytes.get(at) != Some(&bracket) {
        return None;
    }
    let first = skip_space(bytes, at + 1);
    (!matches!(bytes.get(first), Some(b']' | b'}') | None)).then_some(first)
}

fn after(bytes: &[u8], at: usize, sign: u8) -> Option<usize> {
    let at = skip_space(bytes, at);
    (bytes.get(at) == Some(&sign)).then(|| skip_space(bytes, at + 1))
}

/// Where white space ends.
pub(crate) fn skip_space(bytes: &[u8], mut at: usize) -> usize {
    while matches!(bytes.get(at), Some(b' ' | b'\t' | b'\n' | b'\r')) {
        at += 1;
    }
    at
}

/// One past the last byte of the value that begins here.
pub(super) fn value_end(bytes: &[u8], at: usize) -> usize {
    match bytes.get(at) {
        Some(b'"') => string_end(bytes, at),
        Some(b'{' | b'[') => container_end(bytes, at),
        _ => scalar_end(bytes, at),
    }
}

fn scalar_end(bytes: &[u8], at: usize) -> usize {
    let rest = bytes.get(at..).unwrap_or_default();
    let ends = |byte: &u8| {
        matches!(
            byte,
            b',' | b']' | b'}' | b':' | b'"' | b' ' | b'\t' | b'\n' | b'\r'
        )
    };
    at + rest.iter().position(ends).unwrap_or(rest.len())
}

/// One past the closing quote of the string that begins here; the end of the text where none closes it.
pub(super) fn string_end(bytes: &[u8], start: usize) -> usize {
    closing_quote(bytes, start).map_or(bytes.len(), |quote| quote + 1)
}

/// Where the string that begins here is closed.
pub(crate) fn closing_quote(bytes: &[u8], start: usize) -> Option<usize> {
    let mut at = start + 1;
    loop {
        at = quote_or_escape(bytes, at)?;
        if bytes.get(at) == Some(&b'"') {
            return Some(at);
        }
        // The byte behind a backslash is part of the escape; the hex digits of a \u need no care.
        at += 2;
    }
}

/// Names and ids end within so many words of eight bytes, in which to look is cheaper than to begin a vector search.
const NEAR: usize = 5;
const ONES: u64 = 0x0101_0101_0101_0101;

/// Where the next quote or backslash stands.
fn quote_or_escape(bytes: &[u8], mut at: usize) -> Option<usize> {
    for _ in 0..NEAR {
        let Some(word) = bytes.get(at..).and_then(<[u8]>::first_chunk) else {
            break;
        };
        let word = u64::from_le_bytes(*word);
        let found = marks(word, b'"') | marks(word, b'\\');
        if found != 0 {
            return Some(at + found.trailing_zeros() as usize / 8);
        }
        at += 8;
    }
    memchr2(b'"', b'\\', bytes.get(at..)?).map(|offset| at + offset)
}

/// The highest bit of every byte of this value, and perhaps of some above the first of them.
fn marks(word: u64, byte: u8) -> u64 {
    let zero_where_equal = word ^ (ONES * u64::from(byte));
    zero_where_equal.wrapping_sub(ONES) & !zero_where_equal & (ONES << 7)
}

/// Bytes of a container that are looked at one by one: a list of a hundred thousand small ones would take a block of 64 for each.
const SMALL: usize = 32;

/// One past the bracket that closes the container which begins here.
pub(super) fn container_end(bytes: &[u8], start: usize) -> usize {
    let mut depth = 0_usize;
    let mut at = start;
    while let Some(byte) = bytes.get(at) {
        if at >= start + SMALL {
            let end = Blocks::new(bytes, start).container_end(start);
            return end.unwrap_or(bytes.len());
        }
        match byte {
            b'"' => {
                at = string_end(bytes, at);
                continue;
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return at + 1;
                }
            }
            _ => {}
        }
        at += 1;
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_path_finds_the_slice_as_it_stands() {
        let args =
            r#" [1 , {"a\"b":[1,{"rid":"no"}], "rid" : "r]1", "n":{ "x":-1.5e3 },"u":"\u00e9"}]"#;
        let check =
            |names: &[&str], expected| assert_eq!(at(args, 1, names), expected, "{names:?}");
        check(&["rid"], Some(r#""r]1""#));
        check(&["n", "x"], Some("-1.5e3"));
        check(&["n"], Some(r#"{ "x":-1.5e3 }"#));
        check(&["missing"], None);
        check(&["rid", "x"], None);
        assert_eq!(at(args, 0, &[]), Some("1"));
        assert_eq!(at(args, 2, &[]), None);
    }

    #[test]
    fn every_prefix_and_every_changed_byte_is_survived() {
        let sound = r#"[{"a":"x\\","b":[1,{"c":null}]},"é"]"#;
        for end in (0..sound.len()).filter(|&end| sound.is_char_boundary(end)) {
            walk(&sound[..end]);
        }
        for at in 0..sound.len() {
            for byte in [b'"', b'\\', b'{', b']', b',', b':', b' '] {
                let mut bytes = sound.as_bytes().to_vec();
                bytes[at] = byte;
                walk(&String::from_utf8_lossy(&bytes));
            }
        }
    }

    proptest! {
        #[test]
        fn a_string_is_closed_where_a_look_at_every_byte_finds_it(
            text in prop::collection::vec(
                prop_oneof![20 => any::<u8>(), 1 => Just(b'"'), 1 => Just(b'\\')],
                1..120,
            ),
        ) {
            let mut is_escaped = false;
            let closes = |byte: &u8| {
                let escaped = std::mem::take(&mut is_escaped);
                is_escaped = !escaped && *byte == b'\\';
                !escaped && *byte == b'"'
            };
            let slow = text[1..].iter().position(closes).map(|at| at + 1);
            prop_assert_eq!(closing_quote(&text, 0), slow);
        }
    }

    fn walk(text: &str) {
        let _ = at(text, 0, &["b", "c"]);
        let _ = at(text, 1, &[]);
    }
}
