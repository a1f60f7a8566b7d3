//! The command line: a role, and for every variable a flag of the same name.

use std::collections::BTreeMap;

use clap::{
    Arg, ArgAction, Command,
    error::{ContextKind, ContextValue},
};

use crate::{
    config::{Group, VARIABLES},
    role::Role,
};

/// What the command line asks for.
pub(crate) enum Invocation {
    /// To be this role, with all values: the environment, overridden by flags.
    Run(Role, BTreeMap<String, String>),
    /// To look for what is wrong, with the values that any role would read.
    Doctor {
        values: BTreeMap<String, String>,
        as_json: bool,
    },
    /// To show a running process, live.
    Top(BTreeMap<String, String>),
    /// To ask the process on this port whether it lives.
    Health(u16),
}

/// Reads it. Ends the process on `--help` and on bad usage.
pub(crate) fn parse() -> Invocation {
    let mut matches = command()
        .try_get_matches()
        .unwrap_or_else(|error| refuse(&error));
    let (name, flags) = matches
        .remove_subcommand()
        .unwrap_or_else(|| (Role::Sandbox.name().to_owned(), matches));
    // What is not UTF-8 is no good value of ours, and for the parsers to refuse.
    let environment = std::env::vars_os().filter_map(|(name, value)| {
        Some((
            name.into_string().ok()?,
            value.to_string_lossy().into_owned(),
        ))
    });
    let mut values: BTreeMap<String, String> = environment.collect();
    for variable in VARIABLES {
        // A flag that this role does not have is no mistake here: clap has judged the usage.
        if let Ok(Some(value)) = flags.try_get_one::<String>(variable.name) {
            values.insert(variable.name.to_owned(), value.clone());
        }
    }
    match Role::ALL.into_iter().find(|role| role.name() == name) {
        Some(role) => Invocation::Run(role, values),
        None if name == DOCTOR => Invocation::Doctor {
            as_json: flags.get_flag(JSON),
            values,
        },
        None if name == TOP => Invocation::Top(values),
        None => {
            let port = values.get("PORT").map(|port| port.trim().parse());
            // The port of a gateway, and of every role in an image; without sense nobody listens there.
            Invocation::Health(port.map_or(3000, |port| port.unwrap_or(0)))
        }
    }
}

/// Help and version as they are; of bad usage the kind and the flag, but no value: it may be a URL with a password.
fn refuse(error: &clap::Error) -> ! {
    if !error.use_stderr() {
        error.exit();
    }
    let flag = match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(text)) => text.split(['=', ' ']).next(),
        _ => None,
    };
    let is_flag = |text: &&str| {
        text.strip_prefix("--").is_some_and(|name| {
            name.bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte == b'-')
        })
    };
    let flag = flag.filter(is_flag).map(|flag| format!(": {flag}"));
    let kind = error.kind().as_str().unwrap_or("bad usage");
    eprintln!("ddp-edge: {kind}{}; see --help", flag.unwrap_or_default());
    std::process::exit(EXIT_USAGE.into());
}

fn command() -> Command {
    let command = Command::new("ddp-edge")
        .version(env!("CARGO_PKG_VERSION"))
        .about("A DDP gateway and its satellites for Rocket.Chat. Without a command: the sandbox.")
        .disable_help_subcommand(true)
        .args(flags(Role::Sandbox));
    let command = command.subcommand(
        Command::new(HEALTH)
            .about("Exit code 0 if the process on PORT lives (for container engines)")
            .args(
                flags(Role::Gateway)
                    .into_iter()
                    .filter(|flag| flag.get_id() == "PORT"),
            ),
    );
    let command = command.subcommand(
        Command::new(DOCTOR)
            .about("Looks at NATS, MongoDB, the network and this machine: what is wrong, and how to mend it")
            .arg(
                Arg::new(JSON)
                    .long(JSON)
                    .action(ArgAction::SetTrue)
                    .help("one JSON object instead of lines"),
            )
            .args(flags(Role::All)),
    );
    let command = command.subcommand(
        Command::new(TOP)
            .about("Live view of a running process through its admin port")
            .args(
                flags(Role::Gateway)
                    .into_iter()
                    .filter(|flag| flag.get_id().as_str().starts_with("DDP_EDGE_ADMIN_")),
            ),
    );
    Role::ALL.into_iter().fold(command, |command, role| {
        command.subcommand(
            Command::new(role.name())
                .about(role.about())
                .args(flags(role)),
        )
    })
}

fn flags(role: Role) -> Vec<Arg> {
    VARIABLES
        .iter()
        .filter(|variable| variable.group.concerns(role) && variable.group != Group::Accepted)
        .map(|variable| {
            let help = match variable.default {
                "" => variable.meaning.to_owned(),
                default => format!("{} [default: {default}]", variable.meaning),
            };
            Arg::new(variable.name)
                .long(flag_name(variable.name))
                .value_name("VALUE")
                .num_args(0..=1)
                .default_missing_value("true")
                .help(help)
        })
        .collect()
}

/// `MS_METRICS_PORT` is `--ms-metrics-port`; our own prefix is left out: `DDP_EDGE_DATA` is `--data`.
fn flag_name(variable: &str) -> String {
    let name = variable.strip_prefix("DDP_EDGE_").unwrap_or(variable);
    name.to_ascii_lowercase().replace('_', "-")
}

const HEALTH: &str = "health";
const DOCTOR: &str = "doctor";
const TOP: &str = "top";
const JSON: &str = "json";
/// Exit code of a bad command line or a bad configuration, before anything was bound.
pub(crate) const EXIT_USAGE: u8 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        command().debug_assert();
    }

    #[test]
    fn a_role_shows_the_switches_that_it_reads() {
        let shows = |role, name| flags(role).iter().any(|flag| flag.get_id() == name);
        for role in [Role::Accounts, Role::Gateway, Role::All, Role::Sandbox] {
            assert!(shows(role, "DDP_EDGE_PASSWORD_LOGIN"), "{}", role.name());
        }
        assert!(!shows(Role::Presence, "DDP_EDGE_PASSWORD_LOGIN"));
        for role in [Role::Authorization, Role::All] {
            assert!(shows(role, "USE_EXTERNAL_ABAC_SERVICE"), "{}", role.name());
        }
    }

    #[test]
    fn every_flag_name_is_unique() {
        let mut names: Vec<_> = VARIABLES
            .iter()
            .map(|variable| flag_name(variable.name))
            .collect();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), VARIABLES.len());
    }
}
