//! What can happen to a document, in a form that both stores carry out.

use bson::Document;

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

/// What happens to one entry of a user's `connections`. Times come from the database's clock.
#[derive(Clone, Debug, PartialEq)]
pub enum ConnectionEdit {
    /// Appends an entry in the place of those with this id, keeping their `_createdAt`.
    Put {
        /// DDP session id.
        session: String,
        /// The node that holds the socket.
        node: String,
        /// `online` or `away`.
        status: String,
    },
    /// Says that it is alive.
    Touch(String),
    /// Sets its status, and touches it.
    SetStatus {
        /// DDP session id.
        session: String,
        /// `online` or `away`.
        status: String,
    },
    /// Removes it.
    Remove(String),
    /// Removes it unless it was touched after this time (ms since 1970).
    RemoveUntouched {
        /// [`Connection::id`](crate::Connection::id) as it was read.
        session: String,
        /// [`Connection::touched`](crate::Connection::touched) as it was read.
        since: i64,
    },
}

/// An edit of the document with this id, carried out if these fields still have these values (`Null` is missing).
#[derive(Clone, Debug)]
pub(crate) struct GuardedEdit {
    pub(crate) id: String,
    pub(crate) seen: Document,
    pub(crate) edit: Edit,
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
    /// Entries of one user's `connections`, in this order; makes the document if one of them needs it.
    Connections(Vec<ConnectionEdit>),
    /// Removes connections of nodes not listed here.
    RemoveNodesExcept(Vec<String>),
    /// Registers or re-registers an instance: `_createdAt` and `_updatedAt` become the database's clock.
    RegisterInstance(Document),
    PingInstance,
}

impl Edit {
    /// Whether a missing document is made by this edit.
    pub(crate) fn makes_the_document(&self) -> bool {
        match self {
            Self::Connections(edits) => edits
                .iter()
                .any(|edit| matches!(edit, ConnectionEdit::Put { .. })),
            Self::RegisterInstance(_) => true,
            _ => false,
        }
    }
}

/// How many documents an [`Edit`] found, and how many of them it changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Edited {
    pub(crate) found: u64,
    pub(crate) changed: u64,
}
