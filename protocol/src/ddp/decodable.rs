//! What a Node peer cannot decode (gateway.md 2.4 and 7): it would drop the whole packet, and whoever waits for the answer
//! would wait for his deadline.
//!
//! Exactly: an unknown `$type` with its `$value`, a `$regexp` that does not compile or whose `$flags` are no text, a
//! `$binary` that is no text, and `$escape: null`. We refuse besides what hardly anybody sends and would cost much to
//! know: a list in the place of a pattern, and a pattern with half of a surrogate pair.

use memchr::memmem;

use super::{
    regexp,
    scan::{self, Scanner},
};

/// Flags are looked at so far.
const FLAGS_MAX: usize = 50;

/// Whether everything in a JSON text that `decode` has checked can be decoded.
pub(super) fn is_decodable(raw: &str) -> bool {
    // An ASCII sign that is escaped starts with \u00; without either there is nothing to walk for.
    let is_suspicious = memmem::find(raw.as_bytes(), br#""$"#).is_some()
        || memmem::find(raw.as_bytes(), br"\u00").is_some();
    if !is_suspicious {
        return true;
    }
    !walk(&mut Scanner::new(raw)).whole
}

/// Whether a value cannot be decoded.
#[derive(Clone, Copy, Default)]
struct Undecodable {
    whole: bool,
    /// One of its members cannot, if it is taken as data whatever it looks like.
    members: bool,
}

/// The members of an object that may make it a marker, as raw JSON; of two with one name the last.
#[derive(Clone, Copy, Default)]
struct Marker<'a> {
    date: Option<&'a str>,
    number: Option<&'a str>,
    regexp: Option<&'a str>,
    flags: Option<&'a str>,
    binary: Option<&'a str>,
    escape: Option<&'a str>,
    kind: Option<&'a str>,
    value: Option<&'a str>,
    has_other: bool,
}

/// Walks one value. Recursion is as deep as the text, which `decode` has bounded.
fn walk(scanner: &mut Scanner<'_>) -> Undecodable {
    let mut members = false;
    if scanner.eat(b'[') {
        while !matches!(scanner.peek(), None | Some(b']')) {
            members |= walk(scanner).whole;
            scanner.eat(b',');
        }
        scanner.eat(b']');
        return Undecodable {
            whole: members,
            members,
        };
    }
    if !scanner.eat(b'{') {
        scanner.value();
        return Undecodable::default();
    }
    let mut marker = Marker::default();
    let mut escaped = Undecodable::default();
    while let Some(key) = scanner.key() {
        let mut ahead = *scanner;
        let member = walk(scanner);
        members |= member.whole;
        let place = match key.as_ref() {
            "$date" => Some(&mut marker.date),
            "$InfNaN" => Some(&mut marker.number),
            "$regexp" => Some(&mut marker.regexp),
            "$flags" => Some(&mut marker.flags),
            "$binary" => Some(&mut marker.binary),
            "$escape" => {
                escaped = member;
                Some(&mut marker.escape)
            }
            "$type" => Some(&mut marker.kind),
            "$value" => Some(&mut marker.value),
            _ => None,
        };
        match place {
            Some(place) => *place = ahead.value(),
            None => marker.has_other = true,
        }
        scanner.eat(b',');
    }
    scanner.eat(b'}');
    let whole = match marker.kind_of() {
        Kind::Whole(is_sound) => !is_sound,
        Kind::Escape(raw) => raw == "null" || escaped.members,
        Kind::Plain => members,
    };
    Undecodable { whole, members }
}

enum Kind<'a> {
    /// Decoded as a whole, if it is sound; what stands inside is its own.
    Whole(bool),
    /// What it holds is data that only looks like a marker; what lies deeper counts again.
    Escape(&'a str),
    Plain,
}

