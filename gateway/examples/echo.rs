//! A gateway whose `/echo/websocket` echoes, for the RFC 6455 suite: prints its port and runs until it is killed.

use backplane::Bus;
use gateway::{Config, Gateway};
use store::Store;

#[tokio::main]
async fn main() {
    let config = Config {
        bind: Some([127, 0, 0, 1].into()),
        port: 0,
        shards: 1,
        ..Config::default()
    };
    let store = Store::embedded(None).expect("a store in memory");
    let gateway = Gateway::start(config, Bus::in_process("echo".into()), None, store, None).await;
    println!("{}", gateway.expect("a free port").local_addr().port());
    std::future::pending().await
}
