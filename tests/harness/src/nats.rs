//! The real nats-server.

use crate::place::tool;
use crate::process::Process;

/// A nats-server of its own on a loopback port.
pub struct NatsServer {
    process: Process,
    port: u16,
    arguments: Vec<String>,
}

impl NatsServer {
    /// Starts one with its defaults.
    #[must_use]
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// Starts one with further arguments, such as `["--user", "u", "--pass", "p"]` or `["-c", file]`.
    #[must_use]
    pub fn start_with(arguments: &[&str]) -> Self {
        let arguments: Vec<String> = arguments.iter().map(ToString::to_string).collect();
        // The server itself picks a free port for -1.
        let process = launch("-1", &arguments);
        let line = process.wait_for_line("Listening for client connections on");
        let port = line
            .rsplit(':')
            .next()
            .and_then(|port| port.parse().ok())
            .expect("the line ends in the port");
        Self {
            process,
            port,
            arguments,
        }
    }

    /// `nats://127.0.0.1:<port>`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// The port, which stays the same over restarts.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Ends it without notice: clients see a reset connection.
    pub fn kill9(&mut self) {
        self.process.kill9();
    }

    /// Freezes it: connections stay open and nothing moves until [`thaw`](Self::thaw).
    pub fn freeze(&self) {
        self.process.signal("STOP");
    }

    /// Lets a frozen server go on.
    pub fn thaw(&self) {
        self.process.signal("CONT");
    }

    /// Starts it again on the same port, killing it first if it runs.
    pub fn restart(&mut self) {
        self.process.kill9();
        self.process = launch(&self.port.to_string(), &self.arguments);
        self.process.wait_for_line("Server is ready");
    }
}

fn launch(port: &str, arguments: &[String]) -> Process {
    let program = tool("nats-server");
    let process = Process::start("nats-server", &program.to_string_lossy(), |command| {
        command
            .args(["-a", "127.0.0.1", "-p", port])
            .args(arguments);
    });
    process.wait_for_line("Server is ready");
    process
}
