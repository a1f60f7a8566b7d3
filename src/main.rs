//! `ddp-edge`: one binary, a subcommand per role. This crate only reads the configuration, wires the parts together
//! and ends them in order; what the parts do stands in their crates.

mod admin;
mod ask;
mod cli;
mod config;
mod doctor;
mod files;
mod health;
mod http;
mod hub;
mod license;
mod log;
mod metrics;
mod role;
mod roles;
mod top;

use std::{collections::BTreeMap, io::IsTerminal as _, process::ExitCode};

use role::Role;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let (role, values) = match cli::parse() {
        cli::Invocation::Run(role, values) => (role, values),
        cli::Invocation::Doctor { values, as_json } => return examine(&values, as_json),
        cli::Invocation::Top(values) => return look(&values),
        cli::Invocation::Health(port) if health::is_alive(port) => return ExitCode::SUCCESS,
        cli::Invocation::Health(_) => return ExitCode::FAILURE,
    };
    let mut settings = match config::Settings::read(role, &values) {
        Ok(settings) => settings,
        Err(mistakes) => return refuse(&mistakes),
    };
    // A newcomer in a terminal reads the welcome, not twenty lines of configuration.
    let is_tried = role == Role::Sandbox
        && std::io::stderr().is_terminal()
        && !values.contains_key("MOLECULER_LOG_LEVEL");
    let level = log::start(if is_tried {
        "warn"
    } else {
        &settings.log_level
    });
    let effective = config::effective(role, &values, &settings.masked());
    for line in &effective {
        tracing::info!(target: "ddp_edge::config", "{line}");
    }
    for name in config::unknown(values.keys().map(String::as_str)) {
        tracing::warn!("{name} is not a variable of this version; is it a typing mistake?");
    }
    files::fit(role, &mut settings.gateway);
    // Before any thread: a panic on one must not leave a process that only looks alive.
    gateway::end_process_on_panic();
    match roles::run(role, settings, effective.into(), level) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // One line on purpose: the chain says it all, and it is what an operator greps for.
            eprintln!("ddp-edge: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// A doctor judges what any role would read.
fn examine(values: &BTreeMap<String, String>, as_json: bool) -> ExitCode {
    match config::Settings::read(Role::All, values) {
        Ok(settings) => doctor::run(&settings, as_json).unwrap_or_else(|error| {
            eprintln!("ddp-edge: {error:#}");
            ExitCode::FAILURE
        }),
        Err(mistakes) => refuse(&mistakes),
    }
}

/// Whoever looks needs only to know where.
fn look(values: &BTreeMap<String, String>) -> ExitCode {
    match config::admin_port(values) {
        Ok(listen) => top::run(&listen),
        Err(mistakes) => refuse(&mistakes),
    }
}

fn refuse(mistakes: &[String]) -> ExitCode {
    eprintln!(
        "ddp-edge: the configuration has {} mistake(s):",
        mistakes.len()
    );
    for mistake in mistakes {
        eprintln!("  {mistake}");
    }
    ExitCode::from(cli::EXIT_USAGE)
}
