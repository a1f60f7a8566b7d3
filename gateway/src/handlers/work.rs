//! Work that runs for a client, and ends with it.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
};

use hashbrown::HashMap;
use tokio::task::AbortHandle;

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

impl Work {
    /// Runs this for a client until it is done or the client is gone.
    pub(crate) fn run(self: &Rc<Self>, place: Place, work: impl Future<Output = ()> + 'static) {
        let number = self.count.get() + 1;
        self.count.set(number);
        let all = self.clone();
        let task = tokio::task::spawn_local(async move {
            work.await;
            let mut running = all.running.borrow_mut();
            if running
                .get(&place)
                .is_some_and(|last| last.number == number)
            {
                running.remove(&place);
            }
        });
        let running = Running {
            number,
            task: task.abort_handle(),
        };
        self.running.borrow_mut().insert(place, running);
    }

    /// A client is gone: so is what ran for it.
    pub(crate) fn end(&self, place: Place) {
        if let Some(running) = self.running.borrow_mut().remove(&place) {
            running.task.abort();
        }
    }

    /// For how many clients something runs.
    pub(crate) fn len(&self) -> usize {
        self.running.borrow().len()
    }
}
