//! nginx and HAProxy with the configurations of `deploy/`, in front of two gateways.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{Ipv4Addr, TcpListener, TcpStream},
    path::Path,
    process::{Child, Command},
    thread,
};

use harness::{Client, Workspace, eventually, free_port, http, root};

const BINARY: &str = env!("CARGO_BIN_EXE_ddp-edge");

/// A proxy that ends with its value.
struct Proxy {
    child: Child,
    port: u16,
    _folder: tempfile::TempDir,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // Politely: both have a process of their own to end.
        let _ = Command::new("kill")
            .arg(self.child.id().to_string())
            .status();
        let _ = self.child.wait();
    }
}

impl Proxy {
    fn nginx(gateways: [u16; 2], monolith: u16) -> Self {
        let site = configuration("deploy/nginx.conf", gateways, monolith);
        Self::start(|folder, port| {
            let site = site.replace("listen 80;", &format!("listen 127.0.0.1:{port};"));
            let place = folder.display();
            let text = format!(
                "daemon off; pid {place}/pid; error_log {place}/errors; events {{}}\n\
                 http {{ access_log off; client_body_temp_path {place}/b; proxy_temp_path {place}/p; \
                 fastcgi_temp_path {place}/f; uwsgi_temp_path {place}/u; scgi_temp_path {place}/s;\n{site}\n}}"
            );
            fs::write(folder.join("nginx.conf"), text).expect("a file");
            let mut command = Command::new("/usr/sbin/nginx");
            command.arg("-c").arg(folder.join("nginx.conf"));
            command.arg("-p").arg(folder);
            command
        })
    }

    fn haproxy(gateways: [u16; 2], monolith: u16) -> Self {
        let text = configuration("deploy/haproxy.cfg", gateways, monolith);
        Self::start(|folder, port| {
            let text = text
                .replace("bind :80", &format!("bind 127.0.0.1:{port}"))
                .replace("maxconn 100000", "maxconn 100");
            fs::write(folder.join("haproxy.cfg"), text).expect("a file");
            let mut command = Command::new("/usr/sbin/haproxy");
            command.arg("-db").arg("-f").arg(folder.join("haproxy.cfg"));
            command
        })
    }

    fn start(prepare: impl FnOnce(&Path, u16) -> Command) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let port = free_port();
        let child = prepare(folder.path(), port).spawn();
        let child =
            child.expect("the proxy is installed (scripts/tools, Debian: nginx-light, haproxy)");
        let proxy = Self {
            child,
            port,
            _folder: folder,
        };
        eventually("the proxy", || {
            TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok()
        });
        proxy
    }
}

/// A configuration of ours with the places of this test.
fn configuration(path: &str, gateways: [u16; 2], monolith: u16) -> String {
    let text = fs::read_to_string(root().join(path)).expect("a configuration");
    let [first, second] = gateways.map(|port| format!("127.0.0.1:{port}"));
    let replaced = text
        .replace("127.0.0.1:3000", &first)
        .replace("127.0.0.1:3001", &second)
        .replace("127.0.0.1:3010", &format!("127.0.0.1:{monolith}"));
    assert_eq!(
        replaced.matches(&*first).count(),
        1,
        "both gateways are named"
    );
    assert_eq!(
        replaced.matches(&*second).count(),
        1,
        "both gateways are named"
    );
    replaced
}

/// Whoever answers what is not for a gateway; it swallows what it gets and says so.
fn monolith() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let port = listener.local_addr().expect("an address").port();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || swallow(stream));
        }
    });
    port
}

fn swallow(mut stream: TcpStream) -> std::io::Result<()> {
    let mut seen = Vec::new();
    let mut chunk = [0; 65_536];
    let (mut head, mut wanted) = (None, usize::MAX);
    while head.is_none_or(|head| seen.len() < head + wanted) {
        let read = stream.read(&mut chunk)?;
        if read == 0 {
            return Ok(());
        }
        seen.extend_from_slice(&chunk[..read]);
        if head.is_none()
            && let Some(end) = seen.windows(4).position(|window| window == b"\r\n\r\n")
        {
            let text = String::from_utf8_lossy(&seen[..end]).to_ascii_lowercase();
            let length = text
                .lines()
                .find_map(|line| line.strip_prefix("content-length: "));
            wanted = length
                .and_then(|length| length.trim().parse().ok())
                .unwrap_or(0);
            head = Some(end + 4);
        }
    }
    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\nConnection: close\r\n\r\nmonolith")
}

fn upload(port: u16, bytes: usize) -> String {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("the proxy");
    let head =
        format!("POST /api/v1/rooms.upload HTTP/1.1\r\nHost: x\r\nContent-Length: {bytes}\r\n\r\n");
    stream.write_all(head.as_bytes()).expect("a head");
    // A proxy that refuses stops reading.
    let _ = stream.write_all(&vec![b'x'; bytes]);
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).expect("an answer");
    String::from_utf8_lossy(&answer).into_owned()
}

fn behind(start: fn([u16; 2], u16) -> Proxy) {
    let workspace = Workspace::start(&[]);
    let gateway = || workspace.gateway(BINARY, &[("HTTP_FORWARDED_COUNT", "1")]);
    let (mut first, second) = (gateway(), gateway());
    let proxy = start([first.port, second.port], monolith());

    // Both paths are upgraded, and what only looks like them is the monolith's.
    drop(Client::open(proxy.port));
    drop(Client::open_sockjs(proxy.port));
    for path in ["/", "/websocketfoo", "/sockjsfoo", "/api/info"] {
        assert_eq!(http::get(proxy.port, path).body, "monolith", "{path}");
    }
    assert!(
        http::get(proxy.port, "/sockjs/info")
            .body
            .contains("websocket")
    );
    assert_eq!(upload(proxy.port, 5 << 20), "HTTP/1.1 200");

    // Long cookies pass.
    let cookie = "x".repeat(12_000);
    let answer = http::request(proxy.port, "GET", "/sockjs/info", &[("Cookie", &cookie)]);
    assert_eq!(answer.status, 200);

    // The end of one gateway closes its sockets and nobody is sent there any more.
    first.edge.kill9();
    for _ in 0..8 {
        let mut client = eventually("another gateway", || {
            Client::upgrade(proxy.port, "/websocket", &[]).ok()
        });
        client.connect();
    }
}

#[test]
fn nginx_brings_clients_to_the_gateways() {
    behind(Proxy::nginx);
}

#[test]
fn haproxy_brings_clients_to_the_gateways() {
    behind(Proxy::haproxy);
}
