//! CONFIG.md says what the binary reads: every variable with its default and meaning, and nothing else.

use std::{fs, path::Path};

/// The rows of the table in the source, which is data: `var("NAME", "default", Group, "meaning"),`.
fn variables() -> Vec<(String, String, String)> {
    let source =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/config/table.rs"))
            .expect("the table");
    // Formatting may break a row over several lines.
    let flat = source.split_whitespace().collect::<Vec<_>>().join(" ");
    flat.split("var(")
        .skip(1)
        .filter_map(|row| {
            let mut strings = row.split('"').skip(1).step_by(2);
            Some((
                strings.next()?.to_owned(),
                strings.next()?.to_owned(),
                strings.next()?.to_owned(),
            ))
        })
        .filter(|(name, ..)| {
            name.chars()
                .all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')
        })
        .collect()
}

#[test]
fn config_md_lists_every_variable_with_its_default_and_meaning() {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("CONFIG.md"))
        .expect("CONFIG.md");
    let variables = variables();
    assert!(variables.len() > 30, "the table's shape has changed");
    let rows: Vec<&str> = text
        .lines()
        .filter(|line| line.starts_with("| `"))
        .collect();
    let mut wrong = Vec::new();
    for (name, default, meaning) in &variables {
        let default = if default.is_empty() {
            String::new()
        } else {
            format!("`{default}`")
        };
        let row = format!("| `{name}` | {default} | {meaning} |");
        if !rows.contains(&row.as_str()) {
            wrong.push(row);
        }
    }
    assert!(
        wrong.is_empty(),
        "rows missing or different in CONFIG.md:\n{}",
        wrong.join("\n")
    );
    assert_eq!(
        rows.len(),
        variables.len(),
        "CONFIG.md has rows that the binary does not know"
    );
}
