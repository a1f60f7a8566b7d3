//! A DDP client that shows everything: the messages in their order, the close code, the bytes.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use serde::de::IgnoredAny;
use serde_json::{Value, json};
use tungstenite::protocol::{Role, WebSocketConfig};
use tungstenite::{Error, Message, WebSocket};

use crate::framing::Framing;
use crate::http::{self, Answer};

/// How long a message or the end of a connection may take to come.
const PATIENCE: Duration = Duration::from_secs(60);
/// The key of RFC 6455 1.3; nobody needs another one here.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

/// One connection. Answers pings by itself; everything else waits until it is asked for.
pub struct Client {
    socket: WebSocket<TcpStream>,
    framing: Framing,
    /// What has come and was not taken yet.
    received: VecDeque<Value>,
    /// The texts of all stream events so far, for when every byte counts.
    events: Vec<String>,
    end: Option<Closed>,
    answers_pings: bool,
    ids: u32,
}

/// How a connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Closed {
    /// `None` when the socket ended without a close frame, or with an empty one.
    pub code: Option<u16>,
    pub reason: String,
}

impl Client {
    /// A raw websocket after `connect`.
    ///
    /// # Panics
    ///
    /// When it is refused.
    #[must_use]
    pub fn open(port: u16) -> Self {
        Self::open_at(port, "/websocket")
    }

    /// A websocket in SockJS framing after `connect`.
    ///
    /// # Panics
    ///
    /// When it is refused.
    #[must_use]
    pub fn open_sockjs(port: u16) -> Self {
        Self::open_at(port, "/sockjs/123/abcdefgh/websocket")
    }

    /// A websocket after `connect`; SockJS framing where the path has a server and a session.
    ///
    /// # Panics
    ///
    /// When it is refused.
    #[must_use]
    pub fn open_at(port: u16, path: &str) -> Self {
        let mut client = Self::upgrade(port, path, &[])
            .unwrap_or_else(|answer| panic!("{path} is not upgraded: {answer:?}"));
        client.connect();
        client
    }

    /// A websocket before its first message, or the answer that refused it.
    ///
    /// # Errors
    ///
    /// The answer, when it is not 101.
    ///
    /// # Panics
    ///
    /// When nobody listens or the answer is not HTTP.
    pub fn upgrade(port: u16, path: &str, headers: &[(&str, &str)]) -> Result<Self, Answer> {
        let mut socket = http::connect(port).expect("the port is open");
        let fixed = [
            ("Connection", "Upgrade"),
            ("Upgrade", "websocket"),
            ("Sec-WebSocket-Version", "13"),
            ("Sec-WebSocket-Key", KEY),
        ];
        let head = http::head(port, "GET", path, &[&fixed, headers].concat());
        socket
            .write_all(head.as_bytes())
            .expect("a handshake fits into the socket's buffer");
        let answer = http::read_head(&mut socket).expect("the handshake is answered");
        if answer.status != 101 {
            return Err(answer);
        }
        let config = WebSocketConfig::default()
            .max_message_size(None)
            .max_frame_size(None);
        Ok(Self {
            socket: WebSocket::from_raw_socket(socket, Role::Client, Some(config)),
            framing: Framing::of_path(path),
            received: VecDeque::new(),
            events: Vec::new(),
            end: None,
            answers_pings: true,
            ids: 0,
        })
    }

    /// Sends `connect` and returns the session id.
    ///
    /// # Panics
    ///
    /// When there is no `connected`.
    pub fn connect(&mut self) -> String {
        self.send(&json!({"msg": "connect", "version": "1", "support": ["1", "pre2", "pre1"]}));
        let connected = self.wait_for("connected", |message| message["msg"] == "connected");
        let session = connected["session"].as_str();
        session.expect("connected has a session").to_owned()
    }

    /// Logs in with a token.
    ///
    /// # Panics
    ///
    /// When it is refused.
    pub fn login(&mut self, token: &str) -> Value {
        self.call("login", &json!([{"resume": token}]))
            .unwrap_or_else(|error| panic!("the login is refused: {error}"))
    }

    /// Calls a method and waits for its `result` and `updated`; an absent result is `null`.
    ///
    /// # Errors
    ///
    /// The DDP error.
    pub fn call(&mut self, method: &str, params: &Value) -> Result<Value, Value> {
        let id = self.start_call(method, params);
        self.outcome(&id)
    }

    /// Sends a method call and returns its id.
    pub fn start_call(&mut self, method: &str, params: &Value) -> String {
        let id = self.next_id();
        self.send(&json!({"msg": "method", "id": id, "method": method, "params": params}));
        id
    }

