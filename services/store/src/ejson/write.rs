//! BSON to EJSON text: from raw bytes or from a tree, by the same table.

use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bson::error::Error;
use bson::{Bson, Document, RawArray, RawBson, RawBsonRef, RawDocument};

pub(super) fn document(document: &Document, text: &mut String) {
    let escaped = open(document.keys().map(String::as_str), text);
    let mut first = true;
    for (key, member) in document {
        if !matches!(member, Bson::Undefined) {
            begin_member(key, &mut first, text);
            value(member, text);
        }
    }
    text.push_str(if escaped { "}}" } else { "}" });
}

pub(super) fn value(bson: &Bson, text: &mut String) {
    match bson {
        Bson::Document(members) => document(members, text),
        Bson::Array(elements) => {
            text.push('[');
            for (index, element) in elements.iter().enumerate() {
                if index > 0 {
                    text.push(',');
                }
                value(element, text);
            }
            text.push(']');
        }
        Bson::String(value) => string(value, text),
        leaf => {
            // Only code with a scope holds a document, and could therefore fail; it is written as null anyway.
            let leaf = RawBson::try_from(leaf.clone()).unwrap_or(RawBson::Null);
            raw_value(leaf.as_raw_bson_ref(), text)
                .expect("only documents and arrays can be malformed");
        }
    }
}

pub(super) fn raw_document(document: &RawDocument, text: &mut String) -> Result<(), Error> {
    // A malformed member ends these keys early; the loop below meets and reports it.
    let keys = document
        .iter()
        .map_while(|member| member.ok().map(|(key, _)| key.as_str()));
    let escaped = open(keys, text);
    let mut first = true;
    for member in document.iter() {
        let (key, member) = member?;
        if !matches!(member, RawBsonRef::Undefined) {
            begin_member(key.as_str(), &mut first, text);
            raw_value(member, text)?;
        }
    }
    text.push_str(if escaped { "}}" } else { "}" });
    Ok(())
}

/// Writes one value. The match over all BSON types is the table of the conversion.
fn raw_value(value: RawBsonRef<'_>, text: &mut String) -> Result<(), Error> {
    match value {
        RawBsonRef::String(value) | RawBsonRef::Symbol(value) => string(value, text),
        RawBsonRef::Document(value) => raw_document(value, text)?,
        RawBsonRef::Array(value) => raw_array(value, text)?,
        RawBsonRef::Boolean(value) => text.push_str(if value { "true" } else { "false" }),
        RawBsonRef::Int32(value) => put(text, format_args!("{value}")),
        RawBsonRef::Int64(value) => put(text, format_args!("{value}")),
        RawBsonRef::Double(value) => double(value, text),
        RawBsonRef::DateTime(date) => put(
            text,
            format_args!("{{\"$date\":{}}}", date.timestamp_millis()),
        ),
        RawBsonRef::ObjectId(id) => put(text, format_args!("\"{id}\"")),
        RawBsonRef::Binary(binary) => {
            text.push_str("{\"$binary\":\"");
            STANDARD.encode_string(binary.bytes, text);
            text.push_str("\"}");
        }
        RawBsonRef::RegularExpression(regex) => {
            text.push_str("{\"$regexp\":");
            string(regex.pattern.as_str(), text);
            text.push_str(",\"$flags\":");
            string(regex.options.as_str(), text);
            text.push('}');
        }
        // What follows has no EJSON form: it leaves as the JSON form of the Node driver's classes.
        RawBsonRef::Decimal128(value) => {
            put(text, format_args!("{{\"$numberDecimal\":\"{value}\"}}"))
        }
        RawBsonRef::Timestamp(value) => {
            let ticks = (u64::from(value.time) << 32) | u64::from(value.increment);
            put(text, format_args!("{{\"$timestamp\":\"{ticks}\"}}"));
        }
        RawBsonRef::JavaScriptCode(code) => {
            text.push_str("{\"code\":");
            string(code, text);
            text.push('}');
        }
        RawBsonRef::MinKey => text.push_str("{\"$minKey\":1}"),
        RawBsonRef::MaxKey => text.push_str("{\"$maxKey\":1}"),
        RawBsonRef::Null
        | RawBsonRef::Undefined
        | RawBsonRef::DbPointer(_)
        | RawBsonRef::JavaScriptCodeWithScope(_) => text.push_str("null"),
    }
    Ok(())
}

fn raw_array(array: &RawArray, text: &mut String) -> Result<(), Error> {
    text.push('[');
    for (index, element) in array.into_iter().enumerate() {
        if index > 0 {
            text.push(',');
        }
        raw_value(element?, text)?;
    }
    text.push(']');
    Ok(())
}

fn double(value: f64, text: &mut String) {
    if value.is_nan() {
        text.push_str("{\"$InfNaN\":0}");
    } else if value.is_infinite() {
        text.push_str(if value > 0.0 {
            "{\"$InfNaN\":1}"
        } else {
            "{\"$InfNaN\":-1}"
        });
    } else if value.fract() == 0.0 && value.abs() < 1e16 {
        // JavaScript has one kind of number and prints 3.0 (and -0.0) without a fraction.
        put(text, format_args!("{}", value as i64));
    } else {
        put(text, format_args!("{value:?}"));
    }
}

fn string(value: &str, text: &mut String) {
    text.push('"');
    let mut plain = 0;
    for (at, byte) in value.bytes().enumerate() {
        if byte >= b' ' && byte != b'"' && byte != b'\\' {
            continue;
        }
        text.push_str(&value[plain..at]);
        plain = at + 1;
        match byte {
            b'"' => text.push_str("\\\""),
            b'\\' => text.push_str("\\\\"),
            b'\n' => text.push_str("\\n"),
            b'\r' => text.push_str("\\r"),
            b'\t' => text.push_str("\\t"),
            control => put(text, format_args!("\\u{control:04x}")),
        }
    }
    text.push_str(&value[plain..]);
    text.push('"');
}

/// Begins an object; whether it had to be wrapped, because a reader would take it for one of EJSON's markers.
fn open<'a>(keys: impl Iterator<Item = &'a str>, text: &mut String) -> bool {
    let mut keys = keys.fuse();
    let escaped = matches!(
        (keys.next(), keys.next(), keys.next()),
        (Some("$date" | "$InfNaN" | "$binary" | "$escape"), None, _)
            | (Some("$regexp"), Some("$flags"), None)
            | (Some("$flags"), Some("$regexp"), None)
            | (Some("$type"), Some("$value"), None)
            | (Some("$value"), Some("$type"), None)
    );
    text.push_str(if escaped { "{\"$escape\":{" } else { "{" });
    escaped
}

/// Writes a key. Undefined members never get here: they vanish, as in `JSON.stringify`.
fn begin_member(key: &str, first: &mut bool, text: &mut String) {
    if !std::mem::take(first) {
        text.push(',');
    }
    string(key, text);
    text.push(':');
}

fn put(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    text.write_fmt(arguments)
        .expect("a String takes whatever is written");
}
