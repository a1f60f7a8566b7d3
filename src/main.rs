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
mod traces;

use std::{collections::BTreeMap, process::ExitCode};

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
    // A newcomer reads the welcome, not twenty lines of configuration.
    let is_tried = role == Role::Sandbox
        && settings.log_format == log::Format::Text
        && !values.contains_key("MOLECULER_LOG_LEVEL");
    let level = if is_tried {
        "warn"
    } else {
        &settings.log_level
    };
    let level = log::start(level, settings.log_format);
    files::fit(role, &mut settings.gateway);
    let effective = config::effective(role, &values, &settings.in_force());
    for line in &effective {
        tracing::info!(target: "ddp_edge::config", "{line}");
    }
    for name in config::unknown(values.keys().map(String::as_str)) {
        tracing::warn!("{name} is not a variable of this version; is it a typing mistake?");
    }
    // Before any thread: a panic on one must not leave a process that only looks alive.
    gateway::end_process_on_panic();
    match roles::run(role, settings, effective.into(), level) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // One line on purpose: the chain says it all, and it is what an operator greps for.
            eprintln!("ddp-edge: {}", told(&error));
            ExitCode::FAILURE
        }
    }
}

/// A doctor judges what any role would read.
fn examine(values: &BTreeMap<String, String>, as_json: bool) -> ExitCode {
    match config::Settings::read(Role::All, values) {
        Ok(settings) => doctor::run(&settings, as_json).unwrap_or_else(|error| {
            eprintln!("ddp-edge: {}", told(&error));
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

/// An error with its causes, each said once: some of them quote the next one already.
fn told(error: &anyhow::Error) -> String {
    let mut told = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if !told.contains(&cause) {
            if !told.is_empty() {
                told.push_str(": ");
            }
            told.push_str(&cause);
        }
    }
    told
}

#[cfg(test)]
mod tests {
    use anyhow::{Context as _, anyhow};

    #[test]
    fn a_cause_that_was_quoted_is_not_said_again() {
        let error = Err::<(), _>(anyhow!("permission denied"))
            .context("/data (permission denied)")
            .context("cannot start");
        let told = super::told(&error.expect_err("an error"));
        assert_eq!(told, "cannot start: /data (permission denied)");
    }
}
