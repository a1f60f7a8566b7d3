//! `ddp-edge`: one binary, a subcommand per role. This crate only reads the configuration, wires the parts together
//! and ends them in order; what the parts do stands in their crates.

mod cli;
mod config;
mod http;
mod license;
mod log;
mod roles;

use std::{io::IsTerminal as _, process::ExitCode};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Exit code of a bad command line or a bad configuration, before anything was bound.
const EXIT_USAGE: u8 = 2;

/// What one process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Sandbox,
    Gateway,
    Accounts,
    Authorization,
    Presence,
    StreamHub,
    All,
}

impl Role {
    const ALL: [Self; 7] = [
        Self::Sandbox,
        Self::Gateway,
        Self::Accounts,
        Self::Authorization,
        Self::Presence,
        Self::StreamHub,
        Self::All,
    ];

    fn name(self) -> &'static str {
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

    fn about(self) -> &'static str {
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
    fn port(self) -> u16 {
        match self {
            Self::Sandbox | Self::Gateway | Self::All => 3000,
            Self::Presence => 3031,
            Self::Accounts => 3033,
            Self::Authorization => 3034,
            Self::StreamHub => 3035,
        }
    }
}

fn main() -> ExitCode {
    let (role, values) = cli::parse();
    let settings = match config::Settings::read(role, &values) {
        Ok(settings) => settings,
        Err(mistakes) => {
            eprintln!(
                "ddp-edge: the configuration has {} mistake(s):",
                mistakes.len()
            );
            for mistake in mistakes {
                eprintln!("  {mistake}");
            }
            return ExitCode::from(EXIT_USAGE);
        }
    };
    // A newcomer in a terminal reads the welcome, not twenty lines of configuration.
    let is_tried = role == Role::Sandbox
        && std::io::stderr().is_terminal()
        && !values.contains_key("MOLECULER_LOG_LEVEL");
    log::start(if is_tried {
        "warn"
    } else {
        &settings.log_level
    });
    for line in config::effective(role, &values) {
        tracing::info!(target: "ddp_edge::config", "{line}");
    }
    for name in config::unknown(values.keys().map(String::as_str)) {
        tracing::warn!("{name} is not a variable of this version; is it a typing mistake?");
    }
    // Before any thread: a panic on one must not leave a process that only looks alive.
    gateway::end_process_on_panic();
    match roles::run(role, settings) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // One line on purpose: the chain says it all, and it is what an operator greps for.
            eprintln!("ddp-edge: {error:#}");
            ExitCode::FAILURE
        }
    }
}
