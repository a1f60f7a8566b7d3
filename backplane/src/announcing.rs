//! What this node says about itself.

use protocol::moleculer::{Announcement, Kind, encode};

use crate::{
    bus::{Bus, Network},
    core::Core,
};

impl Bus {
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
        let _ = self.send(Kind::Info, None, payload);
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
        let _ = self.send(Kind::Info, Some(node), payload);
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
