//! The receiving end of one announced service.

use std::{
    collections::VecDeque,
    fmt,
    sync::{Arc, atomic::Ordering::Relaxed},
};

use crate::{bus::Bus, incoming::Incoming, waiting::Waiting};

/// The receiving end of one announced service; dropping it withdraws the service.
///
/// It holds at most [`Config::waiting_bytes`](crate::Config::waiting_bytes). What does not fit is refused: an event is
/// a gap, a request is answered with an error. What the bus itself says always fits.
pub struct Inbox {
    bus: Bus,
    waiting: Arc<Waiting>,
    /// Taken out, not yet handed out by `recv`.
    taken: VecDeque<Incoming>,
}

impl Inbox {
    pub(crate) fn new(bus: Bus, waiting: Arc<Waiting>) -> Self {
        Self {
            bus,
            waiting,
            taken: VecDeque::new(),
        }
    }

    /// The next thing; waits for it, for ever once the service is withdrawn. A request whose caller has given up is
    /// left out: nobody would hear of the work.
    pub async fn recv(&mut self) -> Incoming {
        loop {
            if let Some(incoming) = self.taken.pop_front() {
                if self.is_wanted(&incoming) {
                    return incoming;
                }
                continue;
            }
            let mut batch = Vec::new();
            self.waiting.take(&mut batch).await;
            self.taken.extend(batch);
        }
    }

    /// Waits, then appends everything that waits to `into`: one wake-up and one lock per batch. May append nothing.
    pub async fn recv_batch(&mut self, into: &mut Vec<Incoming>) {
        let from = into.len();
        if self.taken.is_empty() {
            self.waiting.take(into).await;
        } else {
            into.extend(self.taken.drain(..));
        }
        into.extract_if(from.., |incoming| !self.is_wanted(incoming))
            .for_each(drop);
    }

    fn is_wanted(&self, incoming: &Incoming) -> bool {
        let is_wanted = match incoming {
            Incoming::Request(request) => request.reply.is_awaited(),
            _ => true,
        };
        if !is_wanted {
            let stale = &self.bus.counters().requests_stale;
            stale.fetch_add(1, Relaxed);
        }
        is_wanted
    }
}

impl Bus {
    /// Ends an inbox whose reader is gone.
    fn close(&self, waiting: &Arc<Waiting>) {
        if self
            .core()
            .remove(|local| Arc::ptr_eq(&local.waiting, waiting))
        {
            self.publish_info();
        }
    }
}

impl Drop for Inbox {
    fn drop(&mut self) {
        self.bus.close(&self.waiting);
    }
}

impl fmt::Debug for Inbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inbox").finish_non_exhaustive()
    }
}
