//! The table of budgets says what the sources say, and all of it.

use std::{collections::BTreeSet, fs, path::Path};

use harness::root;

/// What a peer can make grow is bounded there.
const CRATES: [&str; 3] = ["protocol/src", "backplane/src", "gateway/src"];

/// The product's sources below a folder, without tests, by their path from the root.
fn sources(folder: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(root().join(folder)).expect("it can be read") {
        let entry = entry.expect("it can be read");
        let name = entry.file_name().into_string().expect("a text");
        let path = format!("{folder}/{name}");
        if entry.path().is_dir() {
            if name != "tests" {
                found.extend(sources(&path));
            }
        } else if name.ends_with(".rs") && name != "tests.rs" {
            let text = fs::read_to_string(entry.path()).expect("it can be read");
            let product = text
                .split("#[cfg(test)]\nmod tests {")
                .next()
                .unwrap_or_default();
            found.push((path, product.to_owned()));
        }
    }
    found
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(Path::new(path)))
        .unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The bound of each row: where it stands, its name, and what it is.
fn bounds(table: &str) -> Vec<(String, String, String)> {
    let cell = |row: &str| row.split(" | ").nth(1).map(str::to_owned);
    let rows = table
        .lines()
        .filter(|row| row.starts_with("| ") && row.contains('`'));
    rows.filter_map(cell)
        .map(|cell| {
            let texts: Vec<_> = cell.split('`').skip(1).step_by(2).collect();
            match *texts {
                [field, value] => {
                    let (owner, name) = field.split_once("::").expect("a field");
                    (owner.to_owned(), name.to_owned(), value.to_owned())
                }
                [path, name, value] => (path.to_owned(), name.to_owned(), value.to_owned()),
                _ => panic!("no bound: {cell}"),
            }
        })
        .collect()
}

/// The fields of a struct of this name, and their defaults.
fn defaults(source: &str, name: &str) -> Vec<(String, String)> {
    let body = source
        .split(&format!("impl Default for {name} {{"))
        .nth(1)
        .expect("it has one");
    let body = body.split("\n}").next().unwrap_or_default();
    let fields = body
        .lines()
        .filter_map(|line| line.strip_prefix("            "));
    fields
        .filter_map(|field| field.strip_suffix(',')?.split_once(": "))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

/// The constants of a source that are numbers or times.
fn constants(source: &str) -> Vec<(String, String)> {
    let lines = source.lines().map(str::trim_start);
    let lines = lines.filter_map(|line| line.split_once("const ").map(|(_, rest)| rest));
    lines
        .filter_map(|rest| rest.strip_suffix(';')?.split_once(" = "))
        .filter_map(|(head, value)| Some((head.split_once(": ")?, value)))
        .filter(|((_, kind), _)| ["usize", "u32", "u64", "Duration"].contains(kind))
        .map(|((name, _), value)| (name.to_owned(), value.to_owned()))
        .collect()
}

#[test]
fn every_bound_in_the_table_is_the_one_in_the_source() {
    for (place, name, value) in bounds(&read("docs/budgets.md")) {
        let found = match &*place {
            "Limits" => defaults(&read("protocol/src/limits.rs"), "Limits"),
            "Config" => defaults(&read("gateway/src/config.rs"), "Config"),
            path => constants(&read(path)),
        };
        let own = found.iter().find(|(own, _)| *own == name);
        let own = own.unwrap_or_else(|| panic!("{place} has no {name}"));
        assert_eq!(own.1, value, "{place} {name}");
    }
}

#[test]
fn no_bound_is_missing_in_the_table() {
    let told: BTreeSet<_> = bounds(&read("docs/budgets.md"))
        .into_iter()
        .map(|(place, name, _)| (place, name))
        .collect();
    let mut owed: Vec<_> = defaults(&read("protocol/src/limits.rs"), "Limits")
        .into_iter()
        // Of no size: a code.
        .filter(|(name, _)| name != "idle_close_code")
        .map(|(name, _)| ("Limits".to_owned(), name))
        .collect();
    let config = defaults(&read("gateway/src/config.rs"), "Config").into_iter();
    let bounds = config.filter(|(name, _)| {
        [
            "_max",
            "_bytes",
            "_events",
            "_per_address",
            "_per_user",
            "_per_second",
        ]
        .iter()
        .any(|end| name.ends_with(end))
    });
    owed.extend(bounds.map(|(name, _)| ("Config".to_owned(), name)));
    for (path, source) in CRATES.into_iter().flat_map(sources) {
        // Times are told of where somebody pays for them.
        let bounds = constants(&source).into_iter();
        let bounds = bounds.filter(|(_, value)| !value.starts_with("Duration::"));
        let bounds = bounds.map(|(name, _)| name);
        let bounds = bounds.filter(|name| name.ends_with("_MAX"));
        owed.extend(bounds.map(|name| (path.clone(), name)));
    }
    // Of our own making: bytes of the head of a frame that we write, and of what a pattern in EJSON may say.
    let ours = ["protocol/src/ws/encode.rs", "protocol/src/ddp/decodable.rs"];
    let missing: Vec<_> = owed
        .into_iter()
        .filter(|(place, _)| !ours.contains(&place.as_str()))
        .filter(|bound| !told.contains(bound))
        .collect();
    assert!(
        missing.is_empty(),
        "docs/budgets.md does not tell of {missing:?}"
    );
}

#[test]
fn every_metric_in_the_table_exists() {
    let all: Vec<_> = CRATES
        .into_iter()
        .chain(["src"])
        .flat_map(sources)
        .collect();
    for row in read("docs/budgets.md")
        .lines()
        .filter(|row| row.starts_with("| "))
    {
        let cell = row
            .trim_end_matches(" |")
            .rsplit(" | ")
            .next()
            .unwrap_or_default();
        for metric in cell.split('`').skip(1).step_by(2) {
            let quoted = format!("\"{metric}\"");
            assert!(
                all.iter().any(|(_, source)| source.contains(&quoted)),
                "there is no {metric}"
            );
        }
    }
}
