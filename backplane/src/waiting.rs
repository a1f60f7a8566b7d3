//! What waits for the reader of one inbox, in order, bounded in bytes.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use tokio::sync::Notify;

use crate::incoming::{Gap, GapCause, GapScope, Incoming};

/// What waits in an inbox: swapped whole by its reader, filled a batch at a time by the bus.
pub(crate) struct Waiting {
    state: Mutex<State>,
    filled: Notify,
    bytes_max: usize,
}

#[derive(Default)]
struct State {
    items: Vec<Incoming>,
    bytes: usize,
    /// Since when something was refused.
    refused_since: Option<Instant>,
    is_closed: bool,
}

impl Waiting {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self {
            state: Mutex::default(),
            filled: Notify::new(),
            bytes_max,
        }
    }

    /// Adds a batch; returns how many did not fit.
    pub(crate) fn push(&self, batch: impl IntoIterator<Item = Incoming>, now: Instant) -> u64 {
        // Dropped behind the lock: a refused request answers its caller.
        let mut refused = Vec::new();
        let mut state = self.lock();
        for incoming in batch {
            let cost = incoming.cost();
            if state.is_closed || cost.is_some_and(|cost| state.bytes + cost > self.bytes_max) {
                refused.push(incoming);
            } else {
                state.bytes += cost.unwrap_or(0);
                state.items.push(incoming);
            }
        }
        if state.is_closed {
            return 0;
        }
        // A request tells its caller; only the rest is missing here.
        if refused
            .iter()
            .any(|incoming| !matches!(incoming, Incoming::Request(_)))
        {
            state.refused_since.get_or_insert(now);
        }
        drop(state);
        self.filled.notify_one();
        refused.len() as u64
    }

    /// Nothing more is taken in; what waits is dropped (and so answered).
    pub(crate) fn close(&self) {
        let mut state = self.lock();
        state.is_closed = true;
        let items = std::mem::take(&mut state.items);
        drop(state);
        drop(items);
    }

    pub(crate) async fn take(&self, into: &mut Vec<Incoming>) {
        loop {
            let filled = self.filled.notified();
            {
                let mut state = self.lock();
                let refused_since = state.refused_since.take();
                if !state.items.is_empty() || refused_since.is_some() {
                    into.append(&mut state.items);
                    state.bytes = 0;
                    let gap = |since| Gap {
                        since,
                        scope: GapScope::Inbox,
                        cause: GapCause::InboxFull,
                    };
                    into.extend(refused_since.map(gap).map(Incoming::Gap));
                    return;
                }
            }
            filled.await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
