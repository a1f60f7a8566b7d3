//! Who is on the network and offers what.

use std::sync::Arc;

/// A member of the network as this node sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeInfo {
    pub id: Arc<str>,
    /// UUID of the process start.
    pub instance: Option<String>,
    pub hostname: Option<String>,
    /// This very node.
    pub local: bool,
    /// False once it left or was lost; such nodes are forgotten after 10 minutes.
    pub available: bool,
    /// Names of the services that it announces (`$node` left out).
    pub services: Vec<String>,
}
