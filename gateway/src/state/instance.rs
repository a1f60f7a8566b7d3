//! This process in the `instances` collection.

use uuid::Uuid;

/// Our document there.
pub(crate) struct Document {
    pub(crate) id: String,
    /// The number of connections has changed since it was written.
    pub(crate) changed: bool,
}

impl Default for Document {
    fn default() -> Self {
        Self {
            id: Uuid::new_v4().to_string(),
            changed: true,
        }
    }
}
