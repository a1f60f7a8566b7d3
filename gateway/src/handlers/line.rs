//! Keeps in mind which line the monolith is of.

use std::{rc::Rc, time::Duration};

use super::core::Core;
use crate::streams::line::Line;

/// Pause before it is looked at again, whatever has happened.
const PAUSE: Duration = Duration::from_secs(2);

/// It is looked at again when a node has come or changed, and at the latest after this time: a monolith tells its version
/// to the store some time after its start.
const EVERY: Duration = Duration::from_secs(60);

/// Looks for as long as the bus thread runs.
pub(crate) async fn run(core: Rc<Core>) {
    loop {
        if let Ok(version) = core.upstream.server_version().await {
            let line = version.as_deref().map(Line::of).unwrap_or_default();
            core.state.line.set(line);
            tokio::time::sleep(PAUSE).await;
            let _ = tokio::time::timeout(EVERY, core.wake.offers.notified()).await;
        } else {
            tokio::time::sleep(PAUSE).await;
        }
    }
}
