//! People with logins of their own, and the client they come with: ws and wss, to servers that are not ours.

use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::{net::TcpStream, runtime::Runtime, time::timeout};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async, tungstenite::Message};

/// Steps of one client: connecting, logging in, subscribing.
const STEP_MAX: Duration = Duration::from_secs(20);

/// Who comes, and into which room.
#[derive(Clone, clap::Args)]
pub(crate) struct Guests {
    /// Who logs in, as NAME:PASSWORD; several take turns; the sandbox's alice:alice if nobody is named
    #[arg(long = "login", value_name = "NAME:PASSWORD")]
    logins: Vec<String>,
    /// Who logs in, by a login token or a personal access token; several take turns
    #[arg(long = "token", value_name = "TOKEN")]
    tokens: Vec<String>,
    /// Room to listen to and to write in: its name, with # or without, or its id
    #[arg(long, default_value = "general")]
    room: String,
}

/// Somebody who may log in.
#[derive(Clone, Debug)]
pub(crate) struct Person {
    pub(crate) id: String,
    pub(crate) token: String,
}

/// Everybody's logins were good, and the room is there.
pub(crate) struct Entered {
    pub(crate) people: Vec<Person>,
    /// Its id.
    pub(crate) room: String,
    /// The first of them, logged in.
    pub(crate) writer: Client,
}

impl Guests {
    /// Whether anybody was named.
    pub(crate) fn is_anybody(&self) -> bool {
        !self.logins.is_empty() || !self.tokens.is_empty()
    }

    /// Logs each in once, so that a wrong password is one error and not a thousand.
    pub(crate) async fn enter(&self, url: &str) -> Result<Entered> {
        let mut logins = Vec::new();
        for login in &self.logins {
            let (name, password) = login
                .split_once(':')
                .ok_or_else(|| anyhow!("--login: expected NAME:PASSWORD"))?;
            let login = json!([{ "user": { "username": name }, "password": password }]);
            logins.push((format!("the login of {name}"), login));
        }
        let resume = |token: &String| ("a token".to_owned(), json!([{ "resume": token }]));
        logins.extend(self.tokens.iter().map(resume));
        if logins.is_empty() {
            let alice = json!([{ "user": { "username": "alice" }, "password": "alice" }]);
            logins.push(("the login of alice".to_owned(), alice));
        }
        let (mut people, mut writer) = (Vec::new(), None);
        for (what, login) in logins {
            let mut client = Client::open(url).await?;
            let granted = client.call("login", login).await.context(what)?;
            let text = |name: &str| granted[name].as_str().map(str::to_owned);
            let (id, token) = text("id")
                .zip(text("token"))
                .context("no login gave a token")?;
            people.push(Person { id, token });
            writer.get_or_insert(client);
        }
        let mut writer = writer.context("nobody logs in")?;
        let wanted = self.room.trim_start_matches('#');
        let room = match writer.call("getRoomIdByNameOrId", json!([wanted])).await {
            Ok(Value::String(room)) => room,
            Ok(_) => wanted.to_owned(),
            Err(error) => bail!("the room {wanted}: {error:#}"),
        };
        Ok(Entered {
            people,
            room,
            writer,
        })
    }
}

/// One connection.
pub(crate) struct Client {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    calls: u64,
}

impl Client {
    pub(crate) async fn open(url: &str) -> Result<Self> {
        let connected = timeout(STEP_MAX, connect_async(url)).await;
        let (socket, _) = connected.context("no answer")?.context("no connection")?;
        let mut client = Self { socket, calls: 0 };
        let connect = json!({ "msg": "connect", "version": "1", "support": ["1"] });
        client.send(&connect).await?;
        client.wait(|message| message["msg"] == "connected").await?;
        Ok(client)
    }

    pub(crate) async fn call(&mut self, method: &str, params: Value) -> Result<Value> {
        self.calls += 1;
        let id = self.calls.to_string();
        let call = json!({ "msg": "method", "id": id, "method": method, "params": params });
        self.send(&call).await?;
        let is_result = |message: &Value| message["msg"] == "result" && message["id"] == *id;
        let mut result = self.wait(is_result).await?;
        match result["error"].is_null() {
            true => Ok(result["result"].take()),
            false => Err(refusal(&result["error"])),
        }
    }

    pub(crate) async fn wait(&mut self, wanted: impl Fn(&Value) -> bool) -> Result<Value> {
        let waiting = async {
            loop {
                let message = self.next().await?;
                if wanted(&message) {
                    return Ok(message);
                }
            }
        };
        timeout(STEP_MAX, waiting).await.context("no answer")?
    }

    /// The next message of the server; pings are answered.
    pub(crate) async fn next(&mut self) -> Result<Value> {
        loop {
            match self.socket.next().await {
                Some(Ok(Message::Text(text))) => {
                    let message: Value = serde_json::from_str(&text)?;
                    if message["msg"] != "ping" {
                        return Ok(message);
                    }
                    self.send(&json!({ "msg": "pong" })).await?;
                }
                Some(Ok(Message::Close(Some(close)))) => {
                    bail!("closed with {} {}", u16::from(close.code), close.reason)
                }
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(error.into()),
                None => bail!("closed"),
            }
        }
    }

    pub(crate) async fn send(&mut self, message: &Value) -> Result<()> {
        Ok(self.socket.send(Message::text(message.to_string())).await?)
    }
}

/// What clients need.
pub(crate) fn runtime() -> Result<Runtime> {
    // Fails only where one is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Ok(Runtime::new()?)
}

/// The websocket of what people type.
pub(crate) fn websocket_url(typed: &str) -> Result<String> {
    let (scheme, rest) = match typed.split_once("://") {
        Some(("http" | "ws", rest)) => ("ws", rest),
        Some(("https" | "wss", rest)) => ("wss", rest),
        Some((scheme, _)) => bail!("--url: {scheme}:// is neither http(s) nor ws(s)"),
        None => ("ws", typed),
    };
    let rest = rest.trim_end_matches('/');
    Ok(match rest.ends_with("/websocket") {
        true => format!("{scheme}://{rest}"),
        false => format!("{scheme}://{rest}/websocket"),
    })
}

pub(crate) fn refusal(error: &Value) -> anyhow::Error {
    let reason = error["reason"]
        .as_str()
        .or_else(|| error["message"].as_str());
    let code = error["error"].to_string();
    anyhow!(
        "refused: {} [{}]",
        reason.unwrap_or("no reason given"),
        code.trim_matches('"')
    )
}

#[cfg(test)]
mod tests {
    use super::websocket_url;

    #[test]
    fn a_server_is_taken_as_people_type_it() {
        for (typed, url) in [
            ("localhost:3000", "ws://localhost:3000/websocket"),
            ("http://localhost:3000/", "ws://localhost:3000/websocket"),
            (
                "https://chat.example.org",
                "wss://chat.example.org/websocket",
            ),
            (
                "wss://chat.example.org/a/websocket",
                "wss://chat.example.org/a/websocket",
            ),
        ] {
            assert_eq!(websocket_url(typed).unwrap(), url);
        }
        assert!(websocket_url("ftp://x").is_err());
    }
}
