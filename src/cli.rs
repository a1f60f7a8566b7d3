//! The command line: a role, and for every variable a flag of the same name.

use std::collections::BTreeMap;

use clap::{
    Arg, ArgAction, ArgMatches, Command,
    error::{ContextKind, ContextValue, ErrorKind},
};

use crate::{
    config::{Group, VARIABLES, Variable},
    role::Role,
};

/// What the command line asks for.
pub(crate) enum Invocation {
    /// To be this role, with all values: the environment, overridden by flags (`override_with`).
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

/// Reads it. Ends the process on `help`, `version` and on bad usage.
pub(crate) fn parse() -> Invocation {
    let mut matches = command()
        .try_get_matches()
        .unwrap_or_else(|error| refuse(&explain(&error)));
    let (name, of_command) = matches
        .remove_subcommand()
        .unwrap_or_else(|| (Role::Sandbox.name().to_owned(), ArgMatches::default()));
    let given = given(&name, &matches, &of_command).unwrap_or_else(|mistake| refuse(&mistake));
    // What is not UTF-8 is no good value of ours, and for the parsers to refuse.
    let environment = std::env::vars_os().filter_map(|(name, value)| {
        Some((
            name.into_string().ok()?,
            value.to_string_lossy().into_owned(),
        ))
    });
    let values = override_with(environment.collect(), given);
    match Role::ALL.into_iter().find(|role| role.name() == name) {
        Some(role) => Invocation::Run(role, values),
        None if name == DOCTOR => Invocation::Doctor {
            as_json: of_command.get_flag(JSON),
            values,
        },
        None if name == TOP => Invocation::Top(values),
        None if name == VERSION => {
            println!("ddp-edge {}", env!("CARGO_PKG_VERSION"));
            std::process::exit(0);
        }
        None => {
            let port = values.get("PORT").map(|port| port.trim().parse());
            // The port of a gateway, and of every role in an image; without sense nobody listens there.
            Invocation::Health(port.map_or(3000, |port| port.unwrap_or(0)))
        }
    }
}

/// The flags before and behind the command, by variable.
///
/// # Errors
/// One of them is not for this command, or they contradict each other.
fn given(
    command_name: &str,
    before: &ArgMatches,
    behind: &ArgMatches,
) -> Result<Vec<(&'static Variable, String)>, String> {
    let own = command();
    let own = own.find_subcommand(command_name);
    let takes = |variable: &Variable| {
        own.is_some_and(|own| own.get_arguments().any(|arg| arg.get_id() == variable.name))
    };
    let mut given = Vec::new();
    for variable in VARIABLES {
        // A flag that one of the two does not have is no mistake here: clap has judged the usage.
        let value = |matches: &ArgMatches| {
            let value = matches.try_get_one::<String>(variable.name);
            value.ok().flatten().cloned()
        };
        let flag = variable.flag();
        match (value(before), value(behind)) {
            (Some(_), _) if !takes(variable) => {
                return Err(format!("--{flag} is not for `{command_name}`"));
            }
            (Some(before), Some(behind)) if before != behind => {
                return Err(format!("--{flag} is given twice, with different values"));
            }
            (Some(value), _) | (None, Some(value)) => given.push((variable, value)),
            (None, None) => {}
        }
    }
    Ok(given)
}

/// The values by variable and, where a flag gave them, by that flag as well: who reads them can say which it was.
fn override_with(
    mut values: BTreeMap<String, String>,
    given: Vec<(&'static Variable, String)>,
) -> BTreeMap<String, String> {
    let is_given = |name| given.iter().any(|(variable, _)| variable.name == name);
    // These two exclude each other: a flag silences the other one's variable.
    for [one, other] in [
        ["DDP_EDGE_DATA", "DDP_EDGE_EPHEMERAL"],
        ["DDP_EDGE_EPHEMERAL", "DDP_EDGE_DATA"],
    ] {
        if is_given(one) && !is_given(other) {
            values.remove(other);
        }
    }
    for (variable, value) in given {
        values.insert(format!("--{}", variable.flag()), value.clone());
        values.insert(variable.name.to_owned(), value);
    }
    values
}

/// What is wrong with the usage. Of words that were given it shows those that can only be a flag or a command: another
/// one may be a URL with a password.
fn explain(error: &clap::Error) -> String {
    if !error.use_stderr() {
        error.exit();
    }
    let word = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => text.split(['=', ' ']).next(),
        Some(ContextValue::Strings(texts)) => texts.first().map(String::as_str),
        _ => None,
    };
    let is_plain = |word: &&str| {
        word.len() <= WORD_MAX
            && word
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte == b'-')
    };
    let meant = |kind| {
        let meant = word(kind).map(|meant| format!("; did you mean `{meant}`?"));
        meant.unwrap_or_default()
    };
    match error.kind() {
        ErrorKind::UnknownArgument | ErrorKind::InvalidSubcommand => {
            let flag = word(ContextKind::InvalidArg).filter(|word| word.starts_with("--"));
            let command =
                word(ContextKind::InvalidSubcommand).or_else(|| word(ContextKind::InvalidArg));
            match (flag.filter(is_plain), command.filter(is_plain)) {
                (Some(flag), _) => {
                    format!("no flag {flag} here{}", meant(ContextKind::SuggestedArg))
                }
                (None, Some(command)) if flag.is_none() => {
                    let meant = meant(ContextKind::SuggestedSubcommand);
                    format!("no command `{command}` here{meant}")
                }
                _ => "a word that is neither a command nor a flag".to_owned(),
            }
        }
        kind => {
            let flag = word(ContextKind::InvalidArg).filter(is_plain);
            let flag = flag.map(|flag| format!(": {flag}"));
            let kind = kind.as_str().unwrap_or("bad usage");
            format!("{kind}{}", flag.unwrap_or_default())
        }
    }
}

