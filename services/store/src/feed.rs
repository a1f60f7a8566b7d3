//! A change of one document, as both feeds tell it: the embedded one and MongoDB's change streams.

use bson::{Bson, Document};

use crate::collection::Collection;

/// One committed change of one document (services.md 5.6).
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// Where it is.
    pub collection: Collection,
    /// The document's `_id`; a text in all but very odd data.
    pub id: Bson,
    /// What happened to it.
    pub kind: ChangeKind,
    /// The whole document after the change, or as it was before its removal, where the feed has it: the embedded one
    /// always, a change stream for what is inserted or replaced, and for updates only where it was asked to.
    pub document: Option<Document>,
}

/// What happened to a document.
#[derive(Clone, Debug, PartialEq)]
pub enum ChangeKind {
    /// It is new.
    Inserted,
    /// Some fields differ.
    Updated {
        /// Fields with their new values, by dotted paths into sub-documents; a step that is a number may stand for a
        /// place in an array.
        diff: Document,
        /// Fields that are gone.
        unset: Vec<String>,
        /// Arrays that became shorter without being in `diff`. Embedded there are none: an array that differs is in
        /// `diff` as a whole.
        truncated: Vec<String>,
    },
    /// It was replaced as a whole; which fields differ is not known. Embedded this shows as an update.
    Replaced,
    /// It is gone.
    Removed,
}
