//! Rules about the tree that no compiler checks: who may import whom, who may name which driver, how long files get.

#[path = "tidy/contract.rs"]
mod contract;
#[path = "tidy/deny.rs"]
mod deny;
#[path = "tidy/imports.rs"]
mod imports;
#[path = "tidy/shape.rs"]
mod shape;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// Crate → the crates of this workspace it may name. Arrows point one way.
const ALLOWED: &[(&str, &[&str])] = &[
    ("protocol", &[]),
    ("backplane", &["protocol"]),
    ("store", &["protocol"]),
    ("gateway", &["protocol", "backplane", "store"]),
    ("services", &["protocol", "backplane", "store"]),
    ("benches", &["protocol", "backplane", "gateway", "store"]),
    // On tokio-tungstenite, so that it cannot share our mistakes.
    ("loadtest", &[]),
    ("harness", &[]),
    (
        "ddp-edge",
        &["protocol", "backplane", "store", "gateway", "services"],
    ),
];

/// Drivers and the only crates that may depend on them at run time.
const DRIVERS: &[(&str, &[&str])] = &[
    ("async-nats", &["backplane", "loadtest"]),
    ("mongodb", &["store"]),
    ("redb", &["store"]),
    ("tokio-tungstenite", &["loadtest"]),
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn metadata() -> serde_json::Value {
    let output = Command::new(env!("CARGO"))
        .args([
            "metadata",
            "--no-deps",
            "--format-version",
            "1",
            "--offline",
        ])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    serde_json::from_slice(&output.stdout).expect("cargo metadata is JSON")
}

/// Every library and program of the workspace: its name and root file.
fn crates() -> Vec<(String, PathBuf)> {
    let metadata = metadata();
    let packages = metadata["packages"].as_array().expect("packages");
    let targets = packages
        .iter()
        .flat_map(|package| package["targets"].as_array().expect("targets"));
    let product = targets.filter(|target| target["kind"][0] == "lib" || target["kind"][0] == "bin");
    product
        .map(|target| {
            let text = |key: &str| target[key].as_str().expect("a text").to_owned();
            (text("name"), text("src_path").into())
        })
        .collect()
}

/// Package → names of its normal dependencies.
fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
    metadata()["packages"]
        .as_array()
        .expect("packages")
        .iter()
        .map(|package| {
            let names = package["dependencies"]
                .as_array()
                .expect("dependencies")
                .iter();
            let normal = names
                .filter(|d| d["kind"].is_null())
                .map(|d| d["name"].as_str().unwrap_or_default().to_owned());
            (
                package["name"].as_str().unwrap_or_default().to_owned(),
                normal.collect(),
            )
        })
        .collect()
}

#[test]
fn dependencies_point_one_way() {
    let known: BTreeSet<&str> = ALLOWED.iter().map(|(name, _)| *name).collect();
    let mut wrong = Vec::new();
    for (package, names) in dependencies() {
        let Some((_, allowed)) = ALLOWED.iter().find(|(name, _)| *name == package) else {
            wrong.push(format!("{package} is not in the table"));
            continue;
        };
        for name in names.iter().filter(|name| known.contains(name.as_str())) {
            if !allowed.contains(&name.as_str()) {
                wrong.push(format!("{package} must not depend on {name}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_driver_is_named_in_one_crate() {
    let mut wrong = Vec::new();
    for (package, names) in dependencies() {
        for (driver, owners) in DRIVERS {
            if names.contains(*driver) && !owners.contains(&package.as_str()) {
                wrong.push(format!("{package} must not depend on {driver}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_protocol_does_no_io() {
    let names = &dependencies()["protocol"];
    let forbidden = [
        "tokio",
        "hyper",
        "tracing",
        "log",
        "getrandom",
        "rand",
        "metrics",
        "async-nats",
    ];
    let found: Vec<_> = forbidden
        .iter()
        .filter(|name| names.contains(**name))
        .collect();
    assert!(found.is_empty(), "{found:?}");
}

#[test]
fn imports_are_acyclic_in_every_crate() {
    let mut wrong = Vec::new();
    for (name, root) in crates() {
        let circles = imports::circles(&root);
        wrong.extend(circles.iter().map(|circle| format!("{name}: {circle}")));
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// `SHAPE_OF` is another checkout's root, to compare with.
#[test]
#[ignore = "prints the figures of ARCHITECTURE.md"]
fn the_shape_of_the_gateway() {
    let root = std::env::var_os("SHAPE_OF").map_or_else(|| root().to_owned(), PathBuf::from);
    shape::print(&root.join("gateway/src/lib.rs"), "Core");
}

#[test]
fn files_stay_readable() {
    let mut long = Vec::new();
    for file in rust_files() {
        // Unit tests do not count, neither those in a folder of their own nor those at the bottom.
        if file.components().any(|part| part.as_os_str() == "tests") {
            continue;
        }
        let text = fs::read_to_string(&file).expect("a readable file");
        let code = text
            .split("\n#[cfg(test)]\nmod tests")
            .next()
            .unwrap_or_default()
            .lines()
            .count();
        if code > 480 {
            long.push(format!("{}: {code} lines", file.display()));
        }
    }
    assert!(long.is_empty(), "split along a noun: {long:#?}");
}

#[test]
fn allowances_say_why() {
    let mut wrong = Vec::new();
    for file in rust_files() {
        let text = fs::read_to_string(&file).expect("a readable file");
        for (number, line) in text.lines().enumerate() {
            let line = line.trim_start();
            if line.starts_with("#[allow(") || line.starts_with("#![allow(") {
                wrong.push(format!(
                    "{}:{}: use #[expect(.., reason = ..)]",
                    file.display(),
                    number + 1
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Product sources: `*/src/**.rs`.
fn rust_files() -> Vec<PathBuf> {
    let folders = [
        "src",
        "protocol/src",
        "backplane/src",
        "services/src",
        "services/store/src",
        "gateway/src",
        "loadtest/src",
    ]
    .map(|folder| root().join(folder));
    folders
        .iter()
        .flat_map(|folder| rust_files_of(folder))
        .collect()
}

fn rust_files_of(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a readable folder").flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    assert!(found.len() > 10, "the folders have moved");
    found
}
