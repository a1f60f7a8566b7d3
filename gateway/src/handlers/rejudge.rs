//! Judges grants again: those that an event has touched, and all of them slowly.

use std::{rc::Rc, sync::Arc, time::Duration};

use tokio::sync::Semaphore;

use super::{
    core::{Core, now},
    judge::Verdict,
};
use crate::{
    metrics,
    state::{grants::GrantId, rejudge::Turn},
};

/// Grants judged at the same time.
const AT_ONCE: usize = 64;

/// A grant about which nobody can say anything is asked about this often, then it ends.
const ATTEMPTS_MAX: u32 = 3;

/// Works off what waits, for as long as the bus thread runs.
pub(crate) async fn run(core: Rc<Core>) {
    let permits = Arc::new(Semaphore::new(AT_ONCE));
    loop {
        let Ok(permit) = permits.clone().acquire_owned().await else {
            return;
        };
        let turn = {
            let grants = core.state.grants.borrow();
            core.state.rejudge.borrow_mut().turn(&grants, now())
        };
        match turn {
            Turn::Judge(id) => {
                let core = core.clone();
                tokio::task::spawn_local(async move {
                    core.judge_again(id).await;
                    drop(permit);
                });
            }
            Turn::Wait(until) => {
                let woken = core.wake.rejudge.notified();
                let _ = tokio::time::timeout_at(until.into(), woken).await;
            }
            Turn::Rest => core.wake.rejudge.notified().await,
        }
    }
}

impl Core {
    async fn judge_again(self: &Rc<Self>, id: GrantId) {
        for attempt in 1..=ATTEMPTS_MAX {
            match self.verdict(id).await {
                Verdict::Yes | Verdict::Moved | Verdict::Gone => return,
                Verdict::No => break,
                Verdict::Unknown if attempt == ATTEMPTS_MAX => break,
                Verdict::Unknown => tokio::time::sleep(Duration::from_millis(200) * attempt).await,
            }
        }
        self.revoke(id);
    }

    /// Ends the subscriptions that stand on a grant and tells their clients.
    fn revoke(&self, id: GrantId) {
        let subs = self.state.grants.borrow_mut().revoke(id);
        if subs.is_empty() {
            return;
        }
        metrics::revoked("rule");
        let mut people = self.state.people.borrow_mut();
        for sub in &subs {
            people.end(*sub);
        }
        drop(people);
        self.with_post(|post| post.revoke(&subs, false));
    }
}
