//! The last stages of the Dockerfile, replayed as far as that goes without an engine: their files and nothing else as the
//! root, their user, variables, entry point, command and health check.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use harness::{Edge, free_port, root};

use super::{BINARY, TARGETS, read, scratch};

/// What of its libraries the base image has: libc6 and libgcc-s1.
const LIBRARIES: [&str; 5] = [
    "libc.so.6",
    "libm.so.6",
    "libgcc_s.so.1",
    "ld-linux-x86-64.so.2",
    "ld-linux-aarch64.so.1",
];
/// Of util-linux: makes a folder the root of a process, and its user whom we like, without being root.
const UNSHARE: &str = "/usr/bin/unshare";
/// Of coreutils: the same for root, where containers may not make user namespaces.
const CHROOT: &str = "/usr/sbin/chroot";

/// The instructions of a stage: their words and what follows.
fn stage(head: &str) -> Vec<(String, String)> {
    let text = read("deploy/Dockerfile").replace("\\\n", " ");
    let (_, stage) = text
        .split_once(head)
        .unwrap_or_else(|| panic!("{head} is no stage"));
    let (stage, _) = stage.split_once("\nFROM ").unwrap_or((stage, ""));
    let lines = stage.lines().filter(|line| !line.starts_with('#'));
    let pairs = lines.filter_map(|line| line.split_once(' '));
    pairs
        .map(|(word, rest)| (word.to_owned(), rest.trim().to_owned()))
        .collect()
}

/// What follows an instruction, which stands there once.
fn only<'a>(stage: &'a [(String, String)], word: &str) -> &'a str {
    let found: Vec<_> = stage.iter().filter(|(found, _)| found == word).collect();
    assert_eq!(found.len(), 1, "{word}: {found:?}");
    &found[0].1
}

/// The form that no shell is needed for.
fn words(text: &str) -> Vec<String> {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// Puts the files of the stage, and the base image's libraries, into a folder.
fn files(base: &[(String, String)], folder: &Path) {
    let place = |from: &Path, to: PathBuf| {
        fs::create_dir_all(to.parent().expect("it is in the folder")).expect("a folder");
        // The binary of a test is large.
        if fs::hard_link(from, &to).is_err() {
            fs::copy(from, &to).unwrap_or_else(|error| panic!("{}: {error}", from.display()));
        }
    };
    for (_, rest) in base.iter().filter(|(word, _)| word == "COPY") {
        let named: Vec<_> = rest.split(' ').collect();
        let (to, from) = named.split_last().expect("where to");
        let to = folder.join(to.trim_start_matches('/'));
        match from {
            ["--from=build", _] => place(Path::new(BINARY), to),
            names => names
                .iter()
                .for_each(|name| place(&root().join(name), to.join(name))),
        }
    }
    let output = Command::new("ldd").arg(BINARY).output().expect("ldd runs");
    let text = String::from_utf8(output.stdout).expect("names");
    for library in text.split_whitespace().filter(|word| word.starts_with('/')) {
        let name = Path::new(library)
            .file_name()
            .and_then(|name| name.to_str());
        assert!(
            name.is_some_and(|name| LIBRARIES.contains(&name)),
            "the base image has no {library}"
        );
        // What the name is a link to.
        let real = fs::canonicalize(library).expect("the library is there");
        place(&real, folder.join(library.trim_start_matches('/')));
    }
}

fn listed(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a readable folder").flatten() {
        match entry.path() {
            path if path.is_dir() => found.extend(listed(&path)),
            path => found.push(path),
        }
    }
    found.sort();
    found
}

/// A program and its first arguments that run the others with this folder as the root, as this user.
fn inside(user: &str, folder: &Path) -> (&'static str, Vec<String>) {
    let mut try_out = Command::new(UNSHARE);
    try_out.args(["--map-user=1", "--map-group=1", "/bin/true"]);
    if try_out.status().is_ok_and(|status| status.success()) {
        let arguments = vec![
            format!("--map-user={user}"),
            format!("--map-group={user}"),
            "--keep-caps".to_owned(),
            format!("--root={}", folder.display()),
        ];
        return (UNSHARE, arguments);
    }
    let arguments = vec![
        format!("--userspec={user}:{user}"),
        folder.display().to_string(),
    ];
    (CHROOT, arguments)
}

#[test]
fn every_image_runs_and_is_healthy_with_nothing_but_its_own_files() {
    let base = stage(":nonroot AS base\n");
    let folder = scratch("image");
    files(&base, &folder);
    let before = listed(&folder);

    let user = only(&base, "USER");
    // Kubernetes believes no name to be another user than root.
    assert!(user.parse().is_ok_and(|user: u32| user > 0), "{user}");
    let (program, inside) = inside(user, &folder);
    let run = |command: &[String]| -> Vec<String> { [&inside[..], command].concat() };
    let entry = words(only(&base, "ENTRYPOINT"));
    let (_, health) = only(&base, "HEALTHCHECK")
        .split_once(" CMD ")
        .expect("a command");
    let health = run(&words(health));
    let health: Vec<_> = health.iter().map(String::as_str).collect();
    assert_eq!(only(&base, "ENV"), "PORT=3000");

    let mut commands: Vec<_> = TARGETS
        .map(|target| {
            (
                target,
                words(only(&stage(&format!("base AS {target}\n")), "CMD")),
            )
        })
        .into();
    // And the try-out, as README has it.
    let readme = read("README.md");
    let (_, tried) = readme
        .split_once("ddp-edge-gateway sandbox ")
        .expect("a container is tried out");
    let (options, _) = tried.split_once('`').expect("an end");
    let tried = ["sandbox"].into_iter().chain(options.split(' '));
    commands.push(("sandbox", tried.map(str::to_owned).collect()));
    for (target, command) in commands {
        let command = run(&[entry.clone(), command].concat());
        let command: Vec<_> = command.iter().map(String::as_str).collect();
        let number = free_port();
        let port = number.to_string();
        let environment = [
            ("PORT", port.as_str()),
            ("TRANSPORTER", "nats://127.0.0.1:1"),
            ("MONGO_URL", "mongodb://127.0.0.1:1/rocketchat"),
        ];
        let is_healthy = || Edge::run(program, &health, &[("PORT", &port)]).0 == 0;
        assert!(!is_healthy(), "{target} does not run yet");
        let mut edge = Edge::start(program, &command, &environment);
        edge.wait_for_ok(number, "/livez");
        assert!(is_healthy(), "{target}");
    }
    assert_eq!(listed(&folder), before, "a read-only root would do");
}