    /// Waits for what became of a call.
    ///
    /// # Errors
    ///
    /// The DDP error.
    pub fn outcome(&mut self, id: &str) -> Result<Value, Value> {
        let mut result = self.wait_for("a result", |message| {
            message["msg"] == "result" && message["id"] == id
        });
        self.wait_for("updated", |message| {
            message["msg"] == "updated" && message["methods"][0] == id
        });
        match result.get_mut("error") {
            Some(error) => Err(error.take()),
            None => Ok(result["result"].take()),
        }
    }

    /// Subscribes and returns the subscription's id.
    ///
    /// # Errors
    ///
    /// The DDP error of `nosub`, `null` when it has none.
    pub fn subscribe(&mut self, name: &str, params: &Value) -> Result<String, Value> {
        let id = self.next_id();
        self.send(&json!({"msg": "sub", "id": id, "name": name, "params": params}));
        let mut answer = self.wait_for("ready or nosub", |message| {
            message["subs"][0] == id || (message["msg"] == "nosub" && message["id"] == id)
        });
        match answer["msg"].as_str() {
            Some("ready") => Ok(id),
            _ => Err(answer["error"].take()),
        }
    }

    /// Subscribes to an event of a stream in the way of the web client.
    ///
    /// # Errors
    ///
    /// The DDP error of `nosub`.
    pub fn stream(&mut self, stream: &str, event: &str) -> Result<String, Value> {
        self.stream_with(stream, event, &json!([]))
    }

    /// The same with extra data, such as a guest's `[{"token": ..}]`.
    ///
    /// # Errors
    ///
    /// The DDP error of `nosub`.
    pub fn stream_with(
        &mut self,
        stream: &str,
        event: &str,
        extra: &Value,
    ) -> Result<String, Value> {
        let options = json!({"useCollection": false, "args": extra});
        self.subscribe(&format!("stream-{stream}"), &json!([event, options]))
    }

    /// Ends a subscription and waits for its `nosub`.
    pub fn unsubscribe(&mut self, id: &str) {
        self.send(&json!({"msg": "unsub", "id": id}));
        self.wait_for("nosub", |message| {
            message["msg"] == "nosub" && message["id"] == id
        });
    }

    /// Waits for an event of a stream and returns its arguments.
    pub fn event(&mut self, stream: &str, event: &str) -> Value {
        let collection = format!("stream-{stream}");
        let mut changed = self.wait_for(event, |message| {
            message["collection"] == collection && message["fields"]["eventName"] == event
        });
        changed["fields"]["args"].take()
    }

    /// Takes every event of this name that is here, and returns the arguments of each.
    pub fn take_events(&mut self, stream: &str, event: &str) -> Vec<Value> {
        let collection = format!("stream-{stream}");
        let is_one = |message: &Value| {
            message["collection"] == collection && message["fields"]["eventName"] == event
        };
        let (taken, kept) = self.received.drain(..).partition(is_one);
        self.received = kept;
        let taken: VecDeque<Value> = taken;
        taken
            .into_iter()
            .map(|mut changed| changed["fields"]["args"].take())
            .collect()
    }

    /// The texts of the stream events that have come so far, each given out once; what waits to be taken stays.
    pub fn take_texts(&mut self) -> Vec<String> {
        std::mem::take(&mut self.events)
    }

    /// Waits until everything that the server has sent so far is here: `ping` is answered in turn.
    pub fn settle(&mut self) {
        let id = self.next_id();
        self.send(&json!({"msg": "ping", "id": id}));
        self.wait_for("pong", |message| {
            message["msg"] == "pong" && message["id"] == id
        });
    }

    /// Sends one DDP message.
    ///
    /// # Panics
    ///
    /// When the connection is over.
    pub fn send(&mut self, message: &Value) {
        self.send_text(&self.framing.wrap(message.to_string()));
    }

    /// Sends a text message as it is.
    ///
    /// # Panics
    ///
    /// When the connection is over.
    pub fn send_text(&mut self, text: &str) {
        self.try_send(Message::text(text))
            .unwrap_or_else(|error| panic!("cannot send: {error}"));
    }

    /// Sends a websocket message; one to a server that has ended the connection fails at some time.
    ///
    /// # Errors
    ///
    /// When the connection is over.
    pub fn try_send(&mut self, message: Message) -> Result<(), Box<Error>> {
        self.socket.send(message).map_err(Box::new)
    }

    /// From now on no ping of the server is answered.
    pub fn ignore_pings(&mut self) {
        self.answers_pings = false;
    }

    /// The socket itself, to write bytes that no websocket client would.
    pub fn bytes(&mut self) -> &mut TcpStream {
        self.socket.get_mut()
    }

