//! What the documents for operators promise: everything that can be said is named, and the commands work.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use harness::{Workspace, free_port, root};
use protocol::{close::CloseReason, limits::Limits};
use serde_json::Value;

const BINARY: &str = env!("CARGO_BIN_EXE_ddp-edge");

fn guide() -> String {
    fs::read_to_string(root().join("docs/operators.md")).expect("the guide is there")
}

/// The product's sources without their tests.
fn sources() -> Vec<(PathBuf, String)> {
    let mut waiting: Vec<_> = [
        "src",
        "gateway/src",
        "services/src",
        "services/store/src",
        "backplane/src",
        "protocol/src",
    ]
    .map(|folder| root().join(folder))
    .into();
    let mut sources = Vec::new();
    while let Some(path) = waiting.pop() {
        if path.ends_with("tests") || path.ends_with("tests.rs") {
            continue;
        }
        if path.is_dir() {
            let inside = fs::read_dir(&path).expect("it can be read");
            waiting.extend(inside.map(|entry| entry.expect("it can be read").path()));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).expect("it can be read");
            let product = text.split("#[cfg(test)]\nmod tests {").next();
            sources.push((path.clone(), product.unwrap_or_default().to_owned()));
        }
    }
    sources
}

/// What stands between a parenthesis that has just been opened and its end.
fn in_parentheses(text: &str) -> &str {
    let (mut depth, mut in_text, mut escaped) = (1, false, false);
    for (at, character) in text.char_indices() {
        match character {
            _ if escaped => escaped = false,
            '\\' if in_text => escaped = true,
            '"' => in_text = !in_text,
            '(' if !in_text => depth += 1,
            ')' if !in_text => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return &text[..at];
        }
    }
    text
}

/// The text literals of a piece of source.
fn literals(source: &str) -> Vec<&str> {
    source.split('"').skip(1).step_by(2).collect()
}

#[test]
fn every_close_reason_is_in_the_guide_as_it_is() {
    let guide = guide();
    for reason in CloseReason::ALL {
        let code = reason.code(&Limits::default());
        let code = code.map_or_else(|| "–".to_owned(), |code| code.to_string());
        let text = match reason.text() {
            "" => " ".to_owned(),
            text => format!(" {text} "),
        };
        let row = format!(
            "| `{}` | {code} |{text}| {} |",
            reason.label(),
            reason.blame().label()
        );
        assert!(guide.contains(&row), "the guide has no row {row}");
    }
}

#[test]
fn every_line_at_warn_and_above_is_in_the_guide() {
    let guide = guide();
    let rows: Vec<_> = guide
        .lines()
        .filter(|line| line.contains("| warn |") || line.contains("| error |"))
        .filter_map(|line| line.split('`').nth(1))
        .collect();
    let (mut missing, mut said) = (Vec::new(), 0);
    for (path, source) in sources() {
        for start in [
            "tracing::warn!(",
            "tracing::error!(",
            "complaints.warn(",
            "COMPLAINTS.warn(",
            "complain(",
        ] {
            for call in source.split(start).skip(1) {
                for text in literals(in_parentheses(call)).into_iter().rev().take(1) {
                    let is_built = text.starts_with('{') && text.ends_with('}');
                    said += 1;
                    if !is_built && !rows.iter().any(|row| text.contains(row)) {
                        missing.push(format!("{}: {text}", path.display()));
                    }
                }
            }
        }
    }
    assert!(said > 40, "only {said} lines were found in the sources");
    assert!(missing.is_empty(), "the guide lacks {missing:#?}");
    let all: String = sources().into_iter().map(|(_, source)| source).collect();
    let stale: Vec<_> = rows.iter().filter(|row| !all.contains(**row)).collect();
    assert!(stale.is_empty(), "nothing says {stale:#?}");
}

#[test]
fn every_check_of_doctor_and_every_reason_to_refuse_is_in_the_guide() {
    let guide = guide();
    let mut names = BTreeSet::new();
    for (path, source) in sources() {
        if path.starts_with(root().join("src/doctor")) {
            let of_check = |text: &&str| {
                let parts: Vec<_> = text.split('.').collect();
                let is_word = |part: &&str| {
                    !part.is_empty()
                        && part
                            .bytes()
                            .all(|byte| byte.is_ascii_lowercase() || byte == b'_')
                };
                parts.len() == 2 && parts.iter().all(is_word)
            };
            names.extend(
                literals(&source)
                    .into_iter()
                    .filter(of_check)
                    .map(str::to_owned),
            );
        }
        for start in ["metrics::refused("] {
            for call in source.split(start).skip(1) {
                names.extend(
                    literals(in_parentheses(call))
                        .into_iter()
                        .map(str::to_owned),
                );
            }
        }
    }
    assert!(names.len() > 15, "{names:?}");
    let missing: Vec<_> = names
        .iter()
        .filter(|name| !guide.contains(&format!("`{name}`")))
        .collect();
    assert!(missing.is_empty(), "the guide lacks {missing:?}");
}

