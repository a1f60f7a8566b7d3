//! The queue between two threads: filled one message at a time, emptied all at once.
//!
//! One lock per message in and one per batch out, and one wake-up per batch: whoever finds the queue empty wakes the
//! owner, everybody after that only appends.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// Places that stay for the next batch; what a storm needed beyond them is given back.
const CAPACITY_KEPT: usize = 1_024;

/// What waits for one thread.
pub(crate) struct Mailbox<T> {
    queue: Mutex<Queue<T>>,
    bytes_max: usize,
    wake: Notify,
}

struct Queue<T> {
    messages: Vec<T>,
    bytes: usize,
}

impl<T> Mailbox<T> {
    /// An empty mailbox that takes up to `bytes_max` of what is posted with a size.
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self {
            queue: Mutex::new(Queue {
                messages: Vec::new(),
                bytes: 0,
            }),
            bytes_max,
            wake: Notify::new(),
        }
    }

    /// Appends a message that weighs `bytes`; 0 always passes. `false`: over the bound, nothing was taken.
    pub(crate) fn post(&self, message: T, bytes: usize) -> bool {
        let mut queue = self.lock();
        if bytes > 0 && queue.bytes.saturating_add(bytes) > self.bytes_max {
            return false;
        }
        queue.bytes += bytes;
        queue.messages.push(message);
        let first = queue.messages.len() == 1;
        drop(queue);
        if first {
            self.wake.notify_one();
        }
        true
    }

    /// Swaps everything that waits into `into`, which must be empty; its capacity stays behind for the next batch.
    pub(crate) fn take(&self, into: &mut Vec<T>) {
        self.take_beside(into, 0);
    }

    /// As [`Self::take`], by an owner who still holds so many bytes of what was taken before: they count on.
    pub(crate) fn take_beside(&self, into: &mut Vec<T>, held: usize) {
        debug_assert!(into.is_empty());
        into.shrink_to(CAPACITY_KEPT);
        let mut queue = self.lock();
        queue.bytes = held;
        std::mem::swap(&mut queue.messages, into);
    }

    /// Whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.lock().messages.is_empty()
    }

    /// Wakes the owner without a message.
    pub(crate) fn wake(&self) {
        self.wake.notify_one();
    }

    /// Waits until something was posted, or `wake` was called, since the last wait. Cancel safe.
    pub(crate) async fn wait(&self) {
        self.wake.notified().await;
    }

    fn lock(&self) -> MutexGuard<'_, Queue<T>> {
        // A queue is whole after every statement above: a panic elsewhere cannot leave it half changed.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::{CAPACITY_KEPT, Mailbox};

    #[test]
    fn only_what_has_a_size_is_refused_at_the_bound() {
        let mailbox = Mailbox::new(10);
        assert!(mailbox.post("publication", 8));
        assert!(!mailbox.post("too much", 3));
        assert!(mailbox.post("reply", 0));
        let mut batch = Vec::new();
        mailbox.take(&mut batch);
        assert_eq!(batch, ["publication", "reply"]);
        assert!(mailbox.post("room again", 10));
    }

    #[test]
    fn what_a_storm_needed_is_given_back() {
        let mailbox = Mailbox::new(0);
        let mut batch = Vec::new();
        for round in 0..3 {
            for number in 0..if round == 0 { 100_000 } else { 1 } {
                mailbox.post(number, 0);
            }
            batch.clear();
            mailbox.take(&mut batch);
        }
        let waiting = mailbox.lock().messages.capacity();
        assert!(batch.capacity() + waiting <= 2 * CAPACITY_KEPT);
    }

    #[tokio::test]
    async fn the_first_message_of_a_batch_wakes_the_owner() {
        let mailbox = Mailbox::new(10);
        mailbox.post(1, 0);
        mailbox.post(2, 0);
        mailbox.wait().await;
        let mut batch = Vec::new();
        mailbox.take(&mut batch);
        assert_eq!(batch, [1, 2]);
    }
}
