//! What of `deploy/` cannot be run here, for want of a container engine and a cluster, is judged by those who know its form.

#[path = "deploy/image.rs"]
mod image;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use harness::{root, tool};

const BINARY: &str = env!("CARGO_BIN_EXE_ddp-edge");
/// The targets of the Dockerfile: the roles that replace an image.
const TARGETS: [&str; 5] = [
    "gateway",
    "accounts",
    "authorization",
    "presence",
    "stream-hub",
];

/// Runs a judge in `deploy/` and expects no complaint.
fn judged(program: &Path, arguments: &[&str]) {
    let output = Command::new(program)
        .args(arguments)
        .current_dir(root().join("deploy"))
        .output()
        .unwrap_or_else(|error| panic!("{}: {error}", program.display()));
    let said = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {said}", program.display());
}

fn read(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn scratch(name: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    drop(fs::remove_dir_all(&folder));
    fs::create_dir_all(&folder).expect("the folder can be made");
    folder
}

#[test]
fn hadolint_takes_the_dockerfile() {
    judged(&tool("hadolint"), &["Dockerfile"]);
}

#[test]
fn yamllint_takes_every_yaml_file() {
    let files = [
        "alerts.yaml",
        "compose.yaml",
        "compose.overlay.yaml",
        "helm-values.yaml",
        "kubernetes.yaml",
        "traefik.yaml",
    ];
    judged(
        &tool("yamllint"),
        &[&["-c", ".yamllint", "--strict"], &files[..]].concat(),
    );
}

#[test]
fn the_compose_files_keep_to_the_specification() {
    let files = [
        "--builtin-schema",
        "vendor.compose-spec",
        "compose.yaml",
        "compose.overlay.yaml",
    ];
    judged(&tool("check-jsonschema"), &files);
}

#[test]
fn the_manifests_keep_to_the_schemas_of_kubernetes() {
    // `sleep` in preStop needs 1.30.
    for version in ["1.30", "1.37"] {
        judged(
            &tool("kubernetes-validate"),
            &["--strict", "-k", version, "kubernetes.yaml"],
        );
    }
}

#[test]
fn systemd_takes_the_unit() {
    let folder = scratch("systemd");
    let unit = read("deploy/systemd/ddp-edge@.service")
        .replace("/usr/local/bin/ddp-edge", BINARY)
        .replace(
            "/etc/ddp-edge/%i.env",
            &root().join("deploy/systemd/gateway.env").to_string_lossy(),
        );
    fs::write(folder.join("ddp-edge@.service"), unit).expect("the folder can be written");
    let instance = folder.join("ddp-edge@gateway.service");
    judged(
        Path::new("/usr/bin/systemd-analyze"),
        &["verify", &instance.to_string_lossy()],
    );
}

#[test]
fn the_example_of_an_environment_file_is_a_configuration() {
    let text = read("deploy/systemd/gateway.env");
    let pairs = text.lines().filter(|line| !line.starts_with('#'));
    let pairs = pairs.filter_map(|line| line.split_once('='));
    let output = Command::new(BINARY)
        .arg("gateway")
        .env_clear()
        .envs(pairs)
        // The last mistake to find: everything before it was understood.
        .env("DDP_EDGE_SHARDS", "0")
        .output()
        .expect("the binary runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        said.contains("1 mistake(s)") && said.contains("DDP_EDGE_SHARDS"),
        "{said}"
    );
}

#[test]
fn every_image_starts_the_role_that_it_replaces() {
    let text = read("deploy/Dockerfile");
    let stages: Vec<_> = text.split("\nFROM ").skip(1).collect();
    for target in TARGETS {
        let stage = stages
            .iter()
            .find(|stage| stage.starts_with(&format!("base AS {target}\n")));
        let stage = stage.unwrap_or_else(|| panic!("no target {target}"));
        assert!(stage.contains(&format!("CMD [\"{target}\"]")), "{stage}");
        let known = Command::new(BINARY).args([target, "--help"]).output();
        assert!(
            known.is_ok_and(|output| output.status.success()),
            "{target} is no command"
        );
    }
    assert!(
        stages
            .last()
            .is_some_and(|stage| stage.starts_with("base AS gateway\n"))
    );
    // What compose builds is there.
    for line in read("deploy/compose.yaml").lines() {
        if let Some(target) = line.trim().strip_prefix("target: ") {
            assert!(TARGETS.contains(&target), "{target}");
        }
    }
}

/// The first steps of the Dockerfile, in a clean folder: what `.dockerignore` lets through is a whole workspace.
#[test]
fn what_the_image_is_built_from_is_whole() {
    let folder = scratch("context");
    let files = Command::new("git")
        .args([
            "ls-files",
            "-z",
            "--cached",
            "--others",
            "--exclude-standard",
        ])
        .current_dir(root())
        .output()
        .expect("git runs");
    let ignored = read(".dockerignore");
    let ignored: Vec<_> = ignored
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .collect();
    let files = String::from_utf8(files.stdout).expect("plain names");
    for name in files.split('\0').filter(|name| !name.is_empty()) {
        let is_below = |rule: &&&str| {
            let rule = rule.trim_start_matches("**/").trim_matches('/');
            name == rule
                || name.starts_with(&format!("{rule}/"))
                || name.contains(&format!("/{rule}/"))
        };
        let from = root().join(name);
        if ignored.iter().any(|rule| is_below(&rule)) || !from.is_file() {
            continue;
        }
        let to = folder.join(name);
        fs::create_dir_all(to.parent().expect("it is in the folder"))
            .expect("the folder can be made");
        fs::copy(from, to).expect("it can be copied");
    }
    for named in ["LICENSE", "NOTICE"] {
        assert!(
            folder.join(named).is_file(),
            "{named} is copied into the image"
        );
    }
    let metadata = Command::new(env!("CARGO"))
        .args([
            "metadata",
            "--locked",
            "--offline",
            "--no-deps",
            "--format-version",
            "1",
        ])
        .current_dir(&folder)
        .output()
        .expect("cargo runs");
    let said = String::from_utf8_lossy(&metadata.stderr);
    assert!(metadata.status.success(), "{said}");
}
