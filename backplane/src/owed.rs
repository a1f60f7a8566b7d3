//! Answers that this node owes to others: each is given once, at its deadline at the latest.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::Ordering::Relaxed},
    time::Instant,
};

use bytes::Bytes;
use tokio::sync::Notify;

use crate::{
    answer::{Address, refuse, respond},
    complaints::Complaints,
    error::ServiceError,
    fault::Fault,
    measured::timed_out,
    meters::Meters,
    uplink::Uplink,
};

/// The requests of other nodes that have been taken in and not yet answered.
pub(crate) struct Owed {
    uplink: Arc<Uplink>,
    meters: Arc<Meters>,
    state: Mutex<State>,
    paid: Notify,
    complaints: Complaints,
}

#[derive(Default)]
struct State {
    open: HashMap<u64, Debt>,
    deadlines: BTreeSet<(Instant, u64)>,
    next: u64,
    /// What it takes to answer all of them.
    bytes: usize,
    /// We leave: nothing more is taken in.
    is_closed: bool,
}

struct Debt {
    to: Address,
    action: &'static str,
    deadline: Option<Instant>,
}

impl Owed {
    pub(crate) fn new(uplink: Arc<Uplink>, meters: Arc<Meters>) -> Self {
        Self {
            uplink,
            meters,
            state: Mutex::default(),
            paid: Notify::new(),
            complaints: Complaints::new(),
        }
    }

    /// Takes a request in; `None` if it has been refused at once.
    pub(crate) fn begin(
        &self,
        to: Address,
        action: &'static str,
        deadline: Option<Instant>,
    ) -> Option<u64> {
        let mut state = self.lock();
        let fault = match state.open.len() {
            _ if state.is_closed => Some(Fault::Leaving),
            OPEN_MAX.. => Some(Fault::Full),
            _ if state.bytes + to.len() > OPEN_BYTES_MAX => Some(Fault::Full),
            _ => None,
        };
        if let Some(fault) = fault {
            drop(state);
            refuse(&self.uplink, &to, fault, action);
            return None;
        }
        let key = state.next;
        state.next += 1;
        let debt = Debt {
            to,
            action,
            deadline,
        };
        state.bytes += debt.to.len();
        state.open.insert(key, debt);
        state.deadlines.extend(deadline.map(|at| (at, key)));
        Some(key)
    }

    /// Answers, unless the deadline has.
    pub(crate) fn answer(&self, key: u64, outcome: &Result<Option<Bytes>, ServiceError>) {
        let debt = self.lock().take(key);
        if let Some(debt) = debt {
            respond(&self.uplink, &debt.to, outcome, debt.action);
            self.paid.notify_waiters();
        }
    }

    /// Whether the caller still waits.
    pub(crate) fn is_open(&self, key: u64) -> bool {
        self.lock().open.contains_key(&key)
    }

    /// How many have not been answered.
    pub(crate) fn len(&self) -> usize {
        self.lock().open.len()
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.lock().deadlines.first().map(|(at, _)| *at)
    }

    /// Answers what nobody has answered in time; the handler's own answer, should it come, is dropped.
    pub(crate) fn handle_timeout(&self, now: Instant) {
        let late: Vec<Debt> = {
            let mut state = self.lock();
            let later = state.deadlines.split_off(&(now, u64::MAX));
            let late = std::mem::replace(&mut state.deadlines, later);
            let keys = late.into_iter().map(|(_, key)| key);
            keys.filter_map(|key| state.take(key)).collect()
        };
        for debt in late {
            self.uplink.counters.requests_late.fetch_add(1, Relaxed);
            timed_out(&self.meters, debt.action);
            if let Some(left_out) = self.complaints.turn("late", now) {
                tracing::warn!(
                    action = debt.action,
                    left_out,
                    "a request was not answered in time"
                );
            }
            refuse(&self.uplink, &debt.to, Fault::TimedOut, debt.action);
            self.paid.notify_waiters();
        }
    }

    /// Refuses what comes from now on, and waits until everything is answered.
    pub(crate) async fn close(&self) {
        self.lock().is_closed = true;
        loop {
            let paid = self.paid.notified();
            if self.len() == 0 {
                return;
            }
            paid.await;
        }
    }

    /// Answers that this node leaves, to everybody who still waits.
    pub(crate) fn give_up(&self) {
        let open = {
            let mut state = self.lock();
            state.is_closed = true;
            state.deadlines.clear();
            state.bytes = 0;
            std::mem::take(&mut state.open)
        };
        for debt in open.into_values() {
            refuse(&self.uplink, &debt.to, Fault::Leaving, debt.action);
        }
    }

    /// Forgets everybody: the connection is lost, and with it whoever waits.
    pub(crate) fn forget(&self) {
        let mut state = self.lock();
        state.deadlines.clear();
        state.bytes = 0;
        state.open.clear();
        drop(state);
        self.paid.notify_waiters();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn take(&mut self, key: u64) -> Option<Debt> {
        let debt = self.open.remove(&key)?;
        self.bytes -= debt.to.len();
        if let Some(deadline) = debt.deadline {
            self.deadlines.remove(&(deadline, key));
        }
        Some(debt)
    }
}

/// A service answers in milliseconds: so many at once are a flood or a service that hangs.
const OPEN_MAX: usize = 16_384;
/// Their ids and what their answers give back, which an honest caller fills with a few hundred bytes.
const OPEN_BYTES_MAX: usize = 32 << 20;