#[test]
fn the_commands_of_the_guide_work() {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("guide");
    fs::create_dir_all(&folder).expect("the folder can be made");
    let token = folder.join("admin.token");
    fs::write(&token, "a-token-of-more-than-16-bytes\n").expect("it can be written");
    let (workspace, admin) = (Workspace::start(&[]), free_port());
    let listen = format!("127.0.0.1:{admin}");
    let token_path = token.to_str().expect("a plain path");
    let environment = [
        ("DDP_EDGE_ADMIN_LISTEN", &*listen),
        ("DDP_EDGE_ADMIN_TOKEN_FILE", token_path),
    ];
    let _gateway = workspace.gateway(BINARY, &environment);
    let guide = guide();
    let blocks = guide.split("\n```sh\n").skip(1);
    let mut ran = 0;
    for block in blocks.filter_map(|block| block.split("\n```").next()) {
        let script = block
            .replace("nats://nats:4222", &workspace.nats.url())
            .replace(
                "mongodb://mongo/rocketchat",
                &format!("'{}'", workspace.mongo_url()),
            )
            .replace("127.0.0.1:9470", &listen)
            .replace("/etc/ddp-edge/admin.token", token_path)
            // Every answer but 200 is a failure.
            .replace("curl ", "curl -sSf ");
        let binary = Path::new(BINARY).parent().expect("it is in a folder");
        let output = Command::new("bash")
            .args(["-euo", "pipefail", "-c", &script])
            .env("PATH", format!("{}:/usr/bin:/bin", binary.display()))
            .env("PORT", free_port().to_string())
            .output()
            .expect("bash runs");
        let said = String::from_utf8_lossy(&output.stdout).into_owned()
            + &String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{script}\n{said}");
        ran += 1;
    }
    assert!(ran >= 2, "the guide has {ran} blocks of commands");
}

#[test]
fn every_metric_that_operators_are_told_of_is_on_some_page() {
    let (sources, list) = (sources(), include_str!("metrics.txt"));
    let is_known = |name: &str| {
        let quoted = format!("\"{name}\"");
        list.lines()
            .any(|line| line.split(' ').next() == Some(name))
            || sources.iter().any(|(_, text)| text.contains(&quoted))
    };
    let mut missing = BTreeSet::new();
    for file in ["docs/operators.md", "deploy/alerts.yaml"] {
        let text = fs::read_to_string(root().join(file)).expect("it is there");
        let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let ours = |word: &&str| {
            ["ddp_edge_", "moleculer_", "users_"]
                .iter()
                .any(|start| word.starts_with(start))
        };
        for name in words.filter(ours) {
            let views = ["_bucket", "_sum", "_count", "_rate"];
            let whole = views.iter().find_map(|view| name.strip_suffix(view));
            if !is_known(name) && !whole.is_some_and(is_known) {
                missing.insert(format!("{file}: {name}"));
            }
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
}

#[test]
fn the_bill_of_materials_names_what_is_in_the_lock_file() {
    let output = Command::new(root().join("scripts/sbom"))
        .output()
        .expect("it runs");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let bill: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let lock = fs::read_to_string(root().join("Cargo.lock")).expect("it is there");
    let components = bill["components"].as_array().expect("components");
    assert!(components.len() > 100, "{}", components.len());
    for component in components {
        let text = |name: &str| component[name].as_str().expect("a text");
        let entry = format!(
            "name = \"{}\"\nversion = \"{}\"\n",
            text("name"),
            text("version")
        );
        assert!(lock.contains(&entry), "{component}");
        assert!(component["licenses"].is_array(), "{component}");
    }
    let names: BTreeSet<_> = components
        .iter()
        .filter_map(|component| component["name"].as_str())
        .collect();
    for (is_in, name) in [
        (true, "async-nats"),
        (true, "mongodb"),
        (false, "tungstenite"),
        (false, "criterion"),
    ] {
        assert_eq!(names.contains(name), is_in, "{name}");
    }
}
