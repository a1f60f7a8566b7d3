//! The little language in which the event table says how a publication is cut from an event's arguments.
//!
//! | written | becomes |
//! | --- | --- |
//! | `<0.room._id>` | the value at this path as it stands, `null` where there is none; in a key: the text of a string |
//! | `<?1>` | an array element: the value, or nothing |
//! | `<rid:0._id>` | an object member `"rid":value`, or nothing |
//! | `<*0.role>` | all members of an object |
//! | anything else | itself |
//!
//! Commas before the last three are put where they belong.

use protocol::ddp::ejson;

/// A parsed template; templates are constants, parsed once at start.
#[derive(Debug)]
pub(crate) struct Template(Vec<Piece>);

#[derive(Debug)]
enum Piece {
    Literal(&'static str),
    Value(Path),
    Optional(Path),
    Member(&'static str, Path),
    Spread(Path),
}

/// Where a value stands in an argument list: index, then member names.
#[derive(Debug)]
pub(crate) struct Path {
    index: usize,
    names: Vec<&'static str>,
}

impl Path {
    /// Parses `0.room._id`.
    pub(crate) fn new(path: &'static str) -> Self {
        let mut parts = path.split('.');
        Self {
            index: parts
                .next()
                .and_then(|index| index.parse().ok())
                .unwrap_or(usize::MAX),
            names: parts.collect(),
        }
    }

    /// The raw value in these arguments (a raw JSON array).
    pub(crate) fn find<'a>(&self, args: &'a str) -> Option<&'a str> {
        ejson::at(args, self.index, &self.names)
    }
}

impl Template {
    pub(crate) fn new(mut text: &'static str) -> Self {
        let mut pieces = Vec::new();
        while let Some((before, rest)) = text.split_once('<') {
            if !before.is_empty() {
                pieces.push(Piece::Literal(before));
            }
            let (inside, rest) = rest.split_once('>').unwrap_or((rest, ""));
            pieces.push(if let Some(path) = inside.strip_prefix('?') {
                Piece::Optional(Path::new(path))
            } else if let Some(path) = inside.strip_prefix('*') {
                Piece::Spread(Path::new(path))
            } else if let Some((name, path)) = inside.split_once(':') {
                Piece::Member(name, Path::new(path))
            } else {
                Piece::Value(Path::new(inside))
            });
            text = rest;
        }
        if !text.is_empty() {
            pieces.push(Piece::Literal(text));
        }
        Self(pieces)
    }

    /// The arguments of which members are told.
    pub(crate) fn taken_apart(&self) -> impl Iterator<Item = usize> {
        self.0.iter().filter_map(|piece| match piece {
            Piece::Value(path)
            | Piece::Optional(path)
            | Piece::Member(_, path)
            | Piece::Spread(path)
                if !path.names.is_empty() =>
            {
                Some(path.index)
            }
            _ => None,
        })
    }

    /// Writes an event name into `into`; `false` if a value is missing, empty or no string.
    pub(crate) fn key(&self, args: &str, into: &mut String) -> bool {
        into.clear();
        self.0.iter().all(|piece| match piece {
            Piece::Literal(text) => {
                into.push_str(text);
                true
            }
            Piece::Value(path) => match path.find(args).and_then(ejson::string) {
                Some(text) if !text.is_empty() => {
                    into.push_str(&text);
                    true
                }
                _ => false,
            },
            Piece::Optional(_) | Piece::Member(..) | Piece::Spread(_) => false,
        })
    }

    /// The argument list of a publication, raw JSON.
    pub(crate) fn args(&self, args: &str) -> String {
        let mut out = String::with_capacity(args.len() + 32);
        for piece in &self.0 {
            match piece {
                Piece::Literal(text) => out.push_str(text),
                Piece::Value(path) => out.push_str(path.find(args).unwrap_or("null")),
                Piece::Optional(path) => {
                    if let Some(value) = path.find(args) {
                        separate(&mut out);
                        out.push_str(value);
                    }
                }
                Piece::Member(name, path) => {
                    if let Some(value) = path.find(args) {
                        separate(&mut out);
                        out.push('"');
                        out.push_str(name);
                        out.push_str("\":");
                        out.push_str(value);
                    }
                }
                Piece::Spread(path) => {
                    let inside = path
                        .find(args)
                        .and_then(|value| value.strip_prefix('{')?.strip_suffix('}'))
                        .map_or("", str::trim);
                    if !inside.is_empty() {
                        separate(&mut out);
                        out.push_str(inside);
                    }
                }
            }
        }
        out
    }
}

fn separate(out: &mut String) {
    if !out.ends_with(['[', '{', ',']) {
        out.push(',');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(template: &'static str, args: &str, expected: &str) {
        assert_eq!(Template::new(template).args(args), expected, "{template}");
    }

    #[test]
    fn values_are_spliced_as_they_stand() {
        check(
            "[<0.a>,<1>]",
            r#"[{"a":{"$date": 1}},2.50]"#,
            r#"[{"$date": 1},2.50]"#,
        );
        check("[<0>,<3>]", "[1]", "[1,null]");
    }

    #[test]
    fn what_is_absent_leaves_no_comma_behind() {
        check("[<?0><?1>]", "[]", "[]");
        check("[<?0><?1>]", "[1]", "[1]");
        check("[{<a:0.a><b:0.b>}]", r#"[{"b":1}]"#, r#"[{"b":1}]"#);
        check(r#"[{"x":1<*0>}]"#, "[{}]", r#"[{"x":1}]"#);
        check(
            "[{<t:0.t><*0.r>}]",
            r#"[{"t":"c","r":{"a":1,"b":2}}]"#,
            r#"[{"t":"c","a":1,"b":2}]"#,
        );
    }

    #[test]
    fn a_key_needs_all_its_parts_as_text() {
        let key = |args| {
            let mut into = String::new();
            Template::new("<0>/deleteMessage")
                .key(args, &mut into)
                .then_some(into)
        };
        assert_eq!(key(r#"["r1"]"#).as_deref(), Some("r1/deleteMessage"));
        assert_eq!(key("[]"), None);
        assert_eq!(key("[7]"), None);
        assert_eq!(key(r#"[""]"#), None);
    }
}
