//! The rows of the contract between processes (`tests/backplane.txt`): each names the test that holds it.

use std::{collections::BTreeSet, fs};

use super::root;

const ROWS: &str = include_str!("../backplane.txt");
/// The chapters of the contract that say what must hold.
const CHAPTERS: std::ops::RangeInclusive<u32> = 1..=11;

/// Section, what must hold, and what holds it.
fn rows() -> impl Iterator<Item = [&'static str; 3]> {
    let lines = ROWS
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| {
        let fields: Vec<_> = line.split(" | ").collect();
        fields
            .try_into()
            .unwrap_or_else(|fields| panic!("three fields: {fields:?}"))
    })
}

#[test]
fn every_row_of_the_bus_names_a_test_or_a_reason() {
    let mut wrong = Vec::new();
    for [_, what, held] in rows() {
        if held.starts_with("- ") {
            continue;
        }
        let is_test = held.split_once(": ").is_some_and(|(file, test)| {
            let text = fs::read_to_string(root().join(file)).unwrap_or_default();
            text.contains(&format!("fn {test}("))
        });
        if !is_test {
            wrong.push((what, held));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn no_chapter_of_the_bus_is_without_rows() {
    let chapters: BTreeSet<u32> = rows()
        .filter_map(|[section, ..]| section.split('.').next()?.parse().ok())
        .collect();
    assert_eq!(chapters, CHAPTERS.collect());
}

/// Whoever tests the bus says which row that holds.
#[test]
fn every_test_beside_a_node_peer_holds_a_row() {
    let file = "backplane/tests/node_peers.rs";
    let text = fs::read_to_string(root().join(file)).expect("a readable file");
    let tests = text.split("#[tokio::test]").skip(1);
    let names = tests.filter_map(|test| Some(test.split_once("fn ")?.1.split_once('(')?.0));
    let idle: Vec<_> = names
        .filter(|name| !ROWS.contains(&format!("{file}: {name}\n")))
        .collect();
    assert!(idle.is_empty(), "{idle:#?}");
}
