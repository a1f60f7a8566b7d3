//! Real parts for the tests: servers, Node peers and our own binary, each on a free loopback port and ended with the
//! value that stands for it.
//!
//! Tools are found by their place in the tree, where `scripts/tools` puts them, or by an environment variable
//! ([`tool`]). Everything blocks and waits for a condition, never for a time; a wait that lasts longer than its limit
//! panics with what the process has printed so far. Tests of one file may share a server in a `static OnceLock`: it
//! ends with the test process.

mod client;
mod dice;
mod edge;
mod framing;
pub mod http;
mod mongo;
mod nats;
mod node;
mod place;
mod process;
mod product;
mod workspace;

pub use client::{Client, Closed};
pub use dice::Dice;
pub use edge::Edge;
pub use framing::frame;
pub use mongo::{MongoServer, unverified_on_mongod};
pub use nats::{NatsServer, RawNats};
pub use node::NodeProcess;
pub use place::{chromium, free_port, node_script, root, tool};
pub use product::{Line, Product, Satellites};
pub use workspace::{Gateway, User, Workspace, eventually};