fn refuse(mistake: &str) -> ! {
    eprintln!("ddp-edge: {mistake}; see `ddp-edge help`");
    std::process::exit(EXIT_USAGE.into());
}

fn command() -> Command {
    let command = Command::new("ddp-edge")
        .version(env!("CARGO_PKG_VERSION"))
        .about("A DDP gateway and its satellites for Rocket.Chat. Without a command: the sandbox.")
        .args(leading_flags());
    let command = command
        .subcommand(
            Command::new(HEALTH)
                .about("Exit code 0 if the process on PORT lives (for container engines)")
                .args(
                    flags(Role::Gateway)
                        .into_iter()
                        .filter(|flag| flag.get_id() == "PORT"),
                ),
        )
        .subcommand(Command::new(VERSION).about("Print the version"))
        .subcommand(
            Command::new(DOCTOR)
                .about("Looks at NATS, MongoDB, the network and this machine: what is wrong, and how to mend it")
                .arg(
                    Arg::new(JSON)
                        .long(JSON)
                        .action(ArgAction::SetTrue)
                        .help("one JSON object instead of lines"),
                )
                .args(flags(Role::All)),
        )
        .subcommand(
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

/// Flags before the command may be those of any command; without one it is the sandbox, whose flags are shown.
fn leading_flags() -> impl Iterator<Item = Arg> {
    let shown = |variable: &Variable| variable.group.concerns(Role::Sandbox);
    VARIABLES
        .iter()
        .filter(|variable| variable.group != Group::Accepted)
        .map(move |variable| flag(variable).hide(!shown(variable)))
}

fn flags(role: Role) -> Vec<Arg> {
    VARIABLES
        .iter()
        .filter(|variable| variable.group.concerns(role) && variable.group != Group::Accepted)
        .map(flag)
        .collect()
}

fn flag(variable: &'static Variable) -> Arg {
    let help = match variable.default {
        "" => variable.meaning.to_owned(),
        default => format!("{} [default: {default}]", variable.meaning),
    };
    let flag = Arg::new(variable.name).long(variable.flag()).help(help);
    // The value of a switch stands behind `=`: what comes behind a bare one is the command.
    match variable.is_switch() {
        true => flag
            .value_name("true|false")
            .num_args(0..=1)
            .require_equals(true)
            .default_missing_value("true"),
        false => flag
            .value_name("VALUE")
            .num_args(1)
            .allow_negative_numbers(true),
    }
}

const HEALTH: &str = "health";
const DOCTOR: &str = "doctor";
const TOP: &str = "top";
const JSON: &str = "json";
const VERSION: &str = "version";
/// Longer than every flag.
const WORD_MAX: usize = 40;
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
        let mut names: Vec<_> = VARIABLES.iter().map(Variable::flag).collect();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), VARIABLES.len());
    }
}
