//! Between bytes, raw documents and trees. A member of the wrong type counts as missing: the data is the customer's,
//! and every release wrote its own.

use bson::{Document, RawDocument, RawDocumentBuf};

use crate::{Error, ErrorKind};

pub(crate) fn text(document: &RawDocument, key: &str) -> Option<String> {
    document.get_str(key).ok().map(str::to_owned)
}

/// A text that is not empty.
pub(crate) fn name(document: &RawDocument, key: &str) -> Option<String> {
    text(document, key).filter(|name| !name.is_empty())
}

/// The texts of an array; other elements are left out.
pub(crate) fn texts(document: &RawDocument, key: &str) -> Vec<String> {
    let elements = document.get_array(key).ok().into_iter().flatten();
    elements
        .filter_map(|element| element.ok()?.as_str().map(str::to_owned))
        .collect()
}

pub(crate) fn document(document: &RawDocument) -> Result<Document, Error> {
    Document::try_from(document).map_err(corrupt)
}

pub(crate) fn checked(bytes: &[u8]) -> Result<&RawDocument, Error> {
    RawDocument::from_bytes(bytes).map_err(corrupt)
}

pub(crate) fn decode(bytes: &[u8]) -> Result<Document, Error> {
    document(checked(bytes)?)
}

/// Fails with `Invalid` if a key holds a NUL character, which BSON cannot express.
pub(crate) fn encode(document: &Document) -> Result<RawDocumentBuf, Error> {
    RawDocumentBuf::try_from(document).map_err(|source| {
        Error::because(
            ErrorKind::Invalid,
            "a document that BSON cannot hold",
            source,
        )
    })
}

fn corrupt(source: bson::error::Error) -> Error {
    Error::because(ErrorKind::Corrupt, "a document that is not BSON", source)
}
