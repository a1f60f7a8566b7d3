//! Who waits for his `users` document.

use std::{
    cell::{Cell, RefCell},
    sync::Arc,
};

use tokio::sync::oneshot;

use super::Unknown;

/// Documents of one read; what waits beyond them is read next.
const TOGETHER_MAX: usize = 100;

/// Who waits for a document.
#[derive(Default)]
pub(crate) struct Documents {
    pub(crate) waiting: RefCell<Vec<Waiting>>,
    pub(crate) is_reading: Cell<bool>,
}

pub(crate) struct Waiting {
    pub(crate) user: Arc<str>,
    pub(crate) tell: oneshot::Sender<Result<Option<String>, Unknown>>,
}

impl Documents {
    /// Those who are read next.
    pub(crate) fn take(&self) -> Vec<Waiting> {
        let mut waiting = self.waiting.borrow_mut();
        // Those who have gone are not asked for.
        waiting.retain(|one| !one.tell.is_closed());
        let together = waiting.len().min(TOGETHER_MAX);
        waiting.drain(..together).collect()
    }
}
