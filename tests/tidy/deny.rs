//! What `deny.toml` says of licences, banned crates and sources, held on any machine. Advisories and yanked versions are in
//! lists that the network has: `scripts/deny`, where cargo-deny is installed.

use std::{collections::BTreeSet, fs, process::Command};

use serde_json::Value;
use spdx::{Expression, ParseMode};

/// The packages that a program of ours is built from, and those that only tests and builds need.
fn packages() -> Vec<Value> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--offline", "--locked"])
        .args(["--filter-platform", "x86_64-unknown-linux-gnu"])
        .current_dir(super::root())
        .output()
        .expect("cargo runs");
    let metadata: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
    metadata["packages"].as_array().expect("packages").clone()
}

/// The texts in the list of this name.
fn list(name: &str) -> BTreeSet<String> {
    let file = fs::read_to_string(super::root().join("deny.toml")).expect("deny.toml");
    let begin = file.find(&format!("\n{name} = [")).expect("the list");
    let list = &file[begin..];
    let list = &list[..list.find("\n]").expect("its end")];
    let lines = list.lines().map(str::trim);
    let text = |line: &str| line.split('"').nth(1).map(str::to_owned);
    lines.filter_map(text).collect()
}

#[test]
fn every_licence_is_one_that_may_come_in() {
    let allowed = list("allow");
    let mut wrong = Vec::new();
    for package in packages() {
        let (name, licence) = (&package["name"], package["license"].as_str());
        let expression = licence.map(|text| Expression::parse_mode(text, ParseMode::LAX));
        let is_allowed = match &expression {
            Some(Ok(expression)) => {
                expression.evaluate(|wanted| allowed.contains(&wanted.to_string()))
            }
            _ => false,
        };
        if !is_allowed && !package["source"].is_null() {
            wrong.push(format!("{name}: {licence:?}"));
        }
    }
    assert!(wrong.is_empty(), "not in deny.toml:\n{}", wrong.join("\n"));
}

#[test]
fn no_crate_is_banned_and_all_come_from_the_registry() {
    let banned = list("deny");
    assert!(!banned.is_empty());
    for package in packages() {
        let name = package["name"].as_str().expect("a name");
        assert!(!banned.contains(name), "{name} is banned");
        if let Some(source) = package["source"].as_str() {
            let registry = "registry+https://github.com/rust-lang/crates.io-index";
            assert_eq!(source, registry, "{name}");
        }
    }
}
