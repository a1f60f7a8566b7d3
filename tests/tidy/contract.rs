//! The rows of the contracts (`tests/backplane.txt`, `tests/services.txt`): each names the test that holds it.

use std::{collections::BTreeSet, fs};

use super::root;

/// A contract as a table.
struct Contract {
    rows: &'static str,
    /// The chapters that say what must hold.
    chapters: &'static [u32],
    /// Files whose tests are there for this contract alone: each of them holds a row.
    files: &'static [&'static str],
}

const CONTRACTS: [Contract; 2] = [
    Contract {
        rows: include_str!("../backplane.txt"),
        chapters: &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11],
        files: &["backplane/tests/node_peers.rs"],
    },
    Contract {
        rows: include_str!("../services.txt"),
        chapters: &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 13],
        files: &[
            "services/tests/abac.rs",
            "services/tests/accounts.rs",
            "services/tests/authorization.rs",
            "services/tests/differential.rs",
            "services/tests/hostile.rs",
            "services/tests/hub_model.rs",
            "services/tests/presence/cap.rs",
            "services/tests/presence/churn.rs",
            "services/tests/presence/claims.rs",
            "services/tests/presence/nodes.rs",
            "services/tests/presence/order.rs",
            "services/tests/presence/truth.rs",
            "services/src/presence/engine/tests/mod.rs",
            "services/src/stream_hub/rules/tests/mod.rs",
            "tests/hub.rs",
            "tests/presence.rs",
        ],
    },
];

impl Contract {
    /// Section, what must hold, and what holds it.
    fn rows(&self) -> impl Iterator<Item = [&'static str; 3]> + use<> {
        let lines = self.rows.lines();
        let lines = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
        lines.map(|line| {
            let fields: Vec<_> = line.split(" | ").collect();
            fields
                .try_into()
                .unwrap_or_else(|fields| panic!("three fields: {fields:?}"))
        })
    }
}

fn read(file: &str) -> String {
    fs::read_to_string(root().join(file)).unwrap_or_default()
}

#[test]
fn every_row_names_a_test_or_a_reason() {
    let mut wrong = Vec::new();
    for [_, what, held] in CONTRACTS.iter().flat_map(Contract::rows) {
        if held.starts_with("- ") {
            continue;
        }
        let is_test = held.split_once(": ").is_some_and(|(file, test)| {
            let text = read(file);
            text.contains(&format!("fn {test}("))
        });
        if !is_test {
            wrong.push((what, held));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn no_chapter_is_without_rows() {
    for contract in &CONTRACTS {
        let chapters: BTreeSet<u32> = contract
            .rows()
            .filter_map(|[section, ..]| section.split('.').next()?.parse().ok())
            .collect();
        assert_eq!(chapters, contract.chapters.iter().copied().collect());
    }
}

/// Whoever tests a contract says which row that holds.
#[test]
fn every_test_that_is_there_for_a_contract_holds_a_row() {
    let mut idle = Vec::new();
    for contract in &CONTRACTS {
        for file in contract.files {
            let text = read(file);
            let tests = ["#[test]", "#[tokio::test"].map(|mark| text.split(mark).skip(1));
            let names = tests.into_iter().flatten();
            let names = names.filter_map(|test| Some(test.split_once("fn ")?.1.split_once('(')?.0));
            let mut names = names.peekable();
            assert!(names.peek().is_some(), "{file} has no tests");
            let unnamed = names
                .map(|name| format!("{file}: {name}"))
                .filter(|held| !contract.rows().any(|[.., named]| named == held));
            idle.extend(unnamed);
        }
    }
    assert!(idle.is_empty(), "{idle:#?}");
}

/// What is offered to peers is what `services/tests/hostile.rs` attacks.
#[test]
fn every_action_of_the_services_has_a_row() {
    let text = read("services/tests/hostile.rs");
    let (_, list) = text.split_once("const ACTIONS").expect("the list");
    let (list, _) = list.split_once("];").expect("its end");
    let actions = list.split('"').skip(1).step_by(2);
    // The sandbox plays the monolith, which has a contract of its own.
    let ours = actions.filter(|action| !action.starts_with("meteor."));
    let rows = include_str!("../services.txt");
    let words = |text: &'static str| text.split(|c: char| !c.is_alphanumeric() && c != '.');
    let is_named = |action: &str| words(rows).any(|word| word == action);
    let missing: Vec<_> = ours.filter(|action| !is_named(action)).collect();
    assert!(missing.is_empty(), "{missing:#?}");
}
