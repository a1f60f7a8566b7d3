//! `ddp-edge`: one binary, a subcommand per role. This crate only reads the configuration, wires the parts together
//! and ends them in order; what the parts do stands in their crates.

mod cli;
mod config;
mod files;
mod health;
mod http;
mod hub;
mod license;
mod log;
mod metrics;
mod role;
mod roles;

use std::{io::IsTerminal as _, process::ExitCode};

use role::Role;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let (role, values) = match cli::parse() {
        cli::Invocation::Run(role, values) => (role, values),
        cli::Invocation::Health(port) if health::is_alive(port) => return ExitCode::SUCCESS,
        cli::Invocation::Health(_) => return ExitCode::FAILURE,
    };
    let mut settings = match config::Settings::read(role, &values) {
        Ok(settings) => settings,
        Err(mistakes) => {
            eprintln!(
                "ddp-edge: the configuration has {} mistake(s):",
                mistakes.len()
            );
            for mistake in mistakes {
                eprintln!("  {mistake}");
            }
            return ExitCode::from(cli::EXIT_USAGE);
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
    for line in config::effective(role, &values, &settings.masked()) {
        tracing::info!(target: "ddp_edge::config", "{line}");
    }
    for name in config::unknown(values.keys().map(String::as_str)) {
        tracing::warn!("{name} is not a variable of this version; is it a typing mistake?");
    }
    files::fit(role, &mut settings.gateway);
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
