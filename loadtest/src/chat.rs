//! A terminal client: what is typed is sent to a room, what others write there is printed. Two of them in two terminals
//! show the sandbox without a browser.

use std::{
    io::{BufRead as _, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

use crate::ws;

/// Who writes where.
#[derive(clap::Args)]
pub(crate) struct ChatArgs {
    /// The gateway's host:port
    #[arg(long, default_value = "127.0.0.1:3000")]
    host: SocketAddr,
    /// Demo user; the password is the same word
    #[arg(long, default_value = "alice")]
    user: String,
    /// Room id
    #[arg(long, default_value = "GENERAL")]
    room: String,
}

/// Runs until the end of the input or of the connection.
pub(crate) fn run(args: &ChatArgs) -> Result<()> {
    let mut socket = TcpStream::connect(args.host)
        .with_context(|| format!("nobody listens on {}", args.host))?;
    let mut request = Vec::new();
    ws::push_upgrade_request(&mut request, &args.host.to_string(), "/websocket", "");
    socket.write_all(&request)?;

    let writer = Arc::new(Mutex::new(socket.try_clone()?));
    for message in [
        json!({ "msg": "connect", "version": "1", "support": ["1"] }),
        json!({ "msg": "method", "id": "login", "method": "login", "params": [{ "user": { "username": args.user }, "password": args.user }] }),
        json!({ "msg": "sub", "id": "room", "name": "stream-room-messages", "params": [args.room, false] }),
    ] {
        send(&writer, &message)?;
    }
    println!(
        "{} in {}: type a line to send it, Ctrl-D to leave",
        args.user, args.room
    );
    std::thread::spawn({
        let (writer, room) = (writer.clone(), args.room.clone());
        move || type_lines(&writer, &room)
    });
    read(&mut socket, &writer)
}

fn type_lines(writer: &Mutex<TcpStream>, room: &str) {
    for (number, line) in std::io::stdin()
        .lock()
        .lines()
        .map_while(Result::ok)
        .enumerate()
    {
        let message = json!({ "msg": "method", "id": number.to_string(), "method": "sendMessage", "params": [{ "rid": room, "msg": line }] });
        if send(writer, &message).is_err() {
            return;
        }
    }
    drop(send(writer, &json!({ "msg": "disconnect" })));
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

fn read(socket: &mut TcpStream, writer: &Mutex<TcpStream>) -> Result<()> {
    let (mut bytes, mut chunk) = (Vec::new(), [0; 16 * 1024]);
    let mut upgraded = false;
    loop {
        let read = socket.read(&mut chunk)?;
        if read == 0 {
            println!("the gateway has closed the connection");
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
                show(&serde_json::from_slice(frame.payload)?, writer)?;
            }
            let len = frame.len;
            bytes.drain(..len);
        }
    }
}

fn show(message: &Value, writer: &Mutex<TcpStream>) -> Result<()> {
    match message["msg"].as_str() {
        Some("ping") => send(writer, &json!({ "msg": "pong" }))?,
        Some("result" | "nosub") if message.get("error").is_some() => {
            bail!(
                "refused: {}",
                message["error"]["reason"]
                    .as_str()
                    .unwrap_or("no reason given")
            )
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
