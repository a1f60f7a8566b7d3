//! A server that speaks MongoDB's wire protocol (conformance.md 8).

use std::env;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use tempfile::TempDir;

use crate::place::{free_port, root, tool};
use crate::process::Process;

/// A MongoDB for the tests. In this order: the server at `MONGO_URL_TEST`, a `mongod` (`MONGOD`, or on `PATH`) started
/// as a replica set of one, or else SecantusDB.
pub struct MongoServer {
    place: Place,
}

enum Place {
    /// Somebody else's server, by its URL.
    Given(String),
    /// One for the whole test process.
    Shared(&'static MongoServer),
    Own(Own),
}

struct Own {
    process: Process,
    kind: Kind,
    port: u16,
    arguments: Vec<String>,
    data: TempDir,
}

#[derive(Clone)]
enum Kind {
    Mongod(PathBuf),
    Secantus(PathBuf),
}

impl MongoServer {
    /// Starts a server, or uses the one at `MONGO_URL_TEST`.
    #[must_use]
    pub fn start() -> Self {
        let given = env::var("MONGO_URL_TEST")
            .ok()
            .filter(|url| !url.is_empty());
        given.map_or_else(
            || Self::start_own(&[]),
            |url| Self {
                place: Place::Given(url),
            },
        )
    }

    /// The server that all tests of this process may share, each with a database of its own.
    #[must_use]
    pub fn shared() -> Self {
        static SERVER: OnceLock<MongoServer> = OnceLock::new();
        Self {
            place: Place::Shared(SERVER.get_or_init(Self::start)),
        }
    }

    /// Starts a server of its own whatever `MONGO_URL_TEST` says, with further arguments for it: one that a test may
    /// kill or step down.
    #[must_use]
    pub fn start_own(arguments: &[&str]) -> Self {
        let arguments: Vec<String> = arguments.iter().map(ToString::to_string).collect();
        let kind = mongod().map_or_else(|| Kind::Secantus(tool("secantusd")), Kind::Mongod);
        // Below target, where what a killed or shared server leaves behind does no harm.
        let folder = root().join("target/tmp");
        fs::create_dir_all(&folder).expect("target can be written");
        let data = tempfile::Builder::new()
            .prefix("mongo-")
            .tempdir_in(folder)
            .expect("target can be written");
        let port = free_port();
        let process = kind.launch(port, data.path(), &arguments);
        Self {
            place: Place::Own(Own {
                process,
                kind,
                port,
                arguments,
                data,
            }),
        }
    }

    /// The URL of a database on it. Tests that share a server use a database each.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        match &self.place {
            Place::Given(url) => with_database(url, database),
            Place::Shared(server) => server.url(database),
            Place::Own(own) => {
                let set = own.kind.replica_set();
                format!(
                    "mongodb://127.0.0.1:{}/{database}?replicaSet={set}",
                    own.port
                )
            }
        }
    }

    /// Whether it is MongoDB's own server; what it was given by URL is taken for one.
    #[must_use]
    pub fn is_mongod(&self) -> bool {
        match &self.place {
            Place::Given(_) => true,
            Place::Shared(server) => server.is_mongod(),
            Place::Own(own) => matches!(own.kind, Kind::Mongod(_)),
        }
    }

    /// Ends it without notice. Only for a server of [`start_own`](Self::start_own).
    pub fn kill9(&mut self) {
        self.own().process.kill9();
    }

    /// Freezes it: connections stay open and nothing moves until [`thaw`](Self::thaw). Only for an own server.
    pub fn freeze(&mut self) {
        self.own().process.signal("STOP");
    }

    /// Lets a frozen server go on.
    pub fn thaw(&mut self) {
        self.own().process.signal("CONT");
    }

    /// Starts it again on the same port and data, killing it first if it runs. Only for an own server.
    pub fn restart(&mut self) {
        let own = self.own();
        own.process.kill9();
        own.process = own.kind.launch(own.port, own.data.path(), &own.arguments);
    }

    fn own(&mut self) -> &mut Own {
        match &mut self.place {
            Place::Own(own) => own,
            Place::Given(_) | Place::Shared(_) => {
                panic!("a server that others use is not ours to end: use MongoServer::start_own")
            }
        }
    }
}

