//! The load test as a stranger meets it: its transcript is replayed, on the sandbox as it is and behind nginx with TLS, by the
//! lines for TLS that `deploy/nginx.conf` has.

use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader, Read as _, Seek as _, Write as _},
    net::{Ipv4Addr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
};

use harness::{Client, Edge, eventually, free_port, root};
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

/// One program of the transcript, running.
struct Run {
    child: Child,
    output: BufReader<ChildStdout>,
    errors: File,
    summary: PathBuf,
}

impl Run {
    /// Starts what was typed, on these ports.
    fn start(typed: &str, hosts: [&str; 2], folder: &TempDir, authority: &str) -> Self {
        // Built with the workspace, beside the product.
        let program = Path::new(BINARY).with_file_name("loadtest");
        assert!(program.is_file(), "cargo build -p loadtest comes first");
        let [plain, secure] = hosts;
        let mut command = Command::new(program);
        for word in typed.split(' ').skip(1) {
            match word {
                "https://localhost" => command.arg(format!("https://{secure}")),
                "ws://localhost:3000" => command.arg(format!("ws://{plain}")),
                word => command.arg(word),
            };
        }
        let summary = folder.path().join("summary.json");
        let _ = fs::remove_file(&summary);
        if typed.contains(" chat ") {
            command.args(["--host", plain]);
        } else {
            command.arg("--json").arg(&summary);
            if !typed.contains("--url") {
                command.args(["--url", plain]);
            }
        }
        let errors = tempfile::tempfile().expect("a file");
        let mut child = command
            .env("SSL_CERT_FILE", folder.path().join(authority))
            .env("RUST_BACKTRACE", "0")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(errors.try_clone().expect("a file"))
            .spawn()
            .expect("it runs");
        let output = BufReader::new(child.stdout.take().expect("piped"));
        Self {
            child,
            output,
            errors,
            summary,
        }
    }

    fn type_line(&mut self, line: &str) {
        let input = self.child.stdin.as_mut().expect("piped");
        writeln!(input, "{line}").expect("it reads");
    }

    /// The next line but those that name the machine; empty at the end.
    fn line(&mut self) -> String {
        loop {
            let mut line = String::new();
            self.output.read_line(&mut line).expect("UTF-8");
            if !line.starts_with("machine ") {
                return line.trim_end().to_owned();
            }
        }
    }

    /// Ends the input: what else was said, the summary, and whether it was content.
    fn end(mut self) -> (String, Value, bool) {
        drop(self.child.stdin.take());
        let mut text = String::new();
        self.output.read_to_string(&mut text).expect("UTF-8");
        let is_content = self.child.wait().expect("it ends").success();
        self.errors.rewind().expect("a file");
        self.errors.read_to_string(&mut text).expect("UTF-8");
        let summary = fs::read(&self.summary).ok();
        let summary = summary.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        (text, summary.unwrap_or_default(), is_content)
    }
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
        let mut run = Run::start(&typed, hosts, &folder, "authority.pem");
        for line in lines {
            match line.split_at_checked(2) {
                Some(("> ", written)) => run.type_line(written),
                Some(("< ", shown)) => {
                    // The ports are those of this test.
                    let printed = run.line();
                    let printed = hosts
                        .iter()
                        .fold(printed, |line, host| line.replace(host, "localhost"));
                    let shown = shown.replace("localhost:3000", "localhost");
                    if words(&printed) != words(shown.trim_end()) {
                        panic!("{typed}: {printed:?}, not {shown:?}: {}", run.end().0);
                    }
                }
                _ => {}
            }
        }
        let (rest, summary, is_content) = run.end();
        assert!(is_content && rest.is_empty(), "{typed}: {rest}");
        if typed.contains(" crowd ") {
            assert_eq!(summary["came_in"], summary["clients"], "{summary}");
            assert_eq!(summary["delivered"], summary["expected"], "{summary}");
            let is_silent = typed.contains("--rate 0");
            assert_eq!(summary["delivered"] == 0, is_silent, "{summary}");
            for nothing in ["refused", "not_taken", "closed"] {
                assert_eq!(summary[nothing], json!({}), "{summary}");
            }
        }
        replayed += 1;
    }
    assert_eq!(replayed, 5);

    // Real tokens do too, and who is refused is told why.
    let mut client = Client::open(port);
    let login = json!([{"user": {"username": "bob"}, "password": "bob"}]);
    let token = client.call("login", &login).expect("a demo login")["token"].clone();
    let token = token.as_str().expect("a text");
    let typed = format!("loadtest crowd --clients 2 --rate 0 --seconds 1 --token {token}");
    let (text, summary, is_content) = Run::start(&typed, hosts, &folder, "authority.pem").end();
    assert!(is_content && summary["came_in"] == 2, "{text}");
    let typed = "loadtest crowd --clients 1 --seconds 1 --login alice:wrong";
    let (text, _, is_content) = Run::start(typed, hosts, &folder, "authority.pem").end();
    assert!(!is_content && text.contains("the login of alice"), "{text}");
    assert!(
        text.contains("refused: ") && text.contains("[403]"),
        "{text}"
    );

    // Of somebody for whom nobody vouches it wants nothing.
    let typed = "loadtest crowd --clients 1 --seconds 1 --url https://localhost";
    fs::write(folder.path().join("nobody.pem"), "").expect("a file");
    let run = Run::start(typed, hosts, &folder, "nobody.pem");
    let (text, _, is_content) = run.end();
    assert!(!is_content && text.contains("certificate"), "{text}");
}
