//! How many files this process may have open: as many as the system lets it, and never more sockets than that.

use gateway::Config;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::role::Role;

/// Files that are no client's socket: NATS, MongoDB's pool, metrics, the embedded store, the reactors.
const OTHERS: usize = 256;

/// Raises the soft limit to the hard one, and lowers the gateway's limits where even that is too little for them.
pub(crate) fn fit(role: Role, gateway: &mut Config) {
    let limits = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limits.maximum,
        maximum: limits.maximum,
    };
    let files = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limits.maximum,
        Err(error) => {
            tracing::warn!(%error, "the limit of open files stays");
            limits.current
        }
    };
    // `None` is no limit.
    let Some(files) = files.and_then(|files| usize::try_from(files).ok()) else {
        return;
    };
    let wanted = gateway.connections_max;
    within(files, gateway);
    if gateway.connections_max < wanted && matches!(role, Role::Gateway | Role::All) {
        tracing::warn!(
            files,
            wanted,
            connections = gateway.connections_max,
            "the limit of open files (ulimit -n) is too low for DDP_EDGE_MAX_CONNECTIONS"
        );
    }
}

/// Makes a gateway fit into what this process could raise its limit to, and says how much that is; `None` is no limit.
pub(crate) fn within_the_limit(gateway: &mut Config) -> Option<usize> {
    let files = usize::try_from(getrlimit(Resource::Nofile).maximum?).ok()?;
    within(files, gateway);
    Some(files)
}

/// How many files this process may have open now; `None` is no limit.
pub(crate) fn limit() -> Option<u64> {
    getrlimit(Resource::Nofile).current
}

/// Makes a gateway fit into so many files.
fn within(files: usize, gateway: &mut Config) {
    gateway.lobby_max = gateway.lobby_max.min(files / 8).max(1);
    let others = OTHERS.min(files / 2) + 2 * gateway.lobby_max;
    gateway.connections_max = gateway
        .connections_max
        .min(files.saturating_sub(others))
        .max(1);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_fit_into_the_files_and_leave_room_for_the_servers() {
        for files in [64, 256, 1_024, 20_000, 1_048_576] {
            let mut gateway = Config::default();
            within(files, &mut gateway);
            assert!(gateway.connections_max >= files.min(100_000) / 4, "{files}");
            let others = files - gateway.sockets_max();
            assert!(others >= OTHERS.min(files / 4), "{files}");
        }
        let mut gateway = Config::default();
        within(1_048_576, &mut gateway);
        assert_eq!(gateway.connections_max, 100_000);
    }
}
