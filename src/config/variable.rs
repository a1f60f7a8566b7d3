//! What is known of one environment variable.

use crate::role::Role;

/// One environment variable; `--the-same-name` on the command line overrides it.
pub(crate) struct Variable {
    pub(crate) name: &'static str,
    /// The value that applies when it is unset or empty, as one would write it; empty when there is none.
    pub(crate) default: &'static str,
    /// Who reads it.
    pub(crate) group: Group,
    /// One line for `--help` and CONFIG.md.
    pub(crate) meaning: &'static str,
}

impl Variable {
    /// Its flag's name: `MS_METRICS_PORT` is `--ms-metrics-port`; our own prefix is left out: `DDP_EDGE_DATA` is `--data`.
    pub(crate) fn flag(&self) -> String {
        let name = self.name.strip_prefix("DDP_EDGE_").unwrap_or(self.name);
        name.to_ascii_lowercase().replace('_', "-")
    }

    /// Whether it is read as true or false.
    pub(crate) fn is_switch(&self) -> bool {
        // Of those without a default one is: unset means that the server's line decides.
        matches!(self.default, "true" | "false") || self.name == "DISABLE_DB_WATCHERS"
    }

    /// Whether its value may hold a password, so that none of it is ever shown as it was given.
    pub(crate) fn is_secret(&self) -> bool {
        let secret = [
            "TRANSPORTER",
            "MONGO_URL",
            "OTEL_EXPORTER_OTLP_ENDPOINT",
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
            "OTEL_EXPORTER_OTLP_HEADERS",
        ];
        secret.contains(&self.name)
    }
}

/// Which commands a variable concerns.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Group {
    /// Every role.
    Process,
    /// Every role but the sandbox: NATS and MongoDB.
    Servers,
    /// Whatever runs the gateway.
    Gateway,
    /// Whatever runs the gateway, and the accounts service.
    Logins,
    /// Whatever runs the authorization service on real servers.
    Authorization,
    /// Whatever runs the presence service on real servers.
    Presence,
    /// Whatever runs the stream-hub on real servers.
    Hub,
    /// The sandbox alone.
    Sandbox,
    /// Known from the original and accepted, without an effect here.
    Accepted,
}

impl Group {
    pub(crate) fn concerns(self, role: Role) -> bool {
        let gateway = matches!(role, Role::Gateway | Role::All | Role::Sandbox);
        match self {
            Self::Process => true,
            Self::Servers | Self::Accepted => role != Role::Sandbox,
            Self::Gateway => gateway,
            Self::Logins => gateway || role == Role::Accounts,
            Self::Authorization => matches!(role, Role::Authorization | Role::All),
            Self::Presence => matches!(role, Role::Presence | Role::All),
            Self::Hub => matches!(role, Role::StreamHub | Role::All),
            Self::Sandbox => role == Role::Sandbox,
        }
    }
}

pub(super) const fn var(
    name: &'static str,
    default: &'static str,
    group: Group,
    meaning: &'static str,
) -> Variable {
    Variable {
        name,
        default,
        group,
        meaning,
    }
}
