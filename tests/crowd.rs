//! The load test as a stranger meets it: its transcript is replayed, on the sandbox as it is and behind nginx with TLS, by the
//! lines for TLS that `deploy/nginx.conf` has.

use std::{
    fs,
    net::{Ipv4Addr, TcpStream},
    path::Path,
    process::{Child, Command},
};

use harness::{Edge, eventually, free_port, root};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use serde_json::{Value, json};
use tempfile::TempDir;

const BINARY: &str = env!("CARGO_BIN_EXE_ddp-edge");
const TRANSCRIPT: &str = include_str!("../loadtest/transcript.txt");

/// nginx with TLS in front of the sandbox; ends with the test.
struct Proxy(Child);

impl Drop for Proxy {
    fn drop(&mut self) {
        let id = self.0.id().to_string();
        let _ = Command::new("kill").arg(id).status();
        let _ = self.0.wait();
    }
}

/// A certificate for this machine, and in `authority.pem` who vouches for it.
fn certify(folder: &Path) {
    let mut params = CertificateParams::new(Vec::new()).expect("no names");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().expect("a key");
    let authority = CertifiedIssuer::self_signed(params, key).expect("an authority");
    let key = KeyPair::generate().expect("a key");
    let names = vec!["localhost".to_owned()];
    let params = CertificateParams::new(names).expect("one name");
    let certificate = params.signed_by(&key, &authority).expect("a certificate");
    for (name, text) in [
        ("authority.pem", authority.pem()),
        ("chat.pem", certificate.pem()),
        ("chat.key", key.serialize_pem()),
    ] {
        fs::write(folder.join(name), text).expect("a file");
    }
}

fn nginx(folder: &Path, gateway: u16) -> (Proxy, u16) {
    let (plain, secure) = (free_port(), free_port());
    let place = folder.display().to_string();
    let site = fs::read_to_string(root().join("deploy/nginx.conf")).expect("a configuration");
    let mut text = site;
    for (from, to) in [
        ("listen 80;", format!("listen 127.0.0.1:{plain};")),
        (
            "# listen 443 ssl;",
            format!("listen 127.0.0.1:{secure} ssl;"),
        ),
        ("# ssl_certificate ", "ssl_certificate ".to_owned()),
        ("# ssl_certificate_key", "ssl_certificate_key".to_owned()),
        ("/etc/ssl/", format!("{place}/")),
        ("127.0.0.1:3000", format!("127.0.0.1:{gateway}")),
        ("127.0.0.1:3001", format!("127.0.0.1:{gateway}")),
        ("127.0.0.1:3010", format!("127.0.0.1:{gateway}")),
    ] {
        assert!(text.contains(from), "deploy/nginx.conf has {from}");
        text = text.replace(from, &to);
    }
    let text = format!(
        "daemon off; pid {place}/pid; error_log {place}/errors; events {{}}\n\
         http {{ access_log off; client_body_temp_path {place}/b; proxy_temp_path {place}/p; \
         fastcgi_temp_path {place}/f; uwsgi_temp_path {place}/u; scgi_temp_path {place}/s;\n{text}\n}}"
    );
    fs::write(folder.join("nginx.conf"), text).expect("a file");
    let child = Command::new("/usr/sbin/nginx")
        .arg("-c")
        .arg(folder.join("nginx.conf"))
        .arg("-p")
        .arg(folder)
        .spawn();
    let proxy = Proxy(child.expect("nginx is installed (Debian: nginx-light)"));
    eventually("nginx", || {
        TcpStream::connect((Ipv4Addr::LOCALHOST, secure)).ok()
    });
    (proxy, secure)
}

/// What stays the same from machine to machine: the words between the figures.
fn words(text: &str) -> Vec<&str> {
    let pieces = text.split(|c: char| c.is_ascii_digit() || c == '.');
    pieces.filter(|piece| !piece.is_empty()).collect()
}

/// Runs what was typed, on these ports: what it printed, its summary, and whether it was content.
fn run(typed: &str, hosts: [&str; 2], folder: &TempDir, authority: &str) -> (String, Value, bool) {
    // Built with the workspace, beside the product.
    let program = Path::new(BINARY).with_file_name("loadtest");
    assert!(program.is_file(), "cargo build -p loadtest comes first");
    let [plain, secure] = hosts;
    let json = folder.path().join("summary.json");
    let _ = fs::remove_file(&json);
    let mut command = Command::new(program);
    for word in typed.split(' ').skip(1) {
        match word {
            "https://localhost" => command.arg(format!("https://{secure}")),
            word => command.arg(word),
        };
    }
    if !typed.contains("--url") {
        command.args(["--url", plain]);
    }
    let output = command
        .arg("--json")
        .arg(&json)
        .env("SSL_CERT_FILE", folder.path().join(authority))
        .env("RUST_BACKTRACE", "0")
        .output()
        .expect("it runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    let summary = fs::read(&json).ok();
    let summary = summary.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    (text, summary.unwrap_or_default(), output.status.success())
}

#[test]
fn a_stranger_sees_what_the_transcript_shows_over_ws_and_wss() {
    let folder = tempfile::tempdir().expect("a folder");
    certify(folder.path());
    let port = free_port();
    let mut edge = Edge::start(BINARY, &["--ephemeral", "--port", &port.to_string()], &[]);
    edge.wait_for_ok(port, "/readyz");
    let (_nginx, secure) = nginx(folder.path(), port);
    let hosts = [format!("localhost:{port}"), format!("localhost:{secure}")];
    let hosts = hosts.each_ref().map(String::as_str);

    let mut replayed = 0;
    for part in TRANSCRIPT.split("\n$ loadtest").skip(1) {
        let mut lines = part.lines();
        let typed = format!("loadtest{}", lines.next().expect("what was typed"));
        let shown: Vec<_> = lines.filter_map(|line| line.strip_prefix("< ")).collect();
        let (text, summary, is_content) = run(&typed, hosts, &folder, "authority.pem");
        assert!(is_content, "{typed}: {text}");
        // The ports are those of this test.
        let printed = hosts
            .iter()
            .fold(text.clone(), |text, host| text.replace(host, "localhost"));
        let shown = shown.join("\n").replace("localhost:3000", "localhost");
        assert_eq!(words(printed.trim()), words(&shown), "{typed}");
        assert_eq!(summary["came_in"], summary["clients"], "{text}");
        assert_eq!(summary["delivered"], summary["expected"], "{text}");
        assert!(summary["delivered"].as_u64() > Some(0), "{text}");
        for nothing in ["refused", "not_taken", "closed"] {
            assert_eq!(summary[nothing], json!({}), "{text}");
        }
        replayed += 1;
    }
    assert_eq!(replayed, 2);

    // Of somebody for whom nobody vouches it wants nothing.
    let typed = "loadtest crowd --clients 1 --seconds 1 --url https://localhost";
    fs::write(folder.path().join("nobody.pem"), "").expect("a file");
    let (text, _, is_content) = run(typed, hosts, &folder, "nobody.pem");
    assert!(!is_content && text.contains("certificate"), "{text}");
}
