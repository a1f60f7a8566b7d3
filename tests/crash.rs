//! Kill -9 at any moment: the sandbox comes back with everything it has acknowledged, and with a whole workspace.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::PathBuf,
    sync::mpsc::{self, SyncSender},
    thread,
    time::Duration,
};

use harness::{Edge, free_port};
use serde_json::{Value, json};

const BINARY: &str = env!("CARGO_BIN_EXE_ddp-edge");

/// Acknowledged messages after which each life ends.
const LIVES: [usize; 8] = [1, 17, 60, 5, 130, 33, 210, 90];
const WRITERS: usize = 4;
/// Messages of one writer in one life: what one page of history holds.
const MESSAGES_MAX: usize = 100;

#[test]
fn no_acknowledged_message_is_lost_by_kill_9_under_load() {
    let data = folder("load");
    let mut acknowledged: Vec<(String, String)> = Vec::new();
    for (life, &last) in LIVES.iter().enumerate() {
        let (port, mut edge) = start(&data);
        let (sender, answers) = mpsc::sync_channel(WRITERS * MESSAGES_MAX);
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let (name, sender) = (format!("life-{life}-{writer}"), sender.clone());
                // It ends with the connection.
                thread::spawn(move || drop(write(port, &name, &sender)))
            })
            .collect();
        drop(sender);
        acknowledged.extend(answers.iter().take(last));
        edge.kill9();
        for writer in writers {
            writer.join().expect("a writer does not panic");
        }
        // Acknowledged between the decision and the death.
        acknowledged.extend(answers.iter());
        verify(&data, &acknowledged);
    }
    assert!(acknowledged.len() >= LIVES.iter().sum());
}

#[test]
fn a_first_start_that_is_cut_short_is_made_good_by_the_next() {
    for step in 0..8 {
        let data = folder(&format!("seed-{step}"));
        let port = free_port().to_string();
        let mut edge = Edge::start(BINARY, &["--data", &data, "--port", &port], &[]);
        // The moment is the point: there is nothing to wait for.
        thread::sleep(Duration::from_millis(20 * step));
        edge.kill9();
        let (port, _edge) = start(&data);
        for (name, rooms) in [("alice", 4), ("bob", 4), ("carol", 1), ("dave", 1)] {
            let mut rest = Rest::log_in(port, name).expect("an answer");
            let list = rest.call("rooms/get", json!([])).expect("an answer");
            assert_eq!(list.as_array().map(Vec::len), Some(rooms), "{name}: {list}");
        }
    }
}

fn folder(name: &str) -> String {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("crash-{name}"));
    let _ = std::fs::remove_dir_all(&path);
    path.to_str().expect("UTF-8").to_owned()
}

fn start(data: &str) -> (u16, Edge) {
    let port = free_port();
    let arguments = ["--data", data, "--port", &port.to_string()];
    let mut edge = Edge::start(BINARY, &arguments, &[("MOLECULER_LOG_LEVEL", "warn")]);
    edge.wait_for_ok(port, "/readyz");
    (port, edge)
}

/// Makes a room and writes until the connection ends; tells of each message that was acknowledged: room and id.
fn write(port: u16, name: &str, acknowledged: &SyncSender<(String, String)>) -> io::Result<()> {
    let mut rest = Rest::log_in(port, "alice")?;
    let made = rest.call("createChannel", json!([name]))?;
    let room = made["rid"].as_str().expect("a room id").to_owned();
    for number in 0..MESSAGES_MAX {
        let id = format!("{name}-{number}");
        let message = json!([{ "_id": id, "rid": room, "msg": text(&id) }]);
        let sent = rest.call("sendMessage", message)?;
        assert_eq!(sent["_id"], id, "{sent}");
        let _ = acknowledged.send((room.clone(), id));
    }
    Ok(())
}

fn text(id: &str) -> String {
    format!("text of {id}")
}

/// Starts on this data and looks every message up: there once, and whole.
fn verify(data: &str, acknowledged: &[(String, String)]) {
    let (port, _edge) = start(data);
    let mut rest = Rest::log_in(port, "alice").expect("an answer");
    let mut page = (String::new(), Value::Null);
    let mut sorted: Vec<_> = acknowledged.iter().collect();
    sorted.sort();
    for (room, id) in sorted {
        if page.0 != *room {
            let history = rest.call("loadHistory", json!([room, null, MESSAGES_MAX]));
            page = (room.clone(), history.expect("an answer"));
        }
        let messages = page.1["messages"].as_array().expect("a list");
        let found: Vec<_> = messages.iter().filter(|m| m["_id"] == **id).collect();
        assert_eq!(found.len(), 1, "{id} among {} messages", messages.len());
        assert_eq!(found[0]["msg"], text(id));
    }
}

/// Methods over HTTP, on one connection.
struct Rest {
    socket: BufReader<TcpStream>,
    port: u16,
    credentials: String,
}

impl Rest {
    fn log_in(port: u16, name: &str) -> io::Result<Self> {
        let mut rest = Self {
            socket: BufReader::new(TcpStream::connect(("127.0.0.1", port))?),
            port,
            credentials: String::new(),
        };
        let login = json!({ "user": name, "password": name });
        let answer = rest.post("/api/v1/login", &login)?;
        let text = |field: &str| {
            answer["data"][field]
                .as_str()
                .unwrap_or_default()
                .to_owned()
        };
        let (user, token) = (text("userId"), text("authToken"));
        rest.credentials = format!("X-User-Id: {user}\r\nX-Auth-Token: {token}\r\n");
        Ok(rest)
    }

    fn call(&mut self, method: &str, params: Value) -> io::Result<Value> {
        let message = json!({ "msg": "method", "id": "1", "method": method, "params": params });
        let path = format!("/api/v1/method.call/{}", method.replace('/', ":"));
        let answer = self.post(&path, &json!({ "message": message.to_string() }))?;
        assert_eq!(answer["success"], true, "{method}: {answer}");
        let message = answer["message"].as_str().expect("a message");
        let message: Value = serde_json::from_str(message).expect("JSON");
        Ok(message["result"].clone())
    }

    fn post(&mut self, path: &str, body: &Value) -> io::Result<Value> {
        let (body, port, credentials) = (body.to_string(), self.port, &self.credentials);
        let length = body.len();
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n{credentials}Content-Length: {length}\r\n\r\n{body}"
        );
        self.socket.get_mut().write_all(request.as_bytes())?;
        let mut length = 0;
        loop {
            let mut line = String::new();
            if self.socket.read_line(&mut line)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let line = line.trim_end().to_ascii_lowercase();
            if let Some(value) = line.strip_prefix("content-length: ") {
                length = value.parse().expect("a number");
            }
            if line.is_empty() {
                break;
            }
        }
        let mut body = vec![0; length];
        self.socket.read_exact(&mut body)?;
        Ok(serde_json::from_slice(&body).expect("JSON"))
    }
}
