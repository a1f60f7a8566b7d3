//! The whole product beside a monolith of one line: a gateway and whoever judges for it.

use std::ops::Deref;

use serde_json::json;

use crate::{Client, Gateway, MongoServer, User, Workspace};

/// A line of Rocket.Chat; `tests/node/monolith/lines.js` says what each offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line {
    V5,
    /// Shipped as 7.0.
    V6_14,
    Late7,
    V8,
}

/// Who hosts `accounts`, `authorization` and `presence`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Satellites {
    /// The Node process, which judges from the database every time.
    Theirs,
    /// The same with the memory of the original.
    Remembering,
    /// `ddp-edge` in a process for each, beside `ddp-edge gateway`.
    Ours,
    /// `ddp-edge all`.
    All,
}

/// A workspace with a gateway; its own methods are the workspace's.
pub struct Product {
    // In the order in which they end.
    pub gateway: Gateway,
    /// The other processes of ours.
    satellites: Vec<(&'static str, Gateway)>,
    workspace: Workspace,
}

impl Line {
    /// As `monolith.js --line` takes it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::V5 => "5.0",
            Self::V6_14 => "6.14",
            Self::Late7 => "7.x-late",
            Self::V8 => "8.x",
        }
    }
}

impl Product {
    /// Starts all of it and waits until everybody knows everybody.
    ///
    /// # Panics
    ///
    /// When a part does not come up.
    #[must_use]
    pub fn start(
        binary: &str,
        line: Line,
        satellites: Satellites,
        environment: &[(&str, &str)],
    ) -> Self {
        let arguments = ["--line", line.name(), "--memory"];
        let mongo = MongoServer::shared();
        let hosted = ["--line", line.name(), "--without", &SATELLITES.join(",")];
        let workspace = match satellites {
            Satellites::Theirs => Workspace::start_with(mongo, &arguments[..2], environment),
            Satellites::Remembering => Workspace::start_with(mongo, &arguments, environment),
            Satellites::Ours | Satellites::All => {
                Workspace::start_with(mongo, &hosted, environment)
            }
        };
        let own = if satellites == Satellites::Ours {
            SATELLITES
                .map(|role| (role, workspace.role(binary, role, &[])))
                .into()
        } else {
            Vec::new()
        };
        let role = if satellites == Satellites::All {
            "all"
        } else {
            "gateway"
        };
        // The stand-in announces what it writes itself, as a monolith does whose watchers are off.
        let no_hub = [("DBWATCHER_ONLY_COLLECTIONS", "none")];
        let mut gateway = workspace.role(binary, role, &no_hub);
        gateway.edge.wait_for_ok(gateway.port, "/readyz");
        workspace.wait_for_node(&gateway.node);
        workspace.ask(&json!({"cmd": "waitForServices", "names": SATELLITES}));
        let product = Self {
            gateway,
            satellites: own,
            workspace,
        };
        // The gateway knows the satellites when a login gets through.
        product.open(&product.user(&["user"])).close();
        product
    }

    /// A socket of a user.
    ///
    /// # Panics
    ///
    /// When he is not let in.
    #[must_use]
    pub fn open(&self, user: &User) -> Client {
        let mut client = Client::open(self.gateway.port);
        client.login(&user.token);
        client
    }

    /// Closes a user's socket and waits until the gateway has said goodbye for it.
    pub fn close(&self, client: Client, user: &User) {
        let login = self.received("the login", |line| {
            line["event"] == "accounts.login" && line["args"][0]["userId"] == user.id
        });
        let connection = &login["args"][0]["connection"]["id"];
        client.close();
        self.received("the goodbye", |line| {
            line["event"] == "socket.disconnected" && line["args"][0]["id"] == *connection
        });
    }

    /// The node id of one of the satellites that has a process of its own.
    ///
    /// # Panics
    ///
    /// When it has none.
    #[must_use]
    pub fn node_of(&self, role: &str) -> &str {
        let satellite = self.satellites.iter().find(|(name, _)| *name == role);
        &satellite.expect("it has a process of its own").1.node
    }
}

impl Deref for Product {
    type Target = Workspace;

    fn deref(&self) -> &Workspace {
        &self.workspace
    }
}

/// Roles of ours that are also the names of their services.
const SATELLITES: [&str; 3] = ["accounts", "authorization", "presence"];

/// Makes one test of each function for each way to run the product, in a module per way, all on one product per way:
/// `on_each_product!(Line::V8, &[]; (Theirs theirs, Ours ours); (a_lost_role_stays_lost));`. A function takes `&Product`.
/// They run one after the other: an event that concerns everybody would make up for one that a test beside it misses.
#[macro_export]
macro_rules! on_each_product {
    ($line:expr, $environment:expr; ($($way:ident $module:ident),+); $tests:tt) => {
        $($crate::on_each_product!(@way $line, $environment, $way, $module, $tests);)+
    };
    (@way $line:expr, $environment:expr, $way:ident, $module:ident, ($($test:ident),+ $(,)?)) => {
        mod $module {
            use super::*;

            fn with_product(test: impl FnOnce(&Product)) {
                static PRODUCT: std::sync::Mutex<Option<Product>> = std::sync::Mutex::new(None);
                // A failed test must not take the others with it.
                let mut turn = PRODUCT.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                let binary = env!("CARGO_BIN_EXE_ddp-edge");
                test(turn.get_or_insert_with(|| {
                    Product::start(binary, $line, $crate::Satellites::$way, $environment)
                }));
            }

            $(#[test]
            fn $test() {
                with_product(super::$test);
            })+
        }
    };
}
