//! A Node script that speaks lines of JSON.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::place::node_script;
use crate::process::{PATIENCE, Process};

/// Longer than any step of a scenario gives itself.
const STEP_PATIENCE: Duration = Duration::from_secs(240);

/// A script of `tests/node`. It prints `{"ready": ..}` first and one JSON value per line after that, and may read
/// commands the same way.
pub struct NodeProcess {
    process: Process,
    ready: Value,
}

impl NodeProcess {
    /// Starts a script, such as `monolith.js`, and waits until it says that it is ready.
    #[must_use]
    pub fn start(script: &str, arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        let path = node_script(script);
        let mut process = Process::start(script, "node", |command| {
            command
                .arg(path)
                .args(arguments)
                .envs(environment.iter().copied());
        });
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let Some(line) = process.next_stdout(left) else {
                panic!("{script} is not ready:\n{}", process.tail());
            };
            let mut value = parse(script, &line);
            if let Some(ready) = value.get_mut("ready") {
                let ready = ready.take();
                return Self { process, ready };
            }
        }
    }

    /// What stood behind `ready`.
    #[must_use]
    pub fn ready(&self) -> &Value {
        &self.ready
    }

    /// Sends one command.
    pub fn send(&mut self, command: &Value) {
        self.process.write_line(&command.to_string());
    }

    /// The next line, or `None` when none comes within `limit` or the script has ended.
    pub fn next_line(&mut self, limit: Duration) -> Option<Value> {
        let line = self.process.next_stdout(limit)?;
        Some(parse("the script", &line))
    }

    /// Skips lines until one fulfils `wanted`, and returns it.
    pub fn wait_for(&mut self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.next_line(left) {
                Some(value) if wanted(&value) => return value,
                Some(_) => {}
                None => panic!("{what} never came:\n{}", self.process.tail()),
            }
        }
    }

    /// Passes over the steps of a scenario (`tests/node/steps.js`) until a line has this member.
    ///
    /// # Panics
    ///
    /// When a step fails, or the next line does not come within some minutes: steps limit themselves.
    pub fn pass_steps(&mut self, until: &str) {
        loop {
            let Some(line) = self.next_line(STEP_PATIENCE) else {
                panic!("{until:?} never came:\n{}", self.process.tail());
            };
            assert_ne!(line["ok"], false, "{line}");
            if !line[until].is_null() {
                return;
            }
        }
    }

    /// Sends one command and returns its answer: the next line with `reply` equal to the command's `cmd`.
    pub fn ask(&mut self, command: &Value) -> Value {
        let name = command["cmd"].as_str().unwrap_or_default();
        self.ask_text(name, &command.to_string())
    }

    /// The same with the command as text, for when the order of members counts.
    pub(crate) fn ask_text(&mut self, name: &str, command: &str) -> Value {
        self.process.write_line(command);
        self.wait_for(name, |line| line["reply"] == name)
    }

    /// Waits until the script has ended by itself and returns its exit code.
    pub fn wait_for_end(&mut self) -> i32 {
        self.process.wait_for_end().code().unwrap_or(-1)
    }

    /// Ends it without notice.
    pub fn kill9(&mut self) {
        self.process.kill9();
    }

    /// Sends a signal such as `TERM`, `STOP` or `CONT`.
    pub fn signal(&self, signal: &str) {
        self.process.signal(signal);
    }
}

fn parse(script: &str, line: &str) -> Value {
    serde_json::from_str(line)
        .unwrap_or_else(|_| panic!("{script} printed something other than JSON: {line}"))
}