impl<'a> Marker<'a> {
    /// A marker has the members of its kind and no others.
    fn kind_of(self) -> Kind<'a> {
        if self.has_other {
            return Kind::Plain;
        }
        let members = [
            self.date,
            self.number,
            self.regexp,
            self.flags,
            self.binary,
            self.escape,
            self.kind,
            self.value,
        ];
        match (members.iter().flatten().count(), self) {
            (
                1,
                Self { date: Some(_), .. }
                | Self {
                    number: Some(_), ..
                },
            ) => Kind::Whole(true),
            (
                1,
                Self {
                    binary: Some(raw), ..
                },
            ) => Kind::Whole(raw.starts_with('"')),
            (
                1,
                Self {
                    escape: Some(raw), ..
                },
            ) => Kind::Escape(raw),
            (
                2,
                Self {
                    regexp: Some(pattern),
                    flags: Some(flags),
                    ..
                },
            ) => Kind::Whole(is_regexp(pattern, flags)),
            (
                2,
                Self {
                    kind: Some(_),
                    value: Some(_),
                    ..
                },
            ) => Kind::Whole(false),
            _ => Kind::Plain,
        }
    }
}

fn is_regexp(pattern: &str, flags: &str) -> bool {
    let Some(flags) = scan::string(flags) else {
        return false;
    };
    let unicode = flags.chars().take(FLAGS_MAX).any(|flag| flag == 'u');
    match pattern.as_bytes().first() {
        Some(b'"') => scan::string(pattern).is_some_and(|text| regexp::compiles(&text, unicode)),
        Some(b'[') => false,
        // As text: a number, a word, `[object Object]`.
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_makes_a_node_peer_throw_is_found() {
        for raw in [
            r#"[{"$type":"oid","$value":"1"}]"#,
            r#"[{"a":[{"$value":"1","$type":"oid"}]}]"#,
            r#"[{"\u0024typ\u0065":"oid","$value":"1"}]"#,
            r#"[{"$escape":{"$type":"oid","$value":"1"},"a":1}]"#,
            r#"[{"$escape":{"a":{"$type":"oid","$value":"1"}}}]"#,
            r#"[{"$regexp":"(","$flags":""}]"#,
            r#"[{"$flags":"i","$regexp":"a**"}]"#,
            r#"[{"$regexp":"\\p","$flags":"u"}]"#,
            r#"[{"$regexp":"a","$flags":5}]"#,
            r#"[{"$binary":5}]"#,
            r#"["", {"added":[{"$binary":null}]}]"#,
            r#"[{"$binary":"AQ==","$binary":{}}]"#,
            r#"[{"$escape":null}]"#,
            r#"[{"$escape":{"a":{"$escape":null}}}]"#,
            r#"[{"$escape":{"$escape":{"$binary":[{"$binary":5}]}}}]"#,
        ] {
            assert!(!is_decodable(raw), "{raw}");
        }
    }

    #[test]
    fn what_it_takes_is_passed_on() {
        for raw in [
            r#"["$type","$value"]"#,
            r#"[{"$type":"oid"}]"#,
            r#"[{"$type":"oid","$value":"1","more":2}]"#,
            r#"[{"$escape":{"$type":"oid","$value":"1"}}]"#,
            r#"[{"$date":1},{"$binary":"AQ=="},{"$InfNaN":0}]"#,
            r#"[{"$date":{"$binary":5}},{"$InfNaN":"x"},{"$date":null}]"#,
            r#"[{"$regexp":"a(b)","$flags":"ggxyz"}]"#,
            r#"[{"$regexp":5,"$flags":""},{"$regexp":null,"$flags":""},{"$regexp":{},"$flags":""}]"#,
            r#"[{"$regexp":"("},{"$regexp":"(","$flags":"","more":1}]"#,
            r#"[{"$binary":"not base64"},{"$binary":5,"more":1}]"#,
            r#"[{"$escape":"text"},{"$escape":5},{"$escape":[1]},{"$escape":null,"more":1}]"#,
            r#"[{"$escape":{"$binary":5}},{"$escape":{"$escape":null}}]"#,
        ] {
            assert!(is_decodable(raw), "{raw}");
        }
    }
}
