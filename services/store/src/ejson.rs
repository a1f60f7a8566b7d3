//! BSON to Meteor's EJSON text and back (gateway.md 2.4).

use bson::{Bson, Document};

use crate::Error;

/// The document as EJSON object text.
pub fn to_text(document: &Document) -> String {
    let _ = document;
    todo!()
}

/// One value as EJSON text.
pub fn value_to_text(value: &Bson) -> String {
    let _ = value;
    todo!()
}

/// EJSON text as a value. Whole numbers become `Int32` or `Int64`, others `Double`. Fails with
/// [`ErrorKind::Invalid`](crate::ErrorKind::Invalid) on malformed text, an unknown `$type` or nesting deeper than 64.
pub fn from_text(text: &str) -> Result<Bson, Error> {
    let _ = text;
    todo!()
}
