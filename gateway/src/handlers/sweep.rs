//! Compares who is logged in with the store, because not every logout is announced (design.md 3.9).

use std::{rc::Rc, sync::Arc};

use super::core::Core;
use crate::{link::User, upstream::Unknown};

/// Logins compared in one read.
const CHUNK: usize = 500;

/// Sweeps for as long as the bus thread runs.
pub(crate) async fn run(core: Rc<Core>) {
    loop {
        tokio::time::sleep(core.config.sweep_every).await;
        let logins = core.state.people.borrow().logins();
        if core.check(logins).await == Err(Unknown) {
            tracing::warn!("the sweep of logins could not read the store");
        }
    }
}

impl Core {
    /// Looks whether one user's tokens still exist.
    pub(crate) async fn check_user(&self, user: &str) -> Result<(), Unknown> {
        let logins = self.state.people.borrow().logins_of(user);
        self.check(logins).await
    }

    /// Closes the clients whose token is gone.
    async fn check(&self, mut logins: Vec<Arc<User>>) -> Result<(), Unknown> {
        logins.sort_unstable_by(|a, b| (&a.id, &a.hashed_token).cmp(&(&b.id, &b.hashed_token)));
        logins.dedup_by(|a, b| a.id == b.id && a.hashed_token == b.hashed_token);
        for chunk in logins.chunks(CHUNK) {
            let held = self.upstream.has_login_token(chunk).await?;
            for (login, held) in chunk.iter().zip(held) {
                let leaving = || {
                    let people = self.state.people.borrow();
                    people.is_leaving(&login.id, &login.hashed_token)
                };
                // The end of the logout looks at the other clients with this token.
                if !held && !leaving() {
                    self.close_logins(&login.id, Some(&login.hashed_token));
                }
            }
        }
        Ok(())
    }
}
