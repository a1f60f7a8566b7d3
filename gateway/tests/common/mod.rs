//! A gateway on a free port with the in-process bus behind, and clients that share no code with it.

#![expect(
    dead_code,
    unreachable_pub,
    reason = "every test file uses its own part of this module"
)]

use std::{net::SocketAddr, sync::OnceLock};

use backplane::{Bus, Driver};
use futures_util::{SinkExt, StreamExt};
use gateway::{Config, Gateway};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use store::Store;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Error, Message,
        client::IntoClientRequest,
        handshake::client::{Request, Response},
        protocol::WebSocketConfig,
    },
};

pub mod workspace;

pub struct Server {
    pub gateway: Gateway,
    pub bus: Bus,
    pub address: SocketAddr,
    metrics: &'static PrometheusHandle,
}

/// Starts a gateway on loopback.
pub async fn start(change: impl FnOnce(&mut Config)) -> Server {
    let store = Store::embedded(None).unwrap();
    start_on(Bus::in_process("test-node".into()), None, store, change).await
}

/// The same on this bus and this store.
pub async fn start_on(
    bus: Bus,
    driver: Option<Driver>,
    store: Store,
    change: impl FnOnce(&mut Config),
) -> Server {
    let metrics = recorder();
    let mut config = Config {
        bind: Some([127, 0, 0, 1].into()),
        port: 0,
        shards: 2,
        ..Config::default()
    };
    change(&mut config);
    let gateway = Gateway::start(config, bus.clone(), driver, store, None)
        .await
        .unwrap();
    let address = gateway.local_addr();
    Server {
        gateway,
        bus,
        address,
        metrics,
    }
}

/// One recorder for the whole process, as `metrics` wants it.
fn recorder() -> &'static PrometheusHandle {
    static RECORDER: OnceLock<PrometheusHandle> = OnceLock::new();
    RECORDER.get_or_init(|| PrometheusBuilder::new().install_recorder().unwrap())
}

impl Server {
    /// The value of a metric line, all labels written out; 0 where it does not exist.
    pub fn metric(&self, line: &str) -> f64 {
        let text = self.metrics.render();
        let value = text
            .lines()
            .find_map(|found| found.strip_prefix(line)?.strip_prefix(' '));
        value.map_or(0.0, |value| value.parse().unwrap())
    }

    /// One request as it stands, and everything that comes back until the end of the connection.
    pub async fn http(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        String::from_utf8(answer).unwrap()
    }

    /// A GET of this path.
    pub async fn get(&self, path: &str) -> String {
        self.http(&format!(
            "GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n",
            self.address
        ))
        .await
    }

    /// A websocket request for this path with more headers.
    pub fn request(&self, path: &str, headers: &[(&'static str, &str)]) -> Request {
        let mut request = format!("ws://{}{path}", self.address)
            .into_client_request()
            .unwrap();
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        request
    }

    pub async fn upgrade(&self, request: Request) -> Result<(Client, Response), Error> {
        let stream = TcpStream::connect(self.address).await.unwrap();
        let config = WebSocketConfig::default()
            .read_buffer_size(4_096)
            .write_buffer_size(0);
        let opened =
            tokio_tungstenite::client_async_with_config(request, stream, Some(config)).await;
        opened.map(|(socket, response)| (Client { socket }, response))
    }

    /// A raw websocket after its greeting.
    pub async fn open(&self) -> Client {
        let (mut client, _) = self.upgrade(self.request("/websocket", &[])).await.unwrap();
        assert_eq!(client.text().await, r#"{"server_id":"0"}"#);
        client
    }

    /// A raw websocket on which a version has been agreed.
    pub async fn connect(&self) -> Client {
        let mut client = self.open().await;
        client
            .send(r#"{"msg":"connect","version":"1","support":["1"]}"#)
            .await;
        assert!(client.text().await.starts_with(r#"{"msg":"connected""#));
        client
    }
}

pub struct Client {
    pub socket: WebSocketStream<TcpStream>,
}

impl Client {
    pub async fn send(&mut self, text: &str) {
        self.socket.send(Message::text(text)).await.unwrap();
    }

    /// The next text message.
    pub async fn text(&mut self) -> String {
        match self.socket.next().await {
            Some(Ok(Message::Text(text))) => text.as_str().to_owned(),
            other => panic!("no text but {other:?}"),
        }
    }

    /// Code and reason of the close frame; what comes before it is skipped.
    pub async fn closed(&mut self) -> (u16, String) {
        loop {
            match self.socket.next().await {
                Some(Ok(Message::Close(Some(frame)))) => {
                    return (frame.code.into(), frame.reason.as_str().to_owned());
                }
                Some(Ok(_)) => {}
                other => panic!("no close frame but {other:?}"),
            }
        }
    }
}

/// Status and `Retry-After` of a refused upgrade.
pub fn refusal(outcome: Result<(Client, Response), Error>) -> (u16, Option<String>) {
    match outcome {
        Err(Error::Http(response)) => {
            let retry_after = response.headers().get("retry-after");
            (
                response.status().as_u16(),
                retry_after.map(|value| value.to_str().unwrap().to_owned()),
            )
        }
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("it was let in"),
    }
}
