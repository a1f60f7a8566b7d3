//! What may come faster than anybody wants to hear it: told at once, or at the end of the window that is open.

use std::{
    cell::RefCell,
    hash::Hash,
    rc::Rc,
    time::{Duration, Instant},
};

use super::core::{Core, now};
use crate::state::{State, flaps::Flaps};

/// Only the last of somebody's news within this time is told.
const WINDOW: Duration = Duration::from_millis(200);

impl Core {
    /// `tell` gets the news, and when they (at once) or the end of their window came.
    pub(crate) fn tell_soon<K, V>(
        self: &Rc<Self>,
        flaps: fn(&State) -> &RefCell<Flaps<K, V>>,
        key: K,
        news: V,
        received: Instant,
        tell: fn(&Self, V, Instant),
    ) where
        K: Eq + Hash + 'static,
        V: 'static,
    {
        let mut windows = flaps(&self.state).borrow_mut();
        let opens = windows.is_empty();
        let told = windows.enter(key, news);
        drop(windows);
        if opens {
            let core = self.clone();
            tokio::task::spawn_local(async move { core.end_windows(flaps, tell).await });
        }
        if let Some(news) = told {
            tell(self, news, received);
        }
    }

    /// Ends one window after the other until nobody's news are in one.
    async fn end_windows<K: Eq + Hash, V>(
        &self,
        flaps: fn(&State) -> &RefCell<Flaps<K, V>>,
        tell: fn(&Self, V, Instant),
    ) {
        while !flaps(&self.state).borrow().is_empty() {
            tokio::time::sleep(WINDOW).await;
            let told = flaps(&self.state).borrow_mut().turn();
            for news in told {
                tell(self, news, now());
            }
            self.flush();
        }
    }
}
