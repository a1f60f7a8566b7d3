//! What waits to be given to the bus: filled by every thread, swapped whole by the driver, shut while disconnected.

use std::sync::{Mutex, MutexGuard, PoisonError};

use protocol::moleculer::Kind;
use tokio::sync::{Notify, oneshot};

use crate::error::ErrorKind;

/// The queue towards the driver. It only takes packets while there is a connection to send them on: nothing is kept for
/// the next one, because a call that has failed must not be executed minutes later.
pub(crate) struct Outgoing {
    state: Mutex<State>,
    filled: Notify,
    bytes_max: usize,
}

#[derive(Default)]
struct State {
    items: Vec<Item>,
    bytes: usize,
    is_open: bool,
}

/// One thing for the driver to do, in order.
pub(crate) enum Item {
    Packet {
        kind: Kind,
        subject: String,
        payload: Vec<u8>,
    },
    /// Tells when everything before it has been given to the server.
    Flush(oneshot::Sender<()>),
    /// Sends DISCONNECT, flushes, tells, and ends the driver.
    Leave(oneshot::Sender<()>),
}

impl Outgoing {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self {
            state: Mutex::default(),
            filled: Notify::new(),
            bytes_max,
        }
    }

    /// Adds one item.
    ///
    /// # Errors
    /// `Disconnected` while shut, `TooLarge` when too much waits already.
    pub(crate) fn push(&self, item: Item) -> Result<(), ErrorKind> {
        let mut state = self.lock();
        if !state.is_open {
            return Err(ErrorKind::Disconnected);
        }
        if let Item::Packet { payload, .. } = &item {
            if state.bytes + payload.len() > self.bytes_max {
                return Err(ErrorKind::TooLarge);
            }
            state.bytes += payload.len();
        }
        state.items.push(item);
        drop(state);
        self.filled.notify_one();
        Ok(())
    }

    /// Takes items from now on.
    pub(crate) fn open(&self) {
        self.lock().is_open = true;
    }

    /// Takes no more items and drops those that wait.
    pub(crate) fn shut(&self) {
        let mut state = self.lock();
        let dropped = std::mem::take(&mut *state);
        drop(state);
        drop(dropped);
    }

    /// Waits for items and swaps them out. Cancel-safe: nothing is taken before it returns.
    pub(crate) async fn take(&self) -> Vec<Item> {
        loop {
            let filled = self.filled.notified();
            {
                let mut state = self.lock();
                if !state.items.is_empty() {
                    state.bytes = 0;
                    return std::mem::take(&mut state.items);
                }
            }
            filled.await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
