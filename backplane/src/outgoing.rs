//! What waits to be given to the bus: filled by every thread, taken by the driver, shut while disconnected.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
};

use protocol::moleculer::Kind;
use tokio::sync::{Notify, oneshot};

use crate::error::ErrorKind;

/// The queue towards the driver. It only takes packets while there is a connection to send them on: nothing is kept for
/// the next one, because a call that has failed must not be executed minutes later.
///
/// What keeps us in the network (heartbeats, answers and the like) has room of its own and overtakes events and calls
/// once more of those wait than the driver takes at a time: no flood can make peers give us up.
pub(crate) struct Outgoing {
    state: Mutex<State>,
    filled: Notify,
    bytes_max: usize,
}

#[derive(Default)]
struct State {
    vital: Lane,
    bulk: Lane,
    next: u64,
    is_open: bool,
}

/// Items with their place in the order of all.
#[derive(Default)]
struct Lane {
    items: VecDeque<(u64, Item)>,
    bytes: usize,
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

impl Item {
    fn len(&self) -> usize {
        match self {
            Self::Packet { payload, .. } => payload.len(),
            Self::Flush(_) | Self::Leave(_) => 0,
        }
    }

    /// What others need to know that we are there, and what they wait for.
    fn is_vital(&self) -> bool {
        match self {
            Self::Packet { kind, .. } => !matches!(kind, Kind::Event | Kind::Request),
            // Behind everything that was said before.
            Self::Flush(_) | Self::Leave(_) => false,
        }
    }
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
        let number = state.next;
        state.next += 1;
        let (lane, bytes_max) = match item.is_vital() {
            true => (&mut state.vital, self.bytes_max / VITAL_SHARE),
            false => (&mut state.bulk, self.bytes_max),
        };
        if item.len() > 0 && lane.bytes + item.len() > bytes_max {
            return Err(ErrorKind::TooLarge);
        }
        lane.bytes += item.len();
        lane.items.push_back((number, item));
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

    /// Waits for items and takes everything vital and some of the rest, each in its order. Cancel-safe: nothing is taken
    /// before it returns.
    pub(crate) async fn take(&self) -> Vec<Item> {
        loop {
            let filled = self.filled.notified();
            let taken = self.lock().take();
            if !taken.is_empty() {
                return taken;
            }
            filled.await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn take(&mut self) -> Vec<Item> {
        let mut taken: Vec<_> = self.vital.items.drain(..).collect();
        self.vital.bytes = 0;
        let has_vital = !taken.is_empty();
        let mut bytes = 0;
        while bytes < TAKEN_BYTES
            && let Some((number, item)) = self.bulk.items.pop_front()
        {
            bytes += item.len();
            taken.push((number, item));
        }
        self.bulk.bytes -= bytes;
        if has_vital {
            taken.sort_unstable_by_key(|(number, _)| *number);
        }
        taken.into_iter().map(|(_, item)| item).collect()
    }
}

/// The reserved room, as a part of the other.
const VITAL_SHARE: usize = 4;
/// What the driver takes at a time: so much may be written before a heartbeat that was said later.
const TAKEN_BYTES: usize = 256 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(kind: Kind, bytes: usize) -> Item {
        Item::Packet {
            kind,
            subject: String::new(),
            payload: vec![b'x'; bytes],
        }
    }

    fn kinds(taken: &[Item]) -> String {
        let token = |item: &Item| match item {
            Item::Packet { kind, .. } => kind.token(),
            Item::Flush(_) | Item::Leave(_) => "-",
        };
        taken.iter().map(token).collect::<Vec<_>>().join(" ")
    }

    #[tokio::test]
    async fn what_waits_briefly_leaves_in_its_order() {
        let outgoing = Outgoing::new(1_000);
        outgoing.open();
        for kind in [Kind::Event, Kind::Response, Kind::Request, Kind::Heartbeat] {
            outgoing.push(packet(kind, 10)).unwrap();
        }
        outgoing.push(Item::Flush(oneshot::channel().0)).unwrap();
        assert_eq!(kinds(&outgoing.take().await), "EVENT RES REQ HEARTBEAT -");
    }

    #[tokio::test]
    async fn a_flood_of_events_starves_nobody() {
        let outgoing = Outgoing::new(64 << 20);
        outgoing.open();
        while outgoing.push(packet(Kind::Event, 100_000)).is_ok() {}
        assert_eq!(
            outgoing.push(packet(Kind::Request, 100_000)),
            Err(ErrorKind::TooLarge)
        );
        for kind in [Kind::Heartbeat, Kind::Info, Kind::Pong, Kind::Response] {
            outgoing.push(packet(kind, 1_000)).unwrap();
        }
        assert_eq!(
            kinds(&outgoing.take().await),
            "EVENT EVENT EVENT HEARTBEAT INFO PONG RES"
        );
        assert_eq!(kinds(&outgoing.take().await), "EVENT EVENT EVENT");
        assert!(
            outgoing.push(packet(Kind::Request, 100_000)).is_ok(),
            "there is room again"
        );
    }

    #[tokio::test]
    async fn nothing_is_kept_for_the_next_connection() {
        let outgoing = Outgoing::new(1_000);
        outgoing.open();
        outgoing.push(packet(Kind::Event, 10)).unwrap();
        outgoing.shut();
        assert_eq!(
            outgoing.push(packet(Kind::Heartbeat, 10)),
            Err(ErrorKind::Disconnected)
        );
        outgoing.open();
        outgoing.push(packet(Kind::Info, 10)).unwrap();
        assert_eq!(kinds(&outgoing.take().await), "INFO");
    }
}
