//! Where things are: the repository, the installed tools, a free port.

use std::collections::BTreeSet;
use std::env;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// The repository's root folder.
#[must_use]
pub fn root() -> PathBuf {
    // This crate stands two folders below it.
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors()
        .nth(2)
        .expect("tests/harness has two parents")
        .to_path_buf()
}

/// The path of an installed tool, such as `nats-server`, `kosoku`, `secantusd`, `k6` or `python`.
///
/// An environment variable wins: `DDP_EDGE_TEST_NATS_SERVER`, `_KOSOKU`, `_SECANTUS`, `_K6`, `_PYTHON`.
///
/// # Panics
///
/// When the tool is not there, saying how to install it.
#[must_use]
pub fn tool(name: &str) -> PathBuf {
    let (variable, place) = match name {
        "nats-server" => ("DDP_EDGE_TEST_NATS_SERVER", "target/tools/bin/nats-server"),
        "kosoku" => ("DDP_EDGE_TEST_KOSOKU", "target/tools/bin/kosoku"),
        "secantusd" => ("DDP_EDGE_TEST_SECANTUS", "target/tools/bin/secantusd"),
        "k6" => ("DDP_EDGE_TEST_K6", "target/tools/bin/k6"),
        "traefik" => ("DDP_EDGE_TEST_TRAEFIK", "target/tools/bin/traefik"),
        "hadolint" => ("DDP_EDGE_TEST_HADOLINT", "target/tools/bin/hadolint"),
        "yamllint" => ("DDP_EDGE_TEST_YAMLLINT", "target/tools/bin/yamllint"),
        "check-jsonschema" => (
            "DDP_EDGE_TEST_CHECK_JSONSCHEMA",
            "target/tools/bin/check-jsonschema",
        ),
        "kubernetes-validate" => (
            "DDP_EDGE_TEST_KUBERNETES_VALIDATE",
            "target/tools/bin/kubernetes-validate",
        ),
        "python" => ("DDP_EDGE_TEST_PYTHON", "target/tools/venv/bin/python"),
        _ => panic!("{name} is not a tool that scripts/tools installs"),
    };
    installed(name, variable, root().join(place))
}

/// The path of Chromium: `DDP_EDGE_TEST_CHROMIUM`, or Debian's place.
///
/// # Panics
///
/// When it is not there.
#[must_use]
pub fn chromium() -> PathBuf {
    installed(
        "Chromium",
        "DDP_EDGE_TEST_CHROMIUM",
        PathBuf::from("/usr/bin/chromium"),
    )
}

/// The path of a script in `tests/node`, such as `monolith.js` or `clients/simpleddp.js`.
///
/// # Panics
///
/// When it is not there, or the packages it needs are not installed.
#[must_use]
pub fn node_script(name: &str) -> PathBuf {
    let folder = root().join("tests/node");
    assert!(
        folder.join("node_modules/moleculer").exists(),
        "npm packages are missing: run scripts/tools once"
    );
    let script = folder.join(name);
    assert!(script.exists(), "{} does not exist", script.display());
    script
}

/// A loopback port that was free a moment ago.
///
/// # Panics
///
/// When no port can be bound at all.
#[must_use]
pub fn free_port() -> u16 {
    // The system may offer the same one twice, until somebody listens there.
    static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    loop {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
        let address = listener.and_then(|listener| listener.local_addr());
        let port = address.expect("loopback has a free port").port();
        let mut given = GIVEN.lock().unwrap_or_else(PoisonError::into_inner);
        if given.insert(port) {
            return port;
        }
    }
}

fn installed(name: &str, variable: &str, place: PathBuf) -> PathBuf {
    let path = env::var_os(variable).map_or(place, PathBuf::from);
    assert!(
        path.exists(),
        "{name} is missing at {}: run scripts/tools once",
        path.display()
    );
    path
}
