//! What this node says about itself: what it offers, and that it leaves.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use protocol::moleculer::{Announcement, Kind, encode};
use tokio::{
    sync::oneshot,
    time::{sleep, timeout},
};

use crate::{
    bus::Bus,
    core::{Core, Service},
    inbox::Inbox,
    outgoing::Item,
    uplink::Network,
    waiting::Waiting,
};

impl Bus {
    /// Offers a service and what is sent to it; the announcement follows once [`Config::dependencies`](crate::Config::dependencies) are met.
    pub fn announce(&self, service: Service) -> Inbox {
        let waiting = Arc::new(Waiting::new(self.config().waiting_bytes));
        self.core().add(service, waiting.clone(), Instant::now());
        self.publish_info();
        Inbox::new(self.clone(), waiting)
    }

    /// Takes a service back: its inbox receives nothing more.
    pub fn withdraw(&self, name: &str) {
        if self.core().remove(|local| local.service.name == name) {
            self.publish_info();
        }
    }

    /// Leaves politely: INFO without services, 100 ms, then requests are refused and those under way are answered, within
    /// `patience`; DISCONNECT, flush (backplane.md 6.4). Nothing is sent after it.
    pub async fn leave(&self, patience: Duration) {
        let Some(network) = self.network() else {
            return;
        };
        self.core().has_left = true;
        self.publish_info();
        // Peers stop sending us requests before we stop answering them.
        sleep(LEAVE_PAUSE).await;
        if timeout(patience, self.owed().close()).await.is_err() {
            self.owed().give_up();
        }
        let (done, left) = oneshot::channel();
        if network.outgoing.push(Item::Leave(done)).is_ok() {
            // A server that does not read must not keep us.
            let _ = timeout(GOODBYE_MAX, left).await;
        }
    }

    /// Tells everybody what this node offers, as the next `seq`.
    pub(crate) fn publish_info(&self) {
        let Some(network) = self.network() else {
            return;
        };
        let mut core = self.core();
        let dependencies = &self.config().dependencies;
        core.is_announced |= dependencies.iter().all(|name| core.has_service(name));
        core.seq += 1;
        let payload = self.info(&core, network);
        // Under the lock, so that announcements leave in the order of their `seq`.
        let _ = self.uplink().send(Kind::Info, None, payload);
    }

    /// Announces our services as soon as what they depend on has been seen.
    pub(crate) fn announce_if_due(&self) {
        let is_due = {
            let core = self.core();
            !core.is_announced
                && self
                    .config()
                    .dependencies
                    .iter()
                    .all(|name| core.has_service(name))
        };
        if is_due {
            self.publish_info();
        }
    }

    /// Tells one node what this node offers.
    pub(crate) fn send_info_to(&self, node: &str) {
        let Some(network) = self.network() else {
            return;
        };
        let payload = self.info(&self.core(), network);
        let _ = self.uplink().send(Kind::Info, Some(node), payload);
    }

    fn info(&self, core: &Core, network: &Network) -> Vec<u8> {
        let services: Vec<_> = match core.is_announced && !core.has_left {
            true => core.locals().iter().map(|local| &local.service).collect(),
            false => Vec::new(),
        };
        let services: Vec<_> = services
            .iter()
            .map(|service| (service.name, &*service.actions, &*service.events))
            .collect();
        encode(&Announcement {
            services: &services,
            hostname: &self.config().hostname,
            client: (
                "rust",
                env!("CARGO_PKG_VERSION"),
                env!("CARGO_PKG_RUST_VERSION"),
            ),
            instance_id: &network.instance,
            seq: core.seq,
            sender: self.node_id(),
        })
    }
}

/// Peers wait as long between INFO without services and DISCONNECT.
const LEAVE_PAUSE: Duration = Duration::from_millis(100);
const GOODBYE_MAX: Duration = Duration::from_secs(1);
