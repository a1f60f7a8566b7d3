//! How much is under way at once.

use std::{cell::Cell, rc::Rc};

/// Calls that may be under way: one for every connection of a well-filled node, and what follows logins.
const CALLS_MAX: usize = 200_000;

/// Bytes of their params. A call waits up to a minute where nobody answers, and holds its params so long.
const BYTES_MAX: usize = 128 << 20;

/// Calls under way.
#[derive(Default)]
pub(super) struct Traffic(Rc<Cell<Load>>);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Load {
    calls: usize,
    bytes: usize,
}

/// One call; over when dropped.
pub(super) struct UnderWay {
    load: Rc<Cell<Load>>,
    bytes: usize,
}

impl Traffic {
    /// A call with so many bytes begins; `None` if that is too much.
    pub(super) fn enter(&self, bytes: usize) -> Option<UnderWay> {
        let Load {
            calls,
            bytes: before,
        } = self.0.get();
        if calls >= CALLS_MAX || before + bytes > BYTES_MAX {
            return None;
        }
        self.0.set(Load {
            calls: calls + 1,
            bytes: before + bytes,
        });
        Some(UnderWay {
            load: self.0.clone(),
            bytes,
        })
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let Load { calls, bytes } = self.load.get();
        self.load.set(Load {
            calls: calls - 1,
            bytes: bytes - self.bytes,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_over_makes_room() {
        let traffic = Traffic::default();
        let most = traffic.enter(BYTES_MAX - 10);
        assert!(most.is_some());
        assert!(traffic.enter(11).is_none());
        let rest = traffic.enter(10);
        assert!(rest.is_some());
        drop(most);
        assert!(traffic.enter(11).is_some());
        drop(rest);
        assert_eq!(traffic.0.get(), Load::default());
    }
}
