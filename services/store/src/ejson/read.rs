//! EJSON text to BSON in one pass: markers become values as soon as their object is complete.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bson::raw::CString;
use bson::spec::BinarySubtype;
use bson::{Binary, Bson, DateTime, Document, Regex};
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use crate::date;

pub(super) fn value(text: &str) -> Result<Bson, serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let value = Ejson::Value.deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(value)
}

/// How the next value is to be read.
#[derive(Clone, Copy)]
enum Ejson {
    /// An object that looks like a marker is one.
    Value,
    /// Directly inside `$escape`: an object is plain data, its members are values again.
    Escaped,
}

impl<'de> DeserializeSeed<'de> for Ejson {
    type Value = Bson;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Bson, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Ejson {
    type Value = Bson;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an EJSON value")
    }

    fn visit_unit<E>(self) -> Result<Bson, E> {
        Ok(Bson::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Bson, E> {
        Ok(Bson::Boolean(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Bson, E> {
        Ok(i32::try_from(value).map_or(Bson::Int64(value), Bson::Int32))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Bson, E> {
        match i64::try_from(value) {
            Ok(value) => self.visit_i64(value),
            Err(_) => Ok(Bson::Double(value as f64)),
        }
    }

    fn visit_f64<E>(self, value: f64) -> Result<Bson, E> {
        Ok(Bson::Double(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Bson, E> {
        Ok(Bson::String(value.into()))
    }

    fn visit_string<E>(self, value: String) -> Result<Bson, E> {
        Ok(Bson::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Bson, A::Error> {
        let mut array = Vec::new();
        while let Some(element) = elements.next_element_seed(Self::Value)? {
            array.push(element);
        }
        Ok(Bson::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Bson, A::Error> {
        let mut document = Document::new();
        while let Some(key) = members.next_key::<String>()? {
            if key.contains('\0') {
                return Err(A::Error::custom("a key with a NUL character"));
            }
            let escapes = matches!(self, Self::Value) && key == "$escape" && document.is_empty();
            let member =
                members.next_value_seed(if escapes { Self::Escaped } else { Self::Value })?;
            document.insert(key, member);
        }
        match self {
            Self::Value => marker(document).map_err(A::Error::custom),
            Self::Escaped => Ok(Bson::Document(document)),
        }
    }
}

/// The value that a complete object stands for; itself if it is no marker.
fn marker(mut document: Document) -> Result<Bson, &'static str> {
    let mut keys = document.keys().map(String::as_str);
    match [keys.next(), keys.next(), keys.next()] {
        [Some("$date"), None, None] => Ok(read_date(&document["$date"])),
        [Some("$InfNaN"), None, None] => Ok(Bson::Double(match document["$InfNaN"] {
            Bson::Int32(sign) if sign != 0 => f64::INFINITY.copysign(f64::from(sign)),
            _ => f64::NAN,
        })),
        [Some("$binary"), None, None] => {
            let encoded = document
                .get_str("$binary")
                .map_err(|_| "$binary without text")?;
            let bytes = STANDARD
                .decode(encoded)
                .map_err(|_| "$binary that is not base64")?;
            Ok(Bson::Binary(Binary {
                subtype: BinarySubtype::Generic,
                bytes,
            }))
        }
        [Some("$escape"), None, None] => Ok(document.remove("$escape").expect("its only key")),
        [Some("$regexp"), Some("$flags"), None] | [Some("$flags"), Some("$regexp"), None] => {
            let pattern = document
                .get_str("$regexp")
                .map_err(|_| "$regexp without text")?;
            let flags = document
                .get_str("$flags")
                .map_err(|_| "$flags without text")?;
            let [Ok(pattern), Ok(options)] = [pattern, flags].map(CString::try_from) else {
                return Err("$regexp with a NUL character");
            };
            Ok(Bson::RegularExpression(Regex { pattern, options }))
        }
        [Some("$type"), Some("$value"), None] | [Some("$value"), Some("$type"), None] => {
            Err("unknown $type")
        }
        // `$escape` beside other keys is plain data, and so is what it holds: its own marker is still to be judged.
        [Some("$escape"), Some(_), _] => {
            if let Some(Bson::Document(inner)) = document.get_mut("$escape") {
                let inner = std::mem::take(inner);
                document.insert("$escape", marker(inner)?);
            }
            Ok(Bson::Document(document))
        }
        _ => Ok(Bson::Document(document)),
    }
}

/// JavaScript's `new Date(value)`.
fn read_date(value: &Bson) -> Bson {
    let ms = match value {
        Bson::Int32(ms) => Some(i64::from(*ms)),
        Bson::Int64(ms) => Some(*ms),
        Bson::Double(ms) if ms.abs() <= date::MAX_MS as f64 => Some(*ms as i64),
        Bson::String(text) => date::parse(text),
        _ => None,
    };
    ms.map_or(Bson::Null, |ms| Bson::DateTime(DateTime::from_millis(ms)))
}
