//! Our own binary as a process.

use std::fs;
use std::process::{Command, ExitStatus};
use std::thread;
use std::time::{Duration, Instant};

use crate::http;
use crate::process::{PATIENCE, Process};

/// A running `ddp-edge`.
pub struct Edge {
    process: Process,
}

impl Edge {
    /// Starts the binary, whose path a test of its package has from `env!("CARGO_BIN_EXE_ddp-edge")`.
    ///
    /// Only `environment` and `PATH` are set: a developer's own variables must not change a test.
    #[must_use]
    pub fn start(binary: &str, arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let process = Process::start("ddp-edge", binary, |command| {
            command
                .args(arguments)
                .env_clear()
                .env("PATH", path)
                .envs(environment.iter().copied());
        });
        Self { process }
    }

    /// Runs the binary to its end with this environment and no other: its exit code (-1: ended by a signal) and all that it
    /// has printed.
    ///
    /// # Panics
    ///
    /// When it cannot be started.
    #[must_use]
    pub fn run(binary: &str, arguments: &[&str], environment: &[(&str, &str)]) -> (i32, String) {
        let output = Command::new(binary)
            .args(arguments)
            .env_clear()
            .envs(environment.iter().copied())
            .output()
            .expect("the binary runs");
        let text = String::from_utf8_lossy(&output.stdout).into_owned()
            + &String::from_utf8_lossy(&output.stderr);
        (output.status.code().unwrap_or(-1), text)
    }

    /// Waits until `GET <path>` on a loopback port answers 200: `/readyz` when it can serve, `/livez` when it listens.
    ///
    /// # Panics
    ///
    /// When the process ends before that, or it does not come in a minute.
    pub fn wait_for_ok(&mut self, port: u16, path: &str) {
        let deadline = Instant::now() + PATIENCE;
        while !http::try_request(port, "GET", path, &[]).is_ok_and(|answer| answer.status == 200) {
            assert!(
                self.process.runs(),
                "ddp-edge ended:\n{}",
                self.process.tail()
            );
            assert!(
                Instant::now() < deadline,
                "{path} never answered 200:\n{}",
                self.process.tail()
            );
            // Polling, because another process has no event to wait for.
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits for a line of its output that contains `text`, printed at any time, and returns it.
    pub fn wait_for_line(&self, text: &str) -> String {
        self.process.wait_for_line(text)
    }

    /// Everything it has printed so far, both streams in the order of arrival.
    #[must_use]
    pub fn output(&self) -> Vec<String> {
        self.process.output()
    }

    /// Its process id, to look at memory and threads in `/proc`.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Its resident memory in bytes.
    ///
    /// # Panics
    ///
    /// When it has ended.
    #[must_use]
    pub fn rss(&self) -> u64 {
        self.memory("VmRSS:")
    }

    /// The most resident memory that it ever had, in bytes.
    ///
    /// # Panics
    ///
    /// When it has ended.
    #[must_use]
    pub fn rss_peak(&self) -> u64 {
        self.memory("VmHWM:")
    }

    fn memory(&self, name: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id())).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let kibibytes =
            line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
        kibibytes.expect("the kernel tells") * 1024
    }

    /// Sends a signal such as `TERM` or `STOP`.
    pub fn signal(&self, signal: &str) {
        self.process.signal(signal);
    }

    /// Ends it without notice.
    pub fn kill9(&mut self) {
        self.process.kill9();
    }

    /// Waits until it has ended by itself.
    pub fn wait_for_end(&mut self) -> ExitStatus {
        self.process.wait_for_end()
    }
}
