//! This process in the `instances` collection (services.md 6), and what readiness and metrics see of it.

use std::{rc::Rc, time::Duration};

use store::{Instance, bson::doc};

use super::core::Core;
use crate::{metrics, upstream::Unknown};

/// The number of connections is written with every third update at most.
const COUNT_EVERY: u32 = 3;

/// Pause between two questions whether the store is there, and the wait for an answer before it is asked again.
const PING_EVERY: Duration = Duration::from_secs(1);
const PING_MAX: Duration = Duration::from_secs(2);

/// Interval in which sizes are measured.
const MEASURE_EVERY: Duration = Duration::from_secs(1);

/// Keeps the document for as long as the bus thread runs.
pub(crate) async fn run(core: Rc<Core>) {
    let instance = Instance {
        id: core.state.instance.borrow().id.clone(),
        name: "ddp-streamer".to_owned(),
        pid: std::process::id(),
        extra: doc! { "nodeId": core.upstream.node_id() },
    };
    let mut known = false;
    let mut turn = 0_u32;
    loop {
        if known {
            known = core.upstream.instance_ping(&instance.id).await != Ok(false);
        } else {
            known = core.upstream.register_instance(&instance).await.is_ok();
            core.state.instance.borrow_mut().changed = true;
        }
        if known && turn.is_multiple_of(COUNT_EVERY) && take_changed(&core) {
            let sockets = u32::try_from(core.state.people.borrow().len()).unwrap_or(u32::MAX);
            let written = core
                .upstream
                .instance_connections(&instance.id, sockets)
                .await;
            if let Err(Unknown) = written {
                core.state.instance.borrow_mut().changed = true;
            }
        }
        turn = turn.wrapping_add(1);
        tokio::time::sleep(core.config.instance_ping).await;
    }
}

fn take_changed(core: &Core) -> bool {
    std::mem::take(&mut core.state.instance.borrow_mut().changed)
}

/// Asks the store whether it is there: readiness must see it go although nobody asks it anything.
pub(crate) async fn listen_to_store(core: Rc<Core>) {
    loop {
        // What it says is noted where it is asked.
        let _ = tokio::time::timeout(PING_MAX, core.upstream.ping()).await;
        tokio::time::sleep(PING_EVERY).await;
    }
}

/// Says how much the bus thread holds.
pub(crate) async fn measure(core: Rc<Core>) {
    loop {
        metrics::grants(core.state.grants.borrow().len());
        metrics::rejudge(core.state.rejudge.borrow().len());
        metrics::work(core.work.len());
        for (owner, entries) in core.state.entries() {
            metrics::entries(owner, entries);
        }
        metrics::presence_resting(core.state.lanes.borrow().resting());
        tokio::time::sleep(MEASURE_EVERY).await;
    }
}

/// Takes the document back, after the sockets are gone.
pub(crate) async fn leave(core: &Core) {
    let id = core.state.instance.borrow().id.clone();
    if let Err(Unknown) = core.upstream.remove_instance(&id).await {
        tracing::warn!("our document in instances stays until it expires");
    }
}
