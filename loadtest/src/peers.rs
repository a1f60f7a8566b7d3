//! Servers that the gateway is measured against in the same run: two floors, and peers as people write them.

pub(crate) mod floor;
pub(crate) mod tungstenite;

use std::env;
use std::path::{Path, PathBuf};

use crate::target::Framing;

/// Where the peers of other languages stand: beside this crate, each with its own lock file.
const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/peers");

/// Where those that have to be built come to lie.
const BUILT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/peers");

/// A server that others have built, in a program of ours that takes the same events and says the same to clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Peer {
    /// uWebSockets.js and its topics
    Uws,
    /// Centrifuge (Go) with its own protocol
    Centrifuge,
    /// tokio-tungstenite as a textbook writes it
    Tungstenite,
    /// `ws` and `moleculer` in Node, as the service that is replaced sends
    Original,
}

impl Peer {
    /// How clients speak to it.
    pub(crate) fn framing(self) -> Framing {
        match self {
            Self::Centrifuge => Framing::Centrifuge,
            Self::Uws | Self::Tungstenite | Self::Original => Framing::Raw,
        }
    }

    /// The name in tables.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Uws => "uWebSockets.js",
            Self::Centrifuge => "Centrifuge",
            Self::Tungstenite => "tokio-tungstenite",
            Self::Original => "ws + moleculer",
        }
    }

    /// The command line, with `{port}` and `{nats}` to fill in; others take PORT and TRANSPORTER from their environment.
    ///
    /// # Errors
    /// Why there is none here, in words for a table.
    pub(crate) fn command(self) -> Result<Vec<String>, String> {
        match self {
            Self::Uws => node("uws"),
            Self::Centrifuge => go("centrifuge"),
            Self::Tungstenite => own_role("tungstenite"),
            Self::Original => node("original"),
        }
    }
}

/// This program in the role of a server.
pub(crate) fn own_role(role: &str) -> Result<Vec<String>, String> {
    let own = env::current_exe().map_err(|error| error.to_string())?;
    let own = own.display().to_string();
    Ok([&own, role, "--nats", "{nats}", "--port", "{port}"]
        .map(str::to_owned)
        .into())
}

/// A program that scripts/peers has built under the root.
fn go(name: &str) -> Result<Vec<String>, String> {
    let program = Path::new(BUILT).join(name);
    if program.is_file() {
        Ok(vec![program.display().to_string()])
    } else {
        Err("not built, see scripts/peers".into())
    }
}

fn node(name: &str) -> Result<Vec<String>, String> {
    let folder = Path::new(FOLDER).join(name);
    if !folder.join("node_modules").is_dir() {
        return Err("not installed, see scripts/peers".into());
    }
    let node = in_path("node").ok_or("no node here")?;
    Ok([node, folder.join("server.js")]
        .map(|path| path.display().to_string())
        .into())
}

fn in_path(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path)
        .map(|folder| folder.join(program))
        .find(|program| program.is_file())
}
