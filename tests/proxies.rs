//! nginx, HAProxy and Traefik with the configurations of `deploy/`, in front of two gateways.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{Ipv4Addr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command},
    thread,
    time::{Duration, Instant},
};

use harness::{Client, Workspace, eventually, free_port, http, root, tool};

const BINARY: &str = env!("CARGO_BIN_EXE_ddp-edge");

/// A proxy that ends with its value.
struct Proxy {
    child: Child,
    port: u16,
    reload: Reload,
    _folder: tempfile::TempDir,
}

/// How it is told to read its configuration again.
enum Reload {
    Signal(&'static str),
    /// It watches this file.
    Touch(PathBuf),
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // Politely: some have processes of their own to end.
        self.signal("TERM");
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
            (command, Reload::Signal("HUP"))
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
            command.args(["-W", "-db"]);
            command.arg("-f").arg(folder.join("haproxy.cfg"));
            (command, Reload::Signal("USR2"))
        })
    }

    fn traefik(gateways: [u16; 2], monolith: u16) -> Self {
        let text = configuration("deploy/traefik.yaml", gateways, monolith);
        Self::start(|folder, port| {
            let file = folder.join("traefik.yaml");
            fs::write(&file, text).expect("a file");
            let mut command = Command::new(tool("traefik"));
            command.arg(format!("--entrypoints.web.address=127.0.0.1:{port}"));
            command.arg(format!("--providers.file.filename={}", file.display()));
            command.args([
                "--global.checknewversion=false",
                "--global.sendanonymoususage=false",
            ]);
            (command, Reload::Touch(file))
        })
    }

    fn start(prepare: impl FnOnce(&Path, u16) -> (Command, Reload)) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let port = free_port();
        let (mut command, reload) = prepare(folder.path(), port);
        let child = command.spawn();
        let child =
            child.expect("the proxy is installed (scripts/tools, Debian: nginx-light, haproxy)");
        let proxy = Self {
            child,
            port,
            reload,
            _folder: folder,
        };
        eventually("the proxy", || {
            TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok()
        });
        proxy
    }

    fn signal(&self, signal: &str) {
        let _ = Command::new("kill")
            .args(["-s", signal, &self.child.id().to_string()])
            .status();
    }

    fn reload(&self) {
        match &self.reload {
            Reload::Signal(signal) => self.signal(signal),
            Reload::Touch(file) => {
                let text = fs::read_to_string(file).expect("it is there");
                fs::write(file, text + "\n# again\n").expect("it can be written");
            }
        }
    }

    /// A socket at the first attempt: nobody may be sent where nobody listens.
    fn open(&self) -> Client {
        let answer = Client::upgrade(self.port, "/websocket", &[]);
        answer.unwrap_or_else(|answer| panic!("refused: {answer:?}"))
    }

    /// The same with a session.
    fn connect(&self) -> Client {
        let mut client = self.open();
        client.connect();
        client
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
    // A proxy that asks for health has done so.
    eventually("the gateways are in use", || {
        Client::upgrade(proxy.port, "/websocket", &[]).ok()
    });

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

    // A reload ends nobody, and lets others in.
    let mut before = proxy.connect();
    proxy.reload();
    for _ in 0..8 {
        drop(proxy.connect());
    }
    before.settle();

    // The end of one gateway under traffic, politely: its clients are told, and everybody gets in meanwhile, even if only to
    // be told.
    let user = workspace.user(&["user"]);
    let opened = Instant::now();
    let mut clients: Vec<_> = (0..8).map(|_| proxy.connect()).collect();
    for client in &mut clients {
        client.login(&user.token);
    }
    first.edge.signal("TERM");
    let ended = thread::scope(|scope| {
        let ending = scope.spawn(|| first.edge.wait_for_end());
        while !ending.is_finished() {
            drop(proxy.open());
        }
        ending.join().expect("it ends")
    });
    assert!(ended.success(), "{ended:?}");
    clients.retain_mut(|client| client.end().is_none());
    assert!(
        (1..8).contains(&clients.len()),
        "{} of 8 stay where they are",
        clients.len()
    );
    let mut idle = clients.swap_remove(0);

    // It is back at the same place, and ends without notice: nobody is sent there any more.
    let environment = [
        ("HTTP_FORWARDED_COUNT", "1"),
        ("PORT", &*first.port.to_string()),
    ];
    let mut again = workspace.gateway(BINARY, &environment);
    let took = || again.metric("users_connected", &[]) > 0.0;
    let mut clients = Vec::new();
    eventually("it is in use again", || {
        clients.push(proxy.connect());
        took().then_some(())
    });
    again.edge.kill9();
    for _ in 0..8 {
        let mut client = eventually("another gateway", || {
            Client::upgrade(proxy.port, "/websocket", &[]).ok()
        });
        client.connect();
    }

    // Idle for longer than proxies wait by default, but for our pings.
    while opened.elapsed() < IDLE {
        assert_eq!(idle.end(), None, "after {:?}", opened.elapsed());
        thread::sleep(Duration::from_millis(200));
    }
    idle.settle();
}

/// Longer than the 60 s that proxies wait by default.
const IDLE: Duration = Duration::from_secs(65);

#[test]
fn nginx_brings_clients_to_the_gateways() {
    behind(Proxy::nginx);
}

#[test]
fn haproxy_brings_clients_to_the_gateways() {
    behind(Proxy::haproxy);
}

#[test]
fn traefik_brings_clients_to_the_gateways() {
    behind(Proxy::traefik);
}

/// One proxy in front, and gateways that were told of none and of two.
#[test]
fn a_wrong_number_of_proxies_is_said_once() {
    let workspace = Workspace::start(&[]);
    let none = workspace.gateway(BINARY, &[]);
    let two = workspace.gateway(BINARY, &[("HTTP_FORWARDED_COUNT", "2")]);
    let proxy = Proxy::nginx([none.port, two.port], monolith());
    for _ in 0..8 {
        drop(proxy.connect());
    }
    for (gateway, line) in [
        (&none, "HTTP_FORWARDED_COUNT is 0"),
        (&two, "fewer hops in X-Forwarded-For"),
    ] {
        gateway.edge.wait_for_line(line);
        let output = gateway.edge.output();
        assert_eq!(
            output.iter().filter(|said| said.contains(line)).count(),
            1,
            "{line}"
        );
    }
}
