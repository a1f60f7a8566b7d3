//! A shard's part in the budget for what is held for all clients: each client is charged for what it holds, and where
//! the budget is passed, whoever holds most has to go.

use std::rc::Rc;

use protocol::close::CloseReason;

use super::{Shard, entry::Entry};
use crate::buffers::Pressure;

impl Shard {
    /// Charges a client for what it holds now.
    pub(crate) fn account(&self, entry: &Entry) {
        let holds = entry.holds();
        let before = entry.held.replace(holds);
        if holds != before {
            let buffers = &self.shared.buffers;
            buffers.charge(self.index, before as usize, holds as usize);
            if holds > before && buffers.pressure() == Pressure::Over {
                self.rouse();
            }
        }
    }

    /// While the budget is passed, closes the worst client if it is one of ours, else lets its shard look; whether one was
    /// closed, so that there is something to write.
    pub(crate) fn relieve(self: &Rc<Self>) -> bool {
        let buffers = &self.shared.buffers;
        if buffers.pressure() < Pressure::Over {
            return false;
        }
        let mut closed = false;
        let mut holders: Vec<_> = {
            let entries = self.entries.borrow();
            let open = entries.iter().map(|(_, entry)| entry);
            open.filter(|entry| entry.is_open() && entry.held.get() > 0)
                .cloned()
                .collect()
        };
        holders.sort_unstable_by_key(|entry| entry.held.get());
        // A step below the budget, so that the next byte does not begin it all again.
        while buffers.pressure() > Pressure::Tight {
            let most = holders.last().map_or(0, |entry| entry.held.get() as usize);
            match buffers.worst(self.index, most) {
                Some(worst) if worst == usize::from(self.index) => {
                    let Some(entry) = holders.pop() else { break };
                    closed = true;
                    self.close(&entry, CloseReason::Overload);
                    if entry.reading.get() > 0 {
                        // Its memory is the reader's: it is not worth a polite end.
                        self.lost(&entry);
                    }
                    self.account(&entry);
                }
                Some(worst) => {
                    self.shared.mailboxes[worst].wake();
                    break;
                }
                None => break,
            }
        }
        closed
    }
}
