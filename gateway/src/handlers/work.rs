//! Work that runs for a client, and ends with it.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
};

use hashbrown::HashMap;
use tokio::task::AbortHandle;

use super::core::Core;
use crate::place::Place;

/// What runs for the clients: of each at most one call, because a session asks one thing at a time.
#[derive(Default)]
pub(crate) struct Work {
    running: RefCell<HashMap<Place, Running>>,
    count: Cell<u64>,
}

struct Running {
    number: u64,
    task: AbortHandle,
}

impl Core {
    /// Runs this for a client until it is done or the client is gone.
    pub(crate) fn run_for(self: &Rc<Self>, place: Place, work: impl Future<Output = ()> + 'static) {
        let number = self.work.count.get() + 1;
        self.work.count.set(number);
        let core = self.clone();
        let task = tokio::task::spawn_local(async move {
            work.await;
            let mut running = core.work.running.borrow_mut();
            if running
                .get(&place)
                .is_some_and(|running| running.number == number)
            {
                running.remove(&place);
            }
        });
        let running = Running {
            number,
            task: task.abort_handle(),
        };
        self.work.running.borrow_mut().insert(place, running);
    }

    /// A client is gone: so is what ran for it.
    pub(crate) fn end_work(&self, place: Place) {
        if let Some(running) = self.work.running.borrow_mut().remove(&place) {
            running.task.abort();
        }
    }
}

impl Work {
    /// For how many clients something runs.
    pub(crate) fn len(&self) -> usize {
        self.running.borrow().len()
    }
}
