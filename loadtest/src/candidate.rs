//! The servers of a comparison.

use serde::Serialize;

use crate::beside::Attack;
use crate::peers::floor::Mode;
use crate::peers::{self, Peer};
use crate::target::Framing;

/// A server and how to start it.
pub(crate) struct Candidate {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    /// `{port}` and `{nats}` (host:port) are filled in; or why it cannot be started here.
    pub(crate) command: Result<Vec<String>, String>,
    pub(crate) framing: Framing,
    /// What somebody does to it meanwhile.
    pub(crate) beside: Option<Attack>,
}

/// What a server is in a comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    /// The least that a server can do.
    Floor,
    /// What others have built.
    Peer,
    /// What is measured.
    Tested,
}

impl Candidate {
    pub(crate) fn floor(mode: Mode) -> Self {
        let mut command = peers::own_role("floor");
        if let Ok(words) = &mut command {
            words.extend(["--mode", mode.name()].map(str::to_owned));
        }
        Self {
            name: format!("floor {}", mode.name()),
            kind: Kind::Floor,
            command,
            framing: Framing::Raw,
            beside: None,
        }
    }

    pub(crate) fn peer(peer: Peer) -> Self {
        Self {
            name: peer.name().to_owned(),
            kind: Kind::Peer,
            command: peer.command(),
            framing: peer.framing(),
            beside: None,
        }
    }

    /// A server under test by its command line.
    pub(crate) fn tested(name: &str, command: &str, framing: Framing) -> Self {
        let words: Vec<String> = command.split_whitespace().map(str::to_owned).collect();
        Self {
            name: name.to_owned(),
            kind: Kind::Tested,
            command: if words.is_empty() {
                Err("an empty command".into())
            } else {
                Ok(words)
            },
            framing,
            beside: None,
        }
    }

    /// The same beside an attack.
    pub(crate) fn beside(&self, attack: Attack) -> Self {
        Self {
            name: format!("{} + {}", self.name, attack.name()),
            kind: self.kind,
            command: self.command.clone(),
            framing: self.framing,
            beside: Some(attack),
        }
    }
}
