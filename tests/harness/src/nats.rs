//! The real nats-server.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

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

/// Speaks with NATS without any library in between: packets of nodes that do not exist.
pub struct RawNats(TcpStream);

impl RawNats {
    /// Connects to that server.
    ///
    /// # Panics
    ///
    /// When it is not there.
    #[must_use]
    pub fn connect(server: &NatsServer) -> Self {
        let mut socket = TcpStream::connect(("127.0.0.1", server.port())).expect("NATS");
        socket
            .set_read_timeout(Some(Duration::from_secs(30)))
            .expect("a socket");
        socket
            .write_all(b"CONNECT {\"verbose\":false}\r\n")
            .expect("NATS reads");
        Self(socket)
    }

    /// Sends one packet.
    ///
    /// # Panics
    ///
    /// When the server has ended the connection.
    pub fn publish(&mut self, subject: &str, payload: &[u8]) {
        write!(self.0, "PUB {subject} {}\r\n", payload.len()).expect("NATS reads");
        self.0.write_all(payload).expect("NATS reads");
        self.0.write_all(b"\r\n").expect("NATS reads");
    }

    /// Hears what is sent to a subject from now on; to be read with [`hear`](Self::hear), and no more `flush` then.
    ///
    /// # Panics
    ///
    /// When the server has ended the connection.
    pub fn subscribe(&mut self, subject: &str) {
        write!(self.0, "SUB {subject} 1\r\n").expect("NATS reads");
        self.flush();
    }

    /// Waits for a message that says this.
    ///
    /// # Panics
    ///
    /// When the server has ended the connection.
    pub fn hear(&mut self, wanted: &str) {
        let mut heard = String::new();
        while !heard.contains(wanted) {
            let mut chunk = [0; 4_096];
            let read = self.0.read(&mut chunk).expect("NATS answers");
            assert!(read > 0, "{wanted} never came: {heard}");
            heard.push_str(&String::from_utf8_lossy(&chunk[..read]));
        }
    }

    /// Waits until the server has taken everything and passed it on.
    ///
    /// # Panics
    ///
    /// When the server has ended the connection.
    pub fn flush(&mut self) {
        self.0.write_all(b"PING\r\n").expect("NATS reads");
        let mut heard = Vec::new();
        while !heard.ends_with(b"PONG\r\n") {
            let mut byte = [0];
            self.0.read_exact(&mut byte).expect("NATS answers");
            heard.push(byte[0]);
        }
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
