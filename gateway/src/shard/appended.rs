//! How much may be appended before it is written.

/// Frames put into outboxes before they are written: some 20 ms of work, so that a crowd of small publications delays
/// nothing for longer, and W=32 in a room of 1,000 is still one write for each.
const DELIVERIES_PER_PORTION: u64 = 65_536;

/// What was put into outboxes since everything was written that could be.
#[derive(Clone, Copy, Default)]
pub(super) struct Appended {
    pub(super) bytes: usize,
    pub(super) deliveries: u64,
}

impl Appended {
    /// Whether it must be written first.
    pub(super) fn is_portion(self, bytes: usize) -> bool {
        self.bytes >= bytes || self.deliveries >= DELIVERIES_PER_PORTION
    }
}
