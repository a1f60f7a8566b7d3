//! The embedded store's change feed: what happened, in the order of the commits.

use bson::Document;

/// One committed change of one document, shaped like a MongoDB change event (services.md 5.6).
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// Position in the feed; grows by one per change and never restarts.
    pub seq: u64,
    /// Name of the collection, as in services.md 7.
    pub collection: &'static str,
    /// The document's `_id`.
    pub id: String,
    /// What happened to it.
    pub kind: ChangeKind,
    /// The whole document after the change, or as it was before its removal.
    pub document: Document,
}

/// What happened to a document.
#[derive(Clone, Debug, PartialEq)]
pub enum ChangeKind {
    /// It is new.
    Inserted,
    /// Some fields differ. Keys are dotted paths into sub-documents; an array that differs is given whole.
    Updated {
        /// Fields with their new values.
        diff: Document,
        /// Fields that are gone.
        unset: Vec<String>,
    },
    /// It is gone.
    Removed,
}