/// Notes that a test is left out because only a real mongod can decide it; `scripts/test` counts the names.
///
/// # Panics
///
/// When the list cannot be written.
pub fn unverified_on_mongod(test: &str) {
    println!("unverified on real mongod: {test}");
    let path = root().join("target/unverified-on-mongod.txt");
    let mut list = OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .expect("target can be written");
    // One write per line: several test processes may append at once.
    list.write_all(format!("{test}\n").as_bytes())
        .expect("target can be written");
}

impl Kind {
    fn replica_set(&self) -> &'static str {
        match self {
            Self::Mongod(_) => "rs0",
            Self::Secantus(_) => "secantus",
        }
    }

    /// Starts the server and waits until it is a primary.
    fn launch(&self, port: u16, data: &Path, arguments: &[String]) -> Process {
        let port = port.to_string();
        match self {
            Self::Mongod(program) => {
                let process = Process::start("mongod", &program.to_string_lossy(), |command| {
                    command.args([
                        "--bind_ip",
                        "127.0.0.1",
                        "--port",
                        &port,
                        "--replSet",
                        self.replica_set(),
                    ]);
                    command
                        .args(["--setParameter", "enableTestCommands=1", "--dbpath"])
                        .arg(data)
                        .args(arguments);
                });
                process.wait_for_line("Waiting for connections");
                let script = root().join("tests/support/initiate_replica_set.py");
                let initiated = Command::new(tool("python"))
                    .arg(script)
                    .args([&port, self.replica_set()])
                    .status();
                assert!(
                    initiated.is_ok_and(|status| status.success()),
                    "mongod does not become a primary"
                );
                process
            }
            Self::Secantus(program) => {
                // An empty configuration, else it reads one from the home folder or from where it runs.
                let configuration = data.join("secantusd.toml");
                fs::write(&configuration, "").expect("the temporary folder can be written");
                let process = Process::start("secantusd", &program.to_string_lossy(), |command| {
                    command.args([
                        "--host",
                        "127.0.0.1",
                        "--port",
                        &port,
                        "--enable-test-commands",
                        "--config",
                    ]);
                    command
                        .arg(configuration)
                        .arg("--storage-path")
                        .arg(data.join("db"))
                        .args(arguments);
                });
                process.wait_for_line("secantus listening on");
                process
            }
        }
    }
}

fn mongod() -> Option<PathBuf> {
    if let Some(path) = env::var_os("MONGOD").filter(|path| !path.is_empty()) {
        return Some(PathBuf::from(path));
    }
    let path = env::var_os("PATH")?;
    env::split_paths(&path)
        .map(|folder| folder.join("mongod"))
        .find(|program| program.is_file())
}

/// Puts a database name in the place of the one in the URL, if any.
fn with_database(url: &str, database: &str) -> String {
    let (server, options) = url
        .split_once('?')
        .map_or((url, None), |(server, options)| (server, Some(options)));
    let scheme = server.find("://").map_or(0, |at| at + 3);
    let hosts = server[scheme..]
        .find('/')
        .map_or(server, |at| &server[..scheme + at]);
    options.map_or_else(
        || format!("{hosts}/{database}"),
        |options| format!("{hosts}/{database}?{options}"),
    )
}

#[cfg(test)]
mod tests {
    use super::with_database;

    #[test]
    fn the_database_of_a_given_url_is_replaced_and_its_options_are_kept() {
        let check = |url: &str, expected: &str| assert_eq!(with_database(url, "t1"), expected);
        check("mongodb://h:1", "mongodb://h:1/t1");
        check("mongodb://h:1,i:2/", "mongodb://h:1,i:2/t1");
        check(
            "mongodb://u:p@h:1/old?replicaSet=rs0",
            "mongodb://u:p@h:1/t1?replicaSet=rs0",
        );
    }
}
