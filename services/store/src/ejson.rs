//! BSON to Meteor's EJSON text and back (gateway.md 2.4).

mod read;
mod write;

use bson::{Bson, Document, RawDocument};

use crate::{Error, ErrorKind};

/// The document as EJSON object text, its keys in their order.
pub fn to_text(document: &Document) -> String {
    let mut text = String::new();
    write::document(document, &mut text);
    text
}

/// One value as EJSON text.
pub fn value_to_text(value: &Bson) -> String {
    let mut text = String::new();
    write::value(value, &mut text);
    text
}

/// EJSON text as a value. Whole numbers become `Int32` or `Int64`, others `Double`; an invalid date becomes `Null`.
///
/// Fails with [`ErrorKind::Invalid`] on malformed text, an unknown `$type` or nesting deeper than 127.
pub fn from_text(text: &str) -> Result<Bson, Error> {
    read::value(text).map_err(|source| Error::because(ErrorKind::Invalid, "not EJSON", source))
}

/// A stored document as EJSON object text: straight from its bytes, because room and subscription lists are large.
pub(crate) fn raw_to_text(document: &RawDocument) -> Result<String, Error> {
    // The text is rarely shorter than the BSON: lengths and types turn into quotes, colons and digits.
    let mut text = String::with_capacity(document.as_bytes().len() + 32);
    write::raw_document(document, &mut text).map_err(|source| {
        Error::because(ErrorKind::Corrupt, "a document that is not BSON", source)
    })?;
    Ok(text)
}
