//! A terminal client: what is typed is sent to a room, what others write there is printed. Two of them in two terminals
//! show the sandbox without a browser.

use std::{
    io::{BufRead as _, Read as _, Write as _},
    net::{Shutdown, TcpStream},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, Receiver, SyncSender},
    },
};

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

use crate::ws;

/// Who writes where.
#[derive(clap::Args)]
pub(crate) struct ChatArgs {
    /// Where the gateway is: host, host:port, or an address as a browser shows it
    #[arg(long, default_value = "localhost:3000")]
    host: String,
    /// Login name
    #[arg(long, default_value = "alice")]
    user: String,
    /// Password; a demo user's is the name
    #[arg(long)]
    password: Option<String>,
    /// Room: its name, with # or without, or its id
    #[arg(long, default_value = "general")]
    room: String,
}

/// Runs until the end of the input or of the connection.
pub(crate) fn run(args: &ChatArgs) -> Result<()> {
    let host = authority(&args.host)?;
    let mut socket =
        TcpStream::connect(&host).with_context(|| format!("nobody listens on {host}"))?;
    let mut request = Vec::new();
    ws::push_upgrade_request(&mut request, &host, "/websocket", "");
    socket.write_all(&request)?;

    let mut talk = Talk {
        args,
        writer: Arc::new(Mutex::new(socket.try_clone()?)),
        has_left: Arc::default(),
        answered: None,
    };
    for message in [
        json!({ "msg": "connect", "version": "1", "support": ["1"] }),
        json!({ "msg": "method", "id": "login", "method": "login", "params": [{ "user": { "username": args.user }, "password": args.password.as_ref().unwrap_or(&args.user) }] }),
        json!({ "msg": "method", "id": "room", "method": "getRoomIdByNameOrId", "params": [args.room.trim_start_matches('#')] }),
    ] {
        send(&talk.writer, &message)?;
    }
    talk.read(&mut socket)
}

/// One person at a terminal.
struct Talk<'a> {
    args: &'a ChatArgs,
    writer: Arc<Mutex<TcpStream>>,
    /// By the end of the input.
    has_left: Arc<AtomicBool>,
    /// Tells who reads the input that the line before is there.
    answered: Option<SyncSender<()>>,
}

/// `host:port` of what people type: `localhost`, `localhost:3000`, `http://localhost:3000/`, `ws://localhost:3000/websocket`.
fn authority(typed: &str) -> Result<String> {
    let rest = match typed.split_once("://") {
        Some(("http" | "ws", rest)) => rest,
        Some((scheme, _)) => bail!("{scheme}:// is not spoken here, only http:// and ws://"),
        None => typed,
    };
    let authority = rest.split('/').next().unwrap_or_default();
    let name_end = authority.rfind(']').unwrap_or(0);
    Ok(match authority[name_end..].contains(':') {
        true => authority.to_owned(),
        false => format!("{authority}:3000"),
    })
}

/// Sends each line when the one before has arrived, and hangs up when the last one has.
fn type_lines(writer: &Mutex<TcpStream>, room: &str, answered: &Receiver<()>, left: &AtomicBool) {
    let lines = std::io::stdin().lock().lines().map_while(Result::ok);
    for (number, line) in lines.enumerate() {
        let message = json!({ "msg": "method", "id": number.to_string(), "method": "sendMessage", "params": [{ "rid": room, "msg": line }] });
        if send(writer, &message).is_err() || answered.recv().is_err() {
            return;
        }
    }
    left.store(true, Ordering::Release);
    let socket = writer.lock().unwrap_or_else(PoisonError::into_inner);
    drop(socket.shutdown(Shutdown::Both));
}

fn send(writer: &Mutex<TcpStream>, message: &Value) -> Result<()> {
    let mut frame = Vec::new();
    ws::push_client_frame(&mut frame, ws::TEXT, message.to_string().as_bytes());
    writer
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .write_all(&frame)?;
    Ok(())
}

impl Talk<'_> {
    fn read(&mut self, socket: &mut TcpStream) -> Result<()> {
        let (mut bytes, mut chunk) = (Vec::new(), [0; 16 * 1024]);
        let mut upgraded = false;
        loop {
            let read = socket.read(&mut chunk)?;
            if read == 0 {
                if !self.has_left.load(Ordering::Acquire) {
                    println!("the gateway has closed the connection");
                }
                return Ok(());
            }
            bytes.extend_from_slice(&chunk[..read]);
            if !upgraded {
                let Some(head) = ws::parse_upgrade_response(&bytes)? else {
                    continue;
                };
                bytes.drain(..head);
                upgraded = true;
            }
            while let Some(frame) = ws::parse(&bytes)? {
                if frame.opcode == ws::TEXT {
                    self.show(&serde_json::from_slice(frame.payload)?)?;
                }
                let len = frame.len;
                bytes.drain(..len);
            }
        }
    }

    fn show(&mut self, message: &Value) -> Result<()> {
        match message["msg"].as_str() {
            Some("ping") => send(&self.writer, &json!({ "msg": "pong" }))?,
            Some("result" | "nosub") if message.get("error").is_some() => {
                let error = &message["error"];
                let what = match message["id"].as_str() {
                    Some("login") => format!("the login of {}", self.args.user),
                    Some("room" | "messages") => format!("the room {}", self.args.room),
                    _ => "the message".to_owned(),
                };
                let reason = error["reason"].as_str().or_else(|| error["error"].as_str());
                bail!("{what} is refused: {}", reason.unwrap_or("no reason given"))
            }
            Some("result") if message["id"] == "room" => self.enter(&message["result"])?,
            Some("result") => {
                // Before the room there was nothing to wait for, after the input nobody waits.
                let _ = self.answered.as_ref().map(|answered| answered.try_send(()));
            }
            Some("changed") => {
                let written = &message["fields"]["args"][0];
                println!(
                    "{}: {}",
                    written["u"]["username"].as_str().unwrap_or("?"),
                    written["msg"].as_str().unwrap_or_default()
                );
            }
            _ => {}
        }
        Ok(())
    }

    fn enter(&mut self, room: &Value) -> Result<()> {
        let room = room.as_str().context("no room id")?.to_owned();
        let listen = json!({ "msg": "sub", "id": "messages", "name": "stream-room-messages", "params": [room, false] });
        send(&self.writer, &listen)?;
        println!(
            "{} in {}: type a line to send it, Ctrl-D to leave",
            self.args.user, self.args.room
        );
        let (answered, answers) = mpsc::sync_channel(1);
        self.answered = Some(answered);
        let (writer, left) = (Arc::clone(&self.writer), Arc::clone(&self.has_left));
        std::thread::spawn(move || type_lines(&writer, &room, &answers, &left));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::authority;

    #[test]
    fn a_host_is_taken_as_people_type_it() {
        for typed in [
            "localhost",
            "localhost:3000",
            "http://localhost:3000/",
            "ws://localhost:3000/websocket",
        ] {
            assert_eq!(authority(typed).unwrap(), "localhost:3000", "{typed}");
        }
        assert_eq!(authority("[::1]").unwrap(), "[::1]:3000");
        assert_eq!(authority("127.0.0.1:80").unwrap(), "127.0.0.1:80");
        assert!(authority("https://chat.example.org").is_err());
    }
}
