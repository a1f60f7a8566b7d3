//! What can happen to a document, in a form that both stores carry out.

use bson::{DateTime, Document};

/// Changes to one document's fields. Paths may be dotted and then lead through
/// sub-documents, not arrays; a path appears in one of the three only.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Update {
    /// Fields and their new values.
    pub set: Document,
    /// Fields to remove.
    pub unset: Vec<String>,
    /// Whole numbers to add to fields; a missing field counts as 0.
    pub increment: Vec<(String, i32)>,
}

impl Update {
    /// An update that only sets fields.
    pub fn set(set: Document) -> Self {
        Self {
            set,
            ..Self::default()
        }
    }
}

/// Every kind of write to an existing document.
#[derive(Clone, Debug)]
pub(crate) enum Edit {
    /// Fields, with `_updatedAt` where the collection keeps it.
    Fields(Update),
    /// Fields without `_updatedAt`: what services.md calls raw.
    RawFields(Update),
    PushLoginToken(Document),
    /// Removes the tokens whose `hashedToken` or legacy `token` is this.
    PullLoginToken(String),
    /// Adds a connection or replaces the one with this id, keeping its `_createdAt`; makes the document if needed.
    PutConnection {
        session: String,
        node: String,
        status: String,
    },
    RemoveConnection(String),
    RemoveNode(String),
    /// Removes connections of nodes not listed here that were last touched before this time.
    RemoveNodesExcept {
        live: Vec<String>,
        before: DateTime,
    },
    SetConnectionStatus {
        session: String,
        status: String,
    },
    TouchConnection(String),
    /// Registers or re-registers an instance: `_createdAt` and `_updatedAt` become the database's clock.
    RegisterInstance(Document),
    PingInstance,
}

impl Edit {
    /// Whether a missing document is made by this edit.
    pub(crate) fn makes_the_document(&self) -> bool {
        matches!(self, Self::PutConnection { .. } | Self::RegisterInstance(_))
    }
}