    /// The next message in the order of arrival.
    ///
    /// # Panics
    ///
    /// When the connection ends, or nothing comes for a minute.
    pub fn next_message(&mut self) -> Value {
        self.wait_for("a message", |_| true)
    }

    /// The first message that fulfils `wanted`, received already or to come; each is given out once.
    ///
    /// # Panics
    ///
    /// When the connection ends before that, or it does not come in a minute.
    pub fn wait_for(&mut self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + PATIENCE;
        let mut looked = 0;
        loop {
            while looked < self.received.len() {
                if wanted(&self.received[looked]) {
                    return self.received.remove(looked).expect("it was there");
                }
                looked += 1;
            }
            if let Some(end) = &self.end {
                panic!(
                    "{what} never came, the connection ended: {end:?}, received {:?}",
                    self.received
                );
            }
            assert!(
                self.read(deadline),
                "{what} never came, received {:?}",
                self.received
            );
        }
    }

    /// The next message in the order of arrival, or the end of the connection.
    ///
    /// # Errors
    ///
    /// How the connection ended.
    ///
    /// # Panics
    ///
    /// When nothing comes for a minute.
    pub fn receive(&mut self) -> Result<Value, Closed> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(message) = self.received.pop_front() {
                return Ok(message);
            }
            if let Some(end) = &self.end {
                return Err(end.clone());
            }
            assert!(self.read(deadline), "nothing comes");
        }
    }

    /// Whether such a message has come and was not taken.
    #[must_use]
    pub fn has(&self, wanted: impl Fn(&Value) -> bool) -> bool {
        self.received.iter().any(wanted)
    }

    /// Waits for the end of the connection; what comes before can still be taken.
    ///
    /// # Panics
    ///
    /// When it does not end within two minutes.
    pub fn closed(&mut self) -> Closed {
        // The idle deadlines of the product add up to a minute.
        let deadline = Instant::now() + 2 * PATIENCE;
        loop {
            if let Some(end) = &self.end {
                return end.clone();
            }
            assert!(self.read(deadline), "the connection does not end");
        }
    }

    /// How the connection ended, if it is known by now to have ended.
    pub fn end(&mut self) -> Option<Closed> {
        while self.end.is_none() && self.read(Instant::now()) {}
        self.end.clone()
    }

    /// Ends it with close code 1000.
    ///
    /// # Panics
    ///
    /// When the server does not answer.
    pub fn close(mut self) {
        // An error means that it is over already.
        let _ = self.socket.close(None);
        self.closed();
    }

    /// Reads one frame; `false` when none comes in time.
    fn read(&mut self, deadline: Instant) -> bool {
        let left = deadline.saturating_duration_since(Instant::now());
        // Zero would mean for ever.
        let limit = left.max(Duration::from_millis(1));
        self.socket
            .get_ref()
            .set_read_timeout(Some(limit))
            .expect("the limit is not zero");
        match self.socket.read() {
            Ok(Message::Text(text)) => self.text(&text),
            Ok(Message::Close(frame)) => {
                self.end = Some(Closed {
                    code: frame.as_ref().map(|frame| frame.code.into()),
                    reason: frame.map_or_else(String::new, |frame| frame.reason.to_string()),
                });
                // Answers the close and reads to the server's end of the socket, as browsers do.
                while self.socket.read().is_ok() {}
                let _ = self.socket.get_ref().shutdown(Shutdown::Both);
            }
            Ok(_) => {}
            Err(Error::Io(error)) if would_block(&error) => return false,
            Err(_) => {
                self.end = Some(Closed {
                    code: None,
                    reason: String::new(),
                });
            }
        }
        true
    }

    fn text(&mut self, text: &str) {
        for text in self.framing.unwrap(text) {
            let message: Value = serde_json::from_str(&text).unwrap_or_else(|_| {
                // JSON knows numbers that no value here can be, and a ping's id comes back as it was.
                let is_json = serde_json::from_str::<IgnoredAny>(&text).is_ok();
                assert!(is_json, "not a DDP message: {text}");
                Value::Null
            });
            if message["msg"] == "ping" {
                if !self.answers_pings {
                    continue;
                }
                let mut pong = json!({"msg": "pong"});
                if let Some(id) = message.get("id") {
                    pong["id"] = id.clone();
                }
                let text = self.framing.wrap(pong.to_string());
                // The server may have closed behind its ping.
                let _ = self.socket.send(Message::text(text));
            } else {
                if message["msg"] == "changed" {
                    self.events.push(text);
                }
                self.received.push_back(message);
            }
        }
    }

    /// An id that no call of this client has had.
    pub fn next_id(&mut self) -> String {
        self.ids += 1;
        format!("t{}", self.ids)
    }
}

fn would_block(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
    )
}
