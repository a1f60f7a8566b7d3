//! One thing that was looked at, and how all of them are told.

use std::fmt::Write as _;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Level {
    Fine,
    /// It works, and an operator should know.
    Warning,
    /// A role of ours does not work so.
    Fault,
}

/// One thing that was looked at.
#[derive(Debug)]
pub(super) struct Finding {
    /// Stable, for scripts: `nats.rights`.
    pub(super) check: &'static str,
    pub(super) level: Level,
    /// What was found.
    pub(super) found: String,
    /// What follows from it, and how to mend it; empty where all is well.
    pub(super) means: String,
    pub(super) mend: String,
}

impl Finding {
    pub(super) fn fine(check: &'static str, found: impl Into<String>) -> Self {
        Self {
            check,
            level: Level::Fine,
            found: found.into(),
            means: String::new(),
            mend: String::new(),
        }
    }

    pub(super) fn warning(
        check: &'static str,
        found: impl Into<String>,
        means: impl Into<String>,
        mend: impl Into<String>,
    ) -> Self {
        Self {
            check,
            level: Level::Warning,
            found: found.into(),
            means: means.into(),
            mend: mend.into(),
        }
    }

    pub(super) fn fault(
        check: &'static str,
        found: impl Into<String>,
        means: impl Into<String>,
        mend: impl Into<String>,
    ) -> Self {
        Self {
            level: Level::Fault,
            ..Self::warning(check, found, means, mend)
        }
    }
}

/// All of them: lines for people, or one JSON object.
pub(super) fn print(findings: &[Finding], as_json: bool) -> String {
    if as_json {
        json(findings)
    } else {
        text(findings)
    }
}

fn text(findings: &[Finding]) -> String {
    let mut text = String::new();
    for finding in findings {
        let mark = match finding.level {
            Level::Fine => "ok     ",
            Level::Warning => "warning",
            Level::Fault => "FAULT  ",
        };
        let _ = writeln!(text, "{mark}  {}: {}", finding.check, finding.found);
        for (word, line) in [("means", &finding.means), ("mend", &finding.mend)] {
            if !line.is_empty() {
                let _ = writeln!(text, "         {word}: {line}");
            }
        }
    }
    let count = |level| findings.iter().filter(|f| f.level == level).count();
    let (faults, warnings) = (count(Level::Fault), count(Level::Warning));
    let _ = write!(text, "{faults} fault(s), {warnings} warning(s)");
    text
}

fn json(findings: &[Finding]) -> String {
    let findings: Vec<_> = findings
        .iter()
        .map(|finding| {
            let level = match finding.level {
                Level::Fine => "fine",
                Level::Warning => "warning",
                Level::Fault => "fault",
            };
            let texts = [
                ("check", finding.check),
                ("level", level),
                ("found", &finding.found),
                ("means", &finding.means),
                ("mend", &finding.mend),
            ];
            let members: Vec<_> = texts
                .iter()
                .filter(|(_, text)| !text.is_empty())
                .map(|(name, text)| {
                    let mut member = format!("\"{name}\":");
                    protocol::ddp::encode::push_string(&mut member, text);
                    member
                })
                .collect();
            format!("{{{}}}", members.join(","))
        })
        .collect();
    format!("{{\"findings\":[{}]}}", findings.join(","))
}
