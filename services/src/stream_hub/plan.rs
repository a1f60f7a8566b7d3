//! Which collections a hub announces: by the workspace's line and by what it was told (services.md 0, 5.2, 5.3).

use std::{fmt, time::Duration};

use backplane::{Bus, NodeInfo};
use store::{Collection, Error, Store};

/// The name of the service.
pub(super) const SERVICE: &str = "hub";

/// What the environment says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// `DISABLE_DB_WATCHERS`: `Some(true)` disables, `Some(false)` enables, `None` leaves it to the workspace's line.
    pub disable_watchers: Option<bool>,
    /// `CHANGESTREAM_FULL_DOCUMENT`: updates come with their document, and the events of some carry it.
    pub full_documents: bool,
    /// `DBWATCHER_ONLY_COLLECTIONS`: only these of the collections; wins over the next.
    pub only: Option<Vec<String>>,
    /// `DBWATCHER_EXCLUDE_COLLECTIONS`: all but these.
    pub exclude: Vec<String>,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Plan {
    Watch(Vec<Collection>),
    Idle(Idle),
}

/// Why there is nothing to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Idle {
    /// From 8.0 on the monolith announces its changes itself.
    NewLine,
    /// No monolith has written its version yet, and nothing was said.
    UnknownLine,
    /// `DBWATCHER_*_COLLECTIONS` leave nothing.
    NothingLeft,
    /// Rocket.Chat's own stream-hub is on the network.
    Theirs,
}

impl fmt::Display for Idle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NewLine => {
                "idle: from 8.0 on Rocket.Chat announces its changes itself, a stream-hub would only double them"
            }
            Self::UnknownLine => {
                "idle until the workspace has written its version, or DISABLE_DB_WATCHERS=no says that its watchers are on"
            }
            Self::Theirs => {
                "idle: a stream-hub-service of Rocket.Chat is on the network, and a second hub would double every event; stop it, and this one goes on"
            }
            Self::NothingLeft => {
                "idle: DBWATCHER_ONLY_COLLECTIONS or DBWATCHER_EXCLUDE_COLLECTIONS leave no collection"
            }
        })
    }
}

/// Decides by what the workspace has recorded of itself, and by who else is there.
///
/// # Errors
/// The database did not answer.
pub(super) async fn look(bus: &Bus, store: &Store, config: &Config) -> Result<Plan, Error> {
    let version = store.server_version().await?;
    let plan = plan(version.as_deref(), config);
    let is_theirs = |node: NodeInfo| {
        node.available && !node.is_ours() && node.services.iter().any(|name| **name == *SERVICE)
    };
    Ok(match plan {
        Plan::Watch(_) if bus.nodes().into_iter().any(is_theirs) => Plan::Idle(Idle::Theirs),
        plan => plan,
    })
}

/// Decides for a workspace whose newest recorded version is `version`.
fn plan(version: Option<&str>, config: &Config) -> Plan {
    let line = version.and_then(line);
    if line.is_some_and(|line| line >= (8, 0)) {
        return Plan::Idle(Idle::NewLine);
    }
    let disabled = match (config.disable_watchers, line) {
        (Some(disabled), _) => disabled,
        (None, Some(line)) => line >= OFF_BY_DEFAULT,
        (None, None) => return Plan::Idle(Idle::UnknownLine),
    };
    let wanted = |collection: &Collection| match &config.only {
        Some(only) => only.iter().any(|name| name == collection.name()),
        None => !config.exclude.iter().any(|name| name == collection.name()),
    };
    let all: &[Collection] = match disabled {
        false => &WATCHED,
        true if line.is_some_and(|line| line < MONOLITH_ANNOUNCES) => &STILL_WATCHED,
        true => &[Collection::Instances],
    };
    let collections: Vec<_> = all.iter().copied().filter(wanted).collect();
    match collections.is_empty() {
        false => Plan::Watch(collections),
        true => Plan::Idle(Idle::NothingLeft),
    }
}

/// Major and minor of a version such as `7.10.0-rc.1`.
fn line(version: &str) -> Option<(u32, u32)> {
    let mut numbers = version.split(['.', '-']).map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

/// How often it is worth looking again: an update to 8.0 ends the work.
pub(super) const LOOK_EVERY: Duration = Duration::from_secs(10);

/// Since when watchers are off unless somebody turns them on.
const OFF_BY_DEFAULT: (u32, u32) = (7, 7);

/// Since when a monolith with watchers off announces everything but `instances` itself. Inferred from the order of its
/// changes: no release notes say it.
const MONOLITH_ANNOUNCES: (u32, u32) = (7, 0);

/// All sixteen.
pub(super) const WATCHED: [Collection; 16] = [
    Collection::Messages,
    Collection::Rooms,
    Collection::Subscriptions,
    Collection::Users,
    Collection::Settings,
    Collection::Permissions,
    Collection::Roles,
    Collection::Inquiries,
    Collection::DepartmentAgents,
    Collection::LoginServices,
    Collection::Instances,
    Collection::IntegrationHistory,
    Collection::Integrations,
    Collection::EmailInbox,
    Collection::Priorities,
    Collection::PbxEvents,
];

/// Those that lines before 7.0 leave to the hub even with watchers disabled.
const STILL_WATCHED: [Collection; 11] = [
    Collection::Users,
    Collection::Subscriptions,
    Collection::Settings,
    Collection::Inquiries,
    Collection::DepartmentAgents,
    Collection::LoginServices,
    Collection::Instances,
    Collection::IntegrationHistory,
    Collection::Integrations,
    Collection::EmailInbox,
    Collection::Priorities,
];

#[cfg(test)]
mod tests {
    use super::*;

    fn watched(version: Option<&str>, disable: Option<bool>) -> Result<usize, Idle> {
        let config = Config {
            disable_watchers: disable,
            ..Config::default()
        };
        match plan(version, &config) {
            Plan::Watch(collections) => Ok(collections.len()),
            Plan::Idle(why) => Err(why),
        }
    }

    #[test]
    fn the_line_of_the_workspace_decides_what_the_environment_leaves_open() {
        for (version, disable, expected) in [
            (Some("6.5.3"), None, Ok(16)),
            (Some("6.5.3"), Some(true), Ok(11)),
            (Some("7.6.0"), None, Ok(16)),
            (Some("7.6.0"), Some(true), Ok(1)),
            (Some("7.10.0"), None, Ok(1)),
            (Some("7.10.0-rc.1"), Some(false), Ok(16)),
            (Some("8.0.0"), None, Err(Idle::NewLine)),
            (Some("8.0.0-rc.0"), Some(false), Err(Idle::NewLine)),
            (None, None, Err(Idle::UnknownLine)),
            (Some("develop"), None, Err(Idle::UnknownLine)),
            (None, Some(false), Ok(16)),
        ] {
            assert_eq!(
                watched(version, disable),
                expected,
                "{version:?} {disable:?}"
            );
        }
    }

    #[test]
    fn the_list_of_wanted_collections_wins_over_that_of_unwanted_ones() {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let mut config = Config {
            exclude: names(&["users", "instances"]),
            ..Config::default()
        };
        let Plan::Watch(collections) = plan(Some("6.0.0"), &config) else {
            panic!("it watches");
        };
        assert_eq!(collections.len(), 14);
        config.only = Some(names(&["users", "rocketchat_uploads"]));
        assert_eq!(
            plan(Some("6.0.0"), &config),
            Plan::Watch(vec![Collection::Users])
        );
        config.only = Some(names(&["rocketchat_uploads"]));
        assert_eq!(plan(Some("6.0.0"), &config), Plan::Idle(Idle::NothingLeft));
    }
}
