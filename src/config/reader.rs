//! From strings to typed values: every mistake is collected, so that an operator mends all of them at once.

use std::{collections::BTreeMap, fmt::Display, str::FromStr, time::Duration};

use super::{table::VARIABLES, variable::Group};
use crate::role::Role;

/// Where the strings come from, and what was wrong with them.
pub(crate) struct Reader {
    values: BTreeMap<String, String>,
    mistakes: Vec<String>,
}

/// A longer value is not repeated in a mistake.
const SHOWN_MAX: usize = 100;

impl Reader {
    /// Unset and empty are the same.
    pub(crate) fn new(values: impl IntoIterator<Item = (String, String)>) -> Self {
        let values = values
            .into_iter()
            .filter(|(_, value)| !value.trim().is_empty())
            .collect();
        Self {
            values,
            mistakes: Vec::new(),
        }
    }

    pub(crate) fn mistakes(self) -> Vec<String> {
        self.mistakes
    }

    pub(crate) fn mistake(&mut self, name: &str, what: impl Display) {
        let variable = VARIABLES.iter().find(|variable| variable.name == name);
        let flag = variable.map(|variable| format!("--{}", variable.flag()));
        let flag = flag.filter(|flag| self.values.contains_key(flag));
        let origin = flag.as_deref().unwrap_or(name);
        let is_secret = variable.is_some_and(|variable| variable.is_secret());
        let given = self.text(name).filter(|given| {
            !is_secret && given.len() <= SHOWN_MAX && !given.contains(char::is_control)
        });
        let given = given.map_or_else(String::new, |given| format!(", not `{given}`"));
        self.mistakes.push(format!("{origin}: {what}{given}"));
    }

    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        debug_assert!(
            VARIABLES.iter().any(|v| v.name == name),
            "{name} is not in the table"
        );
        self.values.get(name).map(|value| value.trim())
    }

    pub(crate) fn text_or(&self, name: &str, default: &str) -> String {
        self.text(name).unwrap_or(default).to_owned()
    }

    /// A number (or address) within bounds that make sense.
    pub(crate) fn number<T>(
        &mut self,
        name: &str,
        default: T,
        range: std::ops::RangeInclusive<T>,
    ) -> T
    where
        T: FromStr + PartialOrd + Display,
    {
        match self.text(name).map(str::parse) {
            None => default,
            Some(Ok(value)) if range.contains(&value) => value,
            Some(_) => {
                self.mistake(
                    name,
                    format_args!(
                        "expected a number from {} to {}",
                        range.start(),
                        range.end()
                    ),
                );
                default
            }
        }
    }

    /// Seconds, fractions allowed.
    pub(crate) fn seconds(
        &mut self,
        name: &str,
        default: Duration,
        range: std::ops::RangeInclusive<f64>,
    ) -> Duration {
        Duration::from_secs_f64(self.number(name, default.as_secs_f64(), range))
    }

    /// Liberal, because real files hold `true`, `"true"`, `yes` and `1`.
    pub(crate) fn flag(&mut self, name: &str, default: bool) -> bool {
        match self
            .text(name)
            .map(|text| text.trim_matches('"').to_ascii_lowercase())
            .as_deref()
        {
            None => default,
            Some("true" | "yes" | "1" | "on") => true,
            Some("false" | "no" | "0" | "off") => false,
            Some(_) => {
                self.mistake(name, "expected true or false");
                default
            }
        }
    }
}

/// Lines of `NAME=value` for the start of the log: what is in force. Of some `understood` says it, such as what may hold
/// a credential: no text of the operator's own, in which a mask could end too early.
pub(crate) fn effective(
    role: Role,
    values: &BTreeMap<String, String>,
    understood: &[(&str, String)],
) -> Vec<String> {
    VARIABLES
        .iter()
        .filter(|variable| variable.group.concerns(role) && variable.group != Group::Accepted)
        .filter_map(|variable| {
            let given = values
                .get(variable.name)
                .map(|v| v.trim())
                .filter(|v| !v.is_empty());
            let understood = understood.iter().find(|(name, _)| *name == variable.name);
            let value =
                understood.map_or_else(|| given.unwrap_or(variable.default), |(_, value)| value);
            let default = if given.is_some() { "" } else { " (default)" };
            (!value.is_empty()).then(|| format!("{}={value}{default}", variable.name))
        })
        .collect()
}

/// Variables of our prefix that nothing reads: probably a typing mistake. Kubernetes injects `<SERVICE>_PORT` and
/// `<SERVICE>_SERVICE_HOST` for a Service named `ddp-edge-x`, so that pattern is passed over in silence.
pub(crate) fn unknown<'a>(names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    names
        .filter(|name| name.starts_with("DDP_EDGE_"))
        .filter(|name| !name.starts_with("DDP_EDGE_TEST_"))
        .filter(|name| {
            !(name.ends_with("_PORT") || name.contains("_PORT_") || name.contains("_SERVICE_"))
        })
        .filter(|name| VARIABLES.iter().all(|variable| variable.name != *name))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reader(values: &[(&str, &str)]) -> Reader {
        Reader::new(
            values
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned())),
        )
    }

    #[test]
    fn every_mistake_is_reported_not_only_the_first() {
        let mut reader = reader(&[
            ("PORT", "http"),
            ("MS_METRICS", "maybe"),
            ("HEARTBEAT_INTERVAL", "-1"),
        ]);
        reader.number("PORT", 3000u16, 0..=65_535);
        reader.flag("MS_METRICS", false);
        reader.seconds("HEARTBEAT_INTERVAL", Duration::from_secs(10), 0.1..=3_600.0);
        let mistakes = reader.mistakes();
        assert_eq!(mistakes.len(), 3, "{mistakes:?}");
        assert!(mistakes[0].starts_with("PORT: "));
    }

    #[test]
    fn booleans_are_read_as_real_files_write_them() {
        let mut reader = reader(&[
            ("MS_METRICS", "\"true\""),
            ("DDP_EDGE_PASSWORD_LOGIN", "yes"),
            ("DDP_EDGE_RATE_LIMITS", "0"),
            ("DDP_EDGE_EPHEMERAL", " "),
        ]);
        assert!(reader.flag("MS_METRICS", false));
        assert!(reader.flag("DDP_EDGE_PASSWORD_LOGIN", false));
        assert!(!reader.flag("DDP_EDGE_RATE_LIMITS", true));
        assert!(reader.flag("DDP_EDGE_EPHEMERAL", true), "empty is unset");
        assert!(reader.mistakes().is_empty());
    }

    #[test]
    fn a_mistyped_variable_is_noticed_and_what_kubernetes_injects_is_not() {
        let names = [
            "DDP_EDGE_SHARD",
            "DDP_EDGE_SHARDS",
            "DDP_EDGE_PORT",
            "DDP_EDGE_X_SERVICE_HOST",
            "DDP_EDGE_PORT_3000_TCP",
            "HOME",
        ];
        assert_eq!(unknown(names.into_iter()), ["DDP_EDGE_SHARD"]);
    }
}
