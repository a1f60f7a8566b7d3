//! What one process is: the commands of the command line.

/// What one process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Sandbox,
    Gateway,
    Accounts,
    Authorization,
    Presence,
    StreamHub,
    All,
}

impl Role {
    pub(crate) const ALL: [Self; 7] = [
        Self::Sandbox,
        Self::Gateway,
        Self::Accounts,
        Self::Authorization,
        Self::Presence,
        Self::StreamHub,
        Self::All,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Sandbox => "sandbox",
            Self::Gateway => "gateway",
            Self::Accounts => "accounts",
            Self::Authorization => "authorization",
            Self::Presence => "presence",
            Self::StreamHub => "stream-hub",
            Self::All => "all",
        }
    }

    pub(crate) fn about(self) -> &'static str {
        match self {
            Self::Sandbox => {
                "Everything in one process on embedded defaults, loopback only (the default command)"
            }
            Self::Gateway => "The DDP and SockJS front door (replaces ddp-streamer-service)",
            Self::Accounts => "Logins (replaces account-service)",
            Self::Authorization => "Permissions and room access (replaces authorization-service)",
            Self::Presence => "Who is online (replaces presence-service)",
            Self::StreamHub => {
                "Database changes to events, for servers up to 7.x (replaces stream-hub-service)"
            }
            Self::All => "Gateway and satellites in one process, on real NATS and MongoDB",
        }
    }

    /// Default port, as the original's code has it (the gateway's as its image has it).
    pub(crate) fn port(self) -> u16 {
        match self {
            Self::Sandbox | Self::Gateway | Self::All => 3000,
            Self::Presence => 3031,
            Self::Accounts => 3033,
            Self::Authorization => 3034,
            Self::StreamHub => 3035,
        }
    }
}
