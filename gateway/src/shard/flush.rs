//! The flush: all writing to clients, as one resumable pass over the sockets that have something to send.

use std::{
    future::poll_fn,
    io::{self, IoSlice},
    rc::Rc,
    time::{Duration, Instant},
};

use super::{
    Shard,
    entry::{Entry, Phase, Queued},
    now,
};
use crate::metrics;

/// Sockets served, and time spent, before the shard looks at its mailbox, reads and timers again: a room of 100,000
/// must not delay a ping or a login.
const SOCKETS_PER_PASS: usize = 256;
const TIME_PER_PASS: Duration = Duration::from_millis(2);
/// The clock is read once per this many sockets.
const SOCKETS_PER_CLOCK: usize = 32;
/// Frames of one write, about.
const SLICES: usize = 64;

impl Shard {
    /// Enters a client into a dirty list; an entry stands in one place at a time, `Urgent` overtakes.
    pub(crate) fn mark(&self, entry: &Rc<Entry>, list: Queued) {
        if entry.queued.get() >= list {
            return;
        }
        entry.queued.set(list);
        match list {
            Queued::No => return,
            Queued::Bulk => self.bulk.borrow_mut().push_back(entry.clone()),
            Queued::Urgent => self.urgent.borrow_mut().push_back(entry.clone()),
        }
        self.rouse();
    }

    /// Writes to dirty sockets, urgent ones first; `true`: there is more, after a look at everything else.
    pub(crate) fn flush(self: &Rc<Self>) -> bool {
        let deadline = Instant::now() + TIME_PER_PASS;
        let mut served = 0;
        let mut writes = 0;
        while let Some(entry) = self.next_dirty() {
            writes += u64::from(self.write(&entry));
            self.account(&entry);
            served += 1;
            if served == SOCKETS_PER_PASS
                || served % SOCKETS_PER_CLOCK == 0 && Instant::now() >= deadline
            {
                break;
            }
        }
        metrics::wrote(writes);
        !self.urgent.borrow().is_empty() || !self.bulk.borrow().is_empty()
    }

    fn next_dirty(&self) -> Option<Rc<Entry>> {
        if let Some(entry) = self.urgent.borrow_mut().pop_front() {
            entry.queued.set(Queued::No);
            return Some(entry);
        }
        loop {
            let entry = self.bulk.borrow_mut().pop_front()?;
            // Whoever became urgent meanwhile has been served from the other list.
            if entry.queued.get() == Queued::Bulk {
                entry.queued.set(Queued::No);
                return Some(entry);
            }
        }
    }

    /// One write of what waits for one client; `true`: its socket has taken something.
    fn write(self: &Rc<Self>, entry: &Rc<Entry>) -> bool {
        if entry.blocked.get() {
            return false;
        }
        let mut outbox = entry.outbox.borrow_mut();
        let outcome = {
            let transport = entry.transport.borrow();
            let Some(transport) = &*transport else {
                return false;
            };
            let mut slices = [IoSlice::new(&[]); SLICES];
            let used = outbox.io_slices(&mut slices);
            if used == 0 {
                return false;
            }
            let wanted: usize = slices[..used].iter().map(|slice| slice.len()).sum();
            transport
                .io
                .try_write(&slices[..used])
                .map(|written| (written, written == wanted))
        };
        match outcome {
            Ok((written, all)) => {
                outbox.advance(written);
                let empty = outbox.is_empty();
                drop(outbox);
                match (empty, all) {
                    (true, _) => self.written_out(entry),
                    // More frames than slices: the others have their turn first.
                    (false, true) => self.mark(entry, Queued::Bulk),
                    (false, false) => self.wait_for_room(entry),
                }
                true
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                drop(outbox);
                self.wait_for_room(entry);
                false
            }
            Err(_) => {
                drop(outbox);
                self.lost(entry);
                false
            }
        }
    }

    /// Spawns the one task that waits until this socket takes more; frames only queue meanwhile, and so coalesce.
    fn wait_for_room(self: &Rc<Self>, entry: &Rc<Entry>) {
        let mut transport = entry.transport.borrow_mut();
        let Some(transport) = &mut *transport else {
            return;
        };
        entry.blocked.set(true);
        self.slow.borrow_mut().insert(entry.slot(), entry.clone());
        let (shard, waiting, io) = (self.clone(), entry.clone(), transport.io.clone());
        let task = tokio::task::spawn_local(async move {
            // An error shows in the write that follows.
            let _ = poll_fn(|cx| io.poll_writable(cx)).await;
            waiting.blocked.set(false);
            shard.mark(&waiting, Queued::Bulk);
        });
        transport.writer = Some(task.abort_handle());
        if entry.is_open()
            && let Some(oldest) = entry.outbox.borrow().oldest()
        {
            self.schedule(entry, oldest + self.limits.outbox_age);
        }
    }

    /// Says how much this shard carries. Whoever is not slow has an empty outbox: nobody else is looked at.
    pub(crate) fn measure(&self) {
        let mut slow = self.slow.borrow_mut();
        slow.retain(|_, entry| entry.blocked.get() && entry.transport.borrow().is_some());
        let queued = slow
            .values()
            .map(|entry| entry.outbox.borrow().bytes())
            .sum();
        let subscriptions = self.topics.borrow().subscriptions();
        metrics::shard(self.index, subscriptions, slow.len(), queued);
    }

    /// The outbox is empty: where the close frame was the last, our side is done.
    fn written_out(&self, entry: &Entry) {
        if let Phase::Closing {
            until,
            sent: false,
            peer_closed,
        } = entry.phase.get()
        {
            entry.phase.set(Phase::Closing {
                until,
                sent: true,
                peer_closed,
            });
            self.finish(entry);
        }
    }

    /// Closes clients whose oldest waiting frame is too old.
    pub(crate) fn is_stalled(&self, entry: &Entry) -> bool {
        entry.blocked.get()
            && entry
                .outbox
                .borrow()
                .oldest()
                .is_some_and(|oldest| now() >= oldest + self.limits.outbox_age)
    }
}
