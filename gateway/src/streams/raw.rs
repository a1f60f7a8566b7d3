//! Finds one value in an event's arguments without building anything and without reading past it.
//!
//! The text has been checked to be JSON where it came in. On anything else the answers are `None` or nonsense slices,
//! never a panic. Where a name occurs twice the first counts: senders are processes of the workspace, and reading
//! every message to its end to find a second `rid` would cost more than the rest of the translation.

/// The value at a path such as `0.message.rid`: an element of the outer array, then member names.
pub(crate) fn at<'a>(array: &'a str, index: usize, names: &[&str]) -> Option<&'a str> {
    let bytes = array.as_bytes();
    let mut at = open(bytes, skip_space(bytes, 0), b'[')?;
    for _ in 0..index {
        at = after_comma(bytes, value_end(bytes, at))?;
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
        next = after_comma(bytes, value_end(bytes, value))?;
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

fn after_comma(bytes: &[u8], at: usize) -> Option<usize> {
    after(bytes, at, b',')
}

fn after(bytes: &[u8], at: usize, sign: u8) -> Option<usize> {
    let at = skip_space(bytes, at);
    (bytes.get(at) == Some(&sign)).then(|| skip_space(bytes, at + 1))
}

fn skip_space(bytes: &[u8], mut at: usize) -> usize {
    while matches!(bytes.get(at), Some(b' ' | b'\t' | b'\n' | b'\r')) {
        at += 1;
    }
    at
}

/// One past the last byte of the value that begins here.
fn value_end(bytes: &[u8], at: usize) -> usize {
    match bytes.get(at) {
        Some(b'"') => string_end(bytes, at),
        Some(b'{' | b'[') => container_end(bytes, at),
        _ => bytes[at.min(bytes.len())..]
            .iter()
            .position(|byte| {
                matches!(
                    byte,
                    b',' | b']' | b'}' | b':' | b' ' | b'\t' | b'\n' | b'\r'
                )
            })
            .map_or(bytes.len(), |length| at + length),
    }
}

/// A byte loop: what stands before the ids that rules look for is short, a vector search does not pay.
fn string_end(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    loop {
        match bytes.get(at) {
            Some(b'"') => return at + 1,
            Some(b'\\') => at += 2,
            Some(_) => at += 1,
            None => return bytes.len(),
        }
    }
}

fn container_end(bytes: &[u8], start: usize) -> usize {
    let mut depth = 0_usize;
    let mut at = start;
    while let Some(byte) = bytes.get(at) {
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

    fn walk(text: &str) {
        let _ = at(text, 0, &["b", "c"]);
        let _ = at(text, 1, &[]);
    }
}
